"""The file that an interrupted run is resumed from: every entry is checked before it is used."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError, shown
from common.training.checkpoint import WeightFile
from common.training.torch_file import load_torch

RESUME_FORMAT = 1


@dataclass
class Position:
    """How far a run has come: all of it goes into the resume file.

    Attributes:
        epoch: the current epoch, counted from 1.
        step: steps of it that are done.
        loss_sum: sum of the losses of its samples so far.
        term_sums: loss term -> sum over its samples so far, and their number.
        seconds: time spent on it so far.
        best: lowest value of the monitored metric so far.
        best_files: the weight files that it was saved in, by module name.
        history: one dictionary per epoch: epoch, learning rate, losses, errors, speed.
        finished: whether the run is complete.
    """

    epoch: int = 1
    step: int = 0
    loss_sum: float = 0.0
    term_sums: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    best: float = math.inf
    best_files: dict[str, str] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    finished: bool = False


@dataclass(frozen=True)
class RunState:
    """What a resume file holds.

    Attributes:
        path: the file.
        options: of the run that wrote it, plain values.
        position: how far it had come.
        modules: state dicts of its models.
        optimizer: what `Steps.state` returned; checked by `Steps.load_state`.
        random_states: of its processes; checked where they are restored.
    """

    path: Path
    options: Mapping[str, Any]
    position: Position
    modules: Mapping[str, Any]
    optimizer: Any
    random_states: Sequence[Any]

    @classmethod
    def read(cls, path: Path) -> "RunState":
        """Read a file.

        Raises:
            UserError: it cannot be read, or an entry of it is not what a run writes.
        """
        content = load_torch(path)
        if not (
            isinstance(content, dict)
            and content.get("format") == RESUME_FORMAT
            and isinstance(content.get("position"), dict)
            and isinstance(content.get("options"), dict)
        ):
            raise UserError(f"{path}: not a file to resume from")
        _require(path, "options", _is_plain(content["options"]), "plain values")
        modules = content.get("modules", {})
        _require(path, "modules", isinstance(modules, dict), "a dictionary")
        random_states = content.get("random_states", [])
        sound = isinstance(random_states, list) and all(isinstance(s, dict) for s in random_states)
        _require(path, "random_states", sound, "a list of dictionaries")
        return cls(
            path,
            content["options"],
            _position(path, content["position"]),
            modules,
            content.get("optimizer"),
            random_states,
        )

    def weights_of(self, name: str) -> WeightFile:
        """The weights of a model.

        Raises:
            UserError: there are none.
        """
        if not isinstance(self.modules.get(name), dict):
            raise UserError(f"{self.path}: a file of another script, without weights of {name!r}")
        return WeightFile.of(self.modules[name], self.path)


def load_optimizer(optimizer: torch.optim.Optimizer, state: Any) -> None:
    """Restore the state of an optimiser, whose tensors have the shapes of its parameters.

    PyTorch itself does not look at the shapes, and a step would then write beyond the end of a
    tensor.

    Args:
        optimizer: the optimiser.
        state: what its `state_dict` returned.

    Raises:
        ValueError: an entry is missing or of another type or shape; the message says which.
    """
    own = optimizer.state_dict()
    _check(isinstance(state, dict) and set(state) == set(own), "not the state of an optimiser")
    groups, states = state["param_groups"], state["state"]
    _check(isinstance(groups, list) and isinstance(states, dict), "not the state of an optimiser")
    _check(len(groups) == len(own["param_groups"]), f"{len(groups)} groups of parameters")
    groups = [_group(*both) for both in zip(groups, own["param_groups"], strict=True)]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    names = {"step", "exp_avg", "exp_avg_sq"}
    if own["param_groups"][0]["amsgrad"]:
        names.add("max_exp_avg_sq")
    for number, moments in states.items():
        _check(_is_count(number) and number < len(parameters), f"no parameter {shown(number)}")
        _check(isinstance(moments, dict) and set(moments) == names, f"entries of {number}")
        for name, tensor in moments.items():
            _check_moment(tensor, parameters[number], f"{name} of parameter {number}")
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def _group(group: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """A group of parameters as a file holds it, with what its version of PyTorch did not know."""
    _check(isinstance(group, dict) and group.get("params") == own["params"], "other parameters")
    held = {name: value for name, value in group.items() if name in own}
    for name, value in held.items():
        same = _is_number(value) and _is_number(own[name]) or type(value) is type(own[name])
        if isinstance(value, list | tuple):
            same = same and len(value) == len(own[name]) and all(map(_is_number, value))
        _check(same, f"{name} is {shown(value)}")
    return {**own, **held}


def _check_moment(tensor: Any, parameter: Tensor, name: str) -> None:
    """Require a running mean of a parameter's shape, or a number of steps."""
    shape = torch.Size() if name.startswith("step ") else parameter.shape
    found = tensor.shape if isinstance(tensor, Tensor) and tensor.is_floating_point() else None
    kind = "no dense tensor of numbers" if found is None else f"shape {tuple(found)}"
    _check(found == shape, f"{name} has {kind}, {tuple(shape)} is needed")


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


def _require(path: Path, entry: str, condition: bool, needed: str) -> None:
    if not condition:
        raise UserError(f"{path}: damaged or edited: {needed} needed as {entry!r}")


def _position(path: Path, content: Mapping[Any, Any]) -> Position:
    """The position in a file, each entry of the type that a run writes."""
    checks = {
        "epoch": (_is_count(content.get("epoch", 1), low=1), "a number from 1 on"),
        "step": (_is_count(content.get("step", 0)), "a number from 0 on"),
        "loss_sum": (_is_number(content.get("loss_sum", 0)), "a number"),
        "term_sums": (_are_sums(content.get("term_sums", {})), "a sum and a number of each term"),
        "seconds": (_is_number(content.get("seconds", 0)), "a number"),
        "best": (_is_number(content.get("best", 0), infinite=True), "a number"),
        "best_files": (_are_names(content.get("best_files", {})), "names of files"),
        "history": (_are_records(content.get("history", [])), "a list of numbers by name"),
        "finished": (isinstance(content.get("finished", False), bool), "true or false"),
    }
    assert set(checks) == {entry.name for entry in fields(Position)}
    unknown = set(content) - set(checks)
    _require(path, "position", not unknown, f"no {shown(', '.join(map(str, unknown)))}")
    for entry, (sound, needed) in checks.items():
        _require(path, f"position: {entry}", sound, needed)
    return Position(**content)


def _is_count(value: Any, *, low: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < 2**62


def _is_number(value: Any, *, infinite: bool = False) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (infinite and not math.isnan(value) or math.isfinite(value))


def _are_sums(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str)
        and isinstance(sums, list)
        and len(sums) == 2
        and all(map(_is_number, sums))
        for name, sums in value.items()
    )


def _are_names(value: Any) -> bool:
    """Names of modules -> names of files in the run's own folder."""
    return isinstance(value, dict) and all(
        isinstance(what, str) and isinstance(name, str) and name and Path(name).name == name
        for what, name in value.items()
    )


def _are_records(value: Any) -> bool:
    """Records of epochs that all have the same entries; an error that is not known is NaN."""
    if not isinstance(value, list) or not all(isinstance(record, dict) for record in value):
        return False
    names = [set(record) for record in value]
    return all(
        {"epoch", "loss"} <= held and all(isinstance(name, str) for name in held) for held in names
    ) and all(isinstance(number, int | float) for record in value for number in record.values())


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)
