"""Lift plain arrays of keypoints: what `from common.inference import lift_keypoints` gives."""

from pathlib import Path

import numpy as np

from common.data.skeleton import H36M_16, H36M_17
from common.errors import UserError
from common.inference.calibration import assumed_camera, camera_of_focal
from common.inference.models import LiftingModel, load_model
from common.inference.motion import Motion, PinholeCamera
from common.inference.people import DEFAULTS, LiftOptions, lift_recording
from common.keypoints.recording import Person, Recording
from common.keypoints.sizes import wrong_size
from common.keypoints.table import mark_missing


def lift_keypoints(
    keypoints: np.ndarray,
    *,
    size: tuple[int, int],
    fps: float | None = None,
    time: np.ndarray | None = None,
    model: LiftingModel | str | Path | None = None,
    camera: PinholeCamera | float | None = None,
    options: LiftOptions = DEFAULTS,
) -> Motion:
    """Lift one person's 2D keypoints to 3D motion.

    Args:
        keypoints: (L, J, 2) pixels, NaN or 0 0 where not detected, or (L, J, 3) with a confidence
            from 0 to 1; 17 or 16 joints in Human3.6M's order.
        size: width and height of the image in pixels.
        fps: frames per second; or give `time`.
        time: (L,) seconds, increasing.
        model: a loaded model, a weight file, or None for the default model.
        camera: a camera, a focal length in pixels, or None to assume one.
        options: confidence, gaps, smoothing, levelling.

    Returns:
        The motion: `poses_3d`, `root_3d`, `world_3d`, `state` and the rest as NumPy arrays.

    Raises:
        UserError: arrays of another form, or nothing that can be lifted.
    """
    pixels, confidence = checked_keypoints(keypoints, size)
    seconds = checked_time(len(pixels), fps, time)
    skeleton = H36M_17 if pixels.shape[1] == 17 else H36M_16
    recording = Recording(
        source=Path("keypoints"),
        people=(Person("1", pixels, confidence),),
        time=seconds,
        size=size,
        skeleton=skeleton,
        layout="h36m",
        derived=np.zeros(skeleton.num_joints, bool),
    )
    loaded = model if isinstance(model, LiftingModel) else load_model(model)
    if camera is None:
        camera = assumed_camera(size)
    elif not isinstance(camera, PinholeCamera):
        camera = camera_of_focal(size, camera)
    motions, _ = lift_recording(recording, camera, loaded, options)
    return motions[0]


def checked_keypoints(
    keypoints: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (L, J, 2), NaN where not detected, and confidences (L, J), of `lift_keypoints`.

    Raises:
        UserError: another shape, no numbers, or no pixels of an image of this size.
    """
    shape = np.shape(keypoints)
    if len(shape) != 3 or not shape[0] or shape[1] not in (16, 17) or shape[2] not in (2, 3):
        raise UserError(f"keypoints have shape {shape}, (frames, 17 or 16, 2 or 3) is needed")
    if min(size) < 1:
        raise UserError(f"size {size} is not the width and height of an image in pixels")
    try:
        with np.errstate(over="ignore"):  # infinite is not detected
            numbers = np.asarray(keypoints, dtype=np.float32)
    except (TypeError, ValueError):
        raise UserError("keypoints are no array of numbers") from None
    pixels, confidence = mark_missing(numbers[..., :2], numbers[..., 2] if shape[2] == 3 else None)
    if reason := wrong_size(pixels, size):
        raise UserError(f"keypoints: {reason}")
    return pixels, confidence


def checked_time(length: int, fps: float | None, time: np.ndarray | None) -> np.ndarray:
    """Time stamps (L,) float64 in seconds.

    Raises:
        UserError: neither or both are given, or the stamps do not increase.
    """
    if (fps is None) == (time is None):
        raise UserError("give either fps, frames per second, or time, seconds of each frame")
    if fps is not None:
        if not np.isfinite(fps) or fps <= 0:
            raise UserError(f"fps {fps} is not a number above 0")
        return np.arange(length) / fps
    stamps = np.asarray(time, dtype=np.float64)
    if stamps.shape != (length,) or not np.isfinite(stamps).all():
        raise UserError(f"time has shape {stamps.shape}; {length} finite seconds are needed")
    if (np.diff(stamps) <= 0).any():
        frame = int(np.argmax(np.diff(stamps) <= 0)) + 1
        raise UserError(f"time does not increase at frame {frame}")
    return stamps
