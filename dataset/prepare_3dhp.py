"""MPI-INF-3DHP's own files -> data_train_3dhp.npz and data_test_3dhp.npz.

Reads S1/Seq1/annot.mat to S8/Seq2/annot.mat (MATLAB 5; needs scipy) and TS1/annot_data.mat to
TS6/annot_data.mat (MATLAB 7.3; needs h5py). Takes 17 of the 28 joints and 8 of the 14 cameras, in
pixels and mm.
"""
# ruff: noqa: E402  (common/ is found on the path that is added first)

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

from argparse import Namespace
from types import ModuleType
from typing import Any

import numpy as np

from common.cli.entry import run_script
from common.data.mpi_inf_3dhp import TEST_FILE, TRAIN_FILE
from common.data.npz_writer import dictionary_file
from common.errors import UserError, shown
from common.files import check_memory, check_regular, published_together
from common.log import LOG
from common.optional import optional
from common.progress import progress
from dataset import preparation
from dataset.matlab_scan import PACKED, check_matlab_5
from dataset.preparation import output_paths

SCRIPT = "prepare_3dhp.py"
# Subject and sequence -> the frames that are annotated well, from the first, and frames a second.
USABLE_FRAMES = {
    "S1 Seq1": (6416, 25),
    "S1 Seq2": (12430, 50),
    "S2 Seq1": (6502, 25),
    "S2 Seq2": (6081, 25),
    "S3 Seq1": (12488, 50),
    "S3 Seq2": (12283, 50),
    "S4 Seq1": (6171, 25),
    "S4 Seq2": (6675, 25),
    "S5 Seq1": (12820, 50),
    "S5 Seq2": (12312, 50),
    "S6 Seq1": (6188, 25),
    "S6 Seq2": (6145, 25),
    "S7 Seq1": (6239, 25),
    "S7 Seq2": (6320, 25),
    "S8 Seq1": (6468, 25),
    "S8 Seq2": (6054, 25),
}
TEST_SEQUENCES = ("TS1", "TS2", "TS3", "TS4", "TS5", "TS6")
TEST_FOLDER = "mpi_inf_3dhp_test_set"
# Entry -> variable of annot.mat, coordinates.
TRAIN_VARIABLES = {"data_2d": ("annot2", 2), "data_3d": ("univ_annot3", 3)}
# Entry -> variable of annot_data.mat, shape of its frames, type.
TEST_VARIABLES: dict[str, tuple[str, tuple[int, ...], type]] = {
    "data_2d": ("annot2", (17, 2), np.float32),
    "data_3d": ("univ_annot3", (17, 3), np.float32),
    "valid": ("valid_frame", (), np.float64),
    "activity": ("activity_annotation", (), np.int64),
}
CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)
JOINTS_28_TO_17 = (7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6)


def main() -> None:
    """The preparation that the command line asks for."""
    args = parse_arguments()
    training = present(
        {name: args.input.joinpath(*name.split(), "annot.mat") for name in USABLE_FRAMES}
    )
    test = present(find_test_files(args.test_set or args.input))
    if args.test_set and not test:
        raise UserError(f"{args.test_set}: no TS1/annot_data.mat and so on in it")
    if not training and not test:
        raise UserError(
            f"{args.input}: neither S1/Seq1/annot.mat and so on in it nor "
            f"{TEST_FOLDER}/TS1/annot_data.mat and so on"
        )
    parts = [
        (optional(module, needed_by=SCRIPT), write, files, name)
        for module, write, files, name in (
            ("scipy.io", write_training, training, TRAIN_FILE),
            ("h5py", write_test, test, TEST_FILE),
        )
        if files
    ]
    paths = output_paths(args.output, [name for *_, name in parts], force=args.force)
    with published_together(args.output) as folder:
        counts = [write(library, files, folder / name) for library, write, files, name in parts]
    for path, held in zip(paths, counts, strict=True):
        preparation.log_written(path, **held)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = preparation.new_parser(
        __doc__, f"folder that holds S1/Seq1/annot.mat and so on, and {TEST_FOLDER}/"
    )
    parser.add_argument(
        "--test_set",
        type=Path,
        metavar="FOLDER",
        help=f"folder that holds TS1/annot_data.mat and so on (default: input/{TEST_FOLDER}, or "
        "input itself)",
    )
    args = parser.parse_args()
    preparation.check_folder(args.input)
    if args.test_set is not None:
        preparation.check_folder(args.test_set)
    return args


