"""Train, resume, evaluate and refine a lifter on Human3.6M-format data."""

from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

from common.cli import configs
from common.cli.entry import run_script
from common.cli.lifting_run import run_lifting

SCRIPT = "trainer.py"


def main() -> None:
    """The run that the command line asks for."""
    run_lifting(configs.lifting(SCRIPT))


if __name__ == "__main__":
    run_script(main)
