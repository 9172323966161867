"""Numbers and weights of the published implementation."""

import json
from pathlib import Path

import numpy as np
import torch
from golden.fill import fill
from paths import GOLDEN, SAMPLE
from torch import nn

EXPECTED = json.loads((GOLDEN / "expected_cli.json").read_text())


def golden(name: str, prefix: str) -> dict[str, torch.Tensor]:
    """The arrays of a golden file whose names begin with a prefix, without it."""
    with np.load(GOLDEN / name) as arrays:
        return {
            key.removeprefix(prefix): torch.from_numpy(arrays[key])
            for key in arrays
            if key.startswith(prefix)
        }


def golden_command(row: str, weights: Path) -> list[str]:
    """The words of a golden command, with the checkpoints of a folder."""
    command = EXPECTED[row]["command"]
    return command.replace("CKPT", str(weights)).replace("DATA", str(SAMPLE)).split()


def last_numbers(line: str) -> list[float]:
    """The numbers of the last line of an evaluation: `p1: 1.00, p2: 2.00`."""
    return [float(word.rstrip(",")) for word in line.split()[1::2]]


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


def without_random_parts(module: nn.Module) -> nn.Module:
    """The same model without dropout, its batch norms for good on their stored statistics.

    So what it makes of a sample depends on no other sample of a batch, even in training.
    """
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.eval()
            part.train = lambda mode=True, part=part: part
    return without_dropout(module)


def save_released(module: nn.Module, path: Path) -> Path:
    """Write a model's weights in the released format."""
    torch.save({f"module.{name}": t for name, t in module.state_dict().items()}, path)
    return path
