"""Random masks, True = hidden, drawn on the device from the run's own generators.

Nothing here needs the host to look at a drawn number: counts are known beforehand.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from common.data.skeleton import JOINT_ABSENT_FROM_16

# Joint numbers of the 17-joint skeleton (SPEC section 1). Numbers decide; sides are the skeleton's.
LIMBS_3D: dict[int, tuple[int, ...]] = {
    0: (1, 2, 3),
    1: (14, 15, 16),
    2: (11, 12, 13),
    3: (4, 5, 6),
}
LIMBS_2D: dict[int, tuple[int, ...]] = {
    0: (1, 2, 3, 4, 5, 6),
    1: (11, 12, 13, 14, 15, 16),
    2: (1, 2, 3, 14, 15, 16),
    3: (4, 5, 6, 11, 12, 13),
}
FIRST_RANDOM_NUMBER = 4


def limb_joints(limbs: dict[int, tuple[int, ...]], number: int, num_joints: int) -> list[int]:
    """The joints of a limb set in a skeleton of 17 or 16 joints."""
    joints = limbs[number]
    if num_joints == 17:
        return list(joints)
    return [joint - (joint > JOINT_ABSENT_FROM_16) for joint in joints]


def num_random_joints(number: int) -> int:
    """How many joints, drawn from all, a mask number from 4 on hides."""
    return number - FIRST_RANDOM_NUMBER + 1


def sample_joint_mask(
    frames: int, num_joints: int, *, num_masked_joints: int, generator: torch.Generator
) -> Tensor:
    """Hide the same number of joints, uniformly chosen, in every frame.

    Args:
        frames: T.
        num_joints: J.
        num_masked_joints: joints hidden in each frame.
        generator: decides, and says on which device.

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
        generator: decides, and says on which device.

    Returns:
        (V,) int64, in order.
    """
    num_hidden = int(frames * frame_mask_ratio)
    order = torch.rand(frames, generator=generator, device=generator.device).argsort()
    return order[num_hidden:].sort().values


def sample_limb_masks(
    batch: int,
    num_joints: int,
    *,
    limbs: dict[int, tuple[int, ...]],
    numbers: Sequence[int],
    generator: torch.Generator,
) -> Tensor:
    """Hide a limb set, drawn uniformly from some numbers, in each sample.

    Args:
        batch: B.
        num_joints: J, 16 or 17.
        limbs: `LIMBS_2D` or `LIMBS_3D`.
        numbers: mask numbers; from 4 on, number - 3 joints drawn from all.
        generator: decides, and says on which device.

    Returns:
        (B, J) bool, True = hidden.
    """
    device = generator.device
    choices = []
    for number in numbers:
        if number >= FIRST_RANDOM_NUMBER:
            choices.append(_ranks((batch, num_joints), generator) < num_random_joints(number))
        else:
            mask = torch.zeros(num_joints, dtype=torch.bool)
            mask[limb_joints(limbs, number, num_joints)] = True
            choices.append(mask.to(device).expand(batch, -1))
    chosen = torch.randint(len(choices), (batch,), generator=generator, device=device)
    return torch.stack(choices)[chosen, torch.arange(batch, device=device)]


def _ranks(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """For each row a uniform random order of its entries, as ranks from 0."""
    noise = torch.rand(shape, generator=generator, device=generator.device)
    return noise.argsort(-1).argsort(-1)
