"""Read and write weights in the released format, and the state of a run."""

import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import UserError, listing, shown
from common.files import write_atomically
from common.log import LOG
from common.training.placeholders import Skipped, skipped_names
from common.training.torch_file import load_torch

WRAPPER_KEYS = ("state_dict", "model_state_dict", "model", "model_pos", "net", "weights", "model_G")
DEEPEST_WRAPPER = 8
RECORD_KEY = "mpm"
# What torch.compile puts into names, nn.DataParallel before them, and classes around a model.
COMPILED, PARALLEL, OUTER_MODULES = "_orig_mod.", "module.", ("module.", "model.", "net.")


def save_torch(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values; `torch_file.load_torch` reads them back."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


@dataclass(frozen=True)
class WeightFile:
    """What a file of weights holds.

    Attributes:
        path: the file, for messages.
        state: the state dict, without `module.`.
        record: description of the model in files of ours (`released_format`); else empty.
    """

    path: str | Path
    state: dict[str, Tensor]
    record: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> "WeightFile":
        """Read a file, its state dict flat or wrapped.

        Raises:
            UserError: it cannot be read or holds no state dict.
        """
        return cls.of(load_torch(path), path)

    @classmethod
    def of(cls, content: Any, path: str | Path) -> "WeightFile":
        """Find the state dict in what a file holds.

        Raises:
            UserError: there is none, or NaN or infinity in it.
        """
        if isinstance(content, Skipped):
            raise UserError(
                f"{path}: holds an object of {shown(content.name)}, whose code is not run; save "
                "its weights with torch.save(model.state_dict(), FILE)"
            )
        found = _find_state(content, DEEPEST_WRAPPER)
        if found is None:
            held = f", but {shown(', '.join(map(str, content)))[:80]}" if _filled(content) else ""
            raise UserError(f"{path}: holds no state dict{held}")
        skipped = skipped_names({n: v for n, v in found.items() if _is_name(n)})
        if skipped:
            raise UserError(f"{path}: holds more than dense tensors: {shown(listing(skipped))}")
        tensors = {n: t for n, t in found.items() if isinstance(n, str) and isinstance(t, Tensor)}
        state = {_without((PARALLEL,), name): tensor for name, tensor in tensors.items()}
        if len(state) < len(tensors):
            raise UserError(f"{path}: some of its tensors have the same name without 'module.'")
        invalid = [name for name, tensor in state.items() if not tensor.isfinite().all()]
        if invalid:
            raise UserError(
                f"{path}: NaN or infinity in {len(invalid)} of its {len(state)} tensors: "
                f"{shown(listing(invalid))}"
            )
        metadata = getattr(found, "_metadata", None)
        record = metadata.get(RECORD_KEY) if isinstance(metadata, dict) else None
        return cls(path, state, record if isinstance(record, dict) else {})

    def flags(self) -> dict[str, int]:
        """The flags that decide the shapes of its lifter or masked model, as far as seen."""
        return describe_size({_without(OUTER_MODULES, name): t for name, t in self.state.items()})

    def state_for(self, module: nn.Module) -> dict[str, Tensor]:
        """The state dict under the names of a model, without those of a class around it."""
        wanted = module.state_dict()

        def name_in(name: str) -> str:
            inner = name
            while inner not in wanted and inner.startswith(OUTER_MODULES):
                inner = inner.partition(".")[2]
            return inner if inner in wanted else name

        renamed = {name_in(name): tensor for name, tensor in self.state.items()}
        return renamed if len(renamed) == len(self.state) else self.state


def _filled(content: Any) -> bool:
    return isinstance(content, Mapping) and bool(content)


def _is_name(name: Any) -> bool:
    """Whether a key is one of a tensor in a module: "part.weight"."""
    return isinstance(name, str) and "." in name


def _without(prefixes: tuple[str, ...], name: str) -> str:
    name = name.replace(COMPILED, "")
    while name.startswith(prefixes):
        name = name.partition(".")[2]
    return name


def _find_state(content: Any, depth: int) -> Mapping[Any, Any] | None:
    """The state dict in what a file holds: itself, or below keys of any names in any order."""
    if not isinstance(content, dict) or not depth:
        return None
    for key in WRAPPER_KEYS:
        if (state := _find_state(content.get(key), depth - 1)) is not None:
            return state
    named = [isinstance(value, Tensor) for key, value in content.items() if _is_name(key)]
    if any(named) or (content and all(isinstance(v, Tensor) for v in content.values())):
        return content
    below = [_find_state(value, depth - 1) for value in content.values()]
    states = [state for state in below if state is not None]
    return states[0] if len(states) == 1 else None


def released_format(
    module: nn.Module, record: Mapping[str, Any] | None = None
) -> "OrderedDict[str, Tensor]":
    """The state dict of a model under the names of released files, `module.` in front, on CPU.

    Args:
        module: the model.
        record: plain values that describe the model. They travel as PyTorch's own metadata of
            state dicts do, as an attribute: whatever reads the dictionary does not see them.
    """
    state = OrderedDict((f"module.{n}", t.detach().cpu()) for n, t in module.state_dict().items())
    if record:
        state._metadata = {RECORD_KEY: dict(record)}  # type: ignore[attr-defined]
    return state


def load_whole(module: nn.Module, file: WeightFile) -> None:
    """Load every tensor of a model.

    Args:
        module: the model.
        file: weights.

    Raises:
        UserError: the file's model is of another size (reported in terms of flags), or tensors are
            missing, unexpected or of another shape (named).
    """
    found, wanted = file.state_for(module), module.state_dict()
    mismatched = [n for n in wanted if n in found and found[n].shape != wanted[n].shape]
    # Files of old versions of PyTorch do not count batches; without momentum nothing depends on it.
    counters = {n: t for n, t in wanted.items() if n.endswith(".num_batches_tracked")}
    missing = [name for name in wanted if name not in found and name not in counters]
    unexpected = [name for name in found if name not in wanted]
    if missing or unexpected or mismatched:
        sizes = _differing_flags(found, wanted)
        shapes = [f"{n} {_size(found[n])} for {_size(wanted[n])}" for n in mismatched]
        lists = [
            f"{len(names)} {what}: {shown(listing(names))}"
            for what, names in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", shapes),
            )
            if names
        ]
        raise UserError(f"{file.path} does not fit this model: {'; '.join([*sizes, *lists])}")
    module.load_state_dict(counters | found)


