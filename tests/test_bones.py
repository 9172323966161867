"""Bones and rotations against their definition."""

import math

import pytest
import torch
from poseaug import POSES, rng

from Augpart import bones
from common.data.rotations import rotation_matrix


def test_bones_are_those_of_the_specification():
    assert bones.PARENTS == (0, 1, 2, 0, 4, 5, 0, 7, 8, 8, 10, 11, 8, 13, 14)
    vectors = bones.bones_of(POSES)
    for bone, parent in enumerate(bones.PARENTS):
        want = POSES[..., parent, :] - POSES[..., bone + 1, :]
        assert torch.equal(vectors[..., bone, :], want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_poses_are_rebuilt_from_their_bones(dtype):
    pose = POSES.to(dtype)
    rebuilt = bones.pose_from_bones(bones.bones_of(pose), pose[..., :1, :])
    torch.testing.assert_close(rebuilt, pose)
    flat = pose[..., :2]
    torch.testing.assert_close(bones.pose_from_bones(bones.bones_of(flat), flat[..., :1, :]), flat)


def test_bone_lengths_of_another_body():
    lengths = torch.rand(15, generator=rng()) + 0.1
    result = bones.with_bone_lengths(POSES, lengths)
    before, after = bones.bones_of(POSES), bones.bones_of(result)
    torch.testing.assert_close(bones.bone_lengths(after), lengths.expand(3, 9, 15))
    torch.testing.assert_close(
        bones.bone_directions(after), bones.bone_directions(before), atol=1e-5, rtol=0
    )
    assert torch.equal(result[..., 0, :], POSES[..., 0, :])
    own = bones.with_bone_lengths(POSES, bones.bone_lengths(before))
    torch.testing.assert_close(own, POSES)


@pytest.mark.parametrize("scale", [0.0, 1e-8, 1e-3, 1.0, 3.0, math.pi, 7.0])
def test_rotation_is_the_matrix_exponential(scale):
    axis_angle = torch.randn(50, 3, generator=rng(), dtype=torch.float64)
    axis_angle *= scale / axis_angle.norm(dim=-1, keepdim=True)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    rotation = rotation_matrix(axis_angle)
    torch.testing.assert_close(rotation, torch.matrix_exp(torch.stack(rows, -2)))
    identity = torch.eye(3, dtype=torch.float64).expand(50, 3, 3)
    torch.testing.assert_close(rotation @ rotation.mT, identity)
    torch.testing.assert_close(torch.linalg.det(rotation), identity[:, 0, 0])
    single = rotation_matrix(axis_angle.float())
    torch.testing.assert_close(single, rotation.float(), atol=2e-6, rtol=0)


def test_rotation_has_its_gradient_at_angle_zero():
    jacobian = torch.autograd.functional.jacobian(rotation_matrix, torch.zeros(3))
    want = torch.zeros(3, 3, 3)  # the Levi-Civita symbol, negated
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        want[i, j, k], want[j, i, k] = -1, 1
    assert torch.equal(jacobian, want)
