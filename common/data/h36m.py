"""Human3.6M-format files -> a pose store.

Formats: the .npz files of VideoPose3D (dataset/README.md).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from common.data.base import DataOptions, DataSet, FileClip, FileFormat, Stores, TableRule
from common.data.camera import CAMERA_FILE, Cameras, CameraView, load_cameras
from common.data.detections import MAX_GAP, Detections, GapFilling
from common.data.keypoint_files import camera_views, told_frame_rate, told_layout, told_split
from common.data.layouts import Layout, implausible
from common.data.npz import described, float_tensor, load_entries, named, numbers
from common.data.pose_store import PoseStore, Reduction, SequenceName, Source, build_store
from common.data.skeleton import (
    H36M_16,
    H36M_17,
    H36M_32_TO_17,
    JOINT_ABSENT_FROM_16,
    Skeleton,
)
from common.data.units import wrong_length_unit, wrong_pixels
from common.errors import UserError, shown
from common.log import LOG

TRAIN_SUBJECTS = ("S1", "S5", "S6", "S7", "S8")
TEST_SUBJECTS = ("S9", "S11")
FRAME_RATE = 50  # of Human3.6M itself; other subjects in its format may have any
SKELETONS = {17: H36M_17, 16: H36M_16}
WORLD_SHAPES = ((32, 3), (17, 3))  # of a frame in 3D: all joints of the data set, or our 17
KEYPOINT_SHAPES = tuple((joints, columns) for joints in (17, 16) for columns in (2, 3))


@dataclass(frozen=True)
class H36MFiles:
    """The two files of a Human3.6M-format data set and their cameras, checked entry by entry.

    Attributes:
        poses_3d: subject -> action -> (L, 32 or 17, 3) world metres.
        poses_2d: subject -> action -> one (L', 16 or 17, 2 or 3) pixel array per camera, the third
            number a confidence.
        cameras: of all subjects.
        path_3d: for messages.
        path_2d: for messages.
        layout: the joint order of the 2D poses; None if the file does not tell.
        split: "train" and "test" -> the subjects that the 3D file's metadata lists for it.
        frame_rate: of the poses, frames per second.
    """

    poses_3d: dict[str, dict[str, Any]]
    poses_2d: dict[str, dict[str, Any]]
    cameras: Cameras
    path_3d: Path
    path_2d: Path
    layout: Layout | None = None
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    frame_rate: float = FRAME_RATE

    @property
    def train_subjects(self) -> tuple[str, ...]:
        """Those that the files name for training, else those of Human3.6M."""
        return self.split.get("train", TRAIN_SUBJECTS)

    @property
    def test_subjects(self) -> tuple[str, ...]:
        """Those that the files name for a test, else those of Human3.6M."""
        return self.split.get("test", TEST_SUBJECTS)

    @classmethod
    def read(cls, root: Path, keypoints: str) -> "H36MFiles":
        """Read a data folder.

        Args:
            root: the folder.
            keypoints: which `data_2d_h36m_<keypoints>.npz`.

        Raises:
            UserError: a file is missing, unreadable or without its key.
        """
        path_3d = root / "data_3d_h36m.npz"
        path_2d = root / f"data_2d_h36m_{keypoints}.npz"
        poses_3d, metadata_3d = _poses_by_subject(path_3d, "positions_3d")
        poses_2d, metadata = _poses_by_subject(path_2d, "positions_2d")
        layout = told_layout(metadata, str(path_2d))
        if layout is not None and not layout.is_ours:
            LOG.info("%s: joints in the order %r, converted", path_2d, layout.name)
        cameras = load_cameras(root)
        split = told_split(metadata_3d, path_3d)
        frame_rate = told_frame_rate(metadata, str(path_2d)) or FRAME_RATE
        return cls(poses_3d, poses_2d, cameras, path_3d, path_2d, layout, split, frame_rate)

    def store(
        self,
        subjects: Sequence[str],
        skeleton: Skeleton,
        reduction: Reduction | None = None,
        *,
        actions: Sequence[str] | None = None,
        normalisation: str | None = "width",
        unknown_3d: bool = False,
        max_gap: float = MAX_GAP,
    ) -> PoseStore:
        """Poses of some subjects in flat tensors; what the files lack is logged.

        Args:
            subjects: subject names.
            skeleton: `H36M_17` or `H36M_16`.
            reduction: what is kept of the sequences; None for everything.
            actions: prefixes of action names; None takes all.
            normalisation: of 2D, one of `NORMALISATIONS`; None leaves pixels.
            unknown_3d: see `build_store`.
            max_gap: seconds; shorter gaps of joints that were not detected are interpolated.

        Returns:
            The store, on CPU.

        Raises:
            UserError: the files lack a subject, have no such action, or hold poses that are not
                what they should be; the message names the place.
        """
        entries = list(self._entries(subjects, actions))
        if not entries:
            wanted = f" of the actions {', '.join(actions)}" if actions else ""
            raise UserError(
                f"no sequences{wanted} for the subjects {', '.join(subjects)} in {self.path_3d}"
            )
        if self.layout is None:
            self._warn_of_implausible_order(entries)
        gaps = GapFilling(max_gap)
        sources = [
            self._source(name, world, screen, skeleton.num_joints, normalisation, gaps)
            for name, world, screen in entries
        ]
        store = build_store(
            sources,
            skeleton,
            reduction or Reduction(),
            path_2d=self.path_2d,
            path_3d=self.path_3d,
            unknown_3d=unknown_3d,
        )
        gaps.log(self.path_2d, sequences=len(store.names), left_out=store.undetected)
        return store

    def _warn_of_implausible_order(
        self, entries: Sequence[tuple[SequenceName, np.ndarray, np.ndarray]]
    ) -> None:
        """Warn, once per store, where joints without metadata are hardly in our order."""
        for name, _, screen in entries:
            if len(screen.shape) == 3 and screen.shape[1:] in KEYPOINT_SHAPES:
                seen = Detections.of(screen).complete()
                if len(seen) and (reason := implausible(seen)):
                    LOG.warning(
                        "warning: %s has no metadata on the order of its joints, and in %s %s: are "
                        "they in Human3.6M's order?",
                        self.path_2d,
                        name,
                        reason,
                    )
                    return

    def _source(
        self,
        name: SequenceName,
        world: np.ndarray,
        screen: np.ndarray,
        num_joints: int,
        normalisation: str | None,
        gaps: GapFilling,
    ) -> Source:
        view = self.cameras.of(name.subject, name.action)[name.camera]

        def read(kept: slice) -> tuple[Tensor, Tensor]:
            detections = self._checked_2d(name, screen, len(world), num_joints)
            filled = gaps.fill(detections, name=str(name), frame_rate=self.frame_rate)
            pose_2d = self._joints(filled, num_joints)
            if reason := wrong_pixels(pose_2d.numpy(), view.width, view.height):
                raise UserError(f"{self.path_2d}: {name}: {reason}")
            pose_2d = pose_2d[kept]
            if normalisation is not None:
                pose_2d = view.normalise(pose_2d, normalisation)
            return pose_2d, _camera_space(world[kept], view, num_joints)

        camera = view.intrinsics_for(normalisation or "width")
        return Source(name, len(world), read, camera=camera)

    def _entries(
        self, subjects: Sequence[str], actions: Sequence[str] | None
    ) -> Iterator[tuple[SequenceName, np.ndarray, np.ndarray]]:
        """Every (name, world poses, pixel poses) asked for, in the order of the 3D file."""
        for subject in subjects:
            for path, poses in ((self.path_3d, self.poses_3d), (self.path_2d, self.poses_2d)):
                if subject not in poses:
                    raise UserError(
                        f"{path} holds no subject {subject}, only {shown(', '.join(poses))} "
                        "(--subjects_train and --subjects_test choose)"
                    )
        self._check_actions(actions)
        for subject in subjects:
            for action, world in self.poses_3d[subject].items():
                if actions is not None and not action.startswith(tuple(actions)):
                    continue
                if action not in self.poses_2d[subject]:
                    LOG.info("%s lacks %s %s: skipped", self.path_2d, subject, shown(action))
                    continue
                world = self._checked_3d(subject, action, world)
                where = f"{self.path_2d}: {subject} {shown(action)}"
                views = camera_views(self.poses_2d[subject][action], where)
                known = len(self.cameras.of(subject, action))
                if not known:
                    raise UserError(
                        f"no cameras are known for {subject} {shown(action)}: put a {CAMERA_FILE} "
                        f"that names it beside {self.path_3d} (format: dataset/README.md)"
                    )
                if len(views) > known:
                    raise UserError(f"{where} has {len(views)} cameras, {known} are known")
                for camera, screen in enumerate(views):
                    yield SequenceName(subject, action, camera), world, screen

    def _check_actions(self, actions: Sequence[str] | None) -> None:
        known = {action for poses in self.poses_3d.values() for action in poses}
        for prefix in actions or ():
            if not any(action.startswith(prefix) for action in known):
                raise UserError(
                    f"--actions: no action starts with {prefix!r}; {self.path_3d} holds "
                    f"{shown(', '.join(sorted(known)))}"
                )

    def _checked_3d(self, subject: str, action: str, world: Any) -> np.ndarray:
        where = f"{self.path_3d}: {shown(subject)} {shown(action)}"
        array = numbers(world)
        if array is None or len(array.shape) != 3 or array.shape[1:] not in WORLD_SHAPES:
            raise UserError(f"{where} {described(world)}, (frames, 32 or 17, 3) is needed")
        if not len(array):
            raise UserError(f"{where} has no frames")
        if reason := wrong_length_unit(array):
            raise UserError(f"{where}: {reason}")
        return array

    def _checked_2d(
        self, name: SequenceName, screen: np.ndarray, length: int, num_joints: int
    ) -> Detections:
        """What one camera detected, cut to the length of the 3D poses, in the file's order."""
        where, shape = f"{self.path_2d}: {name}", screen.shape
        if len(shape) != 3 or shape[1:] not in KEYPOINT_SHAPES:
            raise UserError(
                f"{where} has shape {shape}, (frames, 17 or 16, 2), or 3 with a confidence, is "
                "needed"
            )
        if self.layout is not None and shape[1] not in self.layout.pairs:
            raise UserError(
                f"{where} has {shape[1]} joints, the layout {self.layout.name!r} of its metadata "
                "has not"
            )
        if shape[1] < num_joints:
            raise UserError(f"{where} has {shape[1]} joints, --n_joints says {num_joints}")
        if shape[0] < length:
            raise UserError(f"{where} has {shape[0]} frames, fewer than its 3D poses ({length})")
        return Detections.of(screen[:length])

    def _joints(self, detections: Detections, num_joints: int) -> Tensor:
        """Pixel poses (L, num_joints, 2) in our order, NaN where a joint is missing."""
        if self.layout is not None:
            detections = detections.converted(self.layout.to_ours)
        poses = float_tensor(detections.xy)
        return poses if poses.shape[1] == num_joints else _without_neck(poses)


def load(options: DataOptions) -> Stores:
    """Training and test poses of a data folder."""
    files = H36MFiles.read(options.root, options.keypoints)
    skeleton = SKELETONS[options.num_joints]
    normalisation = None if options.pixels else options.normalisation
    train = test = None
    if options.train:
        train = files.store(
            options.train_subjects or files.train_subjects,
            skeleton,
            options.reduction,
            actions=options.actions,
            normalisation=normalisation,
            max_gap=options.max_gap,
        )
    if options.test:
        test = files.store(
            options.test_subjects or files.test_subjects,
            skeleton,
            replace(options.reduction, subset=1.0),
            actions=options.actions,
            normalisation=normalisation,
            unknown_3d=options.unknown_3d,
            max_gap=options.max_gap,
        )
    return Stores(train, test)


def _poses_by_subject(path: Path, key: str) -> tuple[dict[str, dict[str, Any]], Any]:
    """The poses of a file by subject and action, and its metadata, if any."""
    content = load_entries(path, key)
    poses = {
        subject: named(actions, f"{path}: {key!r} of {shown(subject)}")
        for subject, actions in content[key].items()
    }
    return poses, content.get("metadata")


def _camera_space(world: np.ndarray, view: CameraView, num_joints: int) -> Tensor:
    """(L, 32 or 17, 3) world metres -> (L, J, 3) metres in camera space."""
    poses = float_tensor(world[:, list(H36M_32_TO_17)] if world.shape[1] == 32 else world)
    if num_joints == 16:
        poses = _without_neck(poses)
    return view.from_world(poses)


def _without_neck(poses: Tensor) -> Tensor:
    kept = [j for j in range(poses.shape[1]) if j != JOINT_ABSENT_FROM_16]
    return poses[:, kept]


def _file_clips_3d(poses: Mapping[str, Any], path: Path) -> Iterator[FileClip]:
    cameras = load_cameras(path.parent)
    for subject, action, value in _two_levels(poses, path):
        view = next(iter(cameras.of(subject, action)), None)
        array = numbers(value)
        if array is not None and array.shape[1:] == (32, 3):
            array = array[:, list(H36M_32_TO_17)]
        joints = value if array is None else array
        yield FileClip(
            subject,
            f"{subject} {action}",
            None,
            joints,
            fps=_frame_rate(subject),
            z_up=True,
            view=view,
        )


def _file_clips_2d(poses: Mapping[str, Any], path: Path) -> Iterator[FileClip]:
    cameras = load_cameras(path.parent)
    for subject, action, views in _two_levels(poses, path):
        where = f"{path}: {shown(subject)} {shown(action)}"
        for number, array in enumerate(camera_views(views, where)):
            known = cameras.of(subject, action)[number : number + 1]
            box = (0.0, 0.0, known[0].width, known[0].height) if known else None
            name = f"{subject} {action} camera {number}"
            yield FileClip(subject, name, array, None, box=box, fps=_frame_rate(subject))


def _frame_rate(subject: str) -> float | None:
    return FRAME_RATE if subject in (*TRAIN_SUBJECTS, *TEST_SUBJECTS) else None


def _two_levels(poses: Mapping[str, Any], path: Path) -> Iterator[tuple[str, str, Any]]:
    for subject, actions in poses.items():
        for action, value in named(actions, f"{path}: {shown(subject)}").items():
            yield subject, action, value


def action_row(action: str) -> str:
    """The row of a table that an action counts in: without repetition and camera at its end.

    "Walking 1" counts as Walking, "walk cam0" (of dataset/make_custom.py) as walk; "Sitting Down"
    is not Sitting.
    """
    return re.sub(r"( \d+| cam\d+)+$", "", action)


DATA_SET = DataSet(
    name="h36m",
    title="Human3.6M",
    load=load,
    skeletons=SKELETONS,
    table=TableRule(
        corner="Action",
        row_of=lambda name: action_row(name.action),
        by_frames=False,
        metrics=("protocol_1", "protocol_2", "velocity"),
        last_line="p1: {protocol_1:.2f}, p2: {protocol_2:.2f}",
    ),
    has_subjects=True,
    has_actions=True,
    has_cameras=True,
    frame_rate=FRAME_RATE,
    file_formats=(
        FileFormat("positions_3d", "3D poses in Human3.6M's format", _file_clips_3d),
        FileFormat("positions_2d", "2D poses in Human3.6M's format", _file_clips_2d),
    ),
)
