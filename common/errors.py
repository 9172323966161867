"""The one exception that stands for a user's mistake, and what its messages share."""

from collections.abc import Sequence

SHOWN_NAMES = 4


class UserError(ValueError):
    """A mistake of the user's: reported in one line, exit code 2, no traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


def listing(names: Sequence[str]) -> str:
    """The first few of some names, for a message."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
