"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """A mistake of the user's: reported in one line, exit code 2, no traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))
