"""The PoseAug generator: turns bones, changes their lengths, moves the body (arXiv 2105.02465)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from Augpart.bones import (
    NUM_BONES,
    NUM_JOINTS,
    bone_directions,
    bone_lengths,
    bones_of,
    pose_from_bones,
)
from common.data.rotations import rotation_matrix

WIDTH = 256
NOISE_WIDTH = 48
POSE_WIDTH = 3 * NUM_JOINTS
DEFAULT_LENGTH_LIMIT = 0.15
MAX_ANGLE = 3.1415  # of the rotation; pi to the digits that published generators were trained with
TRUNK_BONES = slice(6, 8)  # to spine and thorax; their directions are kept
RATIO_OF_BONE = (0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 7, 8)  # both sides share their ratios
NUM_RATIOS = 9
FIXED_RATIO = 4  # spine to thorax keeps its length


@dataclass(frozen=True)
class GeneratorNoise:
    """What a generator draws for a batch: (B, 48) standard normal values for each decision."""

    bone_angle: Tensor
    bone_length: Tensor
    rotation: Tensor
    translation: Tensor

    @classmethod
    def draw(cls, batch: int, generator: torch.Generator) -> "GeneratorNoise":
        """Draw for B sequences, on the device of the random generator."""
        device = generator.device
        return cls(
            *(torch.randn(batch, NOISE_WIDTH, generator=generator, device=device) for _ in range(4))
        )


@dataclass(frozen=True)
class GeneratedPoses:
    """What a generator makes of (B, T, 16, 3) sequences; poses are camera space, metres.

    Attributes:
        bone_angle: (B, T, 16, 3) with turned bones (BA); the root of the input.
        bone_length: (B, T, 16, 3) turned, then with other bone lengths (BL); the root of the input.
        moved: (B, T, 16, 3) all that, rotated about the root and moved (RT); the root of every
            frame is at `translation`.
        angle_difference: (B, T, 15), 1 - cosine of the turn of each bone (`ba_diff`).
        length_ratios: (B, 9) relative changes of length; `RATIO_OF_BONE` maps bones to ratios.
        axis_angle: (B, 3) radians.
        translation: (B, 3) metres, z not negative.
    """

    bone_angle: Tensor
    bone_length: Tensor
    moved: Tensor
    angle_difference: Tensor
    length_ratios: Tensor
    axis_angle: Tensor
    translation: Tensor

    @property
    def turn_degrees(self) -> Tensor:
        """(B, T, 15), by how much each bone was turned."""
        return (1 - self.angle_difference).clamp(-1, 1).acos().rad2deg()


class Stage(nn.Module):
    """[linear, batch norm, LeakyReLU] twice over (B, 256); nothing is added back."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Linear(WIDTH, WIDTH)
        self.batch_norm1 = nn.BatchNorm1d(WIDTH)
        self.w2 = nn.Linear(WIDTH, WIDTH)
        self.batch_norm2 = nn.BatchNorm1d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 256) to (B, 256)."""
        x = F.leaky_relu(self.batch_norm1(self.w1(x)))
        return F.leaky_relu(self.batch_norm2(self.w2(x)))


class DecisionNetworks(nn.Module):
    """Networks that decide on a change, side by side under the names of released files."""

    def __init__(self, in_width: int, decisions: Mapping[str, int]) -> None:
        """Make the networks.

        Args:
            in_width: numbers that each network sees.
            decisions: ending of a network's tensor names -> how many numbers it decides.
        """
        super().__init__()
        for ending in decisions:
            self.add_module(f"w1{ending}", nn.Linear(in_width, WIDTH))
            self.add_module(f"batch_norm{ending or '1'}", nn.BatchNorm1d(WIDTH))
            stages = nn.ModuleList([Stage(), Stage()])
            self.add_module(f"linear_stages{ending}", stages)
        for ending, out_width in decisions.items():
            self.add_module(f"w2{ending}", nn.Linear(WIDTH, out_width))

    def forward(self, *seen: Tensor, ending: str = "") -> Tensor:
        """Concatenate what is seen, each (B, N), and decide: (B, out_width)."""
        x = self.get_submodule(f"w1{ending}")(torch.cat(seen, dim=-1))
        x = F.leaky_relu(self.get_submodule(f"batch_norm{ending or '1'}")(x))
        for stage in self.get_submodule(f"linear_stages{ending}").children():
            x = stage(x)
        return self.get_submodule(f"w2{ending}")(x)


class PoseGenerator(nn.Module):
    """Changes sequences of 16-joint poses; what it decides holds for all frames of a sequence.

    Every network sees frame 0 of the original pose and noise of its own; each change is applied
    to the result of the one before.
    """

    def __init__(self, *, length_limit: float = DEFAULT_LENGTH_LIMIT) -> None:
        """Make a generator.

        Args:
            length_limit: largest relative change of a bone length (`--blr_tanhlimit`).
        """
        super().__init__()
        self.length_limit = length_limit
        seen = POSE_WIDTH + NOISE_WIDTH
        self.BAprocess = DecisionNetworks(seen, {"": 3 * NUM_BONES})
        self.BLprocess = DecisionNetworks(seen + NUM_BONES, {"_BL": NUM_RATIOS})
        self.RTprocess = DecisionNetworks(seen, {"_R": 3, "_T": 3})

    @torch.no_grad()
    def move_away(self, depth: float) -> None:
        """Let translations begin at a depth, in metres, where the camera sees whole bodies.

        Near the camera projection clips x and y, and with them the gradient that would move a body
        away. Published generators begin without it.
        """
        depth_bias = self.RTprocess.get_submodule("w2_T").get_parameter("bias")
        depth_bias[2] = math.sqrt(depth)

    def forward(self, pose_3d: Tensor, *, noise: GeneratorNoise) -> GeneratedPoses:
        """Change sequences.

        Args:
            pose_3d: (B, T, 16, 3) camera-space metres, every joint at its own position.
            noise: of the B sequences.

        Returns:
            The poses after each of the three changes, and what was decided.
        """
        root, bones = pose_3d[..., :1, :], bones_of(pose_3d)
        first = (pose_3d[:, 0] - root[:, 0]).flatten(1)  # (B, 48)
        bones, difference = self._turn(bones, first, noise.bone_angle)
        bone_angle = pose_from_bones(bones, root)
        bones, ratios = self._stretch(bones, first, noise.bone_length)
        relative = pose_from_bones(bones, torch.zeros_like(root))  # exact to its own size
        axis_angle = self.RTprocess(first, noise.rotation, ending="_R").tanh() * MAX_ANGLE
        translation = self._translation(first, noise.translation)
        rotation = rotation_matrix(axis_angle).unsqueeze(1)  # (B, 1, 3, 3) over all frames
        moved = relative @ rotation.mT + translation[:, None, None]  # joints are rows
        return GeneratedPoses(
            bone_angle, relative + root, moved, difference, ratios, axis_angle, translation
        )

    def _turn(self, bones: Tensor, first: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Turned bones (B, T, 15, 3) of the same lengths; 1 - cosine of each turn (B, T, 15)."""
        shift = self.BAprocess(first, noise).unflatten(-1, (NUM_BONES, 3))  # (B, 15, 3)
        shift[:, TRUNK_BONES] = 0
        before = bone_directions(bones)
        after = bone_directions(before + shift.unsqueeze(1))  # (B, 1, 15, 3) over all frames
        difference = 1 - (before * after).sum(-1)
        return after * bone_lengths(bones).unsqueeze(-1), difference

    def _stretch(self, bones: Tensor, first: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Bones (B, T, 15, 3) of the same directions and other lengths; the ratios (B, 9)."""
        decided = self.BLprocess(first, bone_lengths(bones[:, 0]), noise, ending="_BL")  # (B, 9)
        decided[:, FIXED_RATIO] = 0
        ratios = decided.tanh() * self.length_limit
        ratio = ratios.unbind(-1)
        factors = 1 + torch.stack([ratio[number] for number in RATIO_OF_BONE], dim=-1)  # (B, 15)
        return bones * factors[:, None, :, None], ratios

    def _translation(self, first: Tensor, noise: Tensor) -> Tensor:
        """Where the root goes, (B, 3) metres."""
        x, y, root_of_z = self.RTprocess(first, noise, ending="_T").unbind(-1)
        return torch.stack([x, y, root_of_z.square()], dim=-1)
