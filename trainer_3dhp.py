"""Train, resume and evaluate a lifter on MPI-INF-3DHP."""

from common import mpi_inf_3dhp, official_3dhp, options, reports, runtime
from common.lifting_engine import MPI_INF_3DHP
from common.preparation import optional
from common.windows import WindowRule
from trainer import lift

SCRIPT = "trainer_3dhp.py"


def main() -> None:
    """The run that the command line asks for."""
    args = options.parse(SCRIPT)
    if args.save_predictions:
        optional("scipy.io", needed_by="--save_predictions")  # before hours of training, not after
    run = runtime.start(**options.devices(args))
    train_store, test_store = mpi_inf_3dhp.load_stores(
        **options.mpi_inf_3dhp_data(args, beside_h36m=False)
    )
    rule = WindowRule(args.frames, mpi_inf_3dhp.FRAME_STEP)
    if args.t_downsample != rule.frame_step:
        runtime.LOG.info("note: -tds has no effect, windows of MPI-INF-3DHP have frame step 1")
    folder, test, scores = lift(args, run, train_store, test_store, rule, MPI_INF_3DHP)
    if test is not None and scores is not None:
        table = test.table(scores)
        folder.results["test"] = reports.lifting_results(table)
        lines = reports.lifting_lines(table)
        if args.metric_3dhp == "official":
            sheet = official_3dhp.evaluate(scores, test.store)
            folder.results["official"] = sheet.results()
            lines[-1:] = sheet.lines()
        if args.save_predictions and run.is_main:
            official_3dhp.save_mat(args.save_predictions, scores, test.store)
        for line in lines:
            runtime.LOG.info(line)
    folder.write_results()


if __name__ == "__main__":
    runtime.run_script(main)
