"""Whatever numbers come in: a motion, finite wherever it says that there is one, or one line."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_inputs import LIFTER, sample_pixels, write_model
from paths import ROOT

from common.errors import UserError
from common.inference import LiftOptions, lift_keypoints, load_model
from common.inference.motion import PinholeCamera, State

KINDS = {
    "a person": lambda rng, n: sample_pixels()[:n].copy(),
    "noise": lambda rng, n: rng.normal(500, 100, (n, 17, 2)),
    "far out": lambda rng, n: rng.normal(0, 1e7, (n, 17, 2)),
    "beyond float32": lambda rng, n: rng.normal(0, 1e300, (n, 17, 2)),
    "one point": lambda rng, n: np.full((n, 17, 2), 5.0),
    "standing still": lambda rng, n: np.tile(sample_pixels()[:1], (n, 1, 1)),
}
CAMERAS = (
    None,
    1145.0,
    PinholeCamera((1000, 1000), (800.0, 800.0), (500.0, 500.0), (-0.4, 0.2, 0, 0, 0)),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A lifter and a masked model, tiny and random."""
    folder = tmp_path_factory.mktemp("models")
    rates = {"frame_rate": 50.0, "frame_step": 1}
    return [
        load_model(write_model(folder / f"{kind}.pth", kind, **rates), device="cpu")
        for kind in ("lifter", "masked")
    ]


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_motion_or_one_line(models, data):
    length = data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    poses = KINDS[data.draw(st.sampled_from(sorted(KINDS)))](rng, length)
    missing = rng.random(poses.shape[:2]) < data.draw(st.sampled_from([0, 0.05, 0.5]))
    poses[missing] = data.draw(st.sampled_from([np.nan, np.inf]))
    if data.draw(st.booleans()):
        confidence = rng.normal(0.5, 1, (*poses.shape[:2], 1))
        poses = np.concatenate([poses, confidence], axis=-1)
    scale = data.draw(st.sampled_from([1e-9, 1.0, 1e9]))
    options = LiftOptions(
        smooth=data.draw(st.sampled_from([None, "savgol", "one_euro"])),
        max_gap=data.draw(st.sampled_from([0, 0.5, 1e9])),
        pitch=data.draw(st.sampled_from([None, 90.0])),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            motion = lift_keypoints(
                poses,
                size=(1000, 1000),
                time=np.cumsum(rng.uniform(0.1, 1, length)) * scale,
                model=data.draw(st.sampled_from(models)),
                camera=data.draw(st.sampled_from(CAMERAS)),
                options=options,
            )
        except UserError as error:
            assert "none of" in str(error) or "outside an image of 1000 x 1000" in str(error)
            return
    posed = (motion.state != State.EMPTY).all(1)
    assert posed.any()
    for array in (motion.poses_3d, motion.root_3d, motion.world_3d):
        assert np.isfinite(array[posed]).all() and np.isnan(array[~posed]).all()
    assert np.isfinite(motion.confidence).all()


def test_the_python_of_the_page_runs(monkeypatch, tmp_path, capsys):
    page = (ROOT / "common" / "inference" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(code.splitlines()) <= 8
    monkeypatch.chdir(tmp_path)
    np.save("keypoints.npy", sample_pixels()[:20])
    Path("weights.pth").symlink_to(LIFTER)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("(20, 17, 3) [")
