"""From where a motion is shown in 3D: a view beside the recording camera's that holds it all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.inference.motion import Motion
from common.motion_files.rotations import best_rotations

TURN = np.radians(32)  # from the view of the recording camera, which shows no depth
ELEVATION = np.radians(14)
FILLED = 0.86  # of the picture, by the motion
FOLLOWED_FROM = 5.0  # metres: a motion that goes further is followed
FOLLOW_SECONDS = 2.0
_SAMPLED = 400  # frames that decide
_PERCENTILES = (0.3, 99.7)  # of joints: a wild frame does not decide
_SMALLEST = 0.6  # metres
_FAR = 3.2  # distance of the eye in radii of the motion


@dataclass(frozen=True)
class Viewpoint:
    """A perspective view of the world.

    Attributes:
        axes: (3, 3), rows: the world's directions to the right, downwards and ahead in the view.
        distance: metres from the eye to the target.
        focal: in pixels.
        centre: pixels where the target is.
    """

    axes: np.ndarray
    distance: float
    focal: float
    centre: tuple[float, float]

    def project(self, points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (..., 2) and depth (...) in metres of world points (..., 3)."""
        seen = (points - target) @ self.axes.T
        depth = seen[..., 2] + self.distance
        safe = np.where(depth > 0.05 * self.distance, depth, np.nan)
        return self.focal * seen[..., :2] / safe[..., None] + np.array(self.centre), depth


@dataclass(frozen=True)
class Stage:
    """A viewpoint, and where it looks at in each frame.

    Attributes:
        view: of the panel.
        targets: (L, 3) metres; equal rows where the view stands still.
        radius: of the motion around its target, metres.
    """

    view: Viewpoint
    targets: np.ndarray
    radius: float


def stage_for(motions: Sequence[Motion], width: int, height: int) -> Stage:
    """The view that holds the motions of all people in a panel of so many pixels.

    Args:
        motions: one per person.
        width: of the panel.
        height: of the panel.
    """
    world = np.concatenate([motion.world_3d for motion in motions], axis=1)  # (L, people * J, 3)
    targets = _targets(world, motions[0].time)
    picked = np.linspace(0, len(world) - 1, min(len(world), _SAMPLED)).astype(int)
    around = (world[picked] - targets[picked, None]).reshape(-1, 3)
    around = around[~np.isnan(around).any(axis=-1)]
    if not len(around):
        around = np.array([[-1, -1, 0], [1, 1, 2]], float)
    radius = max(_SMALLEST, float(np.percentile(np.linalg.norm(around, axis=-1), 99)))
    axes = _axes(camera_heading(motions) + TURN)
    # What is in the panel: the middle of the joints, and the ground below them.
    shown = np.concatenate([around, around * [1, 1, 0]])
    flat = Viewpoint(axes, _FAR * radius, 1.0, (0.0, 0.0)).project(shown, np.zeros(3))[0]
    low, high = np.nanpercentile(flat, _PERCENTILES, axis=0)
    middle, span = (low + high) / 2, np.maximum(high - low, 0.4 * _SMALLEST / radius)
    focal = FILLED * float(min(np.array([width, height]) / span))
    centre = np.array([width, height]) / 2 - focal * middle
    view = Viewpoint(axes, _FAR * radius, focal, (float(centre[0]), float(centre[1])))
    return Stage(view, targets, radius)


def _axes(heading: float) -> np.ndarray:
    """The axes of a view in a direction of the ground plane, looking slightly down."""
    ahead = np.array([np.cos(heading), np.sin(heading), 0])
    right = np.array([np.sin(heading), -np.cos(heading), 0])
    up = np.array([0, 0, 1])
    return np.stack(
        [
            right,
            -np.cos(ELEVATION) * up - np.sin(ELEVATION) * ahead,
            np.cos(ELEVATION) * ahead - np.sin(ELEVATION) * up,
        ]
    )


def camera_heading(motions: Sequence[Motion]) -> float:
    """The direction in the ground plane, radians from x, in which the recording camera looks."""
    for motion in motions:
        there = np.flatnonzero(~np.isnan(motion.world_3d).any(axis=(1, 2)))[:_SAMPLED]
        camera = (motion.poses_3d[there] + motion.root_3d[there, None]).reshape(-1, 3)
        world = motion.world_3d[there].reshape(-1, 3)
        if len(there) and not np.isnan(camera).any():
            camera, world = camera - camera.mean(axis=0), world - world.mean(axis=0)
            x, y, _ = best_rotations(camera, world[None])[0] @ [0, 0, 1]
            return float(np.arctan2(y, x))
    return float(np.pi / 2)


def _targets(world: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Where to look at in each frame, (L, 3) on the ground: one place, or after the motion."""
    there = ~np.isnan(world).any(axis=-1, keepdims=True)  # (L, people * J, 1)
    total = np.where(there, world, 0).sum(axis=1)
    count = there.sum(axis=1)
    seen = np.flatnonzero(count)
    targets = np.zeros((len(world), 3))
    if not len(seen):
        return targets
    places = total[seen, :2] / count[seen]
    low, high = np.percentile(places, _PERCENTILES, axis=0)
    if np.hypot(*(high - low)) <= FOLLOWED_FROM:
        targets[:, :2] = (low + high) / 2
        return targets
    window = int(np.searchsorted(time, time[0] + FOLLOW_SECONDS)) | 1
    frames = np.arange(len(world))
    for axis in range(2):
        path = np.interp(frames, seen, places[:, axis])
        targets[:, axis] = _moving_mean(_moving_mean(path, window), window)
    return targets


def _moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean over an odd number of values around each, the ends repeated."""
    padded = np.pad(values, window // 2, mode="edge")
    total = np.cumsum(np.insert(padded, 0, 0.0))
    return (total[window:] - total[:-window]) / window
