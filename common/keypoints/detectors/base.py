"""What a detector has to offer."""

from types import TracebackType
from typing import Protocol, Self

import numpy as np


class Detector(Protocol):
    """Finds people in the frames of one video, in order; a context manager.

    Attributes:
        layout: name of the joint order of J joints, one of `common.data.layouts.LAYOUTS`.
        tracks: whether the n-th person that it finds is the same in every frame.
    """

    layout: str
    tracks: bool

    def detect(self, frame: np.ndarray) -> np.ndarray:
        """Find people.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Returns:
            (P, J, 3) x and y in pixels and a confidence from 0 to 1; P = 0 where nobody is seen.
        """
        ...

    def __enter__(self) -> Self:
        """Load the model."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free what it holds."""
        ...
