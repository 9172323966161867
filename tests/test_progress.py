"""Where no terminal is, a line about every minute says how far a run is."""

import io
import logging
import sys

import pytest
import torch
from torch import nn

from common.evaluation.passes import compute_for_all
from common.training import progress
from common.training.progress import Progress
from common.training.runtime import Runtime


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves; what is logged goes to pytest's own handler."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(logging.getLogger("mpm"), "propagate", True)
    return now


def drive(clock, *, seconds_per_step, **options):
    with Progress("epoch 3/50", total=1000, done=200, **options) as running:
        for _ in range(8):
            clock[0] += seconds_per_step
            running.advance(50)
            running.report({"loss": "0.0512"})


def test_a_line_a_minute(clock, caplog):
    caplog.set_level("INFO", "mpm")
    drive(clock, seconds_per_step=25)
    assert caplog.messages == [
        "epoch 3/50: 35 %, loss 0.0512, 2 windows/s, 0:05:25 left",
        "epoch 3/50: 50 %, loss 0.0512, 2 windows/s, 0:04:10 left",
    ]


@pytest.mark.parametrize("why", ["short", "terminal", "other process"])
def test_no_lines(clock, caplog, monkeypatch, why):
    caplog.set_level("INFO", "mpm")
    if why == "terminal":
        monkeypatch.setattr(sys, "stdout", Terminal())
    drive(clock, seconds_per_step=7 if why == "short" else 30, shown=why != "other process")
    assert caplog.messages == []


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_standard_output_may_be_closed(clock, caplog, monkeypatch, stream):
    caplog.set_level("INFO", "mpm")
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    drive(clock, seconds_per_step=30)
    assert len(caplog.messages) == 4


def test_evaluations_report_too(clock, caplog):
    caplog.set_level("INFO", "mpm")

    def compute(samples):
        clock[0] += 40
        return samples.float()[:, None]

    run = Runtime(torch.device("cpu"), (), 0, 1, "fp32")
    out = compute_for_all(
        torch.arange(10), torch.zeros(10, 1), compute, runtime=run, modules=[nn.ReLU()], per_pass=2
    )
    assert torch.equal(out, torch.arange(10.0)[:, None])
    assert caplog.messages == [
        "test: 40 %, 0.05 windows/s, 0:02:00 left",
        "test: 80 %, 0.05 windows/s, 0:00:40 left",
    ]
