"""The 3D panel of a picture: people on a ground grid."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.inference.motion import Motion
from common.motion_files.drawing import FINE, Pose2D, draw_person, write_name
from common.motion_files.palette import FAINT, GRID, PANEL, SHADOW, mixed, rgb
from common.motion_files.viewpoint import stage_for

_CELLS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # metres
_MOST_CELLS = 9  # from the target to the edge of the ground
_GROUND_RADII = 2.2  # the ground around the target, in radii of the motion
_PIECES = 24  # of a grid line, which fades piece by piece


class Scene:
    """Draws people in 3D as they are in a frame.

    Args:
        motions: one per person.
        size: width and height in pixels.
        bone: width of a bone in pixels.
        font: of names and notes.
    """

    def __init__(
        self,
        motions: Sequence[Motion],
        size: tuple[int, int],
        *,
        bone: float,
        font: ImageFont.FreeTypeFont,
    ) -> None:
        self._motions, self._size, self._bone, self._font = motions, size, bone, font
        self._stage = stage_for(motions, *size)
        wide = _GROUND_RADII * self._stage.radius
        self.cell = next((c for c in _CELLS if wide / c <= _MOST_CELLS), _CELLS[-1])
        self._reach = min(np.ceil(wide / self.cell), _MOST_CELLS) * self.cell
        self._ground: tuple[bytes, Image.Image] | None = None

    def draw(self, frame: int) -> Image.Image:
        """The panel of a frame."""
        target = self._stage.targets[frame]
        panel = self._on_ground(target).copy()
        shown = 0
        for motion in self._motions:
            world = motion.world_3d[frame]
            if np.isnan(world).all():
                continue
            shown += 1
            points, depth = self._stage.view.project(world, target)
            shadow, _ = self._stage.view.project(world * [1, 1, 0], target)
            pose = Pose2D(points, motion.state[frame], depth, shadow)
            draw_person(panel, pose, motion.skeleton, self._bone, shadow=rgb(SHADOW))
            if len(self._motions) > 1:
                write_name(panel, points, motion.name, self._font)
        if not shown:
            middle = (self._size[0] / 2, self._size[1] / 2)
            ImageDraw.Draw(panel).text(
                middle, "no pose in this frame", fill=rgb(FAINT), font=self._font, anchor="mm"
            )
        return panel

    def _on_ground(self, target: np.ndarray) -> Image.Image:
        """The panel without people; kept as long as the view stands still."""
        key = target.tobytes()
        if self._ground is None or self._ground[0] != key:
            self._ground = key, self._draw_ground(target)
        return self._ground[1]

    def _draw_ground(self, target: np.ndarray) -> Image.Image:
        """The grid, twice as large and shrunk, fading towards its edge."""
        fine = FINE - 1
        large = Image.new("RGB", (self._size[0] * fine, self._size[1] * fine), rgb(PANEL))
        draw = ImageDraw.Draw(large)
        lines, near = self._grid(target)
        pixels, _ = self._stage.view.project(lines, target)
        for line, closeness in zip(pixels * fine, near, strict=True):
            for start, end, share in zip(line[:-1], line[1:], closeness, strict=True):
                if share > 0.02 and not np.isnan((start, end)).any():
                    colour = mixed(PANEL, GRID, float(share))
                    draw.line((*start.tolist(), *end.tolist()), fill=colour, width=fine)
        panel = large.reduce(fine)
        note = f"grid {self.cell:g} m"
        place = (self._size[0] - 2 * self._bone, self._size[1] - 2 * self._bone)
        ImageDraw.Draw(panel).text(place, note, fill=rgb(FAINT), font=self._font, anchor="rs")
        return panel

    def _grid(self, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Grid lines (N, pieces + 1, 3), and how near (N, pieces) pieces are, 1 at the target."""
        first = np.floor((target[:2] - self._reach) / self.cell) * self.cell
        last = np.ceil((target[:2] + self._reach) / self.cell) * self.cell
        along = np.linspace(0, 1, _PIECES + 1)
        lines = []
        for axis in range(2):
            other = 1 - axis
            for place in np.arange(first[axis], last[axis] + self.cell / 2, self.cell):
                line = np.zeros((_PIECES + 1, 3))
                line[:, axis] = place
                line[:, other] = first[other] + (last[other] - first[other]) * along
                lines.append(line)
        points = np.stack(lines)
        middles = (points[:, 1:, :2] + points[:, :-1, :2]) / 2 - target[:2]
        return points, np.clip(1.15 - np.linalg.norm(middles, axis=-1) / self._reach, 0, 1)
