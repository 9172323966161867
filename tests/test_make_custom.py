"""A user's own keypoints become data files that are trained on and lifted: make_custom.py."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import touches
from paths import ROOT
from preparing import run_here
from runs import TINY

from common.data.camera import normalise_screen
from common.data.h36m import H36MFiles
from common.data.joint_orders import BEYOND_EARS
from common.data.layouts import COCO
from common.data.skeleton import H36M_17, H36M_32_TO_17
from common.errors import UserError
from dataset import make_custom


def own_clip(length, joints=17, seed=0):
    """Keypoints in a 640 x 480 image, with confidences, and positions in camera space."""
    rng = np.random.default_rng(seed)
    keypoints = np.concatenate(
        [rng.uniform(0, (640, 480), (length, joints, 2)), rng.uniform(0, 1, (length, joints, 1))],
        -1,
    )
    return keypoints, rng.normal((0, 0, 4), 0.4, (length, joints, 3))


CLIPS = {
    name: own_clip(12 + i, seed=i)
    for i, name in enumerate(("Ann_walk_cam0", "Ann_walk_cam12", "Bob_long_jump", "Bob_sit"))
}
OF_IMAGE = "--width 640 --height 480 --name mine".split()


@pytest.fixture
def clips_folder(tmp_path):
    """The clips in files of their own; that of Bob who sits has no 3D."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, (keypoints, positions) in CLIPS.items():
        if name == "Bob_sit":
            np.save(folder / f"{name}.npy", keypoints[..., :2])
        else:
            np.savez(folder / f"{name}.npz", keypoints=keypoints, positions_3d=positions)
    (folder / "notes.txt").touch()
    return folder


def test_own_keypoints_round_trip(script, mistake, clips_folder, tmp_path):
    out = tmp_path / "out"
    words = [clips_folder, *OF_IMAGE, "--output", out]
    done = script("dataset/make_custom.py", *words)
    for line in (
        f"wrote {out}/data_3d_h36m.npz: 2 subjects, 4 sequences, 54 frames, ",
        f"wrote {out}/data_2d_h36m_mine.npz: 2 subjects, 4 sequences, 54 frames, ",
        f"wrote {out}/h36m_cameras.json: 1 camera, ",
        "note: no --focal, so it is assumed to be the image's width, 640",
        "note: 1 sequence without 3D, to be lifted but not trained on: Bob sit",
        f"use: trainer.py --root_path {out} -k mine --n_joints 17 --subjects_train ... "
        "--subjects_test ... (of Ann,Bob)",
    ):
        assert line in done.stdout
    files = H36MFiles.read(out, "mine")
    assert {s: list(a) for s, a in files.poses_2d.items()} == {
        "Ann": ["walk cam0", "walk cam12"],
        "Bob": ["long_jump", "sit"],
    }
    assert files.poses_3d["Bob"]["sit"].shape == (15, 32, 3)
    assert np.isnan(files.poses_3d["Bob"]["sit"]).all()
    store = files.store(["Ann"], H36M_17)
    assert [name.action for name in store.names] == ["walk cam0", "walk cam12"]
    for place, name in zip(store.sequence_slices(), CLIPS, strict=False):
        keypoints, positions = map(torch.from_numpy, CLIPS[name])
        screen = normalise_screen(keypoints[..., :2], width=640, height=480)
        torch.testing.assert_close(store.pose_2d[place].double(), screen, atol=1e-6, rtol=0)
        roots = positions[:, 0]
        torch.testing.assert_close(store.root_3d[place].double(), roots, atol=1e-6, rtol=0)
        relative = positions - roots[:, None]
        torch.testing.assert_close(store.pose_3d[place].double(), relative, atol=1e-6, rtol=0)
        assert (store.pose_3d[place, 0] == 0).all()
    assert store.cameras[0].tolist() == [2, 2, 0, 0, 0, 0, 0, 0, 0]
    world = files.poses_3d["Ann"]["walk cam0"]
    left_out = set(range(32)) - set(H36M_32_TO_17)
    for joint in left_out:  # copies of neighbours, no numbers of their own
        assert any(np.array_equal(world[:, joint], world[:, kept]) for kept in H36M_32_TO_17)
    assert "there already" in mistake("dataset/make_custom.py", *words)
    assert "data_2d_h36m_mine.npz" in script("dataset/make_custom.py", *words, "--force").stdout


