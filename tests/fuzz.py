"""Mutations of files: of their bytes, of the members of archives, and of what they hold."""

import copy
import io
import json
import pickle
import random
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TEXTS = (".csv", ".bvh", ".toml", ".xml")
ODD_WORDS = (
    *("", "0", "-1", "nan", "inf", "-inf", "1e308", "1e-300", "9" * 500, "2" * 5000, "1,5", "0x10"),
    *("{", "}", "[", "]]", '"', "#", "\n", "\0", "\x1b[31m", "\u2028", "Zrotation", "MOTION"),
    *(
        "End Site",
        "<camera>",
        "</camera>",
        "JOINT x\n{\nOFFSET 0 0 0\n",
        "é",
        "true",
        "1979-05-27",
        "a.b=1",
    ),
)
HUGE = (0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0xFFFFFFFE, 0x10000000)


@dataclass(frozen=True)
class Reader:
    """A reader and a file that it reads.

    Attributes:
        file: name of the file.
        write: folder -> what the file holds (None if its bytes are all there is to mutate); writes
            the file and what else the reader needs.
        read: folder -> anything.
        accepts: exceptions that the caller of the reader handles, beside `UserError`.
    """

    file: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    accepts: tuple[type[Exception], ...] = ()


def odd_value(rng: random.Random, old: Any, sharing: int) -> Any:
    """A value that does not belong where `old` stands; one of them unfolds to 3**sharing lists."""
    if isinstance(old, np.ndarray) and old.ndim and rng.random() < 0.6:
        return rng.choice(list(odd_arrays(old)))
    ragged = [[1.0, 2.0], [3.0]]
    deep: Any = 1
    for _ in range(rng.choice([50, 95, 300])):
        deep = (deep,)
    holds_itself: list[Any] = []
    holds_itself.append(holds_itself)
    tripled: Any = [1.5, 2.5]
    for _ in range(sharing):
        tripled = [tripled, tripled, tripled]
    return rng.choice(
        [
            *(None, True, 0, -1, 2**31, 2**63, 2**70, -(2**200), 0.5, 1e308, 1e-300),
            *(float("nan"), float("inf"), 1j, "", "S9", "cam0", "\x1b[31m\n\0", "9" * 500, b"S9"),
            *((), (1, 2), [], {}, {"a": 1}, {1: 2, "b": 3}, {(1, 2): [3]}, [[]], [None], ragged),
            *({1, 2}, frozenset("ab"), deep, holds_itself, tripled),
            *(np.array(5.0), np.array("text"), np.zeros((0, 17, 2)), np.zeros((3, 0, 2))),
            *(np.ones(3), np.array(2**63, np.uint64), np.array([b"male"])),
            *(np.array([None, {}, "x"], dtype=object), np.float64(25), np.float16(1), np.int8(3)),
            *(np.datetime64("2020-01-01"), np.zeros((2, 17, 2), bool), [np.ones(2), np.ones(3)]),
        ]
    )


