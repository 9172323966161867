"""Several devices of one process, with CPUs in their place: the code is that of GPUs."""

import pytest
import torch
from goldens import filled, without_random_parts
from paths import SAMPLE
from torch import nn

from common.data import h36m
from common.data.skeleton import H36M_17
from common.data.windowed_poses import WindowedPoses
from common.data.windows import WindowRule
from common.errors import UserError
from common.evaluation.lifting import LiftingTest
from common.tasks.lifting import Lifting
from common.tasks.masked import MaskedModel, MaskedTask, RandomSources
from common.tasks.masking import Masking
from common.training.replicas import Replicas
from common.training.runtime import Runtime
from common.training.steps import GradientSteps, Schedule
from model.build import ModelSize, build_lifter, build_masked_model
from model.lifter import PoseRefiner

CPU = torch.device("cpu")
SIZE = ModelSize(frames=9, num_joints=17, layers=1, width=16, hidden_width=16)


class OnReplicas(Runtime):
    """A run whose devices are several times the CPU."""

    def place(self, modules, *, compiled):
        placed = super().place(modules, compiled=compiled)
        return [Replicas(m.module if isinstance(m, Replicas) else m, [CPU] * 3) for m in placed]


@pytest.fixture(scope="module")
def masked_model():
    return filled(build_masked_model(SIZE, decoder_depth=1))


def masked_inputs(count_2d, count_3d, hides_frames, seed=0):
    rng = torch.Generator().manual_seed(seed)

    def modality(count, coordinates):
        if not count:
            return None, None, None
        poses = torch.randn(count, 9, 17, coordinates, generator=rng)
        frames = 9 if hides_frames else 1
        mask = torch.rand(count, frames, 17, generator=rng) < 0.3
        return poses, mask, torch.tensor([1, 2, 5, 8]) if hides_frames else None

    return *modality(count_2d, 2), *modality(count_3d, 3)


@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("hides_frames", [False, True])
@pytest.mark.parametrize(
    ("count_2d", "count_3d"), [(8, 8), (5, 8), (9, 4), (2, 7), (1, 6), (7, 0), (0, 5), (0, 1)]
)
def test_every_sample_of_both_modalities_comes_back(
    masked_model, count_2d, count_3d, hides_frames, devices
):
    inputs = masked_inputs(count_2d, count_3d, hides_frames)
    replicas = Replicas(masked_model, [CPU] * devices)
    want = masked_model(*inputs, lift=True)
    got = replicas(*inputs, lift=True)
    for one, two in zip(want, got, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two)
    shortest = min(count for count in (count_2d, count_3d) if count)
    assert replicas.num_parts(inputs) == max(min(devices, shortest // 2), 1)


def test_gradients_add_up(masked_model):
    inputs = masked_inputs(7, 5, True)
    gradients = []
    for model in (masked_model, Replicas(masked_model, [CPU] * 3)):
        masked_model.zero_grad(set_to_none=True)
        sum(result.square().sum() for result in model(*inputs, lift=True)).backward()
        gradients.append({n: p.grad for n, p in masked_model.named_parameters()})
    masked_model.zero_grad(set_to_none=True)
    assert sum(g is not None for g in gradients[0].values()) > 50
    for name, gradient in gradients[0].items():
        if gradient is None:
            assert gradients[1][name] is None
        else:
            torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-4)


def test_batch_norm_keeps_the_statistics_of_the_first_device():
    batch = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    model, alone = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    result = Replicas(model, [CPU] * 3)(batch)
    torch.testing.assert_close(result[:4], alone(batch[:4]))
    for name, tensor in alone.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor)
    means = result.unflatten(0, (3, 4)).mean(1)  # each part was normalised by its own
    torch.testing.assert_close(means, torch.zeros(3, 3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("batch_size", [32, 7])  # the last pass holds 2 windows, or 2 of 7
def test_an_evaluation(flip, batch_size):
    store = h36m.H36MFiles.read(SAMPLE, "gt").store(["S9"], H36M_17).head(100)
    predicted = []
    for kind in (Runtime, OnReplicas):
        run = kind(CPU, (), 0, 1, "fp32")
        lifter, refiner = filled(build_lifter("mpm", SIZE)), filled(PoseRefiner(num_joints=17))
        lifting = Lifting(lifter, refiner, run)
        test = LiftingTest(store, WindowRule(9, 2), batch_size, flip, h36m.DATA_SET.table)
        predicted.append(test.predict(lifting)[0])
    torch.testing.assert_close(*predicted)


def test_a_step():
    """The gradients of a step are those of one device, batch norm's statistics set aside."""
    store = h36m.H36MFiles.read(SAMPLE, "gt").store(["S9"], H36M_17)
    poses = WindowedPoses([(store, WindowRule(9))])
    masks = Masking("pretrain", 5, 0.6, (0,), (0,))
    schedule = Schedule(1, 20, 0, 1e-3, 1, 1, 1, seed=1)
    count = len(poses)
    samples = torch.tensor([3, 4, 5, 900, *(count + 7 * i for i in range(16))])
    gradients = []
    for kind in (Runtime, OnReplicas):
        run = kind(CPU, (), 0, 1, "fp32")
        model = without_random_parts(filled(build_masked_model(SIZE, decoder_depth=1)))
        task = MaskedTask(
            MaskedModel(model, run), poses, masks, test=None, rng=RandomSources.of(run, 1)
        )
        GradientSteps(task, run, schedule).step(samples)
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    assert len(gradients[0]) > 50
    for one, three in zip(*gradients, strict=True):
        torch.testing.assert_close(one, three, rtol=1e-4, atol=1e-5)


def test_several_gpus_are_not_compiled_for():
    run = Runtime(torch.device("cuda", 0), (0, 1), 0, 1, "fp32")
    with pytest.raises(UserError, match=r"--gpu 0,1.*--gpu 0,.*torchrun --nproc_per_node=2"):
        run.place([nn.Linear(2, 2)], compiled=True)
