"""What several test files use: paths, small runs of the scripts, golden weights."""

import os
import subprocess
import sys
from pathlib import Path

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


@pytest.fixture
def script(tmp_path):
    """Run an entry script as a user would, in a folder of its own: `script(name, *words)`."""

    def run(name: str, *words: object, expect: int = 0, env=None) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, ROOT / name, *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
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
