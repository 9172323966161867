"""checkpoint/reproduce.py: the paper's table in order, checked, resumable, ended by a report."""

import json
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from paths import SAMPLE

from checkpoint import reproduce
from checkpoint.reproduce import STEPS
from common.cli import commands
from common.cli.commands import run_to_end
from common.cli.flags import build_parser
from common.errors import FailedRun, UserError
from common.training.signals import Interrupted

# Commands as the paper's repository prints them, without the user's values.
PUBLISHED = """
pretrainer.py --MAE -f 243 --train 1 -k gt --n_joints 17 -b 1024 -tds 2 --layers 4 --dataset h36m --lr 0.0001 -lrd 0.97 -tmr 0.6 -smn 5
pretrainer.py --MAE -f 243 --train 1 -k gt --n_joints 16 -b 1024 -tds 2 --dataset h36m --lr 0.0001 -lrd 0.97 --layers 4 -tmr 0.6 -smn 5
pretrainer.py --MAE -f 243 --n_joints 16 -b 1024 -k gt -tds 2 --train 1 --dataset h36m,3dhp,amass --layers 3 --lr 0.0001 -lrd 0.97 -tmr 0.6 -smn 5
trainer.py -f 243 -k gt --train 1 --n_joints 17 -b 1024 --lr 0.0007 -lrd 0.97 --layers 4 -tds 2 --MAEreload 1
trainer.py -f 243 -k gt --train 1 --n_joints 16 -b 1024 --lr 0.0007 -lrd 0.97 --layers 4 -tds 2 --MAEreload 1
trainer.py -f 243 --train 1 --n_joints 17 -b 1024 --lr 0.0007 -lrd 0.97 --layers 4 -tds 2 --MAEreload 1
trainer.py -f 243 -k gt --train 1 --n_joints 17 -b 1024 --lr 0.0001 -lrd 0.97 --layers 4 -tds 2 --reload 1 --refine
trainer.py -f 243 --train 1 --n_joints 17 -b 1024 --lr 0.0001 -lrd 0.97 --layers 4 -tds 2 --reload 1 --refine
trainer_3dhp.py -f 243 -k gt --train 1 --n_joints 16 -b 1024 --lr 0.0007 -lrd 0.97 --layers 3 -tds 1 --MAEreload 1
pretrainer.py -f 27 -b 2048 -k gt --train 1 --layers 3 -tds 2 --lr 0.0002 -lrd 0.97 --dataset h36m --MAE --comp2dlift 1 --n_joints 17 --test_augmentation True
pretrainer.py -f 27 -b 2048 -k gt --train 1 --layers 3 -tds 2 --lr 0.0002 -lrd 0.97 --dataset h36m --MAE --comp3d 1 --n_joints 17
pretrainer.py -f 27 --n_joints 17 -k gt --train 0 --layers 3 -tds 2 --dataset h36m --MAE --comp3d 1 --test_augmentation True --MAEreload 1 --mask_manner3D 0,1,2,3
pretrainer.py -f 27 --n_joints 17 -k gt --train 0 --layers 3 -tds 2 --dataset h36m --MAE --comp2dlift 1 --MAEreload 1 --mask_manner2D 0,1,2,3
"""  # noqa: E501
OURS = {
    "name",
    "root_path",
    "manualSeed",
    "gpu",
    "precision",
    "generators",
    "previous_dir",
    "MAEcp",
}


def options_of(command: str) -> dict:
    """Script and options, without the values that are a user's own."""
    script, *words = shlex.split(command)
    args = vars(build_parser(script).parse_args(words))
    return {"script": script} | {k: v for k, v in args.items() if k not in OURS}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the script in a folder of its own, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["reproduce.py", *map(str, words)])
        reproduce.main()

    return call


