"""Models of ONNX files, run without the code of the networks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError, shown
from common.inference.model_info import ModelInfo, Network, read_info
from common.optional import optional

METADATA_KEY = "mpm"


def load_onnx(path: Path, *, rate: float | None = None) -> tuple[ModelInfo, Network]:
    """A lifting model of an ONNX file that `common.export` wrote.

    Args:
        path: the file; it holds its own description.
        rate: see `read_info`.

    Returns:
        Its description, and what to call.

    Raises:
        UserError: the file cannot be read, was not written here, or a library is missing.
    """
    runtime = optional("onnxruntime", needed_by="an ONNX model")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # which prints, and tries the same again
        )
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")
    except Exception as error:  # the library raises its own exceptions, of many classes
        raise UserError(f"{path}: not an ONNX model ({type(error).__name__})") from None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise UserError(
            f"{path}: not written by python -m common.export: it does not say what it is"
        )
    info = read_info(record, path, rate=rate)
    _check_inputs(session, info)
    return info, _network(session, info)


def _check_inputs(session: Any, info: ModelInfo) -> None:
    """Require the inputs that the description tells."""
    windows = [info.rule.frames, info.skeleton.num_joints]
    wanted = {"pose_2d": [*windows, 2]} | ({"hidden": windows} if info.hides_joints else {})
    found = {entry.name: list(entry.shape[1:]) for entry in session.get_inputs()}
    if found != wanted:
        raise UserError(
            f"{info.path}: its inputs are {shown(found)}, its description says {wanted}"
        )


def _network(session: Any, info: ModelInfo) -> Network:
    def network(poses: Tensor, hidden: Tensor | None, windows: Tensor) -> Tensor:
        inputs = {"pose_2d": poses[:, windows].flatten(0, 1).numpy()}
        if info.hides_joints:
            assert hidden is not None
            inputs["hidden"] = hidden[:, windows].flatten(0, 1).numpy()
        try:
            (found,) = session.run(["pose_3d"], inputs)
        except Exception as error:  # a damaged graph may load and fail later
            raise UserError(f"{info.path}: the model does not run: {shown(error)}") from None
        shape = (len(inputs["pose_2d"]), info.skeleton.num_joints, 3)
        if found.shape != shape or found.dtype != np.float32:
            raise UserError(
                f"{info.path}: the model gives {found.dtype} {found.shape}, not poses {shape}"
            )
        return torch.from_numpy(found)

    return network
