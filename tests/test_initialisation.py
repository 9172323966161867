"""The weights that models begin with, against statistics of the published implementation."""

import copy
import json
import math

import pytest
import torch
from paths import GOLDEN
from runs import Run

from Augpart.pose_generator import PoseGenerator
from model.build import shrink_embeddings
from model.lifter import PoseLifter, PoseRefiner
from model.masked_pose import MaskedPoseModel

STATISTICS = json.loads((GOLDEN / "init_stats.json").read_text())
SEEDS = range(5)  # those of the statistics
SIZE = {"frames": 27, "num_joints": 17, "layers": 3}
MODELS = {
    "lifter/frames=27,joints=17,layers=3": lambda: PoseLifter(**SIZE),
    "pretrain/frames=27,joints=17,layers=3": lambda: MaskedPoseModel(**SIZE, decoder_depth=1),
    "completion/frames=27,joints=17,layers=3": lambda: MaskedPoseModel(**SIZE, decoder_depth=2),
    "refiner/joints=17": lambda: PoseRefiner(num_joints=17),
    "generator/joints=16": PoseGenerator,
}


def first_weights(key: str) -> dict[str, list[torch.Tensor]]:
    """Every tensor of a model, one a seed."""
    tensors: dict[str, list[torch.Tensor]] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        for name, tensor in MODELS[key]().state_dict().items():
            tensors.setdefault(name, []).append(tensor.double().flatten())
    return tensors


@pytest.mark.parametrize("key", MODELS)
def test_first_weights_are_distributed_as_published(key):
    tensors = first_weights(key)
    assert not set(STATISTICS[key]) - set(tensors)
    for name, published in STATISTICS[key].items():
        values, deviation = torch.cat(tensors[name]), published["std"]
        deviations = [tensor.std(correction=0) for tensor in tensors[name]]  # one a seed
        assert torch.stack(deviations).mean().item() == pytest.approx(deviation, rel=0.03), name
        standard_error = deviation / math.sqrt(len(values))
        assert abs(values.mean() - published["mean"]) <= 3 * standard_error + 1e-6, name
        if len(values) > 500 and published["max"] < 2 * deviation:  # uniform: it has a bound
            assert values.abs().max() <= 1.01 * published["max"], name


@pytest.mark.parametrize("key", MODELS)
def test_a_seed_gives_the_published_weights(key):
    """Parts are made in the order in which the published networks draw their weights."""
    tensors = first_weights(key)
    for name, published in STATISTICS[key].items():
        values = torch.cat(tensors[name])
        assert values.mean().item() == pytest.approx(published["mean"], abs=2e-6), name
        assert values.abs().max().item() == pytest.approx(published["max"], abs=2e-6), name


def weights_of(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    assert one and list(one) == list(two)
    return all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_copies_of_a_plain_stack():
    """The linears of an attention, and the blocks of a stack, start equal and are trained apart."""
    model = MaskedPoseModel(**SIZE, decoder_depth=2)
    state = model.state_dict()
    for stack, blocks in (("shared_layers_temporal", 3), ("decoder2d", 2), ("decoder3d", 2)):
        first = weights_of(state, f"{stack}.model.layers.0.")
        linears = [weights_of(first, f"self_attn.linears.{i}.") for i in range(4)]
        assert all(equal(linears[0], linear) for linear in linears[1:])
        for block in range(1, blocks):
            assert equal(first, weights_of(state, f"{stack}.model.layers.{block}."))
    stacks = [
        weights_of(state, f"{stack}.model.layers.0.self_attn.")
        for stack in ("shared_layers_temporal", "decoder2d", "decoder3d")
    ]
    assert not equal(stacks[0], stacks[1]) and not equal(stacks[1], stacks[2])
    parameters = [p.data_ptr() for p in model.parameters()]
    assert len(set(parameters)) == len(parameters)  # copies, not one tensor under several names


def test_copies_of_the_strided_encoder():
    state = PoseLifter(**SIZE).state_dict()
    blocks = [weights_of(state, f"Transformer_reduce.model.layers.{i}.") for i in range(3)]
    for block in blocks[1:]:
        assert equal(weights_of(blocks[0], "self_attn."), weights_of(block, "self_attn."))
        assert not equal(weights_of(blocks[0], "feed_forward."), weights_of(block, "feed_forward."))


def test_small_embeddings_on_request():
    torch.manual_seed(0)
    published = MaskedPoseModel(**SIZE, decoder_depth=1)
    small = copy.deepcopy(published)
    shrink_embeddings(small)
    for name, tensor in published.state_dict().items():
        shrunk = "pos_embedding" in name or "mask_token" in name
        torch.testing.assert_close(small.state_dict()[name], tensor * (0.02 if shrunk else 1))
    names = [n for n, _ in small.named_parameters() if "pos_embedding" in n or "mask_token" in n]
    assert len(names) == 5


@pytest.mark.slow
def test_a_short_training_ends_where_the_published_network_does(tmp_path):
    """Three epochs end at 226 to 232 mm; with Xavier weights and small positions at 275 to 284."""
    words = (
        "--train 1 -f 27 -k gt --n_joints 17 -tds 2 --layers 3 --channel 64 --d_hid 128 -b 128 "
        "-s 8 --nepoch 3 --lr 0.001 -lrd 0.8 --name short --gpu 0 --root_path"
    ).split()
    run = Run("trainer.py", tmp_path, *words, GOLDEN.parent.parent / "dataset" / "sample").end()
    last = run.stdout.splitlines()[-1]
    assert float(last.split()[1].rstrip(",")) < 250, last
