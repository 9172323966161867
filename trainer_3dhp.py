"""Train, resume and evaluate a lifter on MPI-INF-3DHP."""

from common.cli import flags as options
from common.cli.entry import run_script
from common.data import mpi_inf_3dhp
from common.data.pose_store import PoseStore
from common.data.windows import WindowRule
from common.evaluation import official_3dhp
from common.log import LOG
from common.optional import optional
from common.tasks.lifting import MPI_INF_3DHP, LiftingScores
from common.training import runtime
from common.training.run_folder import RunFolder
from trainer import lift

SCRIPT = "trainer_3dhp.py"


def main() -> None:
    """The run that the command line asks for."""
    args = options.parse(SCRIPT)
    if args.save_predictions:
        optional("scipy.io", needed_by="--save_predictions")  # before hours of training, not after
    run = runtime.start(**options.devices(args))
    stores = mpi_inf_3dhp.load_stores(**options.mpi_inf_3dhp_data(args, beside_h36m=False))
    rule = WindowRule(args.frames, mpi_inf_3dhp.FRAME_STEP)
    if args.t_downsample != rule.frame_step:
        LOG.info("note: -tds has no effect, windows of MPI-INF-3DHP have frame step 1")

    def closing(scores: LiftingScores, store: PoseStore, folder: RunFolder) -> list[str]:
        if args.save_predictions and run.is_main:
            official_3dhp.save_mat(args.save_predictions, scores, store)
        if args.metric_3dhp != "official":
            return []
        sheet = official_3dhp.evaluate(scores, store)
        folder.results["official"] = sheet.results()
        return sheet.lines()

    lift(args, run, *stores, rule, MPI_INF_3DHP, closing=closing)


if __name__ == "__main__":
    run_script(main)
