"""AMASS sequences, prepared by `dataset/prepare_amass.py`, -> a pose store of 16 joints."""

from pathlib import Path
from typing import Any

from torch import Tensor

from common.data.npz import float_tensor, load_dictionary, pose_array
from common.data.pose_ops import with_zero_root
from common.data.pose_store import PoseStore, SequenceName, Source, build_store
from common.errors import UserError

FILE = "amass.npz"
FRAME_STEP = 1  # inside its windows, whatever -tds says


def load_stores(
    *,
    root_path: str,
    num_joints: int,
    downsample: int,
    subset: float,
    max_frames: int | None,
    train: bool,
) -> tuple[PoseStore | None, None]:
    """Training poses of a data folder; AMASS has no test poses here.

    Args:
        root_path: the folder.
        num_joints: must be 16.
        downsample: keep every n-th frame.
        subset: share of each sequence.
        max_frames: keep only so many frames (`--debug`); None for all.
        train: whether training poses are wanted.

    Returns:
        The training store, on CPU, or None, and None for test poses; its roots are at 0 and it has
        no cameras.

    Raises:
        UserError: the file is missing or not in the format; the message names the place.
    """
    if num_joints != 16:
        raise UserError(f"--n_joints {num_joints}: AMASS files have 16 joints; use --n_joints 16")
    if not train:
        return None, None
    path = Path(root_path) / FILE
    poses = load_dictionary(path, "poses")
    if not poses:
        raise UserError(f"{path}: no sequences in it")
    store = build_store(
        [_source(path, name, entry) for name, entry in poses.items()],
        num_joints=num_joints,
        path_2d=path,
        path_3d=path,
        downsample=downsample,
        subset=subset,
        max_frames=max_frames,
    )
    return store, None


def _source(path: Path, name: str, entry: Any) -> Source:
    where = f"{path}: {name}"
    screen = pose_array(entry, "pose2d", joints=16, coordinates=2, where=where)
    space = pose_array(entry, "pose3d", joints=16, coordinates=3, where=where)
    length = int(entry.get("length", len(space)))
    if not 0 < length <= min(len(screen), len(space)):
        raise UserError(f"{path}: {name} says {length} frames and holds {len(space)}")

    def read(kept: slice) -> tuple[Tensor, Tensor]:
        return float_tensor(screen[:length][kept]), with_zero_root(
            float_tensor(space[:length][kept])
        )

    return Source(SequenceName("AMASS", name, 0), length, read)
