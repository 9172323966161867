"""What inference has to know of a model: its windows, their rate, its skeleton, its input."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from common.data.h36m import FRAME_RATE
from common.data.skeleton import H36M_16, H36M_17, Skeleton
from common.data.windows import WindowRule
from common.errors import UserError, shown

PUBLISHED_FRAME_STEP = 2  # of the published commands for Human3.6M
LIFTING_TASKS = ("lift", "onlylift", "comp2dlift")
COMPLETION_TASKS = ("comp3d",)
MAX_FRAMES = 10_000  # of a window; a file that asks for more is not one of ours
# Poses (S, L, J, 2) in S versions of L frames, what is hidden of them (S, L, J) or None, windows
# (B, T) as frame numbers -> the target pose of each window and version (S * B, J, 3).
Network = Callable[[Tensor, Tensor | None, Tensor], Tensor]
_BY_JOINTS = {skeleton.num_joints: skeleton for skeleton in (H36M_17, H36M_16)}


@dataclass(frozen=True)
class ModelInfo:
    """A model as its file describes it.

    Attributes:
        path: the file, for messages.
        kind: "lifter" or "masked".
        task: "lift" for a lifter; of a masked model what it was trained for, "" if not known.
        rule: its windows: T frames, frame step, target frame.
        frame_rate: of the poses that it was trained on, frames per second.
        skeleton: of its poses.
        normalisation: how pixels become its input, one of `common.data.camera.NORMALISATIONS`.
        assumed: what the file does not say and was assumed, in words.
    """

    path: Path
    kind: str
    task: str
    rule: WindowRule
    frame_rate: float
    skeleton: Skeleton
    normalisation: str
    assumed: tuple[str, ...] = field(default=())

    @property
    def seconds(self) -> np.ndarray:
        """(T,) float64, the time of each frame of a window relative to its target frame."""
        steps = np.arange(self.rule.frames) - self.rule.target
        return steps * (self.rule.frame_step / self.frame_rate)

    @property
    def hides_joints(self) -> bool:
        """Whether missing joints can be hidden from it."""
        return self.kind == "masked"

    def require(self, tasks: tuple[str, ...], purpose: str) -> None:
        """Refuse a model that was trained for something else.

        Raises:
            UserError: names what it was trained for.
        """
        if self.task and self.task not in tasks:
            raise UserError(
                f"{self.path}: trained for {self.task!r}; {purpose} needs a model of "
                f"{' or '.join(map(repr, tasks))}"
            )

    def record(self) -> dict[str, Any]:
        """Plain values that `read_info` reads back."""
        return {
            "model": self.kind,
            "task": self.task,
            "frames": self.rule.frames,
            "frame_step": self.rule.frame_step,
            "causal": int(self.rule.causal),
            "frame_rate": self.frame_rate,
            "n_joints": self.skeleton.num_joints,
            "normalise": self.normalisation,
        }


def read_info(record: Mapping[str, Any], path: Path, *, rate: float | None = None) -> ModelInfo:
    """Read the description of a model, whatever stands in it.

    Args:
        record: of a weight file or an ONNX file; "model", "frames" and "n_joints" are needed, the
            rest has defaults.
        path: the file.
        rate: window frames per second where the user says so, which decides.

    Returns:
        The description.

    Raises:
        UserError: an entry is not what it should be.
    """
    kind = record.get("model")
    if kind not in ("lifter", "masked"):
        raise UserError(
            f"{path}: its record tells no kind of model (lifter or masked): {shown(kind)}"
        )
    task = record.get("task", "lift" if kind == "lifter" else "")
    frames = _integer(record, "frames", path)
    joints = _integer(record, "n_joints", path)
    if joints not in _BY_JOINTS:
        raise UserError(f"{path}: poses of {joints} joints; there are models of 16 and 17")
    assumed = []
    step, frame_rate = (
        record.get("frame_step", record.get("t_downsample")),
        record.get("frame_rate"),
    )
    if rate is not None:
        step, frame_rate = 1, rate
    if step is None:
        step = PUBLISHED_FRAME_STEP
        assumed.append(f"frame step {step}, as in the published commands")
    if frame_rate is None:
        frame_rate = float(FRAME_RATE)
        assumed.append(f"trained at {FRAME_RATE:g} frames/s, as Human3.6M")
    return ModelInfo(
        path=path,
        kind=kind,
        task=str(task),
        rule=WindowRule(
            frames,
            _integer({"frame_step": step}, "frame_step", path),
            causal=bool(record.get("causal", 0)),
        ),
        frame_rate=_rate(frame_rate, path),
        skeleton=_BY_JOINTS[joints],
        normalisation=str(record.get("normalise", "width")),
        assumed=tuple(assumed),
    )


def _integer(record: Mapping[str, Any], key: str, path: Path) -> int:
    value = record.get(key)
    if not isinstance(value, int) or not 0 < value <= MAX_FRAMES:
        raise UserError(f"{path}: its record has no sound {key!r}: {shown(value)}")
    return value


def _rate(value: Any, path: Path) -> float:
    if isinstance(value, int | float) and 0 < value <= MAX_FRAMES:  # neither NaN nor infinite
        return float(value)
    raise UserError(f"{path}: its record has no sound 'frame_rate': {shown(value)}")
