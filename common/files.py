"""Write files whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import UserError

LOCK_FILE = ".lock"


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
