"""Read .npz files that hold pickled dictionaries without running code from them.

The data files of this field store dictionaries of arrays as pickled objects, and unpickling runs
whatever a file names. The reader here looks up no name in any module: the few names that arrays,
scalars, dtypes and plain containers need map to functions of this file, every other name is an
error. Python 2 pickles and the module paths of NumPy 1 and 2 are understood.
"""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.lib import format as npy_format
from torch import Tensor

from common.errors import UserError

WHERE_DATA_COME_FROM = (
    "dataset/README.md says how to get it; --root_path dataset/sample/ works without"
)


class _Refused(pickle.UnpicklingError):
    """A pickle asks for something that is not data."""


class _Admitted:
    """What an allowed name stands for: callable, or a mere marker; its state cannot be set."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any] | None) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        if self._function is None:
            raise _Refused("an array type called as a function")
        return self._function(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        raise _Refused("an attempt to alter the reader")


class _PickledDtype:
    """A dtype under construction; only plain ones (no fields, no sub-arrays) are admitted."""

    def __init__(self, name: Any, *_: Any) -> None:
        if not isinstance(name, str):
            raise _Refused(f"a dtype named {name!r}")
        self.dtype = np.dtype(name)
        if self.dtype.names or self.dtype.subdtype:
            raise _Refused("a structured dtype")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, byte_order, sub_array, names, fields, *_ = state
        if sub_array is not None or names is not None or fields is not None:
            raise _Refused("a structured dtype")
        if byte_order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(byte_order)


class _PickledArray:
    """An array under construction; `plain` turns it into a NumPy array or a list."""

    def __init__(self, *_: Any) -> None:
        self.array: np.ndarray | list[Any] = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran_order, data = state
        if dtype.dtype.hasobject:
            self.array = _nested(list(data), tuple(shape))
            return
        raw = data.encode("latin1") if isinstance(data, str) else data
        self.array = _array_from_bytes(raw, dtype, tuple(shape), "F" if fortran_order else "C")


def _nested(items: list[Any], shape: tuple[int, ...]) -> Any:
    """The items of an object array as nested lists; of a 0-d one, the item."""
    if not shape:
        return items[0]
    if len(shape) == 1:
        return items
    step = len(items) // max(shape[0], 1)
    rows = (items[i * step : (i + 1) * step] for i in range(shape[0]))
    return [_nested(row, shape[1:]) for row in rows]


def _array_from_bytes(data: Any, dtype: _PickledDtype, shape: Any, order: str = "C") -> np.ndarray:
    if dtype.dtype.hasobject:
        raise _Refused("an object array made from bytes")
    return np.frombuffer(data, dtype=dtype.dtype).reshape(shape, order=order)  # type: ignore[call-overload]


def _scalar(dtype: _PickledDtype, data: Any) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    return _array_from_bytes(raw, dtype, ())[()]


def _encode(text: str, encoding: str) -> bytes:
    """Protocol 2 spells bytes as `_codecs.encode(text, 'latin1')`."""
    if encoding not in ("latin1", "latin-1"):
        raise _Refused(f"the codec {encoding!r}")
    return text.encode("latin1")


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any] | None] = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _PickledDtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
}
for _core in ("numpy.core", "numpy._core"):
    _FUNCTIONS |= {
        (f"{_core}.multiarray", "_reconstruct"): _PickledArray,
        (f"{_core}.multiarray", "scalar"): _scalar,
        (f"{_core}.numeric", "_frombuffer"): _array_from_bytes,
    }
for _builtins in ("builtins", "__builtin__"):
    _FUNCTIONS |= {(_builtins, container.__name__): container for container in (set, frozenset)}


class _DataUnpickler(pickle.Unpickler):
    """An unpickler whose every name comes from `_FUNCTIONS`."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _FUNCTIONS:
            raise _Refused(f"the name {module}.{name}")
        return _Admitted(_FUNCTIONS[module, name])


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Replace arrays under construction, at any depth, by what they hold.

    `done` maps what was converted already, by identity: shared parts stay shared, so that a small
    file cannot unfold into a huge object.
    """
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, _PickledArray):
        plain = _plain(value.array, done)
    elif isinstance(value, dict):
        plain = {_plain(key, done): _plain(item, done) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        plain = type(value)(_plain(item, done) for item in value)
    elif isinstance(value, _Admitted | _PickledDtype):
        raise _Refused("a function in the place of data")
    else:
        return value
    done[id(value)] = plain
    return plain


def _read_member(stream: Any) -> Any:
    """One .npy member: a plain array, or the object that a pickled one holds."""
    version = npy_format.read_magic(stream)
    readers = {
        (1, 0): npy_format.read_array_header_1_0,
        (2, 0): npy_format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the .npy format")
    shape, fortran_order, dtype = readers[version](stream)
    if dtype.hasobject:
        return _plain(_DataUnpickler(stream, encoding="latin1").load(), {})
    array = np.frombuffer(stream.read(), dtype=dtype)
    return array.reshape(shape, order="F" if fortran_order else "C")


def load_npz(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read every entry of an .npz file.

    Args:
        path: the file.

    Returns:
        Entry name -> array, or, where the entry holds a pickled object, that object made of dicts,
        lists, tuples, strings, numbers and arrays (read-only).

    Raises:
        UserError: the file is missing, damaged, not an .npz file, or holds anything but data.
    """
    path = os.fspath(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {}
            for name in archive.namelist():
                with archive.open(name) as member:
                    # A buffered whole: unpickling straight from the archive reads in tiny pieces.
                    entries[name.removesuffix(".npy")] = _read_member(io.BytesIO(member.read()))
            return entries
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a directory, not an .npz file") from None
    except _Refused as error:
        raise UserError(f"{path}: refused, it holds more than data: {error}") from None
    except zipfile.BadZipFile:
        raise UserError(f"{path}: not an .npz file, or cut short") from None
    except (MemoryError, RecursionError) as error:
        raise UserError(f"{path}: too large or too deep to read ({type(error).__name__})") from None
    except Exception as error:  # damaged bytes surface as almost any exception of the decoders
        raise UserError(f"{path}: damaged or not an .npz file of poses ({error})") from None


def load_entries(path: Path, key: str) -> dict[str, Any]:
    """Read a data file of this field that holds a dictionary under one key.

    Args:
        path: the file.
        key: for example "positions_3d".

    Returns:
        All entries.

    Raises:
        UserError: as `load_npz`; or there is no such dictionary in it.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; {WHERE_DATA_COME_FROM}")
    content = load_npz(path)
    if not isinstance(content.get(key), dict):
        raise UserError(f"{path}: no dictionary {key!r} in it ({', '.join(content) or 'nothing'})")
    return content


def load_dictionary(path: Path, key: str) -> dict[str, Any]:
    """The dictionary that a data file holds under one key; see `load_entries`."""
    return load_entries(path, key)[key]


def numeric_shape(array: Any) -> tuple[int, ...]:
    """The shape of an array of numbers; () for anything else."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "fiu":
        return array.shape
    return ()


def pose_array(entry: Any, key: str, *, joints: int, coordinates: int, where: str) -> np.ndarray:
    """The poses that an entry of a data file holds under a key.

    Args:
        entry: a dictionary, in a sound file.
        key: for example "data_2d".
        joints: J.
        coordinates: C.
        where: file and sequence, for messages.

    Returns:
        (L, J, C), L > 0.

    Raises:
        UserError: there are none, or they have another shape.
    """
    array = entry.get(key) if isinstance(entry, dict) else None
    shape = numeric_shape(array)
    if array is None or len(shape) != 3 or shape[1:] != (joints, coordinates) or not shape[0]:
        raise UserError(
            f"{where}: {key!r} has shape {shape}, (frames, {joints}, {coordinates}) is needed"
        )
    return array


def float_tensor(array: np.ndarray) -> Tensor:
    """A float32 copy: what files hold is read-only."""
    return torch.from_numpy(np.array(array, dtype=np.float32))
