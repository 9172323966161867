"""VideoPose3D's .npz files: 2D data sets, and what its detectors write for a video each."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from common.data.keypoint_files import told_frame_rate, told_layout
from common.errors import UserError, listing
from common.keypoints.formats.base import Format
from common.keypoints.options import ReadOptions
from common.keypoints.source import Source, kind_of, numbers
from common.keypoints.table import PoseTable, TableBuilder, size_of, whole_frames

DETECTED_ROWS = 4  # x, y, logit, probability


def _recognise_data_set(source: Source) -> bool:
    return source.npz is not None and isinstance(source.npz.get("positions_2d"), dict)


def _read_data_set(source: Source, options: ReadOptions) -> PoseTable:
    """One sequence of a file {subject or video: {action or 'custom': [(L, J, 2), ...]}}."""
    where, content = str(source.path), source.npz
    if content is None or not isinstance(content.get("positions_2d"), dict):
        raise UserError(f"{where}: no dictionary 'positions_2d' in it")
    sequences = dict(_sequences(content["positions_2d"], where))
    name = options.sequence or next(iter(sequences), None)
    if name is None:
        raise UserError(f"{where}: 'positions_2d' holds no sequences")
    if name not in sequences or (options.sequence is None and len(sequences) > 1):
        asked = f"--sequence {name!r} is not" if options.sequence else "--sequence says which"
        raise UserError(
            f"{where}: holds {len(sequences)} sequences, {asked} one of {listing([*sequences])}"
        )
    poses = numbers(sequences[name], f"{where}: {name}")
    if poses.ndim != 3 or poses.shape[2] not in (2, 3) or not poses.size:
        raise UserError(f"{where}: {name} has shape {poses.shape}, (frames, joints, 2) is needed")
    metadata = content.get("metadata")
    layout = told_layout(metadata, where)
    return whole_frames(
        poses[..., :2],
        poses[..., 2] if poses.shape[2] == 3 else None,
        where,
        layout=layout.name if layout else None,
        size=_size(metadata, name.split("/")[0]),
        fps=told_frame_rate(metadata, where),
    )


def _sequences(positions: dict[Any, Any], where: str) -> Iterator[tuple[str, Any]]:
    """Name and poses of every sequence: the video, or subject/action/camera."""
    for subject, actions in positions.items():
        if not isinstance(actions, dict):
            raise UserError(f"{where}: {subject!s:.40} holds {kind_of(actions)}, not a dictionary")
        for action, views in actions.items():
            if not isinstance(views, list | tuple | np.ndarray):
                raise UserError(f"{where}: {subject!s:.40} {action!s:.40} is {kind_of(views)}")
            alone = action == "custom" and len(actions) == len(views) == 1
            for camera, view in enumerate(views):
                yield str(subject) if alone else f"{subject}/{action}/{camera}", view


def _size(metadata: Any, video: str) -> tuple[int, int] | None:
    """Width and height that the metadata tell of a video."""
    if not isinstance(metadata, dict):
        return None
    videos = metadata.get("video_metadata")
    entry = videos.get(video, metadata) if isinstance(videos, dict) else metadata
    return size_of(entry)


def _recognise_detections(source: Source) -> bool:
    return source.npz is not None and {"boxes", "keypoints"} <= source.npz.keys()


def _read_detections(source: Source, options: ReadOptions) -> PoseTable:
    where, content = str(source.path), source.npz
    if content is None or "keypoints" not in content:
        raise UserError(f"{where}: no 'keypoints' in it")
    frames = content["keypoints"]
    if not isinstance(frames, list | np.ndarray):
        raise UserError(f"{where}: 'keypoints' is {kind_of(frames)}, not one entry per frame")
    builder = TableBuilder(where)
    for frame, classes in enumerate(frames):
        # Detectron's classes: [nothing, people]; of a frame without people both are empty.
        people = classes[-1] if isinstance(classes, list | np.ndarray) and len(classes) else []
        if not isinstance(people, list | np.ndarray):
            raise UserError(f"{where}: keypoints of frame {frame} are {kind_of(people)}")
        for person in people:
            rows = numbers(person, f"{where}: keypoints of frame {frame}")
            if rows.ndim != 2 or len(rows) != DETECTED_ROWS:
                raise UserError(
                    f"{where}: keypoints of frame {frame} have shape {rows.shape}; rows x, y, "
                    "logit, probability are needed"
                )
            builder.add(frame, rows[[0, 1, 3]].T)
    layout = "coco" if builder.num_joints == 17 else None
    size = size_of(content.get("metadata"))
    return builder.build(range(len(frames)), layout=layout, size=size)


VIDEOPOSE3D = Format(
    "videopose3d",
    "VideoPose3D's data_2d_....npz",
    _recognise_data_set,
    _read_data_set,
)
DETECTRON = Format(
    "detectron",
    "what VideoPose3D's inference writes for a video (.npz)",
    _recognise_detections,
    _read_detections,
)
