"""MediaPipe landmarks as people save them: arrays (frames, 33, 2 to 4), x and y from 0 to 1."""

import numpy as np

from common.data.units import LARGEST_NORMALISED
from common.errors import UserError
from common.keypoints.arrays import has_joints, load_array
from common.keypoints.formats.base import Format
from common.keypoints.formats.plain import told
from common.keypoints.options import ReadOptions
from common.keypoints.source import Source
from common.keypoints.table import PoseTable, whole_frames

LANDMARKS = 33


def _recognise(source: Source) -> bool:
    return has_joints(source, LANDMARKS)


def _read(source: Source, options: ReadOptions) -> PoseTable:
    where = str(source.path)
    found = load_array(source)
    array, confidence = found.array, found.confidence
    if array.shape[1] != LANDMARKS:
        raise UserError(f"{where}: {array.shape[1]} joints, MediaPipe has {LANDMARKS}")
    if confidence is None and array.shape[2] == 4:
        confidence = array[..., 3]
    elif confidence is None and array.shape[2] == 3 and _is_visibility(array[..., 2]):
        confidence = array[..., 2]
    xy = array[..., :2]
    finite = np.abs(xy[np.isfinite(xy)])
    facts = told(found.facts, where) | {"layout": "mediapipe"}
    return whole_frames(
        xy,
        confidence,
        where,
        # Landmarks may lie outside of the image, few of them far.
        normalised=bool(len(finite)) and float(np.median(finite)) <= LARGEST_NORMALISED,
        time=found.time,
        **facts,
    )


def _is_visibility(values: np.ndarray) -> bool:
    """Whether third numbers are confidences; depths lie on both sides of the hips, which are 0."""
    known = values[np.isfinite(values)]
    return bool(len(known)) and known.min() >= 0 and known.max() <= 1


MEDIAPIPE_ARRAYS = Format(
    "mediapipe", "MediaPipe landmarks (frames, 33, 2 to 4) in .npy, .npz, .csv", _recognise, _read
)
