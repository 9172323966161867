"""Progress bars of what takes long: on a terminal's stderr, with the time left."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(
    items: Iterable[Item],
    unit: str,
    *,
    total: int | None = None,
    title: str | None = None,
    shown: bool = True,
) -> Iterable[Item]:
    """The items, with a bar.

    Args:
        items: what is gone through.
        unit: noun in the plural, after a space: " frames".
        total: number of items, where they do not tell; may be an estimate.
        title: what is under way.
        shown: False for no bar even on a terminal.
    """
    disable = None if shown else True
    return tqdm(items, desc=title, unit=unit, total=total, disable=disable, leave=False)


@contextmanager
def counted(unit: str, *, total: int, title: str) -> Iterator[Callable[[int], object]]:
    """A bar for what is done in parts: a function that takes how many more are done.

    Args:
        unit: see `progress`.
        total: number of all.
        title: what is under way.
    """
    with tqdm(total=total, desc=title, unit=unit, disable=None, leave=False) as bar:
        yield bar.update
