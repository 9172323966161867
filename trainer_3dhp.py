"""Train, resume and evaluate a lifter on MPI-INF-3DHP."""

from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

from common.cli import configs
from common.cli.entry import run_script
from common.cli.lifting_run import run_lifting

SCRIPT = "trainer_3dhp.py"


def main() -> None:
    """The run that the command line asks for."""
    run_lifting(configs.lifting(SCRIPT))


if __name__ == "__main__":
    run_script(main)
