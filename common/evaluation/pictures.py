"""Pictures: predicted against true skeletons, learning curves."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.data.pose_store import PoseStore
from common.data.skeleton import Skeleton
from common.evaluation.drawing import draw_skeleton, new_figure, same_limits, save
from common.evaluation.lifting import LiftingScores
from common.evaluation.masked import Examples

TRUE_COLOUR, PREDICTED_COLOUR, VISIBLE_COLOUR = "0.55", "tab:red", "tab:blue"


def draw_predictions(
    path: Path, scores: LiftingScores, store: PoseStore, *, columns: int = 4
) -> None:
    """Draw some frames: 2D input, and the predicted skeleton over the true one from two sides.

    Args:
        path: PNG file.
        scores: predicted and true poses, camera space (y down).
        store: 2D poses and names; frames are taken evenly from those tested.
        columns: number of frames.
    """
    sequences = store.sequences_of(scores.frames)
    figure, axes = new_figure(3, columns, (3.0 * columns, 8.4))
    first_metric = next(iter(scores.metrics.values()))
    for column in range(columns):
        row = len(sequences) * (2 * column + 1) // (2 * columns)
        frame, name = int(scores.frames[row]), store.names[int(sequences[row])]
        error = float(first_metric[row])
        shown = "no true pose" if math.isnan(error) else f"error {error:.0f} mm"
        predicted, target = scores.predicted[row], scores.target[row]
        top, front, side = axes[:, column]
        draw_skeleton(top, store.pose_2d[frame].cpu().numpy(), store.skeleton)
        top.set_title(f"{name.subject} {name.action}, camera {name.camera}\n2D input", fontsize=9)
        for axis, (i, j), view in ((front, (0, 1), "front"), (side, (2, 1), "side")):
            for poses, colour in ((target, TRUE_COLOUR), (predicted, PREDICTED_COLOUR)):
                draw_skeleton(axis, poses[:, [i, j]].numpy(), store.skeleton, colour)
            axis.set_title(f"{view}, {shown}", fontsize=9)
        same_limits([front, side])
    for colour, text in ((TRUE_COLOUR, "true"), (PREDICTED_COLOUR, "predicted")):
        axes[1, 0].plot([], [], color=colour, label=text)
    axes[1, 0].legend(fontsize=8, loc="lower left", frameon=False)
    save(figure, path)


def draw_completions(path: Path, examples: Examples, skeleton: Skeleton) -> None:
    """Draw completed poses from two sides: what was visible, hidden (true) and recovered.

    Args:
        path: PNG file.
        examples: the poses.
        skeleton: of the poses.
    """
    columns = len(examples.names)
    figure, axes = new_figure(2, columns, (3.0 * columns, 5.6))
    for column, name in enumerate(examples.names):
        target, result = examples.true_3d[column], examples.result_3d[column]
        hidden = examples.hidden[column].numpy()
        error = 1000 * (result - target).norm(dim=-1)[examples.hidden[column]].mean()
        for axis, dimensions, view in (
            (axes[0, column], (0, 1), "front"),
            (axes[1, column], (2, 1), "side"),
        ):
            true, shown = (p[:, list(dimensions)].numpy() for p in (target, result))
            draw_skeleton(axis, true, skeleton, VISIBLE_COLOUR, joints=~hidden)
            draw_skeleton(axis, true, skeleton, TRUE_COLOUR, joints=hidden)
            draw_skeleton(axis, shown, skeleton, PREDICTED_COLOUR, joints=hidden)
            axis.set_title(f"{name}\n{view}, hidden: {error:.0f} mm", fontsize=8)
        same_limits(axes[:, column])
    for colour, text in (
        (VISIBLE_COLOUR, "visible"),
        (TRUE_COLOUR, "hidden, true"),
        (PREDICTED_COLOUR, "hidden, recovered"),
    ):
        axes[0, 0].plot([], [], color=colour, label=text)
    axes[0, 0].legend(fontsize=8, loc="lower left", frameon=False)
    save(figure, path)


def draw_learning_curve(
    path: Path, history: Sequence[Mapping[str, Any]], errors: Sequence[str], unit: str
) -> None:
    """Draw the training loss and the test errors by epoch.

    Args:
        path: PNG file.
        history: one record per epoch with "epoch", "loss" and the errors.
        errors: which errors to draw.
        unit: of the errors.
    """
    figure, axes = new_figure(1, 2, (9, 3.4))
    epochs = [record["epoch"] for record in history]
    loss_axis, error_axis = axes[0]
    loss_axis.plot(epochs, [record["loss"] for record in history], marker="o", markersize=3)
    loss_axis.set(title="training loss", xlabel="epoch", ylabel="m")
    for error in errors:
        if error in history[0]:
            values = [record[error] for record in history]
            error_axis.plot(epochs, values, marker="o", markersize=3, label=error)
    error_axis.set(title="test errors", xlabel="epoch", ylabel=unit)
    error_axis.legend(frameon=False)
    for axis in axes[0]:
        axis.grid(alpha=0.3)
        axis.set_ylim(bottom=0)
        axis.xaxis.get_major_locator().set_params(integer=True)
    save(figure, path)
