"""Train and evaluate masked models: pre-training, completion, lifting of occluded 2D."""

from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

from Augpart.augment import PoseAugmenter
from common.cli import configs
from common.cli.entry import run_script
from common.cli.run import freeze_parts, open_folder
from common.data.pose_store import PoseStore
from common.data.registry import DATA_SETS, load_stores
from common.data.windowed_poses import WindowedPoses
from common.data.windows import WindowRule
from common.errors import UserError
from common.evaluation.masked import ERRORS, MaskedTest
from common.evaluation.pictures import draw_completions, draw_learning_curve
from common.log import LOG
from common.tasks.masked import MaskedModel, MaskedTask, RandomSources
from common.training import runtime
from common.training.loop import Training
from common.training.steps import GradientSteps
from model.build import build_masked_model, shrink_embeddings

TEST_MASK_SEED = 0
DRAWN = 4  # completed poses


def main() -> None:
    """The run that the command line asks for."""
    config = configs.masked()
    run = runtime.start(config.run.runtime)
    model = build_masked_model(config.run.model_size, decoder_depth=config.decoder_depth)
    if config.run.small_init:
        shrink_embeddings(model)
    config.run.first_weights.load_into(model)
    rng = RandomSources.of(run, config.run.runtime.seed)
    augment = None
    if config.poseaug is not None:  # before data are read, which takes a while: there may be none
        augment = PoseAugmenter(
            config.poseaug.folder,
            length_limit=config.poseaug.length_limit,
            generator=rng.samples,
            choices=rng.choices,
        )
    stores = load_stores(config.data_sets, config.run.data)
    train_stores = {name: both.train for name, both in stores.items() if both.train is not None}
    test_stores = {name: both.test for name, both in stores.items() if both.test is not None}
    folder = open_folder(config.run, run)
    weights = config.run.first_weights
    if not config.run.train and weights.whole is None and weights.matching is None:
        LOG.info("note: no --MAEreload, so a model with random weights is evaluated")
    frozen = freeze_parts(config.run, model)
    placed = MaskedModel(model, run, compiled=config.run.compiled)
    test = None
    if test_stores:
        test = MaskedTest(
            windowed(test_stores, config.run.windows, run),
            config.masks,
            batch_size=config.run.schedule.batch_size,
            flip=config.run.flip,
            mirror_masks=config.mirror_masks,
            seed=TEST_MASK_SEED,
        )
    if train_stores:
        poses = windowed(train_stores, config.run.training_windows, run)
        log_windows(list(train_stores), poses)
        task = MaskedTask(
            placed,
            poses,
            config.masks,
            test=None if test is None else lambda: test.test_errors(placed),
            rng=rng,
            weights=config.data_set_weights,
            augment=augment,
            frozen=frozen,
        )
        schedule = config.run.schedule
        steps = GradientSteps(task, run, schedule)
        training = Training(task, steps, run, schedule, folder, keep="every")
        folder.results["history"] = history = training.run(resume=config.run.resume)
        if config.run.pictures and run.is_main:
            draw_learning_curve(
                folder.picture_path("learning_curve.png"), history, ERRORS, "x 1000"
            )
    if test is not None:
        table = test.table(placed, list(test_stores))
        folder.results["test"] = table.results()
        folder.results["test_windows"] = len(test.poses)
        for line in table.lines():
            LOG.info(line)
    folder.write_results()
    if test is not None and config.run.pictures and not config.masks.hides_frames:
        examples = test.examples(placed, DRAWN)
        if run.is_main:
            draw_completions(folder.picture_path("completions.png"), examples, test.poses.skeleton)


def windowed(stores: dict[str, PoseStore], rule: WindowRule, run: runtime.Runtime) -> WindowedPoses:
    """The windows of some data sets, each by its own rule, on the run's device."""
    return WindowedPoses(
        [
            (store.to(run.device), DATA_SETS[name].window_rule(rule))
            for name, store in stores.items()
        ]
    )


def log_windows(names: list[str], poses: WindowedPoses) -> None:
    """Log the number of windows of each data set.

    Raises:
        UserError: one has none.
    """
    counts = {name: len(poses.samples_of(part)) for part, name in enumerate(names)}
    LOG.info("training windows: %s", ", ".join(f"{n} {count}" for n, count in counts.items()))
    for name, count in counts.items():
        if not count:
            raise UserError(f"--dataset {name}: no sequence is long enough for -f {poses.frames}")


if __name__ == "__main__":
    run_script(main)
