"""Motion as a page to turn and play: `viewer.html`, one file that loads nothing else.

The page is `viewer.html` beside this file, its scripts `viewer_scene.js` and `viewer.js`; they are
put together here with the motion in base64: 16-bit coordinates, to 0.02 mm for a metre of motion.
"""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from common.data.skeleton import Skeleton
from common.files import write_atomically
from common.inference.motion import Motion
from common.motion_files.drawing import DASHES
from common.motion_files.palette import STATE_COLOURS, STATE_NAMES, hexadecimal
from common.motion_files.viewpoint import TURN, camera_heading
from common.motion_files.writer import WriteOptions

_FOLDER = Path(__file__).resolve().parent
_MISSING, _LARGEST = -32768, 32767


def save_viewer(motions: Sequence[Motion], path: Path, options: WriteOptions) -> None:
    """Write a page that shows the motions.

    Args:
        motions: one per person.
        path: the file.
        options: not used.

    Raises:
        UserError: it cannot be written.
    """
    # Text within a page ends at the first "</script" of it, whoever wrote that.
    content = json.dumps(_content(motions), allow_nan=False)
    for sign in "<>&":
        content = content.replace(sign, f"\\u{ord(sign):04x}")
    page = Template((_FOLDER / "viewer.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(_title(motions)),
        motion=content,
        scene=(_FOLDER / "viewer_scene.js").read_text(encoding="utf-8"),
        controls=(_FOLDER / "viewer.js").read_text(encoding="utf-8"),
    )
    write_atomically(path, page.encode("utf-8", "replace"))


def _title(motions: Sequence[Motion]) -> str:
    several = len(motions) > 1
    return f"{len(motions)} people" if several else f"person {motions[0].name}"


def _content(motions: Sequence[Motion]) -> dict[str, Any]:
    """What the script reads."""
    time, skeleton = motions[0].time, motions[0].skeleton
    return {
        "time": _base64((time - time[0]).astype("<f4")),
        "azimuth": camera_heading(motions) + TURN,
        "sides": [
            {"name": side, "colour": hexadecimal(skeleton.colours[side])}
            for side in ("left", "right")
        ],
        "states": [
            {
                "value": int(state),
                "name": name,
                "colour": STATE_COLOURS.get(state),
                "dash": DASHES[state],
            }
            for state, name in STATE_NAMES.items()
        ],
        "people": [_person(motion) for motion in motions],
    }


def _person(motion: Motion) -> dict[str, Any]:
    points, origin, scale = _sixteen_bits(motion.world_3d)
    return {
        "name": motion.name,
        "title": f"person {motion.name}",
        "parents": motion.skeleton.parents,
        "names": motion.skeleton.joint_names,
        "colours": _colours(motion.skeleton),
        "origin": origin.tolist(),
        "scale": scale,
        "points": _base64(points),
        "state": _base64(motion.state),
    }


def _colours(skeleton: Skeleton) -> list[str]:
    return [hexadecimal(skeleton.colour(joint)) for joint in range(skeleton.num_joints)]


def _sixteen_bits(world: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """World points (L, J, 3) as int16 with their origin (3,) and the metres of one step."""
    missing = np.isnan(world).any(axis=-1, keepdims=True)
    if missing.all():
        return np.full(world.shape, _MISSING, "<i2"), np.zeros(3), 1.0
    low, high = np.nanmin(world, axis=(0, 1)), np.nanmax(world, axis=(0, 1))
    origin = (low + high).astype(np.float64) / 2
    scale = max(float((high - low).max()) / 2 / _LARGEST, 1e-6)
    steps = np.rint((world - origin.astype(np.float32)) / np.float32(scale))
    limited = np.clip(np.where(missing, 0, steps), -_LARGEST, _LARGEST)
    return np.where(missing, _MISSING, limited).astype("<i2"), origin, scale


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
