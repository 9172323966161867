"""How far a run is: a bar on a terminal, a line every minute in a log."""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType

from tqdm import tqdm

from common.log import LOG

SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """Reports the progress of a loop over windows.

    On a terminal a bar moves (on standard error). Where standard output is none, as in the log of a
    cluster's job, a line is logged about every minute, with speed and time left.
    """

    def __init__(self, what: str, *, total: int, done: int = 0, shown: bool = True) -> None:
        """Begin.

        Args:
            what: is under way: "epoch 3/50".
            total: number of windows.
            done: number of windows that are done already.
            shown: False in processes that report nothing.
        """
        self.what, self.total, self.done, self._first = what, total, done, done
        self._logs = shown and not _is_terminal()
        self._started = self._reported = time.monotonic()
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=what,
            unit=" windows",
            leave=False,
            disable=None if shown else True,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def advance(self, windows: int) -> None:
        """Some more windows are done."""
        self.done += windows
        self._bar.update(windows)

    def report(self, values: Mapping[str, str] | None = None) -> None:
        """Show the progress, with some values, if it is time."""
        if values:
            self._bar.set_postfix(values)
        now = time.monotonic()
        if not self._logs or now - self._reported < SECONDS_BETWEEN_LINES:
            return
        self._reported = now
        speed = (self.done - self._first) / (now - self._started)
        left = timedelta(seconds=round((self.total - self.done) / max(speed, 1e-9)))
        shown = "".join(f"{name} {value}, " for name, value in (values or {}).items())
        percent = 100 * self.done / max(self.total, 1)
        rate = f"{speed:.0f}" if speed >= 10 else f"{speed:.2g}"
        LOG.info("%s: %.0f %%, %s%s windows/s, %s left", self.what, percent, shown, rate, left)


def _is_terminal() -> bool:
    """Whether somebody watches standard output."""
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:  # it is closed
        return False
