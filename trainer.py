"""Train, resume, evaluate and refine a lifter on Human3.6M-format data."""

from argparse import Namespace

from torch import nn

from common import checkpoint, h36m, options, reports, runtime, viz
from common.lifting_engine import Lifting, LiftingTask, LiftingTest, action_table
from common.run_folder import RunFolder
from common.training import Schedule, Training, freeze
from common.windows import WindowRule
from model.lifter import PoseLifter, PoseRefiner

SCRIPT = "trainer.py"


def main() -> None:
    """The run that the command line asks for."""
    args = options.parse(SCRIPT)
    run = runtime.start(gpus=args.gpu, seed=args.manualSeed, precision=args.precision)
    train_store, test_store = h36m.load_stores(**options.h36m_data(args))
    modules = build_models(args)
    folder = RunFolder(run, **options.run_folder(args))
    frozen = freeze(modules["no_refine"], args.frozen_parts) if args.train and args.frozen else []
    lifting = Lifting(modules, run, compiled=args.compile)
    test = None
    if test_store is not None:
        test = LiftingTest(
            test_store.to(run.device),
            WindowRule(args.frames, args.t_downsample),
            batch_size=args.batchSize,
            flip=args.test_augmentation,
        )
    if train_store is not None:
        task = LiftingTask(
            lifting,
            train_store.to(run.device),
            WindowRule(args.frames, args.t_downsample, **options.augmentation(args)),
            test=test,
            every_frame=bool(args.out_all),
            frozen=frozen,
        )
        training = Training(task, run, Schedule(**options.schedule(args)), folder)
        folder.results["history"] = history = training.run(resume=args.resume)
        if args.vis and run.is_main:
            viz.draw_learning_curve(folder.path / "learning_curve.png", history, ("p1", "p2"), "mm")
    if test is not None:
        scores = test.scores(lifting)
        table = action_table(scores, test.store)
        folder.results["test"] = reports.lifting_results(table)
        if args.save_predictions and run.is_main:
            reports.save_predictions(args.save_predictions, scores, test.store)
        if args.vis and run.is_main:
            viz.draw_predictions(folder.path / "predictions.png", scores, test.store)
        for line in reports.lifting_lines(table):
            runtime.LOG.info(line)
    folder.write_results()


def build_models(args: Namespace) -> dict[str, nn.Module]:
    """The lifter and, with --refine, the refiner, by the names of their weight files."""
    lifter = PoseLifter(
        frames=args.frames,
        num_joints=args.n_joints,
        layers=args.layers,
        width=args.channel,
        hidden_width=args.d_hid,
    )
    modules: dict[str, nn.Module] = {"no_refine": lifter}
    if args.refine:
        modules["refine"] = PoseRefiner(num_joints=args.n_joints)
    if args.refine or not args.out_all:
        lifter.fcn_1.requires_grad_(False)  # the per-frame head is not part of these losses
    if args.resume and args.train:
        return modules  # the resume file holds all weights
    if args.reload:
        checkpoint.load_whole(lifter, args.previous_dir)
    elif args.MAEreload:
        runtime.LOG.info(checkpoint.load_matching(lifter, args.previous_dir))
    elif not args.train:
        runtime.LOG.info("note: no --reload, so a lifter with random weights is evaluated")
    if args.refine and args.refine_reload:
        checkpoint.load_whole(modules["refine"], args.previous_refine_name)
    return modules


if __name__ == "__main__":
    runtime.run_script(main)
