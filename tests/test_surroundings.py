"""Paths that cannot be used, systems that lack what POSIX has, and a log that begins at once."""

import errno
import logging
import os
import signal
import sys
import types

import pytest
from paths import GOLDEN, ROOT, SAMPLE
from runs import TINY, Run

from common import files
from common.errors import UserError
from common.files import lock_folder, published_together, short_path, write_atomically
from common.interrupts import ending_signals
from common.log import LOG, log_to_file, start_logging

# ---- paths


MANY = """
import errno, os, shutil
from pathlib import Path
from common.cli.entry import run_script
from common.errors import UserError

def missing(): open("no/such/file")
def renamed(): os.rename("no", "other")
def long_name(): Path("x" * 300).touch()
def long_path(): os.mkdir("x/" * 5000)
def not_a_folder(): Path("file").touch(); os.listdir("file/below")
def loop(): os.symlink("loop", "loop"); open("loop")
def not_text(): open(b"no\\xffsuch")
def escapes(): raise UserError("a\\x1b[31mb\\nc\\udcff")
def by_number(): os.listdir(12345)
def full(): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x")
def of_bytes(): raise OSError(errno.EROFS, os.strerror(errno.EROFS), b"\\xff", None, "y")
def nameless(): raise OSError(errno.EIO, os.strerror(errno.EIO))
def memory(): raise MemoryError
def gone(): shutil.rmtree(os.getcwd()); os.getcwd()

for main in (missing, renamed, long_name, long_path, not_a_folder, loop, not_text, escapes, full,
             by_number, of_bytes, nameless, memory, gone):
    try:
        run_script(main)
    except SystemExit as end:
        print(main.__name__, end.code)
"""


def test_any_trouble_with_a_path_is_one_line(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "s.py").write_text("import os; os.chdir('folder')\n" + MANY)
    done = Run(str(tmp_path / "s.py"), tmp_path).end()
    codes = dict(line.split() for line in done.stdout.splitlines())
    assert codes.pop("memory") == "1" and set(codes.values()) == {"2"} and len(codes) == 13
    assert done.stderr.splitlines() == [
        "error: no/such/file: no such file or folder",
        "error: no -> other: no such file or folder",
        f"error: {'x' * 200}...: File name too long",
        f"error: {'x/' * 100}...: File name too long",
        "error: file/below: Not a directory",
        "error: loop: Too many levels of symbolic links",
        r"error: no\udcffsuch: no such file or folder",
        r"error: a\x1b[31mb c\udcff",
        "error: x: the disk is full",
        "error: Bad file descriptor",
        r"error: \udcff -> y: Read-only file system",
        "error: Input/output error",
        "error: out of memory",
        "error: no such file or folder",
    ]


WEIGHTS = ["--reload", "1", "--previous_dir", GOLDEN / "ckpt" / "small_lift.pth"]
EVALUATE = ["-k", "gt", "-tds", "2", "--debug", "1", "--root_path", SAMPLE, "--gpu", "0", *WEIGHTS]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--root_path", "x" * 5000],
        ["--root_path", os.fsdecode(b"\xff\xfe")],
        ["--previous_dir", os.fsdecode(b"\xff\x1b[31m"), "--reload", "1"],
        ["--previous_dir", "/dev/zero", "--reload", "1"],
        ["--previous_dir", "x" * 300, "--MAEreload", "1"],
        ["--save_predictions", "x" * 300 + ".npz"],
        ["--train", "1", *TINY, "--name", "x" * 300],
        [
            "--train",
            "1",
            *TINY,
            "--name",
            "a\x1b[31mb\udcff",
            "--frozen",
            "1",
            "--frozen_parts",
            "q",
        ],
    ],
    ids=range(8),
)
def test_paths_of_the_command_line(mistake, words):
    line = mistake("trainer.py", *words)
    assert line.isprintable()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "dangling", "gone"])