@pytest.mark.slow
def test_a_lifter_trains_on_clips_with_3d_and_lifts_those_without(
    script, mistake, monkeypatch, clips_folder, tmp_path
):
    out = tmp_path / "out"
    run_here(monkeypatch, make_custom, clips_folder, *OF_IMAGE, "--output", out)
    tiny = [*TINY, "--root_path", out, "-k", "mine", "--subjects_train", "Ann", "--gpu", 0]
    script("trainer.py", *tiny, "--subjects_test", "Ann", "--train", 1, "--nepoch", 1, "-s", 1)
    done = script("trainer.py", *tiny, "--subjects_test", "Bob", "--save_predictions", "p.npz")
    rows = {line.split()[0]: line.split()[1:] for line in reversed(done.stdout.splitlines())}
    assert rows["sit"] == ["-", "-", "-", "0"]  # frames that are counted, that is with 3D
    assert rows["long_jump"][-1] == rows["Average"][-1] == "14"
    assert np.isfinite(float(rows["Average"][0])) and rows["Average"][0] == rows["long_jump"][0]
    assert "no true 3D poses of sit: predictions, but no errors" in done.stdout
    with np.load(tmp_path / "p.npz") as saved:
        assert np.isfinite(saved["predicted_3d"]).all() and len(saved["predicted_3d"]) == 29
        assert np.isnan(saved["target_3d"][saved["action"] == "sit"][:, 1:]).all()
    assert "NaN or infinity in Bob sit camera 0, frame 0" in mistake(
        "trainer.py", *tiny, "--subjects_train", "Bob", "--subjects_test", "Ann", "--train", 1
    )


def test_a_known_focal_length(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "a_b.npz", keypoints=own_clip(5)[0])
    words = "--width 640 --height 480 --focal 700".split()
    run_here(monkeypatch, make_custom, tmp_path / "in", *words, "--output", tmp_path / "out")
    camera_file = json.loads((tmp_path / "out" / "h36m_cameras.json").read_text())
    assert camera_file["intrinsic"][0]["focal_length"] == [700, 700]
    with pytest.raises(UserError, match="h36m_cameras.json in it is this project's own"):
        run_here(monkeypatch, make_custom, tmp_path / "in", *words, "--output", ROOT / "dataset")


def test_coco_keypoints_become_ours():
    names = (
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
        "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
        "right_ankle"
    ).split()
    place = {name: np.random.default_rng(i).uniform(0, 100, (3, 2)) for i, name in enumerate(names)}

    def mean(*those):
        return np.mean([place[name] for name in those], axis=0)

    hip, thorax = mean("left_hip", "right_hip"), mean("left_shoulder", "right_shoulder")
    expected = [hip, place["right_hip"], place["right_knee"], place["right_ankle"]]
    expected += [place["left_hip"], place["left_knee"], place["left_ankle"]]
    expected += [(hip + thorax) / 2, thorax, place["nose"]]
    expected += [thorax + BEYOND_EARS * (mean("left_ear", "right_ear") - thorax)]
    for side in ("left", "right"):
        expected += [place[f"{side}_{part}"] for part in ("shoulder", "elbow", "wrist")]
    ours, _ = COCO.to_ours(np.stack([place[name] for name in names], axis=1), np.ones((3, 17)))
    np.testing.assert_allclose(ours, np.stack(expected, axis=1))


def test_sixteen_joints_of_3d_get_a_neck_between_thorax_and_head():
    positions = np.random.default_rng(0).normal(size=(4, 16, 3))
    seventeen = make_custom.with_neck(positions)
    np.testing.assert_array_equal(np.delete(seventeen, 9, axis=1), positions)
    np.testing.assert_allclose(seventeen[:, 9], (positions[:, 8] + positions[:, 9]) / 2)


