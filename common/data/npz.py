"""Read .npz and .npy files, and the plain records that data sets find in them.

Whatever a file holds, reading it runs nothing of it, takes no more memory than its size explains,
and either gives plain arrays, dictionaries, lists and numbers or ends in one line that says what
is wrong.
"""

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy_format
from torch import Tensor

from common.data.pickled import load_pickle
from common.errors import UserError, shown
from common.files import check_memory, open_regular
from common.pickle_scan import Refused

WHERE_DATA_COME_FROM = (
    "dataset/README.md says how to get it; --root_path dataset/sample/ works without"
)
MAX_ENTRIES = 10_000  # of an .npz file
# What an .npz file may unpack to: so many times its size, which poses never reach, or so many
# bytes, for long clips whose 3D is not known (NaN throughout) pack a thousand times smaller.
PACKED, UNPACKED = 20, 2**29
MOST_LISTED = 2**26  # numbers in nested lists that are made an array


@contextmanager
def making_sense(where: str, expected: str) -> Iterator[None]:
    """Turn any failure to make sense of what a file holds into one line.

    Args:
        where: the file, and the place in it, for the message.
        expected: what should be there.

    Raises:
        UserError: anything went wrong in the block.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{where}: no such file") from None
    except Refused as error:
        raise UserError(f"{where}: refused, it holds more than data: {shown(error)}") from None
    except (MemoryError, RecursionError) as error:
        raise UserError(
            f"{where}: too large or too deep to read ({type(error).__name__})"
        ) from None
    except Exception as error:  # files in no format surface as almost any exception
        reason = f"{type(error).__name__}: {shown(error)}"
        raise UserError(f"{where}: {expected} is needed ({reason})") from None


def _read_member(data: bytes) -> Any:
    """One .npy file: a plain array, or the object that a pickled one holds."""
    stream = io.BytesIO(data)
    version = npy_format.read_magic(stream)
    readers = {
        (1, 0): npy_format.read_array_header_1_0,
        (2, 0): npy_format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the .npy format")
    shape, fortran_order, dtype = readers[version](stream)
    if dtype.hasobject:
        return load_pickle(data[stream.tell() :])
    array = np.frombuffer(stream.read(), dtype=dtype)
    return array.reshape(shape, order="F" if fortran_order else "C")


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Bound what an archive declares before any of it is unpacked.

    Raises:
        UserError: the file is damaged or would unpack to much more than it holds.
    """
    members = archive.infolist()
    packed = sum(member.compress_size for member in members)
    unpacked = sum(member.file_size for member in members)
    if packed > size or len(members) > MAX_ENTRIES:
        raise zipfile.BadZipFile(f"{len(members)} entries of {packed} bytes in {size}")
    if unpacked > max(PACKED * size, UNPACKED):
        raise Refused(f"{size:,} bytes that unpack to {unpacked:,}")
    check_memory(unpacked)


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
    with making_sense(path, "an .npz file of poses"), open_regular(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                _check_sizes(archive, os.fstat(stream.fileno()).st_size)
                return {
                    member.filename.removesuffix(".npy"): _read_member(archive.read(member))
                    for member in archive.infolist()
                }
        except zipfile.BadZipFile:
            raise UserError(f"{path}: not an .npz file, or cut short") from None


def load_npy(path: Path) -> np.ndarray:
    """Read the one plain array of an .npy file.

    Raises:
        UserError: it is missing, damaged, or holds something else.
    """
    with making_sense(str(path), "an .npy file of one plain array"), open_regular(path) as stream:
        check_memory(os.fstat(stream.fileno()).st_size)
        array = numbers(_read_member(stream.read()))
        if array is None:
            raise UserError(f"{path}: not an .npy file of one plain array of numbers")
        return array


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
    if not os.path.lexists(path):
        raise UserError(f"{shown(path)}: no such file; {WHERE_DATA_COME_FROM}")
    content = load_npz(path)
    if not isinstance(content.get(key), dict):
        held = shown(", ".join(content)) or "nothing"
        raise UserError(f"{path}: no dictionary {key!r} in it ({held})")
    return content | {key: named(content[key], f"{path}: {key!r}")}


def load_dictionary(path: Path, key: str) -> dict[str, Any]:
    """The dictionary that a data file holds under one key; see `load_entries`."""
    return load_entries(path, key)[key]


def named(value: Any, where: str) -> dict[str, Any]:
    """A dictionary from a file, its keys names.

    Args:
        value: what should be a dictionary.
        where: file and place, for the message.

    Raises:
        UserError: it is none, or a key is no text.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where} is not a dictionary")
    for key in value:
        if not isinstance(key, str):
            raise UserError(f"{where}: the key {shown(repr(key))} is not a name")
    return value


def numbers(value: Any) -> np.ndarray | None:
    """An array of numbers, also from nested lists and object arrays of numbers or of arrays.

    Returns:
        The array; None if it is something else, or ragged.
    """
    if isinstance(value, list | tuple) and _listed(value, {}) is not None:
        try:
            value = np.array(value)
        except ValueError:  # ragged
            return None
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" else None


def _listed(value: Any, done: dict[int, int | None]) -> int | None:
    """How many numbers nested lists unfold to; None if there is anything else, or far too many."""
    if isinstance(value, np.ndarray):
        return value.size if value.dtype.kind in "fiu" else None
    if isinstance(value, list | tuple):
        if id(value) not in done:
            done[id(value)] = None  # also if it holds itself
            parts = [_listed(part, done) for part in value]
            if None not in parts:
                total = sum(part for part in parts if part is not None)
                done[id(value)] = total if total <= MOST_LISTED else None
        return done[id(value)]
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return 1 if number else None


def integer(value: Any, where: str, *, low: int, high: int) -> int:
    """A whole number from a file.

    Raises:
        UserError: it is none, or not from `low` to `high`.
    """
    number = (
        value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value
    )
    whole = isinstance(number, int | float) and not isinstance(number, bool)
    if not whole or not low <= number <= high or number != int(number):
        raise UserError(f"{where} is {shown(value)}; a whole number from {low} to {high} is needed")
    return int(number)


def described(value: Any) -> str:
    """What stands in the place of an array, for a message: its shape, or its type."""
    if isinstance(value, np.ndarray):
        kind = "" if value.dtype.kind in "fiu" else f" of {shown(value.dtype)}"
        return f"has shape {value.shape}{kind}"
    held = numbers(value)
    if held is not None:
        return f"has shape {held.shape}"
    if isinstance(value, list | tuple):
        return f"has shape (): a list of {len(value)} unequal items, no array of numbers"
    return f"has shape (): {type(value).__name__}, no array of numbers"


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
        coordinates: C; 2D may have a confidence in a third column.
        where: file and sequence, for messages.

    Returns:
        (L, J, C), L > 0.

    Raises:
        UserError: there are none, or they have another shape.
    """
    held = entry.get(key) if isinstance(entry, dict) else None
    array = numbers(held)
    columns = (coordinates, coordinates + 1) if coordinates == 2 else (coordinates,)
    shape = () if array is None else array.shape
    if array is None or len(shape) != 3 or not shape[0] or shape[1] != joints:
        fits = False
    else:
        fits = shape[2] in columns
    if array is None or not fits:
        needed = " or ".join(map(str, columns))
        raise UserError(
            f"{where}: {key!r} {described(held)}, (frames, {joints}, {needed}) is needed"
        )
    return array


def float_tensor(array: np.ndarray) -> Tensor:
    """A float32 copy: what files hold is read-only; numbers that do not fit become infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return torch.from_numpy(np.array(array, dtype=np.float32))
