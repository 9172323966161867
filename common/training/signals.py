"""Signals that end a run: noted, and acted on where the state can be saved."""

import signal
from types import FrameType
from typing import Any

from common.interrupts import Stopped, ending_signals


class Interrupted(Exception):
    """A signal ended the run after its state was saved; the message tells how to resume."""


class StopSignals:
    """Records the signals that end a run instead of exiting; a second one exits at once."""

    def __init__(self) -> None:
        self.received = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        for number in ending_signals():
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received:
            raise Stopped(number)
        self.received = True
