"""A resume file that is damaged, edited or of another script is one line; no step goes astray."""

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import UserError
from common.training.checkpoint import save_torch
from common.training.loop import Training
from common.training.run_folder import RESUME_FILE, RunFolder, RunInfo
from common.training.run_state import load_optimizer
from common.training.runtime import Runtime
from common.training.steps import GradientSteps, Schedule
from common.training.steps import TestErrors as Errors

INFO = RunInfo(command="test", seed=1, options={"lr": 0.1, "gpu": [0]}, free_on_resume=frozenset())
SCHEDULE = Schedule(1, 4, 0, 0.1, 1.0, 1.0, 1, seed=0)


class Fitting:
    """A task: a small network learns to answer 0."""

    frames, loss_names, frozen, num_samples = 1, ("only",), (), 8
    loss_weights = {"only": 1.0}

    def __init__(self):
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.modules = {"net": self.net}

    def order(self, rng):
        return torch.randperm(self.num_samples, generator=rng)

    def begin_step(self):
        pass

    def counts(self, samples):
        return {"only": len(samples)}

    def losses(self, samples):
        yield {"only": self.net(samples[:, None] * torch.ones(2)).square().mean()}

    def sequences_of(self, samples):
        return ["only"]

    def evaluate(self):
        return Errors(1.0, {"p1": 1.0})


def training(folder, *, resume: bool, epochs: int = 1) -> Training:
    run = Runtime(torch.device("cpu"), (), 0, 1, "fp32")
    run.new_generator(3)
    task, schedule = Fitting(), replace(SCHEDULE, epochs=epochs)
    opened = RunFolder(run, folder, INFO, train=True, resume=resume)
    return Training(task, GradientSteps(task, run, schedule), run, schedule, opened, keep="never")


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """What the resume file of a run holds."""
    folder = tmp_path_factory.mktemp("run")
    training(folder, resume=False).run(resume=False)
    return torch.load(folder / RESUME_FILE, weights_only=True)


def resume(folder, content) -> str:
    """Resume from a file for one more epoch; the line that refuses it, or ""."""
    save_torch(folder / RESUME_FILE, content)
    again = training(folder, resume=True, epochs=2)
    try:
        again.run(resume=True)
    except UserError as error:
        line = str(error)
        assert "\n" not in line and RESUME_FILE in line and line.isprintable()
        return line
    finally:
        again.folder._lock.close()
    return ""


def places(value, before=()):
    """Every place in nested containers."""
    if before:
        yield before
    if isinstance(value, dict | list | tuple):
        keys = value if isinstance(value, dict) else range(min(len(value), 3))
        for key in keys:
            yield from places(value[key], (*before, key))


def changed(content, place, value):
    """A copy with another value in a place."""
    key, *rest = place
    value = changed(content[key], rest, value) if rest else value
    if isinstance(content, tuple):
        return (*content[:key], value, *content[key + 1 :])
    copied = copy.copy(content)
    copied[key] = value
    return copied


ODD = [
    None, True, -1, 3, 2**62, 2**70, float("nan"), float("inf"), "x", "../x", b"x", [], [1], (), {},
    {1: 2}, torch.zeros(2), torch.zeros(3, dtype=torch.uint8), torch.zeros(0), torch.tensor(1.0),
    torch.zeros(2, 2).to_sparse(), torch.zeros(2, device="meta"), np.float64(3), 1j,
]  # fmt: skip


def test_a_whole_file_is_resumed(state, tmp_path):
    assert resume(tmp_path, state) == ""


def test_any_entry_may_be_odd(state, tmp_path):
    source, everywhere = random.Random(0), list(places(state))
    refused = 0
    for _ in range(250):
        place, value = source.choice(everywhere), source.choice(ODD)
        # Not a matter of the file: the same numbers under another name, or other ones of its kind.
        refused += bool(resume(tmp_path, changed(state, place, value)))
    assert refused > 150


@pytest.mark.parametrize("entry", ["options", "position", "modules", "optimizer", "random_states"])
def test_entries_may_be_missing(state, tmp_path, entry):
    content = {key: value for key, value in state.items() if key != entry}
    assert resume(tmp_path, content)


MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("shape", [(), (1,), (3, 3), (2, 3), (6,), (3, 2, 1), (300, 200)])
def test_moments_have_the_shapes_of_their_parameters(state, tmp_path, name, shape):
    edited = changed(state, ("optimizer", "state", 0, name), torch.zeros(shape))
    line = resume(tmp_path, edited)
    assert f"{name} of parameter 0 has shape {tuple(shape)}, (3, 2) is needed" in line


def test_an_optimiser_of_an_older_pytorch_is_restored(state):
    task = Fitting()
    steps = GradientSteps(task, Runtime(torch.device("cpu"), (), 0, 1, "fp32"), SCHEDULE)
    held = copy.deepcopy(state["optimizer"])
    (group,) = held["param_groups"]
    group.pop("decoupled_weight_decay", None)
    group["of_a_later_version"] = 3
    load_optimizer(steps.optimizer, held)
    assert "of_a_later_version" not in steps.optimizer.param_groups[0]
    restored = steps.optimizer.state_dict()["state"][0]
    for name in MOMENTS:
        assert torch.equal(restored[name], held["state"][0][name])


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("position", "best_files"), {"net": "../../x.pth"}, "best_files"),
        (("position", "best_files"), {"other": "x.pth"}, "other, which this run does not train"),
        (("position", "best_files"), {"net": "x.pth"}, "the folder has no such file"),
        (("position", "epoch"), 0, "epoch"),
        (("position", "history"), [{"epoch": 1}], "history"),
        (("options", "lr"), torch.zeros(2), "options"),
        (("options", "lr"), "x\x1b[31m" * 999, r"x\x1b[31m"),
        (("modules",), {}, "without weights of 'net'"),
        (
            ("modules", "net", "module.0.weight"),
            torch.zeros(9, 9),
            "of another shape: 0.weight 9x9",
        ),
        (("optimizer", "param_groups", 0, "betas"), ("a", "b"), "betas"),
        (("random_states", 0, "torch"), torch.zeros(3, dtype=torch.uint8), "RuntimeError"),
        (("random_states",), [], "IndexError"),
    ],
)
def test_the_line_says_which_entry(state, tmp_path, place, value, words):
    line = resume(tmp_path, changed(state, place, value))
    assert words in line
