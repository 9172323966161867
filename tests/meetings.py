"""What each process of a test does: `tests/test_processes.py` runs these in several at once."""

import random
from dataclasses import replace
from typing import Any

import torch
from goldens import filled, without_random_parts
from paths import SAMPLE
from torch import Tensor, distributed, nn

from common.data import h36m
from common.data.pose_ops import with_zero_root
from common.data.skeleton import H36M_17
from common.data.windowed_poses import WindowedPoses
from common.data.windows import WindowRule
from common.errors import FailedElsewhere, FailedRun, UserError
from common.evaluation.lifting import LiftingTest
from common.evaluation.masked import MaskedTest
from common.tasks.lifting import Lifting
from common.tasks.masked import MaskedModel, MaskedTask, RandomSources
from common.tasks.masking import Masking
from common.training import processes as processing
from common.training.processes import Processes
from common.training.runtime import Runtime
from common.training.steps import GradientSteps, Schedule
from model.build import ModelSize, build_lifter, build_masked_model

SIZE = ModelSize(frames=9, num_joints=17, layers=1, width=16, hidden_width=16)
SCHEDULE = Schedule(1, 24, 0, 1e-3, 1, 1, 1, seed=1)
ROUNDS = 30


def runtime_of(processes: Processes) -> Runtime:
    """A run on the CPU in these processes."""
    return Runtime(torch.device("cpu"), (), processes.rank, processes.world_size, "fp32")


def random_gradients(rank: int, number: int, parameters: list[nn.Parameter]) -> None:
    """Gradients of some of the parameters, all of them, or none: another share in every round."""
    rng = torch.Generator().manual_seed(100 * number + rank)
    share = [0.0, 0.5, 1.0][random.Random(100 * number + rank).randrange(3)]
    for parameter in parameters:
        parameter.grad = None
        if torch.rand((), generator=rng) < share:
            parameter.grad = torch.randn(parameter.shape, generator=rng)


def new_parameters() -> list[nn.Parameter]:
    """Parameters of several shapes, one of them a number, one of them not contiguous."""
    shapes = [(3, 4), (), (5,), (2, 1, 2)]
    return [nn.Parameter(torch.zeros(shape)) for shape in shapes]


def sum_random_gradients(processes: Processes) -> list[list[Tensor | None]]:
    """The gradients after each of many exchanges."""
    results = []
    for number in range(ROUNDS):
        parameters = new_parameters()
        random_gradients(processes.rank, number, parameters)
        processes.sum_gradients(parameters)
        results.append([p.grad for p in parameters])
    return results


def masked_task(run: Runtime, augment: Any = None) -> MaskedTask:
    """A pre-training task without dropout; batch norm uses its stored statistics."""
    store = h36m.H36MFiles.read(SAMPLE, "gt").store(["S9"], H36M_17)
    poses = WindowedPoses([(store, WindowRule(9))])
    model = without_random_parts(filled(build_masked_model(SIZE, decoder_depth=1)))
    masks = Masking("pretrain", 5, 0.6, (0,), (0,))
    rng = RandomSources.of(run, 1)
    return MaskedTask(MaskedModel(model, run), poses, masks, test=None, rng=rng, augment=augment)


def step(processes: Processes, samples: list[int], micro_batch: int, keeps: list[int]) -> Any:
    """One pre-training step.

    Args:
        processes: these.
        samples: 2D samples as they are, 3D ones as negative numbers from -1 on.
        micro_batch: of the schedule.
        keeps: for each process, how many windows PoseAug keeps; empty for a step without.

    Returns:
        Gradients, the sums of losses over all processes, how many tensors of numbers were
        exchanged.
    """
    run = runtime_of(processes)

    def augment(pose_3d: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        kept = pose_3d[: keeps[processes.rank]]
        return with_zero_root(kept), kept[..., :2].clamp(-1, 1), torch.ones(len(kept))

    task = masked_task(run, augment if keeps else None)
    begin = task.begin_step

    def begin_augmented() -> None:
        begin()
        task.augmented_step = bool(keeps)

    task.begin_step = begin_augmented
    count = len(task.poses)
    batch = torch.tensor([n if n >= 0 else count - 1 - n for n in samples])
    steps = GradientSteps(task, run, replace(SCHEDULE, micro_batch=micro_batch))
    exchanged, all_reduce = [], distributed.all_reduce

    def counting(tensor: Tensor, *args: Any, **options: Any) -> Any:
        exchanged.append(tensor.is_floating_point())
        return all_reduce(tensor, *args, **options)

    distributed.all_reduce = counting
    sums = steps.step(batch)
    distributed.all_reduce = all_reduce
    gradients = {
        name: parameter.grad for name, parameter in task.modules["pretrain"].named_parameters()
    }
    return gradients, processes.sum(sums), sum(exchanged)


def tables(processes: Processes, windows: int) -> list[Any]:
    """Tables of a masked test of each task, and of a lifting test, of so many windows."""
    run = runtime_of(processes)
    store = h36m.H36MFiles.read(SAMPLE, "gt").store(["S9"], H36M_17).head(windows)
    poses = WindowedPoses([(store, WindowRule(9))])
    results: list[Any] = []
    for name in ("pretrain", "onlylift", "comp3d", "comp2dlift"):
        model = MaskedModel(filled(build_masked_model(SIZE, decoder_depth=1)), run)
        masks = Masking(name, 5, 0.6, (0, 1, 9), (0, 1, 6))
        test = MaskedTest(poses, masks, batch_size=32, flip=True, mirror_masks=True, seed=0)
        results.append([row.values for row in test.table(model, ["h36m"]).rows])
    lifting = Lifting(filled(build_lifter("mpm", SIZE)), None, run)
    lifting_test = LiftingTest(store, WindowRule(9), 32, True, h36m.DATA_SET.table)
    results.append([row.values for row in lifting_test.table(lifting_test.scores(lifting)).rows])
    return results


def fail_on_main(processes: Processes, error: Exception) -> str:
    """What is raised where the main process fails at something that it alone does."""

    def work() -> None:
        raise error

    processes.on_main(lambda: None)
    try:
        processes.on_main(work)
    except (UserError, FailedRun, FailedElsewhere, ZeroDivisionError) as raised:
        processes.wait_for_all()  # they can still meet
        return type(raised).__name__
    return "nothing"


def lose_another(processes: Processes) -> str:
    """What a process raises that waits for one that has ended."""
    processes.wait_for_all()
    if processes.rank == 1:
        distributed.destroy_process_group()
        return "ended"
    try:
        for _ in range(3):
            processes.wait_for_all()
    except FailedRun as error:
        return str(error)
    return "nothing"


def report(processes: Processes, messages: list[str | None]) -> bool:
    """Whether each process speaks that fails with its message; None goes on."""
    processing.WAIT_FOR_MAIN = 1.0
    message = messages[processes.rank]
    return message is not None and processing.speaks(message)
