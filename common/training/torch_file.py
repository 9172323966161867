"""Read files of `torch.save` without running code from them.

Objects that are not data (options, numbers of NumPy, whole models, states of other libraries) are
skipped: what stands for their classes makes nothing and keeps nothing, so that weights beside them
can be read. A file that names functions of Python itself, which no data need, is refused. Tensors
are dense, on the CPU, and take no more memory than the file's size explains.
"""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

import torch
from torch import Tensor

from common.errors import UserError, listing, shown
from common.files import check_memory, open_regular
from common.pickle_scan import Refused, scan_pickle
from common.training.placeholders import Admitted, Dictionary, Skipped, is_data

AGAIN = "copy or download it again"
# What the first bytes of a file that is no checkpoint say of it.
OTHER_KINDS = {
    b"version https://git-lfs": "a git-lfs pointer, not the file itself: git lfs pull fetches it",
    b"\x93NUMPY": "a NumPy array, not a checkpoint",
    b"\x89HDF": "an HDF5 file, not a checkpoint",
    b"\x89PNG": "a picture, not a checkpoint",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
}
WEB_PAGES = (b"<!doctype", b"<html", b"<?xml")
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # what files of torch.save before PyTorch 1.6 begin with
LEGACY_PROTOCOL = 1001
UNPACKED, REPEATED = 20, 4  # times a file's size: an archive's content, all its tensors together
LITTLE = 2**26  # bytes that any file may become

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class OtherKind(Exception):
    """A file is no checkpoint; the message says what it is."""


class _Storage:
    """Numbers in a file, read when a tensor of them is made."""

    def __init__(self, dtype: torch.dtype, numel: int, read: Callable[[], bytes]) -> None:
        self.dtype, self.numel, self.read = dtype, numel, read
        self._made: Tensor | None = None

    def tensor(self) -> Tensor:
        """All numbers, (numel,)."""
        if self._made is None:
            content = bytearray(self.read())
            if len(content) != self.numel * self.dtype.itemsize:
                raise Refused(f"{len(content):,} bytes for {self.numel:,} numbers")
            # Of a bool any byte but 0 and 1 would be undefined.
            dtype = torch.uint8 if self.dtype == torch.bool else self.dtype
            numbers = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0)
            self._made = numbers != 0 if self.dtype == torch.bool else numbers.to(self.dtype)
        return self._made


class _Strided:
    """A tensor that is made when all of a file was read."""

    __slots__ = ("arguments", "made")

    def __init__(self, storage: _Storage, offset: Any, size: Any, stride: Any) -> None:
        self.arguments = (storage, offset, size, stride)
        self.made: Tensor | None = None

    def __setstate__(self, state: Any) -> NoReturn:
        raise Refused("an attempt to alter a tensor")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *others: Any) -> Any:
    if isinstance(storage, _Storage) and not any(isinstance(o, dict) and o for o in others[2:]):
        return _Strided(storage, offset, size, stride)
    return storage if isinstance(storage, Skipped) else Skipped()  # of another kind


def _bytes(text: str, encoding: str) -> bytes:
    """Protocol 2 spells bytes as `_codecs.encode(text, 'latin1')`."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"the codec {encoding!r}")
    return text.encode("latin1")


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _typed(function: Any, _kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor that has attributes of its own, which are left out."""
    return function(*arguments) if isinstance(function, Admitted) else Skipped()


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): Dictionary,
    ("_codecs", "encode"): _bytes,
    ("torch", "Size"): lambda sizes=(): tuple(sizes),
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _typed,
}


