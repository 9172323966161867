"""trainer.py from the outside: real runs of its commands."""

import json
import random
import shutil
import signal
import time
from collections import Counter

import numpy as np
import pytest
import torch
from goldens import EXPECTED, filled, golden_command, last_numbers, save_released
from paths import GOLDEN, ROOT, SAMPLE
from runs import TINY, Run, assert_same_end, last_checkpoint, torchrun

from model.lifter import PoseLifter, PoseRefiner

LIFT_ROWS = [name for name in EXPECTED if name.startswith("lift_")]
TRAIN = ["--train", "1", "--name", "t", "--nepoch", "3", *TINY]
MANY_STEPS = [*TRAIN, "-b", "8"]  # time to act in the middle of an epoch
FOLDER = "checkpoint/finetune_t_f9_t0.80"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with the checkpoints that the golden commands name."""
    folder = tmp_path_factory.mktemp("weights")
    for joints in (16, 17):
        lifter = filled(PoseLifter(frames=27, num_joints=joints, layers=3))
        save_released(lifter, folder / f"lift_f27_j{joints}_l3.pth")
    save_released(filled(PoseRefiner(num_joints=17)), folder / "refine_j17.pth")
    for path in (GOLDEN / "ckpt").glob("*.pth"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The resume file of an uninterrupted run of MANY_STEPS."""
    folder = tmp_path_factory.mktemp("straight")
    Run("trainer.py", folder, *MANY_STEPS).end()
    return last_checkpoint(folder / FOLDER)


def table(output: str) -> dict[str, list[float]]:
    """The rows of the table that an evaluation printed: action -> numbers."""
    lines = output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Action "))
    rows = {}
    for line in lines[start + 1 : -1]:
        words = line.split()
        numbers = [float(word) for word in words[-4:]]
        rows[" ".join(words[:-4])] = numbers
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("row", LIFT_ROWS)
def test_golden_evaluations(row, script, weights):
    done = script(*golden_command(row, weights))
    rows = table(done.stdout)
    for action, numbers in EXPECTED[row]["table"].items():
        np.testing.assert_allclose(rows[action][:2], numbers, atol=0.02, err_msg=action)
    printed, wanted = map(last_numbers, (done.stdout.splitlines()[-1], EXPECTED[row]["last_line"]))
    np.testing.assert_allclose(printed, wanted, atol=0.02)


@pytest.mark.slow
def test_a_run_leaves_what_it_says(script, tmp_path):
    done = script("trainer.py", *TRAIN, "--vis", "1", "--save_predictions", "p.npz")
    folder = tmp_path / FOLDER
    results = json.loads((folder / "results.json").read_text())
    assert results["command"].startswith("python trainer.py --train 1 --name t")
    assert results["seed"] == 1 and results["versions"]["torch"] == torch.__version__
    assert [record["epoch"] for record in results["history"]] == [1, 2, 3]
    rates = [record["learning_rate"] for record in results["history"]]
    np.testing.assert_allclose(rates, [1e-3, 0.95e-3, 0.95**2 * 1e-3])
    options = (folder / "opt.txt").read_text()
    assert "lr_decay: 0.95\n" in options and "n_joints: 17\n" in options
    assert "epoch 3/3" in (folder / "train.log").read_text()
    for name in ("predictions.png", "learning_curve.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    best = min(results["history"], key=lambda record: record["p1"])
    name = f"t_no_refine_{best['epoch']}_{int(100 * best['p1'])}_2D.pth"
    state = torch.load(folder / name, weights_only=True)
    assert all(key.startswith("module.") for key in state)
    printed = table(done.stdout)
    assert printed["Average"][0] == pytest.approx(best["p1"], abs=0.006)
    assert results["test"]["average"]["protocol_1"] == pytest.approx(best["p1"], abs=1e-3)
    # What was saved evaluates to what was printed.
    again = script("trainer.py", *TINY, "--reload", "1", "--previous_dir", folder / name)
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]
    assert_recomputed(tmp_path / "p.npz", printed)


