"""Smooth 3D motion in time, and measure how much it jitters."""

from collections.abc import Callable

import numpy as np

SECONDS = 0.25  # half width of the window of the polynomial fit
MAX_HALF_WIDTH = 60  # frames
PART = 2048  # frames fitted at once
# Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012: at rest the cut-off frequency in Hz, and how
# it grows with the speed in metres per second.
MIN_CUTOFF, BETA, SPEED_CUTOFF = 1.5, 3.0, 1.0

Smoother = Callable[[np.ndarray, np.ndarray], np.ndarray]


def savitzky_golay(values: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The value at each frame of the parabola fitted to the frames around it.

    Savitzky and Golay, Analytical Chemistry 36 (1964), here with the real time stamps.

    Args:
        values: (L, ...) finite.
        time: (L,) float64 seconds, increasing.

    Returns:
        (L, ...) of the same type.
    """
    length = len(values)
    if length < 4:
        return values.copy()
    half = int(np.clip(round(SECONDS / np.median(np.diff(time))), 1, MAX_HALF_WIDTH))
    width = min(2 * half + 1, length)
    flat = values.reshape(length, -1).astype(np.float64)
    smooth = np.empty_like(flat)
    for first in range(0, length, PART):
        frames = np.arange(first, min(first + PART, length))
        start = np.clip(frames - width // 2, 0, length - width)
        around = start[:, None] + np.arange(width)  # (N, W)
        smooth[frames] = np.einsum(
            "nw,nwc->nc", _parabola_weights(time[around] - time[frames, None]), flat[around]
        )
    return smooth.reshape(values.shape).astype(values.dtype)


def _parabola_weights(offsets: np.ndarray) -> np.ndarray:
    """Weights (N, W) whose sum of values is the fitted parabola's value at offset 0.

    Args:
        offsets: (N, W) seconds.
    """
    scale = np.abs(offsets).max(1, keepdims=True)
    powers = (offsets / scale)[..., None] ** np.arange(3)  # (N, W, 3)
    return np.linalg.pinv(powers)[:, 0]


def one_euro(values: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The One-Euro filter: smooth at rest, quick in motion; no look-ahead.

    Args:
        values: (L, ..., C) metres, finite.
        time: (L,) float64 seconds, increasing.

    Returns:
        (L, ..., C) of the same type.
    """
    smooth = values.astype(np.float64)
    speed = np.zeros_like(smooth[0])
    for frame in range(1, len(smooth)):
        step = time[frame] - time[frame - 1]
        raw_speed = (values[frame] - smooth[frame - 1]) / step
        speed += _low_pass(SPEED_CUTOFF, step) * (raw_speed - speed)
        cutoff = MIN_CUTOFF + BETA * np.linalg.norm(speed, axis=-1, keepdims=True)
        smooth[frame] = smooth[frame - 1] + _low_pass(cutoff, step) * (
            values[frame] - smooth[frame - 1]
        )
    return smooth.astype(values.dtype)


def _low_pass(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """The share of the new value in an exponential filter."""
    ratio = 2 * np.pi * cutoff * step
    return ratio / (ratio + 1)


SMOOTHERS: dict[str, Smoother] = {"savgol": savitzky_golay, "one_euro": one_euro}


def jitter(positions: np.ndarray, time: np.ndarray) -> tuple[float, int]:
    """Mean acceleration of the joints, which is mostly noise.

    Args:
        positions: (L, J, 3) metres, finite.
        time: (L,) float64 seconds, increasing.

    Returns:
        Metres per second squared (0 where there are fewer than three frames), and the number of
        frames that it is the mean of.
    """
    if len(positions) < 3:
        return 0.0, 0
    step = np.diff(time)[:, None, None]
    velocity = np.diff(positions.astype(np.float64), axis=0) / step
    acceleration = np.diff(velocity, axis=0) / ((step[1:] + step[:-1]) / 2)
    return float(np.linalg.norm(acceleration, axis=-1).mean()), len(acceleration)
