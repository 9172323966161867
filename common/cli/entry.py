"""How every entry script starts and ends: logging, one-line errors, exit codes."""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress

from torch import distributed

from common.errors import FailedRun, UserError
from common.log import LOG, stream_handler
from common.training.signals import Interrupted

EXIT_FAILED = 1
EXIT_INVALID_INPUT = 2
EXIT_INTERRUPTED = 130


def run_script(main: Callable[[], None]) -> None:
    """Run an entry script: invalid input is one line and exit code 2, a bug a traceback."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    LOG.handlers = [stream_handler(sys.stdout)]
    LOG.propagate = False
    LOG.setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.CRITICAL)
    try:
        main()
    except UserError as error:
        _exit(EXIT_INVALID_INPUT, f"error: {error}")
    except FailedRun as error:
        _exit(EXIT_FAILED, f"error: {error}")
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


def _exit(code: int, message: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        with suppress(OSError, ValueError):
            print(message, file=sys.stderr)
    sys.exit(code)
