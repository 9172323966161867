"""Fine-tuning of a lifter: a batch of windows -> named losses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from common.data.camera import back_project
from common.data.pose_store import PoseStore
from common.data.windowed_poses import WindowedPoses
from common.data.windows import WindowRule, Windows
from common.errors import UserError
from common.tasks.losses import LIFTING_LOSSES, LiftedBatch, Losses
from common.training.checkpoint import WeightFile, load_whole
from common.training.runtime import Runtime
from common.training.steps import TestErrors
from model.build import LIFTERS, Lifter, ModelSize, build_lifter

SIZE_FLAGS = ("frames", "n_joints", "layers", "channel", "d_hid")  # in the order of `ModelSize`


class Lifting:
    """A lifter, with or without a refiner, on the devices of a run."""

    def __init__(
        self,
        lifter: nn.Module,
        refiner: nn.Module | None,
        runtime: Runtime,
        *,
        compiled: bool = False,
    ) -> None:
        """Place the models on the devices of a run.

        Args:
            lifter: a `Lifter`: (B, T, J, 2) -> target frame (B, 1, J, 3), sequence or None.
            refiner: (B, 1, J, 3) twice -> (B, 1, J, 3); None for no refiner.
            runtime: devices and processes.
            compiled: compile the models.
        """
        self.runtime = runtime
        self.modules: dict[str, nn.Module] = {"no_refine": lifter}  # by names of weight files
        if refiner is not None:
            self.modules["refine"] = refiner
        placed = runtime.place(self.modules.values(), compiled=compiled)
        self.lifter: Lifter = cast(Lifter, placed[0])
        self.refiner = placed[1] if refiner is not None else None

    def refined(self, target: Tensor, store: PoseStore, windows: Windows) -> Tensor:
        """Refine target poses by their own back-projection.

        Args:
            target: (B, 1, J, 3) root-relative metres.
            store: where the windows come from.
            windows: B windows.

        Returns:
            (B, 1, J, 3) root-relative metres.
        """
        assert self.refiner is not None
        back_projected = back_project(
            target,
            store.target_root(windows),
            store.target_2d(windows),
            store.window_cameras(windows),
        )
        return self.refiner(target, back_projected)


def load_lifter(path: str | Path) -> nn.Module:
    """A lifter from its weight file alone, in evaluation mode.

    Args:
        path: of a published checkpoint or one of ours; both `module.` spellings load.

    Returns:
        A `Lifter`: (B, T, J, 2) normalised screen coordinates -> target frame (B, 1, J, 3) metres
        relative to the root, and all frames (B, T, J, 3).

    Raises:
        UserError: the file cannot be read or holds no lifter.
    """
    file = WeightFile.load(path)
    held = file.flags()
    missing = [flag for flag in SIZE_FLAGS if flag not in held]
    if missing:
        raise UserError(f"{path}: not a lifter, its tensors do not tell {', '.join(missing)}")
    name = file.record.get("backbone", "mpm")
    if name not in LIFTERS:
        raise UserError(f"{path}: the network {name!r} is not one of {', '.join(LIFTERS)}")
    lifter = build_lifter(name, ModelSize(*(held[flag] for flag in SIZE_FLAGS)))
    load_whole(lifter, file)
    return lifter.eval()


class LiftingTask:
    """What `common.training` needs to fine-tune a lifter."""

    def __init__(
        self,
        lifting: Lifting,
        store: PoseStore,
        rule: WindowRule,
        *,
        test: Callable[[], TestErrors] | None,
        every_frame: bool,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        """Set up a task.

        Args:
            lifting: the models, wrapped for the run's devices.
            store: training poses, on the runtime's device.
            rule: training windows.
            test: evaluates after each epoch; None for not at all.
            every_frame: the loss counts the poses of every frame besides the target's.
            frozen: parts of the models that are not trained.
        """
        self.frozen, self.test = frozen, test
        self.lifting = lifting
        self.modules: Mapping[str, nn.Module] = lifting.modules
        self.store, self.rule = store, rule
        self.poses = WindowedPoses([(store, rule)])
        self.every_frame = every_frame
        self.num_samples = len(self.poses)
        self.frames = rule.frames
        self.loss_names = tuple(LIFTING_LOSSES)
        self.loss_weights: Mapping[str, float] = {
            name: term.weight for name, term in LIFTING_LOSSES.items()
        }

    def counts(self, samples: Tensor) -> Mapping[str, int]:
        """Every loss is a mean over all of some samples."""
        return dict.fromkeys(self.loss_names, len(samples))

    def losses(self, samples: Tensor) -> Iterator[Losses]:
        """The losses of some samples, all of one pass."""
        batch = self._lift(samples)
        computed = {name: term.compute(batch) for name, term in LIFTING_LOSSES.items()}
        yield {name: loss for name, loss in computed.items() if loss is not None}

    def _lift(self, samples: Tensor) -> LiftedBatch:
        """Predictions and targets; predictions keep the root that the network gives them."""
        store, lifting = self.store, self.lifting
        ((_, windows),) = self.poses.windows(samples).parts
        pose_2d = store.window_2d(windows)
        if lifting.refiner is not None:
            target, _ = lifting.lifter(pose_2d, with_sequence=False)
            refined = lifting.refined(target, store, windows)
            return LiftedBatch(pose_2d, target, None, refined, store.target_3d(windows), None)
        target, sequence = lifting.lifter(pose_2d, with_sequence=self.every_frame)
        if sequence is None:
            return LiftedBatch(pose_2d, target, None, None, store.target_3d(windows), None)
        true = store.window_3d(windows)
        of_target = self.rule.target
        true_target = true[:, of_target : of_target + 1]
        return LiftedBatch(pose_2d, target, sequence, None, true_target, true)

    def begin_step(self) -> None:
        """Nothing is decided for a whole step."""

    def order(self, rng: torch.Generator) -> Tensor:
        """The samples of an epoch in random order, (num_samples,) int64 on CPU."""
        return torch.randperm(self.num_samples, generator=rng)

    def sequences_of(self, samples: Tensor) -> list[str]:
        """The sequences of some samples, each named once."""
        return self.poses.sequences_of(samples)

    def evaluate(self) -> TestErrors | None:
        """The test errors, or None without a test."""
        return None if self.test is None else self.test()
