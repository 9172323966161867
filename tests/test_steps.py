"""A step computed in parts is the step of the whole batch."""

from dataclasses import replace

import pytest
import torch
from goldens import without_dropout
from paths import SAMPLE
from torch import nn

from common.data import h36m
from common.data.skeleton import H36M_17
from common.data.windowed_poses import WindowedPoses
from common.data.windows import WindowRule
from common.tasks.masked import MaskedModel, MaskedTask, RandomSources
from common.tasks.masking import Masking
from common.training.loop import Training
from common.training.run_folder import RunFolder, RunInfo
from common.training.runtime import Runtime
from common.training.steps import GradientSteps, Schedule
from model.build import ModelSize, build_masked_model

SIZE = ModelSize(frames=9, num_joints=17, layers=1, width=16, hidden_width=16)


def schedule(micro_batch: int) -> Schedule:
    return Schedule(
        epochs=5,
        batch_size=24,
        micro_batch=micro_batch,
        learning_rate=1e-3,
        decay=0.5,
        large_decay=0.1,
        large_decay_epoch=3,
        seed=1,
    )


class Columns:
    """A task without randomness: the loss of a linear layer and a batch norm over fixed rows."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.modules, self.frozen, self.frames, self.num_samples = {"m": self.model}, (), 1, 24
        self.loss_names, self.loss_weights = ("square", "mean"), {"square": 2.0, "mean": -1.0}
        self.rows = torch.randn(24, 3) * 3 + 1

    def begin_step(self) -> None:
        pass

    def counts(self, samples):
        return dict.fromkeys(self.loss_names, len(samples))

    def losses(self, samples):
        out = self.model(self.rows[samples])
        yield {"square": out.square().mean(), "mean": out.mean()}


@pytest.mark.parametrize("micro_batch", [24, 8, 7])
def test_running_statistics_move_once_per_step(micro_batch):
    task = Columns()
    norm = task.model[1]
    steps = GradientSteps(
        task, Runtime(torch.device("cpu"), (), 0, 1, "fp32"), schedule(micro_batch)
    )
    order = torch.arange(24)
    parts = order.tensor_split(-(-24 // micro_batch))
    with torch.no_grad():
        means = torch.stack([task.model[0](task.rows[part]).mean(0) for part in parts])
    shares = torch.tensor([len(part) / 24 for part in parts])[:, None]
    steps.step(order)
    torch.testing.assert_close(norm.running_mean, 0.1 * (shares * means).sum(0))
    assert norm.momentum == 0.1  # as it was


def test_a_step_reports_every_term_and_their_weighted_sum():
    for micro_batch in (24, 8):
        task = Columns()
        runtime = Runtime(torch.device("cpu"), (), 0, 1, "fp32")
        steps = GradientSteps(task, runtime, schedule(micro_batch))
        loss, square, mean = steps.step(torch.arange(24))
        torch.testing.assert_close(loss[0], 2 * square[0] - mean[0])
        torch.testing.assert_close(torch.stack([loss[1], square[1], mean[1]]), torch.ones(3))


def test_learning_rates_of_the_first_and_last_epoch():
    rates = [schedule(0).learning_rate_of(epoch) for epoch in range(1, 6)]
    assert rates == pytest.approx([1e-3, 5e-4, 2.5e-4, 2.5e-5, 1.25e-5])  # large after the third


@pytest.fixture(scope="module")
def pre_training():
    store = h36m.H36MFiles.read(SAMPLE, "gt").store(["S9"], H36M_17)
    poses = WindowedPoses([(store, WindowRule(9))])
    runtime = Runtime(torch.device("cpu"), (), 0, 1, "fp32")
    torch.manual_seed(0)
    model = MaskedModel(without_dropout(build_masked_model(SIZE, decoder_depth=1)), runtime)
    masks = Masking("pretrain", 5, 0.6, (0,), (0,))
    return MaskedTask(model, poses, masks, test=None, rng=RandomSources.of(runtime, 1))


def test_all_parts_of_a_pre_training_step_share_their_masks(pre_training):
    seen = []
    placed = pre_training.model
    inner = placed.model

    def spy(*inputs, **options):
        seen.append(inputs)
        return inner(*inputs, **options)

    placed.model = spy
    try:
        count = len(pre_training.poses)
        samples = torch.tensor([5, 6, count + 7, count + 8, 9, 10, count + 11, count + 12])
        pre_training.begin_step()
        for part in samples.split(4):
            list(pre_training.losses(part))
        pre_training.begin_step()
        list(pre_training.losses(samples[:4]))
    finally:
        placed.model = inner
    (_, joints, visible, _, joints_3d, visible_3d), second, other = seen
    assert torch.equal(joints, second[1]) and torch.equal(visible, second[2])
    assert torch.equal(joints_3d, second[4]) and torch.equal(visible_3d, second[5])
    assert not torch.equal(joints, other[1])  # another step, other masks
    assert visible.shape == (9 - int(9 * 0.6),)


def test_a_pass_without_anything_to_learn_changes_nothing():
    class Nothing(Columns):
        def losses(self, samples):
            yield {}

    task = Nothing()
    runtime = Runtime(torch.device("cpu"), (), 0, 1, "fp32")
    before = [p.clone() for p in task.model.parameters()]
    sums = GradientSteps(task, runtime, schedule(24)).step(torch.arange(24))
    assert sums[:, 0].tolist() == [0, 0, 0] and sums[1:, 1].tolist() == [0, 0]
    for parameter, old in zip(task.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old) and parameter.grad is None


@pytest.mark.parametrize(
    ("task", "unused"),
    [
        ("comp3d", ("encoder2d", "decoder2d", "fcn_dec2d", "spatial_mask_token2d")),
        ("comp2dlift", ("encoder3d", "spatial_mask_token3d")),
    ],
)
def test_parts_that_a_task_does_not_use_stay_as_they_are(pre_training, task, unused):
    runtime = Runtime(torch.device("cpu"), (), 0, 1, "fp32")
    model = build_masked_model(SIZE, decoder_depth=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    completion = MaskedTask(
        MaskedModel(model.train(), runtime),
        pre_training.poses,
        Masking(task, 0, 0.0, (0, 1), (0, 1)),
        test=None,
        rng=RandomSources.of(runtime, 1),
    )
    steps = GradientSteps(completion, runtime, schedule(0))
    for start in (0, 24):
        steps.step(torch.arange(start, start + 24))
    changed = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert not {name for name in changed if name.startswith(unused)}
    trained = "encoder3d" if task == "comp3d" else "encoder2d"
    assert f"{trained}.fc_1.weight" in changed and "fcn_dec3d.1.weight" in changed


@pytest.mark.parametrize(("batch_size", "sizes"), [(10, [10, 10, 5]), (8, [8, 8, 9]), (30, [25])])
def test_the_last_batch_is_smaller_and_never_too_small_for_batch_norm(batch_size, sizes, tmp_path):
    runtime = Runtime(torch.device("cpu"), (), 0, 1, "fp32")
    info = RunInfo(command="test", seed=1, options={}, free_on_resume=frozenset())
    folder = RunFolder(runtime, tmp_path / "run", info, train=True, resume=False)
    task = Columns()
    task.num_samples, task.order = 25, lambda rng: torch.randperm(25, generator=rng)
    plan = replace(schedule(0), batch_size=batch_size)
    batches = Training(task, GradientSteps(task, runtime, plan), runtime, plan, folder)._batches()
    assert [len(batch) for batch in batches] == sizes
    assert torch.cat(batches).sort().values.tolist() == list(range(25))
