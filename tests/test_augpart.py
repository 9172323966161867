"""PoseAug: generators against golden numbers, losses and pool against their definition."""

import json
import math
import os

import numpy as np
import pytest
import torch
from goldens import filled, golden
from hostile import Calls
from paths import GOLDEN
from torch import nn

from Augpart import adversarial, augment, bones
from Augpart import discriminators as critics
from Augpart.draw import draw_stages
from Augpart.pose_generator import GeneratorNoise, PoseGenerator
from common.data.camera import project
from common.data.skeleton import SKELETONS
from common.errors import UserError

CONTRACT = json.loads((GOLDEN / "state_dict_contract.json").read_text())["generator/joints=16"]
WANT = golden("generator_forward.npz", "")
POSES, CAMERA = WANT["pose_3d_camera"], WANT["camera"]  # (3, 9, 16, 3), 5 m away
TRUNK = [6, 7]


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def fresh(seed=0, **options):
    """A generator at the start of its training, with the statistics of the golden poses."""
    torch.manual_seed(seed)
    module = PoseGenerator(**options)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.momentum = 1.0
    with torch.no_grad():
        poses = POSES.repeat(50, 1, 1, 1)
        module(poses, noise=GeneratorNoise.draw(len(poses), source(seed)))
    return module.eval()


def generate(seed=0, **options):
    """What such a generator makes of the golden poses."""
    module = fresh(seed, **options)
    with torch.no_grad():
        return module(POSES, noise=GeneratorNoise.draw(len(POSES), source(seed)))


# ---- golden numbers


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


# ---- bones and rotations


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
    lengths = torch.rand(15, generator=source()) + 0.1
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
    axis_angle = torch.randn(50, 3, generator=source(), dtype=torch.float64)
    axis_angle *= scale / axis_angle.norm(dim=-1, keepdim=True)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    rotation = bones.rotation_matrix(axis_angle)
    torch.testing.assert_close(rotation, torch.matrix_exp(torch.stack(rows, -2)))
    identity = torch.eye(3, dtype=torch.float64).expand(50, 3, 3)
    torch.testing.assert_close(rotation @ rotation.mT, identity)
    torch.testing.assert_close(torch.linalg.det(rotation), identity[:, 0, 0])
    single = bones.rotation_matrix(axis_angle.float())
    torch.testing.assert_close(single, rotation.float(), atol=2e-6, rtol=0)


def test_rotation_has_its_gradient_at_angle_zero():
    jacobian = torch.autograd.functional.jacobian(bones.rotation_matrix, torch.zeros(3))
    want = torch.zeros(3, 3, 3)  # the Levi-Civita symbol, negated
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        want[i, j, k], want[j, i, k] = -1, 1
    assert torch.equal(jacobian, want)


# ---- properties of the generator


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
    skeleton = SKELETONS[16]
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
        result = module(POSES, noise=GeneratorNoise.draw(3, source()))
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
    rotation = bones.rotation_matrix(result.axis_angle)
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
    module, noise = fresh(), GeneratorNoise.draw(3, source())
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
    one, two = source(7), source(7)
    noise = GeneratorNoise.draw(5, one)
    for kind in ("bone_angle", "bone_length", "rotation", "translation"):
        assert torch.equal(getattr(noise, kind), torch.randn(5, 48, generator=two))
    assert not torch.equal(noise.bone_angle, GeneratorNoise.draw(5, one).bone_angle)


def test_each_noise_reaches_its_decision_only():
    module = fresh()
    base = vars(GeneratorNoise.draw(3, source(1)))
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


def test_gradients_reach_every_parameter():
    module = PoseGenerator().train()
    result = module(POSES[:, :1], noise=GeneratorNoise.draw(3, source()))
    loss = critics.ScreenCritic()(project(result.moved, CAMERA)[:, 0]).mean()
    loss = loss + critics.BoneCritic()(result.bone_angle[:, 0]).mean()
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if name.endswith("weight"):  # a bias before a batch norm has no influence
            assert parameter.grad.abs().max() > 1e-6, name


# ---- critics


