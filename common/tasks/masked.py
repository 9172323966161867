"""Masked pre-training, completion and occluded lifting: a batch of windows -> named losses."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.data.pose_ops import mirror_mask, mirror_pose
from common.data.skeleton import Skeleton
from common.data.windowed_poses import Chosen, WindowedPoses
from common.tasks.losses import (
    AUGMENTED_STEP_WEIGHTS,
    AUGMENTED_WEIGHTS,
    MASKED_WEIGHTS,
    Losses,
    Weights,
    mpjpe,
)
from common.tasks.masking import Draw, Masking, SharedMask, drawn_from
from common.training.runtime import Runtime
from common.training.steps import TestErrors

# Camera-space windows (B, T, J, 3) and cameras (B, 9) -> 3D (K, T, J, 3) relative to the root, 2D
# (K, T, J, 2) and weights (K,) of what can be used of them.
Augmenter = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Batch:
    """Inputs of the masked model: poses and what is hidden of them; None for what is not there.

    Attributes:
        pose_2d: (B, T, J, 2) normalised screen coordinates.
        mask_2d: (B, T, J) or (B, 1, J) bool, True = hidden.
        visible_2d: (V,) int64, the visible frames; None if all are.
        pose_3d: (B', T, J, 3) root-relative metres; need not belong to `pose_2d`.
        mask_3d: as for 2D.
        visible_3d: as for 2D.
    """

    pose_2d: Tensor | None
    mask_2d: Tensor | None
    visible_2d: Tensor | None
    pose_3d: Tensor | None
    mask_3d: Tensor | None
    visible_3d: Tensor | None

    def hidden(self, dimensions: int) -> Tensor | None:
        """(B, T, J) bool: what is hidden of 2D or 3D, joints of hidden frames included."""
        pose, mask, visible = (
            (self.pose_2d, self.mask_2d, self.visible_2d)
            if dimensions == 2
            else (self.pose_3d, self.mask_3d, self.visible_3d)
        )
        if pose is None or mask is None:
            return None
        hidden = mask.expand(pose.shape[:-1])
        if visible is None:
            return hidden
        frame_hidden = torch.ones(pose.shape[1], dtype=torch.bool, device=pose.device)
        frame_hidden[visible] = False
        return hidden | frame_hidden[:, None]


@dataclass(frozen=True)
class Recovered:
    """What the masked model makes of a batch; None for what is not computed.

    Attributes:
        recovered_2d: (B, T, J, 2).
        lifted: (B, T, J, 3), 2D decoded to 3D.
        recovered_3d: (B', T, J, 3).
    """

    recovered_2d: Tensor | None
    lifted: Tensor | None
    recovered_3d: Tensor | None


class MaskedModel:
    """A masked model on the devices of a run."""

    def __init__(self, model: nn.Module, runtime: Runtime, *, compiled: bool = False) -> None:
        """Place the model on the devices of a run.

        Args:
            model: a `MaskedPoseModel`.
            runtime: devices and processes.
            compiled: compile it.
        """
        self.modules, self.runtime = {"pretrain": model}, runtime  # by names of weight files
        (self.model,) = runtime.place([model], compiled=compiled)

    def __call__(self, batch: Batch, *, lift: bool) -> Recovered:
        """Recover what a batch hides; `lift` decodes 2D to 3D, too."""
        return Recovered(*self.model(*vars(batch).values(), lift=lift))

    def with_flip(
        self, batch: Batch, skeleton: Skeleton, *, lift: bool, mirror_masks: bool
    ) -> Recovered:
        """Average with the mirrored input's results, both passes in one batch.

        Args:
            batch: inputs.
            skeleton: of the poses.
            lift: decode 2D to 3D, too.
            mirror_masks: hide the mirrored joints in the mirrored pass; False as published, which
                lets it see what the plain pass hides.
        """

        def both(name: str, tensor: Tensor | None) -> Tensor | None:
            if tensor is None or name.startswith("visible"):
                return tensor
            if name.startswith("pose"):
                return torch.cat([tensor, mirror_pose(tensor, skeleton)])
            return torch.cat([tensor, mirror_mask(tensor, skeleton) if mirror_masks else tensor])

        doubled = Batch(**{name: both(name, tensor) for name, tensor in vars(batch).items()})
        averaged: dict[str, Tensor | None] = {}
        for name, result in vars(self(doubled, lift=lift)).items():
            averaged[name] = None
            if result is not None:
                plain, mirrored = result.chunk(2)
                averaged[name] = (plain + mirror_pose(mirrored, skeleton)) / 2
        return Recovered(**averaged)


@dataclass(frozen=True)
class StepMasks:
    """What pre-training hides in a step: one mask for all 2D samples, another for all 3D ones."""

    of_2d: SharedMask
    of_3d: SharedMask

    @classmethod
    def draw(
        cls, masks: Masking, poses: WindowedPoses, rng: torch.Generator, device: torch.device
    ) -> "StepMasks":
        """Draw both."""
        size = poses.frames, poses.skeleton.num_joints
        return cls(*(masks.sample_shared(*size, rng).to(device) for _ in range(2)))


def make_batch(
    masks: Masking,
    windows_2d: Chosen | None,
    windows_3d: Chosen | None,
    skeleton: Skeleton,
    *,
    shared: StepMasks | None = None,
    numbers: Sequence[int | str] | None = None,
    draw: Draw | None = None,
) -> Batch:
    """Gather windows and hide parts of them.

    Args:
        masks: what is hidden.
        windows_2d: windows whose 2D goes in, or None.
        windows_3d: windows whose 3D goes in, or None.
        skeleton: of the poses.
        shared: what all samples hide when pre-training; None for the tasks that hide limbs.
        numbers: limb sets to draw from; None for those of the masks.
        draw: random numbers of the windows, for limb sets; None when pre-training.

    Returns:
        The batch.
    """

    def part(
        pose: Tensor | None, dimensions: int, of_step: SharedMask | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        if pose is None:
            return None, None, None
        if of_step is None:
            assert draw is not None
            return pose, masks.sample_limbs(skeleton, dimensions, numbers, draw), None
        return pose, of_step.joints.expand(len(pose), -1, -1), of_step.visible

    pose_2d = windows_2d.window_2d() if windows_2d is not None and masks.uses_2d else None
    pose_3d = windows_3d.window_3d() if windows_3d is not None and masks.uses_3d else None
    return Batch(
        *part(pose_2d, 2, None if shared is None else shared.of_2d),
        *part(pose_3d, 3, None if shared is None else shared.of_3d),
    )


@dataclass(frozen=True)
class RandomSources:
    """What a masked task draws from.

    Attributes:
        samples: draws for single samples, on the run's device, apart in every process.
        masks: draws the masks that all samples of a step share, on CPU, alike in every process.
        steps: decides which steps are augmented, on CPU, alike in every process.
        choices: chooses among augmenters, on CPU, apart in every process.
    """

    samples: torch.Generator
    masks: torch.Generator
    steps: torch.Generator
    choices: torch.Generator

    @classmethod
    def of(cls, runtime: Runtime, seed: int) -> "RandomSources":
        """New ones, whose states are among the run's."""
        return cls(
            samples=runtime.new_generator(seed),
            masks=runtime.new_common_generator(seed),
            steps=runtime.new_common_generator(seed),
            choices=runtime.new_generator(seed + 2**31, on_host=True),
        )


class MaskedTask:
    """What `common.training` needs to train a masked model."""

    def __init__(
        self,
        model: MaskedModel,
        poses: WindowedPoses,
        masks: Masking,
        *,
        test: Callable[[], TestErrors] | None,
        rng: RandomSources,
        weights: Sequence[float] = (),
        augment: Augmenter | None = None,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        """Set up a task.

        Args:
            model: the model, placed on the run's devices.
            poses: training windows, on the runtime's device.
            masks: what is hidden. When pre-training on both, the 2D and the 3D of a window are two
                samples, shuffled together: an epoch has twice as many.
            test: evaluates after each epoch; None for not at all.
            rng: random sources.
            weights: shares of the stores in the windows of an epoch; empty for as many as each has.
            augment: changes 3D windows in half of the steps when pre-training; None for never.
            frozen: parts of the model that are not trained.
        """
        self.model, self.frozen = model, frozen
        self.modules: Mapping[str, nn.Module] = model.modules
        self.poses, self.masks, self.test, self.rng = poses, masks, test, rng
        self.frames = poses.frames
        self.windows_per_part = _shares(len(poses), weights)
        self.augment = augment
        self.augmented_step = False
        self.step_masks: StepMasks | None = None
        self.copies = len(masks.modalities) if masks.hides_frames else 1
        self.num_samples = self.copies * (sum(self.windows_per_part) or len(poses))
        added = AUGMENTED_WEIGHTS if augment is not None else {}
        unused = {"recovered_2d": not masks.uses_2d, "recovered_3d": not masks.uses_3d}
        names = {**MASKED_WEIGHTS[masks.task], **added}
        self.loss_names = tuple(name for name in names if not unused.get(name))

    @property
    def loss_weights(self) -> Weights:
        """Of the step that has begun."""
        if self.augmented_step:
            return {**AUGMENTED_STEP_WEIGHTS, **AUGMENTED_WEIGHTS}
        return MASKED_WEIGHTS[self.masks.task]

    def order(self, rng: torch.Generator) -> Tensor:
        """The samples of an epoch in random order, (num_samples,) int64 on CPU.

        A store with fewer windows than its share is gone through several times.
        """
        if not self.windows_per_part:
            return torch.randperm(self.num_samples, generator=rng)
        drawn = []
        for copy in range(self.copies):
            for part, count in enumerate(self.windows_per_part):
                mine = self.poses.samples_of(part)
                rounds = [
                    torch.randperm(len(mine), generator=rng)
                    for _ in range(math.ceil(count / len(mine)))
                ]
                first = mine.start + copy * len(self.poses)
                drawn.append(first + torch.cat(rounds)[:count])
        samples = torch.cat(drawn)
        return samples[torch.randperm(len(samples), generator=rng)]

    def begin_step(self) -> None:
        """Draw what all samples of the next step share: masks, and whether it is augmented."""
        if self.augment is not None:
            self.augmented_step = bool(torch.rand((), generator=self.rng.steps) < 0.5)
        if self.masks.hides_frames:
            device = self.model.runtime.device
            self.step_masks = StepMasks.draw(self.masks, self.poses, self.rng.masks, device)

    def counts(self, samples: Tensor) -> Mapping[str, int]:
        """How many of some samples each loss is a mean over: 2D ones or 3D ones."""
        if not self.masks.hides_frames:
            return dict.fromkeys(self.loss_names, len(samples))
        num_2d = int(self._are_2d(samples).sum())
        num_3d = len(samples) - num_2d  # augmented ones are made of these
        return {name: num_2d if name == "recovered_2d" else num_3d for name in self.loss_names}

    def losses(self, samples: Tensor) -> Iterator[Losses]:
        """The losses of some samples, and in an augmented step those of augmented 3D."""
        windows_2d = windows_3d = self._windows(samples)
        if self.masks.hides_frames:
            is_2d = self._are_2d(samples)
            windows_2d = self._windows(samples[is_2d])
            windows_3d = self._windows(samples[~is_2d])
        batch = make_batch(
            self.masks,
            windows_2d,
            windows_3d,
            self.poses.skeleton,
            shared=self.step_masks,
            draw=drawn_from(self.rng.samples, len(samples)),
        )
        lifts = windows_2d is not None and self.masks.lifts
        yield self._losses(batch, windows_2d.window_3d() if lifts and windows_2d else None)
        if self.augmented_step:
            named = {} if windows_3d is None else self._augmented_losses(windows_3d)
            yield {f"augmented_{n.removeprefix('recovered_')}": loss for n, loss in named.items()}

    def _augmented_losses(self, windows: Chosen) -> Losses:
        """The errors on what PoseAug makes of 3D windows, 2D and 3D under the 2D masks."""
        assert self.augment is not None and self.step_masks is not None
        pose_3d, pose_2d, weights = self.augment(windows.absolute_3d(), windows.cameras())
        if len(pose_3d) * self.frames < 2:
            return {}
        joints = self.step_masks.of_2d.joints.expand(len(pose_2d), -1, -1)
        hidden = joints, self.step_masks.of_2d.visible
        return self._losses(Batch(pose_2d, *hidden, pose_3d, *hidden), pose_3d, weights)

    def _losses(
        self, batch: Batch, lifted_target: Tensor | None, weights: Tensor | None = None
    ) -> Losses:
        """The errors of what the model makes of a batch; of lifted 3D where it has a target."""
        if batch.pose_2d is None and batch.pose_3d is None:
            return {}
        result = self.model(batch, lift=lifted_target is not None)
        pairs = {
            "recovered_2d": (result.recovered_2d, batch.pose_2d),
            "recovered_3d": (result.recovered_3d, batch.pose_3d),
            "lifted": (result.lifted, lifted_target),
        }
        return {
            name: mpjpe(predicted, target, weights)
            for name, (predicted, target) in pairs.items()
            if predicted is not None and target is not None
        }

    def _windows(self, samples: Tensor) -> Chosen | None:
        """The windows of some samples; None for fewer than batch norm can work with."""
        if len(samples) * self.frames < 2:
            return None
        return self.poses.windows(samples % len(self.poses))

    def _are_2d(self, samples: Tensor) -> Tensor:
        """Whether samples of pre-training stand for the 2D of their windows, (B,) bool."""
        return (samples < len(self.poses)) & self.masks.uses_2d

    def sequences_of(self, samples: Tensor) -> list[str]:
        """The sequences of some samples, each named once."""
        return self.poses.sequences_of(samples % len(self.poses))

    def evaluate(self) -> TestErrors | None:
        """The test errors, or None without a test."""
        return None if self.test is None else self.test()


def _shares(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in the proportion of some weights that add up to about a total."""
    return [max(round(total * weight / sum(weights)), 1) for weight in weights]
