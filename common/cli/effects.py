"""Flags that have no effect in the combination they are given in: said in one line."""

import argparse
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NoEffect:
    """Flags, and when they change nothing.

    Attributes:
        flags: their names.
        when: of the script's name and all options.
        reason: why, in words.
    """

    flags: tuple[str, ...]
    when: Callable[[str, argparse.Namespace], bool]
    reason: str


def _lifts(script: str, args: argparse.Namespace) -> bool:
    return script != "pretrainer.py"


def _masks(script: str, args: argparse.Namespace) -> bool:
    return script == "pretrainer.py"


def _has_3dhp(script: str, args: argparse.Namespace) -> bool:
    return script == "trainer_3dhp.py" or "3dhp" in args.dataset


_LIMBS = ("comp3d", "comp2dlift", "onlylift")
TABLE = (
    NoEffect(("test",), lambda _, a: not a.train and not a.test, "neither trains nor tests"),
    NoEffect(("save_predictions",), _masks, "pretrainer.py writes no predictions"),
    NoEffect(
        ("save_predictions", "metric_3dhp", "test_augmentation"),
        lambda _, a: not a.test,
        "needs --test 1",
    ),
    NoEffect(("force",), lambda _, a: not a.save_predictions, "is for --save_predictions"),
    NoEffect(
        ("metric_3dhp",),
        lambda s, a: _masks(s, a) or not _has_3dhp(s, a),
        "is for lifters on MPI-INF-3DHP",
    ),
    NoEffect(
        ("legacy_3dhp_scale",), lambda s, a: not _has_3dhp(s, a), "is for data of MPI-INF-3DHP"
    ),
    NoEffect(("dataset",), lambda s, _: s == "trainer_3dhp.py", "trainer_3dhp.py has its own"),
    NoEffect(("refine_reload", "refine"), _masks, "is for lifters"),
    NoEffect(("refine_reload",), lambda _, a: not a.refine, "needs --refine"),
    NoEffect(
        ("previous_refine_name",), lambda _, a: not a.refine_reload, "needs --refine_reload 1"
    ),
    NoEffect(
        ("previous_dir",),
        lambda s, a: not a.reload and (_masks(s, a) or not a.MAEreload),
        "needs --reload 1, or in a trainer --MAEreload 1",
    ),
    NoEffect(("MAEcp",), _lifts, "is for pretrainer.py; trainers take --previous_dir"),
    NoEffect(("MAEcp",), lambda s, a: _masks(s, a) and not a.MAEreload, "needs --MAEreload 1"),
    NoEffect(("MAEreload",), lambda _, a: bool(a.reload), "--reload 1 loads the whole model"),
    NoEffect(
        ("resume", "frozen", "poseaug", "dataset_weights", "stride", "lr", "nepoch", "name"),
        lambda _, a: not a.train,
        "needs --train 1",
    ),
    NoEffect(("frozen_parts",), lambda _, a: not a.frozen, "needs --frozen 1"),
    NoEffect(("generators", "blr_tanhlimit"), lambda _, a: not a.poseaug, "is for --poseaug 1"),
    NoEffect(
        ("MAE", "spatial_mask_num", "mask_manner2D", "mask_manner3D", "legacy_flip_mask", *_LIMBS),
        _lifts,
        "is for pretrainer.py",
    ),
    NoEffect(
        ("mask_manner2D", "mask_manner3D"),
        lambda s, a: _masks(s, a) and not any(getattr(a, name) for name in _LIMBS),
        "needs --comp3d, --comp2dlift or --onlylift 1",
    ),
    NoEffect(
        ("legacy_flip_mask",),
        lambda s, a: _masks(s, a) and not a.test_augmentation,
        "needs --test_augmentation True",
    ),
    NoEffect(
        ("modalities",),
        lambda s, a: _lifts(s, a) or any(getattr(a, name) for name in _LIMBS),
        "is for masked pre-training",
    ),
    NoEffect(("backbone", "out_all"), _masks, "is for lifters"),
)


def without_effect(
    script: str, args: argparse.Namespace, given: Collection[str], defaults: Mapping[str, Any]
) -> list[str]:
    """The flags that were given but change nothing, each with the reason.

    Args:
        script: the script's name.
        args: all options.
        given: names of the options that the command line gives.
        defaults: of all options; asking for one is no mistake.
    """
    found: dict[str, str] = {}
    for entry in TABLE:
        for name in entry.flags:
            asked = name in given and getattr(args, name) != defaults[name]
            if asked and entry.when(script, args):
                found.setdefault(name, entry.reason)
    return [f"--{name} ({reason})" for name, reason in found.items()]
