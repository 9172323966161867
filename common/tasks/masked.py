"""Masked pre-training, completion and occluded lifting on one or several pose stores."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.data.pose_ops import at_its_position, mirror_mask, mirror_pose, with_zero_root
from common.data.pose_store import Chosen, WindowedPoses
from common.data.skeleton import SKELETONS
from common.evaluation.metrics import joint_errors, mpjpe
from common.tasks import masking
from common.training.runtime import Runtime

# Weights of recovered 2D, recovered 3D and lifted 3D in the loss of each task (SPEC section 6).
LOSS_WEIGHTS: dict[str, tuple[float, float, float]] = {
    "pretrain": (5, 2, 0),
    "onlylift": (2, 3, 8),
    "comp3d": (0, 1, 0),
    "comp2dlift": (1, 0, 2),
}
# A step with PoseAug: of the batch itself, and of its augmented 3D windows.
AUGMENTED_STEP_WEIGHTS: tuple[float, float, float] = (5, 5, 0)
AUGMENTED_WEIGHTS: tuple[float, float, float] = (5, 5, 1)
# Camera-space windows (B, T, J, 3), every joint at its own position, and cameras (B, 9) -> 3D
# (K, T, J, 3) with the root at 0 and 2D (K, T, J, 2) of the K <= B that can be used.
Augmenter = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Masking:
    """What is hidden.

    Attributes:
        task: a key of `LOSS_WEIGHTS`; "pretrain" hides joints and frames, the others limbs.
        num_masked_joints: joints hidden in each frame when pre-training.
        frame_mask_ratio: share of frames hidden when pre-training.
        numbers_2d: limb sets of 2D, keys of `masking.LIMBS_2D` or random from 4 on.
        numbers_3d: limb sets of 3D.
    """

    task: str
    num_masked_joints: int
    frame_mask_ratio: float
    numbers_2d: tuple[int, ...]
    numbers_3d: tuple[int, ...]

    @property
    def uses_2d(self) -> bool:
        """Whether 2D goes in."""
        return self.task != "comp3d"

    @property
    def uses_3d(self) -> bool:
        """Whether 3D goes in."""
        return self.task != "comp2dlift"

    @property
    def lifts(self) -> bool:
        """Whether 2D is decoded to 3D."""
        return LOSS_WEIGHTS[self.task][2] > 0

    def sample(
        self, pose: Tensor, numbers: Sequence[int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Masks for a batch.

        Args:
            pose: (B, T, J, C), the batch.
            numbers: limb sets to choose from, for the tasks that hide limbs.
            generator: decides.

        Returns:
            (B, T, J) or (B, 1, J) bool joint mask, True = hidden; (B, V) int64 visible frames, or
            None if no frame is hidden. When pre-training, every row is the same.
        """
        batch, frames, num_joints, coordinates = pose.shape
        if self.task != "pretrain":
            limbs = masking.LIMBS_2D if coordinates == 2 else masking.LIMBS_3D
            mask = masking.sample_limb_masks(
                batch, num_joints, limbs=limbs, numbers=numbers, generator=generator
            )
            return mask.unsqueeze(1), None
        joint_mask = masking.sample_joint_mask(
            frames, num_joints, num_masked_joints=self.num_masked_joints, generator=generator
        )
        visible = masking.sample_visible_frames(
            frames, frame_mask_ratio=self.frame_mask_ratio, generator=generator
        )
        return joint_mask.expand(batch, -1, -1), visible.expand(batch, -1)


@dataclass(frozen=True)
class Batch:
    """Inputs of the masked model: poses and what is hidden of them; None for what is not there."""

    pose_2d: Tensor | None
    mask_2d: Tensor | None
    visible_2d: Tensor | None
    pose_3d: Tensor | None
    mask_3d: Tensor | None
    visible_3d: Tensor | None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """In the order of the model's arguments."""
        return tuple(vars(self).values())


