"""trainer_3dhp.py from the outside: real runs of its commands, and the metrics of its benchmark."""

import json
import shutil

import numpy as np
import pytest
import torch
from goldens import EXPECTED, filled, golden_command, last_numbers, save_released
from paths import GOLDEN, ROOT, SAMPLE
from runs import assert_same_end, straight_and_resumed
from scipy.io import loadmat

from common.data import mpi_inf_3dhp
from common.data.base import DataOptions
from common.data.npz import load_npz
from common.data.pose_ops import joint_errors
from common.errors import UserError
from common.evaluation.lifting import lifting_table, score
from common.evaluation.metrics import area_under_curve, correct_joints
from common.evaluation.official_3dhp import evaluate
from model.lifter import PoseLifter

TINY = (
    f"-f 9 -tds 1 --n_joints 16 -k gt --layers 1 --channel 16 --d_hid 16 -b 128 -s 60 "
    f"--root_path {SAMPLE} --gpu 0"
).split()
TRAIN = ["--train", "1", "--name", "t", "--nepoch", "3", *TINY]
FOLDER = "checkpoint/finetune_t_f9_t0.80"
TABLE = mpi_inf_3dhp.DATA_SET.table


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with the checkpoints that the golden commands name."""
    folder = tmp_path_factory.mktemp("weights")
    save_released(
        filled(PoseLifter(frames=27, num_joints=16, layers=3)), folder / "lift_f27_j16_l3.pth"
    )
    shutil.copy(GOLDEN / "ckpt" / "small_3dhp.pth", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "scale"), [("3dhp", ["--legacy_3dhp_scale", "1"]), ("3dhp_trained", [])]
)
def test_golden_evaluations(row, scale, script, weights):
    lines = script(*golden_command(row, weights), *scale).stdout.splitlines()
    printed, wanted = last_numbers(lines[-1]), last_numbers(EXPECTED[row]["last_line"])
    np.testing.assert_allclose(printed, wanted, atol=0.02)
    assert lines[-1].endswith(" %") and lines[-2].startswith("Average over frames")
    errors = [float(word) for word in lines[-2].split()[3:5]]
    np.testing.assert_allclose(errors, EXPECTED[row]["table"]["all valid frames"], atol=0.02)


@pytest.mark.slow
def test_a_run_leaves_what_it_says(script, tmp_path):
    extra = ["--save_predictions", "p.npz", "--metric_3dhp", "official", "--vis", "1"]
    done = script("trainer_3dhp.py", *TRAIN, *extra)
    results = json.loads((tmp_path / FOLDER / "results.json").read_text())
    assert [record["epoch"] for record in results["history"]] == [1, 2, 3]
    assert {"p1", "p2", "mpjve", "pck", "auc"} <= set(results["history"][0])
    assert list(results["test"]["sequences"]) == ["TS1", "TS2", "TS5"]
    for name in ("predictions.png", "learning_curve.png"):
        assert (tmp_path / FOLDER / name).read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "p.npz") as saved:
        predicted, target, subject = (
            saved[key] for key in ("predicted_3d", "target_3d", "subject")
        )
        frames = saved["frame"]
    # Every number of the table follows from the file of predictions.
    errors = np.linalg.norm(predicted - target, axis=-1)
    held = load_npz(SAMPLE / "data_test_3dhp.npz")["data"]
    for name, row in results["test"]["sequences"].items():
        mine = errors[subject == name]
        assert mine.mean() == pytest.approx(row["protocol_1"], abs=1e-3)
        assert 100 * (mine < 150).mean() == pytest.approx(row["pck"], abs=1e-3)
        thresholds = np.arange(0, 151, 5)
        auc = 100 * np.mean([(mine < t).mean() for t in thresholds])
        assert auc == pytest.approx(row["auc"], abs=0.02)
        assert frames[subject == name].tolist() == np.flatnonzero(held[name]["valid"]).tolist()
    last = done.stdout.splitlines()[-1].replace(",", "").split()
    official = results["official"]["All frames"]
    assert float(last[1]) == pytest.approx(official["mpjpe"]["All"], abs=0.006)
    assert float(last[3]) == pytest.approx(official["pck"]["All"], abs=0.006)
    assert_mat_file(tmp_path / "p.mat", predicted, subject)


@pytest.mark.slow
def test_trainer_py_trains_and_evaluates_the_same(script, tmp_path):
    one = script("trainer_3dhp.py", *TRAIN, "--nepoch", "1")
    first = json.loads((tmp_path / FOLDER / "results.json").read_text())
    two = script("trainer.py", *TRAIN, "--nepoch", "1", "--dataset", "3dhp")
    second = json.loads((tmp_path / FOLDER / "results.json").read_text())
    assert one.stdout.splitlines()[-1] == two.stdout.splitlines()[-1]
    assert first["test"] == second["test"]
    assert second["command"].startswith("python trainer.py")


def assert_mat_file(path, predicted, subject):
    """The benchmark's file: 3 x 17 x 1 x N a sequence, its own joint order, mm."""
    arrays = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    assert list(arrays) == ["TS1", "TS2", "TS5"]
    for name, array in arrays.items():
        mine = predicted[subject == name]
        assert array.shape == (3, 17, 1, len(mine))
        np.testing.assert_allclose(array[:, 14, 0].T, mine[:, 0], atol=1e-3)  # pelvis
        np.testing.assert_allclose(array[:, 4, 0].T, mine[:, 15], atol=1e-3)  # right wrist
        np.testing.assert_allclose(array[:, 13, 0].T, mine[:, 6], atol=1e-3)  # left ankle
        head = (array[:, 0, 0] + array[:, 16, 0]) / 2
        np.testing.assert_allclose(head.T, mine[:, 9], atol=1e-3)


