"""The size of the image that keypoints belong to: checked, or guessed where it is clear."""

import numpy as np

from common.data.units import LARGEST_NORMALISED, wrong_pixels

# Sizes that videos have, landscape.
USUAL = ((640, 360), (640, 480), (854, 480), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160))
MOST_OUTSIDE = 0.5  # share of joints outside of the image
NEAR_THE_EDGE = 0.8  # share of width or height that the joints of the right size reach
HALF_WAY = 0.5


def guess_size(keypoints: np.ndarray) -> tuple[int, int] | None:
    """The only usual size that joints fit into and nearly fill.

    Args:
        keypoints: (N, J, 2) pixels, NaN where not detected.

    Returns:
        Width and height; None if none or several fit.
    """
    finite = keypoints[np.isfinite(keypoints).all(-1)]  # (K, 2)
    if not len(finite) or np.abs(finite).max() <= LARGEST_NORMALISED:
        return None
    reach = np.quantile(finite, 0.999, axis=0)  # a stray joint does not count
    sizes = {size for usual in USUAL for size in (usual, usual[::-1])}
    shares = {size: reach / size for size in sizes if (reach <= size).all()}
    filled = [
        size
        for size, share in shares.items()
        if share.max() >= NEAR_THE_EDGE and share.min() >= HALF_WAY
    ]
    return filled[0] if len(filled) == 1 else None


def wrong_size(keypoints: np.ndarray, size: tuple[int, int]) -> str:
    """Why keypoints (N, J, 2) are not those of an image of this size; "" if they may be."""
    if reason := wrong_pixels(keypoints, *size):
        return reason
    finite = keypoints[np.isfinite(keypoints).all(-1)]
    outside = ((finite < 0) | (finite > size)).any(-1)
    if len(finite) and outside.mean() > MOST_OUTSIDE:
        return (
            f"{outside.mean():.0%} of the joints lie outside an image of {size[0]} x {size[1]} "
            "pixels; are they of an image of another size?"
        )
    return ""
