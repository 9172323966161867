"""Train, resume, evaluate and refine a lifter on Human3.6M-format data."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace

from common.cli import flags as options
from common.cli.entry import run_script
from common.data import h36m
from common.data.pose_store import PoseStore
from common.data.windows import WindowRule
from common.evaluation import pictures as viz
from common.evaluation import tables as reports
from common.log import LOG
from common.tasks.lifting import (
    HUMAN36M,
    Benchmark,
    Lifting,
    LiftingScores,
    LiftingTask,
    LiftingTest,
)
from common.training import models, runtime
from common.training.loop import GradientSteps, Schedule, Training, freeze
from common.training.run_folder import RunFolder

SCRIPT = "trainer.py"


def main() -> None:
    """The run that the command line asks for."""
    args = options.parse(SCRIPT)
    run = runtime.start(**options.devices(args))
    stores = h36m.load_stores(**options.h36m_data(args))
    lift(args, run, *stores, WindowRule(args.frames, args.t_downsample), HUMAN36M)


def lift(
    args: Namespace,
    run: runtime.Runtime,
    train_store: PoseStore | None,
    test_store: PoseStore | None,
    rule: WindowRule,
    benchmark: Benchmark,
    *,
    closing: Callable[[LiftingScores, PoseStore, RunFolder], list[str]] | None = None,
) -> None:
    """Train a lifter where there are training poses, test it where there are test poses.

    Args:
        args: the options.
        run: devices and processes.
        train_store: training poses, on CPU, or None.
        test_store: test poses, on CPU, or None.
        rule: plain windows; the options say how training windows are multiplied.
        benchmark: how test errors are averaged.
        closing: looks at a test's scores once more; lines that it returns take the place of the
            table's last one.
    """
    modules = models.build_lifter(options.model_size(args), **options.lifter(args))
    folder = RunFolder(run, **options.run_folder(args))
    if not (args.train or args.reload):
        LOG.info("note: no --reload, so a lifter with random weights is evaluated")
    frozen = freeze(modules["no_refine"], args.frozen_parts) if args.train and args.frozen else []
    lifting = Lifting(modules, run, compiled=args.compile)
    test = None
    if test_store is not None:
        test = LiftingTest(
            test_store.to(run.device),
            rule,
            batch_size=args.batchSize,
            flip=args.test_augmentation,
            benchmark=benchmark,
        )
    if train_store is not None:
        task = LiftingTask(
            lifting,
            train_store.to(run.device),
            replace(rule, **options.augmentation(args)),
            test=test,
            every_frame=bool(args.out_all),
            frozen=frozen,
        )
        schedule = Schedule(**options.schedule(args))
        training = Training(task, GradientSteps(task, run, schedule), run, schedule, folder)
        folder.results["history"] = history = training.run(resume=args.resume)
        if args.vis and run.is_main:
            viz.draw_learning_curve(folder.path / "learning_curve.png", history, ("p1", "p2"), "mm")
    if test is not None:
        scores = test.scores(lifting)
        if args.save_predictions and run.is_main:
            reports.save_predictions(args.save_predictions, scores, test.store)
        if args.vis and run.is_main:
            viz.draw_predictions(folder.path / "predictions.png", scores, test.store)
        table = test.table(scores)
        folder.results["test"] = reports.lifting_results(table)
        lines = reports.lifting_lines(table)
        if closing is not None:
            lines[-1:] = closing(scores, test.store, folder) or lines[-1:]
        for line in lines:
            LOG.info(line)
    folder.write_results()


if __name__ == "__main__":
    run_script(main)