class MaskedModel:
    """A masked model on the devices of a run."""

    def __init__(
        self, modules: Mapping[str, nn.Module], runtime: Runtime, *, compiled: bool = False
    ) -> None:
        """Place the model on the devices of a run.

        Args:
            modules: "pretrain": the model.
            runtime: devices and processes.
            compiled: compile it.
        """
        self.modules, self.runtime = modules, runtime
        (self.model,) = runtime.place(modules.values(), compiled=compiled, partial=True)

    def __call__(self, batch: Batch, *, lift: bool) -> tuple[Tensor | None, ...]:
        """Recovered 2D, lifted 3D, recovered 3D; None for what is not computed."""
        return self.model(*batch.tensors(), lift=lift)

    def with_flip(
        self, batch: Batch, *, lift: bool, mirror_masks: bool
    ) -> tuple[Tensor | None, ...]:
        """Average with the mirrored input's results, both passes in one batch.

        Args:
            batch: inputs.
            lift: decode 2D to 3D, too.
            mirror_masks: hide the mirrored joints in the mirrored pass; False as published, which
                lets it see what the plain pass hides.
        """

        def both(name: str, tensor: Tensor | None) -> Tensor | None:
            if tensor is None:
                return None
            if name.startswith("pose"):
                return torch.cat([tensor, mirror_pose(tensor)])
            if name.startswith("mask") and mirror_masks:
                return torch.cat([tensor, mirror_mask(tensor)])
            return torch.cat([tensor, tensor])

        doubled = Batch(**{name: both(name, tensor) for name, tensor in vars(batch).items()})
        averaged: list[Tensor | None] = []
        for result in self(doubled, lift=lift):
            if result is None:
                averaged.append(None)
                continue
            plain, mirrored = result.chunk(2)
            averaged.append((plain + mirror_pose(mirrored)) / 2)
        return tuple(averaged)


@dataclass(frozen=True)
class MaskedErrors:
    """Mean errors of an evaluation, each x 1000 (mm in 3D); 0 for what the task does not compute.

    Attributes:
        recovered_2d: over all joints and frames.
        recovered_2d_hidden: over what was hidden.
        recovered_3d: over all; when completing, visible joints keep their true place.
        recovered_3d_hidden: over what was hidden.
        lifted: lifted 3D with its root at 0, over all.
        lifted_hidden: over what was hidden in 2D.
    """

    recovered_2d: float = 0.0
    recovered_2d_hidden: float = 0.0
    recovered_3d: float = 0.0
    recovered_3d_hidden: float = 0.0
    lifted: float = 0.0
    lifted_hidden: float = 0.0


