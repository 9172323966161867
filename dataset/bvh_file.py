"""Read BVH files, with channels in any order and number, and place their joints in space.

Libraries at hand refuse joints other than the root that have position channels, or joints without
three rotations; exports of several programs have both.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.data.text_files import read_text
from common.errors import UserError
from common.log import LOG

AXES = "XYZ"
DEEPEST = 500  # joints from the root to the last of a chain
RATE_TOLERANCE = 0.01  # frames per second: 0.033333 s means 30
END_SITE = "End Site"
MOST_NODES = 5000  # of a skeleton; the fullest of films have hundreds
CHUNK = 200_000  # frames times nodes that are placed together; bounds memory, not results


@dataclass(frozen=True)
class Node:
    """A joint, or the end of a chain.

    Attributes:
        name: of the joint; of an end, `END_SITE`.
        parent: number of the node that it hangs on, -1 for the root.
        offset: (3,) from there, in the file's unit.
        channels: ("position" or "rotation", axis from 0 to 2), in the file's order.
    """

    name: str
    parent: int
    offset: tuple[float, ...]
    channels: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class BvhMotion:
    """What a BVH file holds.

    Attributes:
        nodes: N of them, parents first.
        frame_rate: frames per second.
        values: (L, V) float64 of all channels, positions in the file's unit, angles in degrees.
    """

    nodes: tuple[Node, ...]
    frame_rate: float
    values: np.ndarray

    def positions(self, wanted: Sequence[int]) -> np.ndarray:
        """World positions of some nodes, in the file's unit and axes.

        Args:
            wanted: W numbers of nodes.

        Returns:
            (L, W, 3).
        """
        columns = np.cumsum([0, *(len(node.channels) for node in self.nodes)])
        tracks = [
            self.values[:, start:stop] for start, stop in zip(columns, columns[1:], strict=False)
        ]
        repeats = [_repeats_offset(n, t) for n, t in zip(self.nodes, tracks, strict=True)]
        found = np.empty((len(self.values), len(wanted), 3))
        step = max(1, CHUNK // len(self.nodes))
        for start in range(0, len(found), step):
            chunk = [track[start : start + step] for track in tracks]
            with np.errstate(invalid="ignore", over="ignore"):  # angles that are infinite
                found[start : start + step] = self._placed(chunk, repeats)[:, wanted]
        return found

    def _placed(self, tracks: Sequence[np.ndarray], repeats: Sequence[bool]) -> np.ndarray:
        """(L, N, 3) positions of all nodes, from the values (L, channels) of each."""
        placed = np.empty((len(tracks[0]), len(self.nodes), 3))
        turned: list[np.ndarray] = []
        for number, (node, values) in enumerate(zip(self.nodes, tracks, strict=True)):
            shift = np.broadcast_to(node.offset, (len(values), 3)).copy()
            for (kind, axis), value in zip(node.channels, values.T, strict=True):
                if kind == "position":
                    shift[:, axis] = value + (0 if repeats[number] else node.offset[axis])
            turn = _rotation(node, values)
            if node.parent >= 0:
                parent_turn = turned[node.parent]
                shift = placed[:, node.parent] + np.einsum("lij,lj->li", parent_turn, shift)
                turn = parent_turn @ turn
            placed[:, number] = shift
            turned.append(turn)
        return placed


def _repeats_offset(node: Node, values: np.ndarray) -> bool:
    """Whether position channels hold the offset already, as most programs write, or add to it."""
    columns = [kind == "position" for kind, _ in node.channels]
    moved = values[:, columns]
    moved = moved[np.isfinite(moved).all(1)]
    if not moved.size:
        return False
    offset = np.array(node.offset)[[axis for kind, axis in node.channels if kind == "position"]]
    return bool(np.median(np.abs(moved - offset).sum(1)) < np.median(np.abs(moved).sum(1)))


def _rotation(node: Node, values: np.ndarray) -> np.ndarray:
    """(L, 3, 3) rotation of a node relative to its parent: the channels from left to right."""
    turn = np.broadcast_to(np.eye(3), (len(values), 3, 3))
    for (kind, axis), degrees in zip(node.channels, values.T, strict=True):
        if kind == "rotation":
            turn = turn @ _about(axis, np.deg2rad(degrees))
    return turn


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    """(L, 3, 3) rotations about a coordinate axis by angles (L,) in radians."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.zeros((len(angle), 3, 3))
    rotation[:, axis, axis] = 1
    rotation[:, first, first] = rotation[:, second, second] = np.cos(angle)
    rotation[:, second, first] = np.sin(angle)
    rotation[:, first, second] = -np.sin(angle)
    return rotation


