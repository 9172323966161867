"""Rotations of points and poses."""

import math

import torch
from torch import Tensor


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
