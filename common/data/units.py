"""Units recognised by magnitude: poses that are not in the unit they should be in are refused.

The same checks serve the loaders, dataset/make_custom.py and `python -m common.inspect`.
"""

import numpy as np

LARGEST_BODY = 20.0  # metres from the root to a joint; a body in millimetres is hundreds
SMALLEST_BODY = 0.02  # a body in metres that was divided by 1000 is 0.002
LARGEST_NORMALISED = 2.0  # no body has all its pixels in the corner of an image


def wrong_length_unit(pose_3d: np.ndarray, *, units_per_metre: float = 1.0) -> str:
    """Why 3D poses are in another unit than they should be; "" if they may be right.

    Args:
        pose_3d: (L, J, 3), NaN where not known; frames may lack some joints.
        units_per_metre: of the unit that is needed: 1 for metres, 1000 for millimetres.
    """
    there = np.isfinite(pose_3d).all(-1)  # infinity is found elsewhere
    first = there.argmax(1)[:, None, None]  # the root, or what stands in for it where it is missing
    with np.errstate(invalid="ignore", over="ignore"):
        offset = np.abs(pose_3d - np.take_along_axis(pose_3d, first, axis=1))
        relative = np.where(there[..., None], offset, 0).reshape(len(pose_3d), -1).max(1)
    known = relative[(there.sum(1) > 1) & np.isfinite(relative)]
    if not len(known):
        return ""
    size = float(np.median(known)) / units_per_metre
    needed, other = ("metres", "millimetres") if units_per_metre == 1 else ("millimetres", "metres")
    if size > LARGEST_BODY:
        remedy = f"they are in {other}? divide by 1000" if units_per_metre == 1 else "wrong unit?"
        return f"a body of {size:,.4g} m; 3D poses in {needed} are needed ({remedy})"
    if size < SMALLEST_BODY:
        remedy = f"they are in {other}? multiply by 1000" if units_per_metre != 1 else "wrong unit?"
        return f"a body of {size:,.4g} m; 3D poses in {needed} are needed ({remedy})"
    return ""


def wrong_pixels(pose_2d: np.ndarray, width: float, height: float) -> str:
    """Why 2D poses are not pixels of an image of this size; "" if they may be.

    Args:
        pose_2d: (L, J, 2).
        width: of the image.
        height: of the image.
    """
    finite = pose_2d[np.isfinite(pose_2d).all(-1)]  # (K, 2)
    if not len(finite):
        return ""
    if np.abs(finite).max() <= LARGEST_NORMALISED:
        return (
            f"2D from {finite.min():.3g} to {finite.max():.3g}; pixels are needed (already "
            "normalised? multiply by the image's size)"
        )
    x, y = finite.T
    outside = ((x > width) | (y > height)).mean()
    outside_swapped = ((x > height) | (y > width)).mean()
    if outside > 0.5 and outside_swapped < 0.05:
        return (
            f"{outside:.0%} of the joints lie outside an image of {width:g} x {height:g} pixels, "
            f"and inside one of {height:g} x {width:g} (width and height swapped?)"
        )
    return ""
