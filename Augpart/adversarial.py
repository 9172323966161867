"""Arithmetic of adversarial training: losses, the pool of old fakes, feedback of a lifter."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from common.data.pose_ops import joint_errors

POOL_SIZE = 4096
# Weights of joint errors, and the joints whose errors are averaged before they are compared.
JOINT_WEIGHTS = (1, 5, 2, 1, 5, 2, 1, 1, 1, 1, 5, 2, 1, 5, 2, 1)
JOINT_GROUPS = (
    (1, 4, 10, 13),  # hips, shoulders
    (2, 5, 9, 11, 14),  # knees, head, elbows
    (3, 6, 12, 15),  # feet, wrists
)
# How much harder than the original an augmented pose should be for the lifter.
BONE_ANGLE_TARGETS, BONE_ANGLE_BAND, BONE_ANGLE_WEIGHT = (3.0, 5.0), 2.0, 0.1
MOVED_TARGET, MOVED_BAND, MOVED_WEIGHT = 17.0, 15.0, 0.01


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The least-squares loss of a discriminator: real scores towards 1, fake ones towards 0.

    Args:
        real: scores of any shape.
        fake: scores of any shape.

    Returns:
        (), the mean of the losses of both halves.
    """
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def generator_loss(fake: Tensor) -> Tensor:
    """The least-squares loss () of a generator: scores (any shape) of its poses towards 1."""
    return (fake - 1).square().mean()


def discriminator_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """The share () of scores on the right side of 1/2, the mean of both halves."""
    return ((real > 0.5).float().mean() + (fake <= 0.5).float().mean()) / 2


class FakePool:
    """Remembers generated poses, so that a discriminator keeps recognising old ones."""

    def __init__(self, generator: torch.Generator, *, size: int = POOL_SIZE) -> None:
        """Make an empty pool.

        Args:
            generator: decides, on the device of the poses; its state is not part of the pool's.
            size: number of poses that a full pool holds.
        """
        self.generator, self.size = generator, size
        self.stored: Tensor | None = None

    def exchange(self, fakes: Tensor) -> Tensor:
        """Swap new poses for a mixture of new and old.

        Until the pool is full it stores every pose and answers with the same. Then it answers half
        of the time with an old one and stores the new one in its place; no old one twice in a call.

        Args:
            fakes: (N, ...) poses.

        Returns:
            (N, ...) poses without gradient.
        """
        fakes = fakes.detach()
        stored = fakes[:0] if self.stored is None else self.stored
        room = self.size - len(stored)
        added, rest = fakes[:room], fakes[room:]
        self.stored = torch.cat([stored, added]) if len(added) else stored
        swapped = [self._swap(self.stored, part) for part in rest.split(self.size)]
        return torch.cat([added, *swapped])

    def _swap(self, stored: Tensor, fakes: Tensor) -> Tensor:
        """Exchange about half of (M, ...) poses for stored ones, in place."""
        device, generator = self.generator.device, self.generator
        slots = torch.randperm(len(stored), generator=generator, device=device)[: len(fakes)]
        old = torch.rand(len(fakes), generator=generator, device=device) < 0.5
        old = old.view(-1, *[1] * (fakes.dim() - 1))
        candidates = stored[slots]
        stored[slots] = torch.where(old, fakes, candidates)
        return torch.where(old, candidates, fakes)

    def state(self) -> dict[str, Any]:
        """What the pool holds, in a form that a file can hold."""
        return {"stored": None if self.stored is None else self.stored.to("cpu", copy=True)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        stored = state["stored"]
        if stored is not None and len(stored) > self.size:
            raise ValueError(f"{len(stored)} poses in a pool of {self.size}")
        self.stored = None if stored is None else stored.to(self.generator.device, copy=True)


def squared_outside(value: Tensor, *, centre: float, band: float) -> Tensor:
    """Squared distances from a centre where they exceed the band, 0 elsewhere; any shape."""
    distance = value - centre
    return torch.where(distance.abs() > band, distance.square(), 0.0)


def range_loss(
    angle_difference: Tensor,
    length_ratios: Tensor,
    *,
    ba_range_m: float,
    ba_range_w: float,
    blr_limit: float,
) -> Tensor:
    """Keep turns and lengths in their ranges.

    Args:
        angle_difference: (..., 15), 1 - cosine of the turn of each bone; the mean over the bones of
            a pose is what counts.
        length_ratios: (..., 9) relative changes of length.
        ba_range_m: middle of the range of the mean turn.
        ba_range_w: half of its width.
        blr_limit: largest change of length that costs nothing.

    Returns:
        (), each squared distance outside its range, averaged.
    """
    turns = squared_outside(angle_difference.mean(-1), centre=ba_range_m, band=ba_range_w)
    lengths = squared_outside(length_ratios, centre=0.0, band=blr_limit)
    return turns.mean() + lengths.mean()


def group_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """Weighted joint errors, averaged in three groups of joints.

    Args:
        predicted: (..., 16, 3) root-relative metres.
        target: (..., 16, 3) root-relative metres.

    Returns:
        (..., 3) metres: hips and shoulders; knees, elbows and head; feet and wrists.
    """
    errors = joint_errors(predicted, target).unbind(-1)
    groups = [
        torch.stack([JOINT_WEIGHTS[joint] * errors[joint] for joint in group]).mean(0)
        for group in JOINT_GROUPS
    ]
    return torch.stack(groups, dim=-1)


def difficulty(augmented: Tensor, original: Tensor) -> Tensor:
    """How many times harder augmented poses are for a lifter than the original ones.

    Args:
        augmented: (..., 3) `group_errors` of augmented poses.
        original: (..., 3) those of the poses that they were made of.

    Returns:
        (..., 3) ratios.
    """
    return augmented / original.clamp_min(torch.finfo(original.dtype).eps)


def bone_angle_target(progress: float) -> float:
    """The difficulty that BA poses should have after so much, 0 to 1, of the training."""
    first, last = BONE_ANGLE_TARGETS
    return first + (last - first) * progress


def feedback_loss(bone_angle: Tensor, moved: Tensor, *, progress: float) -> Tensor:
    """Pull the difficulties of generated poses towards their targets.

    Args:
        bone_angle: `difficulty` of BA poses, any shape.
        moved: `difficulty` of RT poses, any shape.
        progress: how much of the training is over, 0 to 1.

    Returns:
        (), the weighted sum of the mean squared distances outside the bands.
    """
    target = bone_angle_target(progress)
    turned_loss = squared_outside(bone_angle, centre=target, band=BONE_ANGLE_BAND).mean()
    moved_loss = squared_outside(moved, centre=MOVED_TARGET, band=MOVED_BAND).mean()
    return BONE_ANGLE_WEIGHT * turned_loss + MOVED_WEIGHT * moved_loss
