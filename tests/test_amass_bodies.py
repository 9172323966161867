"""Body models pose the joints of AMASS's motions, and files of them run nothing."""

import pickle

import numpy as np
import pytest
import smplx.lbs
from amass_bodies import VERTICES, bodies_of, naive_joints_at_25, toy_model, toy_motion
from hostile import touches

from common.errors import UserError
from dataset import amass_bodies
from dataset.amass_bodies import Bodies, Motion, Unusable, resample


@pytest.mark.parametrize("rate", [25, 50, 60, 100, 120, 59.94, 24])
def test_amass_joints_at_25_frames_a_second(tmp_path, rate):
    model, content = toy_model(), toy_motion(61, rate=rate)
    bodies = bodies_of(tmp_path / "models", male=model)
    np.savez(tmp_path / "walk.npz", **content)
    motion = Motion.read(tmp_path / "walk.npz")
    joints = resample(motion, bodies, too_few=5)
    np.testing.assert_allclose(joints, naive_joints_at_25(content, model), atol=1e-5)
    with pytest.raises(Unusable, match=f"shorter than {len(joints) + 1} frames"):
        resample(motion, bodies, too_few=len(joints))


@pytest.mark.parametrize("rows", [16, 17])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_amass_joints_by_a_regressor(tmp_path, monkeypatch, rows, suffix):
    monkeypatch.setattr(amass_bodies, "FRAMES_PER_PASS", 7)  # passes make no difference
    model, content = toy_model(), toy_motion(20, rate=25)
    matrix = np.random.default_rng(2).uniform(0, 1, (rows, VERTICES)) ** 8
    matrix[:, ::7] = 0
    matrix /= matrix.sum(1, keepdims=True)
    (np.save if suffix == "npy" else np.savez)(tmp_path / f"regressor.{suffix}", matrix)
    bodies = bodies_of(tmp_path / "models", tmp_path / f"regressor.{suffix}", male=model)
    np.savez(tmp_path / "walk.npz", **content)
    joints = resample(Motion.read(tmp_path / "walk.npz"), bodies, too_few=5)
    kept = [j for j in range(rows) if rows == 16 or j != 9]
    expected = naive_joints_at_25(content, model, matrix[kept])
    np.testing.assert_allclose(joints, expected, atol=1e-5)


@pytest.mark.parametrize(("of_model", "of_motion"), [(24, 24), (24, 52), (52, 24)])
def test_smpl_and_smplh_share_all_joints_but_hands(tmp_path, of_model, of_motion):
    model, content = toy_model(of_model), toy_motion(8, rate=25, joints=of_motion)
    bodies = bodies_of(tmp_path / "models", male=model)
    np.savez(tmp_path / "walk.npz", **content)
    joints = resample(Motion.read(tmp_path / "walk.npz"), bodies, too_few=5)
    angles = np.zeros((8, of_model * 3))
    shared = 72 if of_model == of_motion else 66
    angles[:, :shared] = content["poses"][:, :shared]
    expected = naive_joints_at_25(content | {"poses": angles}, model)
    np.testing.assert_allclose(joints, expected, atol=1e-5)


def test_a_hostile_body_model_runs_nothing(mistake, tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "model.npz"
    np.savez(path, **toy_model() | {"bs_style": np.array(touches(victim), dtype=object)})
    np.savez(tmp_path / "walk.npz", **toy_motion(9))
    line = mistake("dataset/prepare_amass.py", tmp_path, "--body_model", path, "--output", tmp_path)
    assert "model.npz: refused, it holds more than data" in line
    assert not victim.exists()
    with np.load(path, allow_pickle=True) as entries:
        assert entries["bs_style"] is not None
    assert victim.exists()  # the payload is a real one


@pytest.mark.parametrize("place", ["SMPL_MALE.pkl", "smplh/male/model.pkl"])
def test_a_pickled_body_model_is_refused(tmp_path, place):
    path, victim = tmp_path / "models" / place, tmp_path / "victim"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(touches(victim)))
    for given in (path, tmp_path / "models"):
        with pytest.raises(
            UserError, match="in a .pkl file is not read, since .* any code; get the"
        ):
            Bodies.read(smplx.lbs, given, None)
    assert not victim.exists()
    with pytest.raises(UserError, match="no model there, neither male/model.npz nor SMPLH_MALE"):
        Bodies.read(smplx.lbs, tmp_path / "nowhere", None)


@pytest.mark.parametrize("name", ["SMPLH_MALE.npz", "smplh/SMPLH_MALE.npz", "SMPL_MALE.npz"])
def test_names_of_body_models(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    np.savez(tmp_path / name, **toy_model())
    bodies = Bodies.read(smplx.lbs, tmp_path, None)
    assert list(bodies.models) == ["male"] and bodies.stand_in == "male"
    assert bodies.of("male") is bodies.of("female") and bodies.replaced == {"female": 1}
    alone = Bodies.read(smplx.lbs, tmp_path / name, None)
    assert alone.of("female") is alone.of("neutral") and not alone.replaced


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"weights": None}, r"its weights of shape \(\) is not that of a SMPL"),
        ({"v_template": np.zeros((59, 3))}, r"its weights of shape \(60, 52\)"),
        ({"posedirs": np.zeros((60, 3, 207))}, "52 joints; SMPL-H has 52, SMPL 24"),
    ],
)
def test_body_models_that_are_none(tmp_path, change, complaint):
    model = {k: v for k, v in (toy_model() | change).items() if v is not None}
    np.savez(tmp_path / "model.npz", **model)
    with pytest.raises(UserError, match=complaint):
        Bodies.read(smplx.lbs, tmp_path / "model.npz", None)


@pytest.mark.parametrize(
    ("matrix", "complaint"),
    [
        (np.full((16, 50), 1 / 50), "50 columns, .* has 60 vertices"),
        (np.full((15, 60), 1 / 60), r"shapes \[\(15, 60\)\]; one of 16 or 17 joints x vertices"),
        (np.full((16, 60), 0.5), "weights must add up to 1"),
        (np.array(["text"], dtype=object), "not an .npy file of one plain array"),
    ],
)
def test_regressors_that_are_none(tmp_path, matrix, complaint):
    np.savez(tmp_path / "model.npz", **toy_model())
    np.save(tmp_path / "r.npy", matrix, allow_pickle=True)
    with pytest.raises(UserError, match=complaint):
        Bodies.read(smplx.lbs, tmp_path / "model.npz", tmp_path / "r.npy")
