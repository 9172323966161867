"""Fine-tuning and evaluation of a lifter on a pose store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.camera import back_project
from common.metrics import joint_errors, mpjpe, p_mpjpe, velocity_errors
from common.pose_ops import predict_with_flip, with_zero_root
from common.pose_store import PoseStore
from common.runtime import Runtime
from common.windows import WindowIndex, WindowRule, Windows


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

    def predict(self, store: PoseStore, rule: WindowRule, *, batch_size: int, flip: bool) -> Tensor:
        """Lift every frame of a store as the centre of a window.

        Args:
            store: poses, on the runtime's device.
            rule: windows, one a frame.
            batch_size: windows a pass, over all devices.
            flip: average with the mirrored input's prediction.

        Returns:
            (N, J, 3) root-relative metres with the root at 0, on the runtime's device, in the order
            of the store's frames.
        """
        index = WindowIndex(store.offsets, rule)
        batch_size = self.runtime.windows_a_pass(batch_size, rule.frames)
        for module in self.modules.values():
            module.eval()
        predicted = torch.zeros(store.num_frames, store.num_joints, 3, device=store.device)
        mine = torch.arange(len(index)).tensor_split(self.runtime.world_size)[self.runtime.rank]
        with torch.inference_mode():
            for samples in mine.split(batch_size):
                windows = index.windows(samples)
                with self.runtime.autocast():
                    centre = self._centres(store, windows, flip=flip)
                    if self.refiner is not None:
                        centre = self.refined(centre, store, windows.to(store.device))
                place = windows.centres.to(store.device)
                predicted[place] = with_zero_root(centre.float()).squeeze(1)
        return self.runtime.sum_over_processes(predicted)

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
    """Errors of predicted poses, frame by frame.

    Attributes:
        predicted: (N, J, 3) root-relative metres.
        target: (N, J, 3) likewise.
        protocol_1: (N,) mm.
        protocol_2: (N,) mm.
        velocity: (N,) mm a frame; NaN for the first frame of a sequence, which has none.
    """

    predicted: Tensor
    target: Tensor
    protocol_1: Tensor
    protocol_2: Tensor
    velocity: Tensor


def score(predicted: Tensor, store: PoseStore) -> LiftingScores:
    """Compare predicted poses with those of their store.

    Args:
        predicted: (N, J, 3) root-relative metres, in the order of the store's frames.
        store: the true poses.

    Returns:
        The scores, on CPU.
    """
    target = with_zero_root(store.pose_3d)
    velocity = torch.full((len(target),), torch.nan, device=target.device)
    for frames in store.sequence_slices():
        errors = velocity_errors(predicted[frames], target[frames])
        velocity[frames.start + 1 : frames.stop] = errors
    return LiftingScores(
        predicted=predicted.cpu(),
        target=target.cpu(),
        protocol_1=1000 * joint_errors(predicted, target).mean(-1).cpu(),
        protocol_2=1000 * p_mpjpe(predicted, target).cpu(),
        velocity=1000 * velocity.cpu(),
    )


@dataclass(frozen=True)
class LiftingTest:
    """How a lifter is tested.

    Attributes:
        store: test poses, on the runtime's device.
        rule: windows, one a frame.
        batch_size: windows a pass.
        flip: mirror and average.
    """

    store: PoseStore
    rule: WindowRule
    batch_size: int
    flip: bool

    def scores(self, lifting: Lifting) -> LiftingScores:
        """Lift all frames and compare."""
        predicted = lifting.predict(
            self.store, self.rule, batch_size=self.batch_size, flip=self.flip
        )
        return score(predicted, self.store)


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
        self.index = WindowIndex(store.offsets, rule)
        self.every_frame = every_frame
        self.num_samples = len(self.index)
        self.frames = rule.frames

    def loss(self, samples: Tensor) -> Tensor:
        """MPJPE of all frames plus that of the centre; with a refiner that of the refined centre.

        Targets have their root at 0, predictions keep the root that the network gives them.
        """
        store, lifting = self.store, self.lifting
        windows = self.index.windows(samples).to(store.device)
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

    def sequences_of(self, samples: Tensor) -> list[str]:
        """The sequences of some samples, each named once."""
        numbers = self.index.windows(samples).sequences.unique().tolist()
        return [str(self.store.names[number]) for number in numbers]

    def evaluate(self) -> dict[str, float]:
        """Errors averaged over actions, mm: p1 (the criterion), p2, mpjve."""
        if self.test is None:
            return {}
        average = action_table(self.test.scores(self.lifting), self.test.store).average
        return {
            "criterion": average.protocol_1,
            "p1": average.protocol_1,
            "p2": average.protocol_2,
            "mpjve": average.velocity,
        }


@dataclass(frozen=True)
class ActionRow:
    """Mean errors of an action, mm (velocity: mm a frame)."""

    action: str
    protocol_1: float
    protocol_2: float
    velocity: float
    frames: int


@dataclass(frozen=True)
class ActionTable:
    """Errors by action, their unweighted mean, and the mean over all frames."""

    rows: list[ActionRow]
    average: ActionRow
    frame_average: ActionRow


def action_table(scores: LiftingScores, store: PoseStore) -> ActionTable:
    """Average errors over the frames of each action; "Walking 1" counts as Walking.

    Args:
        scores: errors of the store's frames.
        store: names the actions.

    Returns:
        The table, actions in the order of the store.
    """
    actions: dict[str, list[torch.Tensor]] = {}
    for name, frames in zip(store.names, store.sequence_slices(), strict=True):
        numbers = torch.arange(frames.start, frames.stop)
        actions.setdefault(name.action.split(" ")[0], []).append(numbers)
    rows = [_row(action, scores, torch.cat(frames)) for action, frames in actions.items()]
    velocities = [row.velocity for row in rows if row.velocity == row.velocity]
    average = ActionRow(
        "Average",
        protocol_1=sum(row.protocol_1 for row in rows) / len(rows),
        protocol_2=sum(row.protocol_2 for row in rows) / len(rows),
        velocity=sum(velocities) / len(velocities) if velocities else float("nan"),
        frames=len(scores.protocol_1),
    )
    everything = torch.arange(len(scores.protocol_1))
    return ActionTable(rows, average, _row("Average over frames", scores, everything))


def _row(action: str, scores: LiftingScores, frames: Tensor) -> ActionRow:
    return ActionRow(
        action,
        protocol_1=scores.protocol_1[frames].double().mean().item(),
        protocol_2=scores.protocol_2[frames].double().mean().item(),
        velocity=scores.velocity[frames].double().nanmean().item(),
        frames=len(frames),
    )
