"""3D motion for dataset/prepare_motion.py: clips of the 17 joints in world space."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.data.npz import load_npz, numeric_shape
from common.data.units import wrong_length_unit
from common.errors import UserError, shown
from dataset.preparation import to_float32

FRAME_RATE = 50.0  # of what the preparation writes
PACKED_SCALE = 4096  # of relative positions that are packed as 16-bit integers
TAKE = re.compile(r"(?P<person>.*\d)_\d+")  # "cmu/02_01": take 1 of person 02, as CMU names files


@dataclass(frozen=True)
class MotionClip:
    """A motion in world space.

    Attributes:
        name: of the file, or of the clip in a file of several.
        poses: (L, 17, 3) float32 metres, z up, at `FRAME_RATE` frames per second.
    """

    name: str
    poses: np.ndarray

    @property
    def person(self) -> str:
        """Whose motion it is, as far as the name tells; else the clip's own name."""
        match = TAKE.fullmatch(self.name)
        return match["person"] if match else self.name


def read_npz_clips(path: Path) -> Iterator[MotionClip]:
    """The clips of an .npz file: (L, 17, 3) arrays, or packed ones.

    A packed clip is two entries, `<name>|root` (L, 3) metres and `<name>|rel` (L, 17, 3) int16,
    positions relative to the root in 1/4096 m.

    Frames may hold NaN; `dataset.motion_checks` leaves them out.

    Raises:
        UserError: the file cannot be read, or an entry is no motion.
    """
    content = load_npz(path)
    for key, value in content.items():
        name, _, part = key.partition("|")
        if part == "rel" and f"{name}|root" in content:
            continue
        where = f"{path}: {shown(name)}"
        if part not in ("", "root"):
            raise UserError(f"{where}: |{shown(part)} stands alone, |root and |rel are needed")
        poses = value if not part else _unpacked(value, content.get(f"{name}|rel"), where)
        shape = numeric_shape(poses)
        if len(shape) != 3 or shape[1:] != (17, 3) or not shape[0]:
            raise UserError(f"{where}: shape {shape}, (frames, 17, 3) is needed")
        whole = to_float32(poses[np.isfinite(poses).all((1, 2))], where)
        if reason := wrong_length_unit(whole) if len(whole) else None:
            raise UserError(f"{where}: {reason}")
        yield MotionClip(name, poses.astype(np.float32))


def _unpacked(root: Any, relative: Any, where: str) -> np.ndarray:
    shapes = numeric_shape(root), numeric_shape(relative)
    if len(shapes[0]) != 2 or shapes[1] != (shapes[0][0], 17, 3) or shapes[0][1] != 3:
        raise UserError(
            f"{where}: |root and |rel have shapes {shapes[0]} and {shapes[1]}, (frames, 3) and "
            "(frames, 17, 3) are needed"
        )
    return root[:, None] + relative.astype(np.float32) / PACKED_SCALE
