"""The logger of every script: what a run reports goes through it."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

LOG = logging.getLogger("mpm")


class _Tolerant(logging.StreamHandler[TextIO]):
    """A handler that stops when its stream does: a closed pipe or a full disk is no failed run."""

    failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless writing has failed before."""
        if not self.failed:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Stop writing where the stream is gone; anything else is a bug and is shown."""
        if isinstance(sys.exc_info()[1], OSError | ValueError):
            self.failed = True
        else:
            super().handleError(record)


def stream_handler(stream: TextIO | None) -> logging.Handler:
    """A handler that writes to a standard stream, or nowhere if that is closed."""
    return logging.NullHandler() if stream is None else _Tolerant(stream)


def file_handler(path: Path) -> logging.Handler:
    """A handler that appends to a file.

    Raises:
        OSError: the file cannot be opened.
    """
    handler = _Tolerant(open(path, "a", encoding="utf-8"))
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    return handler


def log_warnings() -> None:
    """From now on let what libraries warn of be lines of the log, each text once."""
    seen: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in seen:
            seen.add(text)
            LOG.warning("note from a library: %s", text)

    warnings.showwarning = show
