"""All poses of a data set in flat tensors; a batch is one gather."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from common.data.pose_ops import mirror_camera, mirror_pose
from common.data.windows import WindowIndex, WindowRule, Windows
from common.errors import UserError


@dataclass(frozen=True)
class SequenceName:
    """Where a sequence comes from."""

    subject: str
    action: str
    camera: int

    def __str__(self) -> str:
        return f"{self.subject} {self.action} camera {self.camera}"


@dataclass(frozen=True)
class PoseStore:
    """Sequences of 2D and 3D poses laid end to end.

    Attributes:
        pose_2d: (N, J, 2) float32, normalised screen coordinates (pixels with `--crop_uv 1`).
        pose_3d: (N, J, 3) float32 camera-space metres; joint 0 is the root's position, the other
            joints are relative to it.
        cameras: (S, 9) float32 intrinsics of each sequence; None where the files hold none.
        offsets: (S + 1,) int64 on CPU; sequence s holds frames offsets[s] to offsets[s + 1] - 1.
        names: S names.
        frame_step: every n-th frame of the file was kept (`--downsample`).
        first_frames: S numbers, the frame of the file that each sequence starts with (`--subset`).
        counted: (N,) bool on CPU, the frames that a test counts; None for all.
        activities: (N,) int64 on CPU, what is done in each frame, numbered by the data set; None
            where the files do not say.
    """

    pose_2d: Tensor
    pose_3d: Tensor
    cameras: Tensor | None
    offsets: Tensor
    names: list[SequenceName]
    frame_step: int
    first_frames: list[int]
    counted: Tensor | None = None
    activities: Tensor | None = None

    @property
    def num_frames(self) -> int:
        """N."""
        return len(self.pose_2d)

    @property
    def num_joints(self) -> int:
        """J."""
        return self.pose_2d.shape[1]

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
            cameras=cut(self.cameras, count),
            offsets=offsets,
            names=self.names[:count],
            first_frames=self.first_frames[:count],
            counted=cut(self.counted, int(offsets[-1])),
            activities=cut(self.activities, int(offsets[-1])),
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
        return _gather(self.pose_2d, windows.frames, windows.num_plain)

    def window_3d(self, windows: Windows) -> Tensor:
        """(B, T, J, 3) metres, joint 0 the root's position, of every frame of the windows."""
        return _gather(self.pose_3d, windows.frames, windows.num_plain)

    def centre_2d(self, windows: Windows) -> Tensor:
        """(B, 1, J, 2) screen coordinates of the centre frames."""
        return _gather(self.pose_2d, windows.centres[:, None], windows.num_plain)

    def centre_3d(self, windows: Windows) -> Tensor:
        """(B, 1, J, 3) metres, joint 0 the root's position, of the centre frames."""
        return _gather(self.pose_3d, windows.centres[:, None], windows.num_plain)

    def window_cameras(self, windows: Windows) -> Tensor:
        """(B, 9) intrinsics, mirrored where the window is."""
        assert self.cameras is not None
        cameras = self.cameras[windows.sequences]
        if windows.num_plain < len(windows):
            cameras[windows.num_plain :] = mirror_camera(cameras[windows.num_plain :])
        return cameras


def _gather(flat: Tensor, frames: Tensor, num_plain: int) -> Tensor:
    """Rows (N, J, C) of a store -> windows (B, T, J, C), those from `num_plain` on mirrored."""
    rows = flat.flatten(1).index_select(0, frames.flatten())
    windows = rows.view(*frames.shape, *flat.shape[1:])
    if num_plain < len(windows):
        windows[num_plain:] = mirror_pose(windows[num_plain:])
    return windows


class WindowedPoses:
    """The windows of one or several stores, numbered through.

    Attributes:
        parts: each store with the index of its windows.
        frames: T, frames of a window.
    """

    def __init__(self, parts: Sequence[tuple[PoseStore, WindowRule]]) -> None:
        """Index the windows of some stores.

        Args:
            parts: the stores, on one device, each with its own rule; T is the same in all.
        """
        self.parts = [
            (store, WindowIndex(store.offsets, rule, store.counted)) for store, rule in parts
        ]
        self.ends = torch.tensor([len(index) for _, index in self.parts]).cumsum(0)
        self.starts = [0, *self.ends.tolist()]
        self.frames = parts[0][1].frames

    def __len__(self) -> int:
        return self.starts[-1]

    def samples_of(self, part: int) -> range:
        """The numbers of the windows of one store."""
        return range(self.starts[part], self.starts[part + 1])

    def windows(self, samples: Tensor) -> "Chosen":
        """Some windows, each on the device of its store.

        Args:
            samples: (B,) int64 on CPU, numbers below the number of windows.

        Returns:
            The windows, grouped by store.
        """
        part_of = torch.searchsorted(self.ends, samples, right=True)
        return Chosen(
            [
                (store, index.windows(mine - start).to(store.device))
                for number, ((store, index), start) in enumerate(
                    zip(self.parts, self.starts[:-1], strict=True)
                )
                if len(mine := samples[part_of == number])
            ]
        )

    def sequences_of(self, samples: Tensor) -> list[str]:
        """The sequences that some windows (B,) are cut from, each named once."""
        return [
            str(store.names[number])
            for store, windows in self.windows(samples).parts
            for number in windows.sequences.unique().tolist()
        ]


