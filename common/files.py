"""Write files whole or not at all."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import UserError, shown

LOCK_FILE = ".lock"
LARGEST_SHARE = 0.5  # of the machine's memory that one file may fill


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A stream to a file that gets its name when the block ends well, and not before.

    So at any moment either the old or the new file is there, whole.

    Args:
        path: the file; its folder must exist.

    Yields:
        The stream, open for writing.

    Raises:
        UserError: it cannot be written: a full disk, for example; any OSError of the block counts.
            A file of that name is left as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        kept = "; the file that was there is intact" if path.exists() else ""
        raise UserError(f"cannot write {path}: {reason}{kept}") from None
    finally:
        temporary.unlink(missing_ok=True)


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a file of data to read; pipes, devices and sockets, which may never end, are refused.

    Args:
        path: the file; links are followed.

    Raises:
        UserError: it is missing, no regular file, or cannot be opened.
    """
    # Opening a pipe waits for its other end, unless told not to.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        check_regular(path)
        return os.fdopen(os.open(path, flags), "rb")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(f"{shown(path)}: {_reason(error)}") from None


def check_regular(path: str | os.PathLike[str]) -> None:
    """Require a regular file, for readers that open it themselves.

    Raises:
        UserError: it is missing, something else, or out of reach.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise UserError(f"{shown(path)}: {_reason(error)}") from None
    if stat.S_ISDIR(mode):
        raise UserError(f"{shown(path)} is a directory, a file is needed")
    if not stat.S_ISREG(mode):
        raise UserError(f"{shown(path)} is a pipe, a device or a socket, a file is needed")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return str(getattr(error, "strerror", None) or error)


def check_memory(needed: int) -> None:
    """Require that a file fits into this machine's memory.

    Args:
        needed: bytes.

    Raises:
        MemoryError: it does not fit.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not every system tells
        return
    if 0 < memory * LARGEST_SHARE < needed:
        raise MemoryError(f"{needed:,} bytes of {memory:,}")


def files_below(folder: Path, suffix: str) -> list[Path]:
    """Every file below a folder whose name ends so, sorted.

    Links are followed, each folder once, so that loops of links end.
    """
    seen: set[tuple[int, int]] = set()
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(place)
        identity = (status.st_dev, status.st_ino)
        if status.st_ino and identity in seen:  # 0: a file system that does not tell
            folders.clear()
            continue
        seen.add(identity)
        folders.sort()
        found += [Path(place, name) for name in names if name.endswith(suffix)]
    return sorted(found, key=os.fspath)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at any moment either the old or the new one is there, whole.

    Args:
        path: the file; its folder must exist.
        content: what it will hold.

    Raises:
        UserError: it cannot be written; a file of that name is left as it was.
    """
    with whole_file(path) as stream:
        stream.write(content)


def _sync_folder(path: Path) -> None:
    """Make a new name in a folder durable; not every system can."""
    if os.name == "nt":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def lock_folder(path: Path) -> IO[str] | None:
    """Claim a folder for this process; the kernel releases it when the process ends, however.

    Args:
        path: the folder; it must exist.

    Returns:
        What holds the lock as long as it lives; None where the system or the disk has no locks.

    Raises:
        UserError: another process holds the folder.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return None
    try:
        stream = open(path / LOCK_FILE, "a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror}") from None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        holder = stream.read(20).strip() or "unknown"
        raise UserError(
            f"{path} is in use by another run (process {holder}): wait for it, or start "
            "from another folder"
        ) from None
    except OSError:  # some network file systems
        return None
    stream.seek(0)
    stream.truncate()
    stream.write(f"{os.getpid()}\n")
    stream.flush()
    return stream