class MaskedTest:
    """How a masked model is tested: every test frame as the centre of a window."""

    def __init__(
        self,
        poses: WindowedPoses,
        masks: Masking,
        *,
        batch_size: int,
        flip: bool,
        mirror_masks: bool,
        seed: int,
    ) -> None:
        """Set up a test.

        Args:
            poses: test windows, on the runtime's device.
            masks: what is hidden.
            batch_size: windows a pass.
            flip: mirror and average.
            mirror_masks: see `MaskedModel.with_flip`.
            seed: of the masks, the same at every evaluation.
        """
        self.poses, self.masks, self.seed = poses, masks, seed
        self.batch_size, self.flip, self.mirror_masks = batch_size, flip, mirror_masks

    def errors(
        self,
        model: MaskedModel,
        numbers: Sequence[int] | None = None,
        *,
        part: int | None = None,
    ) -> MaskedErrors:
        """Evaluate.

        Args:
            model: the model.
            numbers: limb sets to draw from; None for those of the masks.
            part: only the windows of this store; None for all.

        Returns:
            The mean errors.
        """
        for module in model.modules.values():
            module.eval()
        runtime = model.runtime
        generator = torch.Generator(runtime.device).manual_seed(self.seed + runtime.rank)
        sums = torch.zeros(3, 2, dtype=torch.float64, device=runtime.device)
        counts = torch.zeros_like(sums)
        tested = range(len(self.poses)) if part is None else self.poses.samples_of(part)
        samples = torch.arange(tested.start, tested.stop)
        mine = samples.tensor_split(runtime.world_size)[runtime.rank]
        with torch.inference_mode():
            for samples in mine.split(runtime.windows_a_pass(self.batch_size, self.poses.frames)):
                windows = self.poses.windows(samples)
                batch = make_batch(self.masks, windows, windows, generator, numbers=numbers)
                results, targets = self.recover(model, batch), self._targets(batch, windows)
                hidden_2d, hidden_3d = (hidden_entries(batch, dims) for dims in (2, 3))
                for row, (result, target, mask) in enumerate(
                    zip(results, targets, (hidden_2d, hidden_2d, hidden_3d), strict=True)
                ):
                    if result is None or target is None or mask is None:
                        continue
                    errors = joint_errors(result, target).double()  # (B, T, J)
                    sums[row] += torch.stack([errors.sum(), (errors * mask).sum()])
                    counts[row] += torch.stack([mask.new_ones(errors.shape).sum(), mask.sum()])
        runtime.sum_over_processes(sums)
        runtime.sum_over_processes(counts)
        means = 1000 * sums / counts.clamp_min(1)
        recovered_2d, lifted, recovered_3d = means.tolist()  # each: over all, over what was hidden
        return MaskedErrors(*recovered_2d, *recovered_3d, *lifted)

    def examples(self, model: MaskedModel, count: int) -> tuple[list[str], Tensor, Tensor, Tensor]:
        """Centre frames of some windows, for pictures.

        Args:
            model: the model.
            count: how many windows, taken evenly from the test.

        Returns:
            Names of the sequences; true 3D (count, J, 3), recovered or lifted 3D (count, J, 3),
            and what was hidden (count, J), on CPU.
        """
        samples = (torch.arange(count) * 2 + 1) * len(self.poses) // (2 * count)
        windows = self.poses.windows(samples)
        generator = torch.Generator(model.runtime.device).manual_seed(self.seed)
        with torch.inference_mode():
            batch = make_batch(self.masks, windows, windows, generator)
            _, lifted, recovered = self.recover(model, batch)
        hidden = hidden_entries(batch, 3 if lifted is None else 2)
        poses = recovered if lifted is None else lifted
        assert hidden is not None and poses is not None
        middle = hidden.shape[1] // 2
        target = with_zero_root(windows.window_3d()[:, middle])
        names = [name for sample in samples for name in self.poses.sequences_of(sample[None])]
        return names, target.cpu(), poses[:, middle].cpu(), hidden[:, middle].cpu()

    def recover(self, model: MaskedModel, batch: Batch) -> tuple[Tensor | None, ...]:
        """Recovered 2D, lifted 3D, recovered 3D of a batch, as they are reported."""
        lift = self.masks.lifts
        with model.runtime.autocast():
            if self.flip:
                results = model.with_flip(batch, lift=lift, mirror_masks=self.mirror_masks)
            else:
                results = model(batch, lift=lift)
        recovered_2d, lifted, recovered_3d = (r if r is None else r.float() for r in results)
        if lifted is not None:
            lifted = with_zero_root(lifted)
        if recovered_3d is not None and self.masks.task == "comp3d":
            assert batch.mask_3d is not None and batch.pose_3d is not None
            recovered_3d = torch.where(batch.mask_3d.unsqueeze(-1), recovered_3d, batch.pose_3d)
        return recovered_2d, lifted, recovered_3d

    def _targets(self, batch: Batch, windows: Chosen) -> tuple[Tensor | None, ...]:
        lifted = with_zero_root(windows.window_3d()) if self.masks.lifts else None
        return batch.pose_2d, lifted, batch.pose_3d


def hidden_entries(batch: Batch, dimensions: int) -> Tensor | None:
    """(B, T, J) bool: what a batch hides of its 2D or 3D, joints of hidden frames included."""
    pose, mask, visible = (
        (batch.pose_2d, batch.mask_2d, batch.visible_2d)
        if dimensions == 2
        else (batch.pose_3d, batch.mask_3d, batch.visible_3d)
    )
    if pose is None or mask is None:
        return None
    hidden = mask.expand(pose.shape[:-1])
    if visible is None:
        return hidden
    frame_hidden = torch.ones(pose.shape[1], dtype=torch.bool, device=pose.device)
    frame_hidden[visible[0]] = False
    return hidden | frame_hidden[:, None]


