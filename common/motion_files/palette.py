"""Colours of drawn motion, the same in videos and in the viewer."""

from functools import cache

from common.data.skeleton import Skeleton
from common.inference.motion import State

BACKGROUND, PANEL, GRID, SHADOW = "#ffffff", "#f2f4f6", "#aab1bd", "#d0d5dc"
TEXT, FAINT, HALO = "#1d2129", "#6b7280", "#ffffff"
# Joints that were seen have the colour of their side.
STATE_COLOURS = {State.INTERPOLATED: "#e6b800", State.RECOVERED: "#d81b8c"}
STATE_NAMES = {
    State.SEEN: "seen",
    State.INTERPOLATED: "interpolated",
    State.RECOVERED: "recovered",
}


@cache
def rgb(colour: str) -> tuple[int, int, int]:
    """A colour by any name of matplotlib's as red, green, blue from 0 to 255."""
    from matplotlib.colors import to_rgb  # slow to import; only drawing needs it

    red, green, blue = to_rgb(colour)
    return round(255 * red), round(255 * green), round(255 * blue)


@cache
def hexadecimal(colour: str) -> str:
    """A colour by any name of matplotlib's as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*rgb(colour))


def mixed(first: str, second: str, share: float) -> tuple[int, int, int]:
    """A colour between two, `share` of the second."""
    pairs = zip(rgb(first), rgb(second), strict=True)
    red, green, blue = (round(a + (b - a) * share) for a, b in pairs)
    return red, green, blue


def bone_colours(skeleton: Skeleton) -> list[tuple[int, int, int]]:
    """The colour of the bone that leads to each joint."""
    return [rgb(skeleton.colour(joint)) for joint in range(skeleton.num_joints)]
