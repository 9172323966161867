"""From the words of a command line to complete, checked options."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.cli.demos import expanded
from common.cli.effects import without_effect
from common.cli.flags import build_parser
from common.cli.parser import Parser
from common.cli.values import name_list
from common.data.base import DataSet
from common.data.registry import DATA_SETS
from common.errors import UserError, shown
from common.evaluation import official_3dhp
from common.files import check_memory
from common.log import LOG
from common.outputs import check_output
from common.training.checkpoint import FirstWeights, WeightFile
from common.training.processes import was_restarted
from common.training.run_folder import RESUME_FILE
from common.training.run_state import RunState
from model.encoders import STRIDES_BY_FRAMES

# Flags that a loaded checkpoint decides where the command line does not: by the shapes of its
# tensors, and by what files of ours record.
ADOPTED = ("frames", "layers", "n_joints", "channel", "d_hid")
ADOPTED_FROM_RECORD = ("t_downsample", "causal", "backbone", "normalise")
ADOPTED_IN_PART = ("normalise",)  # of these also from a pre-trained file, loaded in part


def read(script: str, argv: Sequence[str] | None) -> tuple[argparse.Namespace, FirstWeights]:
    """The options, complete and checked, and the weights that the model starts from."""
    words = expanded(script, list(sys.argv[1:] if argv is None else argv))
    parser = build_parser(script)
    args, given = _parse(parser, words)
    args.command = shlex.join(["python", script, *words])
    _check_paths(script, args)
    weights = _first_weights(script, args)
    _adopt(parser, args, given, weights)
    args.poseaug = _poseaug(script, args, given="poseaug" in given)
    args.pad = (args.frames - 1) // 2
    args.checkpoint = str(_run_folder(script, args))
    _check(script, args)
    if args.train and not args.resume and was_restarted() and _holds_this_run(args):
        LOG.info("note: this job was started again and resumes the run in %s", args.checkpoint)
        args.resume = True
    idle = without_effect(script, args, given, _defaults(parser))
    if idle:
        LOG.warning("warning: without effect here: %s", "; ".join(idle))
    return args, FirstWeights() if resumes(args) else weights


def _parse(parser: Parser, words: Sequence[str]) -> tuple[argparse.Namespace, frozenset[str]]:
    """The options, and the names of those that the command line gives."""
    defaults = _defaults(parser)
    open_ = object()  # stands for every default while the words are read
    args = parser.parse_args(words, argparse.Namespace(**dict.fromkeys(defaults, open_)))
    given = {name for name, value in vars(args).items() if value is not open_}
    args.__dict__ |= {name: value for name, value in defaults.items() if name not in given}
    return args, frozenset(given)


def _defaults(parser: Parser) -> dict[str, Any]:
    return {a.dest: a.default for a in parser._actions if a.default is not argparse.SUPPRESS}


def _first_weights(script: str, args: argparse.Namespace) -> FirstWeights:
    """The file that the command line names; a resumed run can do without it."""
    pre_trained = args.MAEcp if script == "pretrainer.py" else args.previous_dir
    path = args.previous_dir if args.reload else pre_trained if args.MAEreload else ""
    if not path or (resumes(args) and not Path(path).exists()):
        return FirstWeights()
    file = WeightFile.load(path)
    return FirstWeights(whole=file) if args.reload else FirstWeights(matching=file)


def _adopt(
    parser: Parser, args: argparse.Namespace, given: frozenset[str], weights: FirstWeights
) -> None:
    """Set the model's options that the command line leaves open to those of a checkpoint."""
    file = weights.whole or weights.matching
    if file is None:
        return
    held: dict[str, Any] = dict(file.flags())
    recorded_flags = ADOPTED_FROM_RECORD if weights.whole is not None else ADOPTED_IN_PART
    held |= {n: v for n, v in file.record.items() if n in recorded_flags}
    adopted: list[str] = []
    for name, value in held.items():
        default = getattr(args, name)
        if name not in given and value != default and type(value) is type(default):
            adopted += [f"--{name}", str(value)]
    if not adopted:
        return
    asked = shown(" ".join(adopted))
    try:
        parser.parse_args(adopted, args)
    except UserError as error:
        raise UserError(f"{file.path} asks for {asked}: {shown(error)}") from None
    LOG.info("from %s: %s", file.path, asked)


def _poseaug(script: str, args: argparse.Namespace, *, given: bool) -> int:
    """Masked pre-training on 16-joint Human3.6M alone turns PoseAug on by itself."""
    by_itself = args.train and args.MAE and script == "pretrainer.py" and _can_augment(args)
    return 1 if by_itself and not given else args.poseaug


def _can_augment(args: argparse.Namespace) -> bool:
    return (
        name_list(args.dataset) == ["h36m"]
        and args.n_joints == 16
        and masked_task(args) == "pretrain"
    )


def _run_folder(script: str, args: argparse.Namespace) -> Path:
    """The folder that a run writes to, under the published name."""
    stage = "pretrain_" if script == "pretrainer.py" else "finetune_"
    name = args.name if args.train else "test"
    rate = f"{args.temporal_mask_rate:.2f}"
    return Path("checkpoint") / f"{stage}{name}_f{args.frames}_t{rate}"


def _holds_this_run(args: argparse.Namespace) -> bool:
    """Whether the run folder holds what a job that was cut short has left."""
    path = Path(args.checkpoint) / RESUME_FILE
    if not path.exists():
        return False
    state = RunState.read(path)
    # A finished run of the same command was cut short in its test; of another one it is of earlier.
    return not state.position.finished or state.options.get("command") == args.command


def resumes(args: argparse.Namespace) -> bool:
    """Whether an interrupted training is resumed; evaluations ignore -r."""
    return bool(args.train and args.resume)