def assert_recomputed(path, printed):
    """Every number of the table follows from the file of predictions."""
    with np.load(path) as saved:
        predicted, target = saved["predicted_3d"], saved["target_3d"]
        actions, frames, cameras = saved["action"], saved["frame"], saved["camera"]
        assert saved["joint_names"].shape == (17,) and "mm" in str(saved["unit"])
        assert set(saved["subject"]) == {"S9"}
    errors = np.linalg.norm(predicted - target, axis=-1).mean(-1)
    steps = np.linalg.norm(np.diff(predicted - target, axis=0), axis=-1).mean(-1)
    for action in set(actions):
        chosen = actions == action
        assert errors[chosen].mean() == pytest.approx(printed[action][0], abs=0.006)
        assert chosen.sum() == printed[action][3]
        within = (np.diff(frames) == 1) & (np.diff(cameras) == 0) & chosen[1:]
        assert steps[within].mean() == pytest.approx(printed[action][2], abs=0.006)
    assert errors.mean() == pytest.approx(printed["Average over frames"][0], abs=0.006)


@pytest.mark.slow
def test_same_command_same_numbers(script, tmp_path):
    lines = []
    for _ in range(2):  # the second run moves the first one's files aside
        done = script("trainer.py", *TRAIN, "--save_predictions", "p.npz")
        lines.append([line for line in done.stdout.splitlines() if line.startswith(("p1", "Cli"))])
    assert lines[0] == lines[1]
    first = last_checkpoint(tmp_path / FOLDER / "earlier_1")
    assert_same_end(first, last_checkpoint(tmp_path / FOLDER))
    other = script("trainer.py", *TRAIN, "--manualSeed", "2").stdout.splitlines()[-1]
    assert other != lines[0][-1]


def part_under_way(position):
    """What a run with such a resume file does: it is written after each part of an epoch."""
    return "test" if position["step"] else "training"


def kill_in(part, run, *, after, rng):
    """Kill a run at a random moment, in a part of an epoch ("training" or "test").

    Args:
        part: the part.
        run: it stops now and then, so that what it does can be looked at before it is killed.
        after: the epoch is a later one than this.
        rng: chooses the moment.

    Returns:
        How far the resume file had come when the run was dead.
    """

    def stopped_there():
        time.sleep(rng.uniform(0, 0.1))
        run.send(signal.SIGSTOP)
        position = last_checkpoint(run.folder / FOLDER)["position"]
        if position["epoch"] > after and part_under_way(position) == part:
            return True
        run.send(signal.SIGCONT)
        return False

    run.wait_for((run.folder / FOLDER / "resume.pth").exists)
    run.wait_for(stopped_there)
    run.send(signal.SIGKILL)
    assert run.process.exitcode == -signal.SIGKILL
    return last_checkpoint(run.folder / FOLDER)["position"]


@pytest.mark.slow
def test_killed_at_random_moments_a_run_ends_where_an_uninterrupted_one_does(tmp_path):
    words = [*TRAIN, "--refine", "--reverse_augmentation", "True", "-b", "64"]
    endless = [*words, "--nepoch", "100000"]  # so that it is never over before it is killed
    folder, rng = tmp_path / "killed", random.Random(0)
    kills, epoch = Counter(), 1
    while min(kills["training"], kills["test"]) < 2:
        run = Run("trainer.py", folder, *endless, *(["-r"] if kills else []))
        wanted = min(("training", "test"), key=kills.__getitem__)
        position = kill_in(wanted, run, after=epoch, rng=rng)
        assert position["epoch"] > epoch and not position["finished"]
        epoch = position["epoch"]
        kills[part_under_way(position)] += 1
    last = str(epoch + 1)
    resumed = Run("trainer.py", folder, *words, "--nepoch", last, "-r").end()
    assert f"resuming in epoch {epoch} after step" in resumed.stdout
    Run("trainer.py", tmp_path / "straight", *words, "--nepoch", last).end()
    ends = [last_checkpoint(tmp_path / name / FOLDER) for name in ("straight", "killed")]
    assert [len(end["position"]["history"]) for end in ends] == [epoch + 1, epoch + 1]
    assert_same_end(*ends)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_in_the_middle_of_an_epoch_and_says_how_to_resume(
    tmp_path, number, script, straight
):
    run = Run("trainer.py", tmp_path, *MANY_STEPS)
    run.wait_for((tmp_path / FOLDER / "resume.pth").exists)
    run.send(number)
    errors = run.end(expect=130).stderr
    position = last_checkpoint(tmp_path / FOLDER)["position"]
    epoch, step = position["epoch"], position["step"]
    assert epoch <= 3 and step > 0 and not position["finished"]
    line = errors.strip().splitlines()[-1]
    assert line.startswith(f"stopped in epoch {epoch} after step {step};"), errors
    assert line.endswith(" -r"), errors
    # Without -r the unfinished run is not overwritten.
    done = script("trainer.py", *MANY_STEPS, expect=2)
    assert f"holds an unfinished run (epoch {epoch}): add -r" in done.stderr
    script("trainer.py", *MANY_STEPS, "-r")
    assert_same_end(straight, last_checkpoint(tmp_path / FOLDER))