def find_test_files(folder: Path) -> dict[str, Path]:
    """Where the annotations of the test set are or should be, by sequence."""
    nested = folder / TEST_FOLDER
    for place in (nested / TEST_FOLDER, nested, folder):
        files = {name: place / name / "annot_data.mat" for name in TEST_SEQUENCES}
        if any(path.exists() for path in files.values()):
            break
    return files


def present(files: dict[str, Path]) -> dict[str, Path]:
    """Those of the files that exist; the others are named in the log."""
    absent = [name for name, path in files.items() if not path.exists()]
    if absent:
        LOG.info("missing: %s; continuing without", ", ".join(absent))
    return {name: path for name, path in files.items() if path.exists()}


def write_training(scipy_io: ModuleType, files: dict[str, Path], path: Path) -> dict[str, int]:
    """Convert the training sequences, one at a time; returns what the file holds, for the log."""
    frames = 0
    with dictionary_file(path, "data") as add:
        for name, source in progress(list(files.items()), " sequences"):
            usable, frame_rate = USABLE_FRAMES[name]
            views = read_training(scipy_io, source, usable)
            length = len(next(iter(views.values()))["data_2d"])
            if length < usable:
                LOG.info("note: %s has %d frames, %d are usable", source, length, usable)
            frames += length
            add(name, [views, frame_rate])
    return {
        "subjects": len({name.split()[0] for name in files}),
        "sequences": len(files),
        "frames": frames,
        "cameras": len(CAMERAS),
    }


def read_training(
    scipy_io: ModuleType, path: Path, usable: int
) -> dict[str, dict[str, np.ndarray]]:
    """The chosen cameras and joints of an annot.mat.

    Args:
        scipy_io: the module scipy.io.
        path: the file; `annot2` and `univ_annot3` have a cell (L, 28 * C) for each camera.
        usable: maximum number of frames.

    Returns:
        Camera -> {"data_2d": (L, 17, 2) float32 pixels, "data_3d": (L, 17, 3) float32 mm}.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    names = [name for name, _ in TRAIN_VARIABLES.values()]
    check_regular(path)
    try:
        check_matlab_5(path)
        content = scipy_io.loadmat(path, variable_names=names)
    except UserError:
        raise
    except Exception as error:  # damaged bytes surface as almost any exception of the reader
        raise UserError(f"{path}: not a MATLAB 5 file ({shown(error)})") from None
    views: dict[str, dict[str, np.ndarray]] = {str(camera): {} for camera in CAMERAS}
    for key, (name, coordinates) in TRAIN_VARIABLES.items():
        cells = np.ravel(content.get(name, ()))
        if cells.dtype != object or len(cells) <= max(CAMERAS):
            raise UserError(f"{path}: no cell array {name} of 14 cameras in it")
        for camera, view in views.items():
            where = f"{path}: {name}, camera {camera}"
            view[key] = cut_training(cells[int(camera)], coordinates, usable, where)
    lengths = {len(poses) for view in views.values() for poses in view.values()}
    if len(lengths) > 1:
        raise UserError(f"{path}: its cameras have different numbers of frames, {sorted(lengths)}")
    for view in views.values():
        preparation.check_millimetres(view["data_3d"], str(path))
    return views


def cut_training(cell: Any, coordinates: int, usable: int, where: str) -> np.ndarray:
    """(L, 28 * C) numbers of one camera -> (at most `usable`, 17, C) float32."""
    cell = np.asarray(cell)
    numeric = cell.dtype.kind in "fiu" and cell.size
    if not numeric or cell.ndim != 2 or cell.shape[1] != 28 * coordinates:
        raise UserError(f"{where} has shape {cell.shape}, (frames, {28 * coordinates}) is needed")
    poses = cell[:usable].reshape(-1, 28, coordinates)[:, JOINTS_28_TO_17]
    return preparation.to_float32(poses, where)


def write_test(h5py: ModuleType, files: dict[str, Path], path: Path) -> dict[str, int]:
    """Convert the test sequences, one at a time; returns what the file holds, for the log."""
    frames = valid = 0
    with dictionary_file(path, "data") as add:
        for name, source in progress(list(files.items()), " sequences"):
            entry = read_test(h5py, source)
            frames += len(entry["valid"])
            valid += int(entry["valid"].sum())
            add(name, entry)
    return {"sequences": len(files), "frames": frames, "valid_frames": valid}


def read_test(h5py: ModuleType, path: Path) -> dict[str, np.ndarray]:
    """What an annot_data.mat holds about its frames.

    Args:
        h5py: the library.
        path: the file; to h5py its arrays are (L, 1, 17, C) and (L, 1).

    Returns:
        "data_2d": (L, 17, 2) float32 pixels; "data_3d": (L, 17, 3) float32 mm; "valid": (L,)
        float64, 0 or 1; if the file knows it, "activity": (L,) int64, numbered from 1.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    names = [name for name, _, _ in TEST_VARIABLES.values()]
    check_regular(path)
    try:
        with h5py.File(path, "r") as stream:
            content = {
                name: read_variable(h5py, stream, name, path.stat().st_size)
                for name in names
                if name in stream
            }
    except UserError:
        raise
    except Exception as error:  # damaged bytes surface as almost any exception of the reader
        raise UserError(f"{path}: not a MATLAB 7.3 file ({shown(error)})") from None
    entry: dict[str, np.ndarray] = {}
    for key, (name, frame_shape, kind) in TEST_VARIABLES.items():
        if name in content:
            entry[key] = frames_first(content[name], frame_shape, f"{path}: {name}").astype(kind)
        elif key != "activity":
            raise UserError(f"{path}: no variable {name} in it")
    preparation.check_millimetres(entry["data_3d"], str(path))
    lengths = {TEST_VARIABLES[key][0]: len(values) for key, values in entry.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"{path}: different numbers of frames, {lengths}")
    if not np.isin(entry["valid"], (0, 1)).all():
        raise UserError(f"{path}: valid_frame holds numbers other than 0 and 1")
    return entry


