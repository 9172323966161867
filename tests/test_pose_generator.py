"""The PoseAug generator against golden numbers and the properties that its changes have."""

import json

import pytest
import torch
from goldens import filled
from paths import GOLDEN
from poseaug import CAMERA, POSES, WANT, fresh, generate, rng

from Augpart import bones
from Augpart.augment import in_view
from Augpart.discriminators import BoneDiscriminator, ScreenDiscriminator
from Augpart.pose_generator import GeneratorNoise, PoseGenerator
from common.data.camera import project
from common.data.rotations import rotation_matrix
from common.data.skeleton import H36M_16

CONTRACT = json.loads((GOLDEN / "state_dict_contract.json").read_text())["generator/joints=16"]
TRUNK = [6, 7]


def test_state_dict_is_the_contract():
    state = PoseGenerator().state_dict()
    assert {name: list(t.shape) for name, t in state.items()} == CONTRACT
    assert list(state) == list(CONTRACT)


def test_forward():
    kinds = ("bone_angle", "bone_length", "rotation", "translation")
    noise = GeneratorNoise(*(WANT[f"noise_{kind}"] for kind in kinds))
    with torch.inference_mode():
        result = filled(PoseGenerator())(POSES, noise=noise)
    got = {
        "pose_bone_angle": result.bone_angle,
        "pose_bone_length": result.bone_length,
        "pose_rigid": result.moved,
        "bone_angle_difference": result.angle_difference.flatten(0, 1),
        # The golden file repeats these for every frame.
        "bone_length_ratio": result.length_ratios.repeat_interleave(9, 0),
        "axis_angle": result.axis_angle.repeat_interleave(9, 0),
        "translation": result.translation.repeat_interleave(9, 0).unsqueeze(1),
        "projected_2d": project(result.moved, CAMERA),
    }
    for name, tensor in got.items():
        # Bodies are at the camera here: dividing by a depth near 0 enlarges the rounding.
        atol = 1e-4 if name == "projected_2d" else 1e-5
        torch.testing.assert_close(tensor, WANT[name], rtol=1e-4, atol=atol, msg=name)


@pytest.mark.parametrize("seed", range(3))
def test_turned_bones_keep_their_lengths_and_the_trunk(seed):
    result = generate(seed)
    before, after = bones.bones_of(POSES), bones.bones_of(result.bone_angle)
    torch.testing.assert_close(bones.bone_lengths(after), bones.bone_lengths(before))
    torch.testing.assert_close(after[..., TRUNK, :], before[..., TRUNK, :])
    assert torch.equal(result.bone_angle[..., 0, :], POSES[..., 0, :])
    cosine = torch.cosine_similarity(before, after, dim=-1)
    torch.testing.assert_close(result.angle_difference, 1 - cosine, atol=1e-5, rtol=0)
    turned = [bone for bone in range(15) if bone not in TRUNK]
    assert result.angle_difference[..., turned].mean() > 0.01


@pytest.mark.parametrize("limit", [0.15, 0.3])
def test_stretched_bones_keep_directions_and_symmetry(limit):
    result = generate(length_limit=limit)
    before, after = bones.bones_of(result.bone_angle), bones.bones_of(result.bone_length)
    torch.testing.assert_close(
        bones.bone_directions(after), bones.bone_directions(before), atol=1e-5, rtol=0
    )
    factors = bones.bone_lengths(after) / bones.bone_lengths(before)  # (3, 9, 15)
    skeleton = H36M_16
    for left, right in zip(skeleton.left, skeleton.right, strict=True):
        torch.testing.assert_close(factors[..., left - 1], factors[..., right - 1])
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))  # all frames alike
    for ratio, bone in enumerate((0, 1, 2, 6, 7, 8, 9, 10, 11)):
        torch.testing.assert_close(factors[:, 0, bone], 1 + result.length_ratios[:, ratio])
    assert (factors - 1).abs().max() <= limit * (1 + 1e-5)
    assert (factors - 1).abs().max() > limit / 10
    assert not result.length_ratios[:, 4].any()


def test_the_length_limit_is_reached_and_not_passed():
    module = PoseGenerator(length_limit=0.2).eval()
    with torch.no_grad():
        module.BLprocess.get_submodule("w2_BL").bias.fill_(100)
        result = module(POSES, noise=GeneratorNoise.draw(3, rng()))
    changed = [0, 1, 2, 3, 5, 6, 7, 8]
    torch.testing.assert_close(result.length_ratios[:, changed], torch.full((3, 8), 0.2))


