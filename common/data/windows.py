"""Which frames make a sample: index arithmetic over sequences laid end to end."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class WindowRule:
    """How windows are cut from a sequence.

    Attributes:
        frames: T, frames of a window (odd).
        frame_step: step between the frames inside a window (`-tds`).
        stride: step between the centres of windows.
        mirror: every window a second time, mirrored left to right.
        reverse: every window a second time, backwards in time.
        inside: only windows that lie inside their sequence: those that start at a frame s with
            s + T < length - 1, as published for AMASS. Otherwise every frame is a centre, and past
            an end of its sequence the edge repeats.
    """

    frames: int
    frame_step: int = 1
    stride: int = 1
    mirror: bool = False
    reverse: bool = False
    inside: bool = False

    @property
    def half_window(self) -> int:
        """Frames on either side of the centre."""
        return (self.frames - 1) // 2


@dataclass(frozen=True)
class Windows:
    """A batch of windows, a few numbers each.

    Attributes:
        centres: (B,) int64, the centre frame of each window in its store.
        sequences: (B,) int64, the sequence of each window.
        first_frames: (B,) int64, first frame of that sequence.
        last_frames: (B,) int64, its last frame.
        steps: (B, T) or (T,) int64, distance of the frames from the centre.
        num_plain: the first so many windows are plain, those after them mirrored.
    """

    centres: Tensor
    sequences: Tensor
    first_frames: Tensor
    last_frames: Tensor
    steps: Tensor
    num_plain: int

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def frames(self) -> Tensor:
        """(B, T) int64, the frames of each window; past an end of its sequence the edge repeats."""
        return (self.centres[:, None] + self.steps).clamp(
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

    A number stands for (reversed?, mirrored?, centre frame): the plain windows of all sequences
    come first, in order, then, where the rule says so, all of them again mirrored, then all of
    those again reversed. Only the lengths of the sequences are kept, and, where only some frames
    count, the numbers of these.
    """

    def __init__(self, offsets: Tensor, rule: WindowRule, counted: Tensor | None = None) -> None:
        """Index the windows of sequences that lie end to end.

        Args:
            offsets: (S + 1,) int64 on CPU; sequence s is frames offsets[s] to offsets[s + 1] - 1.
            rule: how to cut windows.
            counted: (N,) bool on CPU, the frames that may be centres; None for all.
        """
        self.rule = rule
        self.first_frames = offsets[:-1].contiguous()
        self.last_frames = offsets[1:] - 1
        self.steps = torch.arange(-rule.half_window, rule.half_window + 1) * rule.frame_step
        self.first_centres = self.first_frames + (rule.half_window if rule.inside else 0)
        centres_each = offsets.diff()
        if rule.inside:
            centres_each = (centres_each - 1 - rule.frames).clamp(min=0)
        self.window_ends = ((centres_each + rule.stride - 1) // rule.stride).cumsum(0)  # (S,)
        self.window_starts = self.window_ends.roll(1)
        self.window_starts[:1] = 0
        self.num_plain = int(self.window_ends[-1]) if len(centres_each) else 0
        self.chosen = None  # numbers of the plain windows that there are; None for all of them
        if counted is not None:
            centres, _ = self._centres(torch.arange(self.num_plain))
            self.chosen = counted[centres].nonzero().squeeze(1)
            self.num_plain = len(self.chosen)

    def _centres(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Centre frame (B,) and sequence (B,) of plain windows (B,)."""
        sequences = torch.searchsorted(self.window_ends, position, right=True)
        steps = position - self.window_starts[sequences]
        return self.first_centres[sequences] + steps * self.rule.stride, sequences

    def __len__(self) -> int:
        return self.num_plain * (1 + self.rule.mirror) * (1 + self.rule.reverse)

    def windows(self, samples: Tensor) -> Windows:
        """The frames of some samples.

        Args:
            samples: (B,) int64 on CPU, sample numbers.

        Returns:
            Their windows; if the rule mirrors, all plain ones come before all mirrored ones (each
            group in the order given), so that the mirrored half is one slice of the batch.
        """
        variant, position = samples // max(self.num_plain, 1), samples % max(self.num_plain, 1)
        num_plain = len(samples)
        mirrored = (variant % 2).bool() if self.rule.mirror else None
        if mirrored is not None:
            order = torch.argsort(mirrored, stable=True)
            position, variant = position[order], variant[order]
            num_plain -= int(mirrored.sum())
        if self.chosen is not None:
            position = self.chosen[position]
        centres, sequences = self._centres(position)
        steps = self.steps
        if self.rule.reverse:
            backwards = variant // (1 + self.rule.mirror) > 0
            steps = torch.where(backwards[:, None], -steps, steps)
        return Windows(
            centres=centres,
            sequences=sequences,
            first_frames=self.first_frames[sequences],
            last_frames=self.last_frames[sequences],
            steps=steps,
            num_plain=num_plain,
        )
