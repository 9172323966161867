"""Videos, frame by frame with their times: whatever ffmpeg reads, turned as it is shown."""

import re
import subprocess
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO

import numpy as np

from common.errors import UserError
from common.log import LOG
from common.optional import optional

# Frames as they are: no rate conversion; pixels made square; one line per frame with its time.
FILTERS = "scale=round(iw*sar):ih,setsar=1,showinfo=checksum=0"
FRAME_LINE = re.compile(r"\bn: *\d+ pts: *\S+ pts_time: *(\S+) .* s:(\d+)x(\d+)")
DURATION = re.compile(r"Duration: (\d+):(\d+):(\d+\.?\d*)")
RATE = re.compile(r"Video: .*?(\d+\.?\d*) (?:fps|tbr)")
SMALLEST_STEP = 1e-4  # seconds between frames whose time stamps are not in order
KEPT_LINES = 12  # of what ffmpeg says, for messages


@dataclass(frozen=True)
class Video:
    """A video that ffmpeg can read.

    Attributes:
        path: the file.
        size: width and height as it is shown, pixels.
        rate: nominal frames per second, None if not told; frames may come at any times.
        duration: seconds, None if not told.
    """

    path: Path
    size: tuple[int, int]
    rate: float | None
    duration: float | None

    @property
    def estimated_frames(self) -> int | None:
        """About how many frames there are; None if the file does not tell."""
        if self.rate is None or self.duration is None:
            return None
        return max(round(self.rate * self.duration), 1)

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Decode, one frame in memory at a time.

        Yields:
            Seconds, increasing; (H, W, 3) uint8 RGB, read-only.

        Raises:
            UserError: it cannot be decoded.
        """
        width, height = self.size
        with_pixels = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        with _Decoder(self.path, with_pixels) as decoder:
            for time in decoder.times(self.rate):
                data = decoder.read(width * height * 3)
                if data is None:
                    break
                yield time, np.frombuffer(data, np.uint8).reshape(height, width, 3)

    @cached_property
    def times(self) -> np.ndarray:
        """(L,) seconds of every frame, which takes decoding it.

        Raises:
            UserError: it cannot be decoded.
        """
        with _Decoder(self.path, ["-f", "null", "-"]) as decoder:
            return np.array(list(decoder.times(self.rate)), np.float64)


def open_video(path: Path) -> Video:
    """Look at the first frame of a video.

    Raises:
        UserError: it is no video, or cannot be decoded.
    """
    if not path.is_file():
        raise UserError(f"{path}: not a file")
    with _Decoder(path, ["-frames:v", "1", "-f", "null", "-"]) as decoder:
        for _ in decoder.times(None):
            pass
        if decoder.size is None:
            raise UserError(f"{path}: not a video that ffmpeg can read ({decoder.complaint})")
        return Video(path, decoder.size, decoder.rate, decoder.duration)


class _Decoder:
    """A running ffmpeg: what it says is read by a thread, so that it never waits for us."""

    def __init__(self, path: Path, output: list[str]) -> None:
        ffmpeg = optional("imageio_ffmpeg", needed_by="reading videos").get_ffmpeg_exe()
        source = ["-protocol_whitelist", "file", "-i", f"file:{path.resolve()}"]
        filters = ["-map", "0:v:0", "-vf", FILTERS, "-fps_mode", "passthrough"]
        self.path = path
        self.size: tuple[int, int] | None = None
        self.rate: float | None = None
        self.duration: float | None = None
        self._process = subprocess.Popen(
            [ffmpeg, "-hide_banner", "-nostdin", "-nostats", *source, *filters, *output],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=2**20,
        )
        self._stamps: Queue[float | None] = Queue()
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._listener = Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()

    def __enter__(self) -> "_Decoder":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _listen(self, stream: IO[bytes]) -> None:
        """Take down size, length and times from what ffmpeg says."""
        for raw in stream:
            line = raw.decode("utf-8", "replace").strip()
            if found := FRAME_LINE.search(line):
                self.size = self.size or (int(found[2]), int(found[3]))
                self._stamps.put(_seconds(found[1]))
                continue
            if "showinfo" in line or not line:
                continue
            self._said.append(line)
            if found := DURATION.search(line):
                hours, minutes, seconds = map(float, found.groups())
                self.duration = 3600 * hours + 60 * minutes + seconds
            elif self.rate is None and (found := RATE.search(line)):
                self.rate = float(found[1]) or None
        self._stamps.put(None)

    def times(self, rate: float | None) -> Iterator[float]:
        """Seconds of the frames, made increasing where the file's are not or are missing."""
        last: float | None = None
        while True:
            stamp = self._next()
            if stamp is None:
                break
            if np.isnan(stamp):
                stamp = 0.0 if last is None else last + 1 / (rate or 30.0)
            if last is not None and stamp <= last:
                stamp = last + SMALLEST_STEP
            yield stamp
            last = stamp
        if last is not None and self._process.wait() != 0:
            LOG.warning("warning: %s: damaged after %.2f s (%s)", self.path, last, self.complaint)

    def _next(self) -> float | None:
        return self._stamps.get()

    def read(self, size: int) -> bytes | None:
        """The pixels of the next frame; None if they end before."""
        assert self._process.stdout is not None
        data = self._process.stdout.read(size)
        return data if len(data) == size else None

    @property
    def complaint(self) -> str:
        """The last thing that ffmpeg said about the file, without the file's name."""
        prefix = f"file:{self.path.resolve()}: "
        lines = [line for line in self._said if "Conversion failed" not in line]
        return lines[-1].replace(prefix, "")[-160:] if lines else "no reason given"


def _seconds(stamp: str) -> float:
    """A time stamp; NaN where there is none."""
    try:
        return float(stamp)
    except ValueError:
        return float("nan")
