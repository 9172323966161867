"""Skeletons on Pillow images, with smooth edges, in the styles that tell where joints come from.

A part of an image is enlarged, drawn on and shrunk again: smooth lines at the price of copying
what the skeleton covers, and what is beneath stays as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.data.skeleton import Skeleton
from common.inference.motion import State
from common.motion_files.palette import HALO, STATE_COLOURS, TEXT, bone_colours, rgb

FINE = 3  # lines are drawn so many times larger
_FAR_OUT = 1e5  # pixels: a lens's distortion, a joint beside the camera
Colour = tuple[int, int, int]
# State -> dash and gap of the bone that leads to a joint, in line widths; none: solid.
DASHES: dict[int, tuple[float, float] | None] = {
    State.SEEN: None,
    State.INTERPOLATED: (2.2, 1.8),
    State.RECOVERED: (0.7, 1.6),
}


class Magnified:
    """A part of an image to draw on, in the image's own coordinates; put back at the end."""

    def __init__(self, image: Image.Image, box: tuple[int, int, int, int]) -> None:
        left, top = max(box[0], 0), max(box[1], 0)
        right, bottom = min(box[2], image.width), min(box[3], image.height)
        self.empty = right <= left or bottom <= top
        self._image, self._corner = image, (left, top)
        if not self.empty:
            part = image.crop((left, top, right, bottom))
            size = (part.width * FINE, part.height * FINE)
            self._part = part.resize(size, Image.Resampling.NEAREST)
            self._draw = ImageDraw.Draw(self._part)

    def line(self, start: np.ndarray, end: np.ndarray, colour: Colour, width: float) -> None:
        """A line with round ends."""
        (x0, y0), (x1, y1) = self._own(start), self._own(end)
        thick = round(width * FINE)
        self._draw.line((x0, y0, x1, y1), fill=colour, width=thick)
        if thick > FINE:
            radius = (thick - 1) / 2
            for x, y in ((x0, y0), (x1, y1)):
                self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def dashed(
        self,
        start: np.ndarray,
        end: np.ndarray,
        colour: Colour,
        width: float,
        dashes: tuple[float, float] | None,
    ) -> None:
        """A line of dashes and gaps, their lengths in line widths."""
        if dashes is None:
            self.line(start, end, colour, width)
            return
        dash, gap = dashes
        length = max(float(np.hypot(*(end - start))), 1e-6)
        # So many that a dash begins and a dash ends the line, two at least.
        count = max(2, round((length / width + gap) / (dash + gap)))
        period = (dash + gap) / (count * (dash + gap) - gap)
        for begin in period * np.arange(count):
            stop = min(begin + period * dash / (dash + gap), 1)
            self.line(start + (end - start) * begin, start + (end - start) * stop, colour, width)

    def dot(self, centre: np.ndarray, radius: float, colour: Colour, edge: Colour) -> None:
        """A disc with an edge of another colour."""
        x, y = self._own(centre)
        for r, fill in ((radius + 1.2, edge), (radius, colour)):
            r *= FINE
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def put_back(self) -> None:
        """Shrink what was drawn into the image."""
        if not self.empty:
            self._image.paste(self._part.reduce(FINE), self._corner)

    def _own(self, point: np.ndarray) -> tuple[float, float]:
        return (
            (float(point[0]) - self._corner[0] + 0.5) * FINE,
            (float(point[1]) - self._corner[1] + 0.5) * FINE,
        )


@dataclass(frozen=True)
class Pose2D:
    """What is drawn of a person in one picture.

    Attributes:
        points: (J, 2) pixels of the picture, NaN for joints that are not drawn.
        state: (J,) values of `State`.
        depth: (J,) how far joints are, far ones are drawn first; None where it does not matter.
        shadow: (J, 2) pixels of the joints' shadows on the ground, or None.
    """

    points: np.ndarray
    state: np.ndarray
    depth: np.ndarray | None = None
    shadow: np.ndarray | None = None


def box_around(points: np.ndarray, margin: float) -> tuple[int, int, int, int] | None:
    """The box (left, top, right, bottom) around those of the points (..., 2) that are not NaN."""
    there = points.reshape(-1, 2)[~np.isnan(points).any(axis=-1).ravel()]
    if not len(there):
        return None
    low, high = there.min(axis=0) - margin, there.max(axis=0) + margin
    low, high = np.clip(low, -_FAR_OUT, _FAR_OUT), np.clip(high, -_FAR_OUT, _FAR_OUT)
    return int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1


def draw_person(
    image: Image.Image, pose: Pose2D, skeleton: Skeleton, width: float, *, shadow: Colour
) -> None:
    """Draw a person on an image.

    Args:
        image: RGB.
        pose: where the joints are.
        skeleton: of the joints.
        width: of a bone in pixels.
        shadow: colour of the shadow.
    """
    everything = pose.points if pose.shadow is None else np.stack([pose.points, pose.shadow])
    box = box_around(everything, 3 * width)
    if box is None:
        return
    canvas = Magnified(image, box)
    if canvas.empty:
        return
    bones = [
        (joint, parent)
        for joint, parent in enumerate(skeleton.parents)
        if parent >= 0 and not np.isnan(pose.points[[joint, parent]]).any()
    ]
    if pose.shadow is not None:
        for joint, parent in bones:
            canvas.line(pose.shadow[parent], pose.shadow[joint], shadow, 1.3 * width)
    if pose.depth is not None:
        depth = pose.depth
        bones.sort(key=lambda bone: -float(depth[bone[0]] + depth[bone[1]]))
    colours = bone_colours(skeleton)
    _draw_bones(canvas, pose, bones, colours, width)
    _draw_joints(canvas, pose, colours, width)
    canvas.put_back()


def _draw_bones(
    canvas: Magnified,
    pose: Pose2D,
    bones: Sequence[tuple[int, int]],
    colours: Sequence[Colour],
    width: float,
) -> None:
    for joint, parent in bones:
        start, end = pose.points[parent], pose.points[joint]
        canvas.line(start, end, rgb(HALO), width + 2)
        canvas.dashed(start, end, colours[joint], width, DASHES.get(int(pose.state[joint])))


def _draw_joints(canvas: Magnified, pose: Pose2D, colours: Sequence[Colour], width: float) -> None:
    for joint, point in enumerate(pose.points):
        if not np.isnan(point).any():
            special = STATE_COLOURS.get(State(pose.state[joint]))
            radius = 1.05 * width if special else 0.75 * width
            canvas.dot(point, radius, rgb(special) if special else colours[joint], rgb(HALO))


def write_name(
    image: Image.Image, points: np.ndarray, name: str, font: ImageFont.FreeTypeFont
) -> None:
    """Write a person's name above the highest of the joints (J, 2), pixels."""
    there = points[~np.isnan(points).any(axis=-1)]
    if not len(there):
        return
    x, y = np.clip(there[there[:, 1].argmin()], -_FAR_OUT, _FAR_OUT)
    place = (float(x), float(y) - 0.8 * font.size)
    ImageDraw.Draw(image).text(
        place, name, fill=rgb(TEXT), font=font, anchor="md", stroke_width=2, stroke_fill=rgb(HALO)
    )
