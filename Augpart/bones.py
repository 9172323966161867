"""The 15 bones of the 16-joint skeleton: poses to bone vectors and back.

Bone i leads from joint i + 1 to its parent: parent - child. Any leading dimensions.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from common.data.skeleton import H36M_16

NUM_JOINTS = H36M_16.num_joints
PARENTS = H36M_16.parents[1:]
NUM_BONES = len(PARENTS)


def bones_of(pose: Tensor) -> Tensor:
    """The bone vectors (..., 15, C) of poses (..., 16, C), wherever their root is."""
    joints = pose.unbind(-2)
    return torch.stack([joints[parent] for parent in PARENTS], dim=-2) - pose[..., 1:, :]


def pose_from_bones(bones: Tensor, root: Tensor) -> Tensor:
    """Rebuild poses; the inverse of `bones_of`.

    Args:
        bones: (..., 15, C), parent - child.
        root: (..., 1, C) position of joint 0, broadcast against the bones.

    Returns:
        (..., 16, C) in the space of the root.
    """
    joints = [root.squeeze(-2).expand_as(bones[..., 0, :])]
    for parent, bone in zip(PARENTS, bones.unbind(-2), strict=True):
        joints.append(joints[parent] - bone)
    return torch.stack(joints, dim=-2)


def bone_lengths(bones: Tensor) -> Tensor:
    """Lengths (..., 15) of bone vectors (..., 15, C)."""
    return torch.linalg.vector_norm(bones, dim=-1)


def bone_directions(bones: Tensor) -> Tensor:
    """Unit vectors along bones (..., 15, C); a bone without length keeps none."""
    return F.normalize(bones, dim=-1)


def with_bone_lengths(pose: Tensor, lengths: Tensor) -> Tensor:
    """Give poses the bone lengths of another body; directions and roots stay.

    Args:
        pose: (..., 16, 3) metres, any space.
        lengths: (15,) or (..., 15) metres.

    Returns:
        (..., 16, 3) in the space of `pose`.
    """
    bones = bone_directions(bones_of(pose)) * lengths.unsqueeze(-1)
    return pose_from_bones(bones, pose[..., :1, :])


def rotation_matrix(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula, written so that values and gradients are exact at angle zero too.

    Args:
        axis_angle: (..., 3), axis times angle in radians.

    Returns:
        (..., 3, 3); applied to column vectors.
    """
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    axis = axis_angle.unsqueeze(-2).expand(*axis_angle.shape[:-1], 3, 3)
    # Row i is axis x e_i, column i of the matrix that takes the cross product with the axis.
    cross = torch.linalg.cross(axis, identity.expand_as(axis)).mT
    angle = torch.linalg.vector_norm(axis_angle, dim=-1)[..., None, None]
    sine = torch.sinc(angle / math.pi)  # sin(angle) / angle
    half_sine = torch.sinc(angle / (2 * math.pi))  # sin(angle / 2) / (angle / 2)
    return identity + sine * cross + half_sine.square() / 2 * (cross @ cross)
