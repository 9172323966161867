"""The command line of the three entry scripts.

Names, short forms, types and defaults of the published flags are a contract (tests/test_options.py
freezes them); flags of our own stand in groups of their own.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from common.errors import UserError

DEBUG_FRAMES = 300
TRAIN_SUBJECTS = ["S1", "S5", "S6", "S7", "S8"]  # of Human3.6M, as TEST_SUBJECTS
TEST_SUBJECTS = ["S9", "S11"]
DATA_SETS = ("h36m", "3dhp", "amass")
FRAMES = (1, 9, 27, 81, 243, 351)
ROOT = Path(__file__).resolve().parents[2]
SAMPLE_FOLDER = ROOT / "dataset" / "sample"
GENERATOR_FOLDER = Path(os.path.relpath(ROOT / "Augpart" / "chk"))  # short in messages
DEMOS: dict[str, list[str]] = {
    "trainer.py": (
        "--train 1 -k gt -f 27 -tds 2 --n_joints 17 --layers 3 --channel 64 --d_hid 128 -b 128 "
        "-s 4 --lr 0.003 -lrd 0.8 --nepoch 8 --name demo --vis 1"
    ).split(),
}
# Options that may differ between an interrupted run and the one that goes on from it.
FREE_ON_RESUME = frozenset(
    "command resume demo gpu workers nepoch save_predictions vis pad checkpoint "
    "previous_dir previous_name previous_refine_name reload refine_reload MAEreload MAEcp".split()
)


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Turn a complaint into the exception that the scripts report."""
        raise UserError(f"{message} ({self.prog} --help lists the options)")


