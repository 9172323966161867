"""The task of masked models: the samples of an epoch, the masks of a step, and its losses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from paths import SAMPLE

from common.data import h36m
from common.data.pose_ops import with_zero_root
from common.data.skeleton import H36M_16, H36M_17
from common.data.windowed_poses import WindowedPoses
from common.data.windows import WindowIndex, WindowRule
from common.tasks.losses import MASKED_WEIGHTS
from common.tasks.masked import (
    MaskedModel,
    MaskedTask,
    RandomSources,
    Recovered,
    StepMasks,
    make_batch,
)
from common.tasks.masking import Masking, drawn_from
from common.training.runtime import Runtime
from common.training.steps import GradientSteps, Schedule, weighted_sum
from model.masked_pose import MaskedPoseModel

PRETRAIN = Masking("pretrain", 5, 0.6, (0,), (0,))
SCHEDULE = Schedule(
    epochs=1, batch_size=2, micro_batch=0, learning_rate=0.1, decay=1, large_decay=1,
    large_decay_epoch=60, seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def files():
    return h36m.H36MFiles.read(SAMPLE, "gt")


@pytest.fixture(scope="module")
def store(files):
    return files.store(["S9"], H36M_17)


@pytest.fixture
def run():
    return Runtime(torch.device("cpu"), (), 0, 1, "fp32")


def small_model(frames):
    return MaskedPoseModel(
        frames=frames, num_joints=17, layers=1, decoder_depth=1, width=16, hidden_width=16
    )


class ShiftingModel:
    """Stands for a masked model: returns what it was given, moved by known distances."""

    modules: dict = {}
    distances = (0.1, 0.2, 0.3)  # of recovered 2D, lifted 3D, recovered 3D

    def __init__(self, runtime):
        self.runtime = runtime
        self.seen = []

    def __call__(self, batch, *, lift):
        self.seen.append(batch)
        results = [batch.pose_2d, batch.pose_3d if lift else None, batch.pose_3d]
        along_x = [distance * (torch.arange(3) == 0) for distance in self.distances]
        return Recovered(
            *(
                pose if pose is None else pose + shift[: pose.shape[-1]]
                for pose, shift in zip(results, along_x, strict=True)
            )
        )


def test_data_set_weights_decide_the_shares_of_an_epoch(store, run):
    poses = WindowedPoses([(store, WindowRule(9, stride=stride)) for stride in (10, 40)])
    task = MaskedTask(
        MaskedModel(small_model(9), run),
        poses,
        PRETRAIN,
        test=None,
        rng=RandomSources.of(run, 0),
        weights=(1, 3),
    )
    order = task.order(torch.Generator().manual_seed(1))
    assert len(order) == task.num_samples
    is_3d = order >= len(poses)
    second = order % len(poses) >= poses.samples_of(1).start
    for half in (second[is_3d], second[~is_3d]):
        assert half.float().mean() == pytest.approx(0.75, abs=0.01)
    # The small set is gone through whole, several times, before any of its windows is left out.
    counts = order[second & ~is_3d].unique(return_counts=True)[1]
    assert len(counts) == len(poses.samples_of(1)) and counts.max() - counts.min() <= 1
    assert not torch.equal(order, task.order(torch.Generator().manual_seed(2)))


def test_an_epoch_of_pre_training_visits_the_2d_and_the_3d_of_every_window(store, run):
    poses = WindowedPoses([(store, WindowRule(9))])
    rng = torch.Generator().manual_seed(0)
    windows = [poses.windows(torch.tensor(chosen)) for chosen in ([1, 2, 3], [10, 11])]
    shared = StepMasks.draw(PRETRAIN, poses, rng, run.device)
    batch = make_batch(PRETRAIN, *windows, H36M_17, shared=shared)
    assert batch.pose_2d.shape == (3, 9, 17, 2) and batch.pose_3d.shape == (2, 9, 17, 3)
    assert not batch.pose_3d[:, :, 0].any()  # root at 0
    # One pair of masks a batch, shared by its samples; 2D and 3D have masks of their own.
    assert (batch.mask_2d == batch.mask_2d[0]).all() and batch.mask_2d.shape == (3, 9, 17)
    assert not torch.equal(batch.mask_2d[0], batch.mask_3d[0])
    assert batch.visible_2d.shape == batch.visible_3d.shape == (4,)
    another = StepMasks.draw(PRETRAIN, poses, rng, run.device)
    other = make_batch(PRETRAIN, *windows, H36M_17, shared=another)
    assert not torch.equal(batch.mask_2d, other.mask_2d)
    task = MaskedTask(ShiftingModel(run), poses, PRETRAIN, test=None, rng=RandomSources.of(run, 0))
    order = task.order(torch.Generator().manual_seed(1))
    assert order.sort().values.tolist() == list(range(2 * len(poses)))


@pytest.mark.parametrize(("modality", "name"), [(2, "recovered_2d"), (3, "recovered_3d")])
def test_pre_training_on_one_modality_visits_every_window_once(store, run, modality, name):
    poses = WindowedPoses([(store, WindowRule(9, stride=50))])
    model, masks = ShiftingModel(run), replace(PRETRAIN, modalities=(modality,))
    task = MaskedTask(model, poses, masks, test=None, rng=RandomSources.of(run, 0))
    samples = task.order(torch.Generator().manual_seed(1))
    assert samples.sort().values.tolist() == list(range(len(poses)))
    task.begin_step()
    (losses,) = task.losses(samples)
    assert task.loss_names == (name,) and list(losses) == [name]
    assert task.counts(samples) == {name: len(poses)}
    (batch,) = model.seen
    assert (batch.pose_2d is None, batch.pose_3d is None) == (modality == 3, modality == 2)


def test_what_is_hidden_of_a_batch(store, run):
    poses = WindowedPoses([(store, WindowRule(9))])
    rng = torch.Generator().manual_seed(0)
    windows = poses.windows(torch.tensor([1, 2]))
    shared = StepMasks.draw(PRETRAIN, poses, rng, run.device)
    hidden = make_batch(PRETRAIN, windows, None, H36M_17, shared=shared).hidden(2)
    shown = [t in shared.of_2d.visible.tolist() for t in range(9)]
    for t in range(9):
        want = shared.of_2d.joints[t] if shown[t] else torch.ones(17, dtype=torch.bool)
        assert torch.equal(hidden[0, t], want) and torch.equal(hidden[1, t], want)
    assert sum(shown) == 4
    masks = Masking("comp3d", 0, 0, (0,), (1,))
    limbs = make_batch(masks, None, windows, H36M_17, draw=drawn_from(rng, 2))
    assert limbs.hidden(2) is None and limbs.hidden(3).shape == (2, 9, 17)
    assert limbs.hidden(3)[0, 4].nonzero().flatten().tolist() == [14, 15, 16]


def test_the_parts_of_a_step_share_its_masks(store, run):
    poses = WindowedPoses([(store, WindowRule(9))])
    model = ShiftingModel(run)
    task = MaskedTask(model, poses, PRETRAIN, test=None, rng=RandomSources.of(run, 0))
    samples = torch.tensor([1, 2, len(poses) + 3, len(poses) + 4])
    for _ in range(2):  # steps
        task.begin_step()
        for _ in range(2):  # parts
            (losses,) = task.losses(samples)
            assert losses["recovered_2d"].item() == pytest.approx(0.1, rel=1e-4)
            assert losses["recovered_3d"].item() == pytest.approx(0.3, rel=1e-4)
    first, second, third, fourth = model.seen
    for one, two in ((first, second), (third, fourth)):
        for name in ("mask_2d", "visible_2d", "mask_3d", "visible_3d"):
            assert torch.equal(getattr(one, name), getattr(two, name))
    assert not torch.equal(first.mask_2d, third.mask_2d)
    assert not torch.equal(first.mask_3d, third.mask_3d)


def test_all_processes_hide_the_same_and_draw_their_own_for_single_samples():
    processes = [Runtime(torch.device("cpu"), (), rank, 2, "fp32") for rank in (0, 1)]
    one, two = (RandomSources.of(process, 5) for process in processes)

    def draws(rng):
        return torch.rand(8, generator=rng)

    assert torch.equal(draws(one.masks), draws(two.masks))
    assert torch.equal(draws(one.steps), draws(two.steps))
    assert not torch.equal(draws(one.samples), draws(two.samples))
    for process in processes:
        (saved,) = replace(process, world_size=1).random_states()
        assert len(saved["generators"] + saved["common_generators"]) == 4


def test_a_batch_too_small_for_batch_norm_changes_nothing(store, run):
    model = small_model(1)
    poses = WindowedPoses([(store, WindowRule(1))])
    task = MaskedTask(
        MaskedModel(model, run), poses, PRETRAIN, test=None, rng=RandomSources.of(run, 0)
    )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    samples = torch.tensor([0, len(poses)])  # one window's 2D, one window's 3D
    task.begin_step()
    assert list(task.losses(samples)) == [{}]
    sums = GradientSteps(task, run, SCHEDULE).step(samples)
    assert sums.tolist() == [[0, 1], [0, 0], [0, 0]]  # the loss, and terms that no sample had
    assert all(p.grad is None for p in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("name", MASKED_WEIGHTS)
def test_the_losses_of_each_task(store, run, name):
    poses = WindowedPoses([(store, WindowRule(9))])
    masks = Masking(name, 5, 0.6, (0, 1), (2, 3))
    model = ShiftingModel(run)
    task = MaskedTask(model, poses, masks, test=None, rng=RandomSources.of(run, 0))
    task.begin_step()
    samples = torch.tensor([1, 2, len(poses) + 3, len(poses) + 4])
    passes = list(task.losses(samples if name == "pretrain" else samples % len(poses)))
    assert len(passes) == 1 and task.loss_names == tuple(MASKED_WEIGHTS[name])
    seen = model.seen[0]
    # What is not computed by this stand-in: without 3D inputs it lifts nothing.
    lifts = name == "onlylift"
    want = {
        "recovered_2d": 0.1 if seen.pose_2d is not None else None,
        "recovered_3d": 0.3 if seen.pose_3d is not None else None,
        "lifted": 0.2 if lifts else None,
    }
    for term, distance in want.items():
        assert (term in passes[0]) == (distance is not None)
        if distance is not None:
            assert passes[0][term].item() == pytest.approx(distance, rel=1e-4)


def test_an_augmented_step(files, run):
    store = files.store(["S9"], H36M_16)
    poses = WindowedPoses([(store, WindowRule(9))])
    given = []

    def augment(pose_3d, camera):
        given.append((pose_3d, camera))
        kept = pose_3d[1:]  # the first is dropped
        return with_zero_root(kept) * 2, kept[..., :2], torch.ones(len(kept))

    model = ShiftingModel(run)
    rng = RandomSources(*(torch.Generator().manual_seed(seed) for seed in (0, 2, 1, 3)))
    task = MaskedTask(model, poses, PRETRAIN, test=None, rng=rng, augment=augment)
    samples = torch.tensor([1, 2, len(poses) + 3, len(poses) + 4, len(poses) + 5])
    chosen = []
    for _ in range(200):
        task.begin_step()
        chosen.append(task.augmented_step)
    assert 0.4 < np.mean(chosen) < 0.6
    task.augmented_step = False
    (losses,) = task.losses(samples)
    loss = weighted_sum(losses, task.loss_weights)
    assert loss.item() == pytest.approx(5 * 0.1 + 2 * 0.3, rel=1e-4)
    model.seen.clear()
    task.augmented_step = True
    passes = list(task.losses(samples))
    sums = [weighted_sum(losses, task.loss_weights).item() for losses in passes]
    assert sums == pytest.approx([5 * 0.1 + 5 * 0.3, 5 * 0.1 + 5 * 0.3 + 0.2], rel=1e-4)
    assert list(passes[1]) == ["augmented_2d", "augmented_3d", "augmented_lifted"]
    assert {name for losses in passes for name in losses} == set(task.loss_names)
    plain, augmented = model.seen
    # The augmenter got the camera-space poses of the 3D windows, every joint at its position.
    windows = WindowIndex(store.offsets, WindowRule(9)).windows(torch.tensor([3, 4, 5]))
    relative, root = store.window_3d(windows), store.window_root(windows)
    (pose_3d, camera) = given[0]
    torch.testing.assert_close(pose_3d[:, :, 5], relative[:, :, 5] + root[:, :, 0])
    torch.testing.assert_close(pose_3d[:, :, 0], root[:, :, 0])
    assert root[..., 2].min() > 1  # metres before the camera
    assert torch.equal(camera, store.cameras[:1].expand(3, -1))
    # Both augmented inputs are hidden like the 2D of the batch.
    assert len(augmented.pose_2d) == len(augmented.pose_3d) == 2
    for mask, visible in (
        (augmented.mask_2d, augmented.visible_2d),
        (augmented.mask_3d, augmented.visible_3d),
    ):
        assert torch.equal(mask, plain.mask_2d[:2]) and torch.equal(visible, plain.visible_2d)
    assert not torch.equal(plain.mask_3d[0], plain.mask_2d[0])
