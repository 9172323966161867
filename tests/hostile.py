"""Payloads that would run code if a reader executed them."""

import os
from collections.abc import Callable
from pathlib import Path


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call


def touches(path: Path) -> Calls:
    """Unpickling it makes a file."""
    return Calls(os.system, f"touch {path}")
