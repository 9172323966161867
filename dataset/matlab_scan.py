"""What a MATLAB 5 file declares is checked against what it holds, before SciPy acts upon it."""

import math
import zlib
from pathlib import Path

from common.errors import UserError
from common.files import check_memory

HEADER = 128  # bytes
MATRIX, COMPRESSED = 14, 15
TYPES = {*range(1, 8), 9, *range(12, 19)}  # of elements
SPARSE = 5  # a class of matrices
MAX_DEPTH = 10  # of cells in cells
PACKED = 100  # times that what a file holds may be larger than the file


class _Damaged(ValueError):
    """The file declares what it does not hold."""


def check_matlab_5(path: Path) -> None:
    """Follow the elements of a MATLAB 5 file without making arrays of them.

    Raises:
        UserError: an element is longer than what is left, an array larger than its bytes, or all
            would unpack to far more than the file holds.
    """
    size = path.stat().st_size
    check_memory(2 * size)
    data = path.read_bytes()
    order = "big" if data[126:HEADER] == b"MI" else "little"
    try:
        _check_elements(data[HEADER:], order, room=PACKED * size, depth=0)
    except (_Damaged, zlib.error) as error:
        raise UserError(f"{path}: not a MATLAB 5 file, or damaged ({error})") from None


def _check_elements(data: bytes, order: str, *, room: int, depth: int) -> int:
    """Check elements that follow one another; returns what is left of the room to unpack to."""
    if depth > MAX_DEPTH:
        raise _Damaged(f"more than {MAX_DEPTH} levels")
    place = 0
    while len(data) - place >= 8:
        kind, length, start = _tag(data, place, order)
        if kind not in TYPES:
            raise _Damaged(f"a part of type {kind}")
        if length > len(data) - start:
            raise _Damaged(f"a part of {length:,} bytes, {len(data) - start:,} are left")
        content = data[start : start + length]
        if kind == COMPRESSED:
            unpacked = _unpacked(content, room)
            room = _check_elements(unpacked, order, room=room - len(unpacked), depth=depth + 1)
        elif kind == MATRIX and content:
            _check_shape(content, order)
            room = _check_elements(content, order, room=room, depth=depth + 1)
        place = start + length if start - place == 8 else place + 8
        place += 0 if kind == COMPRESSED else -place % 8
    return room


def _tag(data: bytes, place: int, order: str) -> tuple[int, int, int]:
    """Type, length and start of the element at a place; short ones share their tag's 8 bytes."""
    first = _integer(data[place : place + 4], order)
    if first >> 16:
        return first & 0xFFFF, min(first >> 16, 4), place + 4
    return first, _integer(data[place + 4 : place + 8], order), place + 8


def _integer(data: bytes, order: str) -> int:
    return int.from_bytes(data, "big" if order == "big" else "little")


def _unpacked(content: bytes, room: int) -> bytes:
    """What compressed bytes unpack to, at most `room`."""
    unpack = zlib.decompressobj()
    unpacked = unpack.decompress(content, max(room, 1))
    if unpack.unconsumed_tail or not unpack.eof:
        reason = "unpacks to far more than it holds" if unpack.unconsumed_tail else "is cut short"
        raise _Damaged(f"a compressed part {reason}")
    return unpacked


def _check_shape(content: bytes, order: str) -> None:
    """Require that an array's bytes can hold as many items as its shape says."""
    _, length, start = _tag(content, 0, order)  # flags
    matrix_class = _integer(content[start : start + 4], order) & 0xFF
    place = start + length + -(start + length) % 8
    if matrix_class == SPARSE or len(content) - place < 8:
        return
    _, length, start = _tag(content, place, order)
    sizes = [
        _integer(content[at : at + 4], order)
        for at in range(start, min(start + length, len(content)), 4)
    ]
    if math.prod(sizes) > len(content):
        raise _Damaged(f"an array of shape {tuple(sizes[:8])} in {len(content):,} bytes")
