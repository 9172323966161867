"""The flags of the three entry scripts.

Names, short forms, types and defaults of the published flags are a contract (tests/test_options.py
freezes them); flags of our own stand in groups of their own.
"""

import argparse
from pathlib import Path

from common.cli.demos import ROOT
from common.cli.masking_flags import add_masking_flags
from common.cli.parser import Parser
from common.cli.values import (
    at_least,
    boolean,
    device_list,
    finite,
    integer,
    modality_list,
    name_list,
    not_nan,
    not_negative,
    positive,
    positive_list,
    seed,
    share,
)
from common.data import h36m
from common.data.camera import NORMALISATIONS
from common.data.detections import MAX_GAP
from common.data.registry import DATA_SETS
from common.files import short_path
from model.build import LIFTERS
from model.encoders import STRIDES_BY_FRAMES

GENERATOR_FOLDER = short_path(ROOT / "Augpart" / "chk")
GENERATOR_SCRIPT = "Augpart/train_generator.py"
DESCRIPTIONS = {
    "trainer.py": "Train, evaluate and refine a lifter (2D sequence -> 3D pose) on Human3.6M.",
    "trainer_3dhp.py": "Train and evaluate a lifter (2D sequence -> 3D pose) on MPI-INF-3DHP.",
    "pretrainer.py": "Train and evaluate a masked model: pre-training, completion of poses, "
    "lifting of occluded 2D.",
}
NO_EFFECT = "accepted for compatibility, no effect"


def build_parser(script: str) -> Parser:
    """All flags; every script takes all of them, as the published commands do."""
    usage = f"python {script} [flags]"
    parser = Parser(prog=script, usage=usage, description=DESCRIPTIONS[script])
    _add_model_flags(parser.add_argument_group("model"))
    _add_data_flags(parser.add_argument_group("data"))
    _add_training_flags(parser.add_argument_group("training and evaluation"))
    _add_checkpoint_flags(parser.add_argument_group("checkpoints"))
    add_masking_flags(parser.add_argument_group("masked modelling (pretrainer.py)"))
    _add_own_flags(parser.add_argument_group("beyond the published flags"))
    _add_unused_flags(parser.add_argument_group("flags without effect"))
    return parser


def _add_model_flags(group: argparse._ArgumentGroup) -> None:
    joints = sorted({n for data_set in DATA_SETS.values() for n in data_set.skeletons})
    adopted = "; taken from a loaded checkpoint if not given"
    group.add_argument(
        "-f",
        "--frames",
        type=int,
        choices=sorted(STRIDES_BY_FRAMES),
        default=243,
        help=f"number of frames per window, one of %(choices)s{adopted}",
        metavar="T",
    )
    group.add_argument(
        "--n_joints",
        type=int,
        choices=joints,
        default=16,
        help=f"number of joints, one of %(choices)s{adopted}",
        metavar="J",
    )
    group.add_argument(
        "--layers", type=at_least(1, 256), default=3, help=f"number of encoder layers{adopted}"
    )
    group.add_argument(
        "--channel",
        type=at_least(8, 2**16),
        default=256,
        help=f"token width, a multiple of 8{adopted}",
    )
    group.add_argument(
        "--d_hid", type=at_least(1, 2**18), default=512, help=f"feed-forward width{adopted}"
    )
    group.add_argument(
        "--refine", action="store_true", help="add the refiner, trained with the lifter"
    )
    group.add_argument(
        "--out_all",
        type=int,
        choices=(0, 1),
        default=1,
        help="1: the loss covers every frame of the window, 0: the target frame only",
    )
    group.add_argument(
        "--in_channels", type=int, choices=(2,), default=2, help="coordinates per input joint"
    )
    group.add_argument(
        "--out_channels", type=int, choices=(3,), default=3, help="coordinates per output joint"
    )


