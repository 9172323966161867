"""AMASS's motions are read, placed before cameras and written: prepare_amass.py."""

import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from amass_bodies import bodies_of, naive_joints_at_25, toy_model, toy_motion
from hostile import touches
from paths import ROOT
from preparing import SIXTEEN, run_here
from scipy.spatial.transform import Rotation

from common.data import camera
from common.data.camera import load_cameras
from common.data.npz import load_npz
from common.errors import UserError
from dataset import prepare_amass
from dataset.amass_bodies import Motion, Unusable
from dataset.prepare_amass import film, looked_at, place, random_source


@pytest.mark.parametrize(
    ("gender", "read"),
    [
        ("male", "male"),
        (b"female", "female"),
        (np.array("female"), "female"),
        (np.array(b"male"), "male"),
        (np.array(["male"], dtype=object), "male"),
        ("b'female'", "female"),
        ("unknown", "neutral"),
    ],
)
def test_genders_as_files_have_them(tmp_path, gender, read):
    np.savez(tmp_path / "walk.npz", **toy_motion(3, gender=gender))
    assert Motion.read(tmp_path / "walk.npz").gender == read


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"poses": np.zeros((9, 165))}, "not the 156 angles of SMPL-H or the 72 of SMPL"),
        ({"trans": np.zeros((8, 3))}, "do not fit together"),
        ({"betas": np.zeros(0)}, "do not fit together"),
        ({"trans": np.full((9, 3), np.nan)}, "NaN or infinity"),
        ({"mocap_framerate": 0.0}, "no frame rate"),
    ],
)
def test_amass_files_that_are_left_out(tmp_path, others, reason):
    np.savez(tmp_path / "walk.npz", **toy_motion(9, **others))
    with pytest.raises(Unusable, match=reason):
        Motion.read(tmp_path / "walk.npz")


def test_both_spellings_of_the_frame_rate(tmp_path):
    content = toy_motion(9)
    content["mocap_frame_rate"] = np.array([content.pop("mocap_framerate")])
    np.savez(tmp_path / "walk.npz", **content)
    assert Motion.read(tmp_path / "walk.npz").frame_rate == 120


def test_where_the_cameras_look_at():
    for rig in load_cameras(ROOT).by_subject.values():
        target = looked_at(rig)
        for view in rig:
            in_camera = camera.world_to_camera(
                target, view.orientation.double(), view.centre.double()
            )
            assert in_camera[2] > 3  # in front, near the image's middle
            assert (in_camera[:2] / in_camera[2]).abs().max() < 0.15
        rng = np.random.default_rng(0)
        views = [SimpleNamespace(orientation=v.orientation, centre=v.centre) for v in rig]

        def distance(point, views=views):
            offsets = [
                camera.world_to_camera(point, v.orientation.double(), v.centre.double())
                for v in views
            ]
            return sum(float(offset[:2].square().sum()) for offset in offsets)

        for _ in range(20):
            assert distance(target) < distance(target + torch.from_numpy(rng.normal(0, 0.005, 3)))


def test_random_sources_differ_by_seed_and_by_name_only():
    drawn = [
        random_source(seed, name).uniform()
        for seed, name in ((1, "a"), (1, "b"), (2, "a"), (1, "a"))
    ]
    assert len(set(drawn)) == 3 and drawn[0] == drawn[3]


def test_a_sequence_is_placed_upright_before_the_camera():
    rng = np.random.default_rng(0)
    joints = torch.from_numpy(rng.normal(0, 0.4, (30, 16, 3)) + [5, 9, 1])
    rig = load_cameras(ROOT).by_subject["S1"]
    target = looked_at(rig)
    for view, heading in zip(rig, (0.0, 1.0, 2.5, 6.0), strict=True):
        placed = place(joints, target, view, heading)
        world = camera.camera_to_world(placed, view.orientation.double(), view.centre.double())
        torch.testing.assert_close(world[..., 2], joints[..., 2], atol=1e-6, rtol=0)  # heights stay
        mean_root = world[:, 0].mean(0)
        torch.testing.assert_close(mean_root[:2], target[:2], atol=1e-6, rtol=0)
        turned = Rotation.from_euler("z", heading).apply((joints - joints[:, :1]).reshape(-1, 3))
        turned = torch.from_numpy(turned).view(30, 16, 3)
        torch.testing.assert_close(world - world[:, :1], turned, atol=1e-5, rtol=0)


