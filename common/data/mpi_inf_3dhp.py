"""MPI-INF-3DHP files -> a pose store of 16 joints.

Formats: the .npz files of P-STMO (dataset/README.md).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.data.base import DataOptions, DataSet, FileClip, FileFormat, Stores, TableRule
from common.data.camera import normalise_screen
from common.data.detections import Detections, GapFilling
from common.data.keypoint_files import camera_number, frame_rate
from common.data.npz import float_tensor, load_dictionary, numbers, pose_array
from common.data.pose_store import PoseStore, Reduction, SequenceName, Source, build_store
from common.data.skeleton import H36M_16
from common.data.units import wrong_length_unit, wrong_pixels
from common.data.windows import WindowRule
from common.errors import UserError, shown
from common.log import LOG

TRAIN_FILE, TEST_FILE = "data_train_3dhp.npz", "data_test_3dhp.npz"
# The data set's joints that our 16 take, after HEAD_TOP was moved half-way to HEAD.
JOINTS_TO_16 = (14, 8, 9, 10, 11, 12, 13, 15, 16, 0, 5, 6, 7, 2, 3, 4)
HEAD_TOP, NECK, HEAD, SHOULDERS = 0, 1, 16, (2, 5)
SMALL_IMAGES = {"TS5": (1920, 1080), "TS6": (1920, 1080)}
IMAGE_SIZE = (2048, 2048)
MILLIMETRES_PER_METRE = 1000
FRAME_RATE = 25  # of most sequences; the test file does not tell
MOST_ACTIVITIES = 1000
LEGACY_DIVISOR = 1000  # published runs divide normalised 2D by it, as if it were in mm


def image_size(subject: str) -> tuple[int, int]:
    """Width and height in pixels of a subject's images."""
    return SMALL_IMAGES.get(subject, IMAGE_SIZE)


def to_16_joints(poses: Tensor) -> Tensor:
    """The data set's 17 joints (..., 17, C) in the order of our 16-joint skeleton (..., 16, C)."""
    poses = poses.clone()
    poses[..., HEAD_TOP, :] = (poses[..., HEAD_TOP, :] + poses[..., HEAD, :]) / 2
    return poses[..., JOINTS_TO_16, :]


def to_17_joints(poses: Tensor) -> Tensor:
    """The inverse of `to_16_joints`, (..., 16, C) -> (..., 17, C), as far as there is one.

    The head's top follows exactly; the neck, which our skeleton does not have, is put half-way
    between the shoulders.
    """
    restored = poses.new_zeros(*poses.shape[:-2], 17, poses.shape[-1])
    restored[..., JOINTS_TO_16, :] = poses
    restored[..., HEAD_TOP, :] = 2 * restored[..., HEAD_TOP, :] - restored[..., HEAD, :]
    restored[..., NECK, :] = restored[..., SHOULDERS, :].mean(-2)
    return restored


def window_rule(rule: WindowRule) -> WindowRule:
    """Windows have frame step 1, as published."""
    return replace(rule, frame_step=1)


def load(options: DataOptions) -> Stores:
    """Training and test poses of a data folder; by default all subjects of the files.

    Raises:
        UserError: a file is missing or not in the format; the message names the place.
    """

    def store(
        name: str,
        subjects: Sequence[str] | None,
        sequences: Callable[[Mapping[str, Any], Path], Iterator[_Sequence]],
        reduction: Reduction,
    ) -> PoseStore:
        path = options.root / name
        content = _of_subjects(load_dictionary(path, "data"), subjects, path)
        gaps = GapFilling(options.max_gap)
        sources = [_source(path, sequence, options, gaps) for sequence in sequences(content, path)]
        built = build_store(sources, H36M_16, reduction, path_2d=path, path_3d=path)
        gaps.log(path, sequences=len(built.names), left_out=built.undetected)
        return built

    train = test = None
    if options.train:
        train = store(TRAIN_FILE, options.train_subjects, _training_sequences, options.reduction)
    if options.test:
        whole = replace(options.reduction, subset=1.0)
        test = store(TEST_FILE, options.test_subjects, _test_sequences, whole)
    return Stores(train, test)


def _of_subjects(
    content: dict[str, Any], subjects: Sequence[str] | None, path: Path
) -> dict[str, Any]:
    """The entries of some subjects ("S1" of "S1 Seq1", or "TS1"), in the order of the file."""
    if subjects is not None:
        held = {key.partition(" ")[0] for key in content}
        for subject in subjects:
            if subject not in held:
                raise UserError(
                    f"{path} holds no subject {subject}, only {shown(', '.join(sorted(held)))} "
                    "(--subjects_train and --subjects_test choose)"
                )
        content = {
            key: value for key, value in content.items() if key.partition(" ")[0] in subjects
        }
    if not content:
        raise UserError(f"{path}: no sequences in it")
    return content


@dataclass(frozen=True)
class _Sequence:
    """What one camera saw of a sequence, not yet checked.

    Attributes:
        name: where it comes from.
        entry: "data_2d", "data_3d" and, in test files, labels.
        frame_rate: frames per second.
    """

    name: SequenceName
    entry: Any
    frame_rate: float = FRAME_RATE


