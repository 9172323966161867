"""Which frames make a sample: index arithmetic over sequences laid end to end."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class WindowRule:
    """How windows are cut from a sequence.

    Attributes:
        frames: T, frames per window (odd).
        frame_step: step between the frames inside a window (`-tds`).
        stride: step between the target frames of consecutive windows.
        mirror: every window a second time, mirrored left to right.
        reverse: every window a second time, backwards in time.
        inside: only windows that lie inside their sequence: those that start at a frame s with
            s + T < length - 1, as published for AMASS. Otherwise every frame is a target, and past
            an end of its sequence the edge repeats.
        causal: the target is the last frame, so that a window holds past frames only; otherwise
            it is the centre frame.
    """

    frames: int
    frame_step: int = 1
    stride: int = 1
    mirror: bool = False
    reverse: bool = False
    inside: bool = False
    causal: bool = False

    @property
    def target(self) -> int:
        """The number of the target frame inside a window, from 0."""
        return self.frames - 1 if self.causal else self.frames // 2


@dataclass(frozen=True)
class Windows:
    """A batch of windows, a few numbers each.

    Attributes:
        targets: (B,) int64, the target frame of each window in its store.
        sequences: (B,) int64, the sequence of each window.
        first_frames: (B,) int64, first frame of that sequence.
        last_frames: (B,) int64, its last frame.
        steps: (B, T) or (T,) int64, distance of the frames from the target.
        num_plain: number of plain windows; they come first, mirrored ones after them.
        order: (B,) int64, the place of each window among the samples that were asked for.
    """

    targets: Tensor
    sequences: Tensor
    first_frames: Tensor
    last_frames: Tensor
    steps: Tensor
    num_plain: int
    order: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def frames(self) -> Tensor:
        """(B, T) int64, the frames of each window; past an end of its sequence the edge repeats."""
        return (self.targets[:, None] + self.steps).clamp(
            self.first_frames[:, None], self.last_frames[:, None]
        )

    def to(self, device: torch.device) -> "Windows":
        """The same windows on another device; frames are worked out there."""
        tensors = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **tensors)  # type: ignore[arg-type]  # only tensors are in it


class WindowIndex:
    """All windows of a store, numbered 0 .. len - 1, without an object or an entry for each.

    A number stands for (reversed?, mirrored?, target frame): the plain windows of all sequences
    come first, in order, then, if the rule mirrors, all of them again mirrored, then all of
    those again reversed. Only the lengths of the sequences are kept, and, where only some frames
    count, the numbers of these.
    """

    def __init__(self, offsets: Tensor, rule: WindowRule, counted: Tensor | None = None) -> None:
        """Index the windows of sequences that lie end to end.

        Args:
            offsets: (S + 1,) int64 on CPU; sequence s is frames offsets[s] to offsets[s + 1] - 1.
            rule: how to cut windows.
            counted: (N,) bool on CPU, the frames that may be targets; None for all.
        """
        self.rule = rule
        self.first_frames = offsets[:-1].contiguous()
        self.last_frames = offsets[1:] - 1
        self.steps = (torch.arange(rule.frames) - rule.target) * rule.frame_step
        self.first_targets = self.first_frames + (rule.target if rule.inside else 0)
        targets_each = offsets.diff()
        if rule.inside:
            targets_each = (targets_each - 1 - rule.frames).clamp(min=0)
        self.window_ends = ((targets_each + rule.stride - 1) // rule.stride).cumsum(0)  # (S,)
        self.window_starts = self.window_ends.roll(1)
        self.window_starts[:1] = 0
        self.num_plain = int(self.window_ends[-1]) if len(targets_each) else 0
        self.chosen = None  # numbers of the plain windows that there are; None for all of them
        if counted is not None:
            targets, _ = self._targets(torch.arange(self.num_plain))
            self.chosen = counted[targets].nonzero().squeeze(1)
            self.num_plain = len(self.chosen)

    def _targets(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Target frame (B,) and sequence (B,) of plain windows (B,)."""
        sequences = torch.searchsorted(self.window_ends, position, right=True)
        steps = position - self.window_starts[sequences]
        return self.first_targets[sequences] + steps * self.rule.stride, sequences

    def __len__(self) -> int:
        return self.num_plain * (1 + self.rule.mirror) * (1 + self.rule.reverse)

    def windows(self, samples: Tensor) -> Windows:
        """The frames of some samples.

        Args:
            samples: (B,) int64 on CPU, sample numbers.

        Returns:
            Their windows; if the rule mirrors, all plain ones come before all mirrored ones (each
            group in the order given), so that the mirrored half is one slice of the batch, and
            `order` is the place of each among the samples.
        """
        variant, position = samples // max(self.num_plain, 1), samples % max(self.num_plain, 1)
        num_plain, order = len(samples), torch.arange(len(samples))
        if self.rule.mirror:
            mirrored = (variant % 2).bool()
            order = torch.argsort(mirrored, stable=True)
            position, variant = position[order], variant[order]
            num_plain -= int(mirrored.sum())
        if self.chosen is not None:
            position = self.chosen[position]
        targets, sequences = self._targets(position)
        steps = self.steps
        if self.rule.reverse:
            backwards = variant // (1 + self.rule.mirror) > 0
            steps = torch.where(backwards[:, None], -steps, steps)
            if self.rule.inside:  # the frames of the plain window, for these are inside
                targets = targets + backwards * (self.steps[0] + self.steps[-1])
        return Windows(
            targets=targets,
            sequences=sequences,
            first_frames=self.first_frames[sequences],
            last_frames=self.last_frames[sequences],
            steps=steps,
            num_plain=num_plain,
            order=order,
        )
