"""Steps and evaluations on a simulated GPU: nothing on the wrong device, no hidden wait.

Unchecked here, because no number is computed: backward passes (PyTorch's own), autocast to bf16 and
TF32, the fused kernels of a GPU, `score` and whatever follows the passes of a test, which may wait.
"""

import pytest
import torch
from paths import SAMPLE
from poseaug import far_generator
from simulated import DeviceWait, fake_backward, simulated_run, simulation

from Augpart.augment import PoseAugmenter
from common.data import h36m
from common.data.skeleton import H36M_16, H36M_17
from common.data.windowed_poses import WindowedPoses
from common.data.windows import WindowRule
from common.evaluation.lifting import LiftingTest
from common.evaluation.masked import MaskedTest
from common.tasks.lifting import Lifting, LiftingTask
from common.tasks.masked import MaskedModel, MaskedTask, RandomSources
from common.tasks.masking import Masking
from common.training.steps import GradientSteps, Schedule
from model.build import ModelSize, build_lifter, build_masked_model
from model.lifter import PoseRefiner

GPUS = pytest.mark.parametrize(
    "count", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["one GPU", "two GPUs"]
)
RULE = WindowRule(9, frame_step=2, stride=40, mirror=True, reverse=True)
SCHEDULE = Schedule(
    epochs=1, batch_size=24, micro_batch=0, learning_rate=1e-3, decay=1, large_decay=1,
    large_decay_epoch=1, seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def files():
    return h36m.H36MFiles.read(SAMPLE, "gt")


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "backward", fake_backward)
    with simulation() as simulated:
        yield simulated


def size(joints):
    return ModelSize(frames=9, num_joints=joints, layers=1, width=16, hidden_width=16)


def steps_never_wait(gpu, task, run, samples):
    """Two steps, the second of which must not wait; the first one makes what is made once."""
    steps = GradientSteps(task, run, SCHEDULE)
    for module in task.modules.values():
        module.train()
    steps.step(samples)
    with gpu.never_waiting():
        sums = steps.step(samples)
    assert sums.device == run.device
    moved = [p for p in steps.parameters if p.grad is not None]
    assert moved and all(p.device == run.device for p in moved)


@GPUS
@pytest.mark.parametrize("refine", [False, True], ids=["lifter", "refined"])
def test_a_fine_tuning_step(gpu, files, refine, count):
    run = simulated_run(count)
    store = files.store(["S6"], H36M_17).to(run.device)
    refiner = PoseRefiner(num_joints=17) if refine else None
    lifting = Lifting(build_lifter("mpm", size(17), trains_sequence=not refine), refiner, run)
    task = LiftingTask(lifting, store, RULE, test=None, every_frame=not refine)
    steps_never_wait(gpu, task, run, task.order(torch.Generator())[:24])


@GPUS
@pytest.mark.parametrize("name", ["pretrain", "PoseAug", "onlylift", "comp3d", "comp2dlift"])
def test_a_pre_training_step(gpu, files, name, count, tmp_path, monkeypatch):
    run = simulated_run(count)
    augmented = name == "PoseAug"
    skeleton = H36M_16 if augmented else H36M_17
    store = files.store(["S6"], skeleton).to(run.device)
    poses = WindowedPoses([(store, RULE)])
    model = build_masked_model(size(skeleton.num_joints), decoder_depth=1)
    rng = RandomSources.of(run, 1)
    augment = None
    if augmented:
        (tmp_path / "g.pth.tar").touch()
        monkeypatch.setattr("Augpart.augment.load_generator", lambda *_, **__: far_generator(1.0))
        augment = PoseAugmenter(
            tmp_path, length_limit=0.15, generator=rng.samples, choices=rng.choices
        )
    masks = Masking("pretrain" if augmented else name, 5, 0.6, (0, 1, 9), (0, 1, 6))
    task = MaskedTask(MaskedModel(model, run), poses, masks, test=None, rng=rng, augment=augment)
    if augmented:
        task.begin_step = lambda begin=task.begin_step: (
            begin(), setattr(task, "augmented_step", True)
        )  # fmt: skip
    steps_never_wait(gpu, task, run, task.order(torch.Generator())[:24])


@GPUS
@pytest.mark.parametrize("flip", [False, True], ids=["plain", "flipped"])
def test_the_passes_of_a_lifting_test(gpu, files, flip, count):
    run = simulated_run(count)
    store = files.store(["S9"], H36M_17).head(40).to(run.device)
    lifting = Lifting(build_lifter("mpm", size(17)), PoseRefiner(num_joints=17), run)
    test = LiftingTest(store, WindowRule(9), 32, flip, h36m.DATA_SET.table)
    test.predict(lifting)
    with gpu.never_waiting():
        predicted, frames = test.predict(lifting)
    assert predicted.device == run.device and predicted.shape == (40, 17, 3)
    assert frames.device.type == "cpu"


@GPUS
@pytest.mark.parametrize("name", ["pretrain", "onlylift", "comp3d", "comp2dlift"])
def test_the_passes_of_a_masked_test(gpu, files, name, count):
    run = simulated_run(count)
    store = files.store(["S9"], H36M_17).head(40).to(run.device)
    poses = WindowedPoses([(store, WindowRule(9))])
    model = MaskedModel(build_masked_model(size(17), decoder_depth=1), run)
    masks = Masking(name, 5, 0.6, (0, 1, 9), (0, 1, 6))
    test = MaskedTest(poses, masks, batch_size=32, flip=True, mirror_masks=True, seed=0)
    test.per_window(model)
    with gpu.never_waiting():
        per_window = test.per_window(model)
    assert per_window.device == run.device and per_window.shape == (40, 6, 2)


@pytest.mark.parametrize(
    "act",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: bool(x.any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: torch.arange(3).to(x.device),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: x[[0, 1]],
    ],
    ids=["item", "mask", "nonzero", "bool", "tolist", "cpu", "to", "index", "list"],
)
def test_the_simulation_notices_waits(gpu, act):
    x = torch.ones(3, device="cuda:0")
    with pytest.raises(DeviceWait), gpu.never_waiting():
        act(x)


def test_the_simulation_notices_the_wrong_device(gpu):
    x = torch.ones(3, device="cuda:0")
    for other in (torch.ones(3), torch.ones(3, device="cuda:1")):
        with pytest.raises(RuntimeError, match="device"):
            x + other
