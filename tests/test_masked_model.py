"""The masked model against golden numbers; masks against their definition."""

import json

import numpy as np
import pytest
import torch
from goldens import filled, golden, without_dropout
from paths import GOLDEN

from common.data.pose_ops import mirror_mask
from common.data.skeleton import H36M_16, H36M_17
from common.tasks import masking
from common.tasks.losses import mpjpe
from model.masked_pose import MaskedPoseModel

CONTRACT = json.loads((GOLDEN / "state_dict_contract.json").read_text())
PRE_TRAINED = [(27, 16, 3), (243, 17, 4)]
SKELETONS = pytest.mark.parametrize("skeleton", [H36M_16, H36M_17], ids=lambda s: s.name)


def model(frames, joints, layers, decoder_depth):
    return MaskedPoseModel(
        frames=frames, num_joints=joints, layers=layers, decoder_depth=decoder_depth
    )


def visible(frame_mask):
    """(T,) True = hidden -> (V,) numbers of the visible frames."""
    return (~frame_mask).nonzero().flatten()


@pytest.mark.parametrize(
    ("key", "depth"),
    [
        ("pretrain/frames=27,joints=16,layers=3", 1),
        ("pretrain/frames=243,joints=17,layers=4", 1),
        ("completion/frames=27,joints=17,layers=3", 2),
    ],
)
def test_state_dict_is_the_contract(key, depth):
    frames, joints, layers = (int(word.split("=")[1]) for word in key.split("/")[1].split(","))
    state = model(frames, joints, layers, depth).state_dict()
    assert {name: list(t.shape) for name, t in state.items()} == CONTRACT[key]
    assert list(state) == list(CONTRACT[key])


