"""Runs of the scripts as processes of their own, and what they leave behind."""

import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from paths import ROOT, SAMPLE

# A lifter small enough to train in a second, on few windows of the sample.
TINY = (
    f"-f 9 -tds 2 --n_joints 17 -k gt --layers 1 --channel 16 --d_hid 16 -b 128 -s 40 "
    f"--subjects_train S6,S7 --subjects_test S9 --root_path {SAMPLE} --gpu 0"
).split()

# Each run of a script is a process of its own, forked from a server that has imported torch.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "torch._dynamo", "torch.utils.tensorboard"])


def run_as_main(path: Path, words: list[str], folder: Path, environment: dict[str, str]) -> None:
    """In a process of its own: become `python path words` in a folder."""
    os.chdir(folder)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f".{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.update(environment)
    sys.argv = [str(path), *words]
    sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name="__main__")


WAIT_SECONDS = 300


class Run:
    """A script under way in a folder, as a process of its own that can be sent signals.

    Attributes:
        folder: where it runs; what it prints goes to files there.
    """

    def __init__(self, name: str, folder: Path, *words: object, **environment: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        arguments = (ROOT / name, [*map(str, words)], folder, environment)
        self.process = PROCESSES.Process(target=run_as_main, args=arguments)
        self.process.start()

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    @property
    def stdout(self) -> str:
        return (self.folder / ".stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / ".stderr").read_text()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; wait for its end if that is SIGKILL."""
        os.kill(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.join()

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until something has happened in it."""
        end = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert self.alive, self.stderr
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.01)

    def end(self, *, expect: int = 0) -> "Run":
        """Wait for its end with an exit code, with no traceback and no warning printed."""
        self.process.join(300)
        self.process.kill()
        assert self.process.exitcode == expect, f"{self.process.exitcode}\n{self.stderr}"
        assert "Traceback" not in self.stdout + self.stderr
        assert "Warning" not in self.stdout + self.stderr
        return self


@dataclass
class Done:
    """What a script printed."""

    stdout: str
    stderr: str


def last_checkpoint(folder: Path) -> dict:
    """The resume file of a run."""
    return torch.load(folder / "resume.pth", weights_only=True)


def assert_same_tensors(one: dict, two: dict) -> None:
    """Two state dicts agree bit for bit."""
    assert list(one) == list(two)
    for key, tensor in one.items():
        assert torch.equal(tensor, two[key]), key


def assert_same_end(one: dict, two: dict) -> None:
    """Two resume files agree bit for bit in weights, optimiser, random states and errors."""
    for name, state in one["modules"].items():
        assert_same_tensors(state, two["modules"][name])
    for number, moments in one["optimizer"]["state"].items():
        for key, tensor in moments.items():
            assert torch.equal(tensor, two["optimizer"]["state"][number][key])
    for a, b in zip(one["random_states"], two["random_states"], strict=True):
        assert torch.equal(a["torch"], b["torch"]) and a["python"] == b["python"]
        for kind in ("generators", "common_generators"):
            assert len(a[kind]) == len(b[kind])
            assert all(map(torch.equal, a[kind], b[kind]))
        for mine, other in zip(a["numpy"], b["numpy"], strict=True):
            same = torch.equal(mine, other) if isinstance(mine, torch.Tensor) else mine == other
            assert same
    timeless = [
        [{k: v for k, v in r.items() if "second" not in k} for r in content["position"]["history"]]
        for content in (one, two)
    ]
    assert timeless[0] == timeless[1]
    assert one["position"]["best_files"] == two["position"]["best_files"]


def straight_and_resumed(
    name: str, folder: Path, words: list, run_folder: str, until: str
) -> tuple[dict, dict]:
    """The resume files of a run left alone, and of one that was killed and resumed.

    Args:
        name: the script.
        folder: where both run, each in a folder of its own.
        words: of the command line.
        run_folder: that the command writes to.
        until: the kill comes when a file of this pattern is there.
    """
    Run(name, folder / "straight", *words).end()
    run = Run(name, folder / "killed", *words)
    run.wait_for(lambda: list((folder / "killed" / run_folder).glob(until)))
    run.send(signal.SIGKILL)
    assert run.process.exitcode == -signal.SIGKILL  # it had not ended by itself
    Run(name, folder / "killed", *words, "-r").end()
    straight, resumed = (last_checkpoint(folder / n / run_folder) for n in ("straight", "killed"))
    return straight, resumed


def start_torchrun(
    folder: Path, processes: int, path: Path, *words: object, restarts: int = 0
) -> subprocess.Popen:
    """Start a script in several processes on this machine."""
    folder.mkdir(exist_ok=True)
    port = str(random.SystemRandom().randint(20000, 60000))
    command = ["torch.distributed.run", f"--nproc_per_node={processes}", "--master_port", port]
    command.append(f"--max-restarts={restarts}")
    return subprocess.Popen(
        [sys.executable, "-m", *command, str(path), *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )


def torchrun(
    folder: Path, processes: int, path: Path, *words: object, expect: int = 0
) -> subprocess.CompletedProcess:
    """Run a script in several processes on this machine, to its end."""
    process = start_torchrun(folder, processes, path, *words)
    try:
        stdout, stderr = process.communicate(timeout=WAIT_SECONDS)
    finally:
        process.kill()
    assert process.returncode == expect, stderr
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
