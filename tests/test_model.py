"""The networks against numbers of the published implementation."""

import json

import numpy as np
import pytest
import torch
from goldens import filled, golden, without_dropout
from paths import GOLDEN
from torch.nn import functional as F

from common.tasks.losses import mpjpe
from model.encoders import STRIDES_BY_FRAMES
from model.layers import Dropout, LayerNorm, MultiHeadAttention, StridedConv
from model.lifter import PoseLifter, PoseRefiner

SIZES = [(243, 17, 4), (27, 16, 3), (9, 17, 3)]
CONTRACT = json.loads((GOLDEN / "state_dict_contract.json").read_text())


def lifter(frames: int, joints: int, layers: int) -> PoseLifter:
    return PoseLifter(frames=frames, num_joints=joints, layers=layers)


@pytest.mark.parametrize(("frames", "joints", "layers"), SIZES)
def test_lifter_state_dict_is_the_contract(frames, joints, layers):
    state = lifter(frames, joints, layers).state_dict()
    wanted = CONTRACT[f"lifter/frames={frames},joints={joints},layers={layers}"]
    assert {name: list(t.shape) for name, t in state.items()} == wanted
    assert list(state) == list(wanted)  # in file order, too


def test_refiner_state_dict_is_the_contract():
    state = PoseRefiner(num_joints=17).state_dict()
    assert {n: list(t.shape) for n, t in state.items()} == CONTRACT["refiner/joints=17"]


@pytest.mark.parametrize(("frames", "joints", "layers"), SIZES)
def test_lifter_forward(frames, joints, layers):
    want = golden("lifter_forward.npz", f"f{frames}_j{joints}_l{layers}.")
    with torch.inference_mode():
        target, sequence = filled(lifter(frames, joints, layers))(want["input_2d"])
    sequence = sequence[:, :: max(1, frames // 9)]
    torch.testing.assert_close(target, want["centre_3d"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sequence, want["sequence_3d"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", sorted(STRIDES_BY_FRAMES))
def test_lifter_reduces_every_window_to_one_frame(frames):
    model = PoseLifter(frames=frames, num_joints=16, layers=1, width=16, hidden_width=8).eval()
    target, sequence = model(torch.zeros(2, frames, 16, 2))
    assert target.shape == (2, 1, 16, 3)
    assert sequence.shape == (2, frames, 16, 3)
    assert model(torch.zeros(2, frames, 16, 2), with_sequence=False)[1] is None


def test_refiner_forward():
    want = golden("refiner.npz", "j17.")
    refiner = filled(PoseRefiner(num_joints=17))
    refined = refiner(want["predicted_3d"], want["back_projected_3d"])
    torch.testing.assert_close(refined, want["refined_3d"], rtol=1e-4, atol=1e-6)


def test_five_optimisation_steps_of_the_lifter():
    want = golden("train_steps.npz", "lifter.f9_j17_l3.")
    # In double precision: Adam magnifies the rounding of single, which depends on the threads.
    model = without_dropout(filled(lifter(9, 17, 3))).double().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)
    losses = []
    for pose_2d, true in zip(want["input_2d"], want["target_3d"], strict=True):
        true[:, :, 0] = 0
        target, sequence = model(pose_2d.double())
        loss = mpjpe(sequence, true) + mpjpe(target, true[:, 4:5])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(losses, want["loss"], atol=1e-5)


def test_layer_norm_is_the_published_formula():
    norm = LayerNorm(64)
    torch.nn.init.normal_(norm.a_2)
    torch.nn.init.normal_(norm.b_2)
    x = torch.randn(5, 7, 64) * 3 + 1
    published = norm.a_2 * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(norm(x), published + norm.b_2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("frames", "stride"), [(243, 3), (27, 1), (351, 9), (13, 13)])
def test_strided_conv_is_a_convolution(frames, stride):
    conv = StridedConv(6, 4, stride=stride)
    x = torch.randn(2, frames, 6)
    plain = F.conv1d(x.transpose(1, 2), conv.weight, conv.bias, stride=stride, padding=1)
    torch.testing.assert_close(conv(x), plain.transpose(1, 2), rtol=1e-4, atol=1e-5)


def test_attention_of_training_is_that_of_evaluation_without_dropout():
    attention = MultiHeadAttention(32)
    x = torch.randn(3, 11, 32)
    attention.dropout.p = 1e-9  # takes the unfused path, drops nothing
    torch.testing.assert_close(attention.train()(x), attention.eval()(x), rtol=1e-4, atol=1e-6)


def test_dropout_keeps_the_mean_and_drops_the_share_it_says():
    torch.manual_seed(0)
    dropout = Dropout(0.1)
    dropped = dropout(torch.ones(1_000_003))
    share = (dropped == 0).double().mean().item()
    assert abs(share - 0.1) < 5 * (0.09 / 1e6) ** 0.5  # five standard deviations
    assert abs(dropped.double().mean().item() - 1) < 2e-3
    assert dropped.unique().numel() == 2
    assert torch.equal(dropout.eval()(dropped), dropped)


def test_dropout_repeats_with_the_seed():
    draws = []
    for _ in range(2):
        torch.manual_seed(7)
        draws.append(Dropout(0.5)(torch.ones(1001)))
    assert torch.equal(*draws)


def test_windows_cut_from_shared_frames_are_lifted_alike():
    torch.manual_seed(0)
    model = filled(PoseLifter(frames=9, num_joints=17, layers=1))
    versions = torch.randn(2, 40, 17, 2)
    frames = torch.randint(40, (5, 9))
    shared, sequence = model(versions, frames)
    plain, plain_sequence = model(versions[:, frames].flatten(0, 1))
    assert shared.shape == (10, 1, 17, 3)
    torch.testing.assert_close(shared, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sequence, plain_sequence, rtol=1e-4, atol=1e-5)