@pytest.mark.parametrize(("frames", "joints", "layers"), PRE_TRAINED)
def test_pre_training_forward(frames, joints, layers):
    want = golden("pretrain_forward.npz", f"f{frames}_j{joints}_l{layers}.")
    masks = want["joint_mask"].expand(2, -1, -1), visible(want["frame_mask"])
    with torch.inference_mode():
        results = filled(model(frames, joints, layers, 1))(
            want["input_2d"], *masks, want["input_3d"], *masks, lift=True
        )
    for result, name in zip(results, ("recovered_2d", "lifted_3d", "recovered_3d"), strict=True):
        result = result[:, :: max(1, frames // 27)]
        torch.testing.assert_close(result, want[name], rtol=1e-4, atol=1e-5)


def test_completion_forward():
    module = filled(model(27, 17, 3, 2))
    want = golden("completion_forward.npz", "comp3d.f27_j17_l3.")
    with torch.inference_mode():
        nothing, also_nothing, recovered = module(
            pose_3d=want["input_3d"], joint_mask_3d=want["limb_mask"].unsqueeze(1)
        )
    assert nothing is None and also_nothing is None
    torch.testing.assert_close(recovered, want["recovered_3d"], rtol=1e-4, atol=1e-5)
    want = golden("completion_forward.npz", "comp2dlift.f27_j17_l3.")
    with torch.inference_mode():
        recovered, lifted, _ = module(want["input_2d"], want["limb_mask"].unsqueeze(1), lift=True)
    torch.testing.assert_close(recovered, want["recovered_2d"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(lifted, want["lifted_3d"], rtol=1e-4, atol=1e-5)


def test_five_optimisation_steps_of_pre_training():
    want = golden("train_steps.npz", "pretrain.f9_j17_l3.")
    # In double precision: Adam magnifies the rounding of single, which depends on the threads.
    module = without_dropout(filled(model(9, 17, 3, 1))).double().train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, amsgrad=True)
    losses = []
    for i in range(5):
        inputs = []
        for dimensions in ("2d", "3d"):
            pose = want[f"input_{dimensions}"][i].double()
            joint_mask = want[f"joint_mask_{dimensions}"][i].expand(len(pose), -1, -1)
            frames = visible(want[f"frame_mask_{dimensions}"][i])
            inputs += [pose, joint_mask, frames]
        recovered_2d, _, recovered_3d = module(*inputs)
        loss = 5 * mpjpe(recovered_2d, inputs[0]) + 2 * mpjpe(recovered_3d, inputs[3])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(losses, want["loss"], atol=1e-4)


def test_what_is_hidden_does_not_reach_the_output():
    module = filled(model(9, 17, 1, 1))
    pose = torch.randn(2, 9, 17, 2)
    joint_mask = torch.zeros(2, 9, 17, dtype=torch.bool)
    joint_mask[:, 2, 5] = True
    frames = torch.tensor([0, 2, 3, 8])
    other = pose.clone()
    other[:, 2, 5] = 99  # a hidden joint of a visible frame
    other[:, [1, 4, 5, 6, 7]] = 99  # hidden frames
    assert torch.equal(module(pose, joint_mask, frames)[0], module(other, joint_mask, frames)[0])
    other[:, 2, 4] = 99  # a visible joint
    assert not torch.equal(
        module(pose, joint_mask, frames)[0], module(other, joint_mask, frames)[0]
    )


# ---- masks


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("hidden", [0, 2, 5, 16])
def test_joint_masks_hide_exactly_so_many_joints_a_frame(hidden):
    mask = masking.sample_joint_mask(243, 16, num_masked_joints=hidden, generator=generator())
    assert mask.shape == (243, 16)
    assert (mask.sum(-1) == hidden).all()


@pytest.mark.parametrize(("frames", "ratio"), [(243, 0.8), (243, 0.6), (27, 0.0), (9, 0.99)])
def test_visible_and_hidden_frames_add_up(frames, ratio):
    shown = masking.sample_visible_frames(frames, frame_mask_ratio=ratio, generator=generator())
    assert len(shown) == frames - int(frames * ratio)
    assert torch.equal(shown, shown.unique())  # in order, none twice
    assert shown.min() >= 0 and shown.max() < frames


def chi_square(counts: torch.Tensor) -> float:
    """The statistic of the hypothesis that all counts have the same mean."""
    expected = counts.double().mean()
    return ((counts - expected) ** 2 / expected).sum().item()


# The joints of each limb set in the 17-joint skeleton (as published).
PUBLISHED_3D = ((1, 2, 3), (14, 15, 16), (11, 12, 13), (4, 5, 6))
PUBLISHED_2D = (
    (1, 2, 3, 4, 5, 6),
    (11, 12, 13, 14, 15, 16),
    (1, 2, 3, 14, 15, 16),
    (4, 5, 6, 11, 12, 13),
)

# The 99.9 % quantiles of the chi-square distribution with 15, 16, 26 and 3 degrees of freedom.
QUANTILE = {16: 37.70, 17: 39.25, 27: 54.05, 4: 16.27}


@pytest.mark.parametrize("joints", [16, 17])
def test_every_joint_is_hidden_equally_often(joints):
    mask = masking.sample_joint_mask(20000, joints, num_masked_joints=5, generator=generator(1))
    # Without replacement the statistic is smaller than with, by the share not drawn.
    assert chi_square(mask.sum(0)) < QUANTILE[joints]


def test_every_frame_is_visible_equally_often():
    source, counts = generator(2), torch.zeros(27)
    for _ in range(4000):
        shown = masking.sample_visible_frames(27, frame_mask_ratio=0.6, generator=source)
        counts[shown] += 1
    assert chi_square(counts) < QUANTILE[27]


def test_limb_sets_are_drawn_uniformly_one_a_sample():
    masks = masking.sample_limb_masks(
        masking.drawn_from(generator(3), 8000),
        H36M_17,
        limbs=masking.LIMBS_3D,
        numbers=(0, 1, 2, 3),
    )
    first_joints = [joints[0] for joints in PUBLISHED_3D]
    assert (masks.sum(-1) == 3).all()
    assert chi_square(masks[:, first_joints].sum(0)) < QUANTILE[4]


@SKELETONS
@pytest.mark.parametrize(
    ("limbs", "published"),
    [(masking.LIMBS_2D, PUBLISHED_2D), (masking.LIMBS_3D, PUBLISHED_3D)],
    ids=["2D", "3D"],
)
@pytest.mark.parametrize("number", range(4))
def test_limb_sets_are_the_published_joints(limbs, published, number, skeleton):
    mask = masking.sample_limb_masks(
        masking.drawn_from(generator(), 5), skeleton, limbs=limbs, numbers=[number]
    )
    hidden = mask[0].nonzero().flatten().tolist()
    assert masking.limb_joints(limbs, number, H36M_17) == list(published[number])
    assert sorted(masking.limb_joints(limbs, number, skeleton)) == hidden
    names = [skeleton.joint_names[j] for j in hidden]
    assert names == [H36M_17.joint_names[j] for j in sorted(published[number])]
    assert (mask == mask[0]).all()
    assert torch.equal(mirror_mask(mirror_mask(mask, skeleton), skeleton), mask)


def test_sixteen_joint_arms_are_shifted():
    assert masking.limb_joints(masking.LIMBS_3D, 1, H36M_16) == [13, 14, 15]
    assert masking.limb_joints(masking.LIMBS_3D, 2, H36M_16) == [10, 11, 12]


@SKELETONS
def test_words_hide_nothing_or_one_limb_in_2d_and_in_3d(skeleton):
    for limbs in (masking.LIMBS_2D, masking.LIMBS_3D):
        masks = masking.sample_limb_masks(
            masking.drawn_from(generator(5), 4000),
            skeleton,
            limbs=limbs,
            numbers=["none", "left_arm", "none"],
        )
        arm = [skeleton.joint_names.index(f"left {j}") for j in ("shoulder", "elbow", "wrist")]
        assert masks[:, arm].all(1).float().mean() == pytest.approx(1 / 3, abs=0.05)
        assert masks.sum() == masks[:, arm].sum()
    assert masking.limb_set_name("none", 2, skeleton) == "nothing"
    assert "left elbow" in masking.limb_set_name("left_arm", 3, skeleton)


def test_random_numbers_hide_so_many_joints():
    masks = masking.sample_limb_masks(
        masking.drawn_from(generator(4), 4000), H36M_17, limbs=masking.LIMBS_2D, numbers=[9]
    )
    assert (masks.sum(-1) == 6).all()
    assert chi_square(masks.sum(0)) < QUANTILE[17]
    assert not (masks == masks[0]).all()


def test_masks_repeat_with_the_seed_and_change_with_every_draw():
    def draw(source):
        return masking.sample_joint_mask(27, 17, num_masked_joints=5, generator=source)

    one, two = generator(5), generator(5)
    first = draw(one)
    assert torch.equal(first, draw(two))
    assert not torch.equal(first, draw(one))
