"""What runs measured, read from their results.json files and put together over seeds."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common.data.npz import making_sense
from common.data.registry import DATA_SETS
from common.data.text_files import load_json
from common.errors import UserError, shown
from common.evaluation.masked import COLUMNS
from common.evaluation.metrics import METRICS

LARGEST_RESULT = 2**28  # bytes of a results.json: thousands of epochs take some millions
PUBLISHED_FILE = Path(__file__).with_name("published.json")
# Column -> title, in the order of a report.
TITLES = {name: metric.title for name, metric in METRICS.items()} | {
    "recovered_2d": "2D x 1000",
    "recovered_2d_hidden": "2D hidden",
    "recovered_3d": "3D mm",
    "recovered_3d_hidden": "3D hidden",
    "lifted": "lifted mm",
    "lifted_hidden": "lifted hidden",
}
assert COLUMNS.keys() < TITLES.keys()
# Options that do not change what is measured, or that differ between seeds of one experiment.
NOT_COMPARED = frozenset(
    "manualSeed command checkpoint name gpu workers resume save_predictions vis pad demo "
    "generators micro_batch compile".split()
)
WEIGHT_PATHS = frozenset("previous_dir previous_name previous_refine_name MAEcp".split())
# Of files that runs write: <name>_<what>_<epoch>_<100 x mm>_<dim>D.pth
OUR_WEIGHTS = re.compile(r"(?P<name>.+?)_(pretrain|no_refine|refine)_\d+_\w+_\dD")
SEED_OF_NAME = re.compile(r"[-_ ]?s(eed)?[-_]?(?P<seed>\d+)$")


@dataclass(frozen=True)
class Result:
    """What one run measured.

    Attributes:
        path: the results.json file.
        options: of the run, by the names of the flags.
        rows: what was tested -> column -> number; NaN where it was not computed.
        test_size: frames, or windows, of the whole test; None if the file does not say.
        hours: of training, 0 for an evaluation.
    """

    path: Path
    options: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, float]]
    test_size: int | None
    hours: float

    @property
    def seed(self) -> int:
        """`--manualSeed`."""
        return int(self.options["manualSeed"])

    @property
    def name(self) -> str:
        """The task's name, or that of the weights that were evaluated, without the seed."""
        return self._named[0]

    @property
    def key(self) -> str:
        """Equal for runs that differ in their seed only."""
        name, has_seed = self._named
        paths = frozenset() if not (self.options.get("train") or has_seed) else WEIGHT_PATHS
        compared = {k: v for k, v in self.options.items() if k not in NOT_COMPARED | paths}
        return json.dumps([name, compared], sort_keys=True, default=str)

    @property
    def _named(self) -> tuple[str, bool]:
        """The name without the seed at its end, and whether there was one."""
        weights = self.options.get("MAEcp") or self.options.get("previous_dir") or ""
        stem = Path(str(weights)).stem
        ours = OUR_WEIGHTS.fullmatch(stem)
        own = str(self.options["name"]) if self.options.get("train") else ""
        name = own or (ours["name"] if ours else stem) or self.path.parent.name
        match = SEED_OF_NAME.search(name)
        if match and int(match["seed"]) == self.seed:
            return name[: match.start()], True
        return own or stem or name, False


@dataclass(frozen=True)
class Group:
    """Runs of one experiment with different seeds.

    Attributes:
        results: one per seed.
    """

    results: Sequence[Result]

    @property
    def first(self) -> Result:
        """The one that describes them all."""
        return self.results[0]

    def values(self, row: str, column: str) -> list[float]:
        """A number of every run that has it."""
        numbers = (r.rows.get(row, {}).get(column, math.nan) for r in self.results)
        return [number for number in numbers if math.isfinite(number)]


def mean_and_spread(values: Sequence[float]) -> str:
    """The mean and, of several, the sample standard deviation; a dash without values."""
    if not values:
        return "-"
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{mean(values):.2f}{spread}"


