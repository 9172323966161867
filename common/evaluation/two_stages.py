"""Draw the two stages of the method, for the README: `python -m common.evaluation.two_stages`.

The skeletons are one frame of the sample; what is hidden in them is drawn dotted.
"""

from typing import Any

import numpy as np

from common.data.camera import PACKAGED_CAMERAS
from common.data.h36m import H36MFiles
from common.data.skeleton import H36M_17
from common.evaluation.drawing import new_figure, save

PICTURE = PACKAGED_CAMERAS.parent.parent / "checkpoint" / "two_stages.png"
SAMPLE = PACKAGED_CAMERAS.parent / "sample"
FRAME, TURN = 900, np.deg2rad(35)  # the frame drawn; 3D is turned about the vertical
HIDDEN_JOINTS = {3, 6, 9, 12, 13}
SHARED, OWN, TEXT = "#cfe3f5", "#f0f0f0", "0.25"
BOX_HEIGHT, BOX_WIDTH = 0.9, 1.75


def main() -> None:
    """Draw both stages side by side."""
    store = H36MFiles.read(SAMPLE, "gt").store(["S9"], H36M_17)
    pose_2d = store.pose_2d[FRAME].numpy() - store.pose_2d[FRAME, :1].numpy()
    pose_3d = store.pose_3d[FRAME].numpy()
    turned = pose_3d[:, [0, 1]] * [np.cos(TURN), 1] + pose_3d[:, [2]] * [np.sin(TURN), 0]
    figure, axes = new_figure(1, 1, (12, 4.6))
    axis = axes[0, 0]
    axis.set(xlim=(0, 15.8), ylim=(0.1, 6.2), aspect="equal")
    axis.set_axis_off()
    _pre_training(axis, _scaled(pose_2d), _scaled(turned))
    _fine_tuning(axis, _scaled(pose_2d), _scaled(turned))
    save(figure, PICTURE)


def _pre_training(axis: Any, pose_2d: np.ndarray, pose_3d: np.ndarray) -> None:
    axis.text(0.1, 5.9, "1  Masked pre-training: hide joints and frames, recover them", size=11)
    for y, pose, kind in ((5.0, pose_2d, "2D"), (3.7, pose_3d, "3D")):
        _skeleton(axis, pose, (0.7, y), hidden=HIDDEN_JOINTS)
        _skeleton(axis, pose, (1.45, y), alpha=0.25, hidden=set(range(17)))
        _box(axis, (3.0, y), f"{kind} stem", SHARED if kind == "2D" else OWN)
        _arrow(axis, (1.85, y), (3.0 - BOX_WIDTH / 2, y))
        _arrow(axis, (3.0 + BOX_WIDTH / 2, y), (5.2 - BOX_WIDTH / 2, 4.35))
        _arrow(axis, (7.4 + BOX_WIDTH / 2, 4.35), (9.8 - BOX_WIDTH / 2, y))
        _box(axis, (9.8, y), f"{kind} decoder", OWN)
        _skeleton(axis, pose, (11.7, y), recovered=HIDDEN_JOINTS)
        _arrow(axis, (9.8 + BOX_WIDTH / 2, y), (11.25, y))
        axis.text(12.3, y, f"recovered {kind}", size=9, color=TEXT, va="center")
    _encoder(axis, 4.35)


def _fine_tuning(axis: Any, pose_2d: np.ndarray, pose_3d: np.ndarray) -> None:
    y = 0.8
    axis.text(0.1, 2.1, "2  Fine-tuning: lift a 2D sequence to the 3D pose of one frame", size=11)
    for x in (0.5, 0.95, 1.4):
        _skeleton(axis, pose_2d, (x, y), alpha=0.35 + 0.3 * (x > 0.6))
    _box(axis, (3.0, y), "2D stem", SHARED)
    _arrow(axis, (1.85, y), (3.0 - BOX_WIDTH / 2, y))
    _arrow(axis, (3.0 + BOX_WIDTH / 2, y), (5.2 - BOX_WIDTH / 2, y))
    _encoder(axis, y)
    _arrow(axis, (7.4 + BOX_WIDTH / 2, y), (9.8 - BOX_WIDTH / 2, y))
    _box(axis, (9.8, y), "strided\nencoder", OWN)
    _arrow(axis, (9.8 + BOX_WIDTH / 2, y), (12.1 - BOX_WIDTH / 2, y))
    _box(axis, (12.1, y), "refiner\n(optional)", OWN)
    _arrow(axis, (12.1 + BOX_WIDTH / 2, y), (13.7, y))
    _skeleton(axis, pose_3d, (14.15, y))
    axis.text(14.75, y, "3D pose", size=9, color=TEXT, va="center")
    below, above = 4.35 - BOX_HEIGHT / 2, y + BOX_HEIGHT / 2
    style = {"arrowstyle": "-|>", "color": "tab:blue", "linestyle": "--"}
    axis.annotate("", (7.4, above), (7.4, below), arrowprops=style)
    axis.text(7.55, 2.6, "weights of the blue parts", size=9, color="tab:blue", va="center")


def _encoder(axis: Any, y: float) -> None:
    """The two parts of the shared encoder."""
    _box(axis, (5.2, y), "spatial\nMLP", SHARED)
    _box(axis, (7.4, y), "temporal\nencoder", SHARED)
    _arrow(axis, (5.2 + BOX_WIDTH / 2, y), (7.4 - BOX_WIDTH / 2, y))


def _scaled(points: np.ndarray) -> np.ndarray:
    """(17, 2) points, y up, 1.1 high around the origin."""
    flipped = points * [1, -1]
    low, high = flipped.min(0), flipped.max(0)
    return (flipped - (low + high) / 2) * 1.1 / (high - low)[1]


def _skeleton(
    axis: Any,
    pose: np.ndarray,
    at: tuple[float, float],
    *,
    hidden: set[int] | None = None,
    recovered: set[int] | None = None,
    alpha: float = 1.0,
) -> None:
    """Bones of a pose (17, 2); those to hidden joints dotted, those to recovered ones red."""
    points = pose + np.array(at)
    for joint, parent in enumerate(H36M_17.parents):
        if parent < 0:
            continue
        dotted = joint in (hidden or ())
        colour = "tab:red" if joint in (recovered or ()) else H36M_17.colour(joint)
        axis.plot(
            *points[[parent, joint]].T,
            color="0.6" if dotted else colour,
            linestyle=":" if dotted else "-",
            linewidth=1.6,
            alpha=alpha,
        )


def _box(axis: Any, centre: tuple[float, float], text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = centre[0] - BOX_WIDTH / 2, centre[1] - BOX_HEIGHT / 2
    style = "round,pad=0,rounding_size=0.12"
    axis.add_patch(
        FancyBboxPatch(corner, BOX_WIDTH, BOX_HEIGHT, boxstyle=style, fc=colour, ec="0.5")
    )
    axis.text(*centre, text, ha="center", va="center", size=9)


def _arrow(axis: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "0.4"})


if __name__ == "__main__":
    main()
