"""Files of torch.save are read as torch reads them, or refused in one line; they run nothing."""

import argparse
import io
import os
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from goldens import filled
from hostile import Calls, touches
from paths import GOLDEN
from torch import nn

from common.errors import UserError
from common.training.checkpoint import WeightFile
from common.training.placeholders import Skipped
from common.training.torch_file import DTYPES, load_torch

STATE = filled(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))).state_dict()


def saved(content, *, legacy=False) -> bytes:
    """What torch.save writes, in the format of today or of before 1.6."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def archive(pickled: bytes, **numbers: bytes) -> bytes:
    """A file like torch.save's, with this pickle and these numbers."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr("x/data.pkl", pickled)
        for key, data in numbers.items():
            stream.writestr(f"x/data/{key}", data)
    return buffer.getvalue()


def read(tmp_path, data: bytes):
    (tmp_path / "x.pth").write_bytes(data)
    return load_torch(tmp_path / "x.pth")


def refusal(tmp_path, data: bytes) -> str:
    """The line that refuses a file of weights."""
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(UserError) as raised:
        WeightFile.load(tmp_path / "x.pth")
    line = str(raised.value)
    assert "\n" not in line and len(line) < 500 and "x.pth" in line
    return line


def assert_same(one, two):
    assert type(one) is type(two) or isinstance(one, dict)
    if isinstance(one, torch.Tensor):
        assert one.dtype == two.dtype and one.shape == two.shape and torch.equal(one, two)
    elif isinstance(one, dict):
        assert list(one) == list(two)
        assert getattr(one, "_metadata", None) == getattr(two, "_metadata", None)
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    else:
        assert one == two


base = torch.arange(24.0).reshape(2, 3, 4)
WHOLE = {
    "state": STATE,
    "views": [base, base[0], base[:, 1:], base.transpose(0, 2), base[..., 0], base[1, 2, 3]],
    "empty": [torch.zeros(0), torch.zeros(3, 0, 2), OrderedDict(), {}, [], (), None],
    "kinds": {name: torch.arange(5).to(dtype) for name, dtype in DTYPES.items()},
    "parameter": nn.Parameter(torch.ones(2), requires_grad=False).data,
    3: (1, 2**40, -1, 2.5, float("inf"), True, "text", b"raw", ("nested", [{"a": 1}])),
}


@pytest.mark.parametrize("legacy", [False, True])
def test_files_are_read_as_torch_reads_them(tmp_path, legacy):
    data = saved(WHOLE, legacy=legacy)
    assert_same(read(tmp_path, data), torch.load(io.BytesIO(data), weights_only=True))
    content = read(tmp_path, saved({"p": nn.Parameter(torch.ones(2)), "s": torch.Size([1, 2])}))
    assert torch.equal(content["p"], torch.ones(2)) and content["s"] == (1, 2)


@pytest.mark.parametrize("path", sorted((GOLDEN / "ckpt").glob("*.pth*")), ids=lambda p: p.name)
def test_golden_files_are_read_as_torch_reads_them(path):
    assert_same(load_torch(path), torch.load(path, weights_only=True))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git-lfs pointer"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\n <html lang='en'>", "a web page"),
        (saved(STATE)[:-500], "cut short"),
        (saved(STATE)[:200], "cut short"),
        (saved(STATE, legacy=True)[:-9], "cut short"),
        (saved(STATE, legacy=True)[:99], "damaged"),
        (pickle.dumps({"a.b": 1}), "a pickle that torch.save did not write"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x1f\x8b\x08\x00", "unpack it first"),
        (os.urandom(500).replace(b"\x80", b"x"), "not a checkpoint"),
        (saved([1, 2]), "holds no state dict"),
        (saved({"epoch": 3, "lr": 0.1}), "holds no state dict, but epoch, lr"),
    ],
)
def test_other_kinds_of_files_are_told_apart(tmp_path, data, words):
    assert words in refusal(tmp_path, data)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_other_archives_are_told_apart(tmp_path):
    np.savez(tmp_path / "x.npz", poses=np.zeros(3))
    text = refusal(tmp_path, (tmp_path / "x.npz").read_bytes())
    assert "a zip archive, but no checkpoint, with poses.npy in it" in text
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    assert "a TorchScript program" in refusal(tmp_path, buffer.getvalue())


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "loop", "missing"])
def test_what_is_no_file_is_not_opened(tmp_path, kind):
    path = tmp_path / "x.pth"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)  # opening it would wait for ever
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "device":
        path = Path("/dev/zero")
    with pytest.raises(UserError, match="x.pth|/dev/zero"):
        WeightFile.load(path)


