"""Where the joints of a motion are in the image: detected, or where the 3D pose puts them."""

import numpy as np

from common.inference.calibration import distort
from common.inference.motion import Motion, PinholeCamera

_NEAREST = 0.1  # metres before the camera


def joints_in_image(motion: Motion, frame: int) -> np.ndarray:
    """The joints of a frame in pixels of the recording.

    Args:
        motion: of a person.
        frame: its number.

    Returns:
        (J, 2): the 2D keypoints; those that are missing are projected from 3D where there is a
        pose, and NaN elsewhere.
    """
    keypoints = motion.keypoints_2d[frame]
    missing = np.isnan(keypoints).any(axis=-1, keepdims=True)
    if not missing.any():
        return keypoints
    projected = project(motion.poses_3d[frame] + motion.root_3d[frame], motion.camera)
    return np.where(missing, projected, keypoints)


def project(points: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Project points of camera space with the lens distortion of OpenCV's model.

    Args:
        points: (..., 3) metres.
        camera: see `PinholeCamera`.

    Returns:
        (..., 2) pixels; NaN for points that are not before the camera.
    """
    depth = np.where(points[..., 2:] > _NEAREST, points[..., 2:], np.nan)
    xy = points[..., :2] / depth
    return distort(xy, camera) * np.array(camera.focal) + np.array(camera.centre)
