"""Keypoints of a recording, whatever file or detector they come from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.data.skeleton import Skeleton


@dataclass(frozen=True)
class Person:
    """One person's 2D keypoints in every frame of a recording, joints in the project's order.

    Attributes:
        name: the track's id in the file, or a number from 1.
        keypoints: (L, J, 2) float32 pixels of the image as it is shown, NaN where not detected.
        confidence: (L, J) float32 from 0 to 1, 0 where not detected.
    """

    name: str
    keypoints: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class Recording:
    """The people of a video or of a keypoint file.

    Attributes:
        source: the file or folder, for messages.
        people: sorted by prominence, the person seen longest and largest first.
        time: (L,) float64 seconds, increasing.
        size: width and height of the image in pixels; None if not known.
        skeleton: of all poses.
        layout: name of the joint order of the file.
        derived: (J,) bool, the joints that the file does not have and that were made of others.
        video: the video that shows it, or None.
    """

    source: Path
    people: tuple[Person, ...]
    time: np.ndarray
    size: tuple[int, int] | None
    skeleton: Skeleton
    layout: str
    derived: np.ndarray
    video: Path | None = None