def test_parts_are_those_of_the_issue():
    assert [set(part) for part in critics.PARTS.values()] == [
        {0, 3, 6, 7, 8, 9, 12},
        {0, 3, 4, 5, 6},
        {0, 1, 2, 3, 6},
        {7, 9, 10, 11},
        {7, 12, 13, 14},
    ]
    names = SKELETONS[16].joint_names
    for part in ("left leg", "right leg", "left arm", "right arm"):
        side, limb = part.split()
        for ending in {"leg": ("knee", "foot"), "arm": ("elbow", "wrist")}[limb]:
            assert names.index(f"{side} {ending}") - 1 in critics.PARTS[part]


def test_bone_critic_sees_directions_only():
    critic, pose = critics.BoneCritic(), POSES[:, 0]
    scores = critic(pose)
    assert scores.shape == (3, 5)
    longer = bones.bones_of(pose) * (torch.rand(3, 15, 1, generator=source()) + 0.5)
    elsewhere = bones.pose_from_bones(longer, torch.full((3, 1, 3), 2.0))
    torch.testing.assert_close(critic(elsewhere), scores, atol=1e-5, rtol=0)
    rotation = bones.rotation_matrix(torch.tensor([0.3, -1.0, 2.0]))
    torch.testing.assert_close(critic(pose @ rotation.mT), scores, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bone", range(15))
def test_each_score_looks_at_its_part_only(bone):
    critic, pose = critics.BoneCritic(), POSES[:1, 0]
    vectors = bones.bones_of(pose)
    vectors[:, bone] = vectors[:, bone].roll(1, -1) + 0.1
    changed = critic(bones.pose_from_bones(vectors, pose[:, :1])) - critic(pose)
    want = [bone in part for part in critics.PARTS.values()]
    assert (changed.abs() > 1e-5)[0].tolist() == want


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def linear(layer, x):
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def test_bone_critic_is_the_formula():
    critic, pose = critics.BoneCritic(), POSES[:, 0]
    directions = bones.bones_of(pose).numpy()
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    for number, (part, numbers) in enumerate(
        zip(critic.parts, critics.PARTS.values(), strict=True)
    ):
        kept = np.zeros_like(directions)
        kept[:, list(numbers)] = directions[:, list(numbers)]
        one = leaky(linear(part.first, (kept @ kept.transpose(0, 2, 1)).reshape(3, 225)))
        three = linear(part.third, leaky(linear(part.second, one))) + one
        score = linear(part.score, leaky(linear(part.fourth, three)))
        np.testing.assert_allclose(critic(pose)[:, number, None].detach(), score, atol=1e-5)
    assert [part.fourth.out_features for part in critic.parts] == [100] * 5


def test_screen_critic_is_the_formula():
    critic, pose = critics.ScreenCritic(), WANT["projected_2d"][:, 0]
    one = leaky(linear(critic.first, pose.numpy().reshape(3, 32)))
    three = leaky(linear(critic.third, leaky(linear(critic.second, one))) + one)
    five = leaky(linear(critic.fifth, linear(critic.fourth, three)))
    scores = critic(pose).detach()
    np.testing.assert_allclose(scores, linear(critic.score, five), atol=1e-5)
    assert scores.shape == (3, 1)


# ---- losses


def naive_outside(values, centre, band):
    return [(v - centre) ** 2 if abs(v - centre) > band else 0.0 for v in values]


def test_least_squares_losses():
    real, fake = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.5], [2.0]])
    assert adversarial.critic_loss(real, fake).item() == pytest.approx((0.5 + 4.25 / 2) / 2)
    assert adversarial.generator_loss(fake).item() == pytest.approx((0.25 + 1) / 2)
    assert adversarial.critic_accuracy(real, fake).item() == pytest.approx(0.5)
    assert adversarial.critic_accuracy(torch.ones(4), torch.zeros(2)) == 1
    assert adversarial.critic_accuracy(torch.zeros(4), torch.ones(2)) == 0


def test_range_loss_is_its_definition():
    turns = (
        torch.rand(40, 1, 15, generator=source()) * torch.rand(40, 1, 1, generator=source(1)) * 2
    )
    ratios = torch.randn(40, 9, generator=source(2)) * 0.1
    loss = adversarial.range_loss(turns, ratios, ba_range_m=0.205, ba_range_w=0.165, blr_limit=0.1)
    of_turns = naive_outside([sum(pose[0]) / 15 for pose in turns.tolist()], 0.205, 0.165)
    of_ratios = naive_outside([r for pose in ratios.tolist() for r in pose], 0, 0.1)
    assert 0 < sum(v > 0 for v in of_turns) < 40 and 0 < sum(v > 0 for v in of_ratios) < 360
    assert loss.item() == pytest.approx(sum(of_turns) / 40 + sum(of_ratios) / 360, rel=1e-5)


