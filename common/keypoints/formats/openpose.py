"""OpenPose's --write_json: a folder with one JSON file per frame, or one such file."""

from typing import Any

from common.data.text_files import load_json
from common.errors import UserError
from common.keypoints.formats.base import Format
from common.keypoints.options import ReadOptions
from common.keypoints.source import Source, frame_numbers, members
from common.keypoints.table import PoseTable, TableBuilder, track_id, triples

KEYS = ("pose_keypoints_2d", "pose_keypoints")  # the latter until version 1.1


def _recognise(source: Source) -> bool:
    return isinstance(source.json, dict) and "people" in source.json


def _read(source: Source, options: ReadOptions) -> PoseTable:
    where = str(source.path)
    files = source.frame_files if source.is_folder else [source.path]
    frames = frame_numbers([path.stem.removesuffix("_keypoints") for path in files], where)
    builder = TableBuilder(where)
    for frame, path in zip(frames, files, strict=True):
        _add_people(builder, frame, load_json(path), str(path))
    return builder.build(frames)


def _add_people(builder: TableBuilder, frame: int, content: Any, where: str) -> None:
    if not isinstance(content, dict) or "people" not in content:
        raise UserError(f"{where}: no 'people' in it; it is not OpenPose's")
    for number, person in enumerate(members(content["people"], f"{where}: 'people'")):
        key = next((key for key in KEYS if key in person), KEYS[0])
        values = person.get(key, [])
        if values != []:  # a face or a hand only
            pose = triples(values, f"{where}: {key!r} of person {number}")
            builder.add(frame, pose, track=track_id(person.get("person_id")))


OPENPOSE = Format("openpose", "OpenPose's folder of JSON files (--write_json)", _recognise, _read)
