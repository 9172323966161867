"""What tests/gpu_check.py measures: tasks of given sizes on a device, and the sizes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from goldens import without_dropout
from paths import SAMPLE
from poseaug import far_generator, save_generator
from torch import Tensor, nn

from Augpart.augment import PoseAugmenter
from common.data import h36m
from common.data.pose_store import PoseStore
from common.data.skeleton import H36M_16, H36M_17
from common.data.windowed_poses import Chosen, WindowedPoses
from common.data.windows import WindowRule, Windows
from common.evaluation.lifting import LiftingTest
from common.evaluation.masked import MaskedTest
from common.tasks.lifting import Lifting, LiftingTask
from common.tasks.masked import MaskedModel, MaskedTask, RandomSources
from common.tasks.masking import Masking
from common.training.runtime import Runtime
from common.training.steps import GradientSteps, LossTask, Schedule
from model.build import ModelSize, build_lifter, build_masked_model

SEED = 1
KINDS = ("fine-tuning", "pre-training", "pre-training with PoseAug", "completion")


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        model: of fine-tuning and pre-training.
        batch: windows per step.
        completion: of the completion models.
        completion_batch: windows per step.
        equal_batch: windows per step where a CPU computes the same.
        test_windows: of an evaluation.
        seconds: of each measurement.
    """

    model: ModelSize
    batch: int
    completion: ModelSize
    completion_batch: int
    equal_batch: int
    test_windows: int
    seconds: float

    @classmethod
    def published(cls, *, quick: bool) -> "Sizes":
        """243 frames, 1024 windows; 27 frames, 2048 windows."""
        return cls(
            ModelSize(243, 17, 4, 256, 512),
            1024,
            ModelSize(27, 17, 3, 256, 512),
            2048,
            equal_batch=8,
            test_windows=4096,
            seconds=2.0 if quick else 10.0,
        )

    @classmethod
    def tiny(cls) -> "Sizes":
        """For a look at whether the script itself works."""
        small = ModelSize(9, 17, 1, 16, 16)
        return cls(small, 16, small, 16, equal_batch=8, test_windows=40, seconds=0.05)


def poses(joints: int, device: torch.device) -> PoseStore:
    """The training poses of the sample."""
    skeleton = H36M_17 if joints == 17 else H36M_16
    files = h36m.H36MFiles.read(SAMPLE, "gt")
    return files.store(h36m.TRAIN_SUBJECTS, skeleton).to(device)


def make_task(
    kind: str, run: Runtime, size: ModelSize, *, compiled: bool = False, dropout: bool = True
) -> LossTask:
    """A task with first weights that depend on nothing but the seed."""
    augments = kind == "pre-training with PoseAug"
    size = replace(size, num_joints=16) if augments else size
    rule = WindowRule(size.frames, frame_step=2, mirror=True)
    store = poses(size.num_joints, run.device)
    torch.manual_seed(SEED)
    model: nn.Module
    if kind == "fine-tuning":
        model = build_lifter("mpm", size)
    else:
        model = build_masked_model(size, decoder_depth=2 if kind == "completion" else 1)
    if not dropout:
        without_dropout(model)
    if kind == "fine-tuning":
        lifting = Lifting(model, None, run, compiled=compiled)
        return LiftingTask(lifting, store, rule, test=None, every_frame=True)
    name = "comp2dlift" if kind == "completion" else "pretrain"
    rng = RandomSources.of(run, SEED)
    task = MaskedTask(
        MaskedModel(model, run, compiled=compiled),
        WindowedPoses([(store, rule)]),
        Masking(name, 5, 0.6, (0, 1, 2, 3), (0, 1, 2, 3)),
        test=None,
        rng=rng,
        augment=_augmenter(rng) if augments else None,
    )
    return task


def _augmenter(rng: RandomSources) -> PoseAugmenter:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save_generator(Path(folder) / "g.pth.tar", far_generator(1.0))
        return PoseAugmenter(
            Path(folder), length_limit=0.15, generator=rng.samples, choices=rng.choices
        )


def steps_of(task: LossTask, run: Runtime, batch: int) -> GradientSteps:
    """The optimiser's steps of a task, the whole batch at once."""
    schedule = Schedule(1, batch, batch, 1e-4, 1, 1, 1, seed=SEED)
    for module in task.modules.values():
        module.train()
    return GradientSteps(task, run, schedule)


def batches(task: LossTask, batch: int) -> Iterator[Tensor]:
    """Batches of a task in the order of an epoch, from the start again when it is over."""
    while True:
        order = task.order(torch.Generator().manual_seed(SEED))
        yield from (part for part in order.split(batch) if len(part) == batch)


def lifting_test(run: Runtime, size: ModelSize, sizes: Sizes) -> Callable[[], Tensor]:
    """Predicts test windows with mirroring."""
    torch.manual_seed(SEED)
    lifting = Lifting(build_lifter("mpm", size), None, run)
    store = poses(size.num_joints, run.device).head(sizes.test_windows)
    table = h36m.DATA_SET.table
    assert table is not None
    test = LiftingTest(store, WindowRule(size.frames, 2), sizes.batch, True, table)
    return lambda: test.predict(lifting)[0]


def masked_test(run: Runtime, size: ModelSize, sizes: Sizes) -> Callable[[], Tensor]:
    """Errors of test windows of a completion model, with mirroring."""
    torch.manual_seed(SEED)
    model = MaskedModel(build_masked_model(size, decoder_depth=2), run)
    store = poses(size.num_joints, run.device).head(sizes.test_windows)
    windows = WindowedPoses([(store, WindowRule(size.frames, 2))])
    masks = Masking("comp2dlift", 5, 0.6, (0, 1, 9), (0, 1, 6))
    test = MaskedTest(windows, masks, sizes.completion_batch, True, True, seed=0)
    return lambda: test.per_window(model)


class Gathered:
    """Stands for the windows and the store of a lifting task: one batch, gathered beforehand."""

    def __init__(self, task: LiftingTask, samples: Tensor) -> None:
        self.chosen = task.poses.windows(samples)
        self.inputs, self.targets = self.chosen.window_2d(), self.chosen.window_3d()

    def windows(self, _: Tensor) -> Chosen:
        return self.chosen

    def window_2d(self, _: Windows) -> Tensor:
        return self.inputs

    def window_3d(self, _: Windows) -> Tensor:
        return self.targets


@contextmanager
def precision_of(run: Runtime, name: str) -> Iterator[Runtime]:
    """The same run in another precision."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    try:
        yield replace(run, precision=name)
    finally:
        torch.set_float32_matmul_precision(before)


def synchronise(device: torch.device) -> None:
    """Wait until a device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(work: Callable[[], int], device: torch.device, seconds: float, warm_up: int = 3) -> float:
    """Windows per second of a call that returns how many it did."""
    for _ in range(warm_up):
        work()
    synchronise(device)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        count += sum(work() for _ in range(4))
        synchronise(device)
    return count / (time.perf_counter() - started)
