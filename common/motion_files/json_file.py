"""Motion as JSON: `poses.json`, numbers that there are not as null."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.files import whole_file
from common.inference.motion import Motion, State
from common.motion_files.text_numbers import format_frames, pieces
from common.motion_files.writer import WriteOptions

ABOUT = {
    "format": "mpm motion",
    "version": 1,
    "units": {
        "time": "seconds",
        "poses_3d": "metres relative to joint 0, camera axes: x right, y down, z forward",
        "root_3d": "metres, joint 0 in camera space",
        "world_3d": "metres, z up, the ground at z = 0",
        "keypoints_2d": "pixels",
    },
    "states": {str(int(state)): state.name.lower() for state in State},
}
# Array -> format of one number.
_ARRAYS = {
    "time": "%.6f",
    "poses_3d": "%.5f",
    "root_3d": "%.5f",
    "world_3d": "%.5f",
    "keypoints_2d": "%.2f",
    "confidence": "%.4f",
    "state": "%d",
}


def save_json(motions: Sequence[Motion], path: Path, options: WriteOptions) -> None:
    """Write the motions as one JSON object; `ABOUT` and the names of its keys say what is in it.

    Args:
        motions: one per person.
        path: the file.
        options: not used.

    Raises:
        UserError: it cannot be written.
    """
    with whole_file(path) as stream:
        stream.write(_open(ABOUT).encode() + b',\n"people": [')
        for number, motion in enumerate(motions):
            stream.write(b",\n" if number else b"\n")
            for text in _person(motion):
                stream.write(text.encode())
        stream.write(b"\n]}\n")


def _open(content: dict[str, Any]) -> str:
    """An object without the brace that ends it."""
    return json.dumps(content, allow_nan=False)[:-1]


def _person(motion: Motion) -> Iterator[str]:
    """The object of a person, piece by piece."""
    skeleton, camera = motion.skeleton, motion.camera
    yield _open(
        {
            "name": motion.name,
            "record": motion.record,
            "skeleton": {
                "name": skeleton.name,
                "joint_names": skeleton.joint_names,
                "parents": skeleton.parents,
                "left": skeleton.left,
                "right": skeleton.right,
            },
            "camera": {
                "size": camera.size,
                "focal": camera.focal,
                "centre": camera.centre,
                "distortion": camera.distortion,
                "assumed": bool(camera.assumed),
            },
            "derived": motion.derived.tolist(),
            "frames": len(motion.time),
        }
    )
    for name, number in _ARRAYS.items():
        yield f',\n"{name}": ['
        yield from _array(getattr(motion, name), number)
        yield "]"
    yield "}"


def _array(array: np.ndarray, number: str) -> Iterator[str]:
    """The items of an array, one per frame, joined by commas."""
    template = _nested(array.shape[1:], number) + ","
    for run in pieces(len(array)):
        numbers = array[run].reshape(run.stop - run.start, -1)
        text = format_frames(template, numbers, missing="null")
        yield text if run.stop < len(array) else text[:-1]


def _nested(shape: tuple[int, ...], number: str) -> str:
    """The template of a frame: lists in lists."""
    if not shape:
        return number
    return f"[{','.join([_nested(shape[1:], number)] * shape[0])}]"