# ---- checks that take more than one flag, or more than one value


def _check_paths(script: str, args: argparse.Namespace) -> None:
    for flag, path_flag in (
        ("reload", "previous_dir"),
        ("MAEreload", "MAEcp" if script == "pretrainer.py" else "previous_dir"),
        ("refine_reload", "previous_refine_name"),
    ):
        if getattr(args, flag) and not getattr(args, path_flag):
            raise UserError(f"--{flag} 1 needs a path: --{path_flag}")
    if predictions := args.save_predictions:
        if not predictions.endswith(".npz"):
            raise UserError(f"--save_predictions {predictions}: the name must end in .npz")


def _check_size(args: argparse.Namespace) -> None:
    """Require a model that fits into memory before any of it is made."""
    width, hidden = args.channel, args.d_hid
    strides = len(STRIDES_BY_FRAMES[args.frames])
    blocks = args.layers * (4 * width**2 + 2 * width * hidden)
    strided = strides * (4 * width**2 + 4 * width * hidden)
    parameters = blocks + strided + 10 * width**2 + 6 * width * (args.frames + 3 * args.n_joints)
    # With a gradient and three moments of each when training; 4 bytes a number.
    try:
        check_memory(4 * parameters * (5 if args.train else 1))
    except MemoryError as error:
        raise UserError(
            f"--layers {args.layers} --channel {width} --d_hid {hidden}: about {parameters:.1e} "
            f"parameters need more memory than this machine has ({error})"
        ) from None


def _check_predictions(args: argparse.Namespace, data_set: DataSet) -> None:
    """Require that predictions replace nothing of value; they may become two files."""
    path = Path(args.save_predictions)
    paths = [path, path.with_suffix(".mat")][: 2 if official_3dhp.applies_to(data_set) else 1]
    inputs = (
        args.root_path,
        args.previous_dir,
        args.MAEcp,
        args.previous_refine_name,
        args.generators,
    )
    for path in paths:
        check_output(path, inputs=inputs, force=args.force, flag="--save_predictions")


def _check(script: str, args: argparse.Namespace) -> None:
    if args.channel % 8:
        raise UserError(f"--channel {args.channel} is not a multiple of 8, the attention heads")
    _check_size(args)
    chosen = data_sets(script, args)
    if args.save_predictions:
        _check_predictions(args, chosen[0])
    if args.actions != "*" and not any(data_set.has_actions for data_set in chosen):
        raise UserError(f"--actions {args.actions}: only Human3.6M's sequences have actions")
    if args.poseaug and args.train and not _can_augment(args):
        raise UserError(
            "--poseaug 1 is for masked pre-training with --n_joints 16 on --dataset h36m alone"
        )
    if args.poseaug and args.train and len(args.modalities) < 2:
        raise UserError("PoseAug makes pairs of 2D and 3D: use --modalities 2d,3d or --poseaug 0")
    if args.normalise != "width":
        _check_normalisation(args, chosen)
    if args.refine and not all(data_set.has_cameras for data_set in chosen):
        titles = ", ".join(d.title for d in chosen if not d.has_cameras)
        raise UserError(f"--refine needs the camera's intrinsics; files of {titles} hold none")
    if args.name != Path(args.name).name and args.name:
        raise UserError(f"--name {args.name!r} is part of a folder's name and holds no slash")


def _check_normalisation(args: argparse.Namespace, chosen: Sequence[DataSet]) -> None:
    without = ", ".join(d.title for d in chosen if not d.has_cameras)
    for wrong, reason in (
        (without, f"files of {without} hold no intrinsics"),
        (args.crop_uv, "--crop_uv 1 leaves 2D in pixels"),
        (args.poseaug and args.train, "PoseAug's generators project to the image's width"),
    ):
        if wrong:
            raise UserError(f"--normalise {args.normalise}: {reason}; use --normalise width")


def data_sets(script: str, args: argparse.Namespace) -> tuple[DataSet, ...]:
    """The data sets that --dataset lists.

    Raises:
        UserError: an unknown name, one named twice, weights that do not go with them, or several
            for a lifter.
    """
    if script == "trainer_3dhp.py":
        return (DATA_SETS["3dhp"],)
    names = name_list(args.dataset)
    if not names or set(names) - set(DATA_SETS) or len(set(names)) < len(names):
        raise UserError(
            f"--dataset {args.dataset!r} is not a comma list of {', '.join(DATA_SETS)}, each once"
        )
    if args.dataset_weights and len(args.dataset_weights) != len(names):
        raise UserError(
            f"--dataset_weights gives {len(args.dataset_weights)} numbers for the {len(names)} "
            f"data sets {args.dataset}"
        )
    chosen = tuple(DATA_SETS[name] for name in names)
    if script != "pretrainer.py" and (len(chosen) > 1 or chosen[0].table is None):
        raise UserError(
            f"--dataset {args.dataset}: a lifter trains on one data set that has test poses, "
            f"{' or '.join(d.name for d in DATA_SETS.values() if d.table)}"
        )
    return chosen


def masked_task(args: argparse.Namespace) -> str:
    """What a masked model is trained for: "pretrain", "onlylift", "comp3d" or "comp2dlift".

    Raises:
        UserError: more than one is asked for.
    """
    asked = [name for name in ("onlylift", "comp3d", "comp2dlift") if getattr(args, name)]
    if len(asked) > 1:
        raise UserError(f"--{' and --'.join(asked)} exclude each other")
    return asked[0] if asked else "pretrain"


def recorded(args: argparse.Namespace) -> dict[str, Any]:
    """The options as files hold them."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in sorted(vars(args).items())
    }
