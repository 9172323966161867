"""Operations on poses of any leading shape: root centring, mirroring, flip testing, distances."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from common.data.skeleton import Skeleton

MIRRORED_CAMERA_ENTRIES = (2, 7)  # principal point x, first tangential coefficient


def with_zero_root(pose: Tensor) -> Tensor:
    """A copy of predicted poses (..., J, C) with joint 0 at the origin, the others as they are."""
    pose = pose.clone()
    pose[..., 0, :] = 0
    return pose


def centre_on_root(pose: Tensor) -> Tensor:
    """Every joint of (..., J, C) relative to joint 0, which is at the origin."""
    return pose - pose[..., :1, :]


def joint_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """Euclidean distances (..., J) between two poses (..., J, C), in their unit."""
    return torch.linalg.vector_norm(predicted - target, dim=-1)


def mirror_pose(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """Mirror (..., J, C) left to right: negate x, swap the joints of the two sides."""
    joints, coordinates = pose.shape[-2:]
    columns, signs = _mirror_columns(skeleton, coordinates, pose.device)
    # As a matrix of flat frames: much faster than along the joints, rows of 2 or 3 numbers.
    frames = pose.reshape(-1, joints * coordinates)
    return frames.index_select(1, columns).mul_(signs).view(pose.shape)


def mirror_mask(mask: Tensor, skeleton: Skeleton) -> Tensor:
    """Swap the sides in a joint mask (..., J)."""
    return mask.index_select(-1, _mirror_order(skeleton, mask.device))


# Copied to a device once: the host waits for it whenever it copies anew.
@cache
def _mirror_order(skeleton: Skeleton, device: torch.device) -> Tensor:
    """(J,) int64, the joint of the other side of each."""
    return torch.tensor(skeleton.mirror_order).to(device)


@cache
def _mirror_columns(
    skeleton: Skeleton, coordinates: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """For each of the J * C numbers of a flat frame: where it comes from, and its sign."""
    order = torch.tensor(skeleton.mirror_order).unsqueeze(1)
    columns = (order * coordinates + torch.arange(coordinates)).flatten()
    signs = torch.ones(skeleton.num_joints, coordinates)
    signs[:, 0] = -1
    return columns.to(device), signs.flatten().to(device)


def mirror_camera(camera: Tensor) -> Tensor:
    """Mirror (..., 9) intrinsics to match mirrored poses."""
    return camera * _camera_signs(camera.device)


@cache
def _camera_signs(device: torch.device) -> Tensor:
    """(9,) float32, by which mirroring multiplies the intrinsics."""
    return torch.tensor([-1.0 if i in MIRRORED_CAMERA_ENTRIES else 1.0 for i in range(9)]).to(
        device
    )


def predict_with_flip(
    predict: Callable[[Tensor], Tensor], pose: Tensor, skeleton: Skeleton
) -> Tensor:
    """Average a prediction with that of the mirrored input, both in one batch.

    Args:
        predict: maps (B, ..., J, C) to (B, ..., J, 3).
        pose: (B, ..., J, C).
        skeleton: of both.

    Returns:
        (B, ..., J, 3), the mean of the plain and the mirrored-back prediction.
    """
    plain, mirrored = predict(torch.cat([pose, mirror_pose(pose, skeleton)])).chunk(2)
    return (plain + mirror_pose(mirrored, skeleton)) / 2
