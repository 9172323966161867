"""The poses of a keypoint file as a flat table: what every format is read into."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.data.detections import Detections
from common.errors import UserError
from common.keypoints.source import kind_of, numbers

MOST_FRAMES = 1_000_000  # 9 hours at 30 frames/s
MOST_POSES = 4_000_000
LARGEST_SPREAD = 100  # frames between two with poses, on average: more are no frame numbers
LARGEST_PIXEL = 1e6  # nothing was detected farther out than that


@dataclass(frozen=True)
class PoseTable:
    """The poses of a file, one row per person and frame, in any order.

    Attributes:
        frame: (N,) int64 frame numbers from 0.
        keypoints: (N, J, 2) float32 pixels, NaN where not detected.
        confidence: (N, J) float32 from 0 to 1, 0 where not detected.
        track: N ids that the file gives, None where it gives none.
        frames: the frames that were looked at, also those with nobody.
        layout: name of the joint order, if the file tells.
        size: width and height of the image, if the file tells.
        fps: frames per second, if the file tells.
        time: seconds of `frames`, if the file tells.
        normalised: whether x and y are shares of width and height.
        video: the video that shows it, if known.
    """

    frame: np.ndarray
    keypoints: np.ndarray
    confidence: np.ndarray
    track: tuple[str | None, ...]
    frames: range
    layout: str | None = None
    size: tuple[int, int] | None = None
    fps: float | None = None
    time: np.ndarray | None = None
    normalised: bool = False
    video: Path | None = None


def mark_missing(
    keypoints: np.ndarray, confidence: np.ndarray | None, *, zero_is_missing: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Tell the joints that were detected from those that were not.

    Args:
        keypoints: (..., J, 2).
        confidence: (..., J); None if there is none.
        zero_is_missing: whether x = y = 0 says that a joint was not found, as OpenPose writes.

    Returns:
        (..., J, 2) float32, NaN where not detected; (..., J) float32 from 0 to 1, 0 likewise.
    """
    columns = [keypoints] if confidence is None else [keypoints, confidence[..., None]]
    found = Detections.of(np.concatenate(columns, axis=-1), zero_is_missing=zero_is_missing)
    with np.errstate(invalid="ignore"):
        seen = found.seen & (np.abs(found.xy) <= LARGEST_PIXEL).all(-1)
    return (
        np.where(seen[..., None], found.xy, np.nan).astype(np.float32),
        np.where(seen, np.clip(found.confidence, 0, 1), 0).astype(np.float32),
    )


@dataclass
class TableBuilder:
    """Collects poses, one at a time.

    Attributes:
        where: the file, for messages.
    """

    where: str
    _frames: list[int] = field(default_factory=list)
    _poses: list[np.ndarray] = field(default_factory=list)
    _tracks: list[str | None] = field(default_factory=list)

    @property
    def num_joints(self) -> int:
        """J; 0 before the first pose."""
        return len(self._poses[0]) if self._poses else 0

    def add(self, frame: int, pose: np.ndarray, *, track: str | None = None) -> None:
        """Add a pose.

        Args:
            frame: its number.
            pose: (J, 3) x, y, confidence.
            track: id of the person, if known.

        Raises:
            UserError: another number of joints than before, or too many poses.
        """
        if self._poses and len(pose) != len(self._poses[0]):
            raise UserError(
                f"{self.where}: {len(pose)} joints in frame {frame}, {len(self._poses[0])} in "
                f"frame {self._frames[0]}; all poses must have the same joints"
            )
        if len(self._poses) >= MOST_POSES:
            raise UserError(f"{self.where}: more than {MOST_POSES:,} poses; split the recording")
        self._frames.append(frame)
        self._poses.append(pose.astype(np.float32))
        self._tracks.append(track)

    def build(self, looked_at: Sequence[int], **facts: Any) -> PoseTable:
        """The table.

        Args:
            looked_at: numbers of frames; those with poses need not be among them.
            **facts: what else the file tells, attributes of `PoseTable`.

        Raises:
            UserError: no pose, or frames that are too far apart for a recording.
        """
        frames = frame_range([*looked_at, *self._frames], self.where)
        if not self._poses:
            raise nobody(self.where, frames)
        poses = np.stack(self._poses)
        keypoints, confidence = mark_missing(poses[..., :2], poses[..., 2])
        return PoseTable(
            np.array(self._frames, np.int64),
            keypoints,
            confidence,
            tuple(self._tracks),
            frames,
            **facts,
        )


