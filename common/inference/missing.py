"""Missing and doubtful joints: hidden from a masked model, interpolated for a lifter."""

from dataclasses import dataclass

import numpy as np

from common.data.detections import Detections, frame_step, interpolate
from common.inference.motion import State

MIN_CONFIDENCE = 0.3
LARGEST_PIXEL = 1e6  # what lies further out is no detection
MIN_SEEN = 6  # joints of a frame that a masked model has to see


@dataclass(frozen=True)
class Filled:
    """2D poses of a person, ready to be lifted.

    Attributes:
        keypoints: (L, J, 2) pixels, or (L, J, 3) metres; finite in usable frames where not hidden.
        hidden: (L, J) bool, True = hidden; None for a lifter.
        state: (L, J) uint8, values of `State`.
        recoverable: frames without a pose in which a masked model would see enough joints.
    """

    keypoints: np.ndarray
    hidden: np.ndarray | None
    state: np.ndarray
    recoverable: int = 0

    @property
    def usable(self) -> np.ndarray:
        """(L,) bool, the frames that get a pose."""
        return (self.state != State.EMPTY).all(1)


def longest_step(max_gap: float, time: np.ndarray) -> float:
    """Seconds between two frames beyond which the time between them is a gap that is too long."""
    return max_gap + 1.5 * frame_step(time)


def fill(
    keypoints: np.ndarray,
    confidence: np.ndarray,
    time: np.ndarray,
    *,
    min_confidence: float,
    max_gap: float,
    hides_joints: bool,
) -> Filled:
    """Decide about every joint of every frame.

    A lifter needs all joints: short gaps are interpolated joint by joint, and a frame with a joint
    in a longer gap stays empty. A masked model fills in joints that are hidden from it; only where
    it would see too few of a frame are all of them interpolated, or the frame stays empty.

    Args:
        keypoints: (L, J, 2) pixels, NaN where not detected.
        confidence: (L, J) from 0 to 1.
        time: (L,) seconds, increasing.
        min_confidence: joints below it count as not detected.
        max_gap: the longest gap to interpolate, in seconds.
        hides_joints: whether the model is a masked one.

    Returns:
        The poses, and where each joint comes from.
    """
    detections = _detected(keypoints, confidence, min_confidence)
    if not hides_joints:
        filled = interpolate(detections, max_gap=max_gap, time=time)
        state = np.where(detections.seen, State.SEEN, State.INTERPOLATED).astype(np.uint8)
        empty = filled.missing.any(1)
        state[empty] = State.EMPTY
        recoverable = int((detections.seen[empty].sum(1) >= MIN_SEEN).sum())
        return Filled(filled.xy, None, state, recoverable)
    return fill_masked(detections, time, max_gap=max_gap)


def fill_masked(detections: Detections, time: np.ndarray, *, max_gap: float) -> Filled:
    """What a masked model is given: missing joints hidden, frames that lack most interpolated.

    Args:
        detections: poses (L, J, 2 or 3).
        time: (L,) seconds, increasing.
        max_gap: the longest gap to interpolate, in seconds.
    """
    needed = min(MIN_SEEN, detections.seen.shape[1])
    lost = detections.seen.sum(1) < needed
    between = interpolate(_without(detections, lost), max_gap=max_gap, time=time)
    hidden = np.where(lost[:, None], between.missing, ~detections.seen)
    state = np.where(hidden, State.RECOVERED, State.SEEN).astype(np.uint8)
    state[lost[:, None] & ~hidden] = State.INTERPOLATED
    state[(~hidden).sum(1) < needed] = State.EMPTY
    xy = np.where(lost[:, None, None], between.xy, detections.xy)
    return Filled(xy, hidden, state)


def _detected(keypoints: np.ndarray, confidence: np.ndarray, min_confidence: float) -> Detections:
    """The joints that count as detected; (0, 0) was dealt with where the file was read."""
    both = np.concatenate([keypoints, confidence[..., None]], axis=-1).astype(np.float32)
    outside = ~(np.abs(both[..., :2]) < LARGEST_PIXEL).all(-1)  # or not a number
    both[outside | ~(both[..., 2] >= min_confidence)] = np.nan
    return Detections.of(both, zero_is_missing=False)


def _without(detections: Detections, frames: np.ndarray) -> Detections:
    """The same as if nothing had been seen in some frames (L,) bool."""
    seen = detections.seen & ~frames[:, None]
    return Detections(
        np.where(seen[..., None], detections.xy, np.nan),
        np.where(seen, detections.confidence, 0),
        seen,
    )
