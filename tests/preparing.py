"""What tests of the preparation scripts share."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

# A small model of 16 joints, and small batches.
SIXTEEN = "-f 9 --n_joints 16 -k gt --layers 1 --channel 16 --d_hid 16 -b 64 --gpu 0".split()


def run_here(monkeypatch: pytest.MonkeyPatch, script: ModuleType, *words: object) -> None:
    """Run a preparation script in this process."""
    monkeypatch.setattr(sys, "argv", [Path(script.__file__).name, *map(str, words)])
    script.main()
