"""All poses of a data set in flat tensors; a batch is one gather."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from common.data.detections import Detections, interpolate
from common.data.pose_ops import centre_on_root, mirror_camera, mirror_pose
from common.data.skeleton import Skeleton
from common.data.windows import Windows
from common.errors import UserError, shown


@dataclass(frozen=True)
class SequenceName:
    """Where a sequence comes from."""

    subject: str
    action: str
    camera: int

    def __str__(self) -> str:
        return shown(f"{self.subject} {self.action} camera {self.camera}")


@dataclass(frozen=True)
class PoseStore:
    """Sequences of 2D and 3D poses laid end to end.

    Attributes:
        skeleton: of all poses.
        pose_2d: (N, J, 2) float32, normalised screen coordinates (pixels with `--crop_uv 1`).
        pose_3d: (N, J, 3) float32 metres along the camera's axes, relative to joint 0.
        root_3d: (N, 3) float32 metres, the position of joint 0 in camera space.
        cameras: (S, 9) float32 intrinsics of each sequence; None where the files hold none.
        offsets: (S + 1,) int64 on CPU; sequence s holds frames offsets[s] to offsets[s + 1] - 1.
        names: S names.
        frame_step: every n-th frame of the file was kept (`--downsample`).
        first_frames: S numbers, the frame of the file that each sequence starts with (`--subset`).
        counted: (N,) bool on CPU, the frames that may be targets of a training's windows and that
            a test counts; None for all.
        activities: (N,) int64 on CPU, what is done in each frame, numbered by the data set; None
            where the files have none.
        undetected: (N,) bool on CPU, True = not counted because 2D joints are missing; their
            `pose_2d`, which neighbouring frames see, is interpolated. None if there are none.
    """

    skeleton: Skeleton
    pose_2d: Tensor
    pose_3d: Tensor
    root_3d: Tensor
    cameras: Tensor | None
    offsets: Tensor
    names: list[SequenceName]
    frame_step: int
    first_frames: list[int]
    counted: Tensor | None = None
    activities: Tensor | None = None
    undetected: Tensor | None = None

    @property
    def num_frames(self) -> int:
        """N."""
        return len(self.pose_2d)

    @property
    def num_joints(self) -> int:
        """J."""
        return self.skeleton.num_joints

    @property
    def device(self) -> torch.device:
        """The device that holds the poses."""
        return self.pose_2d.device

    def to(self, device: torch.device) -> "PoseStore":
        """The same store with its poses on another device."""
        return replace(
            self,
            pose_2d=self.pose_2d.to(device),
            pose_3d=self.pose_3d.to(device),
            root_3d=self.root_3d.to(device),
            cameras=None if self.cameras is None else self.cameras.to(device),
        )

    def head(self, num_frames: int) -> "PoseStore":
        """The first `num_frames` frames only (`--debug`)."""
        offsets = self.offsets.clamp(max=num_frames).unique()
        count = len(offsets) - 1

        def cut(tensor: Tensor | None, length: int) -> Tensor | None:
            return None if tensor is None else tensor[:length]

        return replace(
            self,
            pose_2d=self.pose_2d[: offsets[-1]],
            pose_3d=self.pose_3d[: offsets[-1]],
            root_3d=self.root_3d[: offsets[-1]],
            cameras=cut(self.cameras, count),
            offsets=offsets,
            names=self.names[:count],
            first_frames=self.first_frames[:count],
            counted=cut(self.counted, int(offsets[-1])),
            activities=cut(self.activities, int(offsets[-1])),
            undetected=cut(self.undetected, int(offsets[-1])),
        )

    def sequence_slices(self) -> list[slice]:
        """The frames of each sequence."""
        bounds = self.offsets.tolist()
        return [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]

    def sequences_of(self, frames: Tensor) -> Tensor:
        """The sequence (M,) of some frames (M,) int64 on CPU."""
        return torch.searchsorted(self.offsets, frames, right=True) - 1

    def frames_in_file(self, frames: Tensor) -> Tensor:
        """The numbers (M,) that some frames (M,) int64 on CPU have in the file."""
        sequences = self.sequences_of(frames)
        within = frames - self.offsets[sequences]
        return torch.tensor(self.first_frames)[sequences] + self.frame_step * within

    def window_2d(self, windows: Windows) -> Tensor:
        """(B, T, J, 2) screen coordinates of every frame of the windows."""
        return self._gather(self.pose_2d, windows.frames, windows)

    def window_3d(self, windows: Windows) -> Tensor:
        """(B, T, J, 3) metres relative to the root, of every frame of the windows."""
        return self._gather(self.pose_3d, windows.frames, windows)

    def window_root(self, windows: Windows) -> Tensor:
        """(B, T, 1, 3) metres, the position of the root in every frame of the windows."""
        return self._gather_root(windows.frames, windows)

    def target_2d(self, windows: Windows) -> Tensor:
        """(B, 1, J, 2) screen coordinates of the target frames."""
        return self._gather(self.pose_2d, windows.targets[:, None], windows)

    def target_3d(self, windows: Windows) -> Tensor:
        """(B, 1, J, 3) metres relative to the root, of the target frames."""
        return self._gather(self.pose_3d, windows.targets[:, None], windows)

    def target_root(self, windows: Windows) -> Tensor:
        """(B, 1, 1, 3) metres, the position of the root in the target frames."""
        return self._gather_root(windows.targets[:, None], windows)

    def _gather(self, flat: Tensor, frames: Tensor, windows: Windows) -> Tensor:
        """Rows (N, J, C) of the store -> windows (B, T, J, C), mirrored where they are."""
        rows = flat.flatten(1).index_select(0, frames.flatten())
        poses = rows.view(*frames.shape, *flat.shape[1:])
        if windows.num_plain < len(windows):
            mirrored = poses[windows.num_plain :]
            poses[windows.num_plain :] = mirror_pose(mirrored, self.skeleton)
        return poses

    def _gather_root(self, frames: Tensor, windows: Windows) -> Tensor:
        roots = self.root_3d.index_select(0, frames.flatten()).view(*frames.shape, 1, 3)
        roots[windows.num_plain :, ..., 0] *= -1
        return roots

    def window_cameras(self, windows: Windows) -> Tensor:
        """(B, 9) intrinsics, mirrored where the window is."""
        assert self.cameras is not None
        cameras = self.cameras[windows.sequences]
        if windows.num_plain < len(windows):
            cameras[windows.num_plain :] = mirror_camera(cameras[windows.num_plain :])
        return cameras


@dataclass(frozen=True)
class Source:
    """A sequence that a file holds, before it is read into a store.

    Attributes:
        name: where it comes from.
        length: L, its frames in the file.
        read: frames to keep (a slice of L) -> 2D poses (L', J, 2) as in `PoseStore`, NaN where a
            joint was not detected, absolute 3D poses (L', J, 3), metres in camera space.
        camera: (9,) intrinsics, if the file holds them.
        counted: (L,) bool, the frames that a test counts; None for all.
        activities: (L,) int64, if the file has them.
    """

    name: SequenceName
    length: int
    read: Callable[[slice], tuple[Tensor, Tensor]]
    camera: Tensor | None = None
    counted: Tensor | None = None
    activities: Tensor | None = None


@dataclass(frozen=True)
class Reduction:
    """How much of the sequences of a file is kept.

    Attributes:
        downsample: keep every n-th frame.
        subset: keep this share of each sequence, one run of frames at a place that depends on its
            name only.
        max_frames: maximum number of frames of the store (`--debug`); None for all.
    """

    downsample: int = 1
    subset: float = 1.0
    max_frames: int | None = None


def build_store(
    sources: Sequence[Source],
    skeleton: Skeleton,
    reduction: Reduction,
    *,
    path_2d: Path,
    path_3d: Path,
    unknown_3d: bool = False,
) -> PoseStore:
    """Read sequences into flat tensors.

    Args:
        sources: the sequences, at least one; either all or none have a camera.
        skeleton: of their poses.
        reduction: what is kept of them.
        path_2d: where 2D poses come from, for messages.
        path_3d: where 3D poses come from.
        unknown_3d: accept sequences whose 3D is NaN throughout: there is none.

    Returns:
        The store, on CPU.

    Raises:
        UserError: a pose is not finite (2D: infinite), or every frame has missing joints; the
            message names the place.
    """
    kept = [_kept_frames(s.name, s.length, reduction) for s in sources]
    lengths = [len(range(*k.indices(s.length))) for k, s in zip(kept, sources, strict=True)]
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    pose_2d = torch.empty(int(offsets[-1]), skeleton.num_joints, 2)
    pose_3d = torch.empty(int(offsets[-1]), skeleton.num_joints, 3)
    root_3d = torch.empty(int(offsets[-1]), 3)
    bounds = offsets.tolist()
    for source, frames, start, stop in zip(sources, kept, bounds[:-1], bounds[1:], strict=True):
        pose_2d[start:stop], absolute = source.read(frames)
        root_3d[start:stop] = absolute[:, 0]
        pose_3d[start:stop] = centre_on_root(absolute)

    def frame_by_frame(each: Sequence[Tensor | None], fill: int) -> Tensor | None:
        if all(tensor is None for tensor in each):
            return None
        default = torch.tensor(fill)
        return torch.cat(
            [
                (default.expand(s.length) if tensor is None else tensor)[frames]
                for tensor, s, frames in zip(each, sources, kept, strict=True)
            ]
        )

    labels = frame_by_frame([s.counted for s in sources], 1)
    undetected = _bridge_gaps(pose_2d, bounds)
    counted, undetected = _counted(labels, undetected, path_2d)
    cameras = [source.camera for source in sources if source.camera is not None]
    store = PoseStore(
        skeleton=skeleton,
        pose_2d=pose_2d,
        pose_3d=pose_3d,
        root_3d=root_3d,
        cameras=torch.stack(cameras) if cameras else None,
        offsets=offsets,
        names=[source.name for source in sources],
        frame_step=reduction.downsample,
        first_frames=[frames.start for frames in kept],
        counted=counted,
        activities=frame_by_frame([s.activities for s in sources], -1),
        undetected=undetected,
    )
    _check_finite(store, store.pose_2d, path_2d, unknown=False)
    _check_finite(store, store.pose_3d, path_3d, unknown=unknown_3d)
    return store if reduction.max_frames is None else store.head(reduction.max_frames)


def _bridge_gaps(pose_2d: Tensor, bounds: Sequence[int]) -> Tensor | None:
    """Give missing joints a place, in place: the windows of other frames hold these frames.

    Args:
        pose_2d: (N, J, 2), NaN where a joint is missing; interpolated, or 0 where a sequence never
            has it (then none of its frames is counted).
        bounds: of the sequences.

    Returns:
        (N,) bool, True = joints were missing; None if there are no such frames.
    """
    missing = pose_2d.isnan().flatten(1).any(1) if pose_2d.sum().isnan() else None
    if missing is None or not missing.any():
        return None
    for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
        if missing[start:stop].any():
            seen = Detections.of(pose_2d[start:stop].numpy(), zero_is_missing=False)
            filled = interpolate(seen, max_gap=math.inf).xy
            pose_2d[start:stop] = torch.from_numpy(filled).nan_to_num(nan=0.0)
    return missing


def _counted(
    labels: Tensor | None, undetected: Tensor | None, path: Path
) -> tuple[Tensor | None, Tensor | None]:
    """`PoseStore.counted` and `undetected`, of the file's labels and the missing joints (N,)."""
    if labels is not None:
        labels = labels.bool()
    if undetected is not None and labels is not None:
        undetected = undetected & labels
    if undetected is None or not undetected.any():
        return labels, None
    counted = ~undetected if labels is None else labels & ~undetected
    if not counted.any():
        raise UserError(f"{path}: no frame in which all joints are detected")
    return counted, undetected


def _kept_frames(name: SequenceName, length: int, reduction: Reduction) -> slice:
    """The frames of a sequence that are kept; the same for all cameras."""
    downsample, count, start = reduction.downsample, length, 0
    if reduction.subset < 1:
        count = max(round(length // downsample * reduction.subset), 1) * downsample
        digest = hashlib.sha256(f"{name.subject} {name.action} {length}".encode()).digest()
        room = max(length - count, 0) + 1
        start = math.floor(int.from_bytes(digest[:8], "big") / 2**64 * room)
    return slice(start, min(start + count, length), downsample)


def _check_finite(store: PoseStore, poses: Tensor, path: Path, *, unknown: bool) -> None:
    if torch.isfinite(poses.sum()):  # one cheap pass: a NaN or infinity survives the sum
        return
    flat = poses.flatten(1)
    for name, frames in zip(store.names, store.sequence_slices(), strict=True):
        bad = (~torch.isfinite(flat[frames])).any(1).nonzero().flatten()
        if not len(bad) or (unknown and bool(flat[frames].isnan().all())):
            continue
        in_file = int(store.frames_in_file(frames.start + bad[:1]))
        raise UserError(f"{path}: NaN or infinity in {name}, frame {in_file}")
