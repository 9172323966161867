"""Motion as a BVH rig: `poses.bvh`, rigid bones, centimetres, y up, rotations in z x y order.

Written here and not by pybvh: the file is a template of numbers, and a library would be one more
to install. The tests read it back with pybvh, whose forward kinematics gives the fitted joints.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import whole_file
from common.inference.motion import Motion
from common.log import LOG
from common.motion_files.rig import Rig, fit_rig
from common.motion_files.rotations import euler_zxy
from common.motion_files.text_numbers import format_frames, pieces, y_up
from common.motion_files.timeline import frame_rate, resample
from common.motion_files.writer import WriteOptions

CM = 100
ROTATION = "Zrotation Xrotation Yrotation"
_TIP = 0.25  # length of what ends a limb, of the bone before it


def save_bvh(motions: Sequence[Motion], path: Path, options: WriteOptions) -> None:
    """Write one person's motion as a rig; `fitted` says how frames without a pose are filled.

    Args:
        motions: one.
        path: the file.
        options: not used.

    Raises:
        UserError: it cannot be written, or no frame has a pose.
    """
    (motion,) = motions
    rig = fitted(motion, path.name)
    channels = np.concatenate(
        [CM * rig.root[:, None], euler_zxy(rig.rotations)], axis=1
    )  # (M, 1 + N, 3)
    template = " ".join(["%.4f"] * (channels.shape[1] * 3)) + "\n"
    seconds = 1 / float(frame_rate(motion.time))
    with whole_file(path) as stream:
        stream.write("\n".join(["HIERARCHY", *_node(rig, 0, ""), ""]).encode("utf-8", "replace"))
        stream.write(f"MOTION\nFrames: {len(channels)}\nFrame Time: {seconds:.8f}\n".encode())
        for run in pieces(len(channels)):
            stream.write(format_frames(template, channels[run], missing="0").encode())


def fitted(motion: Motion, name: str) -> Rig:
    """The rig of a motion at a constant frame rate.

    A frame without a pose holds the one before (the first ones, the one after), which is logged.

    Args:
        motion: of a person.
        name: of the file, for messages.

    Raises:
        UserError: no frame has a pose.
    """
    points = y_up(motion.world_3d)
    there = ~np.isnan(points).any(axis=(1, 2))
    if not there.any():
        raise UserError(f"{name}: person {motion.name} has no frame with a pose")
    if not there.all():
        LOG.info(
            "%s: %d of %d frames have no pose; they hold the one before",
            name,
            (~there).sum(),
            len(there),
        )
    held = np.maximum.accumulate(np.where(there, np.arange(len(there)), there.argmax()))
    steady = resample(motion.time, points[held], frame_rate(motion.time))
    return fit_rig(steady, motion.skeleton)


def _node(rig: Rig, node: int, indent: str) -> list[str]:
    """The lines of a node and of all below it."""
    inner = indent + "\t"
    root = node == 0
    places = "Xposition Yposition Zposition " if root else ""
    lines = [
        f"{indent}{'ROOT' if root else 'JOINT'} {rig.names[node]}",
        f"{indent}{{",
        f"{inner}OFFSET {_offset(rig.offsets[node])}",
        f"{inner}CHANNELS {6 if root else 3} {places}{ROTATION}",
    ]
    children = [c for c, parent in enumerate(rig.parents) if parent == node]
    for child in children:
        lines += _node(rig, child, inner)
    if not children:
        tip = _offset(_TIP * rig.offsets[node])
        lines += [f"{inner}End Site", f"{inner}{{", f"{inner}\tOFFSET {tip}", f"{inner}}}"]
    return [*lines, f"{indent}}}"]


def _offset(vector: np.ndarray) -> str:
    return " ".join(f"{number:.4f}" for number in CM * vector)
