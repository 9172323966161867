"""An argument parser that accepts exact flags only and reports errors in one line."""

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn

from common.errors import UserError

SUGGESTIONS = 4


class Parser(argparse.ArgumentParser):
    """An argument parser whose flags must be spelt exactly.

    argparse itself completes one-dash words (`-lr 0.1` would be `-lrd 0.1`), also without
    abbreviations; here such a word is unknown, and the flag that was probably meant is named.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **options)

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        """No flag begins with what is not a flag."""
        return []

    def error(self, message: str) -> NoReturn:
        """Raise what the scripts report."""
        raise UserError(f"{message} ({self.prog} --help lists the options)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; an unknown argument is an error that names the flag probably meant."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self._unknown(unknown))
        return known

    def _unknown(self, unknown: Sequence[str]) -> str:
        """What is wrong with arguments that no flag takes."""
        for number, word in enumerate(unknown):
            meant = self._meant(word)
            if meant:
                value = [v for v in unknown[number + 1 : number + 2] if not v.startswith("-")]
                found = " or ".join(repr(" ".join([flag, *value])) for flag in meant)
                return f"unknown argument {' '.join([word, *value])!r}; did you mean {found}?"
        return f"unknown argument {' '.join(unknown)!r}"

    def _meant(self, word: str) -> list[str]:
        """The flags that an unknown word may stand for, the likeliest first."""
        flags, name = list(self._option_string_actions), word.lstrip("-").split("=")[0]
        dashed = [dashes + name for dashes in ("-", "--") if dashes + name in flags]
        if dashed or not word.startswith("-") or not name:
            return dashed
        longer = [flag for flag in flags if flag.lstrip("-").startswith(name)]
        joined = [  # a flag and its value without a space, such as -b1024
            f"{flag} {word[len(flag) :]}"
            for flag in flags
            if len(flag) > 1 and not flag.startswith("--") and word.startswith(flag)
        ]
        names = {flag.lstrip("-"): flag for flag in flags}
        close = [names[n] for n in difflib.get_close_matches(name, names, n=1)]
        return (longer + joined or close)[:SUGGESTIONS]


class _Help(argparse.HelpFormatter):
    """Shows defaults where a flag has help."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        shown = action.default not in (None, "", [], argparse.SUPPRESS) and action.nargs != 0
        shown = shown and "(default:" not in text
        default = action.default
        if isinstance(default, list):
            default = ",".join(map(str, default))
        return f"{text} (default: {str(default).replace('%', '%%')})" if shown else text
