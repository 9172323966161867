"""An input's content, read once, whichever formats look at it; malformed content is one line."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common.data.npz import load_npy, load_npz
from common.data.npz import numbers as plain_numbers
from common.data.text_files import load_json, read_text
from common.errors import UserError, listing, shown

HEAD = 4096  # bytes by which the kind of a file is told
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LAST_NUMBER = re.compile(r"^(.*?)(\d{1,15})(\D*)$")


class Source:
    """A file or a folder of JSON files, one per frame.

    Attributes:
        path: as the user gave it.
    """

    def __init__(self, path: Path) -> None:
        """Look at a path.

        Raises:
            UserError: there is nothing, or neither a file nor a folder.
        """
        self.path = path
        try:
            self.is_folder = path.is_dir()
            is_file = path.is_file()
        except (OSError, ValueError) as error:
            raise UserError(f"{str(path)[:200]!r}: not a path ({error})") from None
        if not self.is_folder and not is_file:
            raise UserError(f"{path}: {'not a file or folder' if path.exists() else 'not found'}")
        if is_file and not self.head:
            raise UserError(f"{path}: the file is empty")

    @cached_property
    def head(self) -> bytes:
        """The first bytes of a file; none of a folder."""
        if self.is_folder:
            return b""
        try:
            with open(self.path, "rb") as stream:
                return stream.read(HEAD)
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from None

    @cached_property
    def json(self) -> Any:
        """The content of a JSON file, or of the first one in a folder; None if it is no JSON.

        Raises:
            UserError: it begins like JSON and is not.
        """
        if self.is_folder:
            return load_json(self.frame_files[0]) if self.frame_files else None
        if not self.head.removeprefix(BYTE_ORDER_MARK).lstrip().startswith((b"{", b"[")):
            return None
        return load_json(self.path)

    @cached_property
    def frame_files(self) -> list[Path]:
        """The JSON files of a folder."""
        try:
            return sorted(p for p in self.path.iterdir() if p.suffix.lower() == ".json")
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from None

    @cached_property
    def npz(self) -> dict[str, Any] | None:
        """The entries of an .npz file; None if it is none.

        Raises:
            UserError: it is damaged, or holds more than data.
        """
        return load_npz(self.path) if self.head.startswith(b"PK") else None

    @cached_property
    def npy(self) -> np.ndarray | None:
        """The array of an .npy file; None if it is none.

        Raises:
            UserError: it is damaged, or holds more than numbers.
        """
        return load_npy(self.path) if self.head.startswith(b"\x93NUMPY") else None

    @cached_property
    def text(self) -> str | None:
        """The content of a file of text that is no JSON; None if it is none."""
        if b"\0" in self.head or not self.head or self.json is not None:
            return None
        try:
            self.head.decode("ascii")
            return read_text(self.path)
        except (UnicodeDecodeError, UserError):
            return None


def numbers(value: Any, where: str, *, shape: str = "numbers") -> np.ndarray:
    """Numbers of a parsed file as an array; null is NaN.

    Args:
        value: nested lists, or an array, of numbers.
        where: the place, for messages.
        shape: what is needed, for messages.

    Returns:
        float64 of any shape.

    Raises:
        UserError: anything else, or lists of different lengths.
    """
    if isinstance(value, list) and set(map(type, value)) == {float}:  # by far the most frequent
        return np.array(value)
    array = plain_numbers(_nan_for_null(value, {}))
    if array is None:
        raise UserError(f"{where}: {shape} needed, not {kind_of(value)}")
    return array.astype(np.float64)


def _nan_for_null(value: Any, done: dict[int, Any]) -> Any:
    """Nested lists with NaN for None; what is shared in there is gone through once."""
    if value is None:
        return float("nan")
    if not isinstance(value, list):
        return value
    if id(value) not in done:
        done[id(value)] = None  # also if it holds itself
        done[id(value)] = [_nan_for_null(part, done) for part in value]
    return done[id(value)]


def kind_of(value: Any) -> str:
    """A value of a parsed file, for a message."""
    if isinstance(value, dict | list | tuple):
        return f"a {'dictionary' if isinstance(value, dict) else 'list'} of {len(value)}"
    return repr(shown(value))


def members(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of dictionaries.

    Raises:
        UserError: anything else.
    """
    if not isinstance(value, list):
        raise UserError(f"{where}: a list of records is needed, not {kind_of(value)}")
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            raise UserError(f"{where}: record {number} is {kind_of(item)}, not a dictionary")
    return value


def frame_numbers(names: Sequence[Any], where: str) -> list[int]:
    """The number of the frame that each name of an image (or number) stands for, counted from 0.

    Names that only consist of a number count from 0, others ("frame_00001.png") from 1 unless
    there is a 0. Names without any number are sorted.

    Args:
        names: for example "0.jpg", "frame_00001.png", 17; may repeat.
        where: for messages.

    Raises:
        UserError: other values, or the images of several sequences.
    """
    if all(type(name) is int or (type(name) is float and name.is_integer()) for name in names):
        return [int(name) for name in names]
    texts = [str(name) if type(name) in (int, str) else None for name in names]
    if None in texts:
        raise UserError(f"{where}: image {kind_of(names[texts.index(None)])} is no name or number")
    stems = [Path(text or "").stem for text in texts]
    matches = [LAST_NUMBER.match(stem) for stem in stems]
    if not any(matches):
        place = {stem: number for number, stem in enumerate(sorted(set(stems)))}
        return [place[stem] for stem in stems]
    if not all(matches):
        raise UserError(f"{where}: image {stems[matches.index(None)][:60]!r} has no number")
    patterns = {(m[1], m[3]) for m in matches if m}
    if len(patterns) > 1:
        kinds = listing(sorted(f"{before}#{after}" for before, after in patterns))
        raise UserError(f"{where}: images of several sequences ({kinds}); one per file is needed")
    found = [int(m[2]) for m in matches if m]
    first = 1 if patterns != {("", "")} and min(found) > 0 else 0
    return [number - first for number in found]