def _add_data_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--dataset",
        default="h36m",
        help=f"comma list of data sets: {', '.join(DATA_SETS)}; a lifter trains on one",
    )
    group.add_argument("--root_path", default="./dataset/", help="data folder")
    group.add_argument(
        "-k",
        "--keypoints",
        default="cpn_ft_h36m_dbb",
        help="2D keypoint set: NAME of data_2d_h36m_NAME.npz, gt for projected ground truth",
    )
    group.add_argument(
        "-a", "--actions", default="*", help="comma list of action prefixes (Human3.6M), * for all"
    )
    group.add_argument(
        "-tds", "--t_downsample", type=at_least(1), default=1, help="frame step inside a window"
    )
    group.add_argument(
        "-s",
        "--stride",
        type=at_least(1),
        default=1,
        help="step between the target frames of training windows",
    )
    group.add_argument("--downsample", type=at_least(1), default=1, help="keep every n-th frame")
    group.add_argument(
        "--subset", type=share, default=1.0, help="fraction of each training sequence to use"
    )
    group.add_argument(
        "--data_augmentation", type=boolean, default=True, help="horizontal flip at training"
    )
    group.add_argument(
        "--reverse_augmentation", type=boolean, default=False, help="time reversal at training"
    )
    group.add_argument(
        "--test_augmentation",
        type=boolean,
        default=False,
        help="average with the prediction of the horizontal flip at test",
    )
    group.add_argument(
        "--crop_uv", type=int, choices=(0, 1), default=0, help="1: keep 2D in pixels"
    )


def _add_training_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--train", type=int, choices=(0, 1), default=0, help="1: train")
    group.add_argument("--test", type=int, choices=(0, 1), default=1, help="1: evaluate")
    group.add_argument(
        "--gpu",
        type=device_list,
        default=[0, 1],
        help="comma list of GPU indices; missing ones are ignored, none left means CPU",
    )
    group.add_argument("--nepoch", type=at_least(1), default=50, help="number of epochs")
    group.add_argument(
        "-b",
        "--batchSize",
        type=at_least(1),
        default=160,
        help="batch size in windows, over all devices",
    )
    group.add_argument("--lr", type=positive, default=1e-3, help="initial learning rate")
    group.add_argument(
        "-lrd", "--lr_decay", type=positive, default=0.95, help="learning-rate factor per epoch"
    )
    group.add_argument(
        "--lr_decay_large",
        type=positive,
        default=0.5,
        help="factor used instead of --lr_decay every --large_decay_epoch epochs",
    )
    group.add_argument(
        "--large_decay_epoch", type=at_least(1), default=60, help="period of --lr_decay_large"
    )
    group.add_argument(
        "--manualSeed", type=seed, default=1, help="seed of every random number generator"
    )
    group.add_argument(
        "--frozen", type=integer, default=0, help="1: freeze the parts named by --frozen_parts"
    )
    group.add_argument(
        "--vis", type=integer, default=0, help="1: draw predictions and learning curves"
    )
    group.add_argument(
        "--debug", type=integer, default=0, help="1: use the first few hundred frames only"
    )


def _add_checkpoint_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--name", default="", help="task name, part of the run folder's name")
    group.add_argument(
        "--reload",
        type=integer,
        default=0,
        help="1: load a whole model from --previous_dir (strict)",
    )
    group.add_argument(
        "--MAEreload",
        type=integer,
        default=0,
        help="1: load matching weights of a pre-trained model (partial), from --previous_dir "
        "(trainers) or --MAEcp (pretrainer)",
    )
    group.add_argument("--previous_dir", default="", help="path of a checkpoint")
    group.add_argument("--MAEcp", default="", help="path of a pre-trained checkpoint (pretrainer)")
    group.add_argument(
        "--refine_reload",
        type=integer,
        default=0,
        help="1: load the refiner from --previous_refine_name",
    )
    group.add_argument("--previous_refine_name", default="", help="path of a refiner's checkpoint")
    group.add_argument(
        "-previous_best_threshold",
        type=not_nan,
        default=float("inf"),
        help="test error to beat before weights are saved",
    )
    group.add_argument(
        "-r", "--resume", action="store_true", help="resume an interrupted run, bit for bit on CPU"
    )
    group.add_argument(
        "--dim", type=integer, default=2, help="ending of the names of weight files (2 for _2D.pth)"
    )


