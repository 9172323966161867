"""Exceptions that end a script with one line, and what their messages share."""

from collections.abc import Sequence

SHOWN_NAMES = 4
SHOWN_CHARACTERS = 200


class UserError(ValueError):
    """Invalid input by the user: reported in one line, exit code 2, no traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.splitlines())))


class FailedRun(Exception):
    """A run without all that it was asked for: reported in one line, exit code 1, no traceback."""


class FailedElsewhere(Exception):
    """Another process of the run has failed and reports it: this one ends without a word."""


def listing(names: Sequence[str]) -> str:
    """The first few of some names, for a message."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more


def shown(text: object) -> str:
    """Text from a file, for a message: what is not printable escaped, the rest cut.

    Args:
        text: of any type; its `str` is shown.

    Returns:
        At most 200 characters and an ellipsis, on one line.
    """
    try:
        whole = str(text)
    except Exception as error:  # a number of too many digits, for example
        whole = f"<{type(text).__name__} that cannot be shown: {type(error).__name__}>"
    cut = whole[:SHOWN_CHARACTERS]
    escaped = printable(cut)
    return escaped[:SHOWN_CHARACTERS] + (
        "..." if len(escaped + whole[len(cut) :]) > SHOWN_CHARACTERS else ""
    )


def printable(text: str) -> str:
    """Text with whatever would not show, such as control characters, escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
