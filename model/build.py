"""Models by name, their sizes, and parts of them that are not trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from model.lifter import PoseLifter
from model.masked_pose import MaskedPoseModel

SMALL_DEVIATION = 0.02


@dataclass(frozen=True)
class ModelSize:
    """What decides the shapes of a model's tensors.

    Attributes:
        frames: T.
        num_joints: J.
        layers: blocks of the temporal encoder.
        width: D, token width; a multiple of 8.
        hidden_width: F, feed-forward width.
    """

    frames: int
    num_joints: int
    layers: int
    width: int
    hidden_width: int


class Lifter(Protocol):
    """What a lifter offers, besides being an `nn.Module`.

    Attributes:
        sequence_head: the part that only the poses of every frame need, if there is one; it is
            not trained where these are no part of the loss.
    """

    sequence_head: nn.Module | None

    def __call__(
        self, pose_2d: Tensor, frames: Tensor | None = None, *, with_sequence: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Lift windows.

        Args:
            pose_2d: (B, T, J, 2), normalised screen coordinates. With `frames`: (S, L, J, 2), S
                versions of L frames that windows are cut from (evaluation mode).
            frames: (B, T) int64, the windows as frame numbers 0 .. L - 1, or None.
            with_sequence: False skips the poses of every frame.

        Returns:
            The pose of the target frame, (B, 1, J, 3) metres relative to the root, and the poses
            of all frames, (B, T, J, 3), or None. With `frames`, S * B windows, version by version.
        """


def _pose_lifter(size: ModelSize) -> nn.Module:
    return PoseLifter(**vars(size))


LIFTERS: dict[str, Callable[[ModelSize], nn.Module]] = {"mpm": _pose_lifter}


def build_lifter(name: str, size: ModelSize, *, trains_sequence: bool = True) -> nn.Module:
    """A lifter with its first weights.

    Args:
        name: a key of `LIFTERS`.
        size: of the model.
        trains_sequence: False where the poses of every frame are no part of the loss.

    Returns:
        An `nn.Module` that is a `Lifter`.
    """
    lifter = LIFTERS[name](size)
    head = lifter.sequence_head
    if isinstance(head, nn.Module) and not trains_sequence:
        head.requires_grad_(False)
    return lifter


def build_masked_model(size: ModelSize, *, decoder_depth: int) -> MaskedPoseModel:
    """A masked model with its first weights; `decoder_depth` blocks per decoder."""
    return MaskedPoseModel(**vars(size), decoder_depth=decoder_depth)


@torch.no_grad()
def shrink_embeddings(module: nn.Module, *, deviation: float = SMALL_DEVIATION) -> None:
    """Let positions and mask tokens start with a deviation of 0.02 instead of the published 1."""
    for name, parameter in module.named_parameters():
        if "pos_embedding" in name or "mask_token" in name:
            parameter.mul_(deviation)


def freeze(module: nn.Module, parts: Sequence[str]) -> list[nn.Module]:
    """Keep some parts of a model as they are: no gradients, and (by the loop) no new statistics.

    Args:
        module: the model.
        parts: names of its parts, for example "encoder2d".

    Returns:
        The parts.

    Raises:
        ValueError: there is no such part, or nothing would be left to train.
    """
    known = dict(module.named_children())
    for name in parts:
        if name not in known:
            raise ValueError(f"no part {name!r}; there are {', '.join(known)}")
        known[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError("nothing is left to train")
    return [known[name] for name in parts]
