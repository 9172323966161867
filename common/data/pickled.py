"""Pickles of data, read without running code from them.

The data files of this field store dictionaries of arrays as pickled objects, and unpickling runs
whatever a file names. The reader here looks up no name in any module: the few names that arrays,
scalars, dtypes and plain containers need map to functions of this file, every other name is an
error. Python 2 pickles and the module paths of NumPy 1 and 2 are understood.
"""

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from common.pickle_scan import Refused, scan_pickle

REPEATED = 16  # times that a file's bytes may stand in what is made of them, by shared arrays
MUCH = 2**20


class _Admitted:
    """What an allowed name stands for: callable, or a mere marker; its state cannot be set."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any] | None) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        if self._function is None:
            raise Refused("an array type called as a function")
        return self._function(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        raise Refused("an attempt to alter the reader")


class _PickledDtype:
    """A dtype under construction; only plain ones (no fields, no sub-arrays) are admitted."""

    def __init__(self, name: Any, *_: Any) -> None:
        if not isinstance(name, str):
            raise Refused(f"a dtype named {name!r}")
        self.dtype = np.dtype(name)
        if self.dtype.names or self.dtype.subdtype:
            raise Refused("a structured dtype")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, byte_order, sub_array, names, fields, *_ = state
        if sub_array is not None or names is not None or fields is not None:
            raise Refused("a structured dtype")
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
    if math.prod(shape) != len(items) or min(shape, default=1) < 0:
        raise Refused(f"{len(items)} items in an array of shape {shape}")
    if not shape:
        return items[0]
    if len(shape) == 1 or not items:
        return items
    step = len(items) // shape[0]
    rows = (items[i * step : (i + 1) * step] for i in range(shape[0]))
    return [_nested(row, shape[1:]) for row in rows]


def _array_from_bytes(data: Any, dtype: _PickledDtype, shape: Any, order: str = "C") -> np.ndarray:
    if dtype.dtype.hasobject:
        raise Refused("an object array made from bytes")
    return np.frombuffer(data, dtype=dtype.dtype).reshape(shape, order=order)  # type: ignore[call-overload]


def _scalar(dtype: _PickledDtype, data: Any) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    return _array_from_bytes(raw, dtype, ())[()]


def _encode(text: str, encoding: str) -> bytes:
    """Protocol 2 spells bytes as `_codecs.encode(text, 'latin1')`."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"the codec {encoding!r}")
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
            raise Refused(f"the name {module}.{name}")
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
        raise Refused("a function in the place of data")
    else:
        return value
    done[id(value)] = plain
    return plain


def _unfolded(value: Any, done: dict[int, int]) -> int:
    """The bytes of numbers in a plain object, each shared part counted wherever it stands."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, dict | list | tuple):
        if id(value) not in done:
            parts = value.values() if isinstance(value, dict) else value
            done[id(value)] = sum(_unfolded(part, done) for part in parts)
        return done[id(value)]
    return 8 if isinstance(value, int | float) else 0


def load_pickle(data: bytes) -> Any:
    """Read a pickle of data.

    Args:
        data: the pickle.

    Returns:
        What it holds: dicts, lists, tuples, sets, strings, bytes, numbers and (read-only) arrays;
        object arrays as lists.

    Raises:
        Refused: it holds anything else, or declares more than it holds.
        Exception: it is damaged; of almost any type.
    """
    scan_pickle(data)
    plain = _plain(_DataUnpickler(io.BytesIO(data), encoding="latin1").load(), {})
    if _unfolded(plain, {}) > REPEATED * len(data) + MUCH:
        raise Refused("the same arrays again and again")
    return plain
