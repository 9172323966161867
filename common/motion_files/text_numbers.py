"""Many numbers as text, quickly and in bounded memory: what the text formats share."""

from collections.abc import Iterator

import numpy as np

FRAMES_PER_PIECE = 500


def pieces(frames: int) -> Iterator[slice]:
    """Runs of frames that are turned into text at once."""
    for start in range(0, frames, FRAMES_PER_PIECE):
        yield slice(start, min(start + FRAMES_PER_PIECE, frames))


def format_frames(template: str, numbers: np.ndarray, *, missing: str) -> str:
    """One text per frame, joined.

    A template of a whole frame and one `%` for all frames: many times faster than number by number.

    Args:
        template: `%`-format of the K numbers of a frame; no other text of it may hold "nan".
        numbers: (L, ...), K numbers a frame.
        missing: what stands for NaN.
    """
    text = (template * len(numbers)) % tuple(numbers.ravel().tolist())
    return text.replace("nan", missing)


def y_up(world: np.ndarray) -> np.ndarray:
    """World points (..., 3) with z up as points with y up, as animation programs have them."""
    return np.stack([world[..., 0], world[..., 2], -world[..., 1]], axis=-1)


def marker_names(names: tuple[str, ...]) -> list[str]:
    """Joint names without blanks, which end a name in the text formats of motion."""
    return ["_".join(name.split()) for name in names]