def load_matching(module: nn.Module, file: WeightFile) -> str:
    """Load the tensors whose names and shapes match, from a pre-trained model for example.

    Args:
        module: the model.
        file: weights.

    Returns:
        A report: how many tensors of which parts were loaded, and what was not.

    Raises:
        UserError: none match.
    """
    found, wanted = file.state_for(module), module.state_dict()
    matching = {
        name: tensor
        for name, tensor in found.items()
        if name in wanted and wanted[name].shape == tensor.shape
    }
    if not matching:
        raise UserError(
            f"{file.path}: none of its {len(found)} tensors fits this model; it begins with "
            f"{shown(listing(list(found)))}"
        )
    module.load_state_dict(matching, strict=False)
    parts = ", ".join(
        f"{part} {_count(matching, part)}/{_count(wanted, part)}"
        for part in dict.fromkeys(name.split(".")[0] for name in wanted)
    )
    differing = _differing_flags(found, wanted)
    note = f"; note: {'; '.join(differing)}" if differing else ""
    return (
        f"{file.path}: loaded {len(matching)} of the model's {len(wanted)} tensors ({parts}); "
        f"{len(found) - len(matching)} of the file's are unused{note}"
    )


@dataclass(frozen=True)
class FirstWeights:
    """What a model starts from besides its own initialisation.

    Attributes:
        whole: a file with all weights of the model, or None.
        matching: a pre-trained file whose matching tensors are loaded, or None.
    """

    whole: WeightFile | None = None
    matching: WeightFile | None = None

    def load_into(self, module: nn.Module) -> None:
        """Load what there is.

        Raises:
            UserError: a file does not fit the model.
        """
        if self.whole is not None:
            load_whole(module, self.whole)
        elif self.matching is not None:
            LOG.info(load_matching(module, self.matching))


def describe_size(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The flags that decide the shapes of a lifter's or masked model's state dict, as far as seen.

    Returns:
        Flag -> value.
    """
    sizes = {}
    blocks = "shared_layers_temporal.model.layers."
    layers = {name.removeprefix(blocks).split(".")[0] for name in state if name.startswith(blocks)}
    if layers:
        sizes["layers"] = len(layers)
    for flag, name, size in (
        ("frames", "shared_layers_temporal.pos_embedding", lambda t: t.shape[1]),
        ("n_joints", "encoder2d.fc_1.weight", lambda t: t.shape[1] // 2),
        ("n_joints", "post_refine.3.bias", lambda t: len(t) // 2),
        ("channel", "shared_layers_spatial.fc_2.bias", lambda t: len(t)),
        ("d_hid", f"{blocks}0.feed_forward.w_1.bias", lambda t: len(t)),
    ):
        if name in state and state[name].dim() >= (1 if name.endswith("bias") else 2):
            sizes[flag] = size(state[name])
    return sizes


def _differing_flags(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    held, asked = describe_size(found), describe_size(wanted)
    return [
        f"checkpoint holds {held[flag]} {_NOUNS[flag]}, --{flag} says {asked[flag]}"
        for flag in asked
        if flag in held and held[flag] != asked[flag]
    ]


_NOUNS = {
    "layers": "layers",
    "frames": "frames",
    "n_joints": "joints",
    "channel": "channels",
    "d_hid": "feed-forward channels",
}


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _count(state: Mapping[str, Tensor], part: str) -> int:
    return sum(name.split(".")[0] == part for name in state)
