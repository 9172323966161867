"""Write files whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import UserError


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
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
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
