"""Lists of records, one per person and image: what AlphaPose and COCO result files are."""

from typing import Any

from common.keypoints.options import ReadOptions
from common.keypoints.source import Source, frame_numbers, members
from common.keypoints.table import PoseTable, TableBuilder, track_id, triples

JOINTS_OF_COCO = 17


def first_record(source: Source) -> dict[str, Any] | None:
    """The first record of such a list, an empty one for an empty list; None if it is none."""
    content = source.json
    if source.is_folder or not isinstance(content, list):
        return None
    if not content:
        return {}
    first = content[0]
    if not isinstance(first, dict) or "image_id" not in first or "keypoints" not in first:
        return None
    return first


def read_records(source: Source, options: ReadOptions) -> PoseTable:
    """Read the poses of a list of records {image_id, keypoints, ...}.

    Raises:
        UserError: a record lacks something, or nobody is in it.
    """
    where = str(source.path)
    records = members(source.json, where)
    frames = frame_numbers([record.get("image_id") for record in records], where)
    builder = TableBuilder(where)
    for number, (frame, record) in enumerate(zip(frames, records, strict=True)):
        pose = triples(record.get("keypoints"), f"{where}: 'keypoints' of record {number}")
        builder.add(frame, pose, track=track_id(record.get("idx", record.get("track_id"))))
    layout = "coco" if builder.num_joints == JOINTS_OF_COCO else None
    return builder.build(frames, layout=layout)
