"""MMPose's inferencer: one JSON file of a video, or a folder with one per image."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from common.data.layouts import LAYOUTS
from common.data.text_files import load_json
from common.errors import UserError
from common.keypoints.formats.base import Format
from common.keypoints.options import ReadOptions
from common.keypoints.source import Source, frame_numbers, members, numbers
from common.keypoints.table import PoseTable, TableBuilder, track_id

# Beginning of `dataset_name` -> layout.
DATA_SETS = {
    "coco": "coco",
    "halpe": "halpe26",
    "body8-halpe26": "halpe26",
    "body8": "coco",
    "mpii": "mpii",
    "h36m": "h36m",
    "crowdpose": "crowdpose",  # 14 joints, which are refused by their name
}


def _recognise(source: Source) -> bool:
    content = source.json
    if isinstance(content, dict):
        return "instance_info" in content or "instances" in content
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and (
        "instances" in first or ("keypoints" in first and "keypoint_scores" in first)
    )


def _read(source: Source, options: ReadOptions) -> PoseTable:
    where = str(source.path)
    builder = TableBuilder(where)
    if source.is_folder:
        frames = frame_numbers([path.stem for path in source.frame_files], where)
        for frame, path in zip(frames, source.frame_files, strict=True):
            for _, instances in _frames(load_json(path), str(path)):
                _add(builder, frame, instances, str(path))
    else:
        listed = list(_frames(source.json, where))
        frames = frame_numbers([n if i is None else i for n, (i, _) in enumerate(listed)], where)
        for frame, (_, instances) in zip(frames, listed, strict=True):
            _add(builder, frame, instances, where)
    return builder.build(frames, layout=_told_layout(source.json))


def _frames(content: Any, where: str) -> Iterator[tuple[Any, Any]]:
    """Number (None if not told) and instances of every frame."""
    if isinstance(content, dict):
        content = content["instance_info"] if "instance_info" in content else [content]
    listed = members(content, where)
    if listed and not any("instances" in frame for frame in listed):
        if not any("keypoints" in frame for frame in listed):
            raise UserError(f"{where}: neither 'instances' nor 'keypoints' in its records")
        yield None, listed  # the people of one image
        return
    for frame in listed:
        yield frame.get("frame_id"), frame.get("instances", [])


def _add(builder: TableBuilder, frame: int, instances: Any, where: str) -> None:
    for number, instance in enumerate(members(instances, f"{where}: frame {frame}")):
        place = f"{where}: person {number} of frame {frame}"
        keypoints = numbers(instance.get("keypoints"), place, shape="'keypoints' [[x, y], ...]")
        if keypoints.ndim != 2 or keypoints.shape[1] != 2 or not len(keypoints):
            raise UserError(f"{place}: keypoints of shape {keypoints.shape}, not (joints, 2)")
        scores = np.ones(len(keypoints))
        if "keypoint_scores" in instance:
            scores = numbers(instance["keypoint_scores"], place, shape="'keypoint_scores'")
        if scores.shape != (len(keypoints),):
            raise UserError(f"{place}: scores of shape {scores.shape}, not ({len(keypoints)},)")
        pose = np.concatenate([keypoints, scores[:, None]], axis=1)
        builder.add(frame, pose, track=track_id(instance.get("track_id")))


def _told_layout(content: Any) -> str | None:
    meta = content.get("meta_info") if isinstance(content, dict) else None
    name = meta.get("dataset_name") if isinstance(meta, dict) else None
    if not isinstance(name, str):
        return None
    name = name.lower()
    if name in LAYOUTS:
        return name
    return next((layout for known, layout in DATA_SETS.items() if name.startswith(known)), None)


MMPOSE = Format("mmpose", "MMPose's inferencer (.json, or a folder of these)", _recognise, _read)
