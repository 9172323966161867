"""Read and write weights in the released format, and the state of a run."""

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import UserError, listing
from common.files import write_atomically

WRAPPER_KEYS = ("state_dict", "model_state_dict", "model", "model_pos", "net", "weights", "model_G")


def save_torch(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values; `load_torch` reads them back."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
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
            raise UserError(f"{path}: refused, it holds more than tensors: {name}") from None
        raise UserError(f"{path}: not a checkpoint, or damaged ({type(error).__name__})") from None


def load_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a weights file, flat or wrapped, without `module.`.

    Raises:
        UserError: the file cannot be read or holds no state dict.
    """
    return state_dict_of(load_torch(path), path)


def state_dict_of(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The state dict in what a weights file holds, flat or wrapped, without `module.`.

    Args:
        content: of the file.
        path: the file, for messages.

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
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def released_format(module: nn.Module) -> dict[str, Tensor]:
    """The state dict of a model under the names of released files, `module.` in front, on CPU."""
    return {f"module.{name}": t.detach().cpu() for name, t in module.state_dict().items()}


def load_whole(module: nn.Module, path: str | Path) -> None:
    """Load every tensor of a model.

    Args:
        module: the model.
        path: weights file.

    Raises:
        UserError: as `load_state_dict` and `fill`.
    """
    fill(module, load_state_dict(path), path)


def fill(module: nn.Module, found: Mapping[str, Tensor], path: str | Path) -> None:
    """Give a model every tensor of a state dict.

    Args:
        module: the model.
        found: the state dict, without `module.`.
        path: the file that it is from, for messages.

    Raises:
        UserError: the file's model is of another size (told in terms of flags), or tensors are
            missing, unexpected or of another shape (named).
    """
    wanted = module.state_dict()
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
        raise UserError(f"{path} does not fit this model: {'; '.join([*sizes, *lists])}")
    module.load_state_dict(found)


def load_matching(module: nn.Module, path: str | Path) -> str:
    """Take over the tensors whose names and shapes match: from a pre-trained model, say.

    Args:
        module: the model.
        path: weights file.

    Returns:
        A report: how many tensors of which parts were taken over, and what was not.

    Raises:
        UserError: none match.
    """
    found, wanted = load_state_dict(path), module.state_dict()
    matching = {
        name: tensor
        for name, tensor in found.items()
        if name in wanted and wanted[name].shape == tensor.shape
    }
    if not matching:
        raise UserError(
            f"{path}: none of its {len(found)} tensors fits this model; it begins with "
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
        f"{path}: {len(matching)} of the model's {len(wanted)} tensors taken over ({parts}), "
        f"{len(found) - len(matching)} of the file's left{note}"
    )


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
        if name in state and state[name].dim():
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
