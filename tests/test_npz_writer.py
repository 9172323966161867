"""Data files are written item by item, in bounded memory, whole or not at all."""

import errno
import os
import pickletools
import tracemalloc
import zipfile

import numpy as np
import pytest
from paths import SAMPLE

from common.data.npz import load_npz
from common.data.npz_writer import dictionary_file
from common.errors import UserError
from dataset import preparation


def numbered_items(count, kilobytes=1):
    for i in range(count):
        yield f"sequence {i}", {"length": i, "pose": np.full((kilobytes, 256), i, np.float32)}


def write(path, items, **others):
    with dictionary_file(path, "poses", **others) as add:
        for item in items:
            add(*item)
    return path


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_is_written_item_by_item_is_what_savez_writes(tmp_path, count):
    path = write(tmp_path / "a.npz", numbered_items(count), metadata={"joints": [1, 2]})
    with np.load(path, allow_pickle=True) as entries:
        assert entries["poses"].dtype == object and entries["poses"].shape == ()
        assert entries["metadata"].item() == {"joints": [1, 2]}
        by_numpy = entries["poses"].item()
    by_us = load_npz(path)
    assert by_us["metadata"] == {"joints": [1, 2]}
    for read in (by_numpy, by_us["poses"]):
        assert list(read) == [f"sequence {i}" for i in range(count)]
        for name, value in numbered_items(count):
            assert read[name]["length"] == value["length"]
            np.testing.assert_array_equal(read[name]["pose"], value["pose"])
    again = write(tmp_path / "b.npz", numbered_items(count), metadata={"joints": [1, 2]})
    assert again.read_bytes() == path.read_bytes()


def test_memory_does_not_grow_with_the_number_of_sequences(tmp_path):
    def peak(count):
        tracemalloc.start()
        write(tmp_path / "a.npz", numbered_items(count, kilobytes=256))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(4), peak(40)
    assert few > 256e3
    assert many < few * 1.2  # 40 items hold 10 MB


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write(tmp_path / "a.npz", numbered_items(1))
    before = path.read_bytes()

    def items():
        yield from numbered_items(2)
        assert path.read_bytes() == before
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        write(path, items())
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "")))
    with pytest.raises(UserError, match="a.npz: the disk is full; the file that was there is"):
        write(path, numbered_items(2))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]


def names_in(path):
    """Every module that the pickles of an .npz file name."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as stream:
                np.lib.format.read_magic(stream)
                _, _, dtype = np.lib.format.read_array_header_1_0(stream)
                for opcode, argument, _ in (
                    pickletools.genops(stream.read()) if dtype == "O" else ()
                ):
                    assert opcode.name != "STACK_GLOBAL"  # its names would be on the stack
                    if opcode.name == "GLOBAL":
                        yield argument.split()[0]


OF_NUMPY_1_AND_2 = {"numpy", "numpy.core.multiarray"}


@pytest.mark.parametrize("path", sorted(SAMPLE.glob("*.npz")), ids=lambda path: path.stem)
def test_the_sample_opens_in_numpy_1_and_2(path):
    assert set(names_in(path)) == OF_NUMPY_1_AND_2


def test_what_we_write_opens_in_numpy_1_and_2(tmp_path):
    tricky = "cnumpy._core.multiarray\n_reconstruct\n"
    item = {
        "text": tricky,
        "bytes": np.frombuffer(tricky.encode(), np.uint8),
        "scalar": np.float64(2.5),
        "objects": np.array([1, None], dtype=object),
        "fortran": np.asfortranarray(np.ones((2, 3))),
    }
    metadata = preparation.keypoint_metadata(17, 25.0)
    path = write(tmp_path / "a.npz", [(tricky, item)], metadata=metadata)
    assert set(names_in(path)) <= OF_NUMPY_1_AND_2
    with np.load(path, allow_pickle=True) as entries:
        assert entries["metadata"].item() == metadata
        held = entries["poses"].item()[tricky]
    assert held["text"] == tricky and held["bytes"].tobytes() == tricky.encode()
    assert held["scalar"] == 2.5 and held["objects"].tolist() == [1, None]
    assert load_npz(path)["poses"][tricky]["fortran"].tolist() == [[1, 1, 1], [1, 1, 1]]