def test_ranges_cost_nothing_inside():
    inside = torch.full((4, 1, 15), 0.3), torch.full((4, 9), -0.09)
    ranges = {"ba_range_m": 0.205, "ba_range_w": 0.165, "blr_limit": 0.1}
    assert adversarial.range_loss(*inside, **ranges) == 0
    for outside in ((inside[0] + 0.1, inside[1]), (inside[0], inside[1] - 0.02)):
        assert adversarial.range_loss(*outside, **ranges) > 0


def test_joint_errors_are_weighed_and_grouped():
    predicted = torch.randn(6, 16, 3, generator=source())
    target = torch.randn(6, 16, 3, generator=source(1))
    errors = (predicted - target).norm(dim=-1).tolist()
    heavy = {1: 5, 4: 5, 10: 5, 13: 5, 2: 2, 5: 2, 11: 2, 14: 2}
    groups = ([1, 4, 10, 13], [2, 5, 9, 11, 14], [3, 6, 12, 15])
    want = [
        [sum(heavy.get(j, 1) * pose[j] for j in group) / len(group) for group in groups]
        for pose in errors
    ]
    got = adversarial.group_errors(predicted, target)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    ratio = adversarial.difficulty(3 * got, got)
    torch.testing.assert_close(ratio, torch.full((6, 3), 3.0))
    assert adversarial.difficulty(got, torch.zeros_like(got)).isfinite().all()


@pytest.mark.parametrize(("progress", "target"), [(0.0, 3.0), (0.5, 4.0), (1.0, 5.0)])
def test_feedback_is_its_definition(progress, target):
    turned = torch.rand(20, 3, generator=source()) * 10
    moved = torch.rand(20, 3, generator=source(1)) * 60
    loss = adversarial.feedback_loss(turned, moved, progress=progress)
    of_turned = naive_outside(turned.flatten().tolist(), target, 2)
    of_moved = naive_outside(moved.flatten().tolist(), 17, 15)
    want = 0.1 * sum(of_turned) / 60 + 0.01 * sum(of_moved) / 60
    assert loss.item() == pytest.approx(want, rel=1e-5)
    easy = adversarial.feedback_loss(torch.tensor(target), torch.tensor(20.0), progress=progress)
    assert easy == 0


def test_feedback_pulls_towards_the_target():
    ratio = torch.tensor([0.1, 3.0, 9.0], requires_grad=True)
    adversarial.feedback_loss(ratio, torch.tensor(17.0), progress=0.0).backward()
    assert ratio.grad is not None
    assert ratio.grad[0] < 0 and ratio.grad[1] == 0 and ratio.grad[2] > 0


# ---- the pool


def numbered(first, count):
    """Poses that can be told apart by their first number."""
    return torch.arange(first, first + count).view(-1, 1, 1).expand(count, 16, 3).float()


def numbers(poses):
    assert (poses == poses[:, :1, :1]).all()
    return poses[:, 0, 0].tolist()


def test_pool_that_is_not_full_answers_with_what_came_in():
    pool = adversarial.FakePool(source(), size=8)
    for first in (0, 3):
        assert torch.equal(pool.exchange(numbered(first, 3)), numbered(first, 3))
    assert numbers(pool.stored) == list(range(6))


def test_full_pool_answers_half_of_the_time_with_an_old_one():
    pool = adversarial.FakePool(source(), size=64)
    pool.exchange(numbered(0, 64))
    old_answers = 0
    for first in range(64, 64 + 50 * 40, 40):
        before, fakes = numbers(pool.stored), numbered(first, 40)
        answers = pool.exchange(fakes)
        # Nothing is lost or doubled: each old one given out made room for the new one.
        after = numbers(answers) + numbers(pool.stored)
        assert sorted(after) == sorted(before + numbers(fakes))
        kept = answers[:, 0, 0] == fakes[:, 0, 0]
        assert all(number in before for number in numbers(answers[~kept]))
        old_answers += int((~kept).sum())
    assert abs(old_answers - 1000) < 4 * math.sqrt(2000 / 4)


