"""Write .npz files of pickled dictionaries, in this field's formats: whole, in bounded memory.

`numpy.savez_compressed(path, key=dictionary)` needs the whole dictionary at once. The writer here
takes it item by item and writes the same; `numpy.load` and `common.data.npz` read it.
"""

import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from common.files import whole_file

PROTOCOL = 3  # from protocol 4 on a pickle is cut into frames, so that parts do not add up to one
NEW_NAME, OLD_NAME = "numpy._core.", "numpy.core."  # of the module of NumPy 2, of NumPy 1
HEADER = {"descr": "|O", "fortran_order": False, "shape": ()}  # of a pickled object
_PLACEHOLDER = 0x5A5A5A5A  # an integer: nothing in a pickle refers back to it


@contextmanager
def dictionary_file(path: Path, key: str, **others: Any) -> Iterator[Callable[[Any, Any], None]]:
    """An .npz file with one pickled dictionary, written item by item.

    The memory taken does not grow with the number of items, and equal items give equal files.

    Args:
        path: the file; see `whole_file`.
        key: name of the entry that holds the dictionary.
        **others: small entries beside it, pickled whole, for example `metadata`.

    Yields:
        A function of a name and a value that writes one more item.

    Raises:
        UserError: it cannot be written.
    """
    with whole_file(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, value in others.items():
            with archive.open(_member(name), "w") as member:
                npy_format.write_array_header_1_0(member, HEADER)
                member.write(portable_pickle(np.array(value, dtype=object)))
        with archive.open(_member(key), "w", force_zip64=True) as member:
            npy_format.write_array_header_1_0(member, HEADER)
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


def portable_pickle(value: Any) -> bytes:
    """A pickle that NumPy 1 and 2 read: NumPy 2 names a module that NumPy 1 does not have.

    NumPy 2 reads both names. The names are replaced where the opcodes have them, so that the same
    bytes inside of an array or a text stay as they are.
    """
    whole = pickle.dumps(value, PROTOCOL)
    parts, done = [], 0
    for opcode, argument, place in pickletools.genops(whole):
        if opcode.name == "GLOBAL" and str(argument).startswith(NEW_NAME):
            assert place is not None  # it is of bytes
            parts += [whole[done : place + 1], OLD_NAME.encode()]
            done = place + 1 + len(NEW_NAME)
    return b"".join([*parts, whole[done:]])


def _pickle_body(value: Any) -> bytes:
    """A pickle without what opens it (two bytes, the protocol) and what ends it (one)."""
    return portable_pickle(value)[2:-1]


def _around_the_item_of_an_array() -> tuple[bytes, bytes]:
    """What stands before and after the item in the pickle of a 0-d object array."""
    whole = portable_pickle(np.array(_PLACEHOLDER, dtype=object))
    before, after = whole.split(_pickle_body(_PLACEHOLDER))
    return before, after