def read_variable(h5py: ModuleType, stream: Any, name: str, file_size: int) -> np.ndarray:
    """An array of an HDF5 file whose bytes are in the file.

    Args:
        h5py: the library.
        stream: the open file.
        name: of the variable.
        file_size: bytes.

    Raises:
        UserError: it is none, lies in another file, or is declared larger than the file explains.
    """
    where = f"{stream.filename}: {name}"
    variable, link = stream[name], stream.get(name, getlink=True)
    if not isinstance(variable, h5py.Dataset) or variable.dtype.kind not in "fiub":
        raise UserError(f"{where} is no array of numbers")
    if not isinstance(link, h5py.HardLink) or variable.external or variable.is_virtual:
        raise UserError(f"{where} lies in another file")
    if variable.nbytes and not variable.id.get_storage_size():
        raise UserError(f"{where} has shape {variable.shape}, but no data")
    if variable.nbytes > PACKED * file_size:
        raise UserError(f"{where} has {variable.nbytes:,} bytes in a file of {file_size:,}")
    check_memory(variable.nbytes)
    return np.asarray(variable)


def frames_first(array: np.ndarray, frame_shape: tuple[int, ...], where: str) -> np.ndarray:
    """An array with axes of length 1 anywhere -> (L, *frame_shape).

    Raises:
        UserError: it has other axes, or NaN or infinity in it.
    """
    length = array.size // int(np.prod(frame_shape))
    axes = [size for size in array.shape if size != 1]
    if not length or axes != [size for size in (length, *frame_shape) if size != 1]:
        needed = ", ".join(map(str, ("frames", *frame_shape)))
        raise UserError(f"{where} has shape {array.shape}, ({needed}) is needed")
    if array.dtype.kind not in "fiub":
        raise UserError(f"{where} holds no numbers, but {array.dtype}")
    values = array.reshape(length, *frame_shape)
    preparation.check_finite(values, where)
    return values


if __name__ == "__main__":
    run_script(main)
