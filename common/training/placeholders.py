"""What stands for names in a pickle that is read without running code from it."""

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from common.pickle_scan import Refused

# Modules of Python itself whose classes are skipped like those of other libraries; no name of any
# other one belongs into a file of data.
DATA_MODULES = frozenset(
    "argparse array collections copyreg datetime decimal enum fractions numbers pathlib random "
    "re types uuid __main__".split()
)
DATA_CLASSES = frozenset(
    "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple "
    "xrange long unicode".split()
)


def is_data(module: str, name: str) -> bool:
    """Whether a name may stand for data, of whatever library."""
    if module in ("builtins", "__builtin__"):
        return name in DATA_CLASSES
    package = module.partition(".")[0]
    of_python = package in sys.stdlib_module_names or package in ("posix", "nt", "commands")
    return module in DATA_MODULES or not of_python


class Skipped:
    """Stands for an object that is not data; it holds nothing and does nothing.

    Attributes:
        name: of its class, or of the function that would have made it.
    """

    name = ""

    def __new__(cls, *_: Any, **__: Any) -> "Skipped":
        return object.__new__(cls)

    def _ignore(self, *_: Any, **__: Any) -> None:
        """Take whatever a pickle does to an object."""

    __init__ = __setstate__ = __setitem__ = append = extend = add = _ignore

    def __call__(self, *_: Any, **__: Any) -> "Skipped":
        return self


class Admitted:
    """What an allowed name stands for; a pickle can call it, but not alter it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        raise Refused("an attempt to alter the reader")


class Dictionary(OrderedDict[Any, Any]):
    """An ordered dictionary; of its attributes only PyTorch's own `_metadata` is kept."""

    metadata: dict[Any, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict) and isinstance(state.get("_metadata"), dict):
            self.metadata = state["_metadata"]


def skipped_names(content: Mapping[Any, Any]) -> list[str]:
    """The entries of a dictionary that are no data, with what they would have been."""
    return [f"{key} ({v.name})" for key, v in content.items() if isinstance(v, Skipped) and v.name]
