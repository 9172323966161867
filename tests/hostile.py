"""Payloads that would run code if a reader executed them."""

from collections.abc import Callable


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call
