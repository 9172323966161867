"""The 15 bones of the 16-joint skeleton: poses to bone vectors and back.

Bone i leads from joint i + 1 to its parent: parent - child. Any leading dimensions.
"""

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
