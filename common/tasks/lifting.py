"""Fine-tuning and evaluation of a lifter on a pose store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.data.camera import back_project
from common.data.pose_ops import predict_with_flip, with_zero_root
from common.data.pose_store import PoseStore, SequenceName, WindowedPoses
from common.data.windows import WindowIndex, WindowRule, Windows
from common.evaluation.metrics import correct_joints, joint_errors, mpjpe, p_mpjpe, velocity_errors
from common.training.runtime import Runtime


class Lifting:
    """A lifter, with or without a refiner, on the devices of a run."""

    def __init__(
        self, modules: Mapping[str, nn.Module], runtime: Runtime, *, compiled: bool = False
    ) -> None:
        """Place the models on the devices of a run.

        Args:
            modules: "no_refine": the lifter, (B, T, J, 2) -> centre (B, 1, J, 3) and sequence
                (B, T, J, 3) or None; "refine", if refining: (B, 1, J, 3) twice -> (B, 1, J, 3).
            runtime: devices and processes.
            compiled: compile the models.
        """
        self.modules, self.runtime = modules, runtime
        self.lifter, *refiner = runtime.place(modules.values(), compiled=compiled)
        self.refiner = refiner[0] if refiner else None

    def refined(self, centre: Tensor, store: PoseStore, windows: Windows) -> Tensor:
        """Refine centre poses by their own back-projection.

        Args:
            centre: (B, 1, J, 3) root-relative metres.
            store: where the windows come from.
            windows: B windows.

        Returns:
            (B, 1, J, 3) root-relative metres.
        """
        assert self.refiner is not None
        back_projected = back_project(
            centre,
            store.centre_3d(windows)[:, :, :1],
            store.centre_2d(windows),
            store.window_cameras(windows),
        )
        return self.refiner(centre, back_projected)

    def predict(
        self, store: PoseStore, rule: WindowRule, *, batch_size: int, flip: bool
    ) -> tuple[Tensor, Tensor]:
        """Lift every frame of a store that counts, each as the centre of a window.

        Args:
            store: poses, on the runtime's device.
            rule: windows, one a frame.
            batch_size: windows a pass, over all devices.
            flip: average with the mirrored input's prediction.

        Returns:
            (M, J, 3) root-relative metres with the root at 0, on the runtime's device; (M,) int64
            on CPU, the frames in the store, in order.
        """
        index = WindowIndex(store.offsets, rule, store.counted)
        batch_size = self.runtime.windows_a_pass(batch_size, rule.frames)
        for module in self.modules.values():
            module.eval()
        predicted = torch.zeros(len(index), store.num_joints, 3, device=store.device)
        mine = torch.arange(len(index)).tensor_split(self.runtime.world_size)[self.runtime.rank]
        with torch.inference_mode():
            for samples in mine.split(batch_size):
                windows = index.windows(samples)
                with self.runtime.autocast():
                    centre = self._centres(store, windows, flip=flip)
                    if self.refiner is not None:
                        centre = self.refined(centre, store, windows.to(store.device))
                predicted[samples] = with_zero_root(centre.float()).squeeze(1)
        frames = index.windows(torch.arange(len(index))).centres
        return self.runtime.sum_over_processes(predicted), frames

    def _centres(self, store: PoseStore, windows: Windows, *, flip: bool) -> Tensor:
        """Centre poses (B, 1, J, 3) of windows that are on the CPU."""
        if isinstance(self.lifter, nn.DataParallel):  # it can only split whole windows
            pose_2d, frames = store.window_2d(windows.to(store.device)), None
        else:
            frames = windows.frames
            first, last = int(frames.min()), int(frames.max())
            pose_2d = store.pose_2d[None, first : last + 1]
            frames = (frames - first).to(store.device, non_blocking=True)

        def centres(poses: Tensor) -> Tensor:
            return self.lifter(poses, frames, with_sequence=False)[0]

        return predict_with_flip(centres, pose_2d) if flip else centres(pose_2d)


@dataclass(frozen=True)
class LiftingScores:
    """Errors of predicted poses, frame by frame; NaN where the true pose is not known.

    Attributes:
        frames: (M,) int64, the frames in the store.
        predicted: (M, J, 3) root-relative metres.
        target: (M, J, 3) likewise.
        protocol_1: (M,) mm.
        protocol_2: (M,) mm.
        velocity: (M,) mm a frame; NaN where the frame before was not predicted.
        pck: (M,) share of the joints within 150 mm, %.
        auc: (M,) its mean over the thresholds 0, 5, ..., 150 mm, %.
    """

    frames: Tensor
    predicted: Tensor
    target: Tensor
    protocol_1: Tensor
    protocol_2: Tensor
    velocity: Tensor
    pck: Tensor
    auc: Tensor


def score(predicted: Tensor, frames: Tensor, store: PoseStore) -> LiftingScores:
    """Compare predicted poses with those of their store, all at once on its device.

    Args:
        predicted: (M, J, 3) root-relative metres.
        frames: (M,) int64 on CPU, their frames in the store, in order.
        store: the true poses.

    Returns:
        The scores, on CPU.
    """
    target = with_zero_root(store.pose_3d[frames.to(store.device)])
    errors = joint_errors(predicted, target)  # (M, J)
    known = errors.isfinite().all(-1)
    protocol_2 = torch.full_like(errors[:, 0], torch.nan)
    protocol_2[known] = p_mpjpe(predicted[known], target[known])
    velocity = torch.full_like(protocol_2, torch.nan)
    sequences = store.sequences_of(frames)
    follows = ((frames.diff() == 1) & (sequences.diff() == 0)).to(store.device)
    velocity[1:] = torch.where(follows, velocity_errors(predicted, target), velocity[1:])
    within, area = (shares.mean(-1) for shares in correct_joints(errors))
    unknown = torch.where(known, 0.0, torch.nan)
    return LiftingScores(
        frames=frames,
        predicted=predicted.cpu(),
        target=target.cpu(),
        protocol_1=1000 * errors.mean(-1).cpu(),
        protocol_2=1000 * protocol_2.cpu(),
        velocity=1000 * velocity.cpu(),
        pck=100 * (within + unknown).cpu(),
        auc=100 * (area + unknown).cpu(),
    )


@dataclass(frozen=True)
class Benchmark:
    """How a data set's errors are averaged.

    Attributes:
        title: what a row of its table is.
        row_of: the row that a sequence belongs to.
        by_frames: whether the result is the mean over all frames; else the unweighted one of rows.
        errors: which errors it reports: fields of `ErrorRow`.
    """

    title: str
    row_of: Callable[[SequenceName], str]
    by_frames: bool
    errors: tuple[str, ...]


ERRORS = ("protocol_1", "protocol_2", "velocity", "pck", "auc")
# "Walking 1" counts as Walking.
HUMAN36M = Benchmark(
    title="Action",
    row_of=lambda name: name.action.split(" ")[0],
    by_frames=False,
    errors=ERRORS[:3],
)
MPI_INF_3DHP = Benchmark(
    title="Sequence",
    row_of=lambda name: name.subject,
    by_frames=True,
    errors=ERRORS,
)
# Names of the errors in logs.
LOGGED_NAMES = {"protocol_1": "p1", "protocol_2": "p2", "velocity": "mpjve"}


@dataclass(frozen=True)
class LiftingTest:
    """How a lifter is tested.

    Attributes:
        store: test poses, on the runtime's device.
        rule: windows, one a frame.
        batch_size: windows a pass.
        flip: mirror and average.
        benchmark: how errors are averaged.
    """

    store: PoseStore
    rule: WindowRule
    batch_size: int
    flip: bool
    benchmark: Benchmark

    def scores(self, lifting: Lifting) -> LiftingScores:
        """Lift all frames and compare."""
        predicted, frames = lifting.predict(
            self.store, self.rule, batch_size=self.batch_size, flip=self.flip
        )
        return score(predicted, frames, self.store)

    def table(self, scores: LiftingScores) -> "ErrorTable":
        """Average the errors of the store's frames."""
        return error_table(scores, self.store, self.benchmark)


