"""MPI-INF-3DHP's own protocol, as far as 16 joints allow, without MATLAB.

The benchmark (Mehta et al., 3DV 2017) counts 14 joints, relative to the pelvis, each joint with the
same weight, by sequence and by activity. Our skeleton holds 13 of them: there is no neck, and the
head's top follows from the two head joints that there are.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.data.base import DataSet
from common.data.mpi_inf_3dhp import DATA_SET, HEAD_TOP, to_17_joints
from common.data.pose_ops import joint_errors
from common.data.pose_store import PoseStore
from common.evaluation.lifting import LiftingScores
from common.evaluation.metrics import area_under_curve, correct_joints
from common.evaluation.tables import Row, Table
from common.files import write_atomically
from common.log import LOG
from common.optional import optional
from common.outputs import marked_mat

# Joints of the data set's own order; the neck (1) is not among our 16.
GROUPS = {
    "Head": (HEAD_TOP,),
    "Shoulder": (2, 5),
    "Elbow": (3, 6),
    "Wrist": (4, 7),
    "Hip": (8, 11),
    "Knee": (9, 12),
    "Ankle": (10, 13),
}
ALL = "All"
ACTIVITIES = {
    1: "Standing/walking",
    2: "Exercising",
    3: "Sitting",
    4: "Crouching/reaching",
    5: "On the floor",
    6: "Sports",
    7: "Miscellaneous",
}
METRICS = {"PCK %": "pck", "AUC %": "auc", "MPJPE mm": "mpjpe"}
NOTE = (
    "MPI-INF-3DHP's protocol on 13 of its 14 joints (the 16-joint skeleton has no neck; the head's "
    "top is extrapolated from the two head joints); joints weigh the same"
)


@dataclass(frozen=True)
class SheetRow:
    """Metrics of some frames: metric -> joint group (and `ALL`) -> value.

    Attributes:
        name: a sequence, an activity, or a mean.
        frames: number of frames.
        metrics: "pck" and "auc" in %, "mpjpe" in mm.
    """

    name: str
    frames: int
    metrics: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Sheet:
    """The benchmark's table.

    Attributes:
        rows: sequences, their unweighted mean, all frames, then activities if the data name them.
        total: the row of all frames.
    """

    rows: list[SheetRow]
    total: SheetRow

    def lines(self) -> list[str]:
        """A table per metric, and the last line that scripts parse."""
        columns, lines = [*GROUPS, ALL], [NOTE]
        for title, metric in METRICS.items():
            rows = [Row(r.name, {**r.metrics[metric], "frames": r.frames}) for r in self.rows]
            titles = {column: column for column in (*columns, "frames")}
            lines += Table(title, titles, rows).lines()
        total = {metric: values[ALL] for metric, values in self.total.metrics.items()}
        assert DATA_SET.table is not None
        return [*lines, DATA_SET.table.last_line.format(protocol_1=total.pop("mpjpe"), **total)]

    def results(self) -> dict[str, Any]:
        """The same numbers for results.json."""
        return {"note": NOTE, **{r.name: {"frames": r.frames, **r.metrics} for r in self.rows}}


def applies_to(data_set: DataSet) -> bool:
    """Whether the protocol is that of a data set."""
    return data_set is DATA_SET


def evaluate(scores: LiftingScores, store: PoseStore) -> Sheet:
    """Score predictions by the benchmark's protocol.

    Args:
        scores: predicted and true poses (M, 16, 3).
        store: names their sequences and, if the files do, their activities.

    Returns:
        The sheet.
    """
    errors = joint_errors(to_17_joints(scores.predicted), to_17_joints(scores.target))  # (M, 17)
    rows = [_row(name, errors, frames) for name, frames in _by_sequence(scores, store)]
    total = _row("All frames", errors, torch.ones(len(errors), dtype=torch.bool))
    activities = [_row(name, errors, frames) for name, frames in _by_activity(scores, store)]
    return Sheet([*rows, _mean("Mean of sequences", rows), total, *activities], total)


def _by_sequence(scores: LiftingScores, store: PoseStore) -> Iterator[tuple[str, Tensor]]:
    """(name, (M,) bool frames) of each sequence that was tested."""
    sequences = store.sequences_of(scores.frames)
    for number, name in enumerate(store.names):
        chosen = sequences == number
        if chosen.any():
            yield name.subject, chosen


def _by_activity(scores: LiftingScores, store: PoseStore) -> Iterator[tuple[str, Tensor]]:
    if store.activities is None:
        return
    activities = store.activities[scores.frames]
    for number in activities.unique().tolist():
        if number >= 0:
            yield ACTIVITIES.get(number, f"Activity {number}"), activities == number


def _row(name: str, errors: Tensor, chosen: Tensor) -> SheetRow:
    errors = errors[chosen]
    values = {
        "pck": 100 * correct_joints(errors),
        "auc": 100 * area_under_curve(errors),
        "mpjpe": 1000 * errors,
    }
    joints = {**GROUPS, ALL: tuple(joint for group in GROUPS.values() for joint in group)}
    metrics = {
        metric: {column: value[:, list(j)].double().mean().item() for column, j in joints.items()}
        for metric, value in values.items()
    }
    return SheetRow(name, int(chosen.sum()), metrics)


def _mean(name: str, rows: list[SheetRow]) -> SheetRow:
    metrics = {
        metric: {
            column: sum(row.metrics[metric][column] for row in rows) / len(rows)
            for column in (*GROUPS, ALL)
        }
        for metric in METRICS.values()
    }
    return SheetRow(name, sum(row.frames for row in rows), metrics)


def save_mat(path: Path, scores: LiftingScores, store: PoseStore) -> None:
    """Write the file that the benchmark's evaluation script reads.

    It holds one array 3 x 17 x 1 x N per sequence (mm, relative to the pelvis, the data set's own
    joint order, its N valid frames); the neck, which we do not predict, is half-way between the
    shoulders.

    Args:
        path: the .mat file.
        scores: predicted poses.
        store: names their sequences.

    Raises:
        UserError: SciPy is missing, or the file cannot be written.
    """
    poses = 1000 * to_17_joints(scores.predicted).double()  # (M, 17, 3)
    arrays = {
        name: poses[chosen].permute(2, 1, 0).unsqueeze(2).numpy()
        for name, chosen in _by_sequence(scores, store)
    }
    if store.undetected is not None:
        LOG.warning(
            "warning: %s lacks %d valid frames whose 2D joints were not detected; the benchmark's "
            "script expects all of them (a larger --max_gap interpolates them)",
            path,
            int(store.undetected.sum()),
        )
    buffer = io.BytesIO()
    optional("scipy.io", needed_by="--save_predictions").savemat(buffer, arrays)
    write_atomically(path, marked_mat(buffer.getvalue()))