@pytest.mark.parametrize("count", [5, 12, 40])
def test_pool_takes_batches_of_any_size(count):
    pool = adversarial.FakePool(source(), size=8)
    pool.exchange(numbered(0, 6))
    answers = pool.exchange(numbered(6, count))
    assert numbers(answers[:2]) == [6, 7]  # there was room for two
    assert sorted(numbers(answers) + numbers(pool.stored)) == sorted(
        [*range(6 + count), 6, 7]  # those two are both stored and answered
    )


def test_pool_goes_on_from_its_state():
    pool = adversarial.FakePool(source(), size=8)
    assert pool.state() == {"stored": None}
    pool.exchange(numbered(0, 8))
    state, draws = pool.state(), pool.generator.get_state()
    want = [numbers(pool.exchange(numbered(first, 6))) for first in (10, 20)]
    assert want != [[*range(10, 16)], [*range(20, 26)]]
    generator = source(99)
    generator.set_state(draws)
    resumed = adversarial.FakePool(generator, size=8)
    resumed.load_state(state)
    assert [numbers(resumed.exchange(numbered(first, 6))) for first in (10, 20)] == want
    assert numbers(state["stored"]) == list(range(8))  # going on left the state alone
    empty = adversarial.FakePool(source(), size=8)
    empty.load_state({"stored": None})
    assert numbers(empty.exchange(numbered(0, 3))) == [0, 1, 2]


def test_pool_cuts_gradients():
    pool = adversarial.FakePool(source(), size=2)
    for _ in range(2):
        assert not pool.exchange(torch.ones(4, 16, 3, requires_grad=True) * 2).requires_grad


# ---- use of generators


def save_generator(path, module, **more):
    torch.save({"model_G": module.state_dict(), **more}, path)
    return path


def far_generator(spread):
    """A generator that puts bodies 5 m away, more or less near the middle of the screen."""
    module = fresh()
    head = module.RTprocess.get_submodule("w2_T")
    with torch.no_grad():
        head.weight.mul_(spread * torch.tensor([[1.0], [1.0], [0.0]]))
    return module


def augmenter(folder, seed=0):
    return augment.PoseAugmenter(folder, length_limit=0.15, generator=source(seed))


def test_augmenter_drops_what_leaves_the_screen(tmp_path):
    save_generator(tmp_path / "ckpt_generater21.pth.tar", far_generator(8.0))
    augmented = augmenter(tmp_path)
    batch, camera = POSES.repeat(20, 1, 1, 1), CAMERA.repeat(20, 1)
    pose_3d, pose_2d = augmented(batch, camera)
    draws = source()
    torch.randint(1, (), generator=draws)
    noise = GeneratorNoise.draw(60, draws)
    with torch.no_grad():
        moved = augmented.pose_generators[0](batch, noise=noise).moved
    screen = project(moved, camera)
    kept = [i for i in range(60) if screen[i].abs().max() <= 1 and moved[i, ..., 2].min() > 0]
    assert 5 < len(kept) < 55
    assert torch.equal(pose_2d, screen[kept])
    assert torch.equal(pose_3d, moved[kept] - moved[kept][..., :1, :])
    assert not pose_3d[..., 0, :].any()


def test_one_joint_out_of_view_is_enough():
    screen, poses = torch.zeros(5, 9, 16, 2), torch.ones(5, 9, 16, 3)
    screen[0, 8, 15, 1] = 1.001
    screen[1, 0, 0, 0] = -1.001
    screen[2, 4, 3, 1] = torch.nan
    poses[3, 2, 7, 2] = -0.1  # behind the camera
    assert augment.in_view(poses, screen).tolist() == [False, False, False, False, True]


def test_augmenter_can_drop_everything(tmp_path):
    module = far_generator(0.0)
    module.RTprocess.get_submodule("w2_T").bias.data[0] = 100
    save_generator(tmp_path / "a.pth.tar", module)
    pose_3d, pose_2d = augmenter(tmp_path)(POSES, CAMERA)
    assert pose_3d.shape == (0, 9, 16, 3) and pose_2d.shape == (0, 9, 16, 2)


