"""The command lines of `python -m common.predict` and `python -m common.export`."""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.cli.parser import Parser
from common.cli.values import degrees, name_list, not_negative, positive, share_or_zero
from common.data.detections import MAX_GAP
from common.data.layouts import LAYOUTS
from common.errors import UserError
from common.inference.missing import MIN_CONFIDENCE
from common.inference.models import COMPLETION_MODEL, OCCLUDED_MODEL
from common.inference.people import LiftOptions
from common.inference.smoothing import SMOOTHERS
from common.keypoints.formats.registry import FORMATS
from common.keypoints.options import ReadOptions
from common.motion_files.registry import WRITERS
from common.outputs import check_output

DEFAULT_FORMATS = "npz"


@dataclass(frozen=True)
class ModelChoice:
    """Which model lifts or completes.

    Attributes:
        weights: a weight file; None for the default model.
        onnx: an ONNX file in its place.
        rate: frames per second of its windows; None to take it from the file.
        flip: whether results are averaged with those of the mirrored input.
        device: "auto", "cpu", "cuda".
    """

    weights: Path | None
    onnx: Path | None
    rate: float | None
    flip: bool
    device: str


@dataclass(frozen=True)
class CameraChoice:
    """What the user says about the camera; at most one of the first three.

    Attributes:
        focal: length in pixels.
        fov: horizontal field of view in degrees.
        calibration: a file.
        name: which camera of the file.
    """

    focal: float | None
    fov: float | None
    calibration: Path | None
    name: str | None


@dataclass(frozen=True)
class PredictConfig:
    """What `python -m common.predict` needs.

    Attributes:
        source: a video or keypoint file, or 3D motion to complete.
        output: folder of the results.
        model: which model.
        read: what the user says about the input.
        person: a name, "all", or None for the most prominent.
        camera: what the user says about the camera.
        lift: how keypoints become motion.
        complete: whether the input is 3D motion with missing joints.
        formats: keys of `WRITERS`.
        force: whether files that are there are replaced.
        command: for the record.
    """

    source: Path
    output: Path
    model: ModelChoice
    read: ReadOptions
    person: str | None
    camera: CameraChoice
    lift: LiftOptions
    complete: bool
    formats: tuple[str, ...]
    force: bool
    command: str


