"""Joints that a 2D detector did not find: told apart, interpolated where the gap is short.

A joint of a frame is missing where a coordinate is NaN, where both are exactly 0 (what detectors
write for a joint that they did not find), or where its confidence is 0 or NaN. A joint detected
exactly in the corner pixel (0, 0) of an image cannot be told from a missing one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from common.errors import listing, shown
from common.log import LOG

MAX_GAP = 0.5  # seconds
TOLERANCE = 1e-6  # of a frame, when gaps are compared with their limit
# Poses and their confidences -> the same in another joint order.
Conversion = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Detections:
    """2D poses of a sequence, as a detector saw them.

    Attributes:
        xy: (L, J, 2) in the unit of the file; NaN where a joint is missing and not interpolated.
        confidence: (L, J) of the same type; 1 where the file tells none, 0 where `seen` is not.
        seen: (L, J) bool, True = detected; interpolated joints are not.
    """

    xy: np.ndarray
    confidence: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, keypoints: np.ndarray, *, zero_is_missing: bool = True) -> "Detections":
        """Tell the joints that were detected from those that were not.

        Args:
            keypoints: (L, J, 2) x and y, or (L, J, 3) with a confidence; NaN is allowed.
            zero_is_missing: whether x = y = 0 means that a joint was not found. So it does in
                pixels; in normalised screen coordinates it is the centre of the image.

        Returns:
            The detections, copies.
        """
        xy = keypoints[..., :2].astype(np.result_type(keypoints.dtype, np.float32))
        seen = ~np.isnan(xy).any(-1)
        if zero_is_missing:
            seen &= (xy != 0).any(-1)
        if keypoints.shape[-1] > 2:
            confidence = keypoints[..., 2].astype(xy.dtype)
            seen &= confidence > 0  # NaN is not
        else:
            confidence = np.ones_like(xy[..., 0])
        xy[~seen] = np.nan
        return cls(xy, np.where(seen, confidence, 0), seen)

    @property
    def missing(self) -> np.ndarray:
        """(L, J) bool, True = without a place: neither detected nor interpolated."""
        return np.isnan(self.xy).any(-1)

    @property
    def missing_share(self) -> float:
        """The share of the joints of all frames that were not detected."""
        return 1 - float(self.seen.mean()) if self.seen.size else 0.0

    def complete(self) -> np.ndarray:
        """The poses (L', J, 2) of the frames without a missing joint."""
        return self.xy[~self.missing.any(1)]

    def as_float32(self) -> "Detections":
        """The same in single precision; numbers that do not fit become infinite."""
        with np.errstate(over="ignore"):
            xy, confidence = self.xy.astype(np.float32), self.confidence.astype(np.float32)
        return Detections(xy, confidence, self.seen)

    def converted(self, to_other: Conversion) -> "Detections":
        """The same in another joint order.

        Args:
            to_other: (L, J, C) and (L, J) -> (L, J', C) and (L, J'), such as `Layout.to_ours`; a
                joint that it derives from a missing one becomes NaN, that is missing, too.
        """
        xy, _ = to_other(self.xy, self.confidence)
        # A joint derived from one that was not detected is not detected either.
        detected = np.where(self.seen[..., None], self.xy, np.nan)
        found, confidence = to_other(detected, self.confidence)
        seen = np.asarray(~np.isnan(found).any(-1))
        return Detections(xy, np.where(seen, confidence, 0), seen)


def frame_step(time: np.ndarray) -> float:
    """The usual time from a frame to the next, of the frames' times (L,); 0 for a single frame."""
    return float(np.median(np.diff(time))) if len(time) > 1 else 0.0


def interpolate(
    detections: Detections, *, max_gap: float, time: np.ndarray | None = None
) -> Detections:
    """Fill short gaps, joint by joint and linear in time.

    At the start and at the end of the sequence the nearest detection is repeated, for gaps of at
    most the same length.

    Args:
        detections: L frames.
        max_gap: the longest gap that is filled, in the unit of time; infinity fills them all. A gap
            of n frames at a constant rate lasts n steps.
        time: (L,) of the frames, increasing; None counts frames.

    Returns:
        The detections with `xy` filled; `seen` and `confidence` are as before. A joint that is
        never detected stays missing.
    """
    missing = detections.missing
    xy = detections.xy.copy()
    length, last = len(xy), len(xy) - 1
    places = np.arange(length, dtype=np.float64) if time is None else time
    step = frame_step(places)
    for joint in np.flatnonzero(missing.any(0) & ~missing.all(0)):
        absent = missing[:, joint]
        edges = np.flatnonzero(np.diff(absent, prepend=False, append=False))
        starts, stops = edges[::2], edges[1::2]  # of each gap, as of a slice
        short = np.zeros(length, bool)
        for start, stop in zip(starts, stops, strict=True):
            lasts = places[min(stop, last)] - places[max(start - 1, 0)]
            inside = 0 < start and stop <= last  # then there are steps on both sides
            short[start:stop] = lasts - step * inside <= max_gap + TOLERANCE * step
        for axis in range(xy.shape[-1]):
            known = xy[~absent, joint, axis]
            xy[short, joint, axis] = np.interp(places[short], places[~absent], known)
    return Detections(xy, detections.confidence, detections.seen)


@dataclass
class GapFilling:
    """How the missing joints of a data set are treated, and what was found.

    Attributes:
        max_gap: seconds; longer gaps are not interpolated.
        shares: sequence -> share of its joints that were not detected, where there are any.
    """

    max_gap: float = MAX_GAP
    shares: dict[str, float] = field(default_factory=dict)

    def fill(self, detections: Detections, *, name: str, frame_rate: float) -> Detections:
        """Interpolate the short gaps of a sequence and note its share of missing joints.

        Args:
            detections: L frames.
            name: of the sequence.
            frame_rate: frames per second.
        """
        if detections.seen.all():
            return detections
        self.shares[name] = detections.missing_share
        return interpolate(detections, max_gap=self.max_gap * frame_rate)

    def log(self, path: Path, *, sequences: int, left_out: Tensor | None) -> None:
        """Log what was not detected, if anything.

        Args:
            path: the file of 2D poses.
            sequences: number of sequences that were read.
            left_out: (N,) bool, True = the frame has missing joints; None if none has.
        """
        if not self.shares:
            return
        worst = sorted(self.shares.items(), key=lambda item: -item[1])
        LOG.info(
            "%s: joints not detected in %d of %d sequences: %s; gaps of at most %g s are "
            "interpolated, %d frames with longer ones are left out",
            path,
            len(self.shares),
            sequences,
            listing([f"{shown(name)} ({share:.2%})" for name, share in worst]),
            self.max_gap,
            0 if left_out is None else int(left_out.sum()),
        )