def nobody(where: str, frames: range) -> UserError:
    """The error that nobody was found, and where."""
    if not frames:
        return UserError(f"{where}: no person in it, and no frames")
    if len(frames) == 1:
        return UserError(f"{where}: no person in its frame, number {frames[0]}")
    return UserError(
        f"{where}: no person in any of its {len(frames):,} frames, numbers {frames[0]} to "
        f"{frames[-1]}"
    )


def frame_range(numbers_: Sequence[int], where: str) -> range:
    """The frames from the first to the last of some numbers.

    Raises:
        UserError: they are too far apart, or too many.
    """
    if not numbers_:
        return range(0)
    first, last, distinct = min(numbers_), max(numbers_), len(set(numbers_))
    if first < 0:
        raise UserError(f"{where}: frame {kind_of(first)}; frames count from 0")
    if last - first >= MOST_FRAMES:
        raise UserError(
            f"{where}: frames from {kind_of(first)} to {kind_of(last)}; a recording has at most "
            f"{MOST_FRAMES:,}"
        )
    if last - first >= LARGEST_SPREAD * distinct:
        raise UserError(
            f"{where}: poses of {distinct} frames between {first} and {last}: these are no "
            "frames of one recording"
        )
    return range(first, last + 1)


def triples(value: Any, where: str) -> np.ndarray:
    """A flat list x, y, confidence, x, ... as a pose (J, 3).

    Raises:
        UserError: anything else.
    """
    flat = numbers(value, where, shape="a flat list of x, y and confidence")
    if flat.ndim != 1 or not len(flat) or len(flat) % 3:
        raise UserError(
            f"{where}: an array of shape {flat.shape}; a flat list of x, y and confidence of every "
            "joint is needed"
        )
    return flat.reshape(-1, 3)


def track_id(value: Any) -> str | None:
    """The id of a person: a number, a text, or the first of (nested) lists of these.

    Returns:
        None if there is none, or one below 0, which says that nobody was tracked.
    """
    for _ in range(8):
        if not isinstance(value, list):
            break
        value = value[0] if value else None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int:
        return kind_of(value).strip("'") if value >= 0 else None
    if type(value) is str and value:
        return "".join(c for c in value[:40] if c.isalnum() or c in " ._-") or None
    return None


def size_of(entry: Any) -> tuple[int, int] | None:
    """Width and height of a dictionary with 'w' and 'h', where these are numbers of pixels."""
    try:
        width, height = int(entry["w"]), int(entry["h"])
    except (TypeError, KeyError, ValueError, OverflowError, IndexError):
        return None
    return (width, height) if 0 < width < 2**20 and 0 < height < 2**20 else None


def whole_frames(
    keypoints: np.ndarray, confidence: np.ndarray | None, where: str, **facts: Any
) -> PoseTable:
    """The table of one person's poses in every frame; frames without any joint hold nobody.

    Args:
        keypoints: (L, J, 2).
        confidence: (L, J), or None.
        where: the file, for messages.
        **facts: attributes of `PoseTable`.

    Raises:
        UserError: nobody in it, or too many frames.
    """
    frames = frame_range(range(len(keypoints)), where)
    xy, sure = mark_missing(
        keypoints, confidence, zero_is_missing=not facts.get("normalised", False)
    )
    seen = np.flatnonzero((sure > 0).any(1))
    if not len(seen):
        raise nobody(where, frames)
    return PoseTable(seen, xy[seen], sure[seen], ("1",) * len(seen), frames, **facts)