def find_results(paths: Iterable[Path]) -> list[Path]:
    """The results of files and folders, those of earlier evaluations included.

    Args:
        paths: results.json files, run folders, or folders of run folders.

    Raises:
        UserError: there are none.
    """
    found: dict[Path, None] = {}
    given = list(paths)
    for path in given:
        if not path.is_dir():
            found[path] = None
            continue
        own = sorted(path.glob("results*.json")) or sorted(path.glob("*/results*.json"))
        found |= dict.fromkeys(own)
    if not found:
        raise UserError(f"no results.json in {', '.join(map(str, given[:4]))}")
    return list(found)


def read_result(path: Path) -> Result | None:
    """Read a results.json file.

    Returns:
        What it holds; None of a run without a test.

    Raises:
        UserError: it cannot be read, or is no such file.
    """
    content = load_json(path, largest=LARGEST_RESULT)
    options = content.get("options") if isinstance(content, dict) else None
    if not isinstance(options, dict) or not isinstance(options.get("manualSeed"), int):
        raise UserError(f"{path}: not a results.json of this program's runs: it has no options")
    test = content.get("test")
    if not isinstance(test, dict):
        return None
    script = str(options.get("command", "")).split()[1:2]
    defaults = {"name": "", "dataset": "", "script": script[0] if script else ""}
    options = defaults | options | ({"dataset": "3dhp"} if script == ["trainer_3dhp.py"] else {})
    with making_sense(f"{path}: damaged", "a results.json of this program's runs"):
        rows, size = _rows(test, options)
        seconds = [float(record["seconds"]) for record in content.get("history") or ()]
        return Result(path, options, rows, content.get("test_windows", size), sum(seconds) / 3600)


def _rows(
    test: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[dict[str, dict[str, float]], int | None]:
    """What was tested -> column -> number, and the number of frames if it is known."""
    if "average" not in test:  # of a masked model: a row for each limb set
        return {str(name): _numbers(values) for name, values in test.items()}, None
    data_set = DATA_SETS.get(str(options.get("dataset")))
    by_frames = "sequences" in test or bool(
        data_set and data_set.table and data_set.table.by_frames
    )
    average = _numbers(test["average_over_frames" if by_frames else "average"])
    frames = test["average"].get("frames")
    return {"": average}, frames


def _numbers(values: Any) -> dict[str, float]:
    if not isinstance(values, Mapping):
        raise TypeError(f"no numbers but {shown(values)[:30]!r}")
    return {
        column: math.nan if values.get(column) is None else float(values[column])
        for column in TITLES
        if column in values
    }


def groups_of(results: Iterable[Result]) -> list[Group]:
    """Runs that differ in their seed only, together, in the order in which they come."""
    found: dict[str, dict[int, Result]] = {}
    for result in results:
        seeds = found.setdefault(result.key, {})
        kept = seeds.get(result.seed)
        if kept is None or result.path.stat().st_mtime >= kept.path.stat().st_mtime:
            seeds[result.seed] = result  # of runs repeated with a seed, the last
    return [Group([seeds[seed] for seed in sorted(seeds)]) for seeds in found.values()]


@dataclass(frozen=True)
class Published:
    """A result that a paper states.

    Attributes:
        title: what was tested.
        options: flag -> value that a run must have to be comparable.
        test_size: frames of the test: a subset, or other data, is not comparable.
        row: of the run's test; "" for a lifter's.
        values: column -> number; None where the number has not been copied from the source.
        source: where the numbers are from; None as long as there are none.
    """

    title: str
    options: Mapping[str, Any]
    test_size: int
    row: str
    values: Mapping[str, float | None]
    source: str | None

    def applies_to(self, result: Result, row: str) -> bool:
        """Whether a row of a result was measured on the same data in the same way."""
        return (
            row.split(":")[0] == self.row
            and result.test_size == self.test_size
            and all(result.options.get(name) == value for name, value in self.options.items())
        )


def load_published(path: Path = PUBLISHED_FILE) -> list[Published]:
    """Read the table of published results.

    Raises:
        UserError: it is not in the format.
    """
    content = load_json(path, largest=LARGEST_RESULT)
    with making_sense(f"{path}: not a table of published results", "its format"):
        published = [Published(**entry) for entry in content["entries"]]
    for entry in published:
        if not entry.source and any(value is not None for value in entry.values.values()):
            raise UserError(f"{path}: {entry.title}: numbers without a source")
    return published
