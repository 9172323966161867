"""The run of both trainers, step by step: data, models, training, test, results."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from common.cli.configs import LiftingConfig
from common.cli.run import freeze_parts, open_folder
from common.data.base import Stores
from common.data.registry import load_stores
from common.errors import FailedRun, UserError
from common.evaluation import official_3dhp
from common.evaluation.lifting import (
    LiftingScores,
    LiftingTest,
    check_finite,
    save_predictions,
)
from common.evaluation.metrics import METRICS
from common.evaluation.pictures import draw_learning_curve, draw_predictions
from common.log import LOG
from common.optional import optional
from common.tasks.lifting import Lifting, LiftingTask
from common.training import runtime
from common.training.checkpoint import load_whole
from common.training.loop import Training
from common.training.run_folder import RunFolder
from common.training.steps import GradientSteps
from model.build import build_lifter, shrink_embeddings
from model.lifter import PoseRefiner


@dataclass(frozen=True)
class LiftingModels:
    """The models of a run, with the weights that they start from.

    Attributes:
        lifter: a `Lifter`.
        refiner: a `PoseRefiner`, or None.
        frozen: parts of the lifter that are not trained.
    """

    lifter: nn.Module
    refiner: nn.Module | None
    frozen: Sequence[nn.Module]


def run_lifting(config: LiftingConfig) -> None:
    """Train a lifter if asked to, then test it if asked to."""
    if config.predictions and official_3dhp.applies_to(config.data_set):  # before hours of training
        optional("scipy.io", needed_by="--save_predictions")
    run = runtime.start(config.run.runtime)
    stores = load_stores([config.data_set], config.run.data)[config.data_set.name]
    log_frame_step(config)
    models = build_models(config)
    folder = open_folder(config.run, run)
    if not config.run.train and config.run.first_weights.whole is None:
        LOG.info("note: no --reload, so a lifter with random weights is evaluated")
    lifting = Lifting(models.lifter, models.refiner, run, compiled=config.run.compiled)
    test = make_test(config, stores, run)
    if stores.train is not None:
        train(config, lifting, models.frozen, stores, test, folder)
    if test is not None:
        evaluate(config, lifting, test, folder)
    else:
        folder.write_results()


def build_models(config: LiftingConfig) -> LiftingModels:
    """The lifter and, if refining, the refiner."""
    lifter = build_lifter(
        config.backbone,
        config.run.model_size,
        trains_sequence=config.every_frame and not config.refine,
    )
    if config.run.small_init:
        shrink_embeddings(lifter)
    config.run.first_weights.load_into(lifter)
    refiner = PoseRefiner(num_joints=config.run.model_size.num_joints) if config.refine else None
    if refiner is not None and config.refiner_weights is not None:
        load_whole(refiner, config.refiner_weights)
    return LiftingModels(lifter, refiner, freeze_parts(config.run, lifter))


def log_frame_step(config: LiftingConfig) -> None:
    """Log where a data set decides the frame step instead of the command line."""
    asked, data_set = config.run.windows.frame_step, config.data_set
    used = data_set.window_rule(config.run.windows).frame_step
    if asked != used:
        LOG.info("note: -tds has no effect, windows of %s have frame step %d", data_set.title, used)


def make_test(config: LiftingConfig, stores: Stores, run: runtime.Runtime) -> LiftingTest | None:
    """How the lifter is tested; None without test poses."""
    if stores.test is None or config.data_set.table is None:
        return None
    return LiftingTest(
        stores.test.to(run.device),
        config.data_set.window_rule(config.run.windows),
        batch_size=config.run.schedule.batch_size,
        flip=config.run.flip,
        table_rule=config.data_set.table,
    )


def train(
    config: LiftingConfig,
    lifting: Lifting,
    frozen: Sequence[nn.Module],
    stores: Stores,
    test: LiftingTest | None,
    folder: RunFolder,
) -> None:
    """Train to the last epoch; the models then hold the best weights."""
    assert stores.train is not None
    run, schedule = lifting.runtime, config.run.schedule
    task = LiftingTask(
        lifting,
        stores.train.to(run.device),
        config.data_set.window_rule(config.run.training_windows),
        test=None if test is None else lambda: test.errors(lifting),
        every_frame=config.every_frame,
        frozen=frozen,
    )
    training = Training(task, GradientSteps(task, run, schedule), run, schedule, folder)
    folder.results["history"] = history = training.run(resume=config.run.resume)
    if config.run.pictures and run.is_main:
        errors = [METRICS[name].log_name for name in test.table_rule.metrics[:2]] if test else []
        draw_learning_curve(folder.picture_path("learning_curve.png"), history, errors, "mm")


def evaluate(config: LiftingConfig, lifting: Lifting, test: LiftingTest, folder: RunFolder) -> None:
    """Test the lifter: table and results first, then files that may fail.

    Raises:
        FailedRun: predictions are not finite, or a file cannot be written.
    """
    scores = test.scores(lifting)
    table = test.table(scores)
    folder.results["test"] = table.results()
    lines = table.lines()
    if config.official_3dhp and official_3dhp.applies_to(config.data_set):
        sheet = official_3dhp.evaluate(scores, test.store)
        folder.results["official"] = sheet.results()
        lines[-1:] = sheet.lines()
    for line in lines:
        LOG.info(line)
    folder.write_results()
    check_finite(scores, test.store)
    if not folder.runtime.is_main:
        return
    try:
        if config.predictions is not None:
            write_predictions(config, scores, test)
        if config.run.pictures:
            draw_predictions(folder.picture_path("predictions.png"), scores, test.store)
    except UserError as error:
        raise FailedRun(f"{error}; the results are in {folder.path}") from None


def write_predictions(config: LiftingConfig, scores: LiftingScores, test: LiftingTest) -> None:
    """Write predicted poses; for MPI-INF-3DHP also as its benchmark's script reads them."""
    assert config.predictions is not None
    save_predictions(config.predictions, scores, test.store)
    if official_3dhp.applies_to(config.data_set):
        official_3dhp.save_mat(config.predictions.with_suffix(".mat"), scores, test.store)