# ---- what is not data


class Options:
    """An object of a program that saved itself with its weights."""

    def __init__(self):
        self.lr, self.parts = 0.1, [Options] * 3


BESIDE = {
    "Namespace": argparse.Namespace(lr=0.1, model=None),
    "numpy scalar": np.float64(0.5),
    "numpy array": np.arange(3),
    "numpy state": np.random.get_state(),
    "generator": np.random.default_rng(0).bit_generator.state,
    "random": random.getstate(),
    "Random": random.Random(3),
    "path": Path("a/b"),
    "class": Options,
    "object": Options(),
    "set": {1, 2},
    "complex": 1j,
    "dtype": torch.float32,
    "device": torch.device("cpu"),
    "ordered": OrderedDict(a=OrderedDict(b=np.int64(3))),
    "model": nn.Linear(2, 2),
    "sparse": torch.zeros(2, 2).to_sparse(),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", BESIDE)
def test_what_stands_beside_the_weights_is_skipped(tmp_path, name, legacy):
    for content in (
        {"state_dict": STATE, "beside": BESIDE[name]},
        {"beside": [BESIDE[name]], **STATE},
    ):
        (tmp_path / "x.pth").write_bytes(saved(content, legacy=legacy))
        assert_same(WeightFile.load(tmp_path / "x.pth").state, dict(STATE))


def test_a_whole_model_is_told_how_to_be_saved(tmp_path):
    text = refusal(tmp_path, saved(nn.Linear(2, 2)))
    assert (
        "torch.nn.modules.linear.Linear" in text and "torch.save(model.state_dict(), FILE)" in text
    )


ODD = {
    "sparse": lambda: torch.eye(2).to_sparse(),
    "csr": lambda: torch.eye(2).to_sparse_csr(),
    "meta": lambda: torch.zeros(2, device="meta"),
    "quantised": lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "complex": lambda: torch.zeros(2, dtype=torch.complex64),
    "uint16": lambda: torch.zeros(2, dtype=torch.uint16),
    "numpy": lambda: np.zeros(3),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ODD)
def test_odd_tensors_are_named(tmp_path, kind):
    text = refusal(tmp_path, saved({**STATE, "0.weight": ODD[kind]()}))
    assert "0.weight" in text


# ---- hostile


def hostile(victim):
    """Payloads that an ordinary unpickler runs."""
    touch = f"open({str(victim)!r}, 'w').close()"
    yield from (touches(victim), Calls(exec, touch), Calls(eval, touch))
    yield {"state_dict": STATE, "args": touches(victim)}
    yield {**STATE, "0.weight": Calls(__import__("subprocess").call, ["touch", str(victim)])}
    yield OrderedDict(a=[touches(victim)])


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("number", range(6))
def test_hostile_files_run_nothing(tmp_path, number, legacy):
    victim = tmp_path / "victim"
    data = saved(list(hostile(victim))[number], legacy=legacy)
    assert "refused, it would call" in refusal(tmp_path, data)
    assert not victim.exists()
    torch.load(io.BytesIO(data), weights_only=False)  # the payload is a real one
    assert victim.exists()


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = (
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuM%stQ"
)


def tensor_pickle(numel: int, offset: int, size: tuple, stride: tuple) -> bytes:
    """{"a.b": a tensor with these declarations}."""

    def integer(value):
        data = value.to_bytes(9, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data

    def numbers(values):
        return b"(" + b"".join(map(integer, values)) + b"t"

    storage = STORAGE % struct.pack("<H", numel)
    rest = integer(offset) + numbers(size) + numbers(stride) + b"\x89}tR"
    return b"\x80\x02}X\x03\x00\x00\x00a.b" + REBUILD + storage + rest + b"s."


def test_the_pickles_of_the_next_test_are_sound(tmp_path):
    content = read(tmp_path, archive(tensor_pickle(6, 1, (2, 2), (2, 1)), **{"0": bytes(24)}))
    assert content["a.b"].shape == (2, 2)


@pytest.mark.parametrize(
    "declared",
    [
        (7, 0, (2,), (1,)),  # more numbers than there are
        (5, 0, (2,), (1,)),
        (6, 5, (2,), (1,)),  # beyond the end
        (6, 0, (7,), (1,)),
        (6, 0, (2, 2), (6, 1)),
        (6, 0, (2**40,), (0,)),  # the same number again and again
        (6, 0, (7,), (0,)),
        (6, -1, (2,), (1,)),
        (6, 0, (2,), (-1,)),
        (6, 0, (-2,), (1,)),
        (6, 0, (2, 2), (1,)),
        (6, 2**63, (2,), (1,)),
        (6, 0, (2**62, 2**62), (1, 1)),
    ],
)
def test_tensors_that_declare_what_is_not_there(tmp_path, declared):
    refusal(tmp_path, archive(tensor_pickle(*declared), **{"0": bytes(24)}))


def nested_tuples(depth: int) -> bytes:
    return b"N" + b"\x85" * depth


@pytest.mark.parametrize(
    "pickled",
    [
        b"}" + nested_tuples(200_000) + b"Ns.",  # as a key: hashing it overflows the stack
        b"(" + nested_tuples(200_000) + b"\x91.",  # as a member of a set
        b"]" * 200_000 + b"a" * 199_999 + b".",
        b"Nr\xff\xff\xff\x7f.",  # a place of the memo far away
        b"Np999999999999\n.",
        b"\x8e" + (2**40).to_bytes(8, "little") + b".",  # lengths
        b"\x96" + (2**62).to_bytes(8, "little") + b".",
        b"\x8d" + (2**62).to_bytes(8, "little") + b".",
        b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b".",
        b"T\xff\xff\xff\x7f.",
        b"\x8b\xff\xff\xff\x7f.",
        b"L" + b"9" * 10_000 + b"L\n.",
        b"\x82\x01.",  # the registry of extensions
        b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aNsb.",  # alters the reader
        b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsNsb.",  # hides a method: not kept
        b"0.",
        b"R.",
        b"",
        b"(" * 1000,
    ],
    ids=range(19),
)
def test_pickles_that_declare_what_is_not_there(tmp_path, pickled):
    refusal(tmp_path, archive(b"\x80\x02" + pickled))


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path):
    data = archive(b"\x80\x02}.", **{"0": bytes(2**28)})
    assert len(data) < 2**20
    assert "that unpack to" in refusal(tmp_path, data)


def test_numbers_that_are_shared_a_thousand_times_are_refused(tmp_path):
    numbers = torch.zeros(2**20)
    assert "too large" in refusal(tmp_path, saved({f"a.{i}": numbers[i:] for i in range(1000)}))


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_bytes_are_one_line(tmp_path, legacy):
    whole, source = (
        saved({"state_dict": STATE, "args": {"lr": 0.1}}, legacy=legacy),
        random.Random(0),
    )
    read_well = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(source.choice([1, 1, 1, 5])):
            data[source.randrange(len(data))] = source.randrange(256)
        (tmp_path / "x.pth").write_bytes(data[: source.choice([None, None, len(data) // 2])])
        try:
            WeightFile.load(tmp_path / "x.pth")
            read_well += 1
        except UserError as error:
            assert "\n" not in str(error) and str(error).isprintable()
    assert read_well < 250


def test_a_skipped_object_does_nothing():
    thing = Skipped(1, a=2)
    thing.append(3)
    thing.extend([3])
    thing[4] = 5
    thing.__setstate__({"name": "x"})
    assert thing(1, 2) is thing and not vars(thing)
