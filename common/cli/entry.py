"""How every entry script starts and ends: logging, signals, one-line errors, exit codes."""

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from torch import distributed

from common.errors import FailedElsewhere, FailedRun, UserError, printable, shown
from common.files import reason_of, remove_temporaries
from common.interrupts import (
    EXIT_INTERRUPTED,
    Stopped,
    end_on_signals,
    exit_code_of,
    ignore_signals,
    raise_on_signals,
    words_of,
)
from common.log import log_warnings, start_logging
from common.training.processes import Processes, speaks
from common.training.signals import Interrupted

EXIT_FAILED = 1
EXIT_INVALID_INPUT = 2


def run_script(main: Callable[[], None]) -> None:
    """Run an entry script: invalid input is one line and exit code 2, a bug a traceback."""
    _escape_what_cannot_be_encoded()
    code: int | str = 0
    try:
        _run(main)
    except SystemExit as leaving:
        code = leaving.code or 0
    if _has_joined_others():
        # Threads of the exchange may still hold what belongs to the interpreter: taking that down
        # around them can abort a process whose work is done, and with it the whole job.
        os._exit(code if isinstance(code, int) else EXIT_FAILED)
    sys.exit(code)


def _run(main: Callable[[], None]) -> None:
    """Run a script to its end, whatever that is; the exit code of one that fails is raised."""
    start_logging(sys.stdout, silent=os.environ.get("RANK", "0") != "0")
    log_warnings()
    try:
        raise_on_signals()
        main()
        _leave_together()
    except UserError as error:
        _exit(EXIT_INVALID_INPUT, f"error: {error}", alone=True)
    except FailedRun as error:
        _exit(EXIT_FAILED, f"error: {error}", alone=True)
    except FailedElsewhere:
        sys.exit(EXIT_FAILED)
    except OSError as error:  # of any path: too long, not permitted, gone
        _exit(EXIT_INVALID_INPUT, f"error: {_words_of(error)}", alone=True)
    except MemoryError as error:
        _exit(EXIT_FAILED, f"error: out of memory {error}".rstrip(), alone=True)
    except Interrupted as stopped:
        _exit(EXIT_INTERRUPTED, str(stopped))
    except Stopped as stopped:
        _exit(exit_code_of(stopped.number), words_of(stopped.number))
    except KeyboardInterrupt:
        _exit(EXIT_INTERRUPTED, "interrupted")
    finally:
        ignore_signals()
        remove_temporaries()
        end_on_signals()
        _close_output()


def _has_joined_others() -> bool:
    """Whether this process is one of several that exchange tensors."""
    return distributed.is_available() and distributed.is_initialized()


def _leave_together() -> None:
    """Wait for the other processes of a run that went well: who leaves first breaks their ties."""
    if _has_joined_others():
        with suppress(FailedRun):  # another one has failed, and says so
            Processes.of_environment().wait_for_all()


def _words_of(error: OSError) -> str:
    """What an OSError is about."""
    given = (error.filename, error.filename2)
    names = [
        shown(name if isinstance(name, int) else os.fsdecode(name))
        for name in given
        if name is not None
    ]
    return ": ".join([*([" -> ".join(names)] if names else []), reason_of(error)])


def _escape_what_cannot_be_encoded() -> None:
    """File names need not be text; whatever prints them shows escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
    message = printable(message)
    if speaks(message) if alone else rank == "0":
        shown = message if rank == "0" else message.replace("error:", f"error (process {rank}):", 1)
        with suppress(OSError, ValueError):
            print(shown, file=sys.stderr, flush=True)
    sys.exit(code)
