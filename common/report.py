"""Put the results of runs into one Markdown table: mean and spread over seeds, published numbers.

Runs that differ in nothing but their seed (and in a name that ends in it, such as tuned_s2) are one
row: mean ± sample standard deviation. Published numbers stand in brackets beside those of runs that
were tested on the same frames, a dash where they have not been entered in
common/evaluation/published.json.
"""

from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

from collections.abc import Sequence
from pathlib import Path

from common.cli.entry import run_script
from common.cli.parser import Parser
from common.errors import UserError, shown
from common.evaluation.results import (
    PUBLISHED_FILE,
    TITLES,
    Group,
    Published,
    find_results,
    groups_of,
    load_published,
    mean_and_spread,
    read_result,
)
from common.log import LOG

FIRST_COLUMNS = ("run", "task", "data", "frames", "joints", "seeds")
LAST_COLUMNS = ("hours",)
TASKS = {"onlylift": "lifting", "comp3d": "3D completion", "comp2dlift": "occluded 2D to 3D"}


def main() -> None:
    """Print the table of the results that the command line names."""
    parser = Parser(prog="python -m common.report", description=__doc__)
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        help="run folders, folders of run folders, or results.json files",
    )
    parser.add_argument(
        "--published",
        type=Path,
        default=PUBLISHED_FILE,
        metavar="FILE",
        help="table of published numbers (default: common/evaluation/published.json)",
    )
    args = parser.parse_args()
    for line in report(args.paths, load_published(args.published)):
        LOG.info(line)


def report(paths: Sequence[Path], published: Sequence[Published]) -> list[str]:
    """The lines of the table, and of notes below it.

    Args:
        paths: files or folders.
        published: numbers to show beside those of comparable runs.

    Raises:
        UserError: there are no results, or a file is none.
    """
    files = find_results(paths)
    read = {path: read_result(path) for path in files}
    groups = groups_of(result for result in read.values() if result is not None)
    untested = [str(path) for path, result in read.items() if result is None]
    if not groups:
        raise UserError(f"{untested[0]}: of a run without a test, and there are no others")
    rows = [(group, name) for group in groups for name in group.first.rows]
    columns = [c for c in TITLES if any(group.values(row, c) for group, row in rows)]
    lines = [
        _line([*FIRST_COLUMNS, *(TITLES[c] for c in columns), *LAST_COLUMNS]),
        _line([*["---"] * 3, *["---:"] * (len(columns) + len(FIRST_COLUMNS) - 3 + 1)]),
    ]
    used: list[Published] = []
    for group, row in rows:
        known = [p for p in published if p.applies_to(group.first, row)]
        used += known
        cells = [_cell(group, row, column, known) for column in columns]
        lines.append(_line([*_description(group, row), *cells, _hours(group)]))
    return [*lines, *_notes(untested, used)]


def _line(cells: Sequence[str]) -> str:
    escaped = (shown(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _description(group: Group, row: str) -> list[str]:
    """What a row is of: name, task, data, frames, joints, seeds."""
    first, options = group.first, group.first.options
    task = next((title for flag, title in TASKS.items() if options.get(flag)), "pre-training")
    if options["script"] != "pretrainer.py":
        task = "refined lifting" if options.get("refine") else "lifting"
    if not options.get("train"):
        task += " (evaluation)"
    data = str(options["dataset"])
    if "h36m" in data:
        data += f" {options.get('keypoints', '')}"
    seeds = ",".join(str(result.seed) for result in group.results)
    name = f"{first.name}: {row}" if row else first.name
    return [name, task, data, str(options.get("frames")), str(options.get("n_joints")), seeds]


def _cell(group: Group, row: str, column: str, known: Sequence[Published]) -> str:
    """Our mean and spread, and the published number in brackets."""
    shown = mean_and_spread(group.values(row, column))
    stated = [entry.values[column] for entry in known if column in entry.values]
    if not stated:
        return shown
    return f"{shown} ({'-' if stated[0] is None else f'{stated[0]:.2f}'})"


def _hours(group: Group) -> str:
    hours = [result.hours for result in group.results if result.hours]
    return mean_and_spread(hours)


def _notes(untested: Sequence[str], used: Sequence[Published]) -> list[str]:
    notes = [f"Without a test, left out: {', '.join(untested)}"] if untested else []
    sources = dict.fromkeys(entry.source for entry in used if entry.source)
    if sources:
        notes.append(f"In brackets: published numbers ({'; '.join(map(str, sources))})")
    elif used:
        notes.append(f"In brackets: published numbers, none entered yet in {PUBLISHED_FILE.name}")
    return ["", *(f"{note}." for note in notes)] if notes else []


if __name__ == "__main__":
    run_script(main)
