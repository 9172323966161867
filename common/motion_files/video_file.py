"""Motion as a film that every player opens: `video.mp4`, H.264, at a constant frame rate."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType

from PIL.Image import Image

from common.errors import UserError
from common.files import whole_file
from common.inference.motion import Motion
from common.motion_files.film import Film
from common.motion_files.timeline import frame_rate
from common.motion_files.writer import WriteOptions
from common.optional import optional

HIGHEST_RATE = Fraction(60)  # a faster recording is shown at this rate, in its own time
# yuv420p and even sizes are what every player opens; the index at the front lets it start at once.
ENCODING = ["-preset", "veryfast", "-crf", "20", "-movflags", "+faststart", "-f", "mp4"]


def save_video(motions: Sequence[Motion], path: Path, options: WriteOptions) -> None:
    """Draw the motions, beside the frames of their recording where it is given.

    Args:
        motions: one per person.
        path: the file.
        options: the recording, the size, whether progress is shown.

    Raises:
        UserError: it cannot be written, the recording cannot be read, or imageio-ffmpeg is missing.
    """
    ffmpeg = optional("imageio_ffmpeg", needed_by="a video")
    rate = min(frame_rate(motions[0].time), HIGHEST_RATE)
    film = Film(motions, options.size, rate=rate, images=options.images())
    pictures = options.track(film, total=len(film), title=path.name)
    with whole_file(path) as stream:
        _encode(ffmpeg, pictures, Path(stream.name), film.size, rate)
        if _count_frames(ffmpeg, stream.name) != len(film):
            raise UserError(f"cannot write {path}: ffmpeg stopped early; is the disk full?")


def _encode(
    ffmpeg: ModuleType, pictures: Iterable[Image], path: Path, size: tuple[int, int], rate: Fraction
) -> None:
    """Hand pictures to ffmpeg, one by one; where it stops, so does this."""
    writer = ffmpeg.write_frames(
        str(path),
        size,
        fps=rate,
        codec="libx264",
        pix_fmt_out="yuv420p",
        quality=None,
        macro_block_size=2,
        ffmpeg_log_level="quiet",
        output_params=ENCODING,
    )
    writer.send(None)
    try:
        for picture in pictures:
            try:
                writer.send(picture.tobytes())
            except OSError:  # a broken pipe
                return
    finally:
        writer.close()


def _count_frames(ffmpeg: ModuleType, path: str) -> int:
    """The frames of a video; 0 if it is none."""
    try:
        return ffmpeg.count_frames_and_secs(path)[0]
    except RuntimeError:
        return 0
