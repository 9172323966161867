"""Signals end every script with one line and no temporary file, whatever it is about to do."""

import os
import signal
import subprocess
import sys

import pytest
from paths import ROOT
from runs import Run

from common.files import complete_publication

# Every file that is run as a script.
SCRIPTS = [
    str(path.relative_to(ROOT))
    for folder in (".", "common", "Augpart", "dataset", "checkpoint")
    for path in sorted((ROOT / folder).glob("*.py"))
    if "run_script(main)" in path.read_text()
]
ENDS = {
    signal.SIGINT: (130, "interrupted\n"),
    signal.SIGTERM: (143, "terminated\n"),
    signal.SIGHUP: (143, "terminated\n"),
}


def python(code: str, folder) -> subprocess.CompletedProcess:
    """Run some code in a process of its own, which has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=100,
    )


# A signal comes just when a script begins to import a library.
DURING_IMPORTS = """
import os, runpy, sys
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "numpy"):
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Sender())
sys.argv = ["script", "--help"]
runpy.run_path({script!r}, run_name="__main__")
"""


def test_all_scripts_are_known():
    assert {"trainer.py", "common/inspect.py", "dataset/make_custom.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("number", ENDS)
def test_signals_during_imports(tmp_path, script, number):
    code = DURING_IMPORTS.format(script=str(ROOT / script), number=int(number))
    done = python(code, tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (*ENDS[number], "")


# Writes two files together; a signal comes whenever a function of the system has been called.
WHILE_WRITING = """
import os, signal
from pathlib import Path
from common.cli.entry import run_script
from common import files

def sending(function):
    def call(*arguments, **options):
        result = function(*arguments, **options)
        for number in {numbers}:
            os.kill(os.getpid(), number)
        return result
    return call

def main():
    module = {{"os": os, "path": Path, "shutil": files.shutil}}[{module!r}]
    with files.published_together(Path()) as folder:
        setattr(module, {name!r}, sending(getattr(module, {name!r})))
        for name in ("a", "b"):
            with files.whole_file(folder / name) as stream:
                stream.write(b"new")
run_script(main)
"""


@pytest.mark.parametrize("numbers", [[2], [15], [1], [15, 1]], ids=str)
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "fsync"),
        ("os", "replace"),
        ("os", "rename"),
        ("path", "unlink"),
        ("shutil", "rmtree"),
    ],
)
def test_signals_while_files_are_written(tmp_path, module, name, numbers):
    for file in ("a", "b"):
        (tmp_path / file).write_text("old")
    (tmp_path / ".s.py").write_text(WHILE_WRITING.format(module=module, name=name, numbers=numbers))
    called = name != "rmtree"  # only what is left behind is removed so
    code, line = ENDS[signal.Signals(numbers[0])] if called else (0, "")
    assert Run(str(tmp_path / ".s.py"), tmp_path).end(expect=code).stderr == line
    for name in (".s.py", ".stdout", ".stderr"):
        (tmp_path / name).unlink()
    contents = {p.name: p.read_text() for p in tmp_path.iterdir()}
    assert contents in ({"a": "old", "b": "old"}, {"a": "new", "b": "new"})


@pytest.mark.parametrize("ignored", [True, False])
def test_signals_that_are_ignored_from_the_start_stay_so(tmp_path, ignored):
    (tmp_path / "s.py").write_text(
        "import os, signal\nfrom common.cli.entry import run_script\n"
        "def main():\n    os.kill(os.getpid(), signal.SIGHUP)\n    print('done')\n"
        f"if {ignored}: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does\n"
        "run_script(main)"
    )
    done = Run(str(tmp_path / "s.py"), tmp_path).end(expect=0 if ignored else 143)
    assert done.stdout == ("done\n" if ignored else "")


# Killed, as by SIGKILL, at the n-th call of a function that changes a folder.
KILLED = """
import os
from pathlib import Path
from common import files

def counting(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return function(*arguments, **options)
    return call

left = {calls}
for name in ("replace", "rename", "rmdir", "unlink"):
    setattr(os, name, counting(getattr(os, name)))
for name in ("unlink", "rmdir"):
    setattr(Path, name, counting(getattr(Path, name)))
with files.published_together(Path()) as folder:
    for name in ("a", "b"):
        files.write_atomically(folder / name, b"new")
"""


def test_files_are_published_together_or_not_at_all(tmp_path):
    ends = set()
    for calls in range(40):
        folder = tmp_path / str(calls)
        folder.mkdir()
        for file in ("a", "b"):
            (folder / file).write_text("old")
        done = python(KILLED.format(calls=calls), folder)
        seen = {p.name: p.read_text() for p in folder.iterdir() if not p.name.startswith(".")}
        assert len(set(seen.values())) < 2, (calls, seen)  # never old and new side by side
        complete_publication(folder)
        contents = {p.name: p.read_text() for p in folder.iterdir()}
        assert contents in ({"a": "old", "b": "old"}, {"a": "new", "b": "new"}), calls
        ends.add((contents["a"], done.returncode))
        if done.returncode == 0:
            break
    assert ends == {("old", 9), ("new", 9), ("new", 0)}
