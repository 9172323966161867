"""Tests of a lifter: predicted poses, their metrics, and the table of a data set."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.data.base import TableRule
from common.data.pose_ops import predict_with_flip, with_zero_root
from common.data.pose_store import PoseStore
from common.data.windows import WindowIndex, WindowRule, Windows
from common.errors import FailedRun, listing
from common.evaluation.metrics import METRICS
from common.evaluation.passes import compute_for_all
from common.evaluation.tables import Row, Table
from common.files import write_atomically
from common.outputs import marked_zip
from common.tasks.lifting import Lifting
from common.training.replicas import Replicas
from common.training.steps import TestErrors


@dataclass(frozen=True)
class LiftingScores:
    """Predicted poses and their metrics, frame by frame.

    Attributes:
        frames: (M,) int64, the frames in the store.
        predicted: (M, J, 3) root-relative metres.
        target: (M, J, 3) likewise; NaN throughout where the true pose is not known.
        known: (M,) bool, whether the true pose is known.
        metrics: name -> (M,) values; NaN where a frame has none, and where the pose is not known
            or the prediction is not finite.
    """

    frames: Tensor
    predicted: Tensor
    target: Tensor
    known: Tensor
    metrics: dict[str, Tensor]

    @cached_property
    def invalid(self) -> Tensor:
        """(M,) bool, whether the prediction is not finite."""
        return ~self.predicted.isfinite().all(-1).all(-1)


@dataclass(frozen=True)
class LiftingTable:
    """Metrics by row of a data set, their unweighted mean, and the mean over all frames.

    Attributes:
        rule: of the data set.
        rows: their frames are those with a known true pose.
        average: unweighted mean of the rows that have any.
        frame_average: mean over all frames.
        unknown: row -> number of frames without a known true pose, or "all".
        undetected: row -> number of frames left out since 2D joints were not detected.
    """

    rule: TableRule
    rows: list[Row]
    average: Row
    frame_average: Row
    unknown: Mapping[str, int | str]
    undetected: Mapping[str, int] = field(default_factory=dict)

    @property
    def result(self) -> Row:
        """The mean that the data set reports."""
        return self.frame_average if self.rule.by_frames else self.average

    def lines(self) -> list[str]:
        """The table, and the last line that scripts parse."""
        columns = {name: METRICS[name].title for name in self.rule.metrics}
        rows = (*self.rows, self.average, self.frame_average)
        lines = Table(self.rule.corner, {**columns, "frames": "frames"}, rows).lines()
        unknown = [name for name, count in self.unknown.items() if count == "all"]
        if unknown:
            lines.append(f"no true 3D poses of {', '.join(unknown)}: predictions, but no errors")
        partly = [f"{name} ({n} frames)" for name, n in self.unknown.items() if n != "all"]
        if partly:
            lines.append(f"true 3D poses partly unknown, averaged without: {', '.join(partly)}")
        if self.undetected:
            gaps = [f"{name} ({n} frames)" for name, n in self.undetected.items()]
            lines.append(f"2D joints not detected (--max_gap), left out: {', '.join(gaps)}")
        return [*lines, self.rule.last_line.format(**self.result.values)]

    def results(self) -> dict[str, Any]:
        """The same numbers for results.json."""
        units = [f"{name}: {METRICS[name].unit}" for name in self.rule.metrics]
        return {
            "unit": "; ".join(units),
            f"{self.rule.corner.lower()}s": {row.name: dict(row.values) for row in self.rows},
            "average": dict(self.average.values),
            "average_over_frames": dict(self.frame_average.values),
            **({"frames_left_out": dict(self.undetected)} if self.undetected else {}),
        }


@dataclass(frozen=True)
class LiftingTest:
    """How a lifter is tested: every frame that counts is the target of a window.

    Attributes:
        store: test poses, on the runtime's device.
        rule: windows, one per frame.
        batch_size: windows per pass, over all devices.
        flip: average with the prediction of the mirrored input.
        table_rule: which metrics there are and how they are averaged.
    """

    store: PoseStore
    rule: WindowRule
    batch_size: int
    flip: bool
    table_rule: TableRule

    def predict(self, lifting: Lifting) -> tuple[Tensor, Tensor]:
        """Predict the pose of every frame that counts.

        Returns:
            (M, J, 3) root-relative metres with the root at 0, on the runtime's device; (M,) int64
            on CPU, the frames in the store, in order.
        """
        index = WindowIndex(self.store.offsets, self.rule, self.store.counted)
        samples = torch.arange(len(index))

        def predict(part: Tensor) -> Tensor:
            windows = index.windows(part)
            with lifting.runtime.autocast():
                target = self._targets(lifting, windows)
                if lifting.refiner is not None:
                    target = lifting.refined(target, self.store, windows.to(self.store.device))
            return with_zero_root(target.float()).squeeze(1)

        predicted = compute_for_all(
            samples,
            self.store.pose_3d.new_zeros(len(index), self.store.num_joints, 3),
            predict,
            runtime=lifting.runtime,
            modules=lifting.modules.values(),
            per_pass=lifting.runtime.windows_per_pass(self.batch_size, self.rule.frames),
        )
        return predicted, index.windows(samples).targets

    def _targets(self, lifting: Lifting, windows: Windows) -> Tensor:
        """Target poses (B, 1, J, 3) of windows that are on the CPU."""
        store = self.store
        frames: Tensor | None = None
        if isinstance(lifting.lifter, Replicas):  # they split whole windows
            pose_2d = store.window_2d(windows.to(store.device))
        else:
            frames = windows.frames
            first, last = int(frames.min()), int(frames.max())
            pose_2d = store.pose_2d[None, first : last + 1]
            frames = (frames - first).to(store.device, non_blocking=True)

        def targets(poses: Tensor) -> Tensor:
            return lifting.lifter(poses, frames, with_sequence=False)[0]

        return (
            predict_with_flip(targets, pose_2d, store.skeleton) if self.flip else targets(pose_2d)
        )

    def scores(self, lifting: Lifting) -> LiftingScores:
        """Predict all frames and compare them with the true poses."""
        predicted, frames = self.predict(lifting)
        return score(predicted, frames, self.store, self.table_rule.metrics)

    def table(self, scores: LiftingScores) -> LiftingTable:
        """Average the metrics of the store's frames."""
        return lifting_table(scores, self.store, self.table_rule)

    def errors(self, lifting: Lifting) -> TestErrors:
        """The errors to log after an epoch."""
        values = self.table(self.scores(lifting)).result.values
        named = {METRICS[name].log_name: values[name] for name in self.table_rule.metrics}
        return TestErrors(values[self.table_rule.metrics[0]], named)


