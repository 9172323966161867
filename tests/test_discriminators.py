"""The discriminators of PoseAug against their formulas."""

import numpy as np
import pytest
import torch
from poseaug import POSES, WANT, rng

from Augpart import bones
from Augpart.discriminators import PARTS, BoneDiscriminator, ScreenDiscriminator
from common.data.rotations import rotation_matrix
from common.data.skeleton import H36M_16


@pytest.fixture(autouse=True)
def same_weights():
    """Discriminators begin with the same weights in every run."""
    torch.manual_seed(1)


def test_parts_hold_the_bones_of_their_limbs():
    assert [set(part) for part in PARTS.values()] == [
        {0, 3, 6, 7, 8, 9, 12},
        {0, 3, 4, 5, 6},
        {0, 1, 2, 3, 6},
        {7, 9, 10, 11},
        {7, 12, 13, 14},
    ]
    names = H36M_16.joint_names
    for part in ("left leg", "right leg", "left arm", "right arm"):
        side, limb = part.split()
        for ending in {"leg": ("knee", "foot"), "arm": ("elbow", "wrist")}[limb]:
            assert names.index(f"{side} {ending}") - 1 in PARTS[part]


def test_bone_discriminator_sees_directions_only():
    discriminator, pose = BoneDiscriminator(), POSES[:, 0]
    scores = discriminator(pose)
    assert scores.shape == (3, 5)
    longer = bones.bones_of(pose) * (torch.rand(3, 15, 1, generator=rng()) + 0.5)
    elsewhere = bones.pose_from_bones(longer, torch.full((3, 1, 3), 2.0))
    torch.testing.assert_close(discriminator(elsewhere), scores, atol=1e-5, rtol=0)
    rotation = rotation_matrix(torch.tensor([0.3, -1.0, 2.0]))
    torch.testing.assert_close(discriminator(pose @ rotation.mT), scores, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bone", range(15))
def test_each_score_looks_at_its_part_only(bone):
    discriminator, pose = BoneDiscriminator(), POSES[:1, 0]
    vectors = bones.bones_of(pose)
    vectors[:, bone] = vectors[:, bone].roll(1, -1) + 0.1
    changed = discriminator(bones.pose_from_bones(vectors, pose[:, :1])) - discriminator(pose)
    want = [bone in part for part in PARTS.values()]
    assert (changed.abs() > 1e-5)[0].tolist() == want


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def linear(layer, x):
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def test_bone_discriminator_is_the_formula():
    discriminator, pose = BoneDiscriminator(), POSES[:, 0]
    directions = bones.bones_of(pose).numpy()
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    for number, (part, numbers) in enumerate(zip(discriminator.parts, PARTS.values(), strict=True)):
        kept = np.zeros_like(directions)
        kept[:, list(numbers)] = directions[:, list(numbers)]
        one = leaky(linear(part.first, (kept @ kept.transpose(0, 2, 1)).reshape(3, 225)))
        three = linear(part.third, leaky(linear(part.second, one))) + one
        score = linear(part.score, leaky(linear(part.fourth, three)))
        np.testing.assert_allclose(discriminator(pose)[:, number, None].detach(), score, atol=1e-5)
    assert [part.fourth.out_features for part in discriminator.parts] == [100] * 5


def test_screen_discriminator_is_the_formula():
    discriminator, pose = ScreenDiscriminator(), WANT["projected_2d"][:, 0]
    one = leaky(linear(discriminator.first, pose.numpy().reshape(3, 32)))
    three = leaky(linear(discriminator.third, leaky(linear(discriminator.second, one))) + one)
    five = leaky(linear(discriminator.fifth, linear(discriminator.fourth, three)))
    scores = discriminator(pose).detach()
    np.testing.assert_allclose(scores, linear(discriminator.score, five), atol=1e-5)
    assert scores.shape == (3, 1)
