"""Read and write weights in the released format, and the state of a run."""

import io
import os
import re
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

WRAPPER_KEYS = ("state_dict", "model_state_dict", "model", "model_pos", "net", "weights", "model_G")
RECORD_KEY = "mpm"


def save_torch(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values; `load_torch` reads them back."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def load_torch(path: str | Path) -> Any:
    """Read a file of `torch.save` without running code from it.

    Raises:
        UserError: it is missing, a directory, damaged, or holds more than tensors and plain values.
    """
    if os.path.isdir(path):
        raise UserError(f"{path} is a directory, a checkpoint file is needed")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except Exception as error:  # damaged bytes surface as almost any exception of the decoders
        text = str(error)
        if re.search("unsupported (global|class)", text, re.IGNORECASE):
            name = re.split(" was not| not | whose ", text.split("GLOBAL ", 1)[-1], maxsplit=1)[0]
            raise UserError(f"{path}: refused, it holds more than tensors: {shown(name)}") from None
        raise UserError(f"{path}: not a checkpoint, or damaged ({type(error).__name__})") from None


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
            UserError: there is none.
        """
        for key in WRAPPER_KEYS:
            if isinstance(content, dict) and isinstance(content.get(key), dict):
                content = content[key]
        if not isinstance(content, dict) or not content:
            raise UserError(f"{path}: holds no state dict")
        if not all(isinstance(name, str) and isinstance(t, Tensor) for name, t in content.items()):
            raise UserError(f"{path}: holds no state dict, but {', '.join(map(str, content))[:80]}")
        state = {name.removeprefix("module."): tensor for name, tensor in content.items()}
        invalid = [name for name, tensor in state.items() if not tensor.isfinite().all()]
        if invalid:
            raise UserError(
                f"{path}: NaN or infinity in {len(invalid)} of its {len(state)} tensors: "
                f"{listing(invalid)}"
            )
        metadata = getattr(content, "_metadata", None)
        record = metadata.get(RECORD_KEY) if isinstance(metadata, dict) else None
        return cls(path, state, record if isinstance(record, dict) else {})

    def flags(self) -> dict[str, int]:
        """The flags that decide the shapes of its lifter or masked model, as far as seen."""
        return describe_size(self.state)


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
    found, wanted = file.state, module.state_dict()
    mismatched = [n for n in wanted if n in found and found[n].shape != wanted[n].shape]
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    if missing or unexpected or mismatched:
        sizes = _differing_flags(found, wanted)
        shapes = [f"{n} {_size(found[n])} for {_size(wanted[n])}" for n in mismatched]
        lists = [
            f"{len(names)} {what}: {listing(names)}"
            for what, names in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", shapes),
            )
            if names
        ]
        raise UserError(f"{file.path} does not fit this model: {'; '.join([*sizes, *lists])}")
    module.load_state_dict(found)


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
    found, wanted = file.state, module.state_dict()
    matching = {
        name: tensor
        for name, tensor in found.items()
        if name in wanted and wanted[name].shape == tensor.shape
    }
    if not matching:
        raise UserError(
            f"{file.path}: none of its {len(found)} tensors fits this model; it begins with "
            f"{listing(list(found))}"
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
