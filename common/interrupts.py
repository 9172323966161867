"""Ctrl-C, SIGTERM and SIGHUP end a script with one line and no temporary file, at any time."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143


class Stopped(KeyboardInterrupt):
    """A signal asks the script to end.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def ending_signals() -> list[signal.Signals]:
    """The signals that end a script; those ignored from the start (nohup) excepted."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # not every system has all of them
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


def words_of(number: int) -> str:
    """What a signal did to the script."""
    return "interrupted" if number == signal.SIGINT else "terminated"


def exit_code_of(number: int) -> int:
    """The exit code of a script that a signal ended."""
    return EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED


def end_on_signals() -> None:
    """End at once when a signal comes: for the imports, when nothing is written, and the end."""

    def end(number: int, _: FrameType | None) -> None:
        try:
            if os.environ.get("RANK", "0") == "0":
                os.write(2, f"{words_of(number)}\n".encode())
        except OSError:
            pass
        os._exit(exit_code_of(number))

    _handle(end)


def raise_on_signals() -> None:
    """Raise `Stopped` when a signal comes, so that whatever is under way cleans up."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    _handle(stop)


def ignore_signals() -> None:
    """Let nothing interrupt the removal of what is left; `end_on_signals` ends this."""
    _handle(lambda *_: None)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Signals that come during the block take effect after it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []
    previous: dict[int, Any] = {
        number: signal.signal(number, lambda n, _: noted.append(n)) for number in ending_signals()
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    for number in noted:
        signal.raise_signal(number)


def _handle(handler: Any) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in ending_signals():
            signal.signal(number, handler)
