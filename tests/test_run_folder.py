"""One run per folder, and nothing in it that the program did not write is touched."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from paths import ROOT
from runs import TINY, Run

from common.errors import UserError
from common.evaluation.drawing import new_figure, save
from common.files import LOCK_FILE, lock_folder
from common.training.checkpoint import save_torch
from common.training.run_folder import RESUME_FILE, RunFolder, RunInfo
from common.training.runtime import Runtime

CPU = Runtime(torch.device("cpu"), (), 0, 1, "fp32")
INFO = RunInfo(command="test", seed=1, options={"lr": 0.1}, free_on_resume=frozenset())
NAMES = ["opt.txt", "results.json", "t_no_refine_3_123_2D.pth", "ckpt_generater5.pth.tar"]
FOREIGN = ["earlier_best", "notes.txt", "x.pth", "data.npz", ".hidden"]


def state(**position):
    return {"format": 1, "options": {}, "position": position}


def open_folder(path, **changes):
    return RunFolder(CPU, path, INFO, **{"train": True, "resume": False, **changes})


@pytest.fixture
def finished(tmp_path):
    """A folder with the files of a finished run, and others."""
    for name in (*NAMES, *FOREIGN):
        (tmp_path / name).write_text(name)
    save_torch(tmp_path / RESUME_FILE, state(finished=True, epoch=2))
    return tmp_path


def test_only_files_of_a_run_are_moved_aside(finished):
    open_folder(finished)
    moved = finished / "earlier_1"
    assert {path.name for path in moved.iterdir()} == {*NAMES, RESUME_FILE}
    assert (moved / NAMES[2]).read_text() == NAMES[2]
    for name in FOREIGN:
        assert (finished / name).read_text() == name


def test_a_move_that_was_cut_short_is_completed(finished):
    (finished / "earlier_1").mkdir()
    (finished / NAMES[0]).rename(finished / "earlier_1" / NAMES[0])  # killed after the first file
    open_folder(finished)
    assert {p.name for p in (finished / "earlier_1").iterdir()} == {*NAMES, RESUME_FILE}
    assert not (finished / "earlier_2").exists()


def test_an_unfinished_run_is_not_overwritten(tmp_path):
    save_torch(tmp_path / RESUME_FILE, state(finished=False, epoch=4))
    with pytest.raises(UserError, match=r"unfinished run \(epoch 4\)"):
        open_folder(tmp_path)


def test_results_of_earlier_evaluations_are_kept(tmp_path):
    for number in range(3):
        folder = RunFolder(CPU, tmp_path, replace(INFO, seed=number), train=False, resume=False)
        folder.results["test"] = {"p1": float(number)}
        folder.write_results()
        folder.write_results()  # the same run's own
        folder._lock.close()
    kept = {p.name: json.loads(p.read_text())["seed"] for p in tmp_path.glob("results*.json")}
    assert kept == {"results_1.json": 0, "results_2.json": 1, "results.json": 2}


@pytest.mark.parametrize("content", [{}, {"position": 3}, {"format": 2}, {"a": torch.zeros(1)}])
def test_a_file_that_is_no_state_is_named(tmp_path, content):
    save_torch(tmp_path / RESUME_FILE, content)
    with pytest.raises(UserError, match=r"resume.pth: not a file to resume from"):
        open_folder(tmp_path)


def test_a_refused_resume_leaves_the_options_of_the_run(tmp_path):
    save_torch(tmp_path / RESUME_FILE, state(finished=False, epoch=4))
    (tmp_path / "opt.txt").write_text("lr: 0.5")
    folder = open_folder(tmp_path, resume=True)
    assert (tmp_path / "opt.txt").read_text() == "lr: 0.5"
    folder.write_options()
    assert (tmp_path / "opt.txt").read_text() == "lr: 0.1\n"


def test_nothing_to_resume_makes_no_folder(tmp_path):
    with pytest.raises(UserError, match="no interrupted run"):
        open_folder(tmp_path / "new", resume=True)
    assert not (tmp_path / "new").exists()


def test_a_second_run_names_the_process_that_holds_the_folder(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from common.files import lock_folder\n"
        f"held = lock_folder(Path({str(tmp_path)!r})); print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=rf"in use by another run \(process {other.pid}\)"):
            lock_folder(tmp_path)
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert lock_folder(tmp_path) is not None  # the kernel released it
        assert (tmp_path / LOCK_FILE).exists()
    finally:
        other.kill()


@pytest.mark.slow
def test_two_trainings_at_once(tmp_path):
    words = ["--train", "1", "--name", "t", "--nepoch", "100000", *TINY]
    first = Run("trainer.py", tmp_path, *words)
    first.wait_for((tmp_path / "checkpoint/finetune_t_f9_t0.80" / RESUME_FILE).exists)
    second = subprocess.run(
        [sys.executable, str(ROOT / "trainer.py"), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert second.returncode == 2 and f"process {first.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    first.send(signal.SIGKILL)


def test_foreign_files_of_the_same_names_are_kept(tmp_path):
    for name in ("opt.txt", "predictions.png", "results.json"):
        (tmp_path / name).write_text("mine")
    folder = open_folder(tmp_path, train=False)
    folder.write_results()
    figure, _ = new_figure(1, 1, (1, 1))
    for _ in range(2):  # the second time it is the program's own
        save(figure, folder.picture_path("predictions.png"))
    folder.write_options()
    for name in ("opt_1.txt", "predictions_1.png", "results_1.json"):
        assert (tmp_path / name).read_text() == "mine"
    assert len(list(tmp_path.glob("*_?.*"))) == 3