@pytest.mark.slow
def test_a_resumed_run_must_have_the_same_options(script, tmp_path):
    script("trainer.py", *TRAIN, "--nepoch", "1")
    done = script("trainer.py", *TRAIN, "-r", "--lr", "0.5", "-tds", "1", expect=2)
    assert "--lr 0.001 then, 0.5 now" in done.stderr and "--t_downsample 2 then" in done.stderr
    longer = script("trainer.py", *TRAIN, "-r", "--nepoch", "2")  # more epochs may follow
    assert "resuming in epoch 2" in longer.stdout


def test_a_loss_that_is_not_finite_stops_the_run(script, tmp_path):
    done = script("trainer.py", *TRAIN, "--lr", "1e30", expect=2)
    assert "the loss is" in done.stderr
    assert "in epoch 1, step" in done.stderr and "S6 Walking camera" in done.stderr
    for tensor in last_checkpoint(tmp_path / FOLDER)["modules"]["no_refine"].values():
        assert torch.isfinite(tensor).all()


@pytest.mark.slow
def test_pre_trained_parts_are_taken_over(script, tmp_path):
    source = PoseLifter(frames=9, num_joints=17, layers=1, width=16, hidden_width=16)
    state = {f"module.{n}": t for n, t in source.state_dict().items() if not n.startswith("fcn")}
    torch.save(state, tmp_path / "x.pth")
    done = script("trainer.py", *TRAIN, "--MAEreload", "1", "--previous_dir", "x.pth")
    assert "encoder2d 7/7, shared_layers_spatial 16/16" in done.stdout
    assert "fcn 0/7" in done.stdout


@pytest.mark.slow
def test_a_causal_lifter_is_tested_on_causal_windows(script, tmp_path):
    done = script("trainer.py", *TRAIN, "--causal", "1", "--nepoch", "1")
    weights = next((tmp_path / FOLDER).glob("t_no_refine_*.pth"))
    reload = ["--reload", "1", "--previous_dir", weights]
    again = script("trainer.py", *TINY, *reload)  # the file says so
    assert f"from {weights}: --causal 1" in again.stdout
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]
    centred = script("trainer.py", *TINY, *reload, "--causal", "0")
    assert centred.stdout.splitlines()[-1] != done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_refining_trains_both_and_saves_both(script, tmp_path):
    script("trainer.py", *TRAIN, "--refine", "--nepoch", "1")
    names = sorted(path.name for path in (tmp_path / FOLDER).glob("t_*.pth"))
    assert len(names) == 2
    assert names[0].startswith("t_no_refine_1_") and names[1].startswith("t_refine_1_")
    last = last_checkpoint(tmp_path / FOLDER)
    fresh = PoseLifter(frames=9, num_joints=17, layers=1, width=16, hidden_width=16)
    assert not torch.equal(
        last["modules"]["no_refine"]["module.fcn.1.bias"], fresh.state_dict()["fcn.1.bias"]
    )
    words = ["--reload", "1", "--previous_dir", tmp_path / FOLDER / names[0], "--refine"]
    done = script(
        "trainer.py", *TINY, *words, "--refine_reload", "1", "--previous_refine_name",
        tmp_path / FOLDER / names[1],
    )  # fmt: skip
    results = json.loads((tmp_path / FOLDER / "results.json").read_text())
    wanted = results["test"]["average"]["protocol_1"]
    assert table(done.stdout)["Average"][0] == pytest.approx(wanted, abs=0.006)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "--precision bf16",
        "--precision tf32 --out_all 0",
        "--debug 1",
        "--crop_uv 1",
        "--test 0",
        "--test_augmentation True --data_augmentation False",
        "-f 1 -b 16 -s 50",
        "--n_joints 16 --actions Walk,Run,Climb --subset 0.5 --downsample 2",
        "--micro_batch 32 -b 100",
        "--causal 1 --reverse_augmentation True",
    ],
)
def test_other_flags_train(script, words):
    script("trainer.py", *TRAIN, "--nepoch", "1", *words.split())


