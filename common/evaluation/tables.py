"""Tables of numbers: how every script prints and records its results."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NOT_COMPUTED = "-"


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        name: what the numbers are of.
        values: column -> number; NaN where it was not computed, which shows as a dash.
    """

    name: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """Numbers by row and column.

    Attributes:
        corner: what the rows are.
        columns: column -> title.
        rows: every one has a value for every column.
        width: of a column, characters.
    """

    corner: str
    columns: Mapping[str, str]
    rows: Sequence[Row]
    width: int = 8

    def lines(self) -> list[str]:
        """A line of titles, then one per row; whole numbers are shown as such."""
        names = max(len(name) for name in (self.corner, *(row.name for row in self.rows)))
        lines = [(self.corner, list(self.columns.values()))]
        lines += [(row.name, [_shown(row.values[c]) for c in self.columns]) for row in self.rows]
        return [
            " ".join([name.ljust(names), *(cell.rjust(self.width) for cell in cells)])
            for name, cells in lines
        ]

    def results(self) -> dict[str, dict[str, float]]:
        """Row -> column -> number, for results.json."""
        return {row.name: {c: row.values[c] for c in self.columns} for row in self.rows}


def _shown(number: float) -> str:
    if isinstance(number, int):
        return str(number)
    return f"{number:.2f}" if not math.isnan(number) else NOT_COMPUTED
