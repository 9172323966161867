"""Data files run nothing, whatever they hold; files are written whole or not at all."""

import errno
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from hostile import Calls, touches
from paths import ROOT, SAMPLE

from common.data.npz import load_npz
from common.errors import UserError
from common.files import published_together, write_atomically


def npz(path, pickled: bytes, entry="positions_3d"):
    """An .npz file whose one entry is an object array with these pickle bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{entry}.npy", header.getvalue() + pickled)
    return path


def hostile_pickles(victim):
    """Real payloads: each would make the file `victim` if anything in it ran."""
    touch = f"open({str(victim)!r}, 'w').close()"
    yield "system", pickle.dumps(touches(victim))
    yield "exec", pickle.dumps(Calls(exec, touch))
    yield (
        "eval in a dict",
        pickle.dumps({"S1": {"Walk": Calls(eval, f"open({str(victim)!r}, 'w')")}}),
    )
    yield "python 2 system", b"cos\nsystem\n(S'touch " + str(victim).encode() + b"'\ntR."
    yield "getattr", pickle.dumps(Calls(getattr, "text", "upper"))
    yield "numpy function", b"cnumpy\nsave\n(S'" + str(victim).encode() + b"'\nI1\ntR."
    yield (
        "numpy.testing",
        (b"cnumpy.testing._private.utils\nrunstring\n(S" + repr(touch).encode() + b"\n(dtR."),
    )
    yield "old instance", b"(ios\nsystem\n."
    yield "persistent id", b"Pvictim\n."
    yield "extension code", b"\x82\x01."
    yield "array type called", b"cnumpy\nndarray\n(I3\ntR."
    yield "state of the reader", b"cnumpy\ndtype\n}S'_function'\nNsb."


@pytest.mark.parametrize("number", range(12))
def test_hostile_data_files(number, tmp_path):
    victim = tmp_path / "victim"
    name, payload = list(hostile_pickles(victim))[number]
    with pytest.raises(UserError) as raised:
        load_npz(npz(tmp_path / "data.npz", payload))
    assert "\n" not in str(raised.value), name
    assert not victim.exists(), name
    # The payload is a real one: an ordinary unpickler runs most of them.
    if name in ("system", "exec", "eval in a dict", "python 2 system"):
        pickle.loads(payload)
        assert victim.exists(), name


def test_the_reader_admits_its_next_file_after_a_hostile_one(tmp_path):
    for _, payload in hostile_pickles(tmp_path / "victim"):
        with pytest.raises(UserError):
            load_npz(npz(tmp_path / "data.npz", payload))
    assert load_npz(SAMPLE / "data_3d_h36m.npz")["positions_3d"]["S9"]


def test_structured_and_object_dtypes_are_refused(tmp_path):
    structured = np.zeros(2, dtype=[("a", "f4"), ("b", "O")])
    with pytest.raises(UserError, match="structured"):
        load_npz(npz(tmp_path / "data.npz", pickle.dumps({"a": structured})))
    from_bytes = (
        b"cnumpy.core.numeric\n_frombuffer\n(C\x08"
        + b"\x01" * 8
        + b"cnumpy\ndtype\n(S'O'\ntR(I1\ntS'C'\ntR."
    )
    with pytest.raises(UserError, match="object array made from bytes"):
        load_npz(npz(tmp_path / "data.npz", from_bytes))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_dictionaries_of_arrays_are_read(tmp_path, protocol, core):
    content = OrderedDict(
        S1={"Walking 1": [np.arange(12, dtype=">f4").reshape(2, 3, 2), np.float64(2.5)]},
        fortran=np.asfortranarray(np.arange(6).reshape(2, 3)),
        meta=("h36m", 17, None, True, b"raw", {1, 2}),
        objects=np.array([[np.ones(2), "a"], [None, 3]], dtype=object),
    )
    payload = pickle.dumps(content, protocol=protocol)
    for old in (b"numpy._core", b"numpy.core"):
        if protocol < 4:  # later protocols store the length of the name
            payload = payload.replace(old, core.encode())
    read = load_npz(npz(tmp_path / "data.npz", payload))["positions_3d"]
    np.testing.assert_array_equal(read["S1"]["Walking 1"][0], content["S1"]["Walking 1"][0])
    assert read["S1"]["Walking 1"][1] == 2.5
    np.testing.assert_array_equal(read["fortran"], content["fortran"])
    assert read["meta"] == content["meta"]
    assert read["objects"][0][1] == "a" and read["objects"][1] == [None, 3]


def test_a_python_2_pickle_is_read(tmp_path):
    # pickle.dumps({'S1': numpy.array([1.5, 2.5], dtype='f4')}, 2) as Python 2 and NumPy 1 write it
    payload = (
        b"\x80\x02}q\x01U\x02S1q\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04"
        b"K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02\x85cnumpy\ndtype\nq\x06U\x02f4K\x00K\x01\x87Rq\x07"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x08\x00\x00\xc0?\x00\x00 @tbs."
    )
    read = load_npz(npz(tmp_path / "data.npz", payload))
    np.testing.assert_array_equal(read["positions_3d"]["S1"], np.array([1.5, 2.5], "f4"))


def test_a_small_file_cannot_unfold_into_a_huge_object(tmp_path):
    nested = ["x"]
    for _ in range(60):
        nested = [nested, nested]
    read = load_npz(npz(tmp_path / "data.npz", pickle.dumps(nested)))
    assert read["positions_3d"][0] is read["positions_3d"][1]


def test_plain_arrays_are_read(tmp_path):
    array = np.random.default_rng(0).normal(size=(4, 3))
    np.savez_compressed(
        tmp_path / "data.npz", a=array, b=np.array("text"), c=np.asfortranarray(array)
    )
    read = load_npz(tmp_path / "data.npz")
    np.testing.assert_array_equal(read["a"], array)
    np.testing.assert_array_equal(read["c"], array)
    assert str(read["b"]) == "text"


@pytest.mark.parametrize("kind", ["cut", "garbage", "flipped", "picture", "directory", "missing"])
def test_damaged_data_files(tmp_path, kind):
    path, whole = tmp_path / "data.npz", (SAMPLE / "data_test_3dhp.npz").read_bytes()
    if kind == "directory":
        path.mkdir()
    elif kind != "missing":
        damaged = {
            "cut": whole[: len(whole) // 2],
            "garbage": os.urandom(1000),
            "flipped": whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:],
            "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        }
        path.write_bytes(damaged[kind])
    with pytest.raises(UserError) as raised:
        load_npz(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


# ---- whole files


def test_a_full_disk_leaves_the_previous_file(tmp_path, monkeypatch):
    path = tmp_path / "resume.pth"
    write_atomically(path, b"before")

    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(UserError, match="the disk is full; the file that was there is intact"):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["resume.pth"]


def test_a_write_that_dies_half_way_leaves_the_previous_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"before" * 1000)
    # A process limited to files of 4096 bytes: the kernel refuses the rest, as on a full disk.
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from pathlib import Path; from common.files import write_atomically\n"
        f"write_atomically(Path({str(path)!r}), bytes(100_000))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "cannot write" in done.stderr and "is intact" in done.stderr
    assert path.read_bytes() == b"before" * 1000


@pytest.mark.parametrize("call", range(6))
def test_a_full_disk_leaves_all_of_several_files(tmp_path, monkeypatch, call):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"old")
    real, calls = os.fsync, iter(range(100))

    def fails_once(descriptor):
        if next(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fails_once)
    try:
        with published_together(tmp_path) as folder:
            for name in ("a", "b"):
                write_atomically(folder / name, b"new")
    except UserError as error:
        assert "the disk is full" in str(error) and ".mpm" not in str(error)
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # Folders that cannot be synced are no failure: the files themselves are on the disk.
    expected = b"old" if call in (0, 2) else b"new"
    assert contents == {"a": expected, "b": expected}