def spoilt(array, place, value):
    array = array.copy()
    array[place] = value
    return array


KEYPOINTS, POSITIONS = own_clip(6)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"keypoints": np.full_like(KEYPOINTS, np.nan)}, "keypoints: no joint was detected"),
        (
            {"keypoints": spoilt(KEYPOINTS, (4, 1, 0), -641)},
            r"\(-641, .*\) at frame 4, joint 1 is far",
        ),
        ({"keypoints": spoilt(KEYPOINTS, (4, 1, 1), 961)}, "961.* frame 4, joint 1 is far outside"),
        ({"keypoints": KEYPOINTS[:, :15]}, r"shape \(6, 15, 3\), \(frames, 16 or 17, 2 or 3\)"),
        ({"keypoints": KEYPOINTS[0]}, r"shape \(17, 3\), \(frames, 16 or 17, 2 or 3\) is needed"),
        ({"keypoints": KEYPOINTS[:0]}, r"shape \(0, 17, 3\)"),
        ({"pose": KEYPOINTS}, r"no entry 'keypoints' in it \(pose\)"),
        ({"positions_3d": POSITIONS[:5]}, "positions_3d: 5 frames, keypoints 6"),
        ({"positions_3d": POSITIONS[:, :14]}, r"shape \(6, 14, 3\), \(frames, 16 or 17, 3\)"),
        ({"positions_3d": spoilt(POSITIONS, (3, 16, 2), np.inf)}, "inf at frame 3, joint 16"),
        ({"positions_3d": POSITIONS * 1000}, "3D poses in metres are needed"),
        ({"positions_3d": spoilt(POSITIONS, (5, 3, 2), -0.25)}, "z = -0.25 at frame 5, joint 3"),
    ],
)
def test_clips_that_cannot_be(tmp_path, monkeypatch, content, complaint):
    np.savez(tmp_path / "Ann_run.npz", keypoints=KEYPOINTS, positions_3d=POSITIONS)
    path = tmp_path / "Ann_walk_cam0.npz"
    np.savez(path, **({"keypoints": KEYPOINTS} if "pose" not in content else {}) | content)
    words = [tmp_path, *"--width 640 --height 480 --output".split(), tmp_path / "out"]
    with pytest.raises(UserError, match=f"^{path}.*{complaint}"):
        run_here(monkeypatch, make_custom, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "joints", "complaint"),
    [
        (["walk.npz"], [17], "name is not <subject>_<action> or <subject>_<action>_cam<k>"),
        (["a_b.npz", "a_b.npy"], [17, 17], "a_b.npy and .*a_b.npz are both a b"),
        (["a_b.npy", "a_c.npy"], [16, 17], "a_c.npy has 17 joints, .*a_b.npy has 16"),
    ],
)
def test_clips_that_do_not_go_together(tmp_path, monkeypatch, names, joints, complaint):
    for name, count in zip(names, joints, strict=True):
        keypoints = KEYPOINTS[:, :count]
        if name.endswith("y"):
            np.save(tmp_path / name, keypoints)
        else:
            np.savez(tmp_path / name, keypoints=keypoints)
    words = [tmp_path, *"--width 640 --height 480 --output".split(), tmp_path / "out"]
    with pytest.raises(UserError, match=complaint):
        run_here(monkeypatch, make_custom, *words)


def test_a_hostile_clip_runs_nothing(tmp_path):
    victim = tmp_path / "victim"
    np.savez(tmp_path / "a_b.npz", keypoints=np.array([touches(victim)], dtype=object))
    np.save(tmp_path / "a_c.npy", np.array([touches(victim)], dtype=object), allow_pickle=True)
    args = Namespace(layout="h36m", width=640, height=480)
    for name, complaint in (("a_b.npz", "refused"), ("a_c.npy", "refused")):
        with pytest.raises(UserError, match=complaint):
            make_custom.read_clip(Path(tmp_path / name), args)
    assert not victim.exists()
