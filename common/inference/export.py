"""Export a lifter or a masked lifting model to ONNX, with all that inference has to know of it."""

import io
import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from common.errors import FailedRun
from common.files import whole_file
from common.inference.model_info import LIFTING_TASKS, ModelInfo
from common.inference.networks import load_module
from common.inference.onnx_model import METADATA_KEY, load_onnx
from common.optional import optional

OPSET = 17
# The largest difference to PyTorch in metres that an export may have, over random windows.
TOLERANCE = 1e-4
TRIED_BATCHES = (1, 3, 32)


class _TargetLifter(nn.Module):
    """A lifter's target pose: windows (B, T, J, 2) -> (B, J, 3)."""

    def __init__(self, lifter: nn.Module) -> None:
        super().__init__()
        self.lifter = lifter

    def forward(self, pose_2d: Tensor) -> Tensor:
        """Lift windows."""
        return self.lifter(pose_2d, with_sequence=False)[0].squeeze(1)


class _TargetMasked(nn.Module):
    """A masked model's target pose: windows (B, T, J, 2), hidden (B, T, J) -> (B, J, 3)."""

    def __init__(self, model: nn.Module, target: int) -> None:
        super().__init__()
        self.model, self.target = model, target

    def forward(self, pose_2d: Tensor, hidden: Tensor) -> Tensor:
        """Lift windows."""
        return self.model(pose_2d, hidden, lift=True)[1][:, self.target]


def export_model(
    weights: Path, path: Path, *, rate: float | None = None
) -> tuple[ModelInfo, float]:
    """Write a model as ONNX, any number of windows per call, and compare it with PyTorch.

    Args:
        weights: of a lifter or a masked lifting model.
        path: the ONNX file; replaced if it exists.
        rate: see `read_info`.

    Returns:
        Its description, and the largest difference to PyTorch in metres over random windows.

    Raises:
        UserError: the weights cannot be read, or a library is missing.
        FailedRun: the exported model computes something else.
    """
    onnx = optional("onnx", needed_by="common.export")
    optional("onnxruntime", needed_by="common.export")
    info, module = load_module(weights, rate=rate)
    info.require(LIFTING_TASKS, "export")
    wrapped = _TargetMasked(module, info.rule.target) if info.hides_joints else None
    exported = wrapped or _TargetLifter(module)
    model = onnx.load_from_string(_trace(exported.eval(), info))
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(info.record())
    with whole_file(path) as stream:
        stream.write(model.SerializeToString())
        stream.flush()
        difference = largest_difference(exported, Path(stream.name), info)
        if not difference <= TOLERANCE:
            raise FailedRun(f"{path} would differ from PyTorch by {difference:.2g} m: not written")
    return info, difference


def random_windows(info: ModelInfo, batch: int, seed: int) -> tuple[Tensor, ...]:
    """Inputs of a model: windows (B, T, J, 2) and, for a masked one, what is hidden (B, T, J)."""
    rng = torch.Generator().manual_seed(seed)
    shape = (batch, info.rule.frames, info.skeleton.num_joints)
    pose = torch.randn(*shape, 2, generator=rng) * 0.5
    return (pose, torch.rand(shape, generator=rng) < 0.3) if info.hides_joints else (pose,)


def largest_difference(module: nn.Module, path: Path, info: ModelInfo) -> float:
    """The largest difference in metres of an ONNX file to its model, over random windows."""
    _, network = load_onnx(path)
    worst = 0.0
    for seed, batch in enumerate(TRIED_BATCHES):
        pose, *hidden = random_windows(info, batch, seed)
        frames = torch.arange(batch * info.rule.frames).view(batch, -1)
        mask = hidden[0].flatten(0, 1)[None] if hidden else None
        found = network(pose.flatten(0, 1)[None], mask, frames)
        with torch.inference_mode():
            worst = max(worst, float((module(pose, *hidden) - found).abs().max()))
    return worst


def _trace(module: nn.Module, info: ModelInfo) -> bytes:
    names = ["pose_2d", "hidden"] if info.hides_joints else ["pose_2d"]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # This exporter needs no further library; it is announced as the older of two, and tells
        # that shapes become constants: only the batch is to vary.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            module,
            random_windows(info, 2, 0),
            buffer,  # type: ignore[arg-type]  # this exporter takes streams
            input_names=names,
            output_names=["pose_3d"],
            dynamic_axes={name: {0: "batch"} for name in (*names, "pose_3d")},
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()
