"""Human3.6M-format files -> a pose store.

Formats: SPEC section 3 of the project, that is the .npz files of VideoPose3D.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.data.camera import normalise_screen, project, world_to_camera
from common.data.npz import float_tensor, load_dictionary, numeric_shape
from common.data.pose_ops import relative_to_root
from common.data.pose_store import PoseStore, SequenceName, Source, build_store
from common.data.skeleton import H36M_32_TO_17, JOINT_ABSENT_FROM_16
from common.errors import UserError
from common.log import LOG

CAMERA_FILE = "h36m_cameras.json"
PACKAGED_CAMERAS = Path(__file__).resolve().parents[2] / "dataset" / CAMERA_FILE


@dataclass(frozen=True)
class CameraView:
    """One camera of one subject.

    Attributes:
        intrinsics: (9,) float32, normalised screen units.
        orientation: (4,) float32 quaternion w x y z.
        centre: (3,) float32 metres.
        width: image width in pixels.
        height: image height in pixels.
    """

    intrinsics: Tensor
    orientation: Tensor
    centre: Tensor
    width: int
    height: int

    def from_world(self, points: Tensor) -> Tensor:
        """World points (..., 3) in this camera's space, metres."""
        return world_to_camera(points, self.orientation.to(points), self.centre.to(points))

    def to_screen(self, points: Tensor) -> Tensor:
        """Points (L, ..., 3) of this camera's space on its screen, (L, ..., 2) normalised."""
        return project(points[None], self.intrinsics.to(points)[None])[0]


