"""Plain arrays (frames, joints, 2 or 3) in .npy, .npz or .csv files."""

from typing import Any

import numpy as np

from common.data.keypoint_files import frame_rate, told_frame_rate, told_layout
from common.data.layouts import LAYOUTS
from common.data.npz import numbers as plain_numbers
from common.errors import UserError
from common.keypoints.arrays import has_array, load_array
from common.keypoints.formats.base import Format
from common.keypoints.options import ReadOptions
from common.keypoints.source import Source, kind_of
from common.keypoints.table import PoseTable, size_of, whole_frames


def _read(source: Source, options: ReadOptions) -> PoseTable:
    where = str(source.path)
    found = load_array(source)
    if found.array.shape[2] == 4:
        raise UserError(
            f"{where}: four numbers per joint; x, y and a confidence are needed, or MediaPipe's "
            "33 joints"
        )
    confidence = found.confidence
    if found.array.shape[2] == 3 and confidence is None:
        confidence = found.array[..., 2]
        check_confidence(confidence, where)
    return whole_frames(
        found.array[..., :2],
        confidence,
        where,
        time=found.time,
        **told(found.facts, where),
    )


def check_confidence(values: np.ndarray, where: str) -> None:
    """Require that third numbers are confidences, not depths.

    Raises:
        UserError: they are hardly from 0 to 1.
    """
    known = values[np.isfinite(values)]
    if len(known) and (known.min() < 0 or np.median(known) > 1.5):
        raise UserError(
            f"{where}: third numbers from {known.min():.4g} to {known.max():.4g}; a confidence "
            "from 0 to 1 is needed (3D poses are no input here)"
        )


def told(content: dict[str, Any], where: str) -> dict[str, Any]:
    """What the entries of an .npz file tell beside the poses."""
    facts: dict[str, Any] = {}
    layout = content.get("layout")
    if isinstance(layout, np.ndarray) and layout.ndim == 0:
        layout = layout.item()
    if layout is not None:
        if not isinstance(layout, str) or layout not in LAYOUTS:
            raise UserError(f"{where}: layout {kind_of(layout)} is none of {', '.join(LAYOUTS)}")
        facts["layout"] = layout
    elif by_metadata := told_layout(content.get("metadata"), where):
        facts["layout"] = by_metadata.name
    size = plain_numbers(content.get("size"))
    if size is not None and size.shape == (2,):
        facts["size"] = size_of({"w": size[0], "h": size[1]})
    else:
        facts["size"] = size_of(content) or size_of(content.get("metadata"))
    if "fps" in content:
        facts["fps"] = frame_rate(content["fps"], f"{where}: 'fps'")
    else:
        facts["fps"] = told_frame_rate(content.get("metadata"), where)
    return facts


PLAIN = Format("array", "an array (frames, joints, 2 or 3) in .npy, .npz, .csv", has_array, _read)