def make_batch(
    masks: Masking,
    windows_2d: Chosen | None,
    windows_3d: Chosen | None,
    generator: torch.Generator,
    *,
    numbers: Sequence[int] | None = None,
) -> Batch:
    """Gather windows and draw their masks.

    Args:
        masks: what is hidden.
        windows_2d: windows whose 2D goes in, or None.
        windows_3d: windows whose 3D goes in, or None.
        generator: draws the masks.
        numbers: limb sets to draw from; None for those of the masks.

    Returns:
        The batch; 3D poses have their root at 0.
    """
    pose_2d = mask_2d = visible_2d = pose_3d = mask_3d = visible_3d = None
    if windows_2d is not None and masks.uses_2d:
        pose_2d = windows_2d.window_2d()
        mask_2d, visible_2d = masks.sample(pose_2d, numbers or masks.numbers_2d, generator)
    if windows_3d is not None and masks.uses_3d:
        pose_3d = with_zero_root(windows_3d.window_3d())
        mask_3d, visible_3d = masks.sample(pose_3d, numbers or masks.numbers_3d, generator)
    return Batch(pose_2d, mask_2d, visible_2d, pose_3d, mask_3d, visible_3d)


class MaskedTask:
    """What `common.training` needs to train a masked model."""

    def __init__(
        self,
        model: MaskedModel,
        poses: WindowedPoses,
        masks: Masking,
        *,
        test: MaskedTest | None,
        generator: torch.Generator,
        weights: Sequence[float] = (),
        augment: Augmenter | None = None,
        step_generator: torch.Generator | None = None,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        """Set up a task.

        Args:
            model: the model, placed on the run's devices.
            poses: training windows, on the runtime's device.
            masks: what is hidden. When pre-training, the 2D and the 3D of a window are two samples,
                shuffled together: an epoch has twice as many.
            test: how to test after each epoch; None for not at all.
            generator: draws the masks, on the runtime's device.
            weights: shares of the stores in the windows of an epoch; empty for as many as each has.
            augment: changes 3D windows in half of the steps when pre-training; None for never.
            step_generator: decides in which, on CPU, the same in every process.
            frozen: parts of the model that are not trained.
        """
        self.model, self.modules, self.frozen = model, model.modules, frozen
        self.poses, self.masks, self.test, self.generator = poses, masks, test, generator
        self.frames = poses.frames
        self.windows_a_part = _shares(len(poses), weights)
        self.augment, self.step_generator = augment, step_generator
        self.augmented_step = False
        self.copies = 2 if masks.task == "pretrain" else 1
        self.num_samples = self.copies * (sum(self.windows_a_part) or len(poses))

    def order(self, generator: torch.Generator) -> Tensor:
        """The samples of an epoch in random order, (num_samples,) int64 on CPU.

        A store with fewer windows than its share is gone through several times.
        """
        if not self.windows_a_part:
            return torch.randperm(self.num_samples, generator=generator)
        drawn = []
        for copy in range(self.copies):
            for part, count in enumerate(self.windows_a_part):
                mine = self.poses.samples_of(part)
                rounds = [
                    torch.randperm(len(mine), generator=generator)
                    for _ in range(math.ceil(count / len(mine)))
                ]
                first = mine.start + copy * len(self.poses)
                drawn.append(first + torch.cat(rounds)[:count])
        samples = torch.cat(drawn)
        return samples[torch.randperm(len(samples), generator=generator)]

    def begin_step(self) -> None:
        """Decide whether the next step is an augmented one: half of them are."""
        if self.augment is not None:
            self.augmented_step = bool(torch.rand((), generator=self.step_generator) < 0.5)

    def losses(self, samples: Tensor) -> Iterator[Tensor]:
        """The losses () of some samples: their own, and in an augmented step that of augmented 3D.

        Each is the task's weighted sum of mean joint errors; unpaired 2D and 3D when pre-training.
        """
        windows_2d = windows_3d = self._windows(samples)
        if self.masks.task == "pretrain":
            is_2d = samples < len(self.poses)
            windows_2d = self._windows(samples[is_2d])
            windows_3d = self._windows(samples[~is_2d])
        weights = AUGMENTED_STEP_WEIGHTS if self.augmented_step else LOSS_WEIGHTS[self.masks.task]
        batch = make_batch(self.masks, windows_2d, windows_3d, self.generator)
        lifted_target = None
        if windows_2d is not None and self.masks.lifts:
            lifted_target = with_zero_root(windows_2d.window_3d())
        yield self._loss(batch, weights, lifted_target)
        if self.augmented_step:
            augmented = None if windows_3d is None else self._augmented(batch, windows_3d)
            target = None if augmented is None else augmented.pose_3d
            yield self._loss(augmented, AUGMENTED_WEIGHTS, target)

    def _augmented(self, batch: Batch, windows: Chosen) -> Batch | None:
        """What PoseAug makes of 3D windows, 2D and 3D under the 2D masks; None if nothing."""
        assert self.augment is not None
        camera_space = at_its_position(windows.window_3d())
        pose_3d, pose_2d = self.augment(camera_space, windows.cameras())
        if len(pose_3d) * self.frames < 2:
            return None
        mask, visible = batch.mask_2d, batch.visible_2d
        if mask is None or visible is None:
            mask, visible = self.masks.sample(pose_2d, (), self.generator)
        assert visible is not None
        shared = mask[:1].expand(len(pose_2d), -1, -1), visible[:1].expand(len(pose_2d), -1)
        return Batch(pose_2d, *shared, pose_3d, *shared)

    def _loss(
        self, batch: Batch | None, weights: tuple[float, float, float], lifted_target: Tensor | None
    ) -> Tensor:
        """The weighted sum () of what the model makes of a batch; lifted 3D where it has a target.

        Without anything to learn from it is 0, and every parameter has a gradient all the same:
        processes that share their gradients wait for each other's.
        """
        terms = []
        if batch is not None:
            recovered_2d, lifted, recovered_3d = self.model(batch, lift=lifted_target is not None)
            for weight, result, target in zip(
                weights,
                (recovered_2d, recovered_3d, lifted),
                (batch.pose_2d, batch.pose_3d, lifted_target),
                strict=True,
            ):
                if result is not None and target is not None:
                    terms.append(weight * mpjpe(result, target))
        if not terms:
            trained = [p.sum() for p in self.model.model.parameters() if p.requires_grad]
            return torch.stack(trained).sum() * 0.0
        return torch.stack(terms).sum()

    def _windows(self, samples: Tensor) -> Chosen | None:
        """The windows of some samples; None for fewer than batch norm can work with."""
        if len(samples) * self.frames < 2:
            return None
        return self.poses.windows(samples % len(self.poses))

    def sequences_of(self, samples: Tensor) -> list[str]:
        """The sequences of some samples, each named once."""
        return self.poses.sequences_of(samples % len(self.poses))

    def evaluate(self) -> dict[str, float]:
        """Errors x 1000 of what the task computes; the criterion weighs them like the loss."""
        if self.test is None:
            return {}
        errors = self.test.errors(self.model)
        weight_2d, weight_3d, weight_lifted = LOSS_WEIGHTS[self.masks.task]
        criterion = (
            weight_2d * errors.recovered_2d
            + weight_3d * errors.recovered_3d
            + weight_lifted * errors.lifted
        )
        shown = {name: value for name, value in vars(errors).items() if value}
        return {"criterion": criterion, **shown}


def _shares(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in the proportion of some weights that add up to about a total."""
    return [max(round(total * weight / sum(weights)), 1) for weight in weights]


def limb_name(number: int, dimensions: int, num_joints: int) -> str:
    """A limb set in words: joint numbers and the names that the skeleton gives them."""
    if number >= masking.FIRST_RANDOM_NUMBER:
        return f"{masking.num_random_joints(number)} joints at random"
    limbs = masking.LIMBS_2D if dimensions == 2 else masking.LIMBS_3D
    joints = masking.limb_joints(limbs, number, num_joints)
    names = [SKELETONS[num_joints].joint_names[joint] for joint in joints]
    return f"joints {' '.join(map(str, joints))} ({', '.join(names)})"
