"""Human3.6M's own files -> data_3d_h36m.npz and data_2d_h36m_gt.npz.

Reads the 3D poses that the owners distribute ("D3 Positions", CDF files, mm) and writes them in
metres, with their projections into the four cameras. Needs cdflib.
"""
# ruff: noqa: E402  (common/ is found on the path that is added first)

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

import re
from argparse import Namespace
from collections.abc import Mapping
from itertools import groupby
from types import ModuleType

import numpy as np
import torch

from common.cli.entry import run_script
from common.data.camera import CameraView, denormalise_screen, load_cameras
from common.data.npz_writer import dictionary_file
from common.data.skeleton import H36M_32_TO_17
from common.errors import UserError, shown
from common.files import check_regular, files_below, published_together
from common.log import LOG
from common.optional import optional
from common.progress import progress
from dataset import preparation
from dataset.preparation import output_paths

SCRIPT = "prepare_h36m.py"
SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
SEQUENCES_A_SUBJECT = 30  # 15 actions, twice each
NEW_NAMES = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}  # as the field writes them
CORRUPT_VIDEO = ("S11", "Directions")  # so no keypoints are detected in it


def main() -> None:
    """The preparation that the command line asks for."""
    args = parse_arguments()
    cdflib = optional("cdflib", needed_by=SCRIPT)
    sequences = find_sequences(args.input)
    path_3d, path_2d = output_paths(
        args.output, ("data_3d_h36m.npz", "data_2d_h36m_gt.npz"), force=args.force
    )
    cameras = load_cameras(args.output).by_subject
    counts = {"subjects": len({s for s, _, _ in sequences}), "sequences": len(sequences)}
    with published_together(args.output) as folder:
        counts["frames"] = write(
            cdflib, sequences, cameras, folder / path_3d.name, folder / path_2d.name
        )
    preparation.log_written(path_3d, **counts)
    preparation.log_written(path_2d, **counts, cameras=len(cameras[SUBJECTS[0]]))


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = preparation.new_parser(
        __doc__, "folder that holds S1/MyPoseFeatures/D3_Positions/*.cdf and so on"
    )
    args = parser.parse_args()
    preparation.check_folder(args.input)
    return args


def find_sequences(folder: Path) -> list[tuple[str, str, Path]]:
    """The CDF files of 3D positions below a folder; what is missing is logged.

    Args:
        folder: holds, at any depth, S1/.../D3_Positions/*.cdf or Poses_D3_Positions_S1/....

    Returns:
        Subject, action as the field names it, and file of each sequence.

    Raises:
        UserError: there are none, or two files for one sequence.
    """
    found: dict[str, dict[str, Path]] = {subject: {} for subject in SUBJECTS}
    for path in files_below(folder.resolve(), ".cdf"):
        if path.parent.name != "D3_Positions":
            continue
        subject, action = subject_of(path), action_name(path.stem)
        if subject not in found:
            LOG.info("skipped: %s, not of %s", path, ", ".join(SUBJECTS))
        elif (subject, action) == CORRUPT_VIDEO:
            LOG.info("skipped: %s %s, its video is corrupt", subject, action)
        elif action in found[subject]:
            raise UserError(f"{found[subject][action]} and {path} are both {subject} {action}")
        else:
            found[subject][action] = path
    if not any(found.values()):
        raise UserError(
            f"{folder}: no folder D3_Positions of {', '.join(SUBJECTS)} with .cdf files in it"
        )
    log_missing({subject: len(files) for subject, files in found.items()})
    return [(subject, *item) for subject, files in found.items() for item in files.items()]


def subject_of(path: Path) -> str:
    """The subject whose folder, S1 or Poses_D3_Positions_S1, a file lies in; "" if none."""
    parts = reversed(path.parent.parts)
    matches = (re.fullmatch(r"(?:Poses_D3_Positions_)?(S\d+)", part) for part in parts)
    return next((match[1] for match in matches if match), "")


def action_name(stem: str) -> str:
    """The field's name for an action: "TakingPhoto 1" -> "Photo 1"."""
    action, *number = stem.split(" ")
    return " ".join([NEW_NAMES.get(action, action), *number])


def log_missing(found: dict[str, int]) -> None:
    """Log which subjects lack all or some of their sequences, given how many they have."""
    absent = [subject for subject, count in found.items() if not count]
    if absent:
        LOG.info("missing: no D3_Positions files of %s; continuing without", ", ".join(absent))
    for subject, count in found.items():
        whole = SEQUENCES_A_SUBJECT - (subject == CORRUPT_VIDEO[0])
        if count not in (0, whole):
            sequences = preparation.counted(count, "sequences")
            LOG.info("note: %s has %s, the data set %d", subject, sequences, whole)


def write(
    cdflib: ModuleType,
    sequences: list[tuple[str, str, Path]],
    cameras: Mapping[str, list[CameraView]],
    path_3d: Path,
    path_2d: Path,
) -> int:
    """Convert the sequences, a subject at a time; returns the number of frames."""
    frames = 0
    with (
        dictionary_file(path_3d, "positions_3d") as add_3d,
        dictionary_file(
            path_2d, "positions_2d", metadata=preparation.keypoint_metadata(17)
        ) as add_2d,
    ):
        entries = progress(sequences, " files")
        for subject, files in groupby(entries, key=lambda entry: entry[0]):
            poses = {action: read_positions(cdflib, path) for _, action, path in files}
            frames += sum(map(len, poses.values()))
            add_3d(
                subject,
                {
                    action: preparation.to_float32(world, f"{subject} {action}")
                    for action, world in poses.items()
                },
            )
            views = cameras[subject]
            add_2d(
                subject,
                {
                    action: [project_to_pixels(world, view) for view in views]
                    for action, world in poses.items()
                },
            )
    return frames


def read_positions(cdflib: ModuleType, path: Path) -> np.ndarray:
    """The 3D poses of one CDF file.

    Args:
        cdflib: the library.
        path: the file; its variable `Pose` is (1, L, 96), in mm.

    Returns:
        (L, 32, 3) float64 world metres.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    check_regular(path)
    try:
        values = np.asarray(cdflib.CDF(str(path)).varget("Pose"), dtype=np.float64)
    except Exception as error:  # damaged bytes surface as almost any exception of the reader
        raise UserError(f"{path}: not a CDF file with a variable Pose ({shown(error)})") from None
    if values.size == 0 or values.shape[-1] != 96 or values.size != np.prod(values.shape[-2:]):
        raise UserError(f"{path}: Pose has shape {values.shape}, (1, frames, 96) is needed")
    poses = values.reshape(-1, 32, 3)
    preparation.check_finite(poses, str(path))
    preparation.check_millimetres(poses, str(path))
    return poses / 1000


def project_to_pixels(world: np.ndarray, view: CameraView) -> np.ndarray:
    """Project poses with lens distortion.

    Args:
        world: (L, 32, 3) metres.
        view: the camera.

    Returns:
        (L, 17, 2) float32 pixels.
    """
    poses = torch.from_numpy(world[:, H36M_32_TO_17])
    screen = view.to_screen(view.from_world(poses))
    pixels = denormalise_screen(screen, width=view.width, height=view.height)
    return pixels.numpy().astype(np.float32)


if __name__ == "__main__":
    run_script(main)