def load_cameras(root: Path) -> dict[str, list[CameraView]]:
    """The cameras of every subject, from the data folder's own file or the one that we ship.

    Args:
        root: data folder; a file `h36m_cameras.json` in it takes precedence.

    Returns:
        Subject -> its cameras, in the order of the 2D files.

    Raises:
        UserError: the file is not in the format.
    """
    path = root / CAMERA_FILE if (root / CAMERA_FILE).exists() else PACKAGED_CAMERAS
    try:
        content = json.loads(path.read_text())
        return {
            subject: [
                _camera_view(inner, outer)
                for inner, outer in zip(content["intrinsic"], extrinsics, strict=True)
            ]
            for subject, extrinsics in content["extrinsic"].items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a camera file ({type(error).__name__}: {error})") from None


def _camera_view(inner: dict[str, Any], outer: dict[str, Any]) -> CameraView:
    width, height = inner["res_w"], inner["res_h"]
    focal = torch.tensor(inner["focal_length"]) / width * 2
    centre = normalise_screen(torch.tensor(inner["center"]), width=width, height=height)
    distortion = torch.tensor([*inner["radial_distortion"], *inner["tangential_distortion"]])
    return CameraView(
        intrinsics=torch.cat([focal, centre, distortion]),
        orientation=torch.tensor(outer["orientation"]),
        centre=torch.tensor(outer["translation"]) / 1000,
        width=width,
        height=height,
    )


@dataclass(frozen=True)
class H36MFiles:
    """The two files of a Human3.6M-format data set and their cameras, checked entry by entry.

    Attributes:
        poses_3d: subject -> action -> (L, 32, 3) world metres.
        poses_2d: subject -> action -> one (L', 16 or 17, 2) pixel array a camera.
        cameras: subject -> cameras.
        path_3d: for messages.
        path_2d: for messages.
    """

    poses_3d: dict[str, dict[str, Any]]
    poses_2d: dict[str, dict[str, Any]]
    cameras: dict[str, list[CameraView]]
    path_3d: Path
    path_2d: Path

    @classmethod
    def read(cls, root_path: str, keypoints: str) -> "H36MFiles":
        """Read a data folder.

        Args:
            root_path: the folder, with or without a trailing slash.
            keypoints: which `data_2d_h36m_<keypoints>.npz`.

        Raises:
            UserError: a file is missing, unreadable or without its key.
        """
        root = Path(root_path)
        path_3d = root / "data_3d_h36m.npz"
        path_2d = root / f"data_2d_h36m_{keypoints}.npz"
        return cls(
            poses_3d=_poses_by_subject(path_3d, "positions_3d"),
            poses_2d=_poses_by_subject(path_2d, "positions_2d"),
            cameras=load_cameras(root),
            path_3d=path_3d,
            path_2d=path_2d,
        )

    def store(
        self,
        subjects: Sequence[str],
        *,
        num_joints: int,
        actions: Sequence[str] | None = None,
        downsample: int = 1,
        subset: float = 1.0,
        pixels: bool = False,
        max_frames: int | None = None,
        unknown_3d: bool = False,
    ) -> PoseStore:
        """Poses of some subjects in flat tensors; what the files lack is said in the log.

        Args:
            subjects: subject names.
            num_joints: 16 or 17.
            actions: prefixes of action names; None takes all.
            downsample: keep every n-th frame.
            subset: keep this share of each sequence, one run of frames at a place that depends on
                its name only.
            pixels: leave 2D in pixels.
            max_frames: keep only so many frames (`--debug`); None for all.
            unknown_3d: see `build_store`.

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
        sources = [
            self._source(name, world, screen, num_joints, pixels=pixels)
            for name, world, screen in entries
        ]
        return build_store(
            sources,
            num_joints=num_joints,
            path_2d=self.path_2d,
            path_3d=self.path_3d,
            downsample=downsample,
            subset=subset,
            max_frames=max_frames,
            unknown_3d=unknown_3d,
        )

    def _source(
        self,
        name: SequenceName,
        world: np.ndarray,
        screen: np.ndarray,
        num_joints: int,
        *,
        pixels: bool,
    ) -> Source:
        view = self.cameras[name.subject][name.camera]

        def read(kept: slice) -> tuple[Tensor, Tensor]:
            pose_2d = self._checked_2d(name, screen, len(world), num_joints)[kept]
            if not pixels:
                pose_2d = normalise_screen(pose_2d, width=view.width, height=view.height)
            return pose_2d, _camera_space(world[kept], view, num_joints)

        return Source(name, len(world), read, camera=view.intrinsics)

    def _entries(
        self, subjects: Sequence[str], actions: Sequence[str] | None
    ) -> Iterator[tuple[SequenceName, np.ndarray, np.ndarray]]:
        """Every (name, world poses, pixel poses) asked for, in the order of the 3D file."""
        for subject in subjects:
            for path, poses in ((self.path_3d, self.poses_3d), (self.path_2d, self.poses_2d)):
                if subject not in poses:
                    raise UserError(
                        f"{path} holds no subject {subject}, only {', '.join(map(str, poses))} "
                        "(--subjects_train and --subjects_test choose)"
                    )
            if subject not in self.cameras:
                raise UserError(
                    f"no cameras are known for subject {subject}: put a {CAMERA_FILE} that names "
                    f"it beside {self.path_3d} (format: dataset/README.md)"
                )
        self._check_actions(actions)
        for subject in subjects:
            for action, world in self.poses_3d[subject].items():
                if actions is not None and not action.startswith(tuple(actions)):
                    continue
                if action not in self.poses_2d[subject]:
                    LOG.info("%s lacks %s %s: left out", self.path_2d, subject, action)
                    continue
                world = self._checked_3d(subject, action, world)
                views = self.poses_2d[subject][action]
                if not isinstance(views, list | tuple | np.ndarray) or len(views) == 0:
                    raise UserError(f"{self.path_2d}: {subject} {action} is not a list of cameras")
                if len(views) > len(self.cameras[subject]):
                    raise UserError(
                        f"{self.path_2d}: {subject} {action} has {len(views)} cameras, "
                        f"{len(self.cameras[subject])} are known"
                    )
                for camera, screen in enumerate(views):
                    yield SequenceName(subject, action, camera), world, screen

    def _check_actions(self, actions: Sequence[str] | None) -> None:
        known = {action for poses in self.poses_3d.values() for action in poses}
        for prefix in actions or ():
            if not any(action.startswith(prefix) for action in known):
                raise UserError(
                    f"--actions: no action starts with {prefix!r}; {self.path_3d} holds "
                    f"{', '.join(sorted(known))}"
                )

    def _checked_3d(self, subject: str, action: str, world: Any) -> np.ndarray:
        shape = numeric_shape(world)
        if len(shape) != 3 or shape[1:] != (32, 3) or not shape[0]:
            raise UserError(
                f"{self.path_3d}: {subject} {action} has shape {shape}, (frames, 32, 3) is needed"
            )
        return world

    def _checked_2d(self, name: SequenceName, screen: Any, length: int, num_joints: int) -> Tensor:
        """Pixel poses (length, num_joints, 2) of one camera, cut to the length of the 3D poses."""
        shape = numeric_shape(screen)
        if len(shape) != 3 or shape[1] not in (16, 17) or shape[2] != 2:
            raise UserError(
                f"{self.path_2d}: {name} has shape {shape}, (frames, 17, 2) or (frames, 16, 2) is "
                "needed"
            )
        if shape[1] < num_joints:
            raise UserError(
                f"{self.path_2d}: {name} has {shape[1]} joints, --n_joints says {num_joints}"
            )
        if shape[0] < length:
            raise UserError(
                f"{self.path_2d}: {name} has {shape[0]} frames, fewer than its 3D poses ({length})"
            )
        poses = float_tensor(screen[:length])
        return poses if shape[1] == num_joints else _without_neck(poses)


def load_stores(
    *,
    root_path: str,
    keypoints: str,
    train_subjects: Sequence[str] | None,
    test_subjects: Sequence[str] | None,
    subset: float,
    unknown_3d: bool,
    **options: Any,
) -> tuple[PoseStore | None, PoseStore | None]:
    """Training and test poses of a data folder.

    Args:
        root_path: see `H36MFiles.read`.
        keypoints: see `H36MFiles.read`.
        train_subjects: None for no training poses.
        test_subjects: None for no test poses.
        subset: share of each training sequence.
        unknown_3d: accept test sequences without 3D (NaN throughout), to predict it.
        **options: of `H36MFiles.store`, for both.

    Returns:
        The stores, on CPU, None for what was not asked for.
    """
    files = H36MFiles.read(root_path, keypoints)
    train = test = None
    if train_subjects is not None:
        train = files.store(train_subjects, subset=subset, **options)
    if test_subjects is not None:
        test = files.store(test_subjects, unknown_3d=unknown_3d, **options)
    return train, test


def _poses_by_subject(path: Path, key: str) -> dict[str, dict[str, Any]]:
    poses = load_dictionary(path, key)
    for subject, actions in poses.items():
        if not isinstance(actions, dict):
            raise UserError(f"{path}: {key!r} of {subject} is not a dictionary of actions")
    return poses


def _camera_space(world: np.ndarray, view: CameraView, num_joints: int) -> Tensor:
    """(L, 32, 3) world metres -> (L, J, 3) camera space, root-relative but for the root."""
    poses = float_tensor(world[:, list(H36M_32_TO_17)])
    if num_joints == 16:
        poses = _without_neck(poses)
    return relative_to_root(view.from_world(poses))


def _without_neck(poses: Tensor) -> Tensor:
    kept = [j for j in range(poses.shape[1]) if j != JOINT_ABSENT_FROM_16]
    return poses[:, kept]
