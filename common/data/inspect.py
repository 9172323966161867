"""What a data file holds and whether it is sound."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.data.base import FileClip
from common.data.detections import Detections
from common.data.keypoint_files import frame_rate, told_layout
from common.data.npz import load_npz, making_sense, named, numbers, numeric_shape
from common.data.registry import DATA_SETS
from common.data.units import wrong_length_unit, wrong_pixels
from common.errors import UserError, shown

MUCH_OUTSIDE = 0.05  # share of joints outside the image that is worth a note


def read_clips(path: Path) -> tuple[str, list[FileClip]]:
    """Read a data file of any of the formats.

    Args:
        path: an .npz file.

    Returns:
        What kind of file it is; its sequences.

    Raises:
        UserError: it cannot be read, or is of no known kind.
    """
    content = load_npz(path)
    where = shown(path)
    formats = [known for data_set in DATA_SETS.values() for known in data_set.file_formats]
    for known in formats:
        if isinstance(content.get(known.key), dict):
            with making_sense(f"{where}: {known.key!r}", known.kind):
                held = named(content[known.key], f"{where}: {known.key!r}")
                clips = [_as_arrays(clip) for clip in known.read(held, path)]
            if not clips:
                raise UserError(f"{where}: {known.key!r} holds no sequences")
            layout = told_layout(content.get("metadata"), str(path))
            if layout is None or layout.is_ours:
                return known.kind, clips
            kind = f"{known.kind}, joints in the order {layout.name!r}"
            return kind, [replace(clip, to_skeleton=layout.pose_to_ours) for clip in clips]
    keys = ", ".join(repr(known.key) for known in formats)
    raise UserError(f"{path}: no dictionary {keys} in it, but {shown(', '.join(content))}")


def _as_arrays(clip: FileClip) -> FileClip:
    """A clip with lists as arrays; its 2D joints NaN where they were not detected."""
    arrays = {name: numbers(poses) for name, poses in clip.poses.items()}
    pose_2d, pose_3d = (
        held if arrays.get(name) is None else arrays[name]
        for name, held in (("2D", clip.pose_2d), ("3D", clip.pose_3d))
    )
    fps = None if clip.fps is None else frame_rate(clip.fps, f"{clip.name}: its frame rate")
    clip = replace(clip, pose_2d=pose_2d, pose_3d=pose_3d, fps=fps, name=shown(clip.name))
    shape = numeric_shape(pose_2d)
    if pose_2d is None or len(shape) != 3 or shape[2] not in (2, 3) or 0 in shape:
        return clip
    in_pixels = clip.box is None or clip.box[0] == 0
    detections = Detections.of(pose_2d, zero_is_missing=in_pixels)
    return replace(clip, pose_2d=detections.xy, missing_share=detections.missing_share)


def summary_lines(clips: list[FileClip]) -> list[str]:
    """One line per subject: sequences, frames, rate, joints, ranges."""
    head = f"{'subject':<9}{'sequences':>10}{'frames':>9}{'shortest':>9}  "
    lines = [head + "frames/s  joints  ranges of x, y (, z)"]
    for subject in dict.fromkeys(clip.subject for clip in clips):
        mine = [clip for clip in clips if clip.subject == subject]
        lengths = [max(map(_length, clip.poses.values()), default=0) for clip in mine]
        rates = sorted({f"{clip.fps:g}" if clip.fps else "unknown" for clip in mine})
        joints = {str((*numeric_shape(p), 0, 0)[1]) for clip in mine for p in clip.poses.values()}
        line = f"{shown(subject):<9}{len(mine):>10}{sum(lengths):>9}{min(lengths):>9}  "
        line += f"{','.join(rates):<8}  {','.join(sorted(joints)):<6}"
        for name in ("2D", "3D"):
            arrays = [clip.poses[name] for clip in mine if _has_poses(clip, name)]
            line += f"  {name} {_ranges(arrays)}" if arrays else ""
        lines.append(line)
    return lines


def _shape(clip: FileClip, name: str) -> tuple[int, ...]:
    return numeric_shape(clip.poses.get(name))


def _has_poses(clip: FileClip, name: str) -> bool:
    shape = _shape(clip, name)
    return len(shape) == 3 and min(shape) > 0 and shape[2] == int(name[0])


def _length(poses: Any) -> int:
    return (*numeric_shape(poses), 0)[0]


def _ranges(arrays: list[np.ndarray]) -> str:
    known = [array for array in arrays if not np.isnan(array).all()]
    if not known:
        return "not known"
    low = np.nanmin([np.nanmin(array, axis=(0, 1)) for array in known], axis=0)
    high = np.nanmax([np.nanmax(array, axis=(0, 1)) for array in known], axis=0)
    return ", ".join(f"{a:.4g} to {b:.4g}" for a, b in zip(low, high, strict=True))


def known_joints() -> set[int]:
    """Numbers of joints that files have: those of MPI-INF-3DHP (17) and of every data set."""
    return {17} | {number for data_set in DATA_SETS.values() for number in data_set.skeletons}


def check(clip: FileClip) -> Iterator[str]:
    """What is wrong with a sequence, one sentence each; frames and joints count from 0."""
    if not clip.poses:
        yield f"{clip.name}: no poses"
    lengths = {}
    for name, poses in clip.poses.items():
        shape, coordinates = numeric_shape(poses), int(name[0])
        if (
            len(shape) != 3
            or not shape[0]
            or shape[1] not in known_joints()
            or shape[2] != coordinates
        ):
            yield f"{clip.name}: {name} poses of shape {shape}"
            continue
        lengths[name] = shape[0]
        yield from _check_numbers(clip, name, poses)
    if lengths.get("2D", 0) < lengths.get("3D", 0) and "2D" in lengths:
        yield f"{clip.name}: {lengths['2D']} frames of 2D for {lengths['3D']} of 3D"


def _check_numbers(clip: FileClip, name: str, poses: np.ndarray) -> Iterator[str]:
    if name == "3D" and np.isnan(poses).all():
        return  # no 3D known
    bad = np.argwhere(np.isinf(poses) if name == "2D" else ~np.isfinite(poses))
    if len(bad):
        frame, joint, _ = bad[0]
        yield f"{clip.name}: {name} is {poses[tuple(bad[0])]} in frame {frame}, joint {joint}"
        return
    reason = ""
    if name == "3D":
        reason = wrong_length_unit(poses, units_per_metre=clip.units_per_metre)
    elif clip.box is not None and clip.box[0] == 0:  # pixels of an image
        reason = wrong_pixels(poses, *clip.box[2:])
    if reason:
        yield f"{clip.name}: {reason}"


def not_detected(clip: FileClip) -> Iterator[str]:
    """A note on a sequence some of whose 2D joints were not detected."""
    if clip.missing_share:
        yield f"{clip.name}: {clip.missing_share:.2%} of the 2D joints not detected"


def outside_the_image(clip: FileClip) -> Iterator[str]:
    """A note on a sequence many of whose 2D joints lie outside the image."""
    if clip.box is None or not _has_poses(clip, "2D"):
        return
    poses = clip.poses["2D"]
    outside = ((poses < np.array(clip.box[:2])) | (poses > np.array(clip.box[2:]))).any(-1)
    if outside.mean() > MUCH_OUTSIDE:
        frame, joint = np.argwhere(outside)[0]
        x, y = poses[frame, joint]
        yield (
            f"{clip.name}: {outside.mean():.0%} of the joints outside the image, the first in "
            f"frame {frame}, joint {joint}: {x:.4g}, {y:.4g}"
        )


def clip_length(clip: FileClip) -> int:
    """The number of frames that all of its poses have."""
    return min(map(_length, clip.poses.values()))