class LiftingTask:
    """What `common.training` needs to fine-tune a lifter."""

    def __init__(
        self,
        lifting: Lifting,
        store: PoseStore,
        rule: WindowRule,
        *,
        test: LiftingTest | None,
        every_frame: bool,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        """Set up a task.

        Args:
            lifting: the models, wrapped for the run's devices.
            store: training poses, on the runtime's device.
            rule: training windows.
            test: how to test after each epoch; None for not at all.
            every_frame: the loss counts the poses of every frame besides the centre's.
            frozen: parts of the models that are not trained.
        """
        self.frozen = frozen
        self.lifting, self.modules = lifting, lifting.modules
        self.store, self.test = store, test
        self.poses = WindowedPoses([(store, rule)])
        self.every_frame = every_frame
        self.num_samples = len(self.poses)
        self.frames = rule.frames

    def losses(self, samples: Tensor) -> Iterator[Tensor]:
        """The one loss () of some samples."""
        yield self.loss(samples)

    def loss(self, samples: Tensor) -> Tensor:
        """MPJPE of all frames plus that of the centre; with a refiner that of the refined centre.

        Targets have their root at 0, predictions keep the root that the network gives them.
        """
        store, lifting = self.store, self.lifting
        ((_, windows),) = self.poses.windows(samples).parts
        pose_2d = store.window_2d(windows)
        if lifting.refiner is not None:
            centre, _ = lifting.lifter(pose_2d, with_sequence=False)
            refined = lifting.refined(centre, store, windows)
            return mpjpe(refined, with_zero_root(store.centre_3d(windows)))
        centre, sequence = lifting.lifter(pose_2d, with_sequence=self.every_frame)
        if sequence is None:
            return mpjpe(centre, with_zero_root(store.centre_3d(windows)))
        target = with_zero_root(store.window_3d(windows))
        middle = self.frames // 2
        return mpjpe(sequence, target) + mpjpe(centre, target[:, middle : middle + 1])

    def begin_step(self) -> None:
        """Nothing is decided for a whole step."""

    def order(self, generator: torch.Generator) -> Tensor:
        """The samples of an epoch in random order, (num_samples,) int64 on CPU."""
        return torch.randperm(self.num_samples, generator=generator)

    def sequences_of(self, samples: Tensor) -> list[str]:
        """The sequences of some samples, each named once."""
        return self.poses.sequences_of(samples)

    def evaluate(self) -> dict[str, float]:
        """The errors of the benchmark's result; protocol 1 is the criterion."""
        if self.test is None:
            return {}
        result = self.test.table(self.test.scores(self.lifting)).result
        errors = {name: getattr(result, name) for name in self.test.benchmark.errors}
        named = {LOGGED_NAMES.get(name, name): value for name, value in errors.items()}
        return {"criterion": result.protocol_1, **named}


@dataclass(frozen=True)
class ErrorRow:
    """Mean errors of some frames: mm; velocity mm a frame; PCK and AUC %."""

    name: str
    protocol_1: float
    protocol_2: float
    velocity: float
    pck: float
    auc: float
    frames: int


@dataclass(frozen=True)
class ErrorTable:
    """Errors by row of a benchmark, their unweighted mean, and the mean over all frames."""

    benchmark: Benchmark
    rows: list[ErrorRow]
    average: ErrorRow
    frame_average: ErrorRow

    @property
    def result(self) -> ErrorRow:
        """The mean that the benchmark reports."""
        return self.frame_average if self.benchmark.by_frames else self.average


def error_table(scores: LiftingScores, store: PoseStore, benchmark: Benchmark) -> ErrorTable:
    """Average errors over the frames of each row of a benchmark.

    Args:
        scores: errors of frames.
        store: names their sequences.
        benchmark: which rows there are.

    Returns:
        The table, rows in the order of the store.
    """
    rows_of_sequences = [benchmark.row_of(name) for name in store.names]
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows_of_sequences))}
    row_of_frame = torch.tensor([numbers[row] for row in rows_of_sequences])[
        store.sequences_of(scores.frames)
    ]
    rows = [
        _row(name, scores, (row_of_frame == number).nonzero().flatten())
        for name, number in numbers.items()
        if (row_of_frame == number).any()
    ]
    everything = torch.arange(len(scores.frames))
    means = {name: _mean([getattr(row, name) for row in rows]) for name in ERRORS}
    return ErrorTable(
        benchmark,
        rows,
        ErrorRow("Average", **means, frames=len(everything)),
        _row("Average over frames", scores, everything),
    )


def _row(name: str, scores: LiftingScores, frames: Tensor) -> ErrorRow:
    means = {error: getattr(scores, error)[frames].double().nanmean().item() for error in ERRORS}
    return ErrorRow(name, **means, frames=len(frames))


def _mean(values: Sequence[float]) -> float:
    """Of those that are not NaN: a row of single frames has no velocity."""
    return torch.tensor(values, dtype=torch.float64).nanmean().item()
