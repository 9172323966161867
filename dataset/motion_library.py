"""Clips of any source for dataset/prepare_motion.py, checked first and read again when needed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from dataset.bvh_clips import bvh_clips, bvh_files, read_bvh_clip
from dataset.motion_checks import parts_of, sound_spans
from dataset.motion_clips import MotionClip, read_npz_clips


@dataclass(frozen=True)
class Entry:
    """A clip that can be used, without its poses.

    Attributes:
        name: of the clip.
        person: whose motion it is.
        path: the file that it is in.
        spans: its sound parts, first frame and the one after the last.
    """

    name: str
    person: str
    path: Path
    spans: tuple[tuple[int, int], ...]


class MotionLibrary:
    """The clips of a file or folder. Memory holds one file at a time, however many there are.

    Attributes:
        people: name -> clips, both in order of their names.
    """

    def __init__(
        self, source: Path, names: Mapping[int, str] | None = None, *, checked: bool = True
    ) -> None:
        """Read and check every clip; what is left out is logged.

        Args:
            source: an .npz or .bvh file, or a folder of them.
            names: our joint -> name in BVH files; None recognises those of several programs.
            checked: leave out frames that cannot be true; False takes every frame.

        Raises:
            UserError: there are none, one cannot be read, or none can be used.
        """
        self._source, self._names = source, names
        self._open: tuple[Path, dict[str, MotionClip]] | None = None
        people: dict[str, list[Entry]] = {}
        seen: dict[str, Path] = {}
        for path, clip in self._all():
            if clip.name in seen:
                raise UserError(f"{path} and {seen[clip.name]}: both hold a clip {clip.name!r}")
            seen[clip.name] = path
            if not checked and not np.isfinite(clip.poses).all():
                raise UserError(f"{path}: {clip.name}: NaN or infinity, so it has to be checked")
            if spans := sound_spans(clip) if checked else [(0, len(clip.poses))]:
                entry = Entry(clip.name, clip.person, path, tuple(spans))
                people.setdefault(clip.person, []).append(entry)
        if not people:
            raise UserError(f"{source}: no motion in it can be used")
        self.people = dict(sorted(people.items()))

    def clips(self, person: str) -> Iterator[MotionClip]:
        """The sound parts of a person's clips, one after the other."""
        for entry in self.people[person]:
            yield from parts_of(self._read(entry), entry.spans)

    def _all(self) -> Iterator[tuple[Path, MotionClip]]:
        source = self._source
        archives = sorted(source.glob("*.npz")) if source.is_dir() else [source]
        archives = [path for path in archives if path.suffix.lower() != ".bvh"]
        moving = bvh_files(source)
        if not archives and not moving:
            raise UserError(f"{source}: no .npz or .bvh files in it")
        for path in archives:
            for clip in read_npz_clips(path):
                yield path, clip
        if moving:
            yield from bvh_clips(source, self._names)

    def _read(self, entry: Entry) -> MotionClip:
        if entry.path.suffix.lower() == ".bvh":
            return read_bvh_clip(entry.path, Path(entry.name), self._names)[0]
        if self._open is None or self._open[0] != entry.path:
            self._open = None  # before the next one is read
            self._open = entry.path, {clip.name: clip for clip in read_npz_clips(entry.path)}
        return self._open[1][entry.name]
