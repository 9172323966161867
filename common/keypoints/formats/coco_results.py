"""Result files of COCO's keypoint challenge: a list of records with numbers of images."""

from common.keypoints.formats.base import Format
from common.keypoints.records import first_record, read_records
from common.keypoints.source import Source


def _recognise(source: Source) -> bool:
    return first_record(source) is not None


COCO_RESULTS = Format("coco", "COCO keypoint results (.json)", _recognise, read_records)
