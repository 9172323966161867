"""What files of keypoints have in common, whatever their layout: cameras, metadata."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from common.data.layouts import Layout, layout_of
from common.data.npz import described, making_sense, numbers
from common.errors import UserError, shown

FRAME_RATES = (1.0, 1000.0)  # what a recording can have, frames per second
MAX_CAMERAS = 1000


def camera_views(value: Any, where: str) -> list[np.ndarray]:
    """The arrays of each camera of a sequence.

    Args:
        value: a list of arrays (L, J, C), one array for a single camera, or a dictionary whose keys
            name the cameras and end in their numbers ("cam0").
        where: file and sequence, for messages.

    Returns:
        At least one array of numbers of any shape, in the order of the list or of the numbers.

    Raises:
        UserError: there are none, or one is no array of numbers.
    """
    if isinstance(value, dict):
        by_number = {camera_number(key, where): array for key, array in value.items()}
        views = [by_number[number] for number in sorted(by_number)]
    else:
        axes = _axes(value)
        whole = numbers(value) if axes == 3 or isinstance(value, np.ndarray) else None
        if whole is not None and whole.ndim == 3:
            views = [whole]
        else:
            views = list(value) if axes > 1 else []
    if not views:
        raise UserError(f"{where} is not a list of cameras")
    arrays = []
    for number, view in enumerate(views):
        array = numbers(view)
        if array is None:
            raise UserError(
                f"{where} camera {number} {described(view)}, (frames, joints, 2 or 3) is needed"
            )
        arrays.append(array)
    return arrays


def _axes(value: Any) -> int:
    """How many axes nested lists have, as their first items tell."""
    axes = 0
    while isinstance(value, list | tuple) and value:
        value, axes = value[0], axes + 1
    return axes + np.ndim(value)


def camera_number(key: Any, where: str) -> int:
    """The number of a camera from its key: 3, "3", "cam3" or "camera_03".

    Raises:
        UserError: it has none.
    """
    match = re.search(r"(\d{1,6})$", str(key)) if isinstance(key, int | str) else None
    if match is None or int(match[1]) >= MAX_CAMERAS:
        raise UserError(f"{where}: {shown(repr(key))} is no number or name of a camera (cam0)")
    return int(match[1])


def told_layout(metadata: Any, where: str) -> Layout | None:
    """The joint order that a file's metadata tells, whatever shape it has; see `layout_of`.

    Raises:
        UserError: an unknown order, or no metadata of 2D poses.
    """
    with making_sense(f"{where}: 'metadata'", "that of a file of 2D poses (dataset/README.md)"):
        return layout_of(metadata, where)


def told_frame_rate(metadata: Any, where: str) -> float | None:
    """The frame rate that a file's metadata tells under 'fps'; None if it does not.

    Raises:
        UserError: it is none.
    """
    value = metadata.get("fps") if isinstance(metadata, dict) else None
    return None if value is None else frame_rate(value, f"{where}: 'fps' of its metadata")


def frame_rate(value: Any, where: str) -> float:
    """Frames per second from a file.

    Raises:
        UserError: it is no number, or not one that a recording can have.
    """
    array = numbers(value if isinstance(value, np.ndarray | list | tuple) else [value])
    low, high = FRAME_RATES
    if array is None or array.size != 1 or not low <= array.item() <= high:
        raise UserError(f"{where} is {shown(value)}; {low:g} to {high:g} frames/s are needed")
    return float(array.item())


def told_split(metadata: Any, path: Path) -> dict[str, tuple[str, ...]]:
    """The subjects that a 3D file's metadata lists under "train_subjects" and "test_subjects".

    Raises:
        UserError: one is no list of names.
    """
    split = {}
    for part in ("train", "test"):
        listed = metadata.get(f"{part}_subjects") if isinstance(metadata, dict) else None
        if listed is None:
            continue
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise UserError(f"{path}: '{part}_subjects' of its metadata is not a list of names")
        if listed:
            split[part] = tuple(listed)
    return split
