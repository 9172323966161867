"""Adversarial training of a generator on single poses, with feedback from a lifter."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from Augpart.adversarial import (
    FakePool,
    difficulty,
    discriminator_accuracy,
    discriminator_loss,
    feedback_loss,
    generator_loss,
    group_errors,
    range_loss,
)
from Augpart.augment import in_view
from Augpart.bones import NUM_JOINTS, bone_lengths, bones_of, with_bone_lengths
from Augpart.discriminators import BoneDiscriminator, ScreenDiscriminator
from Augpart.pose_generator import GeneratedPoses, GeneratorNoise, PoseGenerator
from common.data.camera import project
from common.data.pose_ops import centre_on_root, with_zero_root
from common.data.pose_store import PoseStore
from common.errors import UserError
from common.tasks.losses import mpjpe
from common.training.run_state import load_optimizer
from common.training.steps import Schedule, TestErrors, set_learning_rate

SCREEN_WEIGHT, BONE_WEIGHT, RANGE_WEIGHT = 1.0, 6.0, 3.0
MAX_GRADIENT_NORM = 1.0
STEPS_PER_DISCRIMINATOR_STEP = 2
# Below these spreads, or with a discriminator that is never wrong, a generator has collapsed.
SMALLEST_TURN_SPREAD, SMALLEST_LENGTH_SPREAD = 0.1, 0.1  # degrees; % of a length
MEASURES = (
    "discriminator_3d_accuracy",
    "discriminator_2d_accuracy",
    "turn_degrees",
    "turn_spread",
    "length_percent",
    "length_spread",
    "off_screen_percent",
    "difficulty_ba",
    "difficulty_rt",
    "lifter_mm",
)


@dataclass(frozen=True)
class Ranges:
    """Where turns and bone lengths may be: `Augpart.adversarial.range_loss`."""

    ba_range_m: float
    ba_range_w: float
    blr_limit: float


@dataclass(frozen=True)
class SinglePoses:
    """The frames of a store as poses of their own, on one device.

    Attributes:
        pose_3d: (N, 16, 3) camera-space metres, every joint at its own position.
        cameras: (S, 9) intrinsics.
        camera_of: (N,) int64, the row of `cameras` of each pose.
        body_lengths: (K, 15) metres, the bone lengths of each subject.
        names: (S,) the sequences that the rows of `cameras` belong to.
    """

    pose_3d: Tensor
    cameras: Tensor
    camera_of: Tensor
    body_lengths: Tensor
    names: list[str]

    def __len__(self) -> int:
        return len(self.pose_3d)

    def with_random_bodies(
        self, poses: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Some poses with the bone lengths of subjects chosen at random.

        Args:
            poses: (B,) int64 on the device, which poses.
            generator: chooses, on the device.

        Returns:
            (B, 16, 3) camera-space metres and (B, 9) intrinsics.
        """
        bodies = torch.randint(
            len(self.body_lengths), (len(poses),), generator=generator, device=poses.device
        )
        pose_3d = with_bone_lengths(self.pose_3d[poses], self.body_lengths[bodies])
        return pose_3d, self.cameras[self.camera_of[poses]]


def single_poses(store: PoseStore) -> tuple[SinglePoses, int]:
    """Split a store into single poses; frames that leave their own screen are dropped.

    Args:
        store: 16-joint poses with cameras.

    Returns:
        The poses; the number of dropped ones.

    Raises:
        UserError: none is left.
    """
    assert store.cameras is not None
    frames = torch.arange(store.num_frames)
    sequences = store.sequences_of(frames).to(store.device)
    pose_3d = store.pose_3d + store.root_3d[:, None]
    screen = project(pose_3d, store.cameras[sequences])
    visible = in_view(pose_3d.unsqueeze(1), screen.unsqueeze(1))
    if not visible.any():
        raise UserError("no training pose lies inside its camera's image")
    lengths = bone_lengths(bones_of(pose_3d))
    subjects = list(dict.fromkeys(name.subject for name in store.names))
    numbers = torch.tensor([subjects.index(name.subject) for name in store.names])
    subject_of = numbers.to(store.device)[sequences]
    bodies = [lengths[subject_of == number].median(0).values for number in range(len(subjects))]
    poses = SinglePoses(
        pose_3d[visible],
        store.cameras,
        sequences[visible],
        torch.stack(bodies),
        [str(name) for name in store.names],
    )
    return poses, int((~visible).sum())


