"""The folder of a run and the files in it: options, log, weights, results."""

import json
import math
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import UserError, shown
from common.files import lock_folder, open_regular, reason_of, write_atomically
from common.log import LOG, log_to_file
from common.outputs import written_by_us
from common.training.run_state import RunState
from common.training.runtime import Runtime

RESUME_FILE, RESULTS_FILE, OPTIONS_FILE = "resume.pth", "results.json", "opt.txt"
# What runs write into their folder.
WRITTEN = (
    OPTIONS_FILE,
    "train.log",
    "results*.json",
    "learning_curve.png",
    "predictions.png",
    "completions.png",
    "generator.png",
    "tensorboard",
    "*_*_*_*D.pth",
    "ckpt_generater*.pth.tar",
)


@dataclass(frozen=True)
class RunInfo:
    """What the files of a run record about it.

    Attributes:
        command: the full command.
        seed: `--manualSeed`.
        name: task name, the beginning of the names of weight files.
        dimensions: `--dim`, their ending.
        options: every option by the name of its flag, plain values.
        free_on_resume: the options that may differ when the run is resumed.
        model_record: description of the model in weight files, beside the state dict.
    """

    command: str
    seed: int
    options: Mapping[str, Any]
    free_on_resume: frozenset[str]
    name: str = ""
    dimensions: int = 2
    model_record: Mapping[str, Any] = field(default_factory=dict)

    def differing(self, earlier: Mapping[str, Any]) -> list[str]:
        """The options, in words, that may not differ from those of an earlier run but do."""
        return [
            f"--{name} {shown(earlier[name])} then, {value} now"
            for name, value in self.options.items()
            if name not in self.free_on_resume and name in earlier and earlier[name] != value
        ]


class RunFolder:
    """Where a run writes; only the main process of a run does.

    Attributes:
        path: the folder.
        info: what its files record about the run.
        results: what goes into results.json besides command, seed and versions.
    """

    def __init__(
        self, runtime: Runtime, path: Path, info: RunInfo, *, train: bool, resume: bool
    ) -> None:
        """Make the folder, open its log, write `opt.txt`.

        Raises:
            UserError: there is nothing to resume, or a fresh run would overwrite an unfinished one.
        """
        self.runtime, self.path, self.info = runtime, path, info
        self.results: dict[str, Any] = {}
        resume = runtime.processes.any(resume)  # each machine knows of its own restarts only
        self._has_results = train and resume  # those of the run itself
        runtime.processes.on_main(lambda: self._open(train=train, resume=resume))
        LOG.info("command: %s", info.command)
        LOG.info("run folder %s, device %s", path, runtime.describe())

    def _open(self, *, train: bool, resume: bool) -> None:
        """What only the main process does to begin with."""
        path = self.path
        if train and resume:
            _check_resumable(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {path}: {reason_of(error)}") from None
        self._lock = lock_folder(path)  # held until the process ends
        if train and not resume:
            _archive_earlier_run(path)
        try:
            log_to_file(path / "train.log")
        except OSError as error:
            raise UserError(f"cannot write {path}/train.log: {reason_of(error)}") from None
        if not (train and resume):  # else when the options were compared
            self._write_options()

    def write_options(self) -> None:
        """Write `opt.txt`."""
        self.runtime.processes.on_main(self._write_options)

    def picture_path(self, name: str) -> Path:
        """A picture in the folder; what else has this name is kept under another one."""
        path = self.path / name
        if path.exists() and not written_by_us(path):
            _keep(path)
        return path

    def _write_options(self) -> None:
        path, options = self.path / OPTIONS_FILE, self.info.options.items()
        if path.exists() and not _has_options(path):
            _keep(path)
        text = "".join(f"{name}: {value}\n" for name, value in options)
        write_atomically(path, text.encode(errors="backslashreplace"))

    @property
    def resume_path(self) -> Path:
        """The file that an interrupted run is resumed from."""
        return self.path / RESUME_FILE

    def weights_path(self, what: str, *, epoch: int, metric: float) -> Path:
        """The weight file of an epoch, under the published name."""
        scaled = math.floor(100 * metric) if math.isfinite(metric) else "nan"
        name = f"{self.info.name}_{what}_{epoch}_{scaled}_{self.info.dimensions}D.pth"
        return self.path / name

    def write_results(self) -> None:
        """Write `results.json`; numbers that are not finite become null.

        That of an earlier evaluation in the same folder is kept as results_<n>.json.
        """
        self.runtime.processes.on_main(self._write_results)

    def _write_results(self) -> None:
        content = {
            "command": self.info.command,
            "seed": self.info.seed,
            "versions": _versions(),
            "device": self.runtime.describe(),
            **self.results,
            "options": dict(self.info.options),
        }
        text = json.dumps(_finite(content), indent=1, default=str)
        path = self.path / RESULTS_FILE
        if path.exists() and not self._has_results:  # of an earlier evaluation
            _keep(path)
        write_atomically(path, f"{text}\n".encode())
        self._has_results = True


def _keep(path: Path) -> None:
    """Give an earlier file another name: results.json -> results_1.json."""
    numbered = (path.with_stem(f"{path.stem}_{number}") for number in count(1))
    path.rename(next(kept for kept in numbered if not kept.exists()))


def _has_options(path: Path) -> bool:
    """Whether a file is one of options, lines "name: value", as runs write them."""
    try:
        with open_regular(path) as stream:
            return re.search(rb"^\w+: ", stream.read(2**20)) is not None
    except UserError:
        return False


def _check_resumable(path: Path) -> None:
    """Require an interrupted run in a folder."""
    if not (path / RESUME_FILE).exists():
        raise UserError(f"--resume: no interrupted run in {path} (no {RESUME_FILE} there)")


def _archive_earlier_run(path: Path) -> None:
    """Move the files of an earlier, finished run aside; nothing that this program did not write.

    The state goes last: killed in between, the next run completes the move.

    Raises:
        UserError: the earlier run is not finished.
    """
    state = path / RESUME_FILE
    if not state.exists():
        return
    position = RunState.read(state).position
    if not position.finished:
        raise UserError(
            f"{path} holds an unfinished run (epoch {position.epoch}): add -r to resume it, "
            "give another --name, or remove the folder"
        )
    earlier = _next_earlier(path)
    earlier.mkdir(exist_ok=True)
    written = {entry for pattern in WRITTEN for entry in path.glob(pattern)} - {state}
    for entry in [*sorted(written), state]:
        entry.rename(earlier / entry.name)
    LOG.info("the files of an earlier run were moved to %s", earlier)


def _next_earlier(path: Path) -> Path:
    """The folder for the files of the earlier run; one whose move was cut short is used again."""
    for number in count(1):
        folder = path / f"earlier_{number}"
        if not folder.exists() or (folder.is_dir() and not (folder / RESUME_FILE).exists()):
            return folder
    raise AssertionError


def _versions() -> dict[str, str]:
    """The versions that a result may depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": platform.platform(),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