@dataclass(frozen=True)
class Chosen:
    """A batch of windows, those of each store together.

    Attributes:
        parts: stores and the windows chosen from them.
    """

    parts: list[tuple[PoseStore, Windows]]

    def __len__(self) -> int:
        return sum(len(windows) for _, windows in self.parts)

    def window_2d(self) -> Tensor:
        """(B, T, J, 2) screen coordinates."""
        return _joined([store.window_2d(windows) for store, windows in self.parts])

    def window_3d(self) -> Tensor:
        """(B, T, J, 3) metres, joint 0 the root's position."""
        return _joined([store.window_3d(windows) for store, windows in self.parts])

    def cameras(self) -> Tensor:
        """(B, 9) intrinsics; every store has them."""
        return _joined([store.window_cameras(windows) for store, windows in self.parts])


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


@dataclass(frozen=True)
class Source:
    """A sequence that a file holds, before it is read into a store.

    Attributes:
        name: where it comes from.
        length: L, its frames in the file.
        read: frames to keep (a slice of L) -> 2D poses (L', J, 2), 3D poses (L', J, 3) as in
            `PoseStore`.
        camera: (9,) intrinsics, if the file holds them.
        counted: (L,) bool, the frames that a test counts; None for all.
        activities: (L,) int64, if the file says.
    """

    name: SequenceName
    length: int
    read: Callable[[slice], tuple[Tensor, Tensor]]
    camera: Tensor | None = None
    counted: Tensor | None = None
    activities: Tensor | None = None


def build_store(
    sources: Sequence[Source],
    *,
    num_joints: int,
    path_2d: Path,
    path_3d: Path,
    downsample: int = 1,
    subset: float = 1.0,
    max_frames: int | None = None,
    unknown_3d: bool = False,
) -> PoseStore:
    """Read sequences into flat tensors.

    Args:
        sources: the sequences, at least one; either all or none have a camera.
        num_joints: J.
        path_2d: where 2D poses come from, for messages.
        path_3d: where 3D poses come from.
        downsample: keep every n-th frame.
        subset: keep this share of each sequence, one run of frames at a place that depends on its
            name only.
        max_frames: keep only so many frames of the store (`--debug`); None for all.
        unknown_3d: accept sequences whose 3D is NaN throughout: there is none.

    Returns:
        The store, on CPU.

    Raises:
        UserError: a pose is not finite; the message names the place.
    """
    kept = [_kept_frames(s.name, s.length, downsample=downsample, subset=subset) for s in sources]
    lengths = [len(range(*k.indices(s.length))) for k, s in zip(kept, sources, strict=True)]
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    pose_2d = torch.empty(int(offsets[-1]), num_joints, 2)
    pose_3d = torch.empty(int(offsets[-1]), num_joints, 3)
    bounds = offsets.tolist()
    for source, frames, start, stop in zip(sources, kept, bounds[:-1], bounds[1:], strict=True):
        pose_2d[start:stop], pose_3d[start:stop] = source.read(frames)

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

    counted = frame_by_frame([s.counted for s in sources], 1)
    cameras = [source.camera for source in sources if source.camera is not None]
    store = PoseStore(
        pose_2d=pose_2d,
        pose_3d=pose_3d,
        cameras=torch.stack(cameras) if cameras else None,
        offsets=offsets,
        names=[source.name for source in sources],
        frame_step=downsample,
        first_frames=[frames.start for frames in kept],
        counted=None if counted is None else counted.bool(),
        activities=frame_by_frame([s.activities for s in sources], -1),
    )
    _check_finite(store, store.pose_2d, path_2d, unknown=False)
    _check_finite(store, store.pose_3d, path_3d, unknown=unknown_3d)
    return store if max_frames is None else store.head(max_frames)


def _kept_frames(name: SequenceName, length: int, *, downsample: int, subset: float) -> slice:
    """The frames of a sequence that --downsample and --subset keep; the same for all cameras."""
    count = length
    start = 0
    if subset < 1:
        count = max(round(length // downsample * subset), 1) * downsample
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
