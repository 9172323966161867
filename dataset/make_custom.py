"""Keypoints of your own -> files in the format of Human3.6M's, which trainer.py reads.

Takes one file per clip and camera, <subject>_<action>.npz or <subject>_<action>_cam<k>.npz, with
`keypoints` (frames, joints, 2), pixels, or with a confidence as the third number, and, if known,
`positions_3d` (frames, 17 or 16 joints in this project's order, 3), metres in camera space. A .npy
file holds keypoints only. A joint that was not detected is NaN, 0 0 or of confidence 0; NaN is
written. Everything is checked before anything is written.
"""
# ruff: noqa: E402  (common/ is found on the path that is added first)

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

import json
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.cli.entry import run_script
from common.cli.values import at_least, frames_per_second, positive
from common.data.camera import CAMERA_FILE, PACKAGED_CAMERAS
from common.data.detections import Detections
from common.data.h36m import FRAME_RATE
from common.data.keypoint_files import told_layout
from common.data.layouts import H36M, LAYOUTS, Layout, implausible
from common.data.npz import described, numbers
from common.data.npz_writer import dictionary_file
from common.data.skeleton import H36M_32_TO_17, JOINT_ABSENT_FROM_16
from common.data.units import wrong_length_unit, wrong_pixels
from common.errors import UserError, listing, shown
from common.files import published_together, write_atomically
from common.log import LOG
from common.progress import progress
from dataset import preparation
from dataset.preparation import output_paths

NAME = re.compile(r"(?P<subject>[^_,]+)_(?P<action>.+?)(?P<camera>_cam\d+)?")
# Of the file's 32 joints those that the 17 lack -> the joint that they repeat.
REPEATED = {4: 3, 5: 3, 9: 8, 10: 8, 11: 0, 16: 13, 20: 19, 21: 19, 22: 19, 23: 19, 24: 13}
REPEATED |= {28: 27, 29: 27, 30: 27, 31: 27}


@dataclass(frozen=True)
class Clip:
    """A clip as one camera sees it.

    Attributes:
        subject: who.
        action: what, and the number of the camera if there is one: "walk cam0". The table of a
            test counts it as "walk".
        keypoints: (L, 16 or 17, 2) float32 pixels, NaN where not detected; (L, 16 or 17, 3) where
            the file has confidences.
        positions: (L, 17, 3) float32 metres in camera space, None if they are not known.
        joints_3d: how many joints of the positions are the user's own, 16 or 17.
        missing_share: share of the file's 2D joints that were not detected.
    """

    subject: str
    action: str
    keypoints: np.ndarray
    positions: np.ndarray | None
    joints_3d: int
    missing_share: float = 0.0


def main() -> None:
    """The conversion that the command line asks for."""
    args = parse_arguments()
    paths = find_clips(args.input)
    clips = [read_clip(path, args) for path in progress(paths, " files")]
    check_together(clips, paths)
    names = ("data_3d_h36m.npz", f"data_2d_h36m_{args.name}.npz", CAMERA_FILE)
    outputs = output_paths(args.output, names, force=args.force, inputs=paths)
    subjects = list(dict.fromkeys(clip.subject for clip in clips))
    with published_together(args.output) as folder:
        path_3d, path_2d, path_cameras = (folder / name for name in names)
        write_poses(clips, subjects, path_3d, path_2d, args.fps)
        cameras = json.dumps(camera_of_all(args, subjects), indent=1)
        write_atomically(path_cameras, cameras.encode())
    log_summary(args, clips, subjects, outputs)


def parse_arguments() -> Namespace:
    """Read the command line.

    Raises:
        UserError: an invalid value.
    """
    parser = preparation.new_parser(
        __doc__, "folder with a file for each clip and camera", output=None
    )
    parser.add_argument(
        "--width", type=at_least(1, 2**16), required=True, help="of the image, pixels"
    )
    parser.add_argument(
        "--height", type=at_least(1, 2**16), required=True, help="of the image, pixels"
    )
    parser.add_argument(
        "--focal",
        type=positive,
        help="focal length in pixels (default: the image's width, that is a field of view of 53 "
        "degrees; only --refine makes use of it)",
    )
    parser.add_argument(
        "--fps",
        type=frames_per_second,
        help="frame rate of the clips, by which trainer.py turns --max_gap into frames (default: "
        f"not told, then {FRAME_RATE} is assumed)",
    )
    parser.add_argument(
        "--layout",
        choices=sorted(LAYOUTS),
        help="joint order of the keypoints: Human3.6M's with 17 or 16 joints, or another, which is "
        "converted (what it lacks of hip, thorax, spine and head is made of its neighbours) "
        "(default: the layout in the file's metadata, else h36m)",
    )
    parser.add_argument(
        "--name", default="custom", help="of the keypoint set, for -k (default: %(default)s)"
    )
    args = parser.parse_args()
    preparation.check_folder(args.input)
    if args.name != Path(args.name).name or not args.name:
        raise UserError(f"--name {args.name!r} is part of a file's name and holds no slash")
    if args.output.resolve() == PACKAGED_CAMERAS.parent:
        raise UserError(f"--output {args.output}: {CAMERA_FILE} in it is this project's own")
    return args


