"""Runs under torchrun as users start them: failures that are seen, restarts, other numbers."""

import os
import signal
import time

import numpy as np
import pytest
from paths import ROOT
from runs import (
    TINY,
    WAIT_SECONDS,
    Run,
    assert_same_end,
    last_checkpoint,
    start_torchrun,
    torchrun,
)

from common.cli import options
from common.files import LOCK_FILE
from common.training.checkpoint import save_torch

TRAINER = ROOT / "trainer.py"
TRAIN = ["--train", "1", "--name", "t", "--nepoch", "3", *TINY]
FOLDER = "checkpoint/finetune_t_f9_t0.80"


@pytest.mark.slow
def test_a_job_whose_worker_is_killed_goes_on_by_itself(tmp_path):
    torchrun(tmp_path / "straight", 2, TRAINER, *TRAIN)
    folder = tmp_path / "killed"
    job = start_torchrun(folder, 2, TRAINER, *TRAIN, restarts=1)
    try:
        end = time.monotonic() + WAIT_SECONDS
        while not list((folder / FOLDER).glob("t_no_refine_1_*")):
            assert job.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        os.kill(int((folder / FOLDER / LOCK_FILE).read_text()), signal.SIGKILL)
        stdout, stderr = job.communicate(timeout=WAIT_SECONDS)
    finally:
        job.kill()
    assert job.returncode == 0, stderr
    assert "this job was started again and resumes the run in" in stdout
    ends = [last_checkpoint(tmp_path / name / FOLDER) for name in ("straight", "killed")]
    assert_same_end(*ends)
    # What two processes left, one goes on with.
    run = Run("trainer.py", folder, *TRAIN, "-r", "--nepoch", "4").end()
    assert "had 2 processes, this one has 1: the order of the samples is kept" in run.stdout
    history = last_checkpoint(folder / FOLDER)["position"]["history"]
    assert len(history) == 4 and np.isfinite([record["loss"] for record in history]).all()


@pytest.mark.slow
def test_a_mistake_is_told_once(tmp_path):
    done = torchrun(tmp_path, 2, TRAINER, *TINY, "--root_path", "nowhere", expect=1)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1 and "no such file" in lines[0], done.stderr


@pytest.mark.slow
def test_a_job_that_is_done_does_not_fail_while_interpreters_are_taken_down(tmp_path):
    script = tmp_path / "meet.py"
    script.write_text(
        "import atexit, os, torch\n"
        "from common.cli.entry import run_script\n"
        "from common.training.processes import Processes\n"
        "def main():\n"
        "    atexit.register(os.abort)  # as a thread that outlives the interpreter does\n"
        "    processes = Processes.of_environment()\n"
        "    processes.join(torch.device('cpu'))\n"
        "    processes.gather(processes.rank)\n"
        "    if processes.is_main:\n"
        "        print('met')\n"
        "run_script(main)\n"
    )
    assert "met" in torchrun(tmp_path, 2, script).stdout.splitlines()


@pytest.fixture
def restarted(monkeypatch, tmp_path):
    """A job that was started again, in a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    return tmp_path / FOLDER


def resumes(words):
    return options.read("trainer.py", words)[0].resume


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("same_command", [False, True])
def test_a_job_that_was_started_again_resumes_its_run(restarted, finished, same_command):
    assert not resumes(TRAIN)  # nothing to resume yet
    command = options.read("trainer.py", TRAIN)[0].command
    recorded = {"command": command if same_command else "python trainer.py"}
    restarted.mkdir(parents=True)
    state = {"format": 1, "options": recorded, "position": {"finished": finished, "epoch": 1}}
    save_torch(restarted / "resume.pth", state)
    assert resumes(TRAIN) == (same_command or not finished)
    assert not resumes([*TRAIN, "--train", "0"])


@pytest.mark.parametrize("name", ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"])
@pytest.mark.parametrize(("count", "again"), [("0", False), ("2", True), ("", False)])
def test_who_starts_a_job_again(restarted, monkeypatch, name, count, again):
    for variable in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, count)
    restarted.mkdir(parents=True)
    state = {"format": 1, "options": {}, "position": {"finished": False, "epoch": 1}}
    save_torch(restarted / "resume.pth", state)
    assert resumes(TRAIN) is again