def score(
    predicted: Tensor, frames: Tensor, store: PoseStore, metrics: Sequence[str]
) -> LiftingScores:
    """Compare predicted poses with those of their store, all at once on its device.

    Args:
        predicted: (M, J, 3) root-relative metres.
        frames: (M,) int64 on CPU, their frames in the store, in order.
        store: the true poses.
        metrics: keys of `METRICS`.

    Returns:
        The scores, on CPU.
    """
    target = store.pose_3d[frames.to(store.device)]
    known = target.isfinite().all(-1).all(-1)  # (M,)
    valid = known & predicted.isfinite().all(-1).all(-1)
    of_known = frames[valid.cpu()]
    sequences = store.sequences_of(of_known)
    follows = torch.zeros(len(of_known), dtype=torch.bool)
    follows[1:] = (of_known.diff() == 1) & (sequences.diff() == 0)
    values = {}
    for name in metrics:
        values[name] = predicted.new_full((len(frames),), torch.nan)
        values[name][valid] = METRICS[name].compute(
            predicted[valid], target[valid], follows.to(store.device)
        )
    return LiftingScores(
        frames,
        predicted.cpu(),
        target.cpu(),
        known.cpu(),
        {name: v.cpu() for name, v in values.items()},
    )


def check_finite(scores: LiftingScores, store: PoseStore) -> None:
    """Require predictions that are finite.

    Raises:
        FailedRun: says how many frames of which sequences are not.
    """
    if not scores.invalid.any():
        return
    sequences = store.sequences_of(scores.frames[scores.invalid])
    numbers, counts = sequences.unique(return_counts=True)
    places = [
        f"{store.names[number]} ({count})"
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
    ]
    raise FailedRun(
        f"predictions of {len(sequences)} of {len(scores.frames)} frames are not finite, in "
        f"{len(places)} sequences: {listing(places)}"
    )