def read_bvh(path: Path) -> BvhMotion:
    """Read a BVH file.

    Args:
        path: the file; text of any encoding that extends ASCII.

    Raises:
        UserError: it cannot be read, or is no BVH file: the line is named.
    """
    text = read_text(path, errors="replace")
    hierarchy, separator, motion = text.partition("MOTION")
    if not separator:
        raise UserError(f"{path}: not a BVH file: no line MOTION in it")
    nodes = _read_hierarchy(hierarchy, path)
    frames, frame_rate, numbers = _read_motion_header(motion, path)
    values = _numbers(numbers, path)
    width = sum(len(node.channels) for node in nodes)
    if not width or not len(values) or len(values) % width:
        raise UserError(
            f"{path}: {len(values):,} numbers below Frame Time, "
            f"whole frames of {width} channels are needed"
        )
    if len(values) != frames * width:
        LOG.warning("%s: says %d frames, holds %d", path, frames, len(values) // width)
    return BvhMotion(nodes, frame_rate, values.reshape(-1, width))


def _numbers(text: str, path: Path) -> np.ndarray:
    """The numbers of a text, between white space; not by words, whose list takes much memory."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # of older NumPy, for an error
            return np.fromstring(text, sep=" ")
    except (ValueError, DeprecationWarning):
        raise UserError(f"{path}: below Frame Time there is more than numbers") from None


def _read_motion_header(text: str, path: Path) -> tuple[int, float, str]:
    """The number of frames, the frame rate, and the text after these two lines."""
    lines = text.lstrip().split("\n", 2)
    fields = [line.replace(":", " ").split() for line in lines[:2]]
    try:
        (frames_word, count), (*time_words, seconds) = fields
        if [frames_word.lower(), *map(str.lower, time_words)] != ["frames", "frame", "time"]:
            raise ValueError
        frames, frame_time = int(count), float(seconds)
    except ValueError:
        raise UserError(f"{path}: below MOTION: no lines 'Frames: n' and 'Frame Time: s'") from None
    if not 0.0005 <= frame_time <= 1:
        raise UserError(f"{path}: Frame Time {frame_time:g}, seconds from 0.0005 to 1 are needed")
    rate = 1 / frame_time
    if abs(rate - round(rate)) < RATE_TOLERANCE:
        rate = round(rate)
    return frames, float(rate), lines[2] if len(lines) == 3 else ""


def _read_hierarchy(text: str, path: Path) -> tuple[Node, ...]:
    nodes: list[Node] = []
    open_nodes: list[int] = []
    for number, words in _lines(text):
        where = f"{path}: line {number}"
        keyword = words[0].upper()
        if keyword in ("ROOT", "JOINT", "END"):
            if (keyword == "ROOT") != (not nodes) or bool(open_nodes) == (keyword == "ROOT"):
                raise UserError(
                    f"{where}: {' '.join(words)[:60]} at this place: one tree is needed"
                )
            name = END_SITE if keyword == "END" else " ".join(words[1:])
            nodes.append(Node(name, open_nodes[-1] if open_nodes else -1, (0.0, 0.0, 0.0), ()))
        elif keyword == "{":
            open_nodes.append(len(nodes) - 1)
        elif keyword == "}":
            if not open_nodes:
                raise UserError(f"{where}: '}}' without '{{'")
            open_nodes.pop()
        elif keyword in ("OFFSET", "CHANNELS") and open_nodes:
            nodes[-1] = _with_line(nodes[-1], keyword, words[1:], where)
        elif keyword != "HIERARCHY":
            raise UserError(f"{where}: {' '.join(words)[:60]!r} in the hierarchy of a BVH file")
        if len(open_nodes) > DEEPEST or len(nodes) > MOST_NODES or -1 in open_nodes:
            raise UserError(f"{where}: a hierarchy of this shape is no skeleton")
    if open_nodes or not nodes:
        raise UserError(f"{path}: the hierarchy above MOTION is {'open' if nodes else 'empty'}")
    return tuple(nodes)


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number and words of each line; braces count as lines of their own."""
    for number, line in enumerate(text.splitlines(), start=1):
        for part in line.replace("{", "\n{\n").replace("}", "\n}\n").splitlines():
            if words := part.split():
                yield number, words


def _with_line(node: Node, keyword: str, words: Sequence[str], where: str) -> Node:
    """The node with the offset or the channels that a line gives it."""
    if keyword == "OFFSET":
        try:
            offset = tuple(float(word) for word in words)
        except ValueError:
            offset = ()
        if len(offset) != 3 or not np.isfinite(offset).all():
            raise UserError(f"{where}: OFFSET {' '.join(words)[:60]}, three numbers are needed")
        return Node(node.name, node.parent, offset, node.channels)
    channels = tuple(_channel(word, where) for word in words[1:])
    if not words or words[0] != str(len(channels)) or len(set(channels)) != len(channels):
        raise UserError(f"{where}: CHANNELS {' '.join(words)[:60]}: count and names do not agree")
    return Node(node.name, node.parent, node.offset, channels)


def _channel(word: str, where: str) -> tuple[str, int]:
    axis, kind = word[:1].upper(), word[1:].lower()
    if axis not in AXES or not axis or kind not in ("position", "rotation"):
        raise UserError(f"{where}: channel {word[:30]!r}, Xposition or Zrotation are such")
    return kind, AXES.index(axis)
