"""Complete 3D motion with missing joints, by a masked model that was trained with --comp3d."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.data.detections import Detections, interpolate
from common.data.keypoint_files import frame_rate
from common.data.npz import described, load_npy, load_npz, making_sense, numbers, numeric_shape
from common.data.skeleton import H36M_16, H36M_17, Skeleton
from common.data.units import wrong_length_unit
from common.errors import UserError, shown
from common.inference.arrays import checked_time
from common.inference.lifting import Clip, lift_clip, runs
from common.inference.missing import (
    MIN_SEEN,
    Filled,
    fill_masked,
    longest_step,
)
from common.inference.model_info import COMPLETION_TASKS
from common.inference.models import LiftingModel, choose_device
from common.inference.motion import Motion, PinholeCamera, State
from common.log import LOG

ENTRIES = ("poses_3d", "positions_3d", "pose_3d", "poses")
# Axes of the input in words -> rotation to x right, y down, z forward.
AXES = {
    "y down": np.eye(3),
    "z up": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "y up": np.diag([1.0, -1, -1]),
}
LOWER_BODY, UPPER_BODY = ("foot", "knee", "hip"), ("head", "neck", "thorax", "shoulder")
UP = {"y down": (1, -1), "z up": (2, 1), "y up": (1, 1)}  # axis and sign of what is up
TO_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # of y down to z up
NO_CAMERA = PinholeCamera((1000, 1000), (1000.0, 1000.0), (500.0, 500.0), assumed=True)


@dataclass(frozen=True)
class Incomplete:
    """3D motion that lacks joints.

    Attributes:
        poses: (L, J, 3) metres, NaN where missing.
        time: (L,) float64 seconds.
        skeleton: of the poses.
    """

    poses: np.ndarray
    time: np.ndarray
    skeleton: Skeleton


def load_completion(
    path: Path, *, device: str = "auto", flip: bool = True, rate: float | None = None
) -> LiftingModel:
    """Load a model that completes 3D motion; see `load_model`.

    Raises:
        UserError: it was trained for something else.
    """
    from common.inference.networks import load_completer

    chosen = choose_device(device)
    info, network = load_completer(path, chosen, rate=rate)
    info.require(COMPLETION_TASKS, "--complete")
    return LiftingModel(info, network, chosen, flip)


def complete_file(
    path: Path,
    model: LiftingModel,
    *,
    fps: float | None,
    max_gap: float,
    record: dict[str, str] | None = None,
) -> Motion:
    """Complete the 3D motion of a file.

    Args:
        path: .npz or .npy with (frames, 17 or 16, 3) metres, NaN where missing.
        model: of `load_completion`.
        fps: frames per second; None to take them from the file.
        max_gap: the longest stretch of empty frames to bridge, in seconds.
        record: plain strings for `Motion.record`.

    Returns:
        The motion; what was given is unchanged in `world_3d` where the input has z up.

    Raises:
        UserError: the file holds no such motion.
    """
    incomplete = read_incomplete(path, fps)
    joints = incomplete.skeleton.num_joints
    if joints != model.info.skeleton.num_joints:
        raise UserError(
            f"{path}: {joints} joints; {model.info.path} completes poses of "
            f"{model.info.skeleton.num_joints}"
        )
    return complete(incomplete, model, max_gap=max_gap, record=record)


def read_incomplete(path: Path, fps: float | None) -> Incomplete:
    """Read 3D motion with missing joints.

    Raises:
        UserError: there is none, in another unit, or without a frame rate.
    """
    content: dict[str, Any] = (
        {"poses_3d": load_npy(path)} if path.suffix == ".npy" else load_npz(path)
    )
    entry = next((name for name in ENTRIES if name in content), None)
    if entry is None:
        held = shown(", ".join(content))
        raise UserError(f"{path}: no entry {' or '.join(ENTRIES)} in it ({held})")
    shape = numeric_shape(content[entry])
    if len(shape) != 3 or not shape[0] or shape[1] not in (16, 17) or shape[2] != 3:
        raise UserError(f"{path}: {entry!r} has shape {shape}, (frames, 17 or 16, 3) is needed")
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is missing
        poses = np.array(content[entry], dtype=np.float64)
        root = content.get("root_3d")
        if numeric_shape(root) == (shape[0], 3):
            poses = poses + np.asarray(root)[:, None]
    poses[~np.isfinite(poses).all(-1)] = np.nan
    if reason := wrong_length_unit(poses):
        raise UserError(f"{path}: {reason}")
    stamps = content.get("time") if fps is None else None
    if fps is None and stamps is None:
        if content.get("fps") is None:
            raise UserError(f"{path}: no 'time' in it: --fps, frames per second, is needed")
        fps = frame_rate(content["fps"], f"{path}: 'fps'")
    seconds = None if fps else numbers(stamps)
    if fps is None and seconds is None:
        raise UserError(f"{path}: 'time' {described(stamps)}, seconds of each frame are needed")
    with making_sense(str(path), "seconds of each frame"):
        time = checked_time(shape[0], fps, seconds)
    return Incomplete(poses, time, H36M_17 if shape[1] == 17 else H36M_16)


def complete(
    incomplete: Incomplete,
    model: LiftingModel,
    *,
    max_gap: float,
    record: dict[str, str] | None = None,
) -> Motion:
    """Fill in the missing joints of 3D motion; see `complete_file`.

    Raises:
        UserError: no frame has enough joints.
    """
    axes = find_axes(incomplete)
    LOG.info("the motion is taken to have %s", axes)
    poses = incomplete.poses @ AXES[axes].T
    root = _root(poses, incomplete.skeleton, incomplete.time, max_gap)
    seen = np.isfinite(poses).all(-1) & np.isfinite(root).all(-1)[:, None]
    relative = np.where(seen[..., None], poses - root[:, None], np.nan)
    relative[:, 0] = np.where(np.isfinite(root), 0.0, np.nan)
    found = Detections(relative, seen.astype(np.float64), seen)
    filled = fill_masked(found, incomplete.time, max_gap=max_gap)
    if not filled.usable.any():
        raise UserError(
            f"none of {len(poses)} frames has the joints that are needed: the root or both hips, "
            f"and {MIN_SEEN} joints"
        )
    completed = _complete(filled, incomplete.time, model, max_gap)
    absolute = completed + root[:, None]
    absolute = np.where((filled.state == State.SEEN)[..., None], poses, absolute)
    root = np.where(filled.usable[:, None], root, np.nan)
    joints = incomplete.skeleton.num_joints
    return Motion(
        name="1",
        skeleton=incomplete.skeleton,
        time=incomplete.time,
        poses_3d=(absolute - root[:, None]).astype(np.float32),
        root_3d=root.astype(np.float32),
        world_3d=(absolute @ TO_WORLD.T).astype(np.float32),
        keypoints_2d=np.full((*absolute.shape[:2], 2), np.nan, np.float32),
        confidence=seen.astype(np.float32),
        state=filled.state,
        derived=np.zeros(joints, bool),
        camera=NO_CAMERA,
        record=dict(record or {}),
    )


def find_axes(incomplete: Incomplete) -> str:
    """What is up in 3D motion, a key of `AXES`: the usual direction from legs to head.

    Joints that are missing, a whole leg or the head, do not count.

    Raises:
        UserError: no frame has joints of the upper and of the lower body.
    """
    names = incomplete.skeleton.joint_names
    ends = [
        [j for j, name in enumerate(names) if name.split()[-1] in wanted]
        for wanted in (LOWER_BODY, UPPER_BODY)
    ]
    lower, upper = (_mean_of_known(incomplete.poses[:, joints]) for joints in ends)
    body = (upper - lower)[np.isfinite(upper - lower).all(-1)]
    if not len(body):
        raise UserError(
            "what is up cannot be told: no frame has joints of the upper and of the lower body"
        )
    mean = np.median(body, axis=0)
    return max(UP, key=lambda name: mean[UP[name][0]] * UP[name][1])


def _mean_of_known(points: np.ndarray) -> np.ndarray:
    """The mean (L, 3) of the points (L, K, 3) that are not missing; NaN where all are."""
    known = np.isfinite(points).all(-1, keepdims=True)
    count = known.sum(1)
    return np.where(count > 0, np.where(known, points, 0).sum(1) / np.maximum(count, 1), np.nan)


def _root(poses: np.ndarray, skeleton: Skeleton, time: np.ndarray, max_gap: float) -> np.ndarray:
    """The root (L, 3): as given, else the middle of the hips, else interpolated; NaN if unknown."""
    hips = [skeleton.joint_names.index(f"{side} hip") for side in ("left", "right")]
    root = np.where(np.isfinite(poses[:, :1]), poses[:, :1], poses[:, hips].mean(1)[:, None])
    seen = np.asarray(np.isfinite(root).all(-1))
    found = Detections(np.where(seen[..., None], root, np.nan), seen.astype(float), seen)
    return interpolate(found, max_gap=max_gap, time=time).xy[:, 0]


def _complete(filled: Filled, time: np.ndarray, model: LiftingModel, max_gap: float) -> np.ndarray:
    """Root-relative poses (L, J, 3) of every usable frame; NaN elsewhere."""
    assert filled.hidden is not None
    completed = np.full(filled.keypoints.shape, np.nan, np.float32)
    for part in runs(filled.usable, time, longest_step=longest_step(max_gap, time)):
        pose = torch.from_numpy(filled.keypoints[part].astype(np.float32))
        clip = Clip(pose, torch.from_numpy(filled.hidden[part]), time[part])
        completed[part] = lift_clip(model, clip)
        completed[part] = np.where(
            filled.hidden[part][..., None], completed[part], filled.keypoints[part]
        )
    return completed
