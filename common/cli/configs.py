"""Typed records made of the command line: what a run needs to know, checked.

Only `common.cli` sees argparse; the scripts and everything below them take these records.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.cli.options import (
    ADOPTED,
    ADOPTED_FROM_RECORD,
    data_sets,
    masked_task,
    read,
    recorded,
    resumes,
)
from common.cli.values import name_list
from common.data.base import DataOptions, DataSet
from common.data.pose_store import Reduction
from common.data.windows import WindowRule
from common.errors import UserError
from common.tasks.masking import FIRST_RANDOM_NUMBER, WORDS, Masking
from common.training.checkpoint import FirstWeights, WeightFile
from common.training.run_folder import RunInfo
from common.training.runtime import RuntimeOptions
from common.training.steps import Schedule
from model.build import ModelSize

DEBUG_FRAMES = 300
# Options that may differ between an interrupted run and the one that resumes it.
FREE_ON_RESUME = frozenset(
    "command resume demo force gpu deterministic workers nepoch save_predictions vis pad "
    "checkpoint "
    "previous_dir previous_name previous_refine_name reload refine_reload MAEreload MAEcp".split()
)


@dataclass(frozen=True)
class RunConfig:
    """What every script of models needs.

    Attributes:
        train: whether to train.
        resume: whether to resume an interrupted training.
        pictures: whether to draw.
        runtime: devices, seed, precision.
        compiled: whether to compile the models.
        data: which poses.
        windows: test windows.
        training_windows: training windows, before the data set's own rule.
        model_size: of the model.
        small_init: whether positions and mask tokens start small.
        first_weights: what the model starts from.
        frozen_parts: names of parts that are not trained; empty for none.
        schedule: epochs, batches and learning rate.
        flip: whether a test averages with the horizontal flip.
        folder: where the run writes.
        info: what its files record.
    """

    train: bool
    resume: bool
    pictures: bool
    runtime: RuntimeOptions
    compiled: bool
    data: DataOptions
    windows: WindowRule
    training_windows: WindowRule
    model_size: ModelSize
    small_init: bool
    first_weights: FirstWeights
    frozen_parts: tuple[str, ...]
    schedule: Schedule
    flip: bool
    folder: Path
    info: RunInfo


@dataclass(frozen=True)
class LiftingConfig:
    """What trainer.py and trainer_3dhp.py need.

    Attributes:
        run: what every script needs.
        data_set: whose poses are lifted.
        backbone: name of the lifter's network.
        refine: whether there is a refiner.
        refiner_weights: what it starts from, or None.
        every_frame: whether the loss covers the poses of every frame.
        predictions: the .npz file to write, or None.
        official_3dhp: whether the last line follows the protocol of MPI-INF-3DHP's benchmark.
    """

    run: RunConfig
    data_set: DataSet
    backbone: str
    refine: bool
    refiner_weights: WeightFile | None
    every_frame: bool
    predictions: Path | None
    official_3dhp: bool


@dataclass(frozen=True)
class PoseAugConfig:
    """Where generators are and how they are used.

    Attributes:
        folder: of the generators.
        length_limit: maximum relative change of bone lengths.
    """

    folder: Path
    length_limit: float


@dataclass(frozen=True)
class MaskedConfig:
    """What pretrainer.py needs.

    Attributes:
        run: what every script needs.
        data_sets: whose poses are used.
        data_set_weights: their shares of an epoch; empty for all windows of each.
        masks: the task and what it hides.
        decoder_depth: number of blocks per decoder.
        poseaug: augmentation by generators, or None.
        mirror_masks: whether the flipped pass of a test hides the mirrored joints.
    """

    run: RunConfig
    data_sets: tuple[DataSet, ...]
    data_set_weights: tuple[float, ...]
    masks: Masking
    decoder_depth: int
    poseaug: PoseAugConfig | None
    mirror_masks: bool


def lifting(script: str, argv: Sequence[str] | None = None) -> LiftingConfig:
    """Read and check the command line of a trainer.

    Args:
        script: "trainer.py" or "trainer_3dhp.py".
        argv: the words after it; None takes those of the process.

    Raises:
        UserError: an unknown flag or an invalid value.
    """
    args, weights = read(script, argv)
    (data_set,) = data_sets(script, args)
    loads_refiner = args.refine and args.refine_reload and not resumes(args)
    return LiftingConfig(
        run=_run(script, args, weights),
        data_set=data_set,
        backbone=args.backbone,
        refine=args.refine,
        refiner_weights=WeightFile.load(args.previous_refine_name) if loads_refiner else None,
        every_frame=bool(args.out_all),
        predictions=Path(args.save_predictions) if args.save_predictions else None,
        official_3dhp=args.metric_3dhp == "official",
    )


def masked(argv: Sequence[str] | None = None, script: str = "pretrainer.py") -> MaskedConfig:
    """Read and check the command line of the pretrainer; see `lifting`."""
    args, weights = read(script, argv)
    masks = _masking(args)
    augments = bool(args.train and args.poseaug)
    return MaskedConfig(
        run=_run(script, args, weights),
        data_sets=data_sets(script, args),
        data_set_weights=tuple(args.dataset_weights),
        masks=masks,
        decoder_depth=1 if masks.hides_frames else 2,
        poseaug=PoseAugConfig(args.generators, args.blr_tanhlimit) if augments else None,
        mirror_masks=not args.legacy_flip_mask,
    )


def _run(script: str, args: argparse.Namespace, weights: FirstWeights) -> RunConfig:
    windows = WindowRule(args.frames, args.t_downsample, causal=bool(args.causal))
    return RunConfig(
        train=bool(args.train),
        resume=resumes(args),
        pictures=bool(args.vis),
        runtime=RuntimeOptions(
            args.gpu,
            args.manualSeed,
            args.precision,
            None if args.deterministic is None else bool(args.deterministic),
        ),
        compiled=args.compile,
        data=_data(script, args),
        windows=windows,
        training_windows=replace(
            windows,
            stride=args.stride,
            mirror=args.data_augmentation,
            reverse=args.reverse_augmentation,
        ),
        model_size=ModelSize(args.frames, args.n_joints, args.layers, args.channel, args.d_hid),
        small_init=args.init == "small",
        first_weights=weights,
        frozen_parts=tuple(args.frozen_parts) if args.train and args.frozen else (),
        schedule=Schedule(
            epochs=args.nepoch,
            batch_size=args.batchSize,
            micro_batch=args.micro_batch,
            learning_rate=args.lr,
            decay=args.lr_decay,
            large_decay=args.lr_decay_large,
            large_decay_epoch=args.large_decay_epoch,
            seed=args.manualSeed,
            best=args.previous_best_threshold,
        ),
        flip=args.test_augmentation,
        folder=Path(args.checkpoint),
        info=RunInfo(
            command=args.command,
            seed=args.manualSeed,
            options=recorded(args),
            free_on_resume=FREE_ON_RESUME,
            name=args.name,
            dimensions=args.dim,
            model_record=_model_record(script, args),
        ),
    )


def _data(script: str, args: argparse.Namespace) -> DataOptions:
    subjects = [
        None if chosen is None else tuple(chosen)
        for chosen in (args.subjects_train, args.subjects_test)
    ]
    return DataOptions(
        root=Path(args.root_path),
        num_joints=args.n_joints,
        train=bool(args.train),
        test=bool(args.test),
        train_subjects=subjects[0],
        test_subjects=subjects[1],
        reduction=Reduction(args.downsample, args.subset, DEBUG_FRAMES if args.debug else None),
        keypoints=args.keypoints,
        actions=None if args.actions == "*" else tuple(name_list(args.actions)),
        pixels=bool(args.crop_uv),
        normalisation=args.normalise,
        unknown_3d=script != "pretrainer.py" and not (args.train or args.refine),
        legacy_3dhp_scale=bool(args.legacy_3dhp_scale),
        max_gap=args.max_gap,
    )


def _model_record(script: str, args: argparse.Namespace) -> dict[str, Any]:
    """Description of the model in weight files, by the names of flags."""
    kind = (
        {"model": "masked", "task": masked_task(args)}
        if script == "pretrainer.py"
        else {"model": "lifter", "task": "lift"}
    )
    flags = {name: getattr(args, name) for name in (*ADOPTED, *ADOPTED_FROM_RECORD)}
    first, *_ = chosen = data_sets(script, args)
    names = ",".join(data_set.name for data_set in chosen)
    rates: dict[str, Any] = {
        "frame_step": first.window_rule(WindowRule(args.frames, args.t_downsample)).frame_step
    }
    if first.frame_rate is not None:
        rates["frame_rate"] = first.frame_rate / args.downsample
    return {**kind, **flags, **rates, "dataset": names, "keypoints": args.keypoints}


def _masking(args: argparse.Namespace) -> Masking:
    """The task and what it hides.

    Raises:
        UserError: an invalid mask number or number of joints.
    """
    if args.spatial_mask_num > args.n_joints:
        raise UserError(f"-smn {args.spatial_mask_num} is more than the {args.n_joints} joints")
    return Masking(
        task=masked_task(args),
        num_masked_joints=args.spatial_mask_num,
        frame_mask_ratio=args.temporal_mask_rate,
        numbers_2d=_mask_numbers("mask_manner2D", args.mask_manner2D, args.n_joints),
        numbers_3d=_mask_numbers("mask_manner3D", args.mask_manner3D, args.n_joints),
        # Limb masks go by the task alone.
        modalities=tuple(args.modalities) if masked_task(args) == "pretrain" else (2, 3),
    )


def _mask_numbers(flag: str, text: str, num_joints: int) -> tuple[int | str, ...]:
    largest = num_joints + FIRST_RANDOM_NUMBER - 1
    known = {str(number): number for number in range(largest + 1)} | {word: word for word in WORDS}
    words = name_list(text)
    if not words or set(words) - known.keys():
        raise UserError(
            f"--{flag} {text!r} is not a comma list of limb sets 0 to {FIRST_RANDOM_NUMBER - 1}, "
            f"of numbers up to {largest} (m from 4 on hides m - 3 random joints) or of "
            f"{', '.join(map(str, WORDS))}"
        )
    return tuple(known[word] for word in words)
