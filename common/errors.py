"""Exceptions that end a script with one line, and what their messages share."""

from collections.abc import Sequence

SHOWN_NAMES = 4


class UserError(ValueError):
    """Invalid input by the user: reported in one line, exit code 2, no traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class FailedRun(Exception):
    """A run without all that it was asked for: reported in one line, exit code 1, no traceback."""


class FailedElsewhere(Exception):
    """Another process of the run has failed and reports it: this one ends without a word."""


def listing(names: Sequence[str]) -> str:
    """The first few of some names, for a message."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
