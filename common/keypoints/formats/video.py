"""Videos: a detector finds the joints in every frame."""

from pathlib import Path

import numpy as np

from common.errors import UserError
from common.keypoints.detectors.registry import DETECTORS
from common.keypoints.formats.base import Format
from common.keypoints.options import ReadOptions
from common.keypoints.source import Source
from common.keypoints.table import MOST_FRAMES, PoseTable, TableBuilder
from common.keypoints.video import open_video
from common.log import LOG
from common.progress import progress

MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
BEGINNINGS = (
    b"\x1aE\xdf\xa3",  # webm, mkv
    b"FLV",
    b"OggS",
    b"GIF8",
    b"0&\xb2u",  # wmv
    b"\0\0\1\xba",  # mpg
    b"\0\0\1\xb3",
)
TRANSPORT_PACKET = 188  # bytes; ts, mts


def _recognise(source: Source) -> bool:
    head = source.head
    return (
        head[4:8] in MP4_BOXES
        or head.startswith(BEGINNINGS)
        or (head.startswith(b"RIFF") and head[8:11] == b"AVI")
        or (len(head) > 2 * TRANSPORT_PACKET and set(head[::TRANSPORT_PACKET][:3]) == {0x47})
    )


def _read(source: Source, options: ReadOptions) -> PoseTable:
    return detect(source.path, options.detector)


def detect(path: Path, name: str) -> PoseTable:
    """Find joints in every frame of a video.

    Args:
        path: the video.
        name: of the detector.

    Raises:
        UserError: no such detector, no such video, or nobody in it.
    """
    if name not in DETECTORS:
        raise UserError(f"detector {name!r} is not one of {', '.join(DETECTORS)}")
    video = open_video(path)
    builder = TableBuilder(str(path))
    times: list[float] = []
    with DETECTORS[name]() as detector:
        frames = progress(video.frames(), " frames", total=video.estimated_frames)
        for number, (time, frame) in enumerate(frames):
            if number >= MOST_FRAMES:
                raise UserError(f"{path}: more than {MOST_FRAMES:,} frames; split the video")
            times.append(time)
            for person, pose in enumerate(detector.detect(frame)):
                builder.add(number, pose, track=str(person + 1) if detector.tracks else None)
    table = builder.build(
        range(len(times)), layout=detector.layout, size=video.size, video=path, time=np.array(times)
    )
    LOG.info("%s: somebody in %d of %d frames", path, len(set(table.frame)), len(times))
    return table


VIDEO = Format("video", "a video (mp4, mov, avi, webm)", _recognise, _read)
