"""Random masks, True = hidden, drawn on the device from the run's own generators.

Nothing here needs the host to look at a drawn number: counts are known beforehand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from common.data.skeleton import H36M_17, Skeleton
from common.tasks.losses import MASKED_WEIGHTS

# The limbs that each mask number hides, by the names that skeletons give them (published: the
# numbers decide; the sides are the skeleton's), and words of our own: nothing, or one limb.
LimbSets = dict[int | str, tuple[str, ...]]
WORDS: LimbSets = {"none": (), **{limb.replace(" ", "_"): (limb,) for limb in H36M_17.limbs}}
LIMBS_3D: LimbSets = {
    0: ("right leg",),
    1: ("right arm",),
    2: ("left arm",),
    3: ("left leg",),
    **WORDS,
}
LIMBS_2D: LimbSets = {
    0: ("right leg", "left leg"),
    1: ("left arm", "right arm"),
    2: ("right leg", "right arm"),
    3: ("left leg", "left arm"),
    **WORDS,
}
FIRST_RANDOM_NUMBER = 4

# Draws n numbers for each of B samples: (B, n) uniform in [0, 1), new ones in every call.
Draw = Callable[[int], Tensor]


def drawn_from(rng: torch.Generator, batch: int) -> Draw:
    """Numbers for B samples from a generator, on its device."""
    return lambda count: torch.rand(batch, count, generator=rng, device=rng.device)


class DrawnBySample:
    """Numbers that depend on a seed and the number of each sample, and on nothing else.

    So a test hides the same, however its samples are shared out among passes, processes and
    devices. Integer arithmetic (the output function of SplitMix64) on whatever device they are on.
    """

    def __init__(self, seed: int, samples: Tensor) -> None:
        """Draw for some samples.

        Args:
            seed: of the test.
            samples: (B,) int64, their numbers; the result is on their device.
        """
        self.keys = _mixed(samples + _signed(_mixed_int(seed)))
        self.drawn = 0

    def __call__(self, count: int) -> Tensor:
        """(B, count) float32 uniform in [0, 1)."""
        columns = torch.arange(self.drawn + 1, self.drawn + 1 + count, device=self.keys.device)
        self.drawn += count
        bits = _mixed(self.keys[:, None] + columns * _signed(_GOLDEN))
        return (bits >> 40 & 0xFFFFFF).float() / 2**24  # as many bits as a float32 holds


_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _signed(number: int) -> int:
    """The int64 of the same 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def _mixed_int(number: int) -> int:
    return int(_mixed(torch.tensor([_signed(number)])))


def _mixed(keys: Tensor) -> Tensor:
    """64 well-mixed bits for each int64; products wrap around."""
    keys = (keys ^ (keys >> 30 & 2**34 - 1)) * _signed(_FIRST)
    keys = (keys ^ (keys >> 27 & 2**37 - 1)) * _signed(_SECOND)
    return keys ^ (keys >> 31 & 2**33 - 1)


def limb_joints(limbs: LimbSets, number: int | str, skeleton: Skeleton) -> list[int]:
    """The joints of a limb set, in the order of its limbs."""
    return [joint for limb in limbs[number] for joint in skeleton.limbs[limb]]


def limb_set_name(number: int | str, dimensions: int, skeleton: Skeleton) -> str:
    """A limb set in words: joint numbers and the names that the skeleton gives them."""
    if (count := num_random_joints(number)) is not None:
        return f"{count} random joints"
    joints = limb_joints(LIMBS_2D if dimensions == 2 else LIMBS_3D, number, skeleton)
    if not joints:
        return "nothing"
    names = [skeleton.joint_names[joint] for joint in joints]
    return f"joints {' '.join(map(str, joints))} ({', '.join(names)})"


def num_random_joints(number: int | str) -> int | None:
    """The number of joints, drawn from all, that a mask number from 4 on hides; else None."""
    if isinstance(number, str) or number < FIRST_RANDOM_NUMBER:
        return None
    return number - FIRST_RANDOM_NUMBER + 1


