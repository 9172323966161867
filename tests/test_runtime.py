"""How a run starts: determinism is a choice, what libraries warn of is seen once."""

import logging
import warnings

import pytest
import torch

from common.cli import configs
from common.log import LOG, log_warnings
from common.training import runtime


@pytest.fixture
def settings():
    """Puts back what PyTorch had been told."""
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before, warn_only=True)


@pytest.fixture
def lines(monkeypatch):
    """What is logged."""
    seen: list[str] = []
    monkeypatch.setattr(LOG, "info", lambda text, *values: seen.append(text % values))
    return seen


@pytest.mark.parametrize(
    ("asked", "device", "on"),
    [
        (None, "cpu", True),
        (None, "cuda", False),
        (True, "cuda", True),
        (True, "cpu", True),
        (False, "cpu", False),
        (False, "cuda", False),
    ],
)
def test_determinism_is_a_choice(asked, device, on, settings, lines, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    runtime._set_deterministic(asked, torch.device(device))
    assert torch.are_deterministic_algorithms_enabled() is on
    (line,) = lines
    assert line.startswith("deterministic algorithms on" if on else "deterministic algorithms off")
    assert ("bit for bit" in line) is on and ("unless" in line) is (on and device == "cuda")


@pytest.mark.parametrize(("words", "asked"), [("", None), ("1", True), ("0", False)])
def test_the_flag(words, asked):
    argv = ["--deterministic", words] if words else []
    assert configs.lifting("trainer.py", argv).run.runtime.deterministic is asked
    assert "deterministic" in configs.FREE_ON_RESUME


def test_what_libraries_warn_of_is_logged_once(monkeypatch):
    records: list[logging.LogRecord] = []
    monkeypatch.setattr(LOG, "handle", records.append)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log_warnings()
        for text in ("one\nthing", "one\nthing", "another"):
            warnings.warn(text, stacklevel=1)
    texts = [record.getMessage() for record in records]
    assert texts == ["note from a library: one thing", "note from a library: another"]


def test_compiling_for_a_cpu_is_called_slow(lines):
    run = runtime.Runtime(torch.device("cpu"), (), 0, 1, "fp32")
    if runtime._has_compiler():
        run._check_compilable()
        assert "0.55 of the plain speed" in lines[0] and "138 s" in lines[0]
    else:
        with pytest.raises(ValueError, match=r"g\+\+"):
            run._check_compilable()