def find_clips(folder: Path) -> list[Path]:
    """The .npz and .npy files of a folder.

    Raises:
        UserError: there is none.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".npz", ".npy"))
    if not paths:
        raise UserError(f"{folder}: no .npz or .npy files in it")
    return paths


# ---- input


def read_clip(path: Path, args: Namespace) -> Clip:
    """Read and check a file.

    Raises:
        UserError: names the first invalid entry, with frame, joint and value.
    """
    match = NAME.fullmatch(path.stem)
    if not match:
        raise UserError(f"{path}: the name is not <subject>_<action> or <subject>_<action>_cam<k>")
    content = preparation.load_arrays(path, "keypoints")
    if "keypoints" not in content:
        held = shown(", ".join(content)) or "nothing"
        raise UserError(f"{path}: no entry 'keypoints' in it ({held})")
    layout = clip_layout(content, args.layout, path)
    detected, has_confidence = read_keypoints(content["keypoints"], layout, path, args)
    complete = detected.complete()
    if args.layout is None and "metadata" not in content and len(complete):
        if reason := implausible(complete):
            LOG.warning(
                "warning: %s: %s; are its joints in Human3.6M's order (--layout)?", path, reason
            )
    keypoints = detected.xy
    if has_confidence:
        keypoints = np.concatenate([keypoints, detected.confidence[..., None]], axis=-1)
    positions, joints_3d = None, 17
    if "positions_3d" in content:
        where = f"{path}: positions_3d"
        positions = preparation.to_float32(
            poses(content["positions_3d"], (16, 17), (3,), where), where
        )
        if len(positions) != len(keypoints):
            raise UserError(f"{where}: {len(positions)} frames, keypoints {len(keypoints)}")
        check_camera_space(positions, where)
        joints_3d = positions.shape[1]
    return Clip(
        subject=match["subject"],
        action=match["action"] + (match["camera"] or "").replace("_", " "),
        keypoints=keypoints,
        positions=positions if joints_3d == 17 or positions is None else with_neck(positions),
        joints_3d=joints_3d,
        missing_share=1 - float(detected.seen.mean()),
    )


def read_keypoints(
    held: Any, layout: Layout, path: Path, args: Namespace
) -> tuple[Detections, bool]:
    """The 2D joints of a clip in this project's order, and whether they have confidences.

    Raises:
        UserError: they are no pixels of an image of this size, or none was detected.
    """
    where = f"{path}: keypoints"
    array = poses(held, sorted(layout.pairs), (2, 3), where)
    detected = Detections.of(array)
    if not detected.seen.any():
        raise UserError(f"{where}: no joint was detected in any frame (NaN, 0 0 or confidence 0)")
    if reason := wrong_pixels(detected.xy, args.width, args.height):
        raise UserError(f"{where}: {reason}")
    check_inside(detected.xy, args.width, args.height, where)
    return detected.converted(layout.to_ours).as_float32(), array.shape[2] == 3


def clip_layout(content: Mapping[str, Any], asked: str | None, path: Path) -> Layout:
    """The joint order of a clip, from the command line or from its metadata.

    Raises:
        UserError: they contradict each other, or the metadata tells an unknown order.
    """
    told = told_layout(content.get("metadata"), str(path))
    if asked is None:
        return told or H36M
    if told not in (None, LAYOUTS[asked]):
        raise UserError(f"--layout {asked}: the metadata of {path} says {told.name!r}")
    return LAYOUTS[asked]


def poses(
    array: Any, joint_counts: Sequence[int], coordinates: Sequence[int], where: str
) -> np.ndarray:
    """Poses (L, J, C), L > 0, from a file.

    Raises:
        UserError: something else.
    """
    values = numbers(array)
    shape = () if values is None else values.shape
    if (
        values is None
        or len(shape) != 3
        or not shape[0]
        or shape[1] not in joint_counts
        or shape[2] not in coordinates
    ):
        needed = [" or ".join(map(str, allowed)) for allowed in (joint_counts, coordinates)]
        raise UserError(f"{where} {described(array)}, (frames, {', '.join(needed)}) is needed")
    return values


def check_inside(keypoints: np.ndarray, width: int, height: int, where: str) -> None:
    """Require (L, J, 2) pixels that are not farther outside of the image than its own size.

    Raises:
        UserError: names the first that is.
    """
    size = np.array([width, height])
    bad = np.argwhere(((keypoints < -size) | (keypoints > 2 * size)).any(-1))
    if len(bad):
        frame, joint = bad[0]
        x, y = keypoints[frame, joint]
        raise UserError(
            f"{where}: ({x:.6g}, {y:.6g}) at frame {frame}, joint {joint} is far outside of the "
            f"image of {width} x {height} pixels"
        )


def check_camera_space(positions: np.ndarray, where: str) -> None:
    """Require (L, J, 3) of a body that is not in mm, in front of the camera.

    Raises:
        UserError: names the first frame (and joint) that is not.
    """
    if reason := wrong_length_unit(positions):
        raise UserError(f"{where}: {reason}")
    behind = np.argwhere(positions[..., 2] <= 0)
    if len(behind):
        frame, joint = behind[0]
        raise UserError(
            f"{where}: z = {positions[frame, joint, 2]:.6g} at frame {frame}, joint {joint} is not "
            "in front of the camera; positions in camera space are needed, not relative to the root"
        )


def check_together(clips: Sequence[Clip], paths: Sequence[Path]) -> None:
    """Require that clips have names of their own and equal numbers of joints.

    Raises:
        UserError: names two files that do not.
    """
    seen: dict[tuple[str, str], Path] = {}
    for clip, path in zip(clips, paths, strict=True):
        other = seen.setdefault((clip.subject, clip.action), path)
        if other != path:
            raise UserError(f"{other} and {path} are both {clip.subject} {clip.action}")
        count, first = clip.keypoints.shape[1], clips[0].keypoints.shape[1]
        if count != first:
            raise UserError(f"{path} has {count} joints, {paths[0]} has {first}")


# ---- joints


def with_neck(positions: np.ndarray) -> np.ndarray:
    """16 joints (L, 16, 3) as 17, joint 9 half-way between its neighbours, thorax and head."""
    j = JOINT_ABSENT_FROM_16
    return np.insert(positions, j, positions[:, j - 1 : j + 1].mean(1), axis=1)


def to_32_joints(positions: np.ndarray) -> np.ndarray:
    """17 joints (L, 17, 3) as the file's 32: the missing ones repeat a neighbour."""
    order = [H36M_32_TO_17.index(REPEATED.get(joint, joint)) for joint in range(32)]
    return positions[:, order]


