"""The pictures of a motion at a constant rate, one after the other: what videos are made of."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import numpy as np
from PIL import Image

from common.inference.motion import Motion
from common.motion_files.picture import Pictures
from common.motion_files.timeline import frames_at_rate

_ROUNDING = 2e-3  # seconds by which time stamps of one moment may differ
Timed = tuple[float, np.ndarray]  # seconds, (H, W, 3) uint8


class Film:
    """The pictures of the motions of one recording; none is kept.

    Args:
        motions: one per person.
        size: largest width and height of a picture.
        rate: frames per second.
        images: frames of the recording in order of time, or None.
        seconds: where the film ends, from its beginning.
    """

    def __init__(
        self,
        motions: Sequence[Motion],
        size: tuple[int, int],
        *,
        rate: Fraction,
        images: Iterable[Timed] | None,
        seconds: float = np.inf,
    ) -> None:
        self._time, self._images = motions[0].time, images
        self._pictures = Pictures(motions, size, with_image=images is not None)
        self.size = self._pictures.layout.size
        shown = frames_at_rate(self._time, rate)
        self.shown = shown[: max(1, int(min(seconds * float(rate), len(shown))))]

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.shown)

    def __iter__(self) -> Iterator[Image.Image]:
        """The pictures."""
        for frame, image in self._moments():
            yield self._pictures.draw(frame, image)

    def _moments(self) -> Iterator[tuple[int, np.ndarray | None]]:
        """Each frame that is shown, and the last image of the recording that has begun by then."""
        images = iter(self._images or ())
        current, coming = None, next(images, None)
        for frame in self.shown.tolist():
            while coming is not None and (
                current is None or coming[0] <= self._time[frame] + _ROUNDING
            ):
                current, coming = coming[1], next(images, None)
            yield frame, current