def test_a_sequence_too_near_to_the_camera_is_moved_away_along_its_axis():
    joints = torch.zeros(2, 16, 3, dtype=torch.float64)
    joints[0, :, 0], joints[1, :, 0] = -30, 30
    view = load_cameras(ROOT).by_subject["S1"][0]
    target = looked_at(load_cameras(ROOT).by_subject["S1"])
    headings = torch.linspace(0, 6, 7).tolist()
    nearest = [float(place(joints, target, view, h)[..., 2].min()) for h in headings]
    assert min(nearest) == pytest.approx(1) and max(nearest) >= 1
    near, far = place(joints, target, view, 1.0), place(joints / 100, target, view, 1.0)
    torch.testing.assert_close(near.mean((0, 1))[:2], far.mean((0, 1))[:2])


def test_what_the_camera_sees():
    rig = load_cameras(ROOT).by_subject["S1"]
    joints = torch.from_numpy(np.random.default_rng(0).normal(0, 0.4, (9, 16, 3)))
    for seed in range(6):
        shot = film(joints, [rig], np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        rng.integers(1)
        view = rig[rng.integers(4)]
        placed = place(joints, looked_at(rig), view, rng.uniform(0, 2 * np.pi))
        torch.testing.assert_close(shot.pose_3d, placed - placed[:, :1])
        screen = camera.project(placed[None], view.intrinsics.double()[None])[0]
        torch.testing.assert_close(shot.pose_2d, screen)
        wide = (screen[..., 0].abs() > 1) | (screen[..., 1].abs() > view.height / view.width)
        assert torch.equal(shot.outside, wide)
    far = film(joints * 40, [rig], np.random.default_rng(0))
    assert 0.1 < far.outside.double().mean() < 1


@pytest.fixture
def amass_folder(tmp_path):
    """Motions that can be used and files that cannot, with a male and a neutral body model."""
    folder, victim = tmp_path / "amass", tmp_path / "victim"
    bodies_of(tmp_path / "models", male=toy_model(), neutral=toy_model(seed=5))
    for name, content in {
        "CMU/01/walk_poses": toy_motion(80, rate=100.0),
        "CMU/01/neutral_stagei": {"betas": np.zeros(16)},
        "CMU/02/short": toy_motion(40, rate=100.0),
        "KIT/dance.v2": toy_motion(90, gender=b"female", rate=120.0, seed=7),
        "KIT/hostile": toy_motion(90, extra=np.array(touches(victim), dtype=object)),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"{name}.npz", **content)
    (folder / "KIT" / "cut.npz").write_bytes((folder / "KIT" / "dance.v2.npz").read_bytes()[:9999])
    return folder


def test_amass_round_trip(script, amass_folder, tmp_path):
    folder, victim, out = amass_folder, tmp_path / "victim", tmp_path / "out"
    words = [folder, "--body_model", tmp_path / "models", "--frames", 9]
    done = script("dataset/prepare_amass.py", *words, "--output", out)
    for line in (
        "KIT/cut.npz: not an .npz file, or cut short",
        "KIT/hostile.npz: refused, it holds more than data",
        "skipped, cannot be read: 2 (KIT/cut, KIT/hostile)",
        "skipped, no poses in it: 1 (CMU/01/neutral_stagei)",
        "skipped, shorter than 11 frames at 25 frames/s: 1 (CMU/02/short)",
        "note: 1 female sequence with the neutral body model",
        "% of the joints are outside of the image",
        f"wrote {out}/amass.npz: 2 sequences, 39 frames, ",
    ):
        assert line in done.stdout
    assert done.stderr == "" and not victim.exists()
    poses = load_npz(out / "amass.npz")["poses"]
    assert list(poses) == ["CMU/01/walk_poses", "KIT/dance.v2"]
    models = {"CMU/01/walk_poses": toy_model(), "KIT/dance.v2": toy_model(seed=5)}
    for name, entry in poses.items():
        content = load_npz(folder / f"{name}.npz")
        expected = naive_joints_at_25(content, models[name])
        length = len(expected)
        assert entry["length"] == length and type(entry["length"]) is int
        assert entry["pose2d"].shape == (length, 16, 2) and entry["pose2d"].dtype == np.float32
        assert entry["pose3d"].shape == (length, 16, 3) and entry["pose3d"].dtype == np.float32
        assert (entry["pose3d"][:, 0] == 0).all()
        for joint in range(1, 16):  # lengths survive every placement
            np.testing.assert_allclose(
                np.linalg.norm(entry["pose3d"] - entry["pose3d"][:, joint : joint + 1], axis=-1),
                np.linalg.norm(expected - expected[:, joint : joint + 1], axis=-1),
                atol=1e-5,
            )


@pytest.mark.slow
def test_a_masked_model_trains_on_prepared_amass(script, monkeypatch, amass_folder, tmp_path):
    words = [amass_folder, "--body_model", tmp_path / "models", "--frames", 9]
    run_here(monkeypatch, prepare_amass, *words, "--output", tmp_path)
    poses = load_npz(tmp_path / "amass.npz")["poses"]
    words = [*SIXTEEN, "--MAE", "--dataset", "amass", "--root_path", tmp_path]
    done = script("pretrainer.py", *words, "--train", 1, "--nepoch", 1, "--name", "t")
    lengths = [len(entry["pose3d"]) for entry in poses.values()]
    assert f"training windows: amass {sum(lengths) - 2 * 10}" in done.stdout


def test_cameras_depend_on_the_seed_and_the_name_only(monkeypatch, amass_folder, tmp_path):
    words = [amass_folder, "--body_model", tmp_path / "models", "--frames", 9]
    run_here(monkeypatch, prepare_amass, *words, "--output", tmp_path / "a")
    poses = load_npz(tmp_path / "a" / "amass.npz")["poses"]
    # Another seed gives other cameras; the other sequences make no difference.
    run_here(monkeypatch, prepare_amass, *words, "--output", tmp_path / "b", "--seed", 2)
    other = load_npz(tmp_path / "b" / "amass.npz")["poses"]
    assert np.abs(other["KIT/dance.v2"]["pose3d"] - poses["KIT/dance.v2"]["pose3d"]).max() > 0.01
    for path in (amass_folder / "CMU").rglob("*.npz"):
        path.unlink()
    run_here(monkeypatch, prepare_amass, *words, "--output", tmp_path / "c")
    alone = load_npz(tmp_path / "c" / "amass.npz")["poses"]
    assert list(alone) == ["KIT/dance.v2"]
    np.testing.assert_array_equal(alone["KIT/dance.v2"]["pose2d"], poses["KIT/dance.v2"]["pose2d"])


def test_a_file_stays_as_it_was_if_no_motion_can_be_used(
    monkeypatch, caplog, amass_folder, tmp_path
):
    words = [amass_folder, "--body_model", tmp_path / "models", "--frames", 9, "--output", tmp_path]
    run_here(monkeypatch, prepare_amass, *words)
    before = (tmp_path / "amass.npz").read_bytes()
    shutil.rmtree(amass_folder / "CMU")
    (amass_folder / "KIT" / "dance.v2.npz").unlink()
    caplog.set_level(logging.INFO, logger="mpm")
    with pytest.raises(UserError, match="none of its 2 .npz files can be used"):
        run_here(monkeypatch, prepare_amass, *words, "--force")
    assert "skipped, cannot be read: 2 (KIT/cut, KIT/hostile)" in caplog.text
    assert (tmp_path / "amass.npz").read_bytes() == before
