"""Train and evaluate masked models: pre-training, completion, lifting of occluded 2D."""

from argparse import Namespace

from torch import nn

from common import checkpoint, h36m, options, reports, runtime, viz
from common.errors import UserError
from common.pretrain_engine import (
    MaskedErrors,
    MaskedModel,
    MaskedTask,
    MaskedTest,
    Masking,
    limb_name,
)
from common.run_folder import RunFolder
from common.training import Schedule, Training, freeze
from common.windows import WindowRule
from model.masked_pose import MaskedPoseModel

SCRIPT = "pretrainer.py"
TEST_MASK_SEED = 0


def main() -> None:
    """The run that the command line asks for."""
    args = options.parse(SCRIPT)
    masks = Masking(**options.masking(args))
    refuse_what_is_missing(args)
    run = runtime.start(gpus=args.gpu, seed=args.manualSeed, precision=args.precision)
    train_store, test_store = h36m.load_stores(**options.h36m_data(args))
    module = build_model(args, masks)
    folder = RunFolder(run, **options.run_folder(args))
    frozen = freeze(module, args.frozen_parts) if args.train and args.frozen else []
    model = MaskedModel({"pretrain": module}, run, compiled=args.compile)
    rule = WindowRule(args.frames, args.t_downsample)
    test = None
    if test_store is not None:
        test = MaskedTest(
            test_store.to(run.device),
            rule,
            masks,
            batch_size=args.batchSize,
            flip=args.test_augmentation,
            mirror_masks=not args.legacy_flip_mask,
            seed=TEST_MASK_SEED,
        )
    if train_store is not None:
        task = MaskedTask(
            model,
            train_store.to(run.device),
            WindowRule(args.frames, args.t_downsample, **options.augmentation(args)),
            masks,
            test=test,
            generator=run.new_generator(args.manualSeed),
            frozen=frozen,
        )
        schedule = Schedule(**options.schedule(args))
        training = Training(task, run, schedule, folder, every_epoch=True)
        folder.results["history"] = history = training.run(resume=args.resume)
        if args.vis and run.is_main:
            errors = ("recovered_2d", "recovered_3d", "lifted")
            viz.draw_learning_curve(folder.path / "learning_curve.png", history, errors, "x 1000")
    if test is not None:
        rows = evaluate(test, model, masks, args.n_joints)
        folder.results["test"] = {name: vars(errors) for name, errors in rows}
        if args.vis and run.is_main and masks.task != "pretrain":
            viz.draw_completions(folder.path / "completions.png", test, model)
        for line in reports.masked_lines(rows):
            runtime.LOG.info(line)
    folder.write_results()


def build_model(args: Namespace, masks: Masking) -> nn.Module:
    """The masked model, with the weights that the command line names."""
    model = MaskedPoseModel(
        frames=args.frames,
        num_joints=args.n_joints,
        layers=args.layers,
        decoder_depth=1 if masks.task == "pretrain" else 2,
        width=args.channel,
        hidden_width=args.d_hid,
    )
    if args.resume and args.train:
        return model  # the resume file holds all weights
    if args.reload:
        checkpoint.load_whole(model, args.previous_dir)
    elif args.MAEreload:
        runtime.LOG.info(checkpoint.load_matching(model, args.MAEcp))
    elif not args.train:
        runtime.LOG.info("note: no --MAEreload, so a model with random weights is evaluated")
    return model


def evaluate(
    test: MaskedTest, model: MaskedModel, masks: Masking, num_joints: int
) -> list[tuple[str, MaskedErrors]]:
    """A row for each limb set, then the mixture of them; for pre-training, one row."""
    if masks.task == "pretrain":
        return [("joints and frames", test.errors(model))]
    numbers, dimensions = (masks.numbers_2d, 2) if masks.uses_2d else (masks.numbers_3d, 3)
    rows = [
        (f"{number}: {limb_name(number, dimensions, num_joints)}", test.errors(model, [number]))
        for number in (numbers if masks.task != "onlylift" else ())
    ]
    # Of one limb set the mixture is that set.
    return [*rows, ("mixture", rows[0][1] if len(rows) == 1 else test.errors(model))]


def refuse_what_is_missing(args: Namespace) -> None:
    """Say what of the published pre-training this version does not have."""
    if args.dataset != "h36m":
        raise UserError(f"--dataset {args.dataset}: this version reads h36m only")
    if args.poseaug:
        raise UserError(
            "16-joint pre-training on Human3.6M alone uses PoseAug, which this version does not "
            "have; --poseaug 0 trains without"
        )


if __name__ == "__main__":
    runtime.run_script(main)
