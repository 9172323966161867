"""A picture of each moment of a motion: the recording with 2D joints beside the pose in 3D."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.data.skeleton import Skeleton
from common.inference.motion import Motion
from common.motion_files.drawing import DASHES, Colour, Magnified, Pose2D, draw_person, write_name
from common.motion_files.palette import (
    BACKGROUND,
    FAINT,
    HALO,
    PANEL,
    STATE_COLOURS,
    STATE_NAMES,
    TEXT,
    rgb,
)
from common.motion_files.reprojection import joints_in_image
from common.motion_files.scene import Scene

HEADER, FOOTER, MARGIN, BONE = 44, 40, 18, 5.0  # pixels of a picture that is 720 high
_LARGEST_SHARE = 0.58  # of the width, for the recording
_LOWEST_PANEL = 0.6  # height of the panels of a wide recording, of the largest
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Layout:
    """Where what is in a picture.

    Attributes:
        size: of the picture, even numbers.
        image: of the recording; None if nothing of it is shown.
        scene: the 3D panel.
        scale: of text and lines.
    """

    size: tuple[int, int]
    image: Box | None
    scene: Box
    scale: float


def layout_for(size: tuple[int, int], image: tuple[int, int] | None) -> Layout:
    """Share out a picture.

    Args:
        size: largest width and height.
        image: width and height of the recording, None if it is not shown.
    """
    width, scale = size[0] // 2 * 2, min(size[1] / 720, size[0] / 1280)
    head, foot = round(HEADER * scale), round(FOOTER * scale)
    tallest = size[1] // 2 * 2 - head - foot
    if image is None:
        return Layout((width, head + tallest + foot), None, (0, head, width, head + tallest), scale)
    aspect = image[0] / image[1]
    wide = max(2, round(min(_LARGEST_SHARE * width, tallest * aspect)))
    high = min(tallest, max(2, round(wide / aspect)))
    panel = max(high, round(_LOWEST_PANEL * tallest))
    panel += (head + panel + foot) % 2
    top = head + (panel - high) // 2
    scene = (wide + 2, head, width, head + panel)  # an edge between
    return Layout((width, head + panel + foot), (0, top, wide, top + high), scene, scale)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Matplotlib's own DejaVu Sans: Latin, Greek, Cyrillic, and no look at the system's fonts."""
    import matplotlib  # slow to import; only drawing needs it

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def legend_entries(
    skeleton: Skeleton,
) -> list[tuple[str, Colour, tuple[float, float] | None, Colour | None]]:
    """What is explained below a picture: name, colour of the line, dashes, colour of the joint."""
    sides = {"left": skeleton.left, "right": skeleton.right}
    entries: list[tuple[str, Colour, tuple[float, float] | None, Colour | None]] = [
        (side, rgb(skeleton.colours[side]), None, None) for side, joints in sides.items() if joints
    ]
    for state, name in STATE_NAMES.items():
        dot = rgb(STATE_COLOURS.get(state, FAINT))
        entries.append((name, rgb(FAINT), DASHES[state], dot))
    return entries


class Pictures:
    """Draws the moments of the motions of one recording.

    Args:
        motions: one per person.
        size: largest width and height of a picture.
        with_image: whether frames of the recording will be drawn.
    """

    def __init__(
        self, motions: Sequence[Motion], size: tuple[int, int], *, with_image: bool
    ) -> None:
        self._motions = motions
        self._camera = motions[0].camera
        flat = with_image or any(np.isfinite(m.keypoints_2d).any() for m in motions)
        self.layout = layout_for(size, self._camera.size if flat else None)
        left, top, right, bottom = self.layout.scene
        self._bone = BONE * self.layout.scale
        self._scene = Scene(
            motions, (right - left, bottom - top), bone=1.3 * self._bone, font=self._font(15)
        )
        self._around = self._draw_around()

    def draw(self, frame: int, image: np.ndarray | None) -> Image.Image:
        """The picture of a frame.

        Args:
            frame: its number.
            image: (H, W, 3) uint8 of the recording, or None.
        """
        picture = self._around.copy()
        box = self.layout.image
        if box is not None:
            picture.paste(self._recording(frame, image, box), box[:2])
        picture.paste(self._scene.draw(frame), self.layout.scene[:2])
        self._write_time(picture, frame)
        return picture

    def _recording(self, frame: int, image: np.ndarray | None, box: Box) -> Image.Image:
        """The image of the recording with the joints over it."""
        size = box[2] - box[0], box[3] - box[1]
        if image is None:
            panel = Image.new("RGB", size, rgb(PANEL))
        else:
            panel = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=1.5)
        factor = np.array(size) / np.array(self._camera.size)
        for motion in self._motions:
            points = (joints_in_image(motion, frame) + 0.5) * factor - 0.5
            pose = Pose2D(points, motion.state[frame])
            draw_person(panel, pose, motion.skeleton, 0.8 * self._bone, shadow=rgb(PANEL))
            if len(self._motions) > 1:
                write_name(panel, points, motion.name, self._font(15))
        return panel

    def _write_time(self, picture: Image.Image, frame: int) -> None:
        time = self._motions[0].time
        seconds = f"{time[frame]:.2f} s"
        place = (picture.width - self._scaled(MARGIN), self._scaled(HEADER / 2))
        draw = ImageDraw.Draw(picture)
        draw.text(place, seconds, fill=rgb(TEXT), font=self._font(19), anchor="rm")

    def _draw_around(self) -> Image.Image:
        """What all pictures share: the name, and what colours and lines mean."""
        picture = Image.new("RGB", self.layout.size, rgb(BACKGROUND))
        several = len(self._motions) > 1
        title = f"{len(self._motions)} people" if several else f"person {self._motions[0].name}"
        place = (self._scaled(MARGIN), self._scaled(HEADER / 2))
        draw = ImageDraw.Draw(picture)
        draw.text(place, title, fill=rgb(TEXT), font=self._font(19), anchor="lm")
        self._draw_legend(picture, self._motions[0].skeleton)
        return picture

    def _draw_legend(self, picture: Image.Image, skeleton: Skeleton) -> None:
        top = picture.height - self._scaled(FOOTER)
        canvas = Magnified(picture, (0, top, picture.width, picture.height))
        names, text = [], self._font(15)
        x, y = float(self._scaled(MARGIN)), top + self._scaled(FOOTER / 2)
        long, gap = self._scaled(34), self._scaled(9)
        for name, line, dashes, dot in legend_entries(skeleton):
            start, end = np.array([x, y]), np.array([x + long, y])
            canvas.dashed(start, end, line, self._bone, dashes)
            if dot is not None:
                canvas.dot(end, 1.1 * self._bone, dot, rgb(HALO))
            x += long + 2 * gap
            names.append((x, name))
            x += text.getlength(name) + 3 * gap
        canvas.put_back()
        draw = ImageDraw.Draw(picture)
        for left, name in names:
            draw.text((left, y), name, fill=rgb(TEXT), font=text, anchor="lm")

    def _scaled(self, pixels: float) -> int:
        return round(pixels * self.layout.scale)

    def _font(self, size: int) -> ImageFont.FreeTypeFont:
        return font(max(8, round(size * self.layout.scale)))
