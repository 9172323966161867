"""Models of weight files, behind the one interface that inference calls."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from common.errors import UserError
from common.inference.model_info import ModelInfo, Network, read_info
from common.tasks.lifting import SIZE_FLAGS, load_lifter
from common.training.checkpoint import WeightFile, load_whole
from model.build import Lifter, ModelSize, build_masked_model
from model.masked_pose import MaskedPoseModel

DECODER_BLOCKS = "decoder3d.model.layers."


def load_weights(
    path: Path, device: torch.device, *, rate: float | None = None
) -> tuple[ModelInfo, Network]:
    """A lifter or a masked model from its weight file alone.

    Args:
        path: weights, published or ours.
        device: where it computes.
        rate: see `read_info`.

    Returns:
        Its description, and what to call.

    Raises:
        UserError: the file cannot be read, or holds no such model.
    """
    info, module = load_module(path, rate=rate)
    module.to(device)
    return info, _lifter_network(module) if info.kind == "lifter" else _masked_network(module, info)


def load_completer(
    path: Path, device: torch.device, *, rate: float | None = None
) -> tuple[ModelInfo, Network]:
    """A masked model that completes 3D poses (S, L, J, 3); see `load_weights`.

    Raises:
        UserError: the file holds no masked model.
    """
    info, module = load_module(path, rate=rate)
    if info.kind != "masked":
        raise UserError(f"{path}: a lifter; --complete needs a model trained with --comp3d")
    module.to(device)

    def network(poses: Tensor, hidden: Tensor | None, windows: Tensor) -> Tensor:
        assert hidden is not None
        pose, mask = (x[:, windows].flatten(0, 1) for x in (poses, hidden))
        return module(pose_3d=pose, joint_mask_3d=mask)[2][:, info.rule.target]

    return info, network


def load_module(path: Path, *, rate: float | None = None) -> tuple[ModelInfo, nn.Module]:
    """The same, as a module in evaluation mode."""
    file = WeightFile.load(path)
    info = read_info(_record(file), path, rate=rate)
    return info, load_lifter(path) if info.kind == "lifter" else load_masked(file)


def load_masked(file: WeightFile) -> MaskedPoseModel:
    """A masked model from its weight file alone, in evaluation mode.

    Raises:
        UserError: the file does not fit one.
    """
    held = file.flags()
    missing = [flag for flag in SIZE_FLAGS if flag not in held]
    if missing:
        raise UserError(f"{file.path}: its tensors do not tell {', '.join(missing)}")
    blocks = {n.split(".")[3] for n in file.state if n.startswith(DECODER_BLOCKS)}
    size = ModelSize(*(held[flag] for flag in SIZE_FLAGS))
    model = build_masked_model(size, decoder_depth=len(blocks))
    load_whole(model, file)
    return model.eval()


def _record(file: WeightFile) -> dict[str, Any]:
    """What the file records, with what its tensors tell."""
    kind = "masked" if "spatial_mask_token2d" in file.state else "lifter"
    record = {"model": kind, **file.record, **file.flags()}
    missing = [flag for flag in SIZE_FLAGS if flag not in record]
    if missing:
        raise UserError(
            f"{file.path}: neither a lifter nor a masked model, its tensors do not tell "
            f"{', '.join(missing)}"
        )
    return record


def _lifter_network(module: nn.Module) -> Network:
    lifter = cast(Lifter, module)

    def network(poses: Tensor, hidden: Tensor | None, windows: Tensor) -> Tensor:
        assert hidden is None
        return lifter(poses, windows, with_sequence=False)[0].squeeze(1)

    return network


def _masked_network(module: nn.Module, info: ModelInfo) -> Network:
    """A masked model that lifts."""

    def network(poses: Tensor, hidden: Tensor | None, windows: Tensor) -> Tensor:
        assert hidden is not None
        pose, mask = (x[:, windows].flatten(0, 1) for x in (poses, hidden))
        return module(pose, mask, lift=True)[1][:, info.rule.target]

    return network
