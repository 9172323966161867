"""AMASS sequences -> amass.npz.

Poses a SMPL-H or SMPL body model by each sequence, takes 16 joints at 25 frames/s, places them
before a randomly chosen Human3.6M camera and projects. Needs smplx.
"""
# ruff: noqa: E402  (common/ is found on the path that is added first)

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

import math
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.cli.entry import run_script
from common.cli.values import at_least
from common.data.amass import FILE
from common.data.camera import CameraView, camera_to_world, load_cameras, rotate
from common.data.h36m import TRAIN_SUBJECTS
from common.data.npz_writer import dictionary_file
from common.data.pose_ops import centre_on_root
from common.errors import UserError, listing
from common.files import files_below
from common.log import LOG
from common.optional import optional
from common.progress import progress
from dataset import preparation
from dataset.amass_bodies import MODEL_JOINTS_TO_16, Bodies, Motion, Unusable, resample
from dataset.preparation import output_paths, random_source

SCRIPT = "prepare_amass.py"
NEAREST_METRES = 1.0  # from the camera's plane to a joint


def main() -> None:
    """The preparation that the command line asks for."""
    args = parse_arguments()
    lbs = optional("smplx.lbs", needed_by=SCRIPT)
    files = find_files(args.input)
    bodies = Bodies.read(lbs, args.body_model, args.regressor)
    (path,) = output_paths(args.output, [FILE], force=args.force, inputs=files)
    rigs = [load_cameras(args.output).by_subject[subject] for subject in TRAIN_SUBJECTS]
    tally = Tally()
    with dictionary_file(path, "poses") as add:
        for file in progress(files, " files"):
            name = file.relative_to(args.input).with_suffix("").as_posix()
            try:
                joints = resample(Motion.read(file), bodies, too_few=args.frames + 1)
            except Unusable as reason:
                tally.skipped.setdefault(str(reason), []).append(name)
                continue
            shot = film(joints, rigs, random_source(args.seed, name))
            tally.add(shot)
            add(name, shot.entry())
        tally.log(bodies)
        if not tally.sequences:
            raise UserError(f"{args.input}: none of its {len(files)} .npz files can be used")
    preparation.log_written(path, sequences=tally.sequences, frames=tally.frames)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = preparation.new_parser(__doc__, "folder with AMASS sequences, *.npz at any depth")
    parser.add_argument(
        "--body_model",
        type=Path,
        required=True,
        metavar="PATH",
        help="an .npz file of SMPL-H or SMPL, or a folder of them: male/model.npz and so on, "
        "SMPLH_MALE.npz, or SMPL_MALE.npz",
    )
    parser.add_argument(
        "--regressor",
        type=Path,
        metavar="FILE",
        help=".npy or .npz file of a matrix, 16 or 17 joints in this project's order x vertices "
        "(default: the body model's own joints)",
    )
    parser.add_argument(
        "--frames",
        type=at_least(1),
        default=243,
        help="window of the later training; a sequence needs two frames more, or is skipped "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of cameras and headings (default: %(default)s)"
    )
    args = parser.parse_args()
    preparation.check_folder(args.input)
    return args


def find_files(folder: Path) -> list[Path]:
    """Every .npz file below a folder.

    Raises:
        UserError: there is none.
    """
    files = files_below(folder, ".npz")
    if not files:
        raise UserError(f"{folder}: no .npz files in it")
    return files


# ---- cameras


@dataclass(frozen=True)
class Shot:
    """A sequence as a camera sees it.

    Attributes:
        pose_2d: (L, 16, 2) normalised screen coordinates.
        pose_3d: (L, 16, 3) root-relative metres in camera space, the root at 0.
        outside: (L, 16) bool, True = outside of the image.
    """

    pose_2d: Tensor
    pose_3d: Tensor
    outside: Tensor

    def entry(self) -> dict[str, Any]:
        """The item of amass.npz."""
        return {
            "length": len(self.pose_2d),
            "pose2d": self.pose_2d.float().numpy(),
            "pose3d": self.pose_3d.float().numpy(),
        }


def film(joints: Tensor, rigs: Sequence[Sequence[CameraView]], random: np.random.Generator) -> Shot:
    """Place a sequence before a camera, at random, and project it.

    Args:
        joints: (L, 16, 3) world metres, z up.
        rigs: cameras of some subjects.
        random: chooses the subject, the camera and the heading, in this order.

    Returns:
        What the camera sees.
    """
    rig = rigs[int(random.integers(len(rigs)))]
    view = rig[int(random.integers(len(rig)))]
    in_camera = place(joints.double(), looked_at(rig), view, random.uniform(0, 2 * math.pi))
    pose_2d = view.to_screen(in_camera)
    limits = joints.new_tensor([1, view.height / view.width])
    outside = (pose_2d.abs() > limits).any(-1)
    return Shot(pose_2d, centre_on_root(in_camera), outside)


def place(joints: Tensor, target: Tensor, view: CameraView, heading: float) -> Tensor:
    """Put a sequence before a camera.

    Its mean root goes, horizontally, to the target. If a joint comes too near to the camera's
    plane, the whole is moved away along the optical axis.

    Args:
        joints: (L, 16, 3) float64 world metres, z up.
        target: (3,) world metres.
        view: the camera, in a world whose z points up.
        heading: turn about the vertical, radians.

    Returns:
        (L, 16, 3) camera-space metres.
    """
    horizontal = joints.new_tensor([1, 1, 0])
    turn = joints.new_tensor([math.cos(heading / 2), 0, 0, math.sin(heading / 2)])
    world = rotate(turn, joints - joints[:, 0].mean(0) * horizontal) + target * horizontal
    in_camera = view.from_world(world)
    in_camera[..., 2] += (NEAREST_METRES - in_camera[..., 2].min()).clamp(min=0)
    return in_camera


def looked_at(rig: Sequence[CameraView]) -> Tensor:
    """The point (3,), world metres, with the least squared distances to all optical axes."""
    centres = torch.stack([view.centre for view in rig]).double()
    forward = centres.new_tensor([0, 0, 1])
    axes = torch.stack(
        [camera_to_world(forward, view.orientation.double(), centres.new_zeros(3)) for view in rig]
    )
    # Off each axis: the part of a vector that is at right angles to it.
    off_axis = torch.eye(3).to(axes) - axes.unsqueeze(2) * axes.unsqueeze(1)  # (cameras, 3, 3)
    return torch.linalg.solve(off_axis.sum(0), (off_axis @ centres.unsqueeze(2)).sum(0))[:, 0]


# ---- report


@dataclass
class Tally:
    """What was written and what was not.

    Attributes:
        sequences: number written.
        frames: of those.
        outside: number of their joints outside of the image.
        skipped: reason -> names.
    """

    sequences: int = 0
    frames: int = 0
    outside: int = 0
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def add(self, shot: Shot) -> None:
        """Count a sequence that is written."""
        self.sequences += 1
        self.frames += len(shot.pose_2d)
        self.outside += int(shot.outside.sum())

    def log(self, bodies: Bodies) -> None:
        """Log both."""
        for reason, names in self.skipped.items():
            LOG.info("skipped, %s: %d (%s)", reason, len(names), listing(names))
        for gender, count in bodies.replaced.items():
            sequences = preparation.counted(count, f"{gender} sequences")
            LOG.info("note: %s with the %s body model", sequences, bodies.stand_in)
        if self.frames:
            share = self.outside / (self.frames * len(MODEL_JOINTS_TO_16))
            LOG.info("%.1f %% of the joints are outside of the image", 100 * share)


if __name__ == "__main__":
    run_script(main)
