"""How every entry script starts and ends: logging, one-line errors, exit codes."""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from torch import distributed

from common.errors import FailedElsewhere, FailedRun, UserError
from common.log import LOG, log_warnings, stream_handler
from common.training.processes import speaks
from common.training.signals import Interrupted

EXIT_FAILED = 1
EXIT_INVALID_INPUT = 2
EXIT_INTERRUPTED = 130


def run_script(main: Callable[[], None]) -> None:
    """Run an entry script: invalid input is one line and exit code 2, a bug a traceback."""
    LOG.handlers = [stream_handler(sys.stdout)]
    LOG.propagate = False
    is_main = os.environ.get("RANK", "0") == "0"
    LOG.setLevel(logging.INFO if is_main else logging.CRITICAL)
    log_warnings()
    try:
        main()
    except UserError as error:
        _exit(EXIT_INVALID_INPUT, f"error: {error}", alone=True)
    except FailedRun as error:
        _exit(EXIT_FAILED, f"error: {error}", alone=True)
    except FailedElsewhere:
        sys.exit(EXIT_FAILED)
    except Interrupted as stopped:
        _exit(EXIT_INTERRUPTED, str(stopped))
    except KeyboardInterrupt:
        _exit(EXIT_INTERRUPTED, "interrupted")
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
        _close_output()


def _close_output() -> None:
    """Flush standard output while a closed pipe can still be ignored; Python would complain."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _exit(code: int, message: str, *, alone: bool = False) -> None:
    """End the process; the main one reports why, another one if it is `alone` with its reason."""
    rank = os.environ.get("RANK", "0")
    if speaks(message) if alone else rank == "0":
        shown = message if rank == "0" else message.replace("error:", f"error (process {rank}):", 1)
        with suppress(OSError, ValueError):
            print(shown, file=sys.stderr, flush=True)
    sys.exit(code)
