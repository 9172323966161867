"""What a user says about an input, where the file does not."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReadOptions:
    """What the user says about an input, where the file does not.

    Attributes:
        format: name of a file format; None to recognise it by content.
        layout: name of the joint order; None to take it from the file.
        size: width and height of the image in pixels.
        fps: frames per second.
        sequence: which sequence of a file that holds several.
        detector: what finds the joints in a video.
        video: the video that a keypoint file belongs to; gives size and times.
        undo_swaps: exchange left and right in frames where the detector took one for the other.
    """

    format: str | None = None
    layout: str | None = None
    size: tuple[int, int] | None = None
    fps: float | None = None
    sequence: str | None = None
    detector: str = "mediapipe"
    video: Path | None = None
    undo_swaps: bool = True