def test_no_place_for_the_run_folder(mistake, tmp_path, kind):
    runner = tmp_path / "s.py"
    runner.write_text(
        f"import runpy, shutil, os\nif {kind!r} == 'gone': os.mkdir('x'); os.chdir('x'); "
        f"os.rmdir('../x')\nrunpy.run_path({str(ROOT / 'trainer.py')!r}, run_name='__main__')\n"
    )
    if kind == "file":
        (tmp_path / "checkpoint").touch()
    elif kind == "dangling":
        (tmp_path / "checkpoint").symlink_to(tmp_path / "none" / "at" / "all")
    line = mistake(str(runner), *EVALUATE)
    assert "cannot make the folder" in line or "no such file or folder" in line


@pytest.mark.slow
def test_names_that_are_no_text_are_usable(script, tmp_path):
    name = os.fsdecode(b"r\xffn")
    script("trainer.py", "--train", "1", "--nepoch", "1", "--name", name, *TINY)
    (folder,) = (tmp_path / "checkpoint").iterdir()
    assert {"opt.txt", "results.json", "resume.pth"} <= {p.name for p in folder.iterdir()}


# ---- the log


def test_the_log_has_what_was_said_before_it_was_open(tmp_path):
    before = (LOG.handlers, LOG.propagate, LOG.level)
    try:
        start_logging(None, silent=False)
        LOG.info("early %d", 1)
        log_to_file(tmp_path / "train.log")
        LOG.info("late \udcff")
        log_to_file(tmp_path / "other.log")
        LOG.info("later")
    finally:
        LOG.handlers, LOG.propagate = before[:2]
        LOG.setLevel(before[2])
    texts = [
        [line.split(" ", 2)[2] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("train.log", "other.log")
    ]
    assert texts == [["early 1", r"late \udcff"], ["later"]]
    assert logging.getLogger("mpm") is LOG


def test_a_log_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "train.log")
    with pytest.raises(OSError, match="No such device"):
        log_to_file(tmp_path / "train.log")


# ---- other systems


class Windows(types.ModuleType):
    """A stand-in for msvcrt: locks of bytes of files, held by name."""

    LK_NBLCK = 2

    def __init__(self):
        super().__init__("msvcrt")
        self.locked = set()

    def locking(self, descriptor, mode, size):
        assert (mode, size) == (self.LK_NBLCK, 1)
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) in self.locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        self.locked.add((status.st_dev, status.st_ino))


def test_locks_without_posix(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", Windows())
    held = lock_folder(tmp_path)
    assert held is not None
    with pytest.raises(UserError, match=rf"in use by another run \(process {os.getpid()}\)"):
        lock_folder(tmp_path)
    monkeypatch.setitem(sys.modules, "msvcrt", None)
    assert lock_folder(tmp_path) is None


@pytest.mark.parametrize("reason", ["nt", "refused"])
def test_folders_need_not_be_synced(tmp_path, monkeypatch, reason):
    real = os.fsync

    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            assert reason != "nt"
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if reason == "nt":
        monkeypatch.setattr(files.os, "name", "nt")
    write_atomically(tmp_path / "a", b"new")
    with published_together(tmp_path) as folder:
        write_atomically(folder / "b", b"new")
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("error", [ValueError("path is on mount 'D:'"), FileNotFoundError()])
def test_paths_on_another_drive(tmp_path, monkeypatch, error):
    def relpath(path):
        raise error

    monkeypatch.setattr(os.path, "relpath", relpath)
    assert short_path(tmp_path) == tmp_path


def test_signals_that_do_not_exist(monkeypatch):
    assert signal.SIGHUP in ending_signals()
    monkeypatch.delattr(signal, "SIGHUP")
    assert {s.name for s in ending_signals()} == {"SIGINT", "SIGTERM"}


def test_memory_of_unknown_size(monkeypatch):
    with pytest.raises(MemoryError):
        files.check_memory(2**62)
    monkeypatch.delattr(os, "sysconf")
    files.check_memory(2**62)
