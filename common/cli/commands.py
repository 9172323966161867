"""Commands of this project that another script runs to their end, one after another."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from common.cli.demos import ROOT
from common.errors import FailedRun, UserError
from common.interrupts import EXIT_INTERRUPTED, EXIT_TERMINATED
from common.log import LOG
from common.training.run_folder import RESUME_FILE
from common.training.signals import Interrupted


def run_command(
    name: str, script: str, words: Sequence[str], folder: Path, *, trains: bool = True
) -> None:
    """Run a command to its end, resuming a training that was interrupted.

    Args:
        name: what messages call it.
        script: path of the script, relative to the project.
        words: its options.
        folder: where it writes, relative to the working folder.
        trains: whether it can be resumed.

    Raises:
        FailedRun: it failed.
        Interrupted: a signal ended it.
    """
    words = [*words]
    if trains and (folder / RESUME_FILE).exists():
        words.append("-r")
    LOG.info("%s: %s", name, shlex.join(["python", script, *words]))
    code = run_to_end([sys.executable, str(ROOT / script), *words])
    if code in (EXIT_INTERRUPTED, EXIT_TERMINATED, -signal.SIGINT, -signal.SIGTERM):
        raise Interrupted(f"{name} was interrupted: the same command goes on with it")
    if code:
        raise FailedRun(
            f"{name} ended with exit code {code} (see above, and {folder}/train.log); "
            "the same command tries again"
        )


def latest_weights(name: str, what: str, folder: Path) -> Path:
    """The weights that a finished training left: of its last epoch that was saved.

    Args:
        name: of its task.
        what: part of their file name: pretrain, no_refine or refine.
        folder: of the run.

    Raises:
        UserError: there are none.
    """
    pattern = re.compile(rf"{re.escape(name)}_{what}_(\d+)_.*D\.pth")
    found = [(int(m[1]), p) for p in folder.glob("*.pth") if (m := pattern.fullmatch(p.name))]
    if not found:
        raise UserError(f"no weights of {name} in {folder}: run the step first")
    return max(found)[1]


def run_to_end(command: Sequence[str]) -> int:
    """Run a program; signals go to it alone, so that it can save its state before it ends."""
    process = subprocess.Popen(command, start_new_session=True)

    def forward(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    previous = {n: signal.signal(n, forward) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        return process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
