"""How results are shown: the tables that a run prints, files of predictions."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.checkpoint import write_atomically
from common.lifting_engine import ActionTable, LiftingScores
from common.pose_store import PoseStore
from common.pretrain_engine import MaskedErrors
from common.skeleton import SKELETONS


def lifting_lines(table: ActionTable) -> list[str]:
    """The table of an evaluation, and the last line that scripts parse."""
    rows = [*table.rows, table.average, table.frame_average]
    width = max(len(row.action) for row in rows)
    head = ("p1 mm", "p2 mm", "MPJVE", "frames")
    lines = [" ".join(["Action".ljust(width), *(title.rjust(8) for title in head)])]
    for row in rows:
        values = [f"{v:8.2f}" for v in (row.protocol_1, row.protocol_2, row.velocity)]
        lines.append(" ".join([row.action.ljust(width), *values, f"{row.frames:8d}"]))
    average = table.average
    return [*lines, f"p1: {average.protocol_1:.2f}, p2: {average.protocol_2:.2f}"]


def lifting_results(table: ActionTable) -> dict[str, Any]:
    """The same numbers for results.json."""

    def numbers(row: Any) -> dict[str, Any]:
        return {name: value for name, value in vars(row).items() if name != "action"}

    return {
        "unit": "mm; velocity: mm a frame",
        "actions": {row.action: numbers(row) for row in table.rows},
        "average": numbers(table.average),
        "average_over_frames": numbers(table.frame_average),
    }


def masked_lines(rows: Sequence[tuple[str, MaskedErrors]]) -> list[str]:
    """The table of an evaluation of a masked model, and the last line that scripts parse.

    Args:
        rows: what was hidden -> errors; the last row is the published mixture.
    """
    width = max(len(name) for name, _ in rows)
    titles = ("2D", "hidden", "3D", "hidden", "lifted", "hidden")
    lines = [" ".join(["Hidden".ljust(width), *(title.rjust(9) for title in titles)])]
    for name, errors in rows:
        values = (f"{value:9.2f}" for value in vars(errors).values())
        lines.append(" ".join([name.ljust(width), *values]))
    mixture = rows[-1][1]
    return [
        *lines,
        f"maep1: {mixture.recovered_2d:.2f}, mae3p1: {mixture.recovered_3d:.2f}, "
        f"liftp1: {mixture.lifted:.2f}",
    ]


def save_predictions(path: str, scores: LiftingScores, store: PoseStore) -> None:
    """Write 3D poses, their targets and where each comes from, as plain arrays.

    Args:
        path: an .npz file; it is replaced if it exists.
        scores: predicted and true poses.
        store: names their sequences.

    Raises:
        UserError: the file cannot be written.
    """
    lengths = store.offsets.diff().numpy()
    frames = [
        first + store.frame_step * np.arange(length)
        for first, length in zip(store.first_frames, lengths, strict=True)
    ]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        predicted_3d=1000 * scores.predicted.numpy(),
        target_3d=1000 * scores.target.numpy(),
        subject=np.repeat([name.subject for name in store.names], lengths),
        action=np.repeat([name.action for name in store.names], lengths),
        camera=np.repeat([name.camera for name in store.names], lengths),
        frame=np.concatenate(frames),
        joint_names=np.array(SKELETONS[store.num_joints].joint_names),
        unit=np.array("mm, camera space, relative to joint 0"),
    )
    write_atomically(Path(path), buffer.getvalue())