@pytest.fixture
def said(monkeypatch, caplog):
    """The lines of the log."""
    monkeypatch.setattr(reproduce.LOG, "propagate", True)
    caplog.set_level("INFO", logger="mpm")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def programs(monkeypatch):
    """Programs that only leave the files that real ones would; what was called, by task."""
    calls: dict[str, list[str]] = {}

    def leave(command):
        words = [str(word) for word in command[2:]]
        name = words[words.index("--name") + 1] if "--name" in words else "test"
        calls.setdefault(name, []).append(shlex.join(words))
        script = os.path.basename(command[1])
        if script == "train_generator.py":
            folder = reproduce.read_generator_config(words).output
        else:
            stage = "pretrain" if script == "pretrainer.py" else "finetune"
            args = build_parser(script).parse_args(words)
            folder = Path(
                f"checkpoint/{stage}_{name}_f{args.frames}_t{args.temporal_mask_rate:.2f}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for what in ("pretrain", "no_refine", "refine"):
            for epoch in (1, 2, 10):
                (folder / f"{name}_{what}_{epoch}_99{epoch}_2D.pth").touch()
        results = {"test": {"average": {"protocol_1": 1.0}, "average_over_frames": {}}}
        results["options"] = {"manualSeed": 1, "train": 1, "name": name}
        (folder / "results.json").write_text(json.dumps(results))
        return codes.pop(name, 0)

    codes: dict[str, int] = {}
    monkeypatch.setattr(commands, "run_to_end", leave)
    leave.calls, leave.codes = calls, codes
    return leave


def test_a_dry_run_on_the_sample_shows_the_published_commands(run, said, tmp_path):
    run("--root_path", SAMPLE, "--dry-run", "--gpu", 0)
    shown = [line[7:] for line in said() if line.startswith("python ")]
    assert len(shown) == len(STEPS) and shown[0].startswith("Augpart/train_generator.py")
    commands = [options_of(command) for command in shown[1:]]
    for published in PUBLISHED.strip().splitlines():
        assert options_of(published) in commands, published
    assert sum(line.endswith("sound") for line in said()) == 6  # files, each checked once
    assert not list(tmp_path.glob("checkpoint/*/"))


def test_steps_run_in_order_and_start_from_the_last_weights(run, programs):
    run("--root_path", SAMPLE)
    trained = [f"{s.name}_s1" for s in STEPS[1:] if s.trains]
    assert [name for name in programs.calls if name != "test"] == trained
    assert "pre17_s1_pretrain_10_9910_2D.pth" in programs.calls["cpn17_s1"][0]
    assert "cpn17_s1_no_refine_10_9910_2D.pth" in programs.calls["cpn17_refined_s1"][0]
    assert "pre16_three_s1_pretrain_10" in programs.calls["3dhp_s1"][0]
    assert "comp3dcam_s1_pretrain_10" in programs.calls["test"][1]


def test_finished_steps_are_skipped_and_interrupted_ones_resumed(run, programs, tmp_path):
    programs.codes["gt17_s1"] = 130
    with pytest.raises(Interrupted, match="gt17_s1"):
        run("--root_path", SAMPLE)
    assert "gt17_refined_s1" not in programs.calls
    (tmp_path / "checkpoint" / "finetune_gt17_s1_f243_t0.80" / "resume.pth").touch()
    run("--root_path", SAMPLE)
    first, second = programs.calls["gt17_s1"]
    assert second == f"{first} -r"
    assert {
        name: len(c) for name, c in programs.calls.items() if len(c) > 1 and name != "test"
    } == {"gt17_s1": 2}


def test_results_of_other_data_or_options_are_not_taken_for_finished(run, programs, tmp_path):
    run("--root_path", SAMPLE, "--steps", "generators,pre17", "--gpu", 0)
    shutil.copytree(SAMPLE, tmp_path / "data")
    for words in (["--root_path", tmp_path / "data"], ["--precision", "bf16"]):
        with pytest.raises(UserError, match="pre17_s1 was finished with other options"):
            run("--root_path", SAMPLE, *words, "--steps", "pre17")
    run("--root_path", SAMPLE, "--steps", "generators,pre17", "--gpu", 1, "--seeds", "2,1")
    assert {name: len(calls) for name, calls in programs.calls.items()} == {
        "test": 1,  # the generators, which have no name
        "pre17_s1": 1,
        "pre17_s2": 1,
    }


def test_a_failed_step_ends_the_run(run, programs):
    programs.codes["pre17_s1"] = 1
    with pytest.raises(FailedRun, match="pre17_s1 ended with exit code 1"):
        run("--root_path", SAMPLE)
    assert list(programs.calls) == ["test", "pre17_s1"]  # generators have no name


def test_every_seed_has_its_own_runs_and_weights(run, programs):
    run("--root_path", SAMPLE, "--seeds", "1,2", "--steps", "pre17,gt17")
    assert list(programs.calls) == ["pre17_s1", "gt17_s1", "pre17_s2", "gt17_s2"]
    assert "pre17_s2_pretrain_10" in programs.calls["gt17_s2"][0]
    assert "--manualSeed 2" in programs.calls["gt17_s2"][0]


def test_weights_of_steps_that_were_not_run_are_asked_for(run, programs):
    with pytest.raises(UserError, match="no weights of pre17_s1"):
        run("--root_path", SAMPLE, "--steps", "gt17")


def test_inputs_are_checked_before_anything_runs(run, programs, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(SAMPLE, data)
    (data / "amass.npz").unlink()
    with pytest.raises(
        UserError, match="amass.npz: no such file, needed by pre16_three; .*--steps"
    ):
        run("--root_path", data)
    shutil.copy(SAMPLE / "amass.npz", data)
    (data / "data_test_3dhp.npz").write_bytes(b"no")
    with pytest.raises(UserError, match="data_test_3dhp.npz: not an .npz file"):
        run("--root_path", data)
    assert not programs.calls
    run("--root_path", data, "--steps", "pre17")  # needs neither
    assert list(programs.calls) == ["pre17_s1"]


def test_inputs_are_read_once(run, programs, monkeypatch):
    read: list[str] = []
    whole = reproduce.read_clips
    monkeypatch.setattr(reproduce, "read_clips", lambda p: (read.append(p.name), whole(p))[1])
    run("--root_path", SAMPLE, "--steps", "3dhp,pre16_three")
    assert sorted(set(read)) == sorted(read) and len(read) == 5
    run("--root_path", SAMPLE, "--steps", "3dhp")
    assert len(read) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--steps", "pre18"), "no step 'pre18'; there are generators"),
        (("--seeds", "1,x"), "--seeds: invalid"),
        (("--gpu", "x"), "--gpu: 'x' is not a comma list"),
        (("--generators", "."), "holds no"),
        (("--root_path", "missing"), "no such file"),
    ],
)
def test_mistakes_are_named(run, programs, words, message):
    with pytest.raises(UserError, match=message):
        run("--root_path", SAMPLE, *words)
    assert not programs.calls


def test_a_damaged_state_is_named(run, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "reproduce.json").write_text("{}")
    with pytest.raises(UserError, match="reproduce.json: damaged"):
        run("--root_path", SAMPLE, "--dry-run")


def test_signals_go_on_to_the_program(tmp_path):
    code = (
        "import signal, sys, time, pathlib\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(60)\n"
    )

    def kill_when_ready():
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=kill_when_ready).start()
    before = signal.getsignal(signal.SIGTERM)
    assert run_to_end([sys.executable, "-c", code]) == 130
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_small_runs_end_in_a_report(script, tmp_path):
    words = ["--root_path", SAMPLE, "--gpu", 0, "--small", "--steps", "pre17,gt17"]
    done = script("checkpoint/reproduce.py", *words)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| small_")]
    assert [row.split(" | ")[0][2:] for row in rows] == [
        "small_pre17: joints and frames",
        "small_gt17",
    ]
    again = script("checkpoint/reproduce.py", *words)
    assert again.stdout.count("finished before") == 2
    assert [line for line in again.stdout.splitlines() if line.startswith("| small_")] == rows
