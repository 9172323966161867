"""AlphaPose's alphapose-results.json: a list of records, tracked or not."""

from common.keypoints.formats.base import Format
from common.keypoints.records import first_record, read_records
from common.keypoints.source import Source


def _recognise(source: Source) -> bool:
    first = first_record(source)
    if first is None:
        return False
    return not first or isinstance(first["image_id"], str) or "idx" in first or "box" in first


ALPHAPOSE = Format("alphapose", "AlphaPose's alphapose-results.json", _recognise, read_records)
