"""What every format of motion files is: a name, its files, and the function that writes one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from common.errors import UserError
from common.inference.motion import Motion
from common.progress import progress

Item = TypeVar("Item")


@dataclass(frozen=True)
class WriteOptions:
    """What a writer may use beside the motions.

    Attributes:
        video: the recording of which the motions are; its frames are drawn where there is one.
        size: largest width and height in pixels of a drawn video.
        progress: whether bars show the time left on a terminal.
    """

    video: Path | None = None
    size: tuple[int, int] = (1280, 720)
    progress: bool = True

    def images(self) -> Iterator[tuple[float, np.ndarray]] | None:
        """The frames of the recording: seconds, and (H, W, 3) uint8; None without a recording.

        Raises:
            UserError: it is not a video, or cannot be decoded.
        """
        if self.video is None:
            return None
        from common.keypoints.video import open_video  # only drawing looks at the recording

        return open_video(self.video).frames()

    def track(self, items: Iterable[Item], *, total: int, title: str) -> Iterable[Item]:
        """The items, with a progress bar on a terminal."""
        return progress(items, " frames", total=total, title=title, shown=self.progress)


@dataclass(frozen=True)
class MotionWriter:
    """A format of motion files.

    Attributes:
        name: of the format, as on the command line.
        stem: file name without its suffix.
        suffix: with its dot.
        save: writes one file of the motions it is handed: all of them, or one.
        per_person: whether each person has a file of their own, `<stem>_<n>` if there are several.
    """

    name: str
    stem: str
    suffix: str
    save: Callable[[Sequence[Motion], Path, WriteOptions], None]
    per_person: bool = False

    def paths(self, people: int, folder: Path) -> list[Path]:
        """The files that so many people are written to."""
        if people == 1 or not self.per_person:
            return [folder / f"{self.stem}{self.suffix}"]
        return [folder / f"{self.stem}_{n}{self.suffix}" for n in range(1, people + 1)]

    def existing(self, folder: Path) -> list[Path]:
        """The files of this format that are in a folder, of however many people."""
        numbered = folder.glob(f"{self.stem}_[0-9]*{self.suffix}") if self.per_person else ()
        single = folder / f"{self.stem}{self.suffix}"
        return [path for path in (single, *sorted(numbered)) if path.exists()]

    def write(
        self,
        motions: Sequence[Motion],
        folder: Path,
        *,
        options: WriteOptions = WriteOptions(),
    ) -> list[Path]:
        """Write the motions of the people of one recording.

        Args:
            motions: one per person, all of the same frames.
            folder: made where it is missing; files of the same names are replaced.
            options: see `WriteOptions`.

        Returns:
            The files.

        Raises:
            UserError: there is no motion, the motions are not of one recording, or a file cannot
                be written.
        """
        _check_one_recording(motions)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None
        paths = self.paths(len(motions), folder)
        groups = [[motion] for motion in motions] if self.per_person else [motions]
        for path, group in zip(paths, groups, strict=True):
            self.save(group, path, options)
        return paths


def _check_one_recording(motions: Sequence[Motion]) -> None:
    if not motions or not len(motions[0].time):
        raise UserError("there is no motion to write: no person, or no frame")
    if any(not np.array_equal(motion.time, motions[0].time) for motion in motions):
        raise UserError("the motions have different time stamps: write one recording at a time")