@pytest.mark.slow
def test_killed_and_resumed_a_run_ends_where_an_uninterrupted_one_does(tmp_path):
    ends = straight_and_resumed("trainer_3dhp.py", tmp_path, TRAIN, FOLDER, "t_no_refine_1_*")
    assert_same_end(*ends)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--n_joints 17", "use --n_joints 16"),
        ("--refine", "--refine needs the camera's intrinsics"),
        ("--subjects_test TS9", "holds no subject TS9, only TS1, TS2, TS5"),
        (f"--root_path {ROOT}/tests", "data_test_3dhp.npz: no such file"),
        (f"--reload 1 --previous_dir {GOLDEN}/ckpt/small_3dhp.pth", "holds 3 layers, --layers"),
    ],
)
def test_mistakes(mistake, words, complaint):
    assert complaint in mistake("trainer_3dhp.py", *TINY, *words.split())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"data_3d": np.zeros((5, 16, 3))}, r"'data_3d' has shape \(5, 16, 3\)"),
        ({"data_2d": np.zeros((4, 17, 2))}, "has 4 frames in 2D, 5 in 3D"),
        ({"valid": np.full(5, 0.5)}, "holds numbers other than 0 and 1"),
        ({"valid": np.ones(3)}, "TS1 test camera 0: 'valid' is not a number for each of 5"),
        ({"data_3d": np.full((5, 17, 3), np.nan)}, "NaN or infinity in TS1 test camera 0, frame 0"),
    ],
)
def test_data_files_in_the_wrong_format(tmp_path, change, complaint):
    body = np.random.default_rng(0).uniform(0, 800, (5, 17, 3))
    entry = {"data_2d": body[..., :2] + 500, "data_3d": body, "valid": np.ones(5)}
    np.savez(tmp_path / "data_test_3dhp.npz", data={"TS1": {**entry, **change}})
    with pytest.raises(UserError, match=complaint):
        load(tmp_path)


def load(folder, *, train=False):
    return mpi_inf_3dhp.load(DataOptions(folder, num_joints=16, train=train, test=True))


def test_joints_scale_and_valid_frames_of_the_loader():
    stores = load(SAMPLE, train=True)
    train, test = stores.train, stores.test
    held = load_npz(SAMPLE / "data_test_3dhp.npz")["data"]["TS5"]
    frames = test.sequence_slices()[2]
    assert test.names[2].subject == "TS5"
    pose = held["data_3d"][7] / 1000
    mine = test.pose_3d[frames][7].numpy()
    np.testing.assert_allclose(test.root_3d[frames][7].numpy(), pose[14], atol=1e-5)
    assert not mine[0].any()
    np.testing.assert_allclose(mine[3], pose[10] - pose[14], atol=1e-5)  # right ankle
    np.testing.assert_allclose(mine[9], (pose[0] + pose[16]) / 2 - pose[14], atol=1e-5)
    np.testing.assert_allclose(mine[15], pose[4] - pose[14], atol=1e-5)  # right wrist
    x, y = held["data_2d"][7, 14]  # 1920 x 1080
    np.testing.assert_allclose(
        test.pose_2d[frames][7, 0], [x / 960 - 1, y / 960 - 1080 / 1920], atol=1e-5
    )
    assert test.counted[frames].tolist() == (held["valid"] == 1).tolist()
    assert train.counted is None and train.cameras is None
    assert {name.camera for name in train.names} == {0, 2, 7, 8}
    poses = torch.randn(4, 17, 3, generator=torch.Generator().manual_seed(0))
    there_and_back = mpi_inf_3dhp.to_17_joints(mpi_inf_3dhp.to_16_joints(poses))
    others = [j for j in range(17) if j != mpi_inf_3dhp.NECK]
    torch.testing.assert_close(there_and_back[:, others], poses[:, others])