# ---- output


def write_poses(
    clips: Sequence[Clip], subjects: list[str], path_3d: Path, path_2d: Path, fps: float | None
) -> None:
    """Write the 3D and the 2D file; positions that are not known are NaN."""
    metadata = preparation.keypoint_metadata(clips[0].keypoints.shape[1], fps)
    with (
        dictionary_file(path_3d, "positions_3d") as add_3d,
        dictionary_file(path_2d, "positions_2d", metadata=metadata) as add_2d,
    ):
        for subject in subjects:
            own = [clip for clip in clips if clip.subject == subject]
            add_3d(subject, {clip.action: file_positions(clip) for clip in own})
            add_2d(subject, {clip.action: [clip.keypoints] for clip in own})


def file_positions(clip: Clip) -> np.ndarray:
    """(L, 32, 3) float32 metres; the camera stands at the world's origin."""
    if clip.positions is None:
        return np.full((len(clip.keypoints), 32, 3), np.nan, np.float32)
    return to_32_joints(clip.positions)


def camera_of_all(args: Namespace, subjects: Sequence[str]) -> dict[str, Any]:
    """The content of the camera file: one camera without distortion, at the world's origin."""
    focal = float(args.focal or args.width)
    intrinsic = {
        "id": "custom",
        "center": [args.width / 2, args.height / 2],
        "focal_length": [focal, focal],
        "radial_distortion": [0.0, 0.0, 0.0],
        "tangential_distortion": [0.0, 0.0],
        "res_w": args.width,
        "res_h": args.height,
    }
    extrinsic = {"orientation": [1.0, 0.0, 0.0, 0.0], "translation": [0.0, 0.0, 0.0]}
    return {"intrinsic": [intrinsic], "extrinsic": {subject: [extrinsic] for subject in subjects}}


def log_summary(
    args: Namespace, clips: Sequence[Clip], subjects: Sequence[str], paths: Sequence[Path]
) -> None:
    """Log what was written, what was assumed, and how to use it."""
    frames = sum(len(clip.keypoints) for clip in clips)
    for path in paths[:2]:
        preparation.log_written(path, subjects=len(subjects), sequences=len(clips), frames=frames)
    preparation.log_written(paths[2], cameras=1)
    if args.focal is None:
        LOG.info("note: no --focal, so it is assumed to be the image's width, %d", args.width)
    without = [f"{clip.subject} {clip.action}" for clip in clips if clip.positions is None]
    if without:
        LOG.info(
            "note: %s without 3D, to be lifted but not trained on: %s",
            preparation.counted(len(without), "sequences"),
            listing(without),
        )
    gaps = [clip for clip in clips if clip.missing_share]
    if gaps:
        gaps.sort(key=lambda clip: -clip.missing_share)
        LOG.info(
            "note: joints not detected in %s, NaN in the file: %s",
            preparation.counted(len(gaps), "sequences"),
            listing([f"{clip.subject} {clip.action} ({clip.missing_share:.2%})" for clip in gaps]),
        )
    joints = min(min(clip.keypoints.shape[1], clip.joints_3d) for clip in clips)
    LOG.info(
        "use: trainer.py --root_path %s -k %s --n_joints %d --subjects_train ... "
        "--subjects_test ... (of %s)",
        args.output,
        args.name,
        joints,
        ",".join(subjects),
    )


if __name__ == "__main__":
    run_script(main)
