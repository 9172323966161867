"""Output never replaces what is not the program's own: inputs, foreign files, devices, links.

A file is the program's own if it carries `MARK` in its first or last bytes. Every format has a
place for it: the comment of a zip archive (.npz), a text chunk of PNG, the header of .mat, a value
in JSON. So the mark travels with the file, nothing else has to be kept beside it, and a file that
somebody else made, or made anew under the name, is recognised as foreign.
"""

import io
import os
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path

from common.errors import UserError

MARK = "Written by MPM, Masked Pose Modeling in PyTorch"
_SEARCHED = 4096  # bytes at the beginning and at the end of a file


def check_output(
    path: Path,
    *,
    inputs: Iterable[str | Path | None] = (),
    force: bool = False,
    keep_ours: bool = False,
    flag: str = "",
) -> Path:
    """Require a path that output may be written to.

    To be called before the work begins. Files are to be written with `common.files.whole_file`,
    which replaces them whole, and carry the mark.

    Args:
        path: the file; its folder must exist.
        inputs: files and folders that the run reads. These, and files in such a folder that the
            program has not written, are not replaced even by force; paths that do not exist,
            empty texts and None are ignored.
        force: whether a file that the program has not written may be replaced.
        keep_ours: whether a file that it has written needs force, too.
        flag: the flag that names the path, for messages.

    Returns:
        The path.

    Raises:
        UserError: the folder does not exist, the path is an input, no regular file (a folder,
            device, pipe or link), or a file that something else wrote.
    """
    path = Path(path)
    where = f"{flag} {path}".strip()
    try:
        if not path.parent.is_dir():
            raise UserError(f"{where}: no such folder")
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return path
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISLNK(mode):
        raise UserError(f"{where} is a link; give the path of a file")
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise UserError(f"{where} is {kind}; give the path of a file")
    ours = written_by_us(path)
    for given in inputs:
        if given and _is_input(path, Path(given), ours=ours):
            raise UserError(f"{where} is read by this run and is not replaced; give another path")
    if force:
        return path
    if keep_ours:
        raise UserError(f"{where} exists; --force replaces it")
    if not ours:
        raise UserError(
            f"{where} is there already and was not written by this program; give another path, "
            "or --force to replace it"
        )
    return path


def written_by_us(path: Path) -> bool:
    """Whether a regular file carries the mark; False where it cannot be read."""
    mark = MARK.encode()
    try:
        with open(path, "rb") as stream:
            begin = stream.read(_SEARCHED)
            stream.seek(max(os.fstat(stream.fileno()).st_size - _SEARCHED, 0))
            return mark in begin or mark in stream.read(_SEARCHED)
    except OSError:
        return False


def marked_zip(content: bytes) -> bytes:
    """A zip archive (an .npz file) with the mark as its comment, which its readers ignore."""
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.comment = MARK.encode()
    return stream.getvalue()


def marked_mat(content: bytes) -> bytes:
    """A MATLAB 5 file with the mark in its header, 116 bytes of free text."""
    return f"MATLAB 5.0 MAT-file, {MARK}".encode().ljust(116) + content[116:]


def _is_input(path: Path, given: Path, *, ours: bool) -> bool:
    """Whether a path that exists is a file that the run reads, or lies in such a folder."""
    try:
        if given.is_dir():
            return not ours and given.resolve() == path.resolve().parent
        return given.samefile(path)
    except (OSError, RuntimeError, ValueError):  # no such file, a loop of links
        return False
