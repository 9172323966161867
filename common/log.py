"""The logger of every script: what a run reports goes through it."""

import logging
import os
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


class _Early(logging.Handler):
    """Keeps what is reported before there is a log file."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)


def start_logging(stream: TextIO | None, *, silent: bool) -> None:
    """Print what the script reports.

    Args:
        stream: a standard stream; None if it is closed.
        silent: report nothing: in the other processes of a run.
    """
    printed = logging.NullHandler() if stream is None else _Tolerant(stream)
    LOG.handlers = [printed, _Early()]
    LOG.propagate = False
    LOG.setLevel(logging.CRITICAL if silent else logging.INFO)


def log_to_file(path: Path) -> None:
    """Append what the script reports to a file, what it has reported so far included.

    Raises:
        OSError: the file cannot be opened.
    """
    handler = _Tolerant(
        open(path, "a", encoding="utf-8", errors="backslashreplace", opener=_open_without_waiting)
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    early = [record for h in LOG.handlers if isinstance(h, _Early) for record in h.records]
    for record in early:
        handler.handle(record)
    LOG.handlers = [*LOG.handlers[:1], handler]


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody reads is an error instead of a wait for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def log_warnings() -> None:
    """From now on let what libraries warn of be lines of the log, each text once."""
    seen: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in seen:
            seen.add(text)
            LOG.warning("note from a library: %s", text)

    warnings.showwarning = show
