"""MPI-INF-3DHP files -> a pose store of 16 joints.

Formats: the .npz files of P-STMO (dataset/README.md).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.data.base import DataOptions, DataSet, FileClip, FileFormat, Stores, TableRule
from common.data.camera import normalise_screen
from common.data.npz import float_tensor, load_dictionary, pose_array
from common.data.pose_store import PoseStore, Reduction, SequenceName, Source, build_store
from common.data.skeleton import H36M_16
from common.data.units import wrong_length_unit, wrong_pixels
from common.data.windows import WindowRule
from common.errors import UserError
from common.log import LOG

TRAIN_FILE, TEST_FILE = "data_train_3dhp.npz", "data_test_3dhp.npz"
# The data set's joints that our 16 take, after HEAD_TOP was moved half-way to HEAD.
JOINTS_TO_16 = (14, 8, 9, 10, 11, 12, 13, 15, 16, 0, 5, 6, 7, 2, 3, 4)
HEAD_TOP, NECK, HEAD, SHOULDERS = 0, 1, 16, (2, 5)
SMALL_IMAGES = {"TS5": (1920, 1080), "TS6": (1920, 1080)}
IMAGE_SIZE = (2048, 2048)
MILLIMETRES_PER_METRE = 1000
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
        sequences: Callable[[Mapping[str, Any]], Iterator[tuple[SequenceName, Any]]],
        reduction: Reduction,
    ) -> PoseStore:
        path = options.root / name
        content = _of_subjects(load_dictionary(path, "data"), subjects, path)
        sources = [_source(path, *entry, options) for entry in sequences(content)]
        return build_store(sources, H36M_16, reduction, path_2d=path, path_3d=path)

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
        held = {key.split()[0] for key in content}
        for subject in subjects:
            if subject not in held:
                raise UserError(
                    f"{path} holds no subject {subject}, only {', '.join(sorted(held))} "
                    "(--subjects_train and --subjects_test choose)"
                )
        content = {key: value for key, value in content.items() if key.split()[0] in subjects}
    if not content:
        raise UserError(f"{path}: no sequences in it")
    return content


def _training_sequences(content: Mapping[str, Any]) -> Iterator[tuple[SequenceName, Any]]:
    for key, value in content.items():
        views = value[0] if isinstance(value, list | tuple) and value else value
        if not isinstance(views, dict) or not views:
            raise UserError(f"{TRAIN_FILE}: {key} is not a list of cameras and a frame rate")
        subject, _, sequence = key.partition(" ")
        for camera, entry in views.items():
            yield SequenceName(subject, sequence or "Seq", int(camera)), entry


def _test_sequences(content: Mapping[str, Any]) -> Iterator[tuple[SequenceName, Any]]:
    for subject, entry in content.items():
        if not isinstance(entry, dict) or "valid" not in entry:
            raise UserError(f"{TEST_FILE}: {subject} has no entry 'valid'")
        if not np.asarray(entry["valid"]).any():
            LOG.info("%s: %s has no valid frame: skipped", TEST_FILE, subject)
            continue
        yield SequenceName(subject, "test", 0), entry


def _source(path: Path, name: SequenceName, entry: Any, options: DataOptions) -> Source:
    """One camera's sequence of either file, checked."""
    where = f"{path}: {name}"
    screen = pose_array(entry, "data_2d", joints=17, coordinates=2, where=where)
    space = pose_array(entry, "data_3d", joints=17, coordinates=3, where=where)
    length = len(space)
    if len(screen) < length:
        raise UserError(f"{where} has {len(screen)} frames in 2D, {length} in 3D")
    width, height = image_size(name.subject)
    for reason in (
        wrong_pixels(screen[:length], width, height),
        wrong_length_unit(space, units_per_metre=MILLIMETRES_PER_METRE),
    ):
        if reason:
            raise UserError(f"{where}: {reason}")
    divisor = LEGACY_DIVISOR if options.legacy_3dhp_scale else 1

    def read(kept: slice) -> tuple[Tensor, Tensor]:
        pose_2d = float_tensor(screen[:length][kept])
        if not options.pixels:
            pose_2d = normalise_screen(pose_2d, width=width, height=height) / divisor
        pose_3d = to_16_joints(float_tensor(space[kept])) / MILLIMETRES_PER_METRE
        return to_16_joints(pose_2d), pose_3d

    return Source(
        name,
        length,
        read,
        counted=_labels(path, name, entry, "valid", length),
        activities=_labels(path, name, entry, "activity", length),
    )


def _labels(
    path: Path, name: SequenceName, entry: Mapping[str, Any], key: str, length: int
) -> Tensor | None:
    """One number per frame (length,) int64, or None if the file does not have them."""
    if key not in entry:
        return None
    labels = np.asarray(entry[key]).reshape(-1)
    if len(labels) < length or labels.dtype.kind not in "fiub":
        raise UserError(f"{path}: {key!r} of {name} is not a number for each of {length} frames")
    if key == "valid" and not np.isin(labels, (0, 1)).all():
        raise UserError(f"{path}: 'valid' of {name} holds numbers other than 0 and 1")
    return torch.from_numpy(labels[:length].astype(np.int64))


def _file_clips(data: Mapping[str, Any], path: Path) -> Iterator[FileClip]:
    for key, value in data.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            views, fps = value[0], (value[1] if len(value) > 1 else None)
        else:
            views, fps = {"": value}, None
        for camera, entry in views.items():
            if not isinstance(entry, dict):
                raise UserError(f"{path}: {key} is not a dictionary of 'data_2d', 'data_3d'")
            subject = str(key).split()[0]
            width, height = image_size(subject)
            yield FileClip(
                subject,
                f"{key} camera {camera}" if camera else str(key),
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
