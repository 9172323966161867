"""Time stamps at a constant rate: what formats without time stamps of their own need."""

from fractions import Fraction

import numpy as np

RATE_OF_ONE_FRAME = Fraction(25)
_NTSC = 1001  # 30000/1001 frames/s and its kind
_STRAY = 0.5  # of a frame: how far time stamps of a constant rate stray from it
_ROUNDING = 0.1  # of a frame: by how much the last one may be early


def frame_rate(time: np.ndarray) -> Fraction:
    """The frame rate of time stamps: the mean one where they are regular, else the median one.

    Args:
        time: (L,) seconds, increasing.

    Returns:
        Frames per second, one of the rates of films where it is near to one.
    """
    steps = np.diff(time)
    steps = steps[steps > 0]
    if not len(steps):
        return RATE_OF_ONE_FRAME
    step = float(np.mean(steps) if is_regular(time) else np.median(steps))
    return Fraction(1 / step).limit_denominator(_NTSC)


def is_regular(time: np.ndarray) -> bool:
    """Whether time stamps (L,) are those of a constant rate, but for rounding."""
    if len(time) < 3:
        return True
    even = np.linspace(time[0], time[-1], len(time))
    step = (time[-1] - time[0]) / (len(time) - 1)
    return bool(np.abs(time - even).max() <= _STRAY * step)


def frames_at_rate(time: np.ndarray, rate: Fraction) -> np.ndarray:
    """Which frame is shown when, at a constant rate.

    Args:
        time: (L,) seconds, increasing.
        rate: frames per second of what is shown.

    Returns:
        (M,) int64, the last frame that has begun at 0, 1, 2, ... / rate seconds after the first;
        a frame that begins within half a step, of the time stamps or of what is shown, counts.
    """
    since = time - time[0]
    count = int(since[-1] * float(rate) + _ROUNDING) + 1
    shown = np.arange(count) / float(rate)
    early = 0.5 / float(max(rate, frame_rate(time)))
    return np.searchsorted(since, shown + early, side="right") - 1


def resample(time: np.ndarray, values: np.ndarray, rate: Fraction) -> np.ndarray:
    """Values at a constant rate, linear between frames; regular time stamps change nothing.

    Args:
        time: (L,) seconds, increasing.
        values: (L, ...) without NaN.
        rate: frames per second.

    Returns:
        (M, ...).
    """
    if is_regular(time):
        return values
    since = time - time[0]
    count = int(since[-1] * float(rate) + _ROUNDING) + 1
    shown = np.arange(count) / float(rate)
    flat = values.reshape(len(values), -1)
    columns = [np.interp(shown, since, column) for column in flat.T]
    return np.stack(columns, axis=-1).reshape(-1, *values.shape[1:])