def lifting_table(scores: LiftingScores, store: PoseStore, rule: TableRule) -> LiftingTable:
    """Average metrics over the frames of each row.

    Args:
        scores: metrics of frames.
        store: names their sequences.
        rule: which rows there are.

    Returns:
        The table, rows in the order of the store.
    """
    rows_of_sequences = [rule.row_of(name) for name in store.names]
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows_of_sequences))}
    row_of_frame = torch.tensor([numbers[row] for row in rows_of_sequences])[
        store.sequences_of(scores.frames)
    ]
    rows = [
        _row(name, scores, (row_of_frame == number).nonzero().flatten())
        for name, number in numbers.items()
        if (row_of_frame == number).any()
    ]
    frame_average = _row("Average over frames", scores, torch.arange(len(scores.frames)))
    # A row that has frames but not a metric makes the average a dash; it is not left out of it.
    averaged = [row for row in rows if row.values["frames"]]
    means = {name: _mean([row.values[name] for row in averaged]) for name in rule.metrics}
    unknown: dict[str, int | str] = {}
    for name, number in numbers.items():
        of_row = row_of_frame == number
        missing = int((of_row & ~scores.known).sum())
        if missing:
            unknown[name] = missing if missing < int(of_row.sum()) else "all"
    return LiftingTable(
        rule,
        rows,
        Row("Average", {**means, "frames": frame_average.values["frames"]}),
        frame_average,
        unknown,
        _undetected(store, rows_of_sequences),
    )


def _undetected(store: PoseStore, rows_of_sequences: Sequence[str]) -> dict[str, int]:
    """Row -> number of its frames that are not counted since 2D joints were not detected."""
    counts: dict[str, int] = {}
    if store.undetected is not None:
        for row, frames in zip(rows_of_sequences, store.sequence_slices(), strict=True):
            counts[row] = counts.get(row, 0) + int(store.undetected[frames].sum())
    return {row: count for row, count in counts.items() if count}


def _row(name: str, scores: LiftingScores, frames: Tensor) -> Row:
    """Means over frames (M',) whose true pose is known; NaN if a prediction is not finite."""
    known = frames[scores.known[frames]]
    invalid = bool(scores.invalid[known].any())
    means = {
        metric: math.nan if invalid else values[known].double().nanmean().item()
        for metric, values in scores.metrics.items()
    }
    return Row(name, {**means, "frames": len(known)})


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def save_predictions(path: Path, scores: LiftingScores, store: PoseStore) -> None:
    """Write 3D poses, their targets and where each comes from, as plain arrays.

    Args:
        path: an .npz file; it is replaced if it exists.
        scores: predicted and true poses.
        store: names their sequences.

    Raises:
        UserError: the file cannot be written.
    """
    names = [store.names[number] for number in store.sequences_of(scores.frames).tolist()]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        predicted_3d=1000 * scores.predicted.numpy(),
        target_3d=1000 * scores.target.numpy(),
        subject=np.array([name.subject for name in names]),
        action=np.array([name.action for name in names]),
        camera=np.array([name.camera for name in names]),
        frame=store.frames_in_file(scores.frames).numpy(),
        joint_names=np.array(store.skeleton.joint_names),
        unit=np.array("mm, camera space, relative to joint 0"),
    )
    write_atomically(path, marked_zip(buffer.getvalue()))
