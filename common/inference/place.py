"""Where a lifted person stands: the root's path in camera space, and a world with z up."""

from dataclasses import dataclass

import numpy as np

from common.data.skeleton import Skeleton
from common.inference.motion import PinholeCamera
from common.inference.smoothing import savitzky_golay

REFINEMENTS = 3
PART = 4096  # frames placed at once
MIN_DEPTH, MAX_DEPTH = 0.3, 100.0  # metres
MIN_JOINTS = 3


def rays(keypoints: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """x / z and y / z (..., 2) of undistorted pixels (..., 2)."""
    return (keypoints - np.array(camera.centre)) / np.array(camera.focal)


def root_path(
    poses: np.ndarray,
    keypoints: np.ndarray,
    weight: np.ndarray,
    time: np.ndarray,
    camera: PinholeCamera,
) -> np.ndarray:
    """The position of the root whose projection fits the keypoints best, smoothed in depth.

    Frame by frame a linear least-squares problem in the translation; weighting its rows by one
    over the depth of the joint turns its error into that of the projection. A person's depth is
    known far less well than the direction: only the depth is smoothed in time, and the other two
    coordinates are fitted anew with it, so that the pose stays on the person in the picture.

    Args:
        poses: (L, J, 3) metres relative to the root, finite; consecutive frames.
        keypoints: (L, J, 2) undistorted pixels; NaN where there are none.
        weight: (L, J) from 0, that of each joint.
        time: (L,) float64 seconds.
        camera: focal length and principal point.

    Returns:
        (L, 3) metres in camera space; NaN throughout if no frame has three joints.
    """
    weight = np.where(np.isfinite(keypoints).all(-1), weight, 0.0)
    ray = np.where(weight[..., None] > 0, rays(keypoints, camera), 0.0)
    sound = (weight > 0).sum(1) >= min(MIN_JOINTS, poses.shape[1])
    if not sound.any():
        return np.full((len(poses), 3), np.nan, np.float32)
    frames = np.flatnonzero(sound)
    found = np.concatenate(
        [
            _depths(poses[part].astype(np.float64), ray[part], weight[part])
            for part in np.split(frames, range(PART, len(frames), PART))
        ]
    )
    depth = np.interp(time, time[sound], np.log(found))  # a scale: smooth its logarithm
    depth = np.exp(savitzky_golay(depth, time))
    root = np.empty((len(poses), 3))
    root[:, 2] = depth
    joint_depth = poses[..., 2] + depth[:, None]
    row = weight / joint_depth.clip(min=MIN_DEPTH) ** 2
    offset = ray * joint_depth[..., None] - poses[..., :2]  # (L, J, 2)
    total = row.sum(1)[:, None]
    root[:, :2] = (row[..., None] * offset).sum(1) / np.where(total > 0, total, 1)
    lost = total[:, 0] == 0
    for axis in range(2):
        root[lost, axis] = np.interp(time[lost], time[~lost], root[~lost, axis])
    return root.astype(np.float32)


def _depths(poses: np.ndarray, ray: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Depth of the root (L,) by least squares; by size alone where that does not determine it."""
    row = weight.astype(np.float64)
    by_size = _depth_by_size(poses, ray, row)
    depth = by_size
    for _ in range(REFINEMENTS):
        solved = _solve(poses, ray, row)
        depth = np.where(np.isfinite(solved), solved, by_size)
        joint_depth = poses[..., 2] + depth[:, None]
        row = weight / joint_depth.clip(min=MIN_DEPTH) ** 2
    return depth


def _depth_by_size(poses: np.ndarray, ray: np.ndarray, row: np.ndarray) -> np.ndarray:
    """How far away a flat body (L,) of this width and height looks as large as in the image."""

    def size(points: np.ndarray) -> np.ndarray:
        mean = (row[..., None] * points).sum(1) / row.sum(1)[:, None]
        return np.sqrt((row[..., None] * (points - mean[:, None]) ** 2).sum((1, 2)))

    return (size(poses[..., :2]) / size(ray).clip(min=1e-9)).clip(MIN_DEPTH, MAX_DEPTH)


def _solve(poses: np.ndarray, ray: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The depth t_z that minimises the sum of row * (t + p - ray * (t_z + p_z)) ** 2 over t.

    For a given t_z the best t_x and t_y are weighted means; with these eliminated, one equation in
    t_z is left, of the spread of rays and joints around their means.
    """
    total = row.sum(1)[:, None]
    mean_ray = (row[..., None] * ray).sum(1) / total  # (L, 2)
    known = ray * poses[..., 2:] - poses[..., :2]  # t_xy = ray * t_z + known, if all fitted
    mean_known = (row[..., None] * known).sum(1) / total
    spread, rest = ray - mean_ray[:, None], known - mean_known[:, None]
    numerator = -(row[..., None] * spread * rest).sum((1, 2))
    denominator = (row[..., None] * spread**2).sum((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = numerator / denominator
    sound = np.isfinite(depth) & (depth > MIN_DEPTH) & (depth < MAX_DEPTH)
    return np.where(sound, depth, np.nan)


@dataclass(frozen=True)
class World:
    """A frame of reference with z up and the ground at z = 0.

    Attributes:
        axes: (3, 3), rows x (right), y (forward), z (up) of the world along the camera's axes.
        height: of the camera above the ground, metres.
        how: in words.
    """

    axes: np.ndarray
    height: float
    how: str

    def of_camera(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of camera space in the world."""
        world = points @ self.axes.T
        world[..., 2] += self.height
        return world


CAMERA_UP = np.array([0.0, -1.0, 0.0])
LARGEST_TILT = 40.0  # degrees between a level camera's up and the body's, else it is not upright
STRETCHED = 0.8  # a body is upright where it reaches this quantile of its length, feet to head
# What the body's axis says of what is up counts so much more than that cameras are held level.
BODY_OVER_CAMERA = 4.0
TILT_PRIOR = np.tan(np.radians(6.0))  # standard deviation of both together
FOOT_NOISE = 0.06  # metres
SAMPLE_SECONDS = 1.0  # feet that are apart less in time are not independent measurements
TUKEY_WIDTH = 3.0  # standard deviations beyond which a foot does not count
FIT_STEPS, FOOT_CHOICES = 15, 3
GROUND_PERCENTILE = 5.0


def world_of_pitch(pitch: float, height: float | None, feet: np.ndarray) -> World:
    """The world of a camera that looks down by `pitch` degrees; `feet` (N, 3) in camera space."""
    angle = np.radians(pitch)
    axes = _axes(np.array([0.0, -np.cos(angle), -np.sin(angle)]))
    return _grounded(axes, height, feet, f"camera pitch {pitch:g} degrees")


def level(
    absolute: np.ndarray, time: np.ndarray, skeleton: Skeleton, height: float | None
) -> World:
    """Find what is up from the body's axis and the ground under the feet.

    The mean axis from the feet to the head is a first estimate. A plane through the lower feet
    corrects it as far as they cover the ground: least squares with Tukey's weights, so that jumps
    and stairs do not count, and with the first estimate as prior, so that a person who stands
    still or walks along a line does not tilt the world.

    Args:
        absolute: (L, J, 3) camera space, metres, finite; L may be 0.
        time: (L,) float64 seconds.
        skeleton: of the poses.
        height: of the camera above the ground if known, metres.
    """
    if not len(absolute):
        return World(_axes(CAMERA_UP), height or 0.0, "level camera")
    feet = absolute[:, [j for j, n in enumerate(skeleton.joint_names) if "foot" in n]]  # (L, 2, 3)
    up = _body_axis(absolute[:, skeleton.joint_names.index("head")] - feet.mean(1))
    how = "levelled by the body and the ground under the feet"
    if up is None or up @ CAMERA_UP < np.cos(np.radians(LARGEST_TILT)):
        up, how = CAMERA_UP, "a level camera and the ground under the feet"
    up = (BODY_OVER_CAMERA * up + CAMERA_UP) / np.linalg.norm(BODY_OVER_CAMERA * up + CAMERA_UP)
    axes = _axes(up)
    independent = max((time[-1] - time[0]) / SAMPLE_SECONDS, 1.0) / len(feet)
    for _ in range(FOOT_CHOICES):
        lower = np.take_along_axis(feet, (feet @ up).argmin(1)[:, None, None], axis=1)[:, 0]
        slope_x, slope_y = _plane(lower @ axes.T, min(independent, 1.0))
        corrected = _unit(axes.T @ np.array([-slope_x, -slope_y, 1.0]))
        assert corrected is not None
        up = corrected
    return _grounded(_axes(up), height, lower, how)


def _body_axis(body: np.ndarray) -> np.ndarray | None:
    """The direction (3,) from feet to head where the body is stretched, of vectors (L, 3)."""
    length = np.linalg.norm(body, axis=-1)
    stretched = body[length >= np.quantile(length, STRETCHED)]
    return _unit(np.median(stretched, axis=0))


def _plane(points: np.ndarray, independent: float) -> tuple[float, float]:
    """The slopes of z over x and y, robust and with a prior at 0.

    Args:
        points: (N, 3), z roughly up.
        independent: share of the points that counts as independent.
    """
    centred = points - np.median(points, axis=0)
    design = np.column_stack([centred[:, :2], np.ones(len(points))])
    prior = np.diag([1 / TILT_PRIOR**2, 1 / TILT_PRIOR**2, 1e-6])
    fitted = np.zeros(3)
    for step in range(FIT_STEPS):
        residual = centred[:, 2] - design @ fitted
        residual -= np.median(residual) if not fitted.any() else 0
        spread = max(1.5 * float(np.median(np.abs(residual))), FOOT_NOISE)
        ratio = residual / (TUKEY_WIDTH * spread)
        weight = np.where(np.abs(ratio) < 1, (1 - ratio**2) ** 2, 0)
        if step == FIT_STEPS - 1:  # feet that lie in no plane say little about the ground
            weight *= (FOOT_NOISE / spread) ** 2
        weighted = design * (weight * independent / spread**2)[:, None]
        fitted = np.linalg.solve(design.T @ weighted + prior, weighted.T @ centred[:, 2])
    return float(fitted[0]), float(fitted[1])


def _grounded(axes: np.ndarray, height: float | None, feet: np.ndarray, how: str) -> World:
    if height is not None:
        return World(axes, height, f"{how}, camera height {height:g} m")
    below = -np.percentile(feet @ axes[2], GROUND_PERCENTILE) if len(feet) else 0.0
    return World(axes, float(below), how)


def _axes(up: np.ndarray) -> np.ndarray:
    """World axes (3, 3) for an up vector (3,): y is where the camera looks, along the ground."""
    forward = np.array([0.0, 0.0, 1.0])
    level_forward = _unit(forward - (forward @ up) * up)
    if level_forward is None:  # a camera that looks straight down or up
        level_forward = _unit(CAMERA_UP - (CAMERA_UP @ up) * up)
    assert level_forward is not None
    return np.stack([np.cross(level_forward, up), level_forward, up])


def _unit(vector: np.ndarray) -> np.ndarray | None:
    length = np.linalg.norm(vector)
    return vector / length if length > 1e-6 else None