@pytest.mark.parametrize("seed", range(3))
def test_moving_is_rigid(seed):
    result = generate(seed)
    before, after = result.bone_length, result.moved
    translation = result.translation[:, None].expand(3, 9, 3)
    torch.testing.assert_close(after[..., 0, :], translation, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        torch.cdist(after.double(), after.double()),
        torch.cdist(before.double(), before.double()),
        atol=1e-5,
        rtol=1e-5,
    )
    rotation = rotation_matrix(result.axis_angle)
    for sequence in range(3):
        for frame in range(9):
            for joint in range(16):
                offset = before[sequence, frame, joint] - before[sequence, frame, 0]
                want = rotation[sequence] @ offset + result.translation[sequence]
                got = after[sequence, frame, joint]
                torch.testing.assert_close(got, want, atol=1e-5, rtol=0)
    assert (result.translation[:, 2] >= 0).all()
    assert (result.axis_angle.abs() <= 3.1415).all()


def test_decisions_come_from_frame_0_its_root_left_out():
    module, noise = fresh(), GeneratorNoise.draw(3, rng())
    other = POSES.clone()
    other[:, 1:] = other[:, 1:].flip(1)  # other frames, other order
    with torch.no_grad():
        one, two = module(POSES, noise=noise), module(other, noise=noise)
        three = module(POSES + torch.tensor([1.0, 2.0, 3.0]), noise=noise)
    for result in (two, three):
        torch.testing.assert_close(result.length_ratios, one.length_ratios, atol=1e-5, rtol=0)
        torch.testing.assert_close(result.axis_angle, one.axis_angle, atol=1e-5, rtol=0)
    torch.testing.assert_close(three.moved, one.moved, atol=1e-4, rtol=0)


def test_noise_is_drawn_in_order_and_anew():
    one, two = rng(7), rng(7)
    noise = GeneratorNoise.draw(5, one)
    for kind in ("bone_angle", "bone_length", "rotation", "translation"):
        assert torch.equal(getattr(noise, kind), torch.randn(5, 48, generator=two))
    assert not torch.equal(noise.bone_angle, GeneratorNoise.draw(5, one).bone_angle)


def test_each_noise_reaches_its_decision_only():
    module = fresh()
    base = vars(GeneratorNoise.draw(3, rng(1)))
    decisions = {
        "bone_angle": "angle_difference",
        "bone_length": "length_ratios",
        "rotation": "axis_angle",
        "translation": "translation",
    }
    with torch.no_grad():
        first = module(POSES, noise=GeneratorNoise(**base))
        for kind in base:
            second = module(POSES, noise=GeneratorNoise(**{**base, kind: base[kind] + 1}))
            changed = {
                k
                for k, d in decisions.items()
                if not torch.allclose(getattr(first, d), getattr(second, d), atol=1e-5)
            }
            assert changed == {kind}


def test_bodies_are_at_the_camera_until_they_are_moved_away():
    poses, camera, noise_rng = POSES.repeat(100, 1, 1, 1), CAMERA.repeat(100, 1), rng()
    depths = [None, 2.0, 5.0, 8.0]
    found = torch.zeros(5, len(depths), 2)  # of 5 seeds: mean depth; share of bodies in view
    for seed in range(5):
        module = fresh(seed)
        for number, depth in enumerate(depths):
            if depth is not None:
                module.move_away(depth)
            with torch.no_grad():
                result = module(poses, noise=GeneratorNoise.draw(len(poses), noise_rng))
            seen = in_view(result.moved, project(result.moved, camera))
            found[seed, number, 0] = result.translation[:, 2].mean()
            found[seed, number, 1] = seen.float().mean()
    mean_depths, seen_shares = found.mean(0).unbind(-1)
    assert 0 <= mean_depths[0] < 0.3 and seen_shares[0] < 0.02
    assert mean_depths[1:].tolist() == pytest.approx([2.0, 5.0, 8.0], rel=0.25)
    assert seen_shares[2] > 0.8  # at 5 m, where training begins


@pytest.mark.parametrize("depth", [0.5, 5.0, 12.0])
def test_move_away_changes_depth_only(depth):
    module, noise = fresh(), GeneratorNoise.draw(3, rng())
    with torch.no_grad():
        near = module(POSES, noise=noise)
        module.move_away(depth)
        away = module(POSES, noise=noise)
        module.RTprocess.get_submodule("w2_T").weight[2] = 0
        bias_alone = module(POSES, noise=noise).translation
    for name in ("bone_angle", "bone_length", "angle_difference", "length_ratios", "axis_angle"):
        assert torch.equal(getattr(away, name), getattr(near, name)), name
    assert torch.equal(away.translation[:, :2], near.translation[:, :2])
    assert (away.translation[:, 2] != near.translation[:, 2]).all()
    torch.testing.assert_close(bias_alone[:, 2], torch.full((3,), depth))


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    module = PoseGenerator().train()
    module.move_away(5.0)
    result = module(POSES[:, :1], noise=GeneratorNoise.draw(3, rng()))
    loss = ScreenDiscriminator()(project(result.moved, CAMERA)[:, 0]).mean()
    loss = loss + BoneDiscriminator()(result.bone_angle[:, 0]).mean()
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if name.endswith("weight"):  # a bias before a batch norm has no influence
            assert parameter.grad.abs().max() > 1e-6, name
