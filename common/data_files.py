"""Write .npz files of pickled dictionaries, in this field's formats: whole, in bounded memory.

`numpy.savez_compressed(path, key=dictionary)` needs the whole dictionary at once. The writer here
takes it item by item and writes the same; `numpy.load` and `common.safe_npz` read it.
"""

import errno
import os
import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from common.errors import UserError

PROTOCOL = 3  # from protocol 4 on a pickle is cut into frames, so that parts do not add up to one
_PLACEHOLDER = 0x5A5A5A5A  # an integer: nothing in a pickle refers back to it


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A stream to a file that gets its name when the block ends well, and not before.

    So at any moment either the old or the new file is there, whole.

    Args:
        path: the file; its folder must exist.

    Yields:
        The stream, open for writing.

    Raises:
        UserError: it cannot be written (a full disk, say; any OSError of the block counts as one);
            a file of that name is left as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        kept = "; the file that was there is intact" if path.exists() else ""
        raise UserError(f"cannot write {path}: {reason}{kept}") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def dictionary_file(path: Path, key: str, **others: Any) -> Iterator[Callable[[Any, Any], None]]:
    """An .npz file with one pickled dictionary, written item by item.

    The memory taken does not grow with the number of items, and equal items give equal files.

    Args:
        path: the file; see `whole_file`.
        key: name of the entry that holds the dictionary.
        **others: small entries beside it, pickled whole (`metadata`, say).

    Yields:
        A function of a name and a value that writes one more item.

    Raises:
        UserError: it cannot be written.
    """
    with whole_file(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, value in others.items():
            with archive.open(_member(name), "w") as member:
                npy_format.write_array(member, np.array(value, dtype=object), allow_pickle=True)
        with archive.open(_member(key), "w", force_zip64=True) as member:
            header = {"descr": "|O", "fortran_order": False, "shape": ()}
            npy_format.write_array_header_1_0(member, header)
            before, after = _around_the_item_of_an_array()
            member.write(before + pickle.EMPTY_DICT)

            def add(name: Any, value: Any) -> None:
                member.write(_pickle_body(name) + _pickle_body(value) + pickle.SETITEM)

            yield add
            member.write(after)


def _member(name: str) -> zipfile.ZipInfo:
    """A compressed member of an archive, without the time of day."""
    info = zipfile.ZipInfo(f"{name}.npy")
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


def _pickle_body(value: Any) -> bytes:
    """A pickle without what opens it (two bytes, the protocol) and what ends it (one)."""
    return pickle.dumps(value, PROTOCOL)[2:-1]


def _around_the_item_of_an_array() -> tuple[bytes, bytes]:
    """What stands before and after the item in the pickle of a 0-d object array."""
    whole = pickle.dumps(np.array(_PLACEHOLDER, dtype=object), PROTOCOL)
    before, after = whole.split(_pickle_body(_PLACEHOLDER))
    return before, after


def output_paths(folder: Path, names: Iterable[str], *, force: bool) -> list[Path]:
    """The files that a script will write; makes their folder.

    Args:
        folder: the output folder.
        names: file names.
        force: whether files that are there may be replaced.

    Raises:
        UserError: a file is there already, or the folder cannot be made.
    """
    paths = [folder / name for name in names]
    present = [str(path) for path in paths if path.exists()]
    if present and not force:
        raise UserError(f"{', '.join(present)}: there already; --force replaces what is there")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None
    return paths
