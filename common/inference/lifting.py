"""Lift clips of any frame rate: windows at the model's rate around every frame of the input."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.inference.models import LiftingModel

# Samples of a window lie between two frames of the input, at this many places: those that several
# windows share are embedded once, and time stamps need not be exact.
PLACES = 1024

Progress = Callable[[int], object]


@dataclass(frozen=True)
class Clip:
    """Consecutive frames that each have a pose.

    Attributes:
        pose: (L, J, 2) float32 in the model's input space; finite where not hidden.
        hidden: (L, J) bool, True = hidden from a masked model; None for a lifter.
        time: (L,) float64 seconds, increasing.
    """

    pose: Tensor
    hidden: Tensor | None
    time: np.ndarray


@dataclass(frozen=True)
class Samples:
    """Poses that windows consist of, each between two frames of a clip.

    Attributes:
        before: (S,) int64, the frame before.
        share: (S,) float32, from 0 to below 1: that of the frame after it.
        windows: (B, T) int64, the windows as sample numbers.
    """

    before: np.ndarray
    share: np.ndarray
    windows: np.ndarray


def window_samples(time: np.ndarray, targets: np.ndarray, seconds: np.ndarray) -> Samples:
    """What the windows around some frames consist of; past an end of the clip its edge repeats.

    Args:
        time: (L,) float64 seconds, increasing.
        targets: (B,) int64 frames.
        seconds: (T,) float64, time of the frames of a window relative to the target.
    """
    wanted = np.clip(time[targets][:, None] + seconds, time[0], time[-1])  # (B, T)
    before = np.searchsorted(time, wanted, side="right") - 1
    after = np.minimum(before + 1, len(time) - 1)
    step = np.where(after > before, time[after] - time[before], 1.0)
    place = np.rint((wanted - time[before]) / step * PLACES).astype(np.int64)
    unique, windows = np.unique(before * PLACES + place, return_inverse=True)
    before, place = np.divmod(unique, PLACES)
    return Samples(before, (place / PLACES).astype(np.float32), windows.reshape(wanted.shape))


def gather(clip: Clip, samples: Samples) -> tuple[Tensor, Tensor | None]:
    """The poses (S, J, 2) of samples, and what is hidden (S, J): what either frame hides."""
    before = torch.from_numpy(samples.before)
    after = (before + 1).clamp(max=len(clip.time) - 1)
    share = torch.from_numpy(samples.share)[:, None, None]
    pose = torch.where(
        share > 0, clip.pose[before] * (1 - share) + clip.pose[after] * share, clip.pose[before]
    )
    if clip.hidden is None:
        return pose, None
    hidden = clip.hidden[before] | (clip.hidden[after] & (share > 0).squeeze(-1))
    return pose.masked_fill(hidden[..., None], 0), hidden


def lift_targets(model: LiftingModel, clip: Clip, targets: np.ndarray) -> Tensor:
    """Lift some frames of a clip in one pass.

    Args:
        model: the model.
        clip: the frames around them.
        targets: (B,) int64 frames of the clip.

    Returns:
        (B, J, 3) float32 root-relative metres.
    """
    samples = window_samples(clip.time, targets, model.info.seconds)
    poses, hidden = gather(clip, samples)
    return model.lift(poses, hidden, torch.from_numpy(samples.windows))


def lift_clip(model: LiftingModel, clip: Clip, *, progress: Progress | None = None) -> np.ndarray:
    """Lift every frame of a clip, in passes of bounded size.

    Args:
        model: the model.
        clip: any number of frames from 1.
        progress: called with the number of frames after each pass.

    Returns:
        (L, J, 3) float32 root-relative metres.
    """
    lifted = np.empty((*clip.pose.shape[:2], 3), dtype=np.float32)
    for targets in _passes(len(lifted), model.windows_per_pass):
        lifted[targets] = lift_targets(model, clip, targets).numpy()
        if progress is not None:
            progress(len(targets))
    return lifted


def _passes(length: int, size: int) -> Iterator[np.ndarray]:
    for first in range(0, length, size):
        yield np.arange(first, min(first + size, length))


def runs(usable: np.ndarray, time: np.ndarray, *, longest_step: float) -> list[slice]:
    """Runs of frames that belong together.

    Args:
        usable: (L,) bool, whether a frame has a pose.
        time: (L,) float64 seconds.
        longest_step: seconds between two frames of one run.

    Returns:
        The runs, in order.
    """
    frames = np.flatnonzero(usable)
    if not len(frames):
        return []
    breaks = (np.diff(frames) > 1) | (np.diff(time[frames]) > longest_step)
    ends = np.flatnonzero(breaks) + 1
    return [slice(int(part[0]), int(part[-1]) + 1) for part in np.split(frames, ends)]
