"""What the preparation scripts of `dataset/` share: options, optional libraries, reports."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.cli.parser import Parser
from common.data.camera import PACKAGED_CAMERAS
from common.data.npz import load_npy, load_npz
from common.data.skeleton import H36M_16, H36M_17
from common.errors import UserError
from common.files import complete_publication, reason_of
from common.log import LOG
from common.outputs import check_output

DATA_FOLDER = PACKAGED_CAMERAS.parent
SMALLEST_BODY_MM = 100


def new_parser(
    description: str | None, input_help: str, *, output: Path | None = DATA_FOLDER
) -> Parser:
    """A parser with the options that every preparation script has: input, --output, --force.

    Args:
        description: for --help.
        input_help: what the input folder holds.
        output: default of --output; None makes the flag necessary.
    """
    parser = Parser(description=description)
    parser.add_argument("input", type=Path, help=input_help)
    parser.add_argument(
        "--output",
        type=Path,
        default=output,
        required=output is None,
        metavar="FOLDER",
        help=f"where to write{'' if output is None else ' (default: the folder of this script)'}",
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    return parser


def check_folder(folder: Path) -> None:
    """Require a folder.

    Raises:
        UserError: it is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")


def load_arrays(path: Path, npy_entry: str) -> dict[str, Any]:
    """Read the entries of an .npz file, or the array of an .npy file as an entry of that name.

    Raises:
        UserError: it cannot be read, or holds more than data.
    """
    return {npy_entry: load_npy(path)} if path.suffix == ".npy" else load_npz(path)


def check_finite(values: np.ndarray, where: str) -> None:
    """Require numbers in poses (L, J, C), or in other values (L, ...) of frames.

    Raises:
        UserError: names the first frame (and joint) that has NaN or infinity.
    """
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        frame, *joint = bad[0][:2]
        place = f"frame {frame}" + (f", joint {joint[0]}" if joint else "")
        raise UserError(f"{where}: {values[tuple(bad[0])]} at {place}")


def to_float32(values: np.ndarray, where: str) -> np.ndarray:
    """A float32 copy of the numbers (L, ...) of frames, all finite.

    Raises:
        UserError: names the first that is not, or that is too large for float32.
    """
    check_finite(values, where)
    with np.errstate(over="ignore"):
        converted = np.asarray(values).astype(np.float32)
    overflow = np.argwhere(~np.isfinite(converted))
    if len(overflow):
        value = values[tuple(overflow[0])]
        raise UserError(f"{where}: {value:.6g} at frame {overflow[0][0]} is too large for float32")
    return converted


def check_millimetres(poses: np.ndarray, where: str) -> None:
    """Require a body of (L, J, 3) poses that is too large to be in metres.

    Raises:
        UserError: it is not.
    """
    size = np.ptp(poses, axis=1).max()
    if size < SMALLEST_BODY_MM:
        raise UserError(f"{where}: the body is {size:.3g} mm large; positions in mm are needed")


def random_source(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on the seed and a sequence's name only, not on the order."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))


def keypoint_metadata(num_joints: int, fps: float | None = None) -> dict[str, Any]:
    """The entry `metadata` of a file of 2D poses: what its 16 or 17 joints are, frames/s."""
    skeleton = H36M_17 if num_joints == 17 else H36M_16
    rate = {} if fps is None else {"fps": fps}
    return {
        "layout_name": "h36m",
        "num_joints": num_joints,
        "keypoints_symmetry": [list(skeleton.left), list(skeleton.right)],
        **rate,
    }


def counted(number: int, nouns: str) -> str:
    """A number with its noun, given in the plural: "1 frame", "1,200 frames"."""
    return f"{number:,} {nouns if number != 1 else nouns[:-1]}"


def log_written(path: Path, **counts: int) -> None:
    """Log what a file holds.

    Args:
        path: the file.
        **counts: noun in the plural -> number.
    """
    parts = [counted(number, nouns.replace("_", " ")) for nouns, number in counts.items()]
    size = path.stat().st_size
    size_text = f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
    LOG.info("wrote %s: %s, %s", path, ", ".join(parts), size_text)


def output_paths(
    folder: Path, names: Iterable[str], *, force: bool, inputs: Sequence[Path] = ()
) -> list[Path]:
    """The files that a script will write; makes their folder.

    Files that belong together are to be written by `common.files.published_together`.

    Args:
        folder: the output folder.
        names: file names.
        force: whether files that are there may be replaced.
        inputs: what the script reads, which is never replaced.

    Raises:
        UserError: a file is there already, or the folder cannot be made.
    """
    paths = [folder / name for name in names]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {reason_of(error)}") from None
    complete_publication(folder)
    present = [str(path) for path in paths if path.exists()]
    if present and not force:
        raise UserError(f"{', '.join(present)}: there already; --force replaces what is there")
    return [check_output(path, inputs=inputs, force=force, flag="--output") for path in paths]
