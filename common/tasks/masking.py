"""Random masks, True = hidden, drawn on the device from the run's own generators.

Nothing here needs the host to look at a drawn number: counts are known beforehand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.data.skeleton import Skeleton
from common.tasks.losses import MASKED_WEIGHTS

# The limbs that each mask number hides, by the names that skeletons give them (published: the
# numbers decide; the sides are the skeleton's).
LIMBS_3D: dict[int, tuple[str, ...]] = {
    0: ("right leg",),
    1: ("right arm",),
    2: ("left arm",),
    3: ("left leg",),
}
LIMBS_2D: dict[int, tuple[str, ...]] = {
    0: ("right leg", "left leg"),
    1: ("left arm", "right arm"),
    2: ("right leg", "right arm"),
    3: ("left leg", "left arm"),
}
FIRST_RANDOM_NUMBER = 4


def limb_joints(limbs: dict[int, tuple[str, ...]], number: int, skeleton: Skeleton) -> list[int]:
    """The joints of a limb set, in the order of its limbs."""
    return [joint for limb in limbs[number] for joint in skeleton.limbs[limb]]


def limb_set_name(number: int, dimensions: int, skeleton: Skeleton) -> str:
    """A limb set in words: joint numbers and the names that the skeleton gives them."""
    if number >= FIRST_RANDOM_NUMBER:
        return f"{num_random_joints(number)} random joints"
    joints = limb_joints(LIMBS_2D if dimensions == 2 else LIMBS_3D, number, skeleton)
    names = [skeleton.joint_names[joint] for joint in joints]
    return f"joints {' '.join(map(str, joints))} ({', '.join(names)})"


def num_random_joints(number: int) -> int:
    """The number of joints, drawn from all, that a mask number from 4 on hides."""
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
    """

    task: str
    num_masked_joints: int
    frame_mask_ratio: float
    numbers_2d: tuple[int, ...]
    numbers_3d: tuple[int, ...]

    @property
    def hides_frames(self) -> bool:
        """Whether joints and frames are hidden, alike in all samples of a batch; else limbs."""
        return self.task == "pretrain"

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
        self,
        batch: int,
        skeleton: Skeleton,
        dimensions: int,
        numbers: Sequence[int] | None,
        rng: torch.Generator,
    ) -> Tensor:
        """Draw the limb set that each sample hides in all frames.

        Args:
            batch: B.
            skeleton: of the poses.
            dimensions: 2 or 3.
            numbers: limb sets to draw from; None for those of the dimension.
            rng: random generator, on the device of the result.

        Returns:
            (B, 1, J) bool, True = hidden.
        """
        own, limbs = (self.numbers_2d, LIMBS_2D) if dimensions == 2 else (self.numbers_3d, LIMBS_3D)
        masks = sample_limb_masks(
            batch, skeleton, limbs=limbs, numbers=numbers or own, generator=rng
        )
        return masks.unsqueeze(1)


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
    return _ranks((frames, num_joints), generator) < num_masked_joints


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
    batch: int,
    skeleton: Skeleton,
    *,
    limbs: dict[int, tuple[str, ...]],
    numbers: Sequence[int],
    generator: torch.Generator,
) -> Tensor:
    """Hide a limb set, drawn uniformly from some numbers, in each sample.

    Args:
        batch: B.
        skeleton: of the poses, J joints.
        limbs: `LIMBS_2D` or `LIMBS_3D`.
        numbers: mask numbers; from 4 on, number - 3 joints drawn from all.
        generator: random generator, on the device of the result.

    Returns:
        (B, J) bool, True = hidden.
    """
    device, num_joints = generator.device, skeleton.num_joints
    choices = []
    for number in numbers:
        if number >= FIRST_RANDOM_NUMBER:
            choices.append(_ranks((batch, num_joints), generator) < num_random_joints(number))
        else:
            mask = torch.zeros(num_joints, dtype=torch.bool)
            mask[limb_joints(limbs, number, skeleton)] = True
            choices.append(mask.to(device).expand(batch, -1))
    chosen = torch.randint(len(choices), (batch,), generator=generator, device=device)
    return torch.stack(choices)[chosen, torch.arange(batch, device=device)]


def _ranks(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """For each row a uniform random order of its entries, as ranks from 0."""
    noise = torch.rand(shape, generator=generator, device=generator.device)
    return noise.argsort(-1).argsort(-1)
