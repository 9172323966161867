"""Progress bars of what takes long."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], unit: str, *, total: int | None = None) -> Iterable[Item]:
    """The items, with a bar and the time left on a terminal's stderr.

    Args:
        items: what is gone through.
        unit: noun in the plural, after a space: " frames".
        total: number of items, where they do not tell; may be an estimate.
    """
    return tqdm(items, unit=unit, total=total, disable=None, leave=False)
