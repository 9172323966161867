"""`python -m common.predict` and `python -m common.export`: one command, and what it refuses."""

import json
import sys

import numpy as np
import pytest
from inference_inputs import COMPLETER, FPS, LIFTER, MASKED, sample_pixels, sample_size
from paths import SAMPLE

from common import export, predict
from common.data.npz import load_npz
from common.data.skeleton import H36M_32_TO_17
from common.errors import UserError
from common.inference import lift_keypoints
from common.inference.motion import State
from common.motion_files.npz_file import read_motion

SIZE = "x".join(map(str, sample_size()))
TOLD = ["--size", SIZE, "--fps", "50", "--layout", "h36m"]


@pytest.fixture
def keypoints(tmp_path):
    """A file of keypoints in pixels: 60 frames of the sample, Human3.6M's order."""
    path = tmp_path / "keypoints.npy"
    np.save(path, sample_pixels()[:60])
    return path


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run an entry in this process: `run(predict, *words)`."""

    def call(entry, *words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["x", *map(str, words)])
        entry.main()

    return call


@pytest.mark.slow
def test_one_command_from_keypoints_to_motion(script, tmp_path, keypoints):
    words = [keypoints, "--output", "out", "--model", LIFTER, *TOLD, "--smooth", "savgol"]
    done = script("common/predict.py", *words, "--write", "npz,csv")
    for part in (
        "frame step 2",
        "a focal length of",
        "world: levelled",
        "jitter",
        "frames/s",
        "out/poses.npz",
        "out/poses.csv",
    ):
        assert part in done.stdout, done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("1 "))
    assert row.split()[1:3] == ["60", "60"] and "100.00" in row
    motion = read_motion(tmp_path / "out" / "poses.npz")
    assert motion.poses_3d.shape == (60, 17, 3) and (motion.state == State.SEEN).all()
    assert "common.predict" in motion.record["command"]


@pytest.mark.slow
def test_the_command_gives_what_the_function_gives(run, tmp_path, keypoints):
    words = [keypoints, "--output", "out", "--model", LIFTER, *TOLD, "--focal", "1145"]
    run(predict, *words)
    with pytest.raises(UserError, match="out/poses.npz exists; --force replaces it"):
        run(predict, *words)
    run(predict, *words, "--force")
    motion = read_motion(tmp_path / "out" / "poses.npz")
    wanted = lift_keypoints(
        sample_pixels()[:60], size=sample_size(), fps=FPS, model=LIFTER, camera=1145.0
    )
    for name in ("poses_3d", "root_3d", "world_3d", "time", "keypoints_2d", "state"):
        assert np.allclose(getattr(motion, name), getattr(wanted, name), atol=1e-5), name
    assert motion.camera.focal == (1145, 1145) and not motion.camera.assumed


@pytest.mark.slow
def test_a_masked_model_recovers_joints(run, tmp_path, keypoints):
    poses = np.load(keypoints)
    poses[20:50, 6] = 0
    np.save(keypoints, poses)
    run(predict, keypoints, "--output", "out", "--model", MASKED, *TOLD)
    motion = read_motion(tmp_path / "out" / "poses.npz")
    assert (motion.state[20:50, 6] == State.RECOVERED).all()
    assert np.isfinite(motion.poses_3d).all()


@pytest.mark.slow
def test_a_lifter_says_what_would_give_frames_a_pose_that_get_none(run, keypoints, caplog):
    poses = np.load(keypoints)
    poses[20:50, 6] = 0  # 30 frames of a foot: longer than --max_gap
    poses[55:] = 0  # nothing at all: no model could help
    np.save(keypoints, poses)
    caplog.set_level("INFO", logger="mpm")
    run(predict, keypoints, "--output", "out", "--model", LIFTER, *TOLD)
    assert "note: 30 frames lack joints for longer than --max_gap" in caplog.text


@pytest.mark.slow
def test_onnx_runs_without_the_code_of_the_models(script, tmp_path, keypoints):
    done = script("common/export.py", LIFTER, "model.onnx")
    assert "largest difference to PyTorch" in done.stdout
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import sys\nfrom common import predict\npredict.main()\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'model'])\n"
    )
    words = [keypoints, "--output", "out", "--onnx", "model.onnx", *TOLD]
    assert script(probe, *words).stdout.splitlines()[-1] == "[]"
    assert np.isfinite(read_motion(tmp_path / "out" / "poses.npz").poses_3d).all()


@pytest.mark.slow
def test_several_people_have_a_file_each(run, tmp_path, caplog):
    rng = np.random.default_rng(0)
    body = rng.uniform(100, 400, (17, 2))
    records = [
        {
            "image_id": f"{frame}.jpg",
            "category_id": 1,
            "keypoints": np.column_stack([body + 300 * track + frame, np.full(17, 0.9)])
            .ravel()
            .tolist(),
            "score": 2.5,
            "box": [0, 0, 1, 1],
            "idx": track + 1,
        }
        for frame in range(20)
        for track in range(2)
    ]
    path = tmp_path / "alphapose-results.json"
    path.write_text(json.dumps(records))
    words = [path, "--output", "out", "--model", LIFTER, "--size", "1280x720", "--layout", "coco"]
    run(predict, *words, "--fps", "25", "--person", "all", "--write", "npz,json")
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["poses.json", "poses_1.npz", "poses_2.npz"]
    motions = [read_motion(tmp_path / "out" / f"poses_{number}.npz") for number in (1, 2)]
    assert np.array_equal(motions[0].time, motions[1].time)
    assert all(np.isfinite(motion.world_3d).all() for motion in motions)
    # They move alike, and each was lifted where it stands in the image.
    assert np.abs(motions[0].root_3d - motions[1].root_3d).max() > 0.1
    derived = np.array(motions[0].skeleton.joint_names)[motions[0].derived]
    assert "thorax" in derived and "left knee" not in derived
    run(predict, *words, "--fps", "25", "--write", "npz", "--force")
    assert "poses_1.npz, out/poses_2.npz are of an earlier run" in caplog.text


@pytest.mark.slow
def test_completing_motion(run, tmp_path):
    world = load_npz(SAMPLE / "data_3d_h36m.npz")["positions_3d"]["S9"]["Dancing"][:40]
    poses = np.array(world[:, list(H36M_32_TO_17)])
    poses[10:20, [1, 2, 3]] = np.nan
    np.savez(tmp_path / "x.npz", poses_3d=poses)
    words = [tmp_path / "x.npz", "--output", "out", "--complete", "--model", COMPLETER]
    run(predict, *words, "--fps", "50")
    motion = read_motion(tmp_path / "out" / "poses.npz")
    assert (motion.state[10:20, [1, 2, 3]] == State.RECOVERED).all()
    assert np.isfinite(motion.world_3d).all()


MISTAKES = [
    ("--focal 1000 --fov 60", "--focal and --fov exclude each other"),
    ("--focal -1", "--focal"),
    ("--fov 180", "--fov"),
    ("--fov wide", "invalid angle value"),
    ("--camera 2", "--calibration"),
    ("--calibration absent.json", "absent.json"),
    ("--onnx absent.onnx --model x.pth", "exclude each other"),
    ("--complete --onnx x.onnx", "--complete needs"),
    ("--occluded --complete", "--occluded takes the released model"),
    ("--occluded --onnx x.onnx", "so --onnx is one too many"),
    ("--occluded --model x.pth", "so --model is one too many"),
    ("--write npz,fbx", "fbx"),
    ("--write ,", "comma list"),
    ("--size 0x100", "WIDTHxHEIGHT"),
    ("--size 1000", "WIDTHxHEIGHT"),
    ("--fps 0", "--fps"),
    ("--min_confidence 1.5", "from 0 to 1"),
    ("--max_gap -1", "--max_gap"),
    ("--smooth kalman", "--smooth"),
    ("--camera_pitch 100", "-90 to 90"),
    ("--model_rate 1e6", "--model_rate"),
    ("--layout octopus", "--layout"),
    ("--modle x.pth", "did you mean '--model x.pth'"),
    ("--device abacus", "no such device"),
    ("--person 7", "no person 7"),
    ("--model absent.pth", "no such checkpoint"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda value: value[:30])
def test_mistakes_are_one_line(run, tmp_path, keypoints, words, message):
    own = words.split()
    rest = [word for word in TOLD]
    for flag in ("--size", "--fps", "--layout"):
        if flag in own:
            at = rest.index(flag)
            del rest[at : at + 2]
    if not {"--model", "--onnx", "--complete", "--occluded"} & set(own):
        rest += ["--model", LIFTER]
    with pytest.raises(UserError) as caught:
        run(predict, keypoints, "--output", tmp_path / "out", *rest, *own)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_results_that_are_there_are_kept_before_anything_is_computed(run, tmp_path, keypoints):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "poses_3.trc").write_text("mine")
    with pytest.raises(UserError, match="poses_3.trc exists; --force"):
        run(predict, "absent.npy", "--output", "out", "--write", "trc", "--model", "absent.pth")
    with pytest.raises(UserError, match="is a file, a folder is needed"):
        run(predict, keypoints, "--output", keypoints, *TOLD)


@pytest.mark.slow
def test_mistakes_of_both_commands_end_with_code_2(mistake, tmp_path, keypoints):
    assert "no such checkpoint" in mistake("common/export.py", "absent.pth", "x.onnx")
    assert "must end in .onnx" in mistake("common/export.py", LIFTER, "x.pb")
    (tmp_path / "x.onnx").touch()
    assert "exists; --force" in mistake("common/export.py", LIFTER, "x.onnx")
    assert "absent.mp4" in mistake(
        "common/predict.py", "absent.mp4", "--output", "out", "--model", LIFTER
    )


def test_export_says_what_it_needs(run):
    with pytest.raises(UserError, match="no such folder"):
        run(export, LIFTER, "absent/x.onnx")


def test_inputs_and_links_are_not_replaced_even_by_force(run, tmp_path, keypoints):
    out = tmp_path / "out"
    out.mkdir()
    source = keypoints.rename(out / "poses.npz")
    words = ["--output", "out", "--model", LIFTER, *TOLD, "--force"]
    with pytest.raises(UserError, match="poses.npz is read by this run"):
        run(predict, source, *words)
    (out / "poses.csv").symlink_to(source)
    with pytest.raises(UserError, match="poses.csv is a link"):
        run(predict, source, *words, "--write", "csv")
    with pytest.raises(UserError, match="is read by this run"):
        weights = tmp_path / "model.onnx"
        weights.write_bytes(LIFTER.read_bytes())
        run(export, weights, weights, "--force")