def odd_arrays(old: np.ndarray) -> Iterator[Any]:
    """Arrays that are not quite what they were."""
    yield old[:0]
    yield old[..., :1]
    yield old[None]
    yield old.T
    yield old.reshape(-1)
    yield old.tolist()
    yield list(old)
    yield old.astype(object)
    yield old.astype(str)
    yield old.astype(complex if old.dtype.kind in "fiub" else object)
    yield np.asfortranarray(old)
    yield old.astype(">f8") if old.dtype.kind in "fiu" else old
    yield np.concatenate([old, old])
    if old.dtype.kind == "f":
        for value in (np.nan, np.inf, 1e300, 0.0, -1.0, 1e-30, 1e6):
            spoilt = old.astype(np.float64)
            spoilt.reshape(-1)[: max(spoilt.size // 2, 1)] = value
            yield spoilt
            yield np.full(old.shape, value)


def with_odd_value(content: Any, rng: random.Random, sharing: int = 40) -> Any:
    """A copy of structured content with one value or key replaced, dropped or added."""
    content = copy.deepcopy(content)
    place, keys = content, []
    while isinstance(place, dict | list) and len(place) and (not keys or rng.random() < 0.85):
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        keys.append((place, key))
        place = place[key]
    holder, key = rng.choice(keys) if keys else ([content], 0)
    action = rng.random()
    if action < 0.65:
        holder[key] = odd_value(rng, holder[key], sharing)
    elif action < 0.75:
        del holder[key]
    elif isinstance(holder, dict) and action < 0.95:
        odd = rng.choice([7, b"S9", ("a", 1), None, "", "x" * 3000, "\x1b]0;\n", -1.5, 2**64, "c9"])
        holder[odd] = holder.pop(key)
    elif isinstance(holder, dict):
        holder.clear()
    else:
        holder.append(odd_value(rng, holder[key], sharing))
    return content


def with_odd_bytes(data: bytes, rng: random.Random) -> bytes:
    """The bytes damaged as disks, networks and people damage them."""
    changed = bytearray(data)
    size = max(len(changed), 1)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        # Headers, which decide the most, stand at the start and, in archives, at the end.
        near = [rng.randrange(min(size, 400)), size - 1 - rng.randrange(min(size, 300))]
        at = rng.choice([rng.randrange(size), *near])
        kind = rng.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            del changed[at : size if rng.random() < 0.3 else at + rng.randrange(1, 64)]
        elif kind == 3:
            start = rng.randrange(size)
            changed[at:at] = changed[start : start + rng.randrange(1, 200)]
        elif kind == 4:
            changed[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(HUGE))
        elif kind == 5:
            changed[at : at + 8] = struct.pack("<Q", rng.choice([2**62, 2**40, 2**33, 2**64 - 1]))
        else:
            changed[at : at + 8] = bytes(8)
        size = max(len(changed), 1)
    return bytes(changed)


def with_odd_words(text: str, rng: random.Random) -> str:
    """A text with a few of its words or lines replaced, dropped or repeated."""
    for _ in range(rng.choice([1, 1, 2, 5])):
        parts = re.split(r"(\s+|[,;<>=\[\]]+)", text)
        at = rng.randrange(len(parts))
        action = rng.random()
        if action < 0.6:
            parts[at] = rng.choice(ODD_WORDS)
        elif action < 0.8:
            del parts[at : at + rng.choice([1, 2, 5, 50])]
        else:
            parts[at:at] = parts[at : at + rng.choice([1, 2, 5, 50])] * rng.choice([1, 1, 30])
        text = "".join(parts)
    return text


def members_of(data: bytes) -> dict[str, bytes]:
    """The members of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(members: dict[str, bytes], *, packed: bool = False) -> bytes:
    """A zip archive with sound check sums."""
    stream = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def with_odd_members(data: bytes, rng: random.Random) -> bytes:
    """An archive with damaged bytes inside a member, or odd sizes told about one."""
    members = members_of(data)
    name = rng.choice(list(members))
    if rng.random() < 0.75:
        members[name] = with_odd_bytes(members[name], rng)
        return archive_of(members)
    changed = bytearray(archive_of(members, packed=True))
    place = changed.rfind(b"PK\x01\x02") + rng.choice([20, 24, 28, 42])  # sizes, name, offset
    changed[place : place + 4] = struct.pack("<I", rng.choice([*HUGE, 0, 1, 2**29]))
    return bytes(changed)


def npz_bytes(content: dict[str, Any], protocol: int = 4) -> bytes:
    """An .npz file of objects, without checks; what no pickle can hold is left as it is."""
    members = {}
    for name, value in content.items():
        stream = io.BytesIO()
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            np.save(stream, value)
        else:
            header = {"descr": "|O", "fortran_order": False, "shape": ()}
            np.lib.format.write_array_header_1_0(stream, header)
            boxed = np.empty((), dtype=object)
            boxed[()] = value
            stream.write(pickle.dumps(boxed, protocol))
        members[f"{name}.npy"] = stream.getvalue()
    return archive_of(members)


def write_npz(folder: Path, name: str, content: dict[str, Any]) -> dict[str, Any]:
    (folder / name).write_bytes(npz_bytes(content))
    return content


def mutations(path: Path, content: Any, count: int, seed: int) -> Iterator[bytes]:
    """Mutated versions of a file, the same for the same seed.

    Args:
        path: the sound file, an archive, JSON or other bytes.
        content: what it holds, a dictionary or list (of a JSON file or an archive); None if not
            known.
        count: number of mutations.
        seed: decides them.
    """
    sound = path.read_bytes()
    is_archive = zipfile.is_zipfile(path)
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        if content is not None and number % 2:
            odd = with_odd_value(content, rng, sharing=4 if path.suffix == ".json" else 40)
            try:
                if path.suffix == ".json":
                    yield json.dumps(odd, default=str).encode()
                else:
                    odd = odd if isinstance(odd, dict) else {"odd": odd}
                    odd = {str(name)[:50].replace("\0", ""): value for name, value in odd.items()}
                    yield npz_bytes(odd, rng.choice([2, 3, 4, 5]))
            except (ValueError, TypeError, RecursionError):  # no such JSON, too deep to pickle
                yield with_odd_bytes(sound, rng)
        elif path.suffix in TEXTS and number % 4:
            yield with_odd_words(sound.decode(), rng).encode()
        elif is_archive and number % 4:
            yield with_odd_members(sound, rng)
        else:
            yield with_odd_bytes(sound, rng)
