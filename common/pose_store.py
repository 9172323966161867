"""All poses of a data set in flat tensors; a batch is one gather."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.pose_ops import mirror_camera, mirror_pose
from common.windows import Windows


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
        cameras: (S, 9) float32 intrinsics of each sequence.
        offsets: (S + 1,) int64 on CPU; sequence s holds frames offsets[s] to offsets[s + 1] - 1.
        names: S names.
        frame_step: every n-th frame of the file was kept (`--downsample`).
        first_frames: S numbers, the frame of the file that each sequence starts with (`--subset`).
    """

    pose_2d: Tensor
    pose_3d: Tensor
    cameras: Tensor
    offsets: Tensor
    names: list[SequenceName]
    frame_step: int
    first_frames: list[int]

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
            cameras=self.cameras.to(device),
        )

    def head(self, num_frames: int) -> "PoseStore":
        """The first `num_frames` frames only (`--debug`)."""
        offsets = self.offsets.clamp(max=num_frames).unique()
        count = len(offsets) - 1
        return replace(
            self,
            pose_2d=self.pose_2d[: offsets[-1]],
            pose_3d=self.pose_3d[: offsets[-1]],
            cameras=self.cameras[:count],
            offsets=offsets,
            names=self.names[:count],
            first_frames=self.first_frames[:count],
        )

    def sequence_slices(self) -> list[slice]:
        """The frames of each sequence."""
        bounds = self.offsets.tolist()
        return [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]

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
