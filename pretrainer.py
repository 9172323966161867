"""Train and evaluate masked models: pre-training, completion, lifting of occluded 2D."""

from dataclasses import replace

from Augpart.augment import PoseAugmenter
from common.cli import flags as options
from common.cli.entry import run_script
from common.data import base as data_sets
from common.data.windows import WindowRule
from common.evaluation import pictures as viz
from common.evaluation import tables as reports
from common.log import LOG
from common.tasks.masked import (
    MaskedErrors,
    MaskedModel,
    MaskedTask,
    MaskedTest,
    Masking,
    limb_name,
)
from common.training import models, runtime
from common.training.loop import GradientSteps, Schedule, Training, freeze
from common.training.run_folder import RunFolder

SCRIPT = "pretrainer.py"
TEST_MASK_SEED = 0


def main() -> None:
    """The run that the command line asks for."""
    args = options.parse(SCRIPT)
    masks = Masking(**options.masking(args))
    run = runtime.start(**options.devices(args))
    modules = models.build_masked_model(options.model_size(args), **options.masked_model(args))
    generator = run.new_generator(args.manualSeed)
    augment = None
    if args.train and args.poseaug:  # before data are read, which takes a while: there may be none
        augment = PoseAugmenter(
            args.generators, length_limit=args.blr_tanhlimit, generator=generator
        )
    train_stores, test_stores = data_sets.load_stores(options.data(args))
    rule = WindowRule(args.frames, args.t_downsample)
    folder = RunFolder(run, **options.run_folder(args))
    if not (args.train or args.reload or args.MAEreload):
        LOG.info("note: no --MAEreload, so a model with random weights is evaluated")
    frozen = freeze(modules["pretrain"], args.frozen_parts) if args.train and args.frozen else []
    model = MaskedModel(modules, run, compiled=args.compile)
    test = None
    if test_stores:
        test = MaskedTest(
            data_sets.windowed(test_stores, rule, run.device),
            masks,
            batch_size=args.batchSize,
            flip=args.test_augmentation,
            mirror_masks=not args.legacy_flip_mask,
            seed=TEST_MASK_SEED,
        )
    if train_stores:
        training_rule = replace(rule, **options.augmentation(args))
        poses = data_sets.windowed(train_stores, training_rule, run.device)
        data_sets.tell_windows(train_stores, poses)
        task = MaskedTask(
            model,
            poses,
            masks,
            test=test,
            generator=generator,
            weights=args.dataset_weights,
            augment=augment,
            step_generator=run.new_common_generator(args.manualSeed),
            frozen=frozen,
        )
        schedule = Schedule(**options.schedule(args))
        steps = GradientSteps(task, run, schedule)
        training = Training(task, steps, run, schedule, folder, keep="every")
        folder.results["history"] = history = training.run(resume=args.resume)
        if args.vis and run.is_main:
            errors = ("recovered_2d", "recovered_3d", "lifted")
            viz.draw_learning_curve(folder.path / "learning_curve.png", history, errors, "x 1000")
    if test is not None:
        rows = evaluate(test, model, masks, list(test_stores), args.n_joints)
        folder.results["test"] = {name: vars(errors) for name, errors in rows}
        if args.vis and run.is_main and masks.task != "pretrain":
            viz.draw_completions(folder.path / "completions.png", test, model)
        for line in reports.masked_lines(rows):
            LOG.info(line)
    folder.write_results()


def evaluate(
    test: MaskedTest, model: MaskedModel, masks: Masking, names: list[str], num_joints: int
) -> list[tuple[str, MaskedErrors]]:
    """A row for each limb set or, pre-training on several, data set; then the mixture of them."""
    if masks.task == "pretrain":
        parts = enumerate(names if len(names) > 1 else ())
        rows = [(name, test.errors(model, part=part)) for part, name in parts]
        return [*rows, ("joints and frames", test.errors(model))]
    numbers, dimensions = (masks.numbers_2d, 2) if masks.uses_2d else (masks.numbers_3d, 3)
    rows = [
        (f"{number}: {limb_name(number, dimensions, num_joints)}", test.errors(model, [number]))
        for number in (numbers if masks.task != "onlylift" else ())
    ]
    # Of one limb set the mixture is that set.
    return [*rows, ("mixture", rows[0][1] if len(rows) == 1 else test.errors(model))]


if __name__ == "__main__":
    run_script(main)
