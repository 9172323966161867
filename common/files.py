"""Open files safely; write files whole or not at all, several of them together if need be."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from common.errors import UserError, shown
from common.interrupts import deferred_signals

LOCK_FILE = ".lock"
LARGEST_SHARE = 0.5  # of the machine's memory that one file may fill
STAGING, COMPLETE = ".mpm-writing", ".mpm-written"  # folders: see `published_together`
_REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_temporaries: set[Path] = set()


def reason_of(error: OSError | ValueError) -> str:
    """What went wrong with a file, in words."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    if isinstance(error, UnicodeError):
        return "the name cannot be encoded"
    if not isinstance(error, OSError):
        return str(error)
    return _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__


def short_path(path: Path) -> Path:
    """A path as seen from the working folder, for messages; as it is where there is no such way."""
    try:
        return Path(os.path.relpath(path))
    except (OSError, ValueError):  # the working folder is gone, or lies on another drive
        return path


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a file of data to read; pipes, devices and sockets, which may never end, are refused.

    Args:
        path: the file; links are followed.

    Raises:
        UserError: it is missing, no regular file, or cannot be opened.
    """
    # Opening a pipe waits for its other end, unless told not to.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    check_regular(path)
    try:
        return os.fdopen(os.open(path, flags), "rb")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(f"{shown(path)}: {reason_of(error)}") from None


def check_regular(path: str | os.PathLike[str]) -> None:
    """Require a regular file, for readers that open it themselves.

    Raises:
        UserError: it is missing, something else, or out of reach.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise UserError(f"{shown(path)}: {reason_of(error)}") from None
    if stat.S_ISDIR(mode):
        raise UserError(f"{shown(path)} is a directory, a file is needed")
    if not stat.S_ISREG(mode):
        raise UserError(f"{shown(path)} is a pipe, a device or a socket, a file is needed")


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
    _temporaries.add(temporary)
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (OSError, UnicodeError) as error:
        final = path.parent.parent / path.name if STAGING in path.parent.name else path
        kept = "; the file that was there is intact" if os.path.exists(final) else ""
        raise UserError(f"cannot write {final}: {reason_of(error)}{kept}") from None
    finally:
        _remove_temporary(temporary)


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


def remove_temporaries() -> None:
    """Remove what a signal, coming while something was removed already, may have left."""
    for path in list(_temporaries):
        _remove_temporary(path)


def _remove_temporary(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    _temporaries.discard(path)


def _sync_folder(path: Path) -> None:
    """Make a new name in a folder durable; not every system can."""
    if os.name == "nt":
        return
    with suppress(OSError):  # some network file systems
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# ---- several files


@contextmanager
def published_together(folder: Path) -> Iterator[Path]:
    """A folder for files that get their place in another one together when the block ends well.

    Until then nothing outside of it changes. The end of the block renames it, which happens at
    once; then the earlier files of these names are removed and the new ones moved to their place.
    Killed in between, some are missing, which readers notice (old and new ones never stand side by
    side), and `complete_publication` does the rest when something is next written there.

    Args:
        folder: where the files will be; it must exist.

    Yields:
        The folder to write them to.

    Raises:
        UserError: they cannot be written or moved.
    """
    complete_publication(folder)
    staging = folder / f"{STAGING}.{os.getpid()}"
    _temporaries.add(staging)
    try:
        staging.mkdir()
        lock = lock_folder(staging)
        yield staging
        _sync_folder(staging)
        with deferred_signals():
            if lock is not None and os.name == "nt":  # where nothing that is open can be renamed
                lock.close()
            os.rename(staging, folder / COMPLETE)
            complete_publication(folder)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {reason_of(error)}") from None
    finally:
        _remove_temporary(staging)


def complete_publication(folder: Path) -> None:
    """Move files that were complete when their writer was killed; remove what was not.

    Args:
        folder: see `published_together`.

    Raises:
        UserError: they cannot be moved.
    """
    try:
        complete = folder / COMPLETE
        if complete.is_dir():
            _sync_folder(folder)
            new = sorted(path for path in complete.iterdir() if path.name != LOCK_FILE)
            for path in new:
                (folder / path.name).unlink(missing_ok=True)
            for path in new:
                os.replace(path, folder / path.name)
            (complete / LOCK_FILE).unlink(missing_ok=True)
            complete.rmdir()
            _sync_folder(folder)
        for abandoned in folder.glob(f"{STAGING}.*"):
            with suppress(UserError):  # its writer lives
                lock = lock_folder(abandoned)
                if lock is not None:
                    lock.close()
                    shutil.rmtree(abandoned, ignore_errors=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {reason_of(error)}") from None


# ---- locks


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
        stream = open(path / LOCK_FILE, "a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {path}: {reason_of(error)}") from None
    try:
        locked = _lock(stream)
    except (BlockingIOError, PermissionError):
        stream.seek(0)
        holder = stream.read(20).strip() or "unknown"
        stream.close()
        raise UserError(
            f"{path} is in use by another run (process {holder}): wait for it, or start "
            "from another folder"
        ) from None
    except OSError:  # some network file systems
        locked = False
    if not locked:
        stream.close()
        return None
    stream.seek(0)
    stream.truncate()
    stream.write(f"{os.getpid()}\n")
    stream.flush()
    return stream


def _lock(stream: IO[str]) -> bool:
    """Lock an open file, at once or not at all; False where the system has no locks.

    Raises:
        OSError: another process has locked it, or the disk has no locks.
    """
    try:
        import fcntl
    except ImportError:
        pass
    else:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    try:
        import msvcrt
    except ImportError:
        return False
    # A byte far behind the content, which other processes may still read.
    stream.seek(2**20)
    msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    return True