@pytest.fixture
def scores():
    """Errors of predictions that are the truth plus noise, and the store of the truth."""
    store = load(SAMPLE).test
    frames = store.counted.nonzero().flatten()
    truth = store.pose_3d[frames]
    assert not truth[:, 0].any()
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)) * 0.1
    noise[:, 0] = 0
    return score(truth + noise, frames, store, TABLE.metrics), store


def test_shares_of_correct_joints_are_those_of_a_loop(scores):
    scores, _ = scores
    errors = joint_errors(scores.predicted, scores.target)[:50]
    correct, area = correct_joints(errors), area_under_curve(errors)
    for frame in range(0, 50, 7):
        for joint in range(16):
            error = float(errors[frame, joint])
            assert correct[frame, joint] == (error < 0.150)
            above = [threshold for threshold in range(0, 151, 5) if error < threshold / 1000]
            assert float(area[frame, joint]) == pytest.approx(len(above) / 31)
    for name, shares in (("pck", correct), ("auc", area)):
        mine = scores.metrics[name][:50]
        torch.testing.assert_close(mine, 100 * shares.mean(-1), rtol=1e-5, atol=1e-3)
    exact = torch.tensor([0.0, 0.150, 0.1499])  # strictly below
    assert correct_joints(exact).tolist() == [1, 0, 1]
    assert area_under_curve(exact).tolist() == pytest.approx([30 / 31, 0, 1 / 31])


def test_the_official_sheet(scores):
    scores, store = scores
    sheet = evaluate(scores, store)
    names = [row.name for row in sheet.rows]
    assert names == ["TS1", "TS2", "TS5", "Mean of sequences", "All frames"]
    # By hand: right and left elbow of TS2 are joints 14 and 11 of ours.
    sequence = store.sequences_of(scores.frames) == 1
    elbows = joint_errors(scores.predicted, scores.target)[sequence][:, [11, 14]]
    row = sheet.rows[1]
    assert row.frames == int(sequence.sum())
    assert row.metrics["pck"]["Elbow"] == pytest.approx(100 * (elbows < 0.15).float().mean().item())
    assert row.metrics["mpjpe"]["Elbow"] == pytest.approx(1000 * elbows.mean().item(), rel=1e-5)
    # 13 joints weigh the same: six pairs and the head's top.
    groups = row.metrics["pck"]
    pairs = [groups[name] for name in groups if name not in ("Head", "All")]
    assert groups["All"] == pytest.approx((groups["Head"] + 2 * sum(pairs)) / 13)
    # The head's top is not the mean of the two head joints that the skeleton holds.
    tops = [2 * poses[sequence][:, 9] - poses[sequence][:, 8] for poses in (
        scores.predicted, scores.target
    )]  # fmt: skip
    head = torch.linalg.vector_norm(tops[0] - tops[1], dim=-1)
    assert row.metrics["mpjpe"]["Head"] == pytest.approx(1000 * head.mean().item(), rel=1e-5)


def test_activities_have_rows_where_the_file_names_them(tmp_path):
    held = load_npz(SAMPLE / "data_test_3dhp.npz")["data"]
    activity = np.where(np.arange(401) < 200, 1, 5)
    np.savez(tmp_path / "data_test_3dhp.npz", data={"TS1": {**held["TS1"], "activity": activity}})
    store = load(tmp_path).test
    frames = store.counted.nonzero().flatten()
    truth = store.pose_3d[frames]
    moved = truth + torch.where(frames[:, None, None] < 200, 0.0, 0.2)
    sheet = evaluate(score(moved, frames, store, TABLE.metrics), store)
    by_name = {row.name: row.metrics["pck"]["All"] for row in sheet.rows}
    assert by_name["Standing/walking"] == 100 and by_name["On the floor"] == 0


def test_velocity_counts_neighbouring_valid_frames_only(scores):
    scores, store = scores
    table = lifting_table(scores, store, TABLE)
    frames = scores.frames.numpy()
    predicted, target = scores.predicted.numpy(), scores.target.numpy()
    steps = []
    sequences = store.sequences_of(scores.frames).numpy()
    for i in range(1, len(frames)):
        if frames[i] - frames[i - 1] == 1 and sequences[i] == sequences[i - 1]:
            moved = (predicted[i] - predicted[i - 1]) - (target[i] - target[i - 1])
            steps.append(np.linalg.norm(moved, axis=-1).mean())
    assert len(steps) < len(frames) - 3  # a tenth of the frames is not valid
    assert table.frame_average.values["velocity"] == pytest.approx(1000 * np.mean(steps), rel=1e-4)