def _training_sequences(content: Mapping[str, Any], path: Path) -> Iterator[_Sequence]:
    for key, value in content.items():
        where = f"{path}: {shown(key)}"
        parts = value if isinstance(value, list | tuple) and value else [value]
        views = parts[0]
        if not isinstance(views, dict) or not views:
            raise UserError(f"{where} is not a list of cameras and a frame rate")
        fps = frame_rate(parts[1], f"{where}: its frame rate") if len(parts) > 1 else FRAME_RATE
        subject, _, sequence = key.partition(" ")
        for camera, entry in views.items():
            number = camera_number(camera, where)
            yield _Sequence(SequenceName(subject, sequence or "Seq", number), entry, fps)


def _test_sequences(content: Mapping[str, Any], path: Path) -> Iterator[_Sequence]:
    for subject, entry in content.items():
        if not isinstance(entry, dict) or "valid" not in entry:
            raise UserError(f"{path}: {shown(subject)} has no entry 'valid'")
        valid = numbers(entry["valid"])
        if valid is not None and not valid.any():
            LOG.info("%s: %s has no valid frame: skipped", path.name, shown(subject))
            continue
        yield _Sequence(SequenceName(subject, "test", 0), entry)


def _source(path: Path, sequence: _Sequence, options: DataOptions, gaps: GapFilling) -> Source:
    """One camera's sequence of either file, checked."""
    name, entry = sequence.name, sequence.entry
    where = f"{path}: {name}"
    screen = pose_array(entry, "data_2d", joints=17, coordinates=2, where=where)
    space = pose_array(entry, "data_3d", joints=17, coordinates=3, where=where)
    length = len(space)
    if len(screen) < length:
        raise UserError(f"{where} has {len(screen)} frames in 2D, {length} in 3D")
    width, height = image_size(name.subject)
    if reason := wrong_length_unit(space, units_per_metre=MILLIMETRES_PER_METRE):
        raise UserError(f"{where}: {reason}")
    divisor = LEGACY_DIVISOR if options.legacy_3dhp_scale else 1

    def read(kept: slice) -> tuple[Tensor, Tensor]:
        detections = Detections.of(screen[:length])
        if reason := wrong_pixels(detections.xy, width, height):
            raise UserError(f"{where}: {reason}")
        filled = gaps.fill(detections, name=str(name), frame_rate=sequence.frame_rate)
        pose_2d = float_tensor(filled.xy[kept])
        if not options.pixels:
            pose_2d = normalise_screen(pose_2d, width=width, height=height) / divisor
        pose_3d = to_16_joints(float_tensor(space[kept])) / MILLIMETRES_PER_METRE
        return to_16_joints(pose_2d), pose_3d

    return Source(
        name,
        length,
        read,
        counted=_labels(where, entry, "valid", length),
        activities=_labels(where, entry, "activity", length),
    )


def _labels(where: str, entry: Mapping[str, Any], key: str, length: int) -> Tensor | None:
    """One whole number per frame (length,) int64, or None if the file does not have them."""
    if key not in entry:
        return None
    held = entry[key]
    labels = held if isinstance(held, np.ndarray) and held.dtype.kind == "b" else numbers(held)
    if labels is None or labels.size < length:
        raise UserError(f"{where}: {key!r} is not a number for each of {length} frames")
    labels = labels.reshape(-1)[:length]
    if key == "valid" and not np.isin(labels, (0, 1)).all():
        raise UserError(f"{where}: 'valid' holds numbers other than 0 and 1")
    if not (np.abs(labels.astype(np.float64)) <= MOST_ACTIVITIES).all():
        raise UserError(f"{where}: {key!r} holds {shown(labels.max())}, no number of an activity")
    return torch.from_numpy(labels.astype(np.int64))


def _file_clips(data: Mapping[str, Any], path: Path) -> Iterator[FileClip]:
    for key, value in data.items():
        where = f"{path}: {shown(key)}"
        fps: float | None
        if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            views = value[0]
            fps = frame_rate(value[1], f"{where}: its frame rate") if len(value) > 1 else None
        else:
            views, fps = {"": value}, None
        for camera, entry in views.items():
            if not isinstance(entry, dict):
                raise UserError(f"{where} is not a dictionary of 'data_2d', 'data_3d'")
            subject = key.partition(" ")[0]
            width, height = image_size(subject)
            yield FileClip(
                subject,
                f"{key} camera {camera}" if camera != "" else key,
                entry.get("data_2d"),
                entry.get("data_3d"),
                units_per_metre=MILLIMETRES_PER_METRE,
                box=(0.0, 0.0, width, height),
                fps=fps,
                to_skeleton=lambda pose: to_16_joints(float_tensor(pose)).numpy(),
            )


DATA_SET = DataSet(
    name="3dhp",
    title="MPI-INF-3DHP",
    load=load,
    frame_rate=FRAME_RATE,
    skeletons={16: H36M_16},
    joints_note=" (no neck between thorax and head as the 17-joint skeleton has)",
    table=TableRule(
        corner="Sequence",
        row_of=lambda name: name.subject,
        by_frames=True,
        metrics=("protocol_1", "protocol_2", "velocity", "pck", "auc"),
        last_line="p1: {protocol_1:.2f}, pck: {pck:.2f} auc: {auc:.2f} %",
    ),
    window_rule=window_rule,
    has_subjects=True,
    file_formats=(FileFormat("data", "poses in MPI-INF-3DHP's format", _file_clips),),
)
