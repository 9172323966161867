"""Motion as a table with a row for each joint of each frame of each person: `poses.csv`.

Columns: x y z are metres relative to the root along the camera's axes, world_x world_y world_z
metres in the world (z up), u v pixels of the input. A number that there is not is an empty cell.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.files import whole_file
from common.inference.motion import Motion, State
from common.motion_files.text_numbers import format_frames, pieces
from common.motion_files.writer import WriteOptions

COLUMNS = (
    *("frame", "time", "person", "joint", "x", "y", "z"),
    *("world_x", "world_y", "world_z", "u", "v", "confidence", "state"),
)
_NUMBERS = "%.5f,%.5f,%.5f,%.5f,%.5f,%.5f,%.2f,%.2f,%.4f"
# Private-use characters hold the places of names until NaN has been replaced: a person may be
# named "nan".
_PERSON, _STATE, _JOINTS = "\ue000", "\ue001", 0xE100


def save_csv(motions: Sequence[Motion], path: Path, options: WriteOptions) -> None:
    """Write the motions as one long table.

    Args:
        motions: one per person.
        path: the file.
        options: not used.

    Raises:
        UserError: it cannot be written.
    """
    with whole_file(path) as stream:
        stream.write(f"{','.join(COLUMNS)}\n".encode())
        for motion in motions:
            for run in pieces(len(motion.time)):
                stream.write(_rows(motion, run).encode("utf-8", "replace"))


def _rows(motion: Motion, run: slice) -> str:
    """The rows of some frames of a person."""
    joints = motion.skeleton.num_joints
    frame, time = np.arange(run.start, run.stop), motion.time[run]
    table = np.concatenate(
        [
            np.broadcast_to(frame[:, None, None], (len(frame), joints, 1)),
            np.broadcast_to(time[:, None, None], (len(frame), joints, 1)),
            motion.poses_3d[run],
            motion.world_3d[run],
            motion.keypoints_2d[run],
            motion.confidence[run, :, None],
            motion.state[run, :, None],
        ],
        axis=-1,
    )
    template = "".join(
        f"%d,%.6f,{_PERSON},{chr(_JOINTS + joint)},{_NUMBERS},{_STATE}%d\n"
        for joint in range(joints)
    )
    return _with_names(format_frames(template, table, missing=""), motion)


def _with_names(text: str, motion: Motion) -> str:
    for state in State:
        text = text.replace(f"{_STATE}{int(state)}", state.name.lower())
    for joint, name in enumerate(motion.skeleton.joint_names):
        text = text.replace(chr(_JOINTS + joint), _cell(name))
    return text.replace(_PERSON, _cell(motion.name))


def _cell(text: str) -> str:
    """A text as a cell, quoted where it has to be."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow([text, ""])
    return row.getvalue().removesuffix(",")
