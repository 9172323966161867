"""Motion as marker trajectories for OpenSim: `poses.trc`, metres, y up, missing = empty cells."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.files import whole_file
from common.inference.motion import Motion
from common.motion_files.text_numbers import format_frames, marker_names, pieces, y_up
from common.motion_files.timeline import frame_rate
from common.motion_files.writer import WriteOptions


def save_trc(motions: Sequence[Motion], path: Path, options: WriteOptions) -> None:
    """Write one person's joints as markers.

    Args:
        motions: one.
        path: the file.
        options: not used.

    Raises:
        UserError: it cannot be written.
    """
    (motion,) = motions
    joints = motion.skeleton.num_joints
    template = "%d\t%.6f" + "\t%.5f" * (3 * joints) + "\n"
    points = y_up(motion.world_3d).reshape(len(motion.time), -1)
    with whole_file(path) as stream:
        stream.write(_header(motion, path.name).encode("utf-8", "replace"))
        for run in pieces(len(points)):
            frame = np.arange(run.start + 1, run.stop + 1)
            table = np.column_stack([frame, motion.time[run], points[run]])
            stream.write(format_frames(template, table, missing="").encode())


def _header(motion: Motion, name: str) -> str:
    frames, joints = len(motion.time), motion.skeleton.num_joints
    rate = f"{float(frame_rate(motion.time)):.6g}"
    values = (rate, rate, frames, joints, "m", rate, 1, frames)
    names = marker_names(motion.skeleton.joint_names)
    lines = (
        ("PathFileType", "4", "(X/Y/Z)", name),
        ("DataRate", "CameraRate", "NumFrames", "NumMarkers")
        + ("Units", "OrigDataRate", "OrigDataStartFrame", "OrigNumFrames"),
        values,
        ("Frame#", "Time", *(cell for marker in names for cell in (marker, "", ""))),
        ("", "", *(f"{axis}{joint}" for joint in range(1, joints + 1) for axis in "XYZ")),
    )
    return "".join("\t".join(map(str, line)) + "\n" for line in lines)
