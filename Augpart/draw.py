"""Pictures of what a generator does to poses."""

from pathlib import Path

import numpy as np
from torch import Tensor

from Augpart.pose_generator import GeneratedPoses
from common.data.camera import project
from common.data.skeleton import H36M_16
from common.evaluation.drawing import draw_skeleton, new_figure, same_limits, save

PANEL_INCHES = 2.4


def draw_stages(
    path: Path, pose_3d: Tensor, generated: GeneratedPoses, camera: Tensor, *, rows: int = 3
) -> None:
    """Draw poses as they were, turned (BA), stretched (BL), moved (RT): on the screen and in 3D.

    Args:
        path: PNG file.
        pose_3d: (B, T, 16, 3) camera-space metres; frame 0 is drawn.
        generated: what a generator made of them.
        camera: (B, 9) intrinsics.
        rows: how many of the sequences, from the first on.
    """
    stages = {
        "original": pose_3d,
        "BA": generated.bone_angle,
        "BL": generated.bone_length,
        "RT": generated.moved,
    }
    rows = min(rows, len(pose_3d))
    size = (PANEL_INCHES * len(stages), PANEL_INCHES * 3 * rows)
    figure, axes = new_figure(3 * rows, len(stages), size)
    for column, (stage, poses) in enumerate(stages.items()):
        first_3d = poses[:rows, 0].detach()  # (rows, 16, 3)
        first_2d = project(first_3d, camera[:rows])
        for row in range(rows):
            _draw_pose(
                axes[3 * row : 3 * row + 3, column],
                first_2d[row].cpu().numpy(),
                first_3d[row].cpu().numpy(),
                stage,
            )
    for row in range(rows):
        same_limits(list(axes[3 * row + 1 : 3 * row + 3].flat))
    save(figure, path)


def _draw_pose(axes: np.ndarray, pose_2d: np.ndarray, pose_3d: np.ndarray, stage: str) -> None:
    """One pose in three panels: (16, 2) on the whole screen, (16, 3) metres from two sides."""
    screen, front, side = axes
    draw_skeleton(screen, pose_2d, H36M_16)
    screen.set(xlim=(-1, 1), ylim=(1, -1), title=f"{stage}, screen")
    for axis, columns, view in ((front, [0, 1], "front"), (side, [2, 1], "side")):
        draw_skeleton(axis, pose_3d[:, columns], H36M_16)
        axis.set_title(f"{stage}, {view}")
    for axis in axes:
        axis.title.set_fontsize(9)