def test_augmenter_repeats_with_the_seed(tmp_path):
    for number in (21, 31):
        save_generator(tmp_path / f"ckpt_generater{number}.pth.tar", fresh(number))
    one, two = augmenter(tmp_path, 3), augmenter(tmp_path, 3)
    results = []
    for _ in range(5):
        (pose, screen), (same_pose, same_screen) = one(POSES, CAMERA), two(POSES, CAMERA)
        assert torch.equal(pose, same_pose) and torch.equal(screen, same_screen)
        results.append(screen)
    assert not torch.equal(results[0], results[1])


def test_every_generator_is_used_and_gradients_are_off(tmp_path):
    for number in (21, 31, 37):
        save_generator(tmp_path / f"ckpt_generater{number}.pth.tar", far_generator(1.0))
    augmented, used = augmenter(tmp_path), [0, 0, 0]
    for number, module in enumerate(augmented.pose_generators):

        def count(*_, number=number):
            used[number] += 1

        module.register_forward_hook(count)
    for _ in range(300):
        results = augmented(POSES[:, :1].clone().requires_grad_(), CAMERA)
        assert not any(result.requires_grad for result in results)
    assert sum(used) == 300
    assert all(abs(times - 100) < 4 * math.sqrt(300 * 2 / 9) for times in used)


def test_generators_are_loaded_as_they_were_saved(tmp_path, caplog):
    module = PoseGenerator()
    state = {f"module.{name}": t for name, t in module.state_dict().items()}
    path = tmp_path / "ckpt_generater31.pth.tar"
    torch.save({"model_G": state, "epoch": 31, "optimizer_G": {"state": {}}}, path)
    loaded = augment.load_generator(path, length_limit=0.2)
    for name, tensor in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert loaded.length_limit == 0.2 and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not caplog.records


def test_another_length_limit_is_told(tmp_path, caplog):
    options = {"blr_tanhlimit": 0.2, "epochs": 50}
    path = save_generator(tmp_path / "a.pth.tar", PoseGenerator(), options=options)
    augment.load_generator(path, length_limit=0.2)
    assert not caplog.records
    augment.load_generator(path, length_limit=0.15)
    (record,) = caplog.records
    assert "0.2" in record.getMessage() and "0.15" in record.getMessage()


def test_no_generator_says_how_to_train_one(tmp_path):
    (tmp_path / "ckpt.pth").touch()
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match=r"python Augpart/train_generator.py.*--poseaug 0"):
            augmenter(folder)


def test_hostile_generator_is_refused(tmp_path):
    victim = tmp_path / "victim"
    call = Calls(os.system, f"touch {victim}")
    torch.save({"model_G": PoseGenerator().state_dict(), "options": call}, tmp_path / "a.pth.tar")
    with pytest.raises(UserError, match="a.pth.tar"):
        augmenter(tmp_path)
    assert not victim.exists()


def test_generators_that_do_not_fit_are_refused(tmp_path):
    state = PoseGenerator().state_dict()
    state["foreign"] = state.pop("BAprocess.w2.bias")
    state["BLprocess.w2_BL.bias"] = torch.zeros(10)
    path = tmp_path / "a.pth.tar"
    torch.save({"model_G": state}, path)
    with pytest.raises(UserError) as mistake:
        augmenter(tmp_path)
    for word in ("a.pth.tar", "missing: BAprocess.w2.bias", "unexpected: foreign", "w2_BL.bias 10"):
        assert word in str(mistake.value)
    for content in ({"model_G": 3}, [1, 2], {}):
        torch.save(content, path)
        with pytest.raises(UserError, match="a.pth.tar"):
            augmenter(tmp_path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="damaged"):
        augmenter(tmp_path)


def test_stages_are_drawn(tmp_path):
    pixels = {}
    for rows in (1, 2):
        path = tmp_path / f"{rows}.png"
        draw_stages(path, POSES, generate(), CAMERA, rows=rows)
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        pixels[rows] = [int.from_bytes(content[i : i + 4], "big") for i in (16, 20)]
    assert pixels[2] == [pixels[1][0], 2 * pixels[1][1]]