@dataclass(frozen=True)
class Masking:
    """What is hidden.

    Attributes:
        task: a key of `MASKED_WEIGHTS`; "pretrain" hides joints and frames, the others limbs.
        num_masked_joints: joints hidden in each frame when pre-training.
        frame_mask_ratio: share of frames hidden when pre-training.
        numbers_2d: limb sets of 2D, keys of `LIMBS_2D` or random from 4 on.
        numbers_3d: limb sets of 3D.
        modalities: 2, 3 or both: the dimensions of the sequences that pre-training learns from.
    """

    task: str
    num_masked_joints: int
    frame_mask_ratio: float
    numbers_2d: tuple[int | str, ...]
    numbers_3d: tuple[int | str, ...]
    modalities: tuple[int, ...] = (2, 3)

    @property
    def hides_frames(self) -> bool:
        """Whether joints and frames are hidden, alike in all samples of a batch; else limbs."""
        return self.task == "pretrain"

    @property
    def uses_2d(self) -> bool:
        """Whether 2D goes in."""
        return self.task != "comp3d" and 2 in self.modalities

    @property
    def uses_3d(self) -> bool:
        """Whether 3D goes in."""
        return self.task != "comp2dlift" and 3 in self.modalities

    @property
    def lifts(self) -> bool:
        """Whether 2D is decoded to 3D."""
        return "lifted" in MASKED_WEIGHTS[self.task]

    def sample_shared(self, frames: int, num_joints: int, rng: torch.Generator) -> "SharedMask":
        """Draw what all samples of a pre-training batch hide."""
        joints = sample_joint_mask(
            frames, num_joints, num_masked_joints=self.num_masked_joints, generator=rng
        )
        visible = sample_visible_frames(
            frames, frame_mask_ratio=self.frame_mask_ratio, generator=rng
        )
        return SharedMask(joints, visible)

    def sample_limbs(
        self, skeleton: Skeleton, dimensions: int, numbers: Sequence[int | str] | None, draw: Draw
    ) -> Tensor:
        """Draw the limb set that each sample hides in all frames.

        Args:
            skeleton: of the poses.
            dimensions: 2 or 3.
            numbers: limb sets to draw from; None for those of the dimension.
            draw: random numbers of the B samples, on the device of the result.

        Returns:
            (B, 1, J) bool, True = hidden.
        """
        own, limbs = (self.numbers_2d, LIMBS_2D) if dimensions == 2 else (self.numbers_3d, LIMBS_3D)
        return sample_limb_masks(draw, skeleton, limbs=limbs, numbers=numbers or own).unsqueeze(1)


@dataclass(frozen=True)
class SharedMask:
    """What all samples of a batch hide.

    Attributes:
        joints: (T, J) bool, True = hidden.
        visible: (V,) int64, the frames that are not hidden, in order.
    """

    joints: Tensor
    visible: Tensor

    def to(self, device: torch.device) -> "SharedMask":
        """The same mask on another device."""
        return SharedMask(
            self.joints.to(device, non_blocking=True), self.visible.to(device, non_blocking=True)
        )


def sample_joint_mask(
    frames: int, num_joints: int, *, num_masked_joints: int, generator: torch.Generator
) -> Tensor:
    """Hide the same number of joints, uniformly chosen, in every frame.

    Args:
        frames: T.
        num_joints: J.
        num_masked_joints: joints hidden in each frame.
        generator: random generator, on the device of the result.

    Returns:
        (T, J) bool, True = hidden.
    """
    return _ranks(drawn_from(generator, frames)(num_joints)) < num_masked_joints


def sample_visible_frames(
    frames: int, *, frame_mask_ratio: float, generator: torch.Generator
) -> Tensor:
    """Choose the frames that stay visible; int(frames * ratio) are hidden.

    Args:
        frames: T.
        frame_mask_ratio: share of hidden frames.
        generator: random generator, on the device of the result.

    Returns:
        (V,) int64, in order.
    """
    num_hidden = int(frames * frame_mask_ratio)
    order = torch.rand(frames, generator=generator, device=generator.device).argsort()
    return order[num_hidden:].sort().values


def sample_limb_masks(
    draw: Draw, skeleton: Skeleton, *, limbs: LimbSets, numbers: Sequence[int | str]
) -> Tensor:
    """Hide a limb set, drawn uniformly from some numbers, in each sample.

    Args:
        draw: random numbers of the B samples, on the device of the result.
        skeleton: of the poses, J joints.
        limbs: `LIMBS_2D` or `LIMBS_3D`.
        numbers: mask numbers; from 4 on, number - 3 joints drawn from all.

    Returns:
        (B, J) bool, True = hidden.
    """
    chosen = (draw(1) * len(numbers)).long().clamp_max(len(numbers) - 1)  # (B, 1)
    choices = []
    for number in numbers:
        if (count := num_random_joints(number)) is not None:
            choices.append(_ranks(draw(skeleton.num_joints)) < count)
        else:
            joints = tuple(limb_joints(limbs, number, skeleton))
            mask = _joint_mask(joints, skeleton.num_joints, chosen.device)
            choices.append(mask.expand(len(chosen), -1))
    every = torch.stack(choices, dim=1)  # (B, len(numbers), J)
    return every.gather(1, chosen.unsqueeze(-1).expand(-1, 1, every.shape[-1])).squeeze(1)


@cache
def _joint_mask(joints: tuple[int, ...], num_joints: int, device: torch.device) -> Tensor:
    """(J,) bool, True at some joints; copied to the device once."""
    mask = torch.zeros(num_joints, dtype=torch.bool)
    mask[list(joints)] = True
    return mask.to(device)


def _ranks(noise: Tensor) -> Tensor:
    """For each row a uniform random order of its entries, as ranks from 0."""
    return noise.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