class _Unpickler(pickle.Unpickler):
    """An unpickler that makes dictionaries, lists, numbers, texts and tensors, nothing else."""

    def __init__(
        self, data: bytes, storage_of: Callable[[torch.dtype, str, int], _Storage]
    ) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8", errors="replace")
        self._storage_of = storage_of
        self._names: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; nothing is looked up or imported."""
        key = (module, name)
        if key not in self._names:
            if key in _FUNCTIONS:
                self._names[key] = Admitted(_FUNCTIONS[key])
            elif module in ("torch", "torch.cuda") and name in DTYPES:
                self._names[key] = DTYPES[name]
            elif not is_data(module, name):
                raise OtherKind(f"refused, it would call {shown(f'{module}.{name}')}")
            else:
                self._names[key] = type("Skipped", (Skipped,), {"name": f"{module}.{name}"})
        return self._names[key]

    def persistent_load(self, reference: Any) -> Any:
        """The numbers that a tensor refers to."""
        if reference[0] == "module":  # a class, with its source
            return reference[1]
        kind, dtype, key, _location, numel, *view = reference
        if kind != "storage" or not isinstance(key, str) or not _is_count(numel) or any(view):
            raise Refused("a reference to something else than numbers")
        if not isinstance(dtype, torch.dtype):
            return dtype() if isinstance(dtype, type) and issubclass(dtype, Skipped) else Skipped()
        return self._storage_of(dtype, key, numel)


def load_torch(path: str | Path) -> Any:
    """Read a file of `torch.save`.

    Args:
        path: the file.

    Returns:
        What it holds, made of dictionaries, lists, tuples, numbers, texts and tensors; `Skipped` in
        the place of anything else.

    Raises:
        UserError: it is missing, no regular file, of another kind, damaged, or declares more than
            it holds.
    """
    if not os.path.lexists(path):
        raise UserError(f"{shown(path)}: no such checkpoint")
    with open_regular(path) as stream:
        try:
            return _read(stream, os.fstat(stream.fileno()).st_size)
        except zipfile.BadZipFile:
            reason = f"cut short or damaged; {AGAIN}"
        except Refused as error:
            reason = f"not a checkpoint, or damaged ({shown(error)})"
        except (MemoryError, RecursionError) as error:
            reason = f"too large or too deep to read ({type(error).__name__})"
        except OtherKind as error:
            reason = str(error)
        except Exception as error:  # damaged bytes surface as almost any exception
            reason = f"not a checkpoint, or damaged ({type(error).__name__}); {AGAIN}"
    raise UserError(f"{shown(path)}: {reason}")


def _read(stream: IO[bytes], size: int) -> Any:
    """What a file of some bytes holds."""
    head = stream.read(64)
    if not head:
        raise OtherKind(f"an empty file; {AGAIN}")
    for begin, kind in OTHER_KINDS.items():
        if head.startswith(begin):
            raise OtherKind(kind)
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(WEB_PAGES):
        raise OtherKind("a web page, not a checkpoint; download the file itself")
    stream.seek(0)
    if head.startswith(b"PK"):
        return _read_archive(stream, size)
    if head.startswith(b"\x80"):
        check_memory(size)
        return _read_legacy(stream.read())
    raise OtherKind(f"not a checkpoint, or damaged; {AGAIN}")


def _read_archive(stream: IO[bytes], size: int) -> Any:
    """The format of PyTorch 1.6 and later: a zip archive with a pickle and the numbers."""
    with zipfile.ZipFile(stream) as archive:
        members = {member.filename: member for member in archive.infolist()}
        unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > max(UNPACKED * size, LITTLE):
            raise Refused(f"{size:,} bytes that unpack to {unpacked:,}")
        check_memory(unpacked)
        pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
        if any(name.rpartition("/")[2] == "constants.pkl" for name in members):
            raise OtherKind("a TorchScript program; save the state_dict() of its model instead")
        if len(pickles) != 1:
            names = shown(listing(list(members))) or "nothing"
            raise OtherKind(f"a zip archive, but no checkpoint, with {names} in it")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
            raise OtherKind("written on a big-endian machine; save it again on another one")
        storages: dict[str, _Storage] = {}

        def storage_of(dtype: torch.dtype, key: str, numel: int) -> _Storage:
            name = f"{root}data/{key}"
            if name not in members:
                raise Refused(f"no {shown(name)} in it")
            made = _Storage(dtype, numel, lambda: archive.read(name))
            return storages.setdefault(f"{dtype} {numel} {key}", made)

        data = archive.read(pickles[0])
        scan_pickle(data, objects=True)
        return _Maker(size).make(_Unpickler(data, storage_of).load())


def _read_legacy(data: bytes) -> Any:
    """The format before PyTorch 1.6: pickles one after another, then the numbers."""
    position, storages = 0, OrderedDict[str, _Storage]()

    def storage_of(dtype: torch.dtype, key: str, numel: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, numel, bytes))

    def next_pickle() -> Any:
        nonlocal position
        part = data[position:]
        position += scan_pickle(part, objects=True)
        return _Unpickler(part, storage_of).load()

    if next_pickle() != LEGACY_MAGIC or next_pickle() != LEGACY_PROTOCOL:
        raise OtherKind("a pickle that torch.save did not write")
    system = next_pickle()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise OtherKind("written on a big-endian machine; save it again on another one")
    content, keys = next_pickle(), next_pickle()
    for key in keys:
        storage, count = storages[key], int.from_bytes(data[position : position + 8], "little")
        end = position + 8 + count * storage.dtype.itemsize
        if count != storage.numel or end > len(data):
            raise zipfile.BadZipFile
        storage.read, position = partial(_cut, data, position + 8, end), end
    return _Maker(len(data)).make(content)


def _cut(data: bytes, start: int, end: int) -> bytes:
    return data[start:end]


class _Maker:
    """Makes the tensors in what was read; shared parts stay shared, and nothing unfolds."""

    def __init__(self, file_size: int) -> None:
        self._allowed = max(REPEATED * file_size, LITTLE)
        self._done: dict[int, Any] = {}

    def make(self, value: Any) -> Any:
        """The same with tensors."""
        if isinstance(value, _Strided):
            return self._tensor(value)
        if isinstance(value, torch.dtype | Admitted | _Storage) or value is Ellipsis:
            return Skipped()
        if not isinstance(value, dict | list | tuple):
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        if isinstance(value, tuple):
            self._done[id(value)] = made = tuple(self.make(item) for item in value)
            return made
        if isinstance(value, list):
            items: list[Any] = []
            self._done[id(value)] = items
            items.extend(self.make(item) for item in value)
            return items
        entries: dict[Any, Any] = OrderedDict() if isinstance(value, Dictionary) else {}
        self._done[id(value)] = entries
        entries.update((key, self.make(item)) for key, item in value.items())
        if isinstance(value, Dictionary) and value.metadata is not None:
            entries._metadata = self.make(value.metadata)  # type: ignore[attr-defined]
        return entries

    def _tensor(self, value: _Strided) -> Tensor:
        """A dense tensor of its own memory."""
        if value.made is not None:
            return value.made
        storage, offset, size, stride = value.arguments
        sizes = (offset, *size, *stride)
        if len(size) != len(stride) or not all(map(_is_count, sizes)):
            raise Refused("a tensor of an impossible size")
        numbers = storage.tensor()
        view = numbers.as_strided(size, stride, offset)  # checks that all of it is there
        if view.numel() > storage.numel:
            raise Refused(f"a tensor of {view.numel():,} numbers made of {storage.numel:,}")
        self._allowed -= view.numel() * storage.dtype.itemsize
        if self._allowed < 0:
            raise MemoryError
        value.made = view.clone(memory_format=torch.contiguous_format)
        return value.made


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62
