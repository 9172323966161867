"""Pictures: predicted against true skeletons, learning curves."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.checkpoint import write_atomically
from common.lifting_engine import LiftingScores
from common.pose_store import PoseStore
from common.pretrain_engine import MaskedModel, MaskedTest
from common.skeleton import SKELETONS, Skeleton

TRUE_COLOUR, PREDICTED_COLOUR, VISIBLE_COLOUR = "0.55", "tab:red", "tab:blue"
SIDE_COLOURS = {"left": "tab:blue", "right": "tab:orange", "middle": "0.3"}


def draw_predictions(
    path: Path, scores: LiftingScores, store: PoseStore, *, columns: int = 4
) -> None:
    """Draw some frames: 2D input, and the predicted skeleton over the true one from two sides.

    Args:
        path: PNG file.
        scores: predicted and true poses, camera space (y down).
        store: 2D poses and names; frames are taken evenly from its sequences.
        columns: number of frames.
    """
    predicted, target = scores.predicted, scores.target
    figure, axes = _figure(3, columns, (3.0 * columns, 8.4))
    skeleton = SKELETONS[store.num_joints]
    slices = store.sequence_slices()
    for column, sequence in enumerate(np.linspace(0, len(slices) - 1, columns).round().astype(int)):
        frame = (slices[sequence].start + slices[sequence].stop) // 2
        name = store.names[sequence]
        error = 1000 * (predicted[frame] - target[frame]).norm(dim=-1).mean().item()
        top, front, side = axes[:, column]
        _draw_skeleton(top, store.pose_2d[frame].cpu().numpy(), skeleton, None)
        top.set_title(f"{name.subject} {name.action}, camera {name.camera}\n2D input", fontsize=9)
        for axis, (i, j), view in ((front, (0, 1), "front"), (side, (2, 1), "side")):
            for poses, colour in ((target, TRUE_COLOUR), (predicted, PREDICTED_COLOUR)):
                _draw_skeleton(axis, poses[frame][:, [i, j]].numpy(), skeleton, colour)
            axis.set_title(f"{view}, error {error:.0f} mm", fontsize=9)
        _same_limits([front, side])
    for colour, text in ((TRUE_COLOUR, "true"), (PREDICTED_COLOUR, "predicted")):
        axes[1, 0].plot([], [], color=colour, label=text)
    axes[1, 0].legend(fontsize=8, loc="lower left", frameon=False)
    _save(figure, path)


def draw_completions(path: Path, test: MaskedTest, model: MaskedModel, *, columns: int = 4) -> None:
    """Draw some completed poses from two sides: what was visible, hidden (true) and recovered.

    Args:
        path: PNG file.
        test: where poses and masks come from.
        model: the model.
        columns: number of poses, taken evenly from the test.
    """
    windows, target, poses, mask = test.examples(model, columns)
    figure, axes = _figure(2, columns, (3.0 * columns, 5.6))
    skeleton = SKELETONS[test.store.num_joints]
    for column, sequence in enumerate(windows.sequences.tolist()):
        hidden = mask[column].numpy()
        error = 1000 * (poses[column] - target[column]).norm(dim=-1)[mask[column]].mean()
        name = test.store.names[sequence]
        for axis, dimensions, view in (
            (axes[0, column], (0, 1), "front"),
            (axes[1, column], (2, 1), "side"),
        ):
            true, shown = (p[column][:, list(dimensions)].numpy() for p in (target, poses))
            _draw_skeleton(axis, true, skeleton, VISIBLE_COLOUR, joints=~hidden)
            _draw_skeleton(axis, true, skeleton, TRUE_COLOUR, joints=hidden)
            _draw_skeleton(axis, shown, skeleton, PREDICTED_COLOUR, joints=hidden)
            axis.set_title(
                f"{name.subject} {name.action}, {view}\nhidden: {error:.0f} mm", fontsize=9
            )
        _same_limits(axes[:, column])
    for colour, text in (
        (VISIBLE_COLOUR, "visible"),
        (TRUE_COLOUR, "hidden, true"),
        (PREDICTED_COLOUR, "hidden, recovered"),
    ):
        axes[0, 0].plot([], [], color=colour, label=text)
    axes[0, 0].legend(fontsize=8, loc="lower left", frameon=False)
    _save(figure, path)


def draw_learning_curve(
    path: Path, history: Sequence[Mapping[str, Any]], errors: Sequence[str], unit: str
) -> None:
    """Draw the training loss and the test errors by epoch.

    Args:
        path: PNG file.
        history: one record an epoch with "epoch", "loss" and the errors.
        errors: which errors to draw.
        unit: of the errors.
    """
    figure, axes = _figure(1, 2, (9, 3.4))
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
    _save(figure, path)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure without a display; matplotlib is slow to import and only drawing needs it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())


def _draw_skeleton(
    axis: Any,
    pose: np.ndarray,
    skeleton: Skeleton,
    colour: str | None,
    *,
    joints: np.ndarray | None = None,
) -> None:
    """Bones of (J, 2) points with y down; without a colour, one colour a side of the body.

    With `joints` (J,) bool, only the bones that lead to these.
    """
    for joint, parent in enumerate(skeleton.parents):
        if parent >= 0 and (joints is None or joints[joint]):
            side = _side(joint, skeleton)
            points = pose[[parent, joint]]
            axis.plot(points[:, 0], points[:, 1], color=colour or SIDE_COLOURS[side], linewidth=1.8)
    axis.set_aspect("equal")
    if not axis.yaxis_inverted():
        axis.invert_yaxis()
    axis.set_xticks([])
    axis.set_yticks([])


def _side(joint: int, skeleton: Skeleton) -> str:
    if joint in skeleton.left:
        return "left"
    return "right" if joint in skeleton.right else "middle"


def _same_limits(axes: Sequence[Any]) -> None:
    """Give axes of the same pose one scale, so that front and side can be compared."""
    spans = [(axis, axis.get_xlim(), axis.get_ylim()) for axis in axes]
    half = max(abs(high - low) for _, *limits in spans for low, high in limits) / 2
    for axis, x, y in spans:
        axis.set_xlim(sum(x) / 2 - half, sum(x) / 2 + half)
        axis.set_ylim(sum(y) / 2 + half, sum(y) / 2 - half)