def parse(script: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read and check the command line.

    Args:
        script: name of the entry script, for example "trainer.py".
        argv: the words after it; None takes those of the process.

    Returns:
        The options. Further to the flags: `command`, the full command that they stand for.

    Raises:
        UserError: an unknown flag or a value that cannot be.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if "--demo" in words:
        sample = os.path.join(os.path.relpath(SAMPLE_FOLDER), "")
        words.remove("--demo")
        words = ["--root_path", sample, *DEMOS[script], *words]
    parser = build_parser(script)
    args, unknown = parser.parse_known_args(words)
    if unknown:
        parser.error(_unknown_message(unknown, parser))
    args.poseaug = _poseaug(script, args, given="--poseaug" in " ".join(words))
    args.command = shlex.join(["python", script, *words])
    args.pad = (args.frames - 1) // 2
    args.checkpoint = str(checkpoint_folder(script, args))
    _check(script, args)
    return args


def _poseaug(script: str, args: argparse.Namespace, *, given: bool) -> int:
    """Masked pre-training on 16-joint Human3.6M alone turns PoseAug on by itself."""
    if given or script != "pretrainer.py" or not (args.train and _can_augment(args)):
        return args.poseaug
    return 1


def _can_augment(args: argparse.Namespace) -> bool:
    return args.dataset == "h36m" and args.n_joints == 16 and masked_task(args) == "pretrain"


def checkpoint_folder(script: str, args: argparse.Namespace) -> Path:
    """The folder that a run writes to (SPEC section 7)."""
    stage = "pretrain_" if script == "pretrainer.py" else "finetune_"
    name = args.name if args.train else "test"
    rate = f"{args.temporal_mask_rate:.2f}"
    return Path("checkpoint") / f"{stage}{name}_f{args.frames}_t{rate}"


def build_parser(script: str) -> Parser:
    """All flags; every script takes all of them, as the published commands do."""
    parser = Parser(prog=script, allow_abbrev=False, formatter_class=_Help)
    _add_model_flags(parser.add_argument_group("model"))
    _add_data_flags(parser.add_argument_group("data"))
    _add_training_flags(parser.add_argument_group("training and evaluation"))
    _add_checkpoint_flags(parser.add_argument_group("checkpoints"))
    _add_masking_flags(parser.add_argument_group("masked modelling"))
    _add_own_flags(parser.add_argument_group("beyond the published flags"))
    return parser


class _Help(argparse.HelpFormatter):
    """Shows defaults where a flag has help."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        shown = action.default not in (None, "", argparse.SUPPRESS) and action.nargs != 0
        return f"{text} (default: %(default)s)" if shown else text


def _add_model_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--layers", type=at_least(1), default=3, help="blocks of the encoder")
    group.add_argument("--channel", type=at_least(8), default=256, help="token width")
    group.add_argument("--d_hid", type=at_least(1), default=512, help="feed-forward width")
    group.add_argument("-f", "--frames", type=int, choices=FRAMES, default=243, help="window")
    group.add_argument("--pad", type=int, default=121, help="always (frames - 1) / 2")
    group.add_argument("--n_joints", type=int, choices=(16, 17), default=16, help="joints")
    group.add_argument("--out_all", type=int, choices=(0, 1), default=1, help="train every frame")
    group.add_argument("--in_channels", type=int, choices=(2,), default=2, help="input coordinates")
    group.add_argument("--out_channels", type=int, choices=(3,), default=3, help="of the output")
    group.add_argument("--refine", action="store_true", help="refine the lifted pose")
    group.add_argument("--model", default="", help="accepted, no effect")
    group.add_argument("--dim", type=int, default=2, help="part of the names of weight files")


def _add_data_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--dataset", default="h36m", help="comma list of h36m, 3dhp, amass")
    group.add_argument(
        "-k", "--keypoints", default="cpn_ft_h36m_dbb", help="which data_2d_h36m_<k>.npz"
    )
    group.add_argument("--data_augmentation", type=boolean, default=True, help="mirror (training)")
    group.add_argument(
        "--reverse_augmentation", type=boolean, default=False, help="reverse time (training)"
    )
    group.add_argument(
        "--test_augmentation", type=boolean, default=False, help="mirror and average (test)"
    )
    group.add_argument("--crop_uv", type=int, choices=(0, 1), default=0, help="1: 2D in pixels")
    group.add_argument("--root_path", default="./dataset/", help="data folder")
    group.add_argument("-a", "--actions", default="*", help="comma list of action-name prefixes")
    group.add_argument("--downsample", type=at_least(1), default=1, help="keep every n-th frame")
    group.add_argument("--subset", type=share, default=1.0, help="share of each training sequence")
    group.add_argument("-s", "--stride", type=at_least(1), default=1, help="between windows")
    group.add_argument(
        "-tds", "--t_downsample", type=at_least(1), default=1, help="frame step inside a window"
    )


def _add_training_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--gpu", type=device_list, default=[0, 1], help="comma list of devices")
    group.add_argument("--train", type=int, choices=(0, 1), default=0, help="train")
    group.add_argument("--test", type=int, choices=(0, 1), default=1, help="evaluate")
    group.add_argument("--nepoch", type=at_least(1), default=50, help="epochs")
    group.add_argument("-b", "--batchSize", type=at_least(1), default=160, help="windows a step")
    group.add_argument("--lr", type=positive, default=1e-3, help="learning rate")
    group.add_argument("--lr_refine", type=float, default=1e-5, help="accepted, no effect")
    group.add_argument("-lrd", "--lr_decay", type=positive, default=0.95, help="after an epoch")
    group.add_argument("--lr_decay_large", type=positive, default=0.5, help="instead, every ...")
    group.add_argument("--large_decay_epoch", type=at_least(1), default=60, help="... so often")
    group.add_argument("--workers", type=at_least(0), default=8, help="accepted, no effect")
    group.add_argument("--manualSeed", type=int, default=1, help="seed of every random source")
    group.add_argument("--debug", type=int, default=0, help="1: a few hundred samples")
    group.add_argument("--vis", type=int, default=0, help="1: draw pictures")
    group.add_argument("--frozen", type=int, default=0, help="1: freeze --frozen_parts")


def _add_checkpoint_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-c", "--checkpoint", default="model", help="replaced by the run's folder")
    group.add_argument("--name", default="", help="task name, part of the run's folder")
    group.add_argument("--reload", type=int, default=0, help="1: load a whole model")
    group.add_argument("--previous_dir", default="", help="its path (or of the pre-trained one)")
    group.add_argument("--refine_reload", type=int, default=0, help="1: load a refiner")
    group.add_argument("--previous_refine_name", default="", help="its path")
    group.add_argument("--MAEreload", type=int, default=0, help="1: take over what matches")
    group.add_argument("--MAEcp", default="", help="pre-trained file (pretrainer)")
    group.add_argument(
        "-previous_best_threshold", type=float, default=float("inf"), help="error to beat, mm"
    )
    group.add_argument("-previous_name", default="", help="accepted, no effect")
    group.add_argument(
        "-r", "--resume", action="store_true", help="go on from an interrupted run, exactly"
    )


def _add_masking_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--MAE", action="store_true", help="masked modelling data")
    group.add_argument(
        "-tmr", "--temporal_mask_rate", type=share_below_one, default=0.8, help="hidden frames"
    )
    group.add_argument(
        "-smn", "--spatial_mask_num", type=at_least(0), default=2, help="hidden joints a frame"
    )
    group.add_argument("--onlylift", type=int, default=0, help="1: lift masked 2D")
    group.add_argument("--comp3d", type=int, default=0, help="1: complete 3D")
    group.add_argument("--comp2dlift", type=int, default=0, help="1: lift incomplete 2D")
    group.add_argument("--mask_manner3D", default="0,1,2,3,6", help="limbs to hide in 3D")
    group.add_argument("--mask_manner2D", default="0,1,2,3,9", help="limbs to hide in 2D")
    group.add_argument("--poseaug", type=int, default=0, help="1: augment by a generator")
    group.add_argument("--ba_range_m", type=float, default=0.155, help="PoseAug range")
    group.add_argument("--ba_range_w", type=float, default=0.125, help="PoseAug range")
    group.add_argument("--blr_tanhlimit", type=float, default=0.15, help="PoseAug range")
    group.add_argument("--blr_limit", type=float, default=0.1, help="PoseAug range")


def _add_own_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--demo", action="store_true", help="a small run on dataset/sample/")
    for part, subjects in (("train", TRAIN_SUBJECTS), ("test", TEST_SUBJECTS)):
        group.add_argument(
            f"--subjects_{part}",
            type=name_list,
            help=f"comma list of subjects, of Human3.6M if it is among the data sets (default: "
            f"{','.join(subjects)}), else of MPI-INF-3DHP (default: all)",
        )
    group.add_argument(
        "--precision", choices=("fp32", "tf32", "bf16"), default="fp32", help="of products"
    )
    group.add_argument("--compile", action="store_true", help="compile the model")
    group.add_argument(
        "--micro_batch",
        type=at_least(0),
        default=0,
        help="compute a training step in parts of so many windows; 0: on CPU as memory allows, "
        "on a GPU whole",
    )
    group.add_argument(
        "--frozen_parts",
        type=name_list,
        default=["encoder2d", "shared_layers_spatial", "shared_layers_temporal"],
        help="comma list of parts of the model",
    )
    group.add_argument(
        "--legacy_flip_mask",
        type=int,
        default=0,
        help="1: the mirrored pass of a completion test hides the same joints, as published",
    )
    group.add_argument("--save_predictions", default="", metavar="FILE.npz", help="3D poses")
    group.add_argument(
        "--dataset_weights",
        type=positive_list,
        default=[],
        help="comma list, one a --dataset: shares of the windows of an epoch (default: as many as "
        "each has)",
    )
    group.add_argument(
        "--generators",
        type=Path,
        default=GENERATOR_FOLDER,
        help="folder of the generators of --poseaug 1 (default: Augpart/chk/)",
    )
    group.add_argument(
        "--legacy_3dhp_scale",
        type=int,
        default=0,
        help="1: divide the normalised 2D of MPI-INF-3DHP by 1000; released checkpoints expect it",
    )
    group.add_argument(
        "--metric_3dhp",
        choices=("published", "official"),
        default="published",
        help="PCK and AUC over 16 joints and all frames, or by the benchmark's own protocol",
    )


def boolean(text: str) -> bool:
    """A real boolean, unlike `type=bool`."""
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return values[text.lower()]


def at_least(low: int) -> Callable[[str], int]:
    """An integer that is not below `low`."""

    def integer(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{text} is below {low}")
        return value

    return integer


def _number(text: str, allowed: Callable[[float], bool], what: str) -> float:
    value = float(text)
    if not allowed(value):
        raise argparse.ArgumentTypeError(f"{text} is not {what}")
    return value


def positive(text: str) -> float:
    """A finite number above 0."""
    return _number(text, lambda x: 0 < x < float("inf"), "a number above 0")


def positive_list(text: str) -> list[float]:
    """Numbers above 0 from a comma list."""
    return [positive(word) for word in name_list(text)]


def share(text: str) -> float:
    """A number above 0, at most 1."""
    return _number(text, lambda x: 0 < x <= 1, "above 0 and at most 1")


def share_below_one(text: str) -> float:
    """A number from 0 to below 1."""
    return _number(text, lambda x: 0 <= x < 1, "from 0 to below 1")


def device_list(text: str) -> list[int]:
    """Device numbers from a comma list; an empty one means CPU."""
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a comma list of device numbers such as 0,1"
        ) from None


def name_list(text: str) -> list[str]:
    """Names from a comma list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _unknown_message(unknown: list[str], parser: Parser) -> str:
    for word in unknown:
        for dash in ("-", "--"):
            if dash + word in parser._option_string_actions:
                rest = unknown[unknown.index(word) + 1 :][:1]
                meant = " ".join([dash + word, *rest])
                return f"unknown argument {' '.join([word, *rest])!r}; {meant!r} is meant?"
    return f"unknown argument {' '.join(unknown)!r}"


def _check(script: str, args: argparse.Namespace) -> None:
    """Checks that take more than one flag, or more than one value."""
    if args.channel % 8:
        raise UserError(f"--channel {args.channel} is not a multiple of 8, the attention heads")
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
        if not Path(predictions).absolute().parent.is_dir():
            raise UserError(f"--save_predictions {predictions}: no such folder")
    human36m = "h36m" in data_sets(args) and script != "trainer_3dhp.py"
    if args.actions != "*" and not human36m:
        raise UserError(f"--actions {args.actions}: only Human3.6M's sequences have actions")
    if script == "trainer.py" and args.dataset != "h36m":
        raise UserError(
            f"--dataset {args.dataset}: trainer.py reads h36m; trainer_3dhp.py reads MPI-INF-3DHP"
        )
    if args.poseaug and args.train and not _can_augment(args):
        raise UserError(
            "--poseaug 1 is for masked pre-training with --n_joints 16 on --dataset h36m alone"
        )
    if script == "trainer_3dhp.py" and args.refine:
        raise UserError("--refine needs the camera's intrinsics, MPI-INF-3DHP's files hold none")
    if args.name != Path(args.name).name and args.name:
        raise UserError(f"--name {args.name!r} is part of a folder's name and holds no slash")


def devices(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `common.runtime.start`."""
    return {"gpus": args.gpu, "seed": args.manualSeed, "precision": args.precision}


def data_sets(args: argparse.Namespace) -> list[str]:
    """The names that --dataset lists.

    Raises:
        UserError: an unknown name, one named twice, or weights that do not go with them.
    """
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
    return names


def _data(args: argparse.Namespace) -> dict[str, Any]:
    """What every loader takes."""
    return {
        "root_path": args.root_path,
        "num_joints": args.n_joints,
        "downsample": args.downsample,
        "subset": args.subset,
        "max_frames": DEBUG_FRAMES if args.debug else None,
    }


def h36m_data(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `common.h36m.load_stores`."""
    train = args.subjects_train or TRAIN_SUBJECTS
    test = args.subjects_test or TEST_SUBJECTS
    return {
        **_data(args),
        "keypoints": args.keypoints,
        "train_subjects": train if args.train else None,
        "test_subjects": test if args.test else None,
        "actions": None if args.actions == "*" else name_list(args.actions),
        "pixels": bool(args.crop_uv),
        "unknown_3d": not (args.train or args.refine or args.MAE),
    }


def mpi_inf_3dhp_data(args: argparse.Namespace, *, beside_h36m: bool) -> dict[str, Any]:
    """Arguments of `common.mpi_inf_3dhp.load_stores`.

    Beside Human3.6M all its subjects are used: those that the command line chooses are the other's.
    """
    return {
        **_data(args),
        "train_subjects": None if beside_h36m else args.subjects_train,
        "test_subjects": None if beside_h36m else args.subjects_test,
        "train": bool(args.train),
        "test": bool(args.test),
        "pixels": bool(args.crop_uv),
        "legacy_scale": bool(args.legacy_3dhp_scale),
    }


def amass_data(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `common.amass.load_stores`."""
    return {**_data(args), "train": bool(args.train)}


def data(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The argument of `common.data_sets.load_stores`."""
    names = data_sets(args)
    arguments: dict[str, Callable[[], dict[str, Any]]] = {
        "h36m": lambda: h36m_data(args),
        "3dhp": lambda: mpi_inf_3dhp_data(args, beside_h36m="h36m" in names),
        "amass": lambda: amass_data(args),
    }
    return {name: arguments[name]() for name in names}


def model_size(args: argparse.Namespace) -> dict[str, int]:
    """Arguments of the models that decide their shapes."""
    return {
        "frames": args.frames,
        "num_joints": args.n_joints,
        "layers": args.layers,
        "width": args.channel,
        "hidden_width": args.d_hid,
    }


def lifter(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `common.models.build_lifter`, but the size."""
    reload_refiner = args.refine_reload and not _resumes(args)
    return {
        **_first_weights(args, args.previous_dir),
        "refine": args.refine,
        "every_frame": bool(args.out_all),
        "refiner": args.previous_refine_name if reload_refiner else None,
    }


def masked_model(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `common.models.build_masked_model`, but the size."""
    return {
        **_first_weights(args, args.MAEcp),
        "decoder_depth": 1 if masked_task(args) == "pretrain" else 2,
    }


def _first_weights(args: argparse.Namespace, pre_trained: str) -> dict[str, str | None]:
    """The files that a model begins with: one for all tensors, one for those that match."""
    begins = not _resumes(args)  # the resume file holds all weights
    return {
        "whole": args.previous_dir if args.reload and begins else None,
        "matching": pre_trained if args.MAEreload and begins else None,
    }


def _resumes(args: argparse.Namespace) -> bool:
    return bool(args.train and args.resume)


def augmentation(args: argparse.Namespace) -> dict[str, Any]:
    """How training windows are multiplied: fields of `common.windows.WindowRule`."""
    return {
        "stride": args.stride,
        "mirror": args.data_augmentation,
        "reverse": args.reverse_augmentation,
    }


def schedule(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of `common.training.Schedule`."""
    return {
        "epochs": args.nepoch,
        "batch_size": args.batchSize,
        "micro_batch": args.micro_batch,
        "learning_rate": args.lr,
        "decay": args.lr_decay,
        "large_decay": args.lr_decay_large,
        "large_decay_epoch": args.large_decay_epoch,
        "seed": args.manualSeed,
        "best": args.previous_best_threshold,
    }


def masked_task(args: argparse.Namespace) -> str:
    """What a masked model is trained for: "pretrain", "onlylift", "comp3d" or "comp2dlift".

    Raises:
        UserError: more than one is asked for.
    """
    asked = [name for name in ("onlylift", "comp3d", "comp2dlift") if getattr(args, name)]
    if len(asked) > 1:
        raise UserError(f"--{' and --'.join(asked)} exclude each other")
    return asked[0] if asked else "pretrain"


def masking(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of `common.pretrain_engine.Masking`.

    Raises:
        UserError: a mask number or joint count that cannot be.
    """
    if args.spatial_mask_num > args.n_joints:
        raise UserError(f"-smn {args.spatial_mask_num} is more than the {args.n_joints} joints")
    return {
        "task": masked_task(args),
        "num_masked_joints": args.spatial_mask_num,
        "frame_mask_ratio": args.temporal_mask_rate,
        "numbers_2d": _mask_numbers("mask_manner2D", args.mask_manner2D, args.n_joints),
        "numbers_3d": _mask_numbers("mask_manner3D", args.mask_manner3D, args.n_joints),
    }


def _mask_numbers(flag: str, text: str, num_joints: int) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in name_list(text))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0 or max(numbers) - 3 > num_joints:
        raise UserError(
            f"--{flag} {text!r} is not a comma list of limb sets 0 to 3 or of numbers up to "
            f"{num_joints + 3} (m from 4 on hides m - 3 joints at random)"
        )
    return numbers


def recorded(args: argparse.Namespace) -> dict[str, Any]:
    """The options as files hold them."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in sorted(vars(args).items())
    }


def run_folder(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of `common.run_folder.RunFolder`."""
    return {
        "path": Path(args.checkpoint),
        "options": recorded(args),
        "free_on_resume": FREE_ON_RESUME,
        "train": bool(args.train),
        "resume": _resumes(args),
    }
