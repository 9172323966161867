"""Every format, in the order in which an input is looked at."""

from common.data.npz import making_sense
from common.errors import UserError, listing
from common.keypoints.formats.alphapose import ALPHAPOSE
from common.keypoints.formats.base import Format
from common.keypoints.formats.coco_results import COCO_RESULTS
from common.keypoints.formats.mediapipe_arrays import MEDIAPIPE_ARRAYS
from common.keypoints.formats.mmpose import MMPOSE
from common.keypoints.formats.openpose import OPENPOSE
from common.keypoints.formats.plain import PLAIN
from common.keypoints.formats.video import VIDEO
from common.keypoints.formats.videopose3d import DETECTRON, VIDEOPOSE3D
from common.keypoints.options import ReadOptions
from common.keypoints.source import Source
from common.keypoints.table import PoseTable

FORMATS: dict[str, Format] = {
    known.name: known
    for known in (
        VIDEO,
        ALPHAPOSE,
        COCO_RESULTS,
        OPENPOSE,
        MMPOSE,
        VIDEOPOSE3D,
        DETECTRON,
        MEDIAPIPE_ARRAYS,
        PLAIN,
    )
}


def read_table(source: Source, options: ReadOptions) -> PoseTable:
    """Read an input, whatever it holds.

    Raises:
        UserError: it is of no known format, or something in it makes no sense.
    """
    with making_sense(str(source.path), "keypoints of a known format"):
        known = format_of(source, options.format)
        if known is not VIDEO:
            return known.read(source, options)
    return known.read(source, options)  # a detector's own faults are none of the file


def format_of(source: Source, name: str | None) -> Format:
    """The format of an input.

    Args:
        source: the input.
        name: of the format that the user says it is; None to recognise it.

    Raises:
        UserError: it is of none, or the name is that of none.
    """
    if name is not None:
        if name not in FORMATS:
            raise UserError(f"format {name!r} is not one of {', '.join(FORMATS)}")
        return FORMATS[name]
    found = next((known for known in FORMATS.values() if known.recognise(source)), None)
    if found is not None:
        return found
    if source.is_folder and not source.frame_files:
        inside = listing(sorted(path.name for path in source.path.iterdir())) or "nothing"
        raise UserError(f"{source.path}: no .json files in it, but {inside}")
    titles = "; ".join(known.title for known in FORMATS.values())
    raise UserError(f"{source.path}: neither a video nor keypoints of a known format ({titles})")
