"""Plain arrays of keypoints in .npy, .npz and .csv files."""

import csv
import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.data.layouts import LAYOUTS
from common.data.npz import numeric_shape
from common.errors import UserError
from common.keypoints.source import Source, kind_of, numbers

ENTRIES = ("keypoints", "keypoints_2d", "poses_2d", "pose_2d", "poses", "landmarks")
SCORES = ("confidence", "scores", "keypoint_scores", "visibility")
KNOWN_COUNTS = {count for layout in LAYOUTS.values() for count in layout.pairs}
TIMES = {"time": 1.0, "time_s": 1.0, "seconds": 1.0, "timestamp": 1.0, "time_ms": 1e-3}
# The axis in the name of a column: x, x0, nose_x, "nose x", x_nose.
AXIS = re.compile(r"(?<![a-z])[xyz](?![a-z])")
LABELS = {"frame", "frame_id", "index", ""}


@dataclass(frozen=True)
class ArrayFile:
    """The array of a file, and what else it tells.

    Attributes:
        array: (L, J, C).
        confidence: (L, J), or None.
        time: (L,) seconds, or None.
        facts: entries of the file that are no arrays of poses.
    """

    array: np.ndarray
    confidence: np.ndarray | None
    time: np.ndarray | None
    facts: dict[str, Any]


def has_array(source: Source) -> bool:
    """Whether an input is a file with an array of numbers."""
    if source.npz is not None:
        return _entry(source.npz) is not None
    return source.npy is not None or (source.text is not None and _looks_like_table(source.text))


def load_array(source: Source) -> ArrayFile:
    """Read an array (frames, joints, numbers).

    Raises:
        UserError: there is none, or it has another shape.
    """
    where = str(source.path)
    if source.npz is not None:
        found = _of_npz(source.npz, where)
    elif source.npy is not None:
        found = ArrayFile(source.npy, None, None, {})
    elif source.text is not None:
        found = _of_csv(source.text, where)
    else:
        raise UserError(f"{where}: no array in it (.npy, .npz or .csv)")
    shape = numeric_shape(found.array)
    if len(shape) != 3 or not 2 <= shape[2] <= 4 or 0 in shape:
        raise UserError(
            f"{where}: an array of shape {shape or kind_of(found.array)}; "
            "(frames, joints, 2 or 3) is needed"
        )
    return ArrayFile(found.array.astype(np.float64), found.confidence, found.time, found.facts)


def has_joints(source: Source, count: int) -> bool:
    """Whether an input is a file with an array of so many joints, without parsing all of a text."""
    if not has_array(source):
        return False
    if source.text is None:
        return load_array(source).array.shape[1] == count
    columns = len(_cells(_first_lines(source.text)[-1]))
    return any(columns == count * each + labels for each in (2, 3, 4) for labels in (0, 1, 2))


def _entry(content: dict[str, Any]) -> str | None:
    """The entry that holds the poses: by its name, else the only one of three axes."""
    named = next((name for name in ENTRIES if name in content), None)
    if named:
        return named
    shaped = [name for name, value in content.items() if len(numeric_shape(value)) == 3]
    return shaped[0] if len(shaped) == 1 else None


def _of_npz(content: dict[str, Any], where: str) -> ArrayFile:
    entry = _entry(content)
    if entry is None:
        raise UserError(f"{where}: no array 'keypoints' in it, but {', '.join(content)[:200]}")
    array = numbers(content[entry], f"{where}: {entry!r}")
    confidence = next((content[name] for name in SCORES if name in content), None)
    if confidence is not None:
        confidence = numbers(confidence, f"{where}: its confidences")
        if confidence.shape != array.shape[:2]:
            raise UserError(
                f"{where}: confidences of shape {confidence.shape} for keypoints of {array.shape}"
            )
    time = content.get("time")
    if time is not None:
        time = numbers(time, f"{where}: 'time'")
    return ArrayFile(array, confidence, time, content)


def _first_lines(text: str) -> list[str]:
    """The first two lines, or the only one."""
    return [line for line in text[:100_000].splitlines() if line.strip() and line[0] != "#"][:2]


def _looks_like_table(text: str) -> bool:
    """Whether the second line, or the only one, has numbers for the most part."""
    lines = _first_lines(text)
    cells = _cells(lines[-1]) if lines else []
    return len(cells) > 1 and 2 * sum(map(_is_number, cells)) >= len(cells)


def _cells(line: str) -> list[str]:
    delimiter = next((d for d in ",;\t" if d in line), None)
    return next(csv.reader([line], delimiter=delimiter)) if delimiter else line.split()


def _of_csv(text: str, where: str) -> ArrayFile:
    """A row per frame: x y (confidence) of every joint; maybe a header, a frame number, a time."""
    rows = [_cells(line) for line in io.StringIO(text) if line.strip() and line[0] != "#"]
    header = rows.pop(0) if rows and not any(_is_number(cell) for cell in rows[0]) else None
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        counts = ", ".join(map(str, sorted(widths)[:4])) or "no"
        raise UserError(f"{where}: rows of {counts} numbers; as many in every row are needed")
    try:
        table = np.array([[float(cell or "nan") for cell in row] for row in rows])
    except ValueError as error:
        raise UserError(f"{where}: {str(error)[:80]}") from None
    time, first = None, 0
    for name in [cell.strip().lower() for cell in (header or [])[:2]]:
        if name in TIMES:
            time = table[:, first] * TIMES[name]
        elif name not in LABELS:
            break
        first += 1
    table = table[:, first:]
    _check_interleaved([cell.strip().lower() for cell in (header or [])[first:]], where)
    numbers_each = [c for c in (2, 3, 4) if table.shape[1] / c in KNOWN_COUNTS]
    if len(numbers_each) != 1:
        raise UserError(
            f"{where}: {table.shape[1]} columns, not 2 or 3 for each of "
            f"{', '.join(map(str, sorted(KNOWN_COUNTS)))} joints"
        )
    return ArrayFile(table.reshape(len(table), -1, numbers_each[0]), None, time, {})


def _check_interleaved(names: list[str], where: str) -> None:
    """Require that the columns of a header do not hold all x before all y.

    Raises:
        UserError: they do.
    """
    axes = [found[0] if (found := AXIS.search(name)) else "" for name in names]
    if axes[:2] == ["x", "x"]:
        raise UserError(
            f"{where}: columns {names[0][:40]!r}, {names[1][:40]!r}: all x come first; x, y (and a "
            "confidence) of one joint after the other are needed"
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