@pytest.mark.slow
def test_commands_of_the_specification_evaluate(script, weights, tmp_path):
    """The first two commands of SPEC section 1 word for word, on the sample and random weights."""
    lifter = PoseLifter(frames=243, num_joints=17, layers=4)
    save_released(lifter, tmp_path / "x.pth")
    save_released(PoseRefiner(num_joints=17), tmp_path / "x_refine.pth")
    (tmp_path / "dataset").symlink_to(SAMPLE)
    for keypoints in ("", "-k gt "):
        command = (
            f"-f 243 {keypoints}--n_joints 17 --gpu 0,1 --reload 1 --layers 4 -tds 2 "
            "--previous_dir x.pth --refine --refine_reload 1 --previous_refine_name x_refine.pth"
        )
        # The whole test set takes minutes at this size: some frames of an action stand for it.
        done = script("trainer.py", *command.split(), "-a", "Kick", "--downsample", "16")
        assert done.stdout.splitlines()[-1].startswith("p1: ")
        assert "using the CPU" in done.stdout or torch.cuda.is_available()


@pytest.mark.slow
def test_demo_says_what_it_stands_for(script):
    done = script("trainer.py", "--demo", "--nepoch", "1", "-s", "400")
    first = next(line for line in done.stdout.splitlines() if line.startswith("command: "))
    assert "--root_path" in first and "--channel 64" in first and "-s 4 " in first


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--root_path nowhere", "data_3d_h36m.npz: no such file; dataset/README.md"),
        ("--root_path nowhere", "--root_path dataset/sample/ works"),
        ("-k nothing", "data_2d_h36m_nothing.npz: no such file"),
        ("--actions Sleeping", "starts with 'Sleeping'"),
        ("--subjects_test S99", "holds no subject S99"),
        ("--reload 1 --previous_dir nothing.pth", "nothing.pth: no such checkpoint"),
        ("--reload 1 --previous_dir .", ". is a directory"),
        (f"--reload 1 --previous_dir {GOLDEN}/ckpt/small_lift.pth", "holds 3 layers, --layers"),
        ("--train 1 -r", "no interrupted run in"),
        ("--train 1 -b 1", "batch norm needs at least 2 windows"),
        ("--frames 10", "choose from 1, 9, 27"),
        ("k gt", "did you mean '-k gt'?"),
    ],
)
def test_mistakes(mistake, words, complaint):
    assert complaint in mistake("trainer.py", *TINY, *words.split())


def test_a_data_file_in_the_wrong_format(mistake, tmp_path):
    np.savez(tmp_path / "data_3d_h36m.npz", poses=np.zeros(3))
    shutil.copy(SAMPLE / "data_2d_h36m_gt.npz", tmp_path)
    line = mistake("trainer.py", *TINY, "--root_path", tmp_path)
    assert "no dictionary 'positions_3d'" in line and "(poses)" in line


@pytest.mark.slow
def test_a_gpu_that_does_not_exist(script):
    done = script("trainer.py", *TINY, "--gpu", "7", CUDA_VISIBLE_DEVICES="")
    assert "--gpu: none found; using the CPU" in done.stdout


@pytest.mark.slow
def test_two_processes_train_and_evaluate_under_torchrun(tmp_path):
    done = torchrun(tmp_path, 2, ROOT / "trainer.py", *TRAIN, "--refine", "--nepoch", "2")
    last = [line for line in done.stdout.splitlines() if line.startswith("p1: ")]
    assert len(last) == 1  # only one process prints
    content = last_checkpoint(tmp_path / FOLDER)
    assert content["position"]["finished"] and len(content["random_states"]) == 2


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(tmp_path):
    # 362 windows: the last batch of 100 holds 62; 25 windows a part make several parts a step.
    words = "--train 1 --name t --nepoch 3 -b 100 --micro_batch 25".split()
    curves = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        torchrun(folder, processes, ROOT / "tests" / "distributed_losses.py", *words)
        curves.append(json.loads((folder / "losses.json").read_text()))
    assert len(curves[0]) == 3 and curves[0][2] < curves[0][0]
    np.testing.assert_allclose(*curves, rtol=1e-5)
