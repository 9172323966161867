"""What a file format is."""

from collections.abc import Callable
from dataclasses import dataclass

from common.keypoints.options import ReadOptions
from common.keypoints.source import Source
from common.keypoints.table import PoseTable


@dataclass(frozen=True)
class Format:
    """A format that keypoints come in.

    Attributes:
        name: for --format.
        title: what it is, for people.
        recognise: whether an input is of this format, told by its content.
        read: the poses of an input.
    """

    name: str
    title: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source, ReadOptions], PoseTable]
