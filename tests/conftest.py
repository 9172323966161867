"""Fixtures of several test files."""

import signal

import pytest
from runs import Done, Run

# Processes started in the background of a shell, or by nohup, ignore signals that tests send to
# runs of their own, which inherit that.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture
def script(tmp_path):
    """Run an entry script in a folder of its own: `script("trainer.py", *words)`."""

    def run(name: str, *words: object, expect: int = 0, **environment: str) -> Done:
        ended = Run(name, tmp_path, *words, **environment).end(expect=expect)
        return Done(ended.stdout, ended.stderr)  # a later run writes to the same files

    return run


@pytest.fixture
def mistake(script):
    """Run a script that must fail with one line and exit code 2; returns the line."""

    def run(name: str, *words: object) -> str:
        done = script(name, *words, expect=2)
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: ")
        return lines[0]

    return run
