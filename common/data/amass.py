"""AMASS sequences, prepared by `dataset/prepare_amass.py`, -> a pose store of 16 joints."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from common.data.base import DataOptions, DataSet, FileClip, FileFormat, Stores
from common.data.detections import Detections, GapFilling
from common.data.npz import float_tensor, integer, load_dictionary, pose_array
from common.data.pose_ops import with_zero_root
from common.data.pose_store import SequenceName, Source, build_store
from common.data.skeleton import H36M_16
from common.data.units import wrong_length_unit
from common.data.windows import WindowRule
from common.errors import UserError, shown

FILE = "amass.npz"
FRAME_RATE = 25  # that dataset/prepare_amass.py writes
MOST_FRAMES = 2**31


def window_rule(rule: WindowRule) -> WindowRule:
    """Windows lie inside their sequence, have frame step 1 and are not mirrored."""
    return replace(rule, frame_step=1, inside=True, mirror=False)


def load(options: DataOptions) -> Stores:
    """Training poses of a data folder; AMASS has no test poses here.

    Returns:
        The training store, if wanted; its roots are at 0 and it has no cameras.

    Raises:
        UserError: the file is missing or not in the format; the message names the place.
    """
    if not options.train:
        return Stores(None, None)
    path = options.root / FILE
    poses = load_dictionary(path, "poses")
    if not poses:
        raise UserError(f"{path}: no sequences in it")
    gaps = GapFilling(options.max_gap)
    sources = [_source(path, name, entry, gaps) for name, entry in poses.items()]
    store = build_store(sources, H36M_16, options.reduction, path_2d=path, path_3d=path)
    gaps.log(path, sequences=len(store.names), left_out=store.undetected)
    return Stores(store, None)


def _source(path: Path, name: str, entry: Any, gaps: GapFilling) -> Source:
    where = f"{path}: {shown(name)}"
    screen = pose_array(entry, "pose2d", joints=16, coordinates=2, where=where)
    space = pose_array(entry, "pose3d", joints=16, coordinates=3, where=where)
    length = len(space)
    if "length" in entry:
        length = integer(entry["length"], f"{where}: 'length'", low=1, high=MOST_FRAMES)
    if length > min(len(screen), len(space)):
        raise UserError(f"{where} says {length} frames and holds {len(space)}")
    if reason := wrong_length_unit(space):
        raise UserError(f"{where}: {reason}")

    def read(kept: slice) -> tuple[Tensor, Tensor]:
        detections = Detections.of(screen[:length], zero_is_missing=False)
        filled = gaps.fill(detections, name=name, frame_rate=FRAME_RATE)
        return float_tensor(filled.xy[kept]), with_zero_root(float_tensor(space[:length][kept]))

    return Source(SequenceName("AMASS", name, 0), length, read)


def _file_clips(poses: Mapping[str, Any], path: Path) -> Iterator[FileClip]:
    for name, entry in poses.items():
        if not isinstance(entry, dict):
            raise UserError(f"{path}: {shown(name)} is not a dictionary of 'pose2d', 'pose3d'")
        two, three = entry.get("pose2d"), entry.get("pose3d")
        yield FileClip("AMASS", str(name), two, three, box=(-1.0, -1.0, 1.0, 1.0))


DATA_SET = DataSet(
    name="amass",
    title="AMASS",
    load=load,
    frame_rate=FRAME_RATE,
    skeletons={16: H36M_16},
    table=None,
    window_rule=window_rule,
    file_formats=(FileFormat("poses", "poses in AMASS's format", _file_clips),),
)
