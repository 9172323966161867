"""Operations on poses of any leading shape: centring on the root, mirroring, flip testing."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from common.data.skeleton import SKELETONS

MIRRORED_CAMERA_ENTRIES = (2, 7)  # principal point x, first tangential coefficient


def with_zero_root(pose: Tensor) -> Tensor:
    """A copy of (..., J, C) with joint 0 at the origin, the other joints left as they are."""
    pose = pose.clone()
    pose[..., 0, :] = 0
    return pose


def relative_to_root(pose: Tensor) -> Tensor:
    """(..., J, C) with every joint but the root relative to it; the root keeps its position."""
    return torch.cat([pose[..., :1, :], pose[..., 1:, :] - pose[..., :1, :]], dim=-2)


def centre_on_root(pose: Tensor) -> Tensor:
    """Every joint of (..., J, C) relative to joint 0, which is at 0."""
    return pose - pose[..., :1, :]


def at_its_position(pose: Tensor) -> Tensor:
    """The inverse of `relative_to_root`: every joint of (..., J, C) at its own position."""
    return torch.cat([pose[..., :1, :], pose[..., 1:, :] + pose[..., :1, :]], dim=-2)


def mirror_pose(pose: Tensor) -> Tensor:
    """Mirror (..., J, C) left to right: negate x, swap the joints of the two sides."""
    joints, coordinates = pose.shape[-2:]
    columns, signs = _mirror_columns(joints, coordinates, pose.device)
    # As a matrix of flat frames: much faster than along the joints, rows of 2 or 3 numbers.
    frames = pose.reshape(-1, joints * coordinates)
    return frames.index_select(1, columns).mul_(signs).view(pose.shape)


def mirror_mask(mask: Tensor) -> Tensor:
    """Swap the sides in a joint mask (..., J)."""
    order = torch.tensor(SKELETONS[mask.shape[-1]].mirror_order, device=mask.device)
    return mask.index_select(-1, order)


@cache
def _mirror_columns(joints: int, coordinates: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each of the J * C numbers of a flat frame: where it comes from, and its sign."""
    order = torch.tensor(SKELETONS[joints].mirror_order).unsqueeze(1)
    columns = (order * coordinates + torch.arange(coordinates)).flatten()
    signs = torch.ones(joints, coordinates)
    signs[:, 0] = -1
    return columns.to(device), signs.flatten().to(device)


def mirror_camera(camera: Tensor) -> Tensor:
    """Mirror (..., 9) intrinsics to match mirrored poses."""
    mirrored = camera.clone()
    mirrored[..., MIRRORED_CAMERA_ENTRIES] *= -1
    return mirrored


def predict_with_flip(predict: Callable[[Tensor], Tensor], pose: Tensor) -> Tensor:
    """Average a prediction with that of the mirrored input, both in one batch.

    Args:
        predict: maps (B, ..., J, C) to (B, ..., J, 3).
        pose: (B, ..., J, C).

    Returns:
        (B, ..., J, 3), the mean of the plain and the mirrored-back prediction.
    """
    plain, mirrored = predict(torch.cat([pose, mirror_pose(pose)])).chunk(2)
    return (plain + mirror_pose(mirrored)) / 2
