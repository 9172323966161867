"""Values of flags: text -> a checked value; argparse reports what does not fit."""

import argparse
import math
from collections.abc import Callable

from common.data.keypoint_files import FRAME_RATES


def boolean(text: str) -> bool:
    """A real boolean, unlike `type=bool`."""
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return values[text.lower()]


# The largest integer that a flag takes: whatever counts something fits into memory or a tensor.
LARGEST = 2**31 - 1


def at_least(low: int, most: int = LARGEST) -> Callable[[str], int]:
    """An integer that is not below `low` nor above `most`."""

    def integer(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{text} is below {low}")
        if value > most:
            raise argparse.ArgumentTypeError(f"{text} is above {most}")
        return value

    return integer


def seed(text: str) -> int:
    """A seed, 0 to 2 ** 63 - 1."""
    value = int(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 2 ** 63 - 1")
    return value


def _number(text: str, allowed: Callable[[float], bool], what: str) -> float:
    value = float(text)
    if not allowed(value):
        raise argparse.ArgumentTypeError(f"{text} is not {what}")
    return value


def finite(text: str) -> float:
    """A finite number."""
    return _number(text, math.isfinite, "a finite number")


def not_nan(text: str) -> float:
    """A number or infinity."""
    return _number(text, lambda x: not math.isnan(x), "a number")


def integer(text: str) -> int:
    """An integer of any sign, not too large."""
    return at_least(-LARGEST)(text)


def positive(text: str) -> float:
    """A finite number above 0."""
    return _number(text, lambda x: 0 < x < float("inf"), "a number above 0")


def not_negative(text: str) -> float:
    """A finite number from 0 on."""
    return _number(text, lambda x: 0 <= x < float("inf"), "a number from 0 on")


def frames_per_second(text: str) -> float:
    """A frame rate that a recording can have."""
    low, high = FRAME_RATES
    return _number(text, lambda x: low <= x <= high, f"from {low:g} to {high:g} frames/s")


def positive_list(text: str) -> list[float]:
    """Numbers above 0 from a comma list."""
    return [positive(word) for word in name_list(text)]


def share(text: str) -> float:
    """A number above 0, at most 1."""
    return _number(text, lambda x: 0 < x <= 1, "above 0 and at most 1")


def share_below_one(text: str) -> float:
    """A number from 0 to below 1."""
    return _number(text, lambda x: 0 <= x < 1, "from 0 to below 1")


def share_or_zero(text: str) -> float:
    """A number from 0 to 1."""
    return _number(text, lambda x: 0 <= x <= 1, "from 0 to 1")


def degrees(low: float, high: float) -> Callable[[str], float]:
    """An angle between two bounds."""

    def angle(text: str) -> float:
        return _number(text, lambda x: low <= x <= high, f"from {low:g} to {high:g} degrees")

    return angle


def device_list(text: str) -> list[int]:
    """Device numbers from a comma list; an empty one means CPU."""
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a comma list of device numbers such as 0,1"
        ) from None


def modality_list(text: str) -> list[int]:
    """The dimensions that a comma list of 2d and 3d names, in order."""
    names = name_list(text.lower())
    known = {"2d": 2, "3d": 3}
    if not names or set(names) - set(known):
        raise argparse.ArgumentTypeError(f"{text!r} is none of 2d, 3d and 2d,3d")
    return sorted({known[name] for name in names})


def name_list(text: str) -> list[str]:
    """Names from a comma list."""
    return [word.strip() for word in text.split(",") if word.strip()]
