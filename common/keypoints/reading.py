"""From a path to a recording: any keypoint file or video that people bring."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.keypoints.recording import Recording


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
    """

    format: str | None = None
    layout: str | None = None
    size: tuple[int, int] | None = None
    fps: float | None = None
    sequence: str | None = None
    detector: str = "mediapipe"
    video: Path | None = None


def read_recording(path: Path, options: ReadOptions | None = None) -> Recording:
    """Read keypoints of a file or folder, or detect them in a video.

    Args:
        path: the file or folder.
        options: what the user says about it.

    Returns:
        Every person, the one seen longest and largest first.

    Raises:
        UserError: it cannot be read, is of no known format, or lacks something that `options` has
            to say.
    """
    raise UserError(f"{path}: reading {options or ReadOptions()} is not built yet")
