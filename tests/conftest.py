"""What several test files use: paths, small runs of the scripts, golden weights."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from golden.fill import fill
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "dataset" / "sample"
GOLDEN = ROOT / "tests" / "golden"
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


@dataclass
class Done:
    """What a script printed."""

    stdout: str
    stderr: str


@pytest.fixture
def script(tmp_path):
    """Run an entry script in a folder of its own: `script("trainer.py", *words)`."""

    def run(name: str, *words: object, expect: int = 0, **environment: str) -> Done:
        arguments = (ROOT / name, [*map(str, words)], tmp_path, environment)
        process = PROCESSES.Process(target=run_as_main, args=arguments)
        process.start()
        process.join(300)
        process.kill()
        done = Done(*((tmp_path / name).read_text() for name in (".stdout", ".stderr")))
        assert process.exitcode == expect, f"{process.exitcode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        assert "Warning" not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def mistake(script):
    """Run a script that must fail with one line and exit code 2; returns the line."""

    def run(name: str, *words: object) -> str:
        done = script(name, *words, expect=2)
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: ")
        return lines[0]

    return run


def golden(name: str, prefix: str) -> dict[str, torch.Tensor]:
    """The arrays of a golden file whose names begin with a prefix, without it."""
    with np.load(GOLDEN / name) as arrays:
        return {
            key.removeprefix(prefix): torch.from_numpy(arrays[key])
            for key in arrays
            if key.startswith(prefix)
        }


def filled(module: nn.Module) -> nn.Module:
    """A model with the golden weights, in evaluation mode."""
    module.load_state_dict(fill(module.state_dict()))
    return module.eval()


def without_dropout(module: nn.Module) -> nn.Module:
    """The same model with every dropout probability 0."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return module


def save_released(module: nn.Module, path: Path) -> Path:
    """Write a model's weights in the released format."""
    torch.save({f"module.{name}": t for name, t in module.state_dict().items()}, path)
    return path


def last_checkpoint(folder: Path) -> dict:
    """The resume file of a run."""
    return torch.load(folder / "resume.pth", weights_only=True)


def assert_same_end(one: dict, two: dict) -> None:
    """Two resume files agree bit for bit in weights, optimiser, random states and errors."""
    for name, state in one["modules"].items():
        for key, tensor in state.items():
            assert torch.equal(tensor, two["modules"][name][key]), key
    for number, moments in one["optimizer"]["state"].items():
        for key, tensor in moments.items():
            assert torch.equal(tensor, two["optimizer"]["state"][number][key])
    for a, b in zip(one["random_states"], two["random_states"], strict=True):
        assert torch.equal(a["torch"], b["torch"])
    timeless = [
        [{k: v for k, v in r.items() if "second" not in k} for r in content["position"]["history"]]
        for content in (one, two)
    ]
    assert timeless[0] == timeless[1]
    assert one["position"]["best_files"] == two["position"]["best_files"]


def wait_for(condition: Callable[[], object], run: subprocess.Popen) -> None:
    """Wait until something has happened in a run that is under way."""
    while not condition():
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.01)


def start(script_name: str, folder: Path, *words: object) -> subprocess.Popen:
    """A script as a process of its own that a test can send signals to."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, ROOT / script_name, *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