def predict(argv: Sequence[str] | None = None) -> PredictConfig:
    """Read and check the command line of `python -m common.predict`.

    Args:
        argv: the words after it; None takes those of the process.

    Raises:
        UserError: an unknown flag, an invalid value, or flags that exclude each other.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(words)
    _check(args)
    return PredictConfig(
        source=args.input,
        output=args.output,
        model=ModelChoice(
            _weights(args), args.onnx, args.model_rate, not args.no_flip, args.device
        ),
        read=ReadOptions(
            format=args.format,
            layout=args.layout,
            size=args.size,
            fps=args.fps,
            sequence=args.sequence,
            video=args.video,
            undo_swaps=not args.keep_swaps,
        ),
        person=args.person,
        camera=CameraChoice(args.focal, args.fov, args.calibration, args.camera),
        lift=LiftOptions(
            min_confidence=args.min_confidence,
            max_gap=args.max_gap,
            smooth=args.smooth,
            pitch=args.camera_pitch,
            height=args.camera_height,
        ),
        complete=args.complete,
        formats=tuple(args.write),
        force=args.force,
        command=shlex.join(["python", "-m", "common.predict", *words]),
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m common.predict",
        description="Lift a video, or the keypoints of any detector, to 3D motion.",
    )
    parser.add_argument(
        "input", type=Path, metavar="INPUT", help="video, keypoint file, or folder of JSON files"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--write",
        type=_formats,
        default=_formats(DEFAULT_FORMATS),
        help=f"comma list of what is written: {', '.join(WRITERS)}",
    )
    parser.add_argument("--force", action="store_true", help="replace results that are there")
    _add_input_flags(parser.add_argument_group("input"))
    _add_model_flags(parser.add_argument_group("model"))
    _add_joint_flags(parser.add_argument_group("joints"))
    _add_camera_flags(parser.add_argument_group("camera"))
    return parser


def _add_input_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--format",
        choices=tuple(FORMATS),
        help="what the input is, one of %(choices)s (default: recognised by content)",
        metavar="NAME",
    )
    group.add_argument(
        "--layout",
        choices=tuple(LAYOUTS),
        help="joint order, one of %(choices)s (default: told by the file or the number of joints)",
        metavar="NAME",
    )
    group.add_argument("--size", type=_size, metavar="WxH", help="image size in pixels")
    group.add_argument("--fps", type=positive, help="frames per second")
    group.add_argument("--sequence", help="which sequence of a file that holds several")
    group.add_argument("--video", type=Path, help="the video that a keypoint file belongs to")
    group.add_argument(
        "--person",
        help="name or number of one person, or all (default: the one seen longest and largest)",
    )


def _add_model_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model", type=Path, help="weights of a lifter or of a masked model (default: released)"
    )
    group.add_argument("--onnx", type=Path, help="a model of python -m common.export in its place")
    group.add_argument(
        "--model_rate",
        type=positive,
        help="frames per second of the model's windows (default: told by its file)",
    )
    group.add_argument(
        "--occluded",
        action="store_true",
        help="recover joints that nobody sees, by the released masked model",
    )
    group.add_argument(
        "--complete",
        action="store_true",
        help="the input is 3D motion (frames, 17 or 16, 3) in metres with NaN where joints are "
        "missing; a model of --comp3d fills them in (default: released)",
    )
    group.add_argument(
        "--no_flip", action="store_true", help="do not average with the horizontal flip"
    )
    group.add_argument("--device", default="auto", help="auto, cpu or cuda")


def _add_joint_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--min_confidence",
        type=share_or_zero,
        default=MIN_CONFIDENCE,
        help="joints below it count as missing: a masked model fills them in, for a lifter short "
        "gaps are interpolated",
    )
    group.add_argument(
        "--max_gap",
        type=not_negative,
        default=MAX_GAP,
        help="longest gap to interpolate, in seconds",
    )
    group.add_argument(
        "--keep_swaps",
        action="store_true",
        help="leave left and right joints as detected where they are exchanged for some frames",
    )
    group.add_argument(
        "--smooth", choices=tuple(SMOOTHERS), help="smooth the result: %(choices)s", metavar="HOW"
    )


def _add_camera_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--focal", type=positive, help="focal length in pixels")
    group.add_argument("--fov", type=degrees(1, 179), help="horizontal field of view in degrees")
    group.add_argument(
        "--calibration",
        type=Path,
        help="intrinsics and distortion: OpenCV as JSON or npz, Pose2Sim's TOML, Qualisys, or the "
        "form of h36m_cameras.json",
    )
    group.add_argument("--camera", help="which camera of the calibration file")
    group.add_argument(
        "--camera_pitch",
        type=degrees(-90, 90),
        help="degrees that the camera looks down (default: found)",
    )
    group.add_argument(
        "--camera_height", type=positive, help="metres above the ground (default: found)"
    )


def _check(args: argparse.Namespace) -> None:
    given = [f"--{n}" for n in ("focal", "fov", "calibration") if getattr(args, n) is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} exclude each other: one of them is enough")
    if args.camera is not None and args.calibration is None:
        raise UserError("--camera chooses a camera of a --calibration file, which is not given")
    if args.onnx is not None and args.model is not None:
        raise UserError("--model and --onnx exclude each other: one of them is enough")
    if args.complete and args.onnx is not None:
        raise UserError("--complete needs the weights of a --comp3d model (--model), not --onnx")
    if args.occluded:
        others = ("model", "onnx", "complete")
        if given := [f"--{name}" for name in others if getattr(args, name)]:
            raise UserError(
                f"--occluded takes the released model for that, so {given[0]} is one too many"
            )
    if args.model_rate is not None and args.model_rate > 1000:
        raise UserError(f"--model_rate {args.model_rate:g} is above 1000 frames/s")


def _weights(args: argparse.Namespace) -> Path | None:
    """The weight file; None where an ONNX file takes its place."""
    if args.onnx is not None:
        return None
    released = COMPLETION_MODEL if args.complete else OCCLUDED_MODEL if args.occluded else None
    return args.model or released


def _formats(text: str) -> list[str]:
    names = list(dict.fromkeys(name_list(text)))
    unknown = [name for name in names if name not in WRITERS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{text!r} is no comma list of {', '.join(WRITERS)}")
    return names


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,5})[xX]([1-9]\d{0,5})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in pixels, as 1920x1080")
    return int(found[1]), int(found[2])


@dataclass(frozen=True)
class ExportConfig:
    """What `python -m common.export` needs.

    Attributes:
        weights: of a lifter or a masked lifting model.
        path: the ONNX file.
        rate: frames per second of its windows; None to take it from the file.
        force: whether a file that is there is replaced.
    """

    weights: Path
    path: Path
    rate: float | None
    force: bool


def export(argv: Sequence[str] | None = None) -> ExportConfig:
    """Read and check the command line of `python -m common.export`; see `predict`."""
    parser = Parser(
        prog="python -m common.export",
        description="Export a lifter or a masked lifting model to ONNX.",
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="weights (.pth)")
    parser.add_argument("onnx", type=Path, metavar="ONNX", help="the file to write (.onnx)")
    parser.add_argument("--model_rate", type=positive, help="frames per second of its windows")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    args = parser.parse_args(argv)
    if args.onnx.suffix != ".onnx":
        raise UserError(f"{args.onnx}: the name must end in .onnx")
    check_output(args.onnx, inputs=[args.weights], force=args.force, keep_ours=True)
    return ExportConfig(args.weights, args.onnx, args.model_rate, args.force)
