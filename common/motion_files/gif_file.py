"""Motion as a moving picture for pages and messages: `video.gif`, small, without ffmpeg."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from PIL import Image

from common.files import whole_file
from common.inference.motion import Motion
from common.log import LOG
from common.motion_files.film import Film
from common.motion_files.palette import (
    BACKGROUND,
    FAINT,
    GRID,
    PANEL,
    SHADOW,
    STATE_COLOURS,
    TEXT,
    rgb,
)
from common.motion_files.timeline import frame_rate
from common.motion_files.writer import WriteOptions

SIZE = (800, 450)
SHORTEST = 8  # hundredths of a second, the unit of the format: 12.5 frames per second
LONGEST = 60.0  # seconds: Pillow keeps all frames until it writes them
_COLOURS = 256


def save_gif(motions: Sequence[Motion], path: Path, options: WriteOptions) -> None:
    """Draw the motions as an endless gif, the first minute at most.

    Args:
        motions: one per person.
        path: the file.
        options: the recording, whether progress is shown.

    Raises:
        UserError: it cannot be written, or the recording cannot be read.
    """
    time = motions[0].time
    hundredths = max(SHORTEST, round(100 / frame_rate(time)))
    size = min(SIZE, options.size)
    film = Film(
        motions, size, rate=Fraction(100, hundredths), images=options.images(), seconds=LONGEST
    )
    if time[-1] - time[0] > LONGEST:
        LOG.info("%s: the first %g s; the video format holds all", path.name, LONGEST)
    pictures = _few_colours(options.track(film, total=len(film), title=path.name))
    first = next(pictures)
    with whole_file(path) as stream:
        first.save(
            stream,
            format="GIF",
            save_all=True,
            append_images=pictures,
            duration=10 * hundredths,
            loop=0,
        )


def _few_colours(pictures: Iterable[Image.Image]) -> Iterator[Image.Image]:
    """The pictures in one palette: the colours of the first, and all that joints may have."""
    palette = None
    for picture in pictures:
        palette = palette or _palette(picture)
        yield picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _palette(picture: Image.Image) -> Image.Image:
    names = (BACKGROUND, FAINT, GRID, PANEL, SHADOW, TEXT, *STATE_COLOURS.values())
    own = [value for name in names for value in rgb(name)]
    free = _COLOURS - len(names)
    common = picture.quantize(free, method=Image.Quantize.MEDIANCUT).getpalette() or []
    image = Image.new("P", (1, 1))
    image.putpalette((common + [0] * 3 * free)[: 3 * free] + own)
    return image
