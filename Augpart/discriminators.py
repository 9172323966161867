"""The two discriminators that train a generator: of bone directions and of screen poses."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from Augpart.bones import NUM_BONES, NUM_JOINTS, bone_directions, bones_of

BONE_WIDTH = 256
BONE_LAST_WIDTH = 100
SCREEN_WIDTH = 100
# Bone numbers, those of `Augpart.bones`.
PARTS = {
    "torso": (0, 3, 6, 7, 8, 9, 12),
    "left leg": (0, 3, 4, 5, 6),
    "right leg": (0, 1, 2, 3, 6),
    "left arm": (7, 9, 10, 11),
    "right arm": (7, 12, 13, 14),
}


class PartDiscriminator(nn.Module):
    """Scores the angles between the bones of one part of the body."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(NUM_BONES**2, BONE_WIDTH)
        self.second = nn.Linear(BONE_WIDTH, BONE_WIDTH)
        self.third = nn.Linear(BONE_WIDTH, BONE_WIDTH)
        self.fourth = nn.Linear(BONE_WIDTH, BONE_LAST_WIDTH)
        self.score = nn.Linear(BONE_LAST_WIDTH, 1)

    def forward(self, products: Tensor) -> Tensor:
        """Scores (N, 1) of inner products (N, 225)."""
        first = F.leaky_relu(self.first(products))
        x = F.leaky_relu(self.second(first))
        x = self.third(x) + first
        return self.score(F.leaky_relu(self.fourth(x)))


class BoneDiscriminator(nn.Module):
    """Scores 3D poses by the directions of their bones, one score for each of `PARTS`."""

    masks: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(PartDiscriminator() for _ in PARTS)
        masks = torch.zeros(len(PARTS), NUM_BONES)
        for mask, bones in zip(masks, PARTS.values(), strict=True):
            mask[list(bones)] = 1
        self.register_buffer("masks", masks, persistent=False)

    def forward(self, pose_3d: Tensor) -> Tensor:
        """Score poses.

        Args:
            pose_3d: (N, 16, 3), any space and unit: positions and bone lengths have no influence.

        Returns:
            (N, 5) scores, trained towards 1 for real and 0 for generated poses.
        """
        directions = bone_directions(bones_of(pose_3d))  # (N, 15, 3)
        products = directions @ directions.mT  # (N, 15, 15)
        scores = []
        for part, mask in zip(self.parts, self.masks, strict=True):
            scores.append(part((products * torch.outer(mask, mask)).flatten(1)))
        return torch.cat(scores, dim=-1)


class ScreenDiscriminator(nn.Module):
    """Scores 2D poses as the camera sees them, their place and size on the screen included."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2 * NUM_JOINTS, SCREEN_WIDTH)
        self.second = nn.Linear(SCREEN_WIDTH, SCREEN_WIDTH)
        self.third = nn.Linear(SCREEN_WIDTH, SCREEN_WIDTH)
        self.fourth = nn.Linear(SCREEN_WIDTH, SCREEN_WIDTH)
        self.fifth = nn.Linear(SCREEN_WIDTH, SCREEN_WIDTH)
        self.score = nn.Linear(SCREEN_WIDTH, 1)

    def forward(self, pose_2d: Tensor) -> Tensor:
        """Score poses.

        Args:
            pose_2d: (N, 16, 2) normalised screen coordinates.

        Returns:
            (N, 1) scores, trained towards 1 for real and 0 for generated poses.
        """
        first = F.leaky_relu(self.first(pose_2d.flatten(1)))
        x = F.leaky_relu(self.second(first))
        x = F.leaky_relu(self.third(x) + first)
        x = F.leaky_relu(self.fifth(self.fourth(x)))
        return self.score(x)
