"""Train and evaluate masked models: pre-training, completion, lifting of occluded 2D."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace

from Augpart.augment import PoseAugmenter
from common import amass, h36m, models, mpi_inf_3dhp, options, reports, runtime, viz
from common.errors import UserError
from common.pose_store import PoseStore, WindowedPoses
from common.pretrain_engine import (
    MaskedErrors,
    MaskedModel,
    MaskedTask,
    MaskedTest,
    Masking,
    limb_name,
)
from common.run_folder import RunFolder
from common.training import GradientSteps, Schedule, Training, freeze
from common.windows import WindowRule

SCRIPT = "pretrainer.py"
TEST_MASK_SEED = 0


def main() -> None:
    """The run that the command line asks for."""
    args = options.parse(SCRIPT)
    masks = Masking(**options.masking(args))
    run = runtime.start(**options.devices(args))
    train_stores, test_stores = load_stores(args)
    rules = window_rules(args)
    modules = models.build_masked_model(options.model_size(args), **options.masked_model(args))
    folder = RunFolder(run, **options.run_folder(args))
    if not (args.train or args.reload or args.MAEreload):
        runtime.LOG.info("note: no --MAEreload, so a model with random weights is evaluated")
    frozen = freeze(modules["pretrain"], args.frozen_parts) if args.train and args.frozen else []
    model = MaskedModel(modules, run, compiled=args.compile)
    test = None
    if test_stores:
        test = MaskedTest(
            WindowedPoses(
                [(store.to(run.device), rules[name]) for name, store in test_stores.items()]
            ),
            masks,
            batch_size=args.batchSize,
            flip=args.test_augmentation,
            mirror_masks=not args.legacy_flip_mask,
            seed=TEST_MASK_SEED,
        )
    if train_stores:
        poses = training_windows(args, train_stores, rules, run)
        generator = run.new_generator(args.manualSeed)
        augment = None
        if args.poseaug:
            augment = PoseAugmenter(
                args.generators, length_limit=args.blr_tanhlimit, generator=generator
            )
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
            runtime.LOG.info(line)
    folder.write_results()


def load_stores(args: Namespace) -> tuple[dict[str, PoseStore], dict[str, PoseStore]]:
    """Training and test poses of each data set asked for, on CPU; AMASS has no test poses."""
    train: dict[str, PoseStore | None] = {}
    test: dict[str, PoseStore | None] = {}
    names = options.data_sets(args)
    for name in names:
        if name == "h36m":
            train[name], test[name] = h36m.load_stores(**options.h36m_data(args))
        elif name == "3dhp":
            data = options.mpi_inf_3dhp_data(args, beside_h36m="h36m" in names)
            train[name], test[name] = mpi_inf_3dhp.load_stores(**data)
        elif args.train:
            train[name] = amass.load_store(**options.amass_data(args))
    found = [{name: s for name, s in stores.items() if s is not None} for stores in (train, test)]
    if not any(found):
        raise UserError(f"--dataset {args.dataset}: no poses to test on, and --train is 0")
    return found[0], found[1]


def window_rules(args: Namespace) -> dict[str, WindowRule]:
    """How plain windows are cut from each data set."""
    return {
        "h36m": WindowRule(args.frames, args.t_downsample),
        "3dhp": WindowRule(args.frames, mpi_inf_3dhp.FRAME_STEP),
        "amass": WindowRule(args.frames, amass.FRAME_STEP, inside=True),
    }


def training_windows(
    args: Namespace,
    stores: Mapping[str, PoseStore],
    rules: Mapping[str, WindowRule],
    run: runtime.Runtime,
) -> WindowedPoses:
    """The training windows of all data sets on the run's device; says how many of each."""
    augmentation = options.augmentation(args)
    unmirrored = {**augmentation, "mirror": False}  # windows of AMASS are not mirrored
    poses = WindowedPoses(
        [
            (
                store.to(run.device),
                replace(rules[name], **(unmirrored if name == "amass" else augmentation)),
            )
            for name, store in stores.items()
        ]
    )
    counts = {name: len(poses.samples_of(part)) for part, name in enumerate(stores)}
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    runtime.LOG.info("training windows: %s", shown)
    for name, count in counts.items():
        if not count:
            raise UserError(f"--dataset {name}: no sequence is long enough for -f {args.frames}")
    return poses


def evaluate(
    test: MaskedTest, model: MaskedModel, masks: Masking, data_sets: list[str], num_joints: int
) -> list[tuple[str, MaskedErrors]]:
    """A row for each limb set or, pre-training on several, data set; then the mixture of them."""
    if masks.task == "pretrain":
        parts = [(name, test.errors(model, part=part)) for part, name in enumerate(data_sets)] * (
            len(data_sets) > 1
        )
        return [*parts, ("joints and frames", test.errors(model))]
    numbers, dimensions = (masks.numbers_2d, 2) if masks.uses_2d else (masks.numbers_3d, 3)
    rows = [
        (f"{number}: {limb_name(number, dimensions, num_joints)}", test.errors(model, [number]))
        for number in (numbers if masks.task != "onlylift" else ())
    ]
    # Of one limb set the mixture is that set.
    return [*rows, ("mixture", rows[0][1] if len(rows) == 1 else test.errors(model))]


if __name__ == "__main__":
    runtime.run_script(main)