class LinearSchedule(Schedule):
    """A learning rate that falls linearly to 0 at the end of the last epoch."""

    def learning_rate_of(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        return self.learning_rate * (1 - (epoch - 1) / self.epochs)


class GeneratorTask:
    """What `common.training` needs to know of the training of a generator."""

    frozen: Sequence[nn.Module] = ()
    loss_names: tuple[str, ...] = ()

    def __init__(self, steps: "AdversarialSteps") -> None:
        """Wrap the steps that do the work."""
        self.steps = steps
        self.modules: Mapping[str, nn.Module] = steps.modules
        self.num_samples = len(steps.poses)

    def order(self, rng: torch.Generator) -> Tensor:
        """The poses of an epoch in random order, (N,) int64 on CPU."""
        return torch.randperm(self.num_samples, generator=rng)

    def sequences_of(self, samples: Tensor) -> list[str]:
        """The sequences that some poses come from, each named once."""
        poses = self.steps.poses
        return [poses.names[number] for number in poses.camera_of[samples].unique().tolist()]

    def evaluate(self) -> TestErrors:
        """The means of the epoch's measures; the lifter's error is monitored."""
        measures = self.steps.take_measures()
        return TestErrors(measures["lifter_mm"], measures)


class AdversarialSteps:
    """How a batch of poses changes all models (a `Steps` of `common.training.steps`)."""

    def __init__(
        self,
        poses: SinglePoses,
        generator: PoseGenerator,
        lifter: nn.Module,
        ranges: Ranges,
        schedule: Schedule,
        *,
        random: torch.Generator,
        warm_up: int,
    ) -> None:
        """Set up models and optimisers on the device of the poses.

        Args:
            poses: real poses.
            generator: what is trained.
            lifter: (B, 1, 16, 2) screen -> centre (B, 1, 16, 3) and sequence.
            ranges: of turns and lengths.
            schedule: how long.
            random: draws noise, bodies, real poses and old fakes; on the device.
            warm_up: epochs before the lifter gives feedback.
        """
        self.poses, self.ranges, self.random = poses, ranges, random
        device = poses.pose_3d.device
        self.generator, self.lifter = generator.to(device), lifter.to(device)
        self.discriminator_3d = BoneDiscriminator().to(device)
        self.discriminator_2d = ScreenDiscriminator().to(device)
        self.modules: dict[str, nn.Module] = {
            "generator": self.generator,
            "lifter": self.lifter,
            "discriminator_3d": self.discriminator_3d,
            "discriminator_2d": self.discriminator_2d,
        }
        self.optimizers = {
            name: torch.optim.Adam(module.parameters(), lr=schedule.learning_rate, fused=True)
            for name, module in self.modules.items()
        }
        self.pools = {"discriminator_3d": FakePool(random), "discriminator_2d": FakePool(random)}
        steps_an_epoch = math.ceil(len(poses) / schedule.batch_size)
        self.warm_up_steps = warm_up * steps_an_epoch
        self.total_steps = schedule.epochs * steps_an_epoch
        self.done = 0
        self.sums = torch.zeros(2, len(MEASURES), dtype=torch.float64, device=device)

    def set_learning_rate(self, rate: float) -> None:
        """Use a learning rate from now on."""
        for optimizer in self.optimizers.values():
            set_learning_rate(optimizer, rate)

    def state(self) -> dict[str, Any]:
        """Everything beyond weights and random states that decides the steps to come."""
        return {
            "optimizers": {name: opt.state_dict() for name, opt in self.optimizers.items()},
            "pools": {name: pool.state() for name, pool in self.pools.items()},
            "done": self.done,
            "sums": self.sums,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        for name, optimizer in self.optimizers.items():
            load_optimizer(optimizer, state["optimizers"][name])
        for name, pool in self.pools.items():
            pool.load_state(state["pools"][name])
            coordinates = 3 if name == "discriminator_3d" else 2
            if pool.stored is not None and pool.stored.shape[1:] != (NUM_JOINTS, coordinates):
                raise ValueError(f"poses of shape {tuple(pool.stored.shape)} in the pool of {name}")
        if state["sums"].shape != self.sums.shape:
            raise ValueError(f"sums of shape {tuple(state['sums'].shape)}")
        self.done, self.sums = int(state["done"]), state["sums"].to(self.sums)

    def step(self, batch: Tensor) -> Tensor:
        """Learn from some poses (B,); (1, 2), the generator's loss and 1."""
        pose_3d, camera = self.poses.with_random_bodies(
            batch.to(self.sums.device, non_blocking=True), self.random
        )
        noise = GeneratorNoise.draw(len(pose_3d), self.random)
        generated = self.generator(pose_3d.unsqueeze(1), noise=noise)
        screen = project(generated.moved, camera)  # (B, 1, 16, 2)
        with_feedback = self.done >= self.warm_up_steps
        loss = self._generator_loss(pose_3d, camera, generated, screen, feedback=with_feedback)
        self._descend("generator", loss)
        if self.done % STEPS_PER_DISCRIMINATOR_STEP == STEPS_PER_DISCRIMINATOR_STEP - 1:
            self._train_discriminators(generated, screen)
        augmented = with_feedback and self.done % 2 == 1  # and real batches in turn
        self._train_lifter(generated.moved.detach() if augmented else pose_3d.unsqueeze(1), camera)
        self._measure_turns(generated, screen)
        self.done += 1
        return torch.stack([loss.detach(), loss.new_ones(())])[None]

    def _generator_loss(
        self,
        pose_3d: Tensor,
        camera: Tensor,
        generated: GeneratedPoses,
        screen: Tensor,
        *,
        feedback: bool,
    ) -> Tensor:
        """The weighted sum () of the losses by discriminators, ranges and lifter."""
        with _not_learning(self.discriminator_3d, self.discriminator_2d, self.lifter):
            loss = (
                SCREEN_WEIGHT * generator_loss(self.discriminator_2d(screen.squeeze(1)))
                + BONE_WEIGHT
                * generator_loss(self.discriminator_3d(generated.bone_angle.squeeze(1)))
                + RANGE_WEIGHT
                * range_loss(
                    generated.angle_difference, generated.length_ratios, **vars(self.ranges)
                )
            )
            original = self._lifter_errors(pose_3d.unsqueeze(1), camera).detach()
            with torch.set_grad_enabled(feedback):
                turned = difficulty(self._lifter_errors(generated.bone_angle, camera), original)
                moved = difficulty(self._lifter_errors(generated.moved, camera), original)
        self._add("difficulty_ba", turned.mean())
        self._add("difficulty_rt", moved.mean())
        if feedback:
            loss = loss + feedback_loss(turned, moved, progress=self.done / self.total_steps)
        return loss

    def _lifter_errors(self, pose_3d: Tensor, camera: Tensor) -> Tensor:
        """Errors (3,) of the lifter in groups of joints, means over poses (B, 1, 16, 3)."""
        lifted, target = self._lift(pose_3d, camera)
        return group_errors(with_zero_root(lifted), target).mean((0, 1))

    def _lift(self, pose_3d: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
        """What the lifter makes of projected poses, and what it should; (B, 1, 16, 3) all."""
        lifted, _ = self.lifter(project(pose_3d, camera), with_sequence=False)
        return lifted, centre_on_root(pose_3d)

    def _train_discriminators(self, generated: GeneratedPoses, screen: Tensor) -> None:
        """Both discriminators learn from real poses and from fakes, new and old."""
        fakes = {
            "discriminator_3d": generated.bone_angle.squeeze(1),
            "discriminator_2d": screen.squeeze(1),
        }
        for name, discriminator in (
            ("discriminator_3d", self.discriminator_3d),
            ("discriminator_2d", self.discriminator_2d),
        ):
            chosen = torch.randint(
                len(self.poses),
                (len(screen),),
                generator=self.random,
                device=screen.device,
            )
            real, camera = self.poses.with_random_bodies(chosen, self.random)
            if name == "discriminator_2d":
                real = project(real, camera)
            real_scores = discriminator(real)
            fake_scores = discriminator(self.pools[name].exchange(fakes[name]))
            self._descend(name, discriminator_loss(real_scores, fake_scores))
            self._add(f"{name}_accuracy", discriminator_accuracy(real_scores, fake_scores))

    def _train_lifter(self, pose_3d: Tensor, camera: Tensor) -> None:
        """The lifter learns from poses (B, 1, 16, 3) and their projections."""
        loss = mpjpe(*self._lift(pose_3d, camera))
        self._descend("lifter", loss)
        self._add("lifter_mm", 1000 * loss)

    def _descend(self, name: str, loss: Tensor) -> None:
        """One optimiser step on a loss, the norm of its gradient clipped."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.modules[name].parameters(), MAX_GRADIENT_NORM)
        optimizer.step()

    @torch.no_grad()
    def _measure_turns(self, generated: GeneratedPoses, screen: Tensor) -> None:
        turns = generated.turn_degrees.mean((1, 2))  # (B,)
        ratios = generated.length_ratios  # (B, 9)
        self._add("turn_degrees", turns.mean())
        self._add("turn_spread", turns.std())
        self._add("length_percent", 100 * ratios.abs().mean())
        self._add("length_spread", 100 * ratios.std(0).mean())
        self._add(
            "off_screen_percent", 100 * (1 - in_view(generated.moved, screen).double().mean())
        )

    def _add(self, measure: str, value: Tensor) -> None:
        self.sums[:, MEASURES.index(measure)] += torch.stack(
            [value.detach().double(), value.new_ones((), dtype=torch.float64)]
        )

    def take_measures(self) -> dict[str, float]:
        """The means of all measures since the last call."""
        means = (self.sums[0] / self.sums[1].clamp_min(1)).tolist()
        self.sums.zero_()
        return dict(zip(MEASURES, means, strict=True))


@contextmanager
def _not_learning(*modules: nn.Module) -> Iterator[None]:
    """In evaluation mode and without gradients of their own, though gradients pass through."""
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.eval().requires_grad_(False)
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode).requires_grad_(True)


def collapses(measures: Mapping[str, float]) -> list[str]:
    """Descriptions of what in an epoch's measures shows that the generator has collapsed."""
    found = []
    for number in ("2d", "3d"):
        if measures[f"discriminator_{number}_accuracy"] >= 1:
            found.append(
                f"the {number.upper()} discriminator was right about every pose of this epoch"
            )
    if measures["turn_spread"] < SMALLEST_TURN_SPREAD:
        found.append(f"all poses are turned alike (spread {measures['turn_spread']:.3f} degrees)")
    if measures["length_spread"] < SMALLEST_LENGTH_SPREAD:
        found.append(f"all bodies are stretched alike (spread {measures['length_spread']:.3f} %)")
    return found
