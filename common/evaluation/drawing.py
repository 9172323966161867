"""Skeletons on paper: what every picture shares."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data.skeleton import Skeleton
from common.files import write_atomically
from common.outputs import MARK


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure without a display; matplotlib is slow to import and only drawing needs it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": MARK})
    write_atomically(path, buffer.getvalue())


def draw_skeleton(
    axis: Any,
    pose: np.ndarray,
    skeleton: Skeleton | None,
    colour: str | None = None,
    *,
    joints: np.ndarray | None = None,
) -> None:
    """Draw the bones of (J, 2) points, y down; without a colour, one colour per side of the body.

    With `joints` (J,) bool, only the bones that lead to these. Without a skeleton, the points.
    """
    if skeleton is None:
        axis.plot(pose[:, 0], pose[:, 1], "o", color=colour or "0.3", markersize=3)
    else:
        for joint, parent in enumerate(skeleton.parents):
            if parent >= 0 and (joints is None or joints[joint]):
                points = pose[[parent, joint]]
                shown = colour or skeleton.colour(joint)
                axis.plot(points[:, 0], points[:, 1], color=shown, linewidth=1.8)
    axis.set_aspect("equal")
    if not axis.yaxis_inverted():
        axis.invert_yaxis()
    axis.set_xticks([])
    axis.set_yticks([])


def same_limits(axes: Sequence[Any]) -> None:
    """Give axes of the same pose one scale, so that front and side can be compared."""
    spans = [(axis, axis.get_xlim(), axis.get_ylim()) for axis in axes]
    half = max(abs(high - low) for _, *limits in spans for low, high in limits) / 2
    for axis, x, y in spans:
        axis.set_xlim(sum(x) / 2 - half, sum(x) / 2 + half)
        axis.set_ylim(sum(y) / 2 + half, sum(y) / 2 - half)