def _add_own_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--demo", action="store_true", help="train a small model on dataset/sample/")
    group.add_argument(
        "--backbone",
        choices=sorted(LIFTERS),
        default="mpm",
        help="lifter network; taken from a loaded checkpoint if not given",
    )
    group.add_argument(
        "--init",
        choices=("published", "small"),
        default="published",
        help="first weights: as published, or positions and mask tokens with deviation 0.02 "
        "instead of 1 (model/README.md compares them)",
    )
    group.add_argument(
        "--normalise",
        choices=NORMALISATIONS,
        default="width",
        help="units of 2D: the image's width as published, its longer side, or rays of a camera "
        "with known intrinsics; taken from a loaded checkpoint if not given",
    )
    group.add_argument(
        "--causal",
        type=int,
        choices=(0, 1),
        default=0,
        help="1: windows of past frames only, the last one is the target (default: the centre); "
        "taken from a loaded checkpoint if not given",
    )
    for part, subjects in (("train", h36m.TRAIN_SUBJECTS), ("test", h36m.TEST_SUBJECTS)):
        group.add_argument(
            f"--subjects_{part}",
            type=name_list,
            help=f"comma list of {part} subjects, of Human3.6M if it is among the data sets "
            f"(default: the file's own split, else {','.join(subjects)}), else of the first that "
            "has any (default: all)",
        )
    group.add_argument(
        "--max_gap",
        type=not_negative,
        default=MAX_GAP,
        metavar="SECONDS",
        help="longest gap of a 2D joint to interpolate; frames in longer ones are left out",
    )
    group.add_argument(
        "--dataset_weights",
        type=positive_list,
        default=[],
        help="comma list, one number per data set: its share of the windows of an epoch "
        "(default: all windows of each)",
    )
    group.add_argument(
        "--precision",
        choices=("fp32", "tf32", "bf16"),
        default="fp32",
        help="arithmetic of matrix products",
    )
    group.add_argument("--compile", action="store_true", help="compile the model (torch.compile)")
    group.add_argument(
        "--deterministic",
        type=int,
        choices=(0, 1),
        help="1: repeat bit for bit where PyTorch can; 0: fastest algorithms (default: 1 on a CPU, "
        "0 on a GPU)",
    )
    group.add_argument(
        "--micro_batch",
        type=at_least(0),
        default=0,
        help="accumulate gradients over parts of this many windows; 0: as memory allows on a CPU, "
        "the whole batch on a GPU",
    )
    group.add_argument(
        "--frozen_parts",
        type=name_list,
        default=["encoder2d", "shared_layers_spatial", "shared_layers_temporal"],
        help="comma list of model parts that --frozen 1 freezes",
    )
    group.add_argument(
        "--save_predictions",
        default="",
        metavar="FILE.npz",
        help="write predicted and true 3D poses of the test",
    )
    group.add_argument(
        "--force",
        action="store_true",
        help="let --save_predictions replace a file that this program did not write",
    )
    group.add_argument(
        "--modalities",
        type=modality_list,
        default=[2, 3],
        help="what masked pre-training learns from: 2d, 3d or 2d,3d (default) sequences",
    )
    group.add_argument(
        "--generators",
        type=Path,
        default=GENERATOR_FOLDER,
        help="folder of PoseAug generators",
    )
    group.add_argument(
        "--legacy_flip_mask",
        type=integer,
        default=0,
        help="1: the flipped pass of a completion test hides the same joint numbers, as published",
    )
    group.add_argument(
        "--legacy_3dhp_scale",
        type=integer,
        default=0,
        help="1: divide the normalised 2D of MPI-INF-3DHP by 1000; released checkpoints expect it",
    )
    group.add_argument(
        "--metric_3dhp",
        choices=("published", "official"),
        default="published",
        help="PCK and AUC over 16 joints and all frames, or by the benchmark's own protocol",
    )


def _add_unused_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", default="", help=NO_EFFECT)
    group.add_argument("--lr_refine", type=finite, default=1e-5, help=NO_EFFECT)
    group.add_argument("--workers", type=at_least(0), default=8, help=NO_EFFECT)
    group.add_argument("-previous_name", default="", help=NO_EFFECT)
    group.add_argument("--pad", type=integer, default=121, help="always (frames - 1) / 2")
    group.add_argument(
        "-c", "--checkpoint", default="model", help="replaced by the derived run folder"
    )
    for flag, default in (("ba_range_m", 0.155), ("ba_range_w", 0.125), ("blr_limit", 0.1)):
        group.add_argument(
            f"--{flag}",
            type=finite,
            default=default,
            help="no effect here; a range of Augpart/train_generator.py",
        )
