"""Missing and doubtful joints: what is hidden, interpolated, recovered, and what stays empty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_inputs import LIFTER, MASKED, sample_pixels, sample_size

from common.errors import UserError
from common.inference import LiftOptions, lift_keypoints, load_model
from common.inference.missing import MIN_SEEN, fill
from common.inference.motion import State

RULES = {"min_confidence": 0.3, "max_gap": 4}
FRAMES = np.arange(20.0)  # their times, so that gaps are given in frames


def seen(length: int = 20, joints: int = 17) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints that move along lines, all of them detected."""
    speed = np.arange(joints * 2).reshape(joints, 2) + 1.0
    keypoints = (np.arange(length)[:, None, None] * speed).astype(np.float32)
    return keypoints, np.ones((length, joints), np.float32)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_every_joint_is_told_where_it_comes_from(data):
    keypoints, confidence = seen()
    holes = data.draw(
        st.lists(st.tuples(st.integers(0, 19), st.integers(1, 12), st.integers(0, 16)), max_size=9)
    )
    how = data.draw(st.sampled_from(["nan", "confidence", "infinite"]))
    masked = data.draw(st.booleans())
    gone = np.zeros((20, 17), bool)
    for start, length, joint in holes:
        gone[start : start + length, joint] = True
    if how == "confidence":
        confidence[gone] = 0.29
    else:
        keypoints[gone] = np.nan if how == "nan" else np.inf
    filled = fill(keypoints, confidence, FRAMES, hides_joints=masked, **RULES)
    usable = filled.usable
    assert ((filled.state == State.EMPTY).any(1) == ~usable).all()  # whole frames only
    assert (filled.state[usable][gone[usable]] != State.SEEN).all()
    assert (filled.state[usable][~gone[usable]] != State.RECOVERED).all()
    if masked:
        assert filled.hidden is not None
        known = ~filled.hidden[usable]
        assert (filled.state[usable][filled.hidden[usable]] == State.RECOVERED).all()
        assert (known.sum(1) >= MIN_SEEN).all()
    else:
        assert filled.hidden is None and (filled.state != State.RECOVERED).all()
        known = np.ones_like(gone[usable])
    assert np.isfinite(filled.keypoints[usable][known]).all()


def test_a_lifter_gets_short_gaps_interpolated_and_long_ones_left_empty():
    keypoints, confidence = seen()
    whole = keypoints.copy()
    keypoints[3:7, 5] = np.nan  # 4 frames
    keypoints[10:15, 2] = np.nan  # 5 frames
    filled = fill(keypoints, confidence, FRAMES, hides_joints=False, **RULES)
    assert (filled.state[3:7, 5] == State.INTERPOLATED).all()
    assert (filled.state[3:7, :5] == State.SEEN).all()
    assert np.flatnonzero(~filled.usable).tolist() == [10, 11, 12, 13, 14]
    assert np.allclose(filled.keypoints[filled.usable], whole[filled.usable])


def test_a_masked_model_has_joints_hidden_and_lost_frames_interpolated():
    keypoints, confidence = seen()
    whole = keypoints.copy()
    keypoints[3:15, 5] = np.nan  # a long gap of one joint
    keypoints[8:10] = np.nan  # nobody
    keypoints[17, : 17 - MIN_SEEN + 1] = np.nan  # too little to go by
    filled = fill(keypoints, confidence, FRAMES, hides_joints=True, **RULES)
    assert filled.usable.all() and filled.hidden is not None
    assert (filled.state[3:8, 5] == State.RECOVERED).all() and filled.hidden[3:8, 5].all()
    assert (filled.state[8:10, :5] == State.INTERPOLATED).all()
    assert (filled.state[17] == State.INTERPOLATED).all()
    shown = ~filled.hidden
    assert np.allclose(filled.keypoints[shown], whole[shown])


@pytest.mark.slow
def test_a_masked_model_does_not_see_what_is_hidden_from_it():
    model = load_model(MASKED, device="cpu")
    pixels, size = sample_pixels()[:60], sample_size()
    confidence = np.ones((*pixels.shape[:2], 1), np.float32)
    confidence[20:50, [3, 13]] = 0.1
    results = []
    for wrong in (0, 500):
        keypoints = pixels.copy()
        keypoints[20:50, [3, 13]] += wrong
        whole = np.concatenate([keypoints, confidence], axis=-1)
        results.append(lift_keypoints(whole, size=size, fps=50, model=model))
    assert np.array_equal(results[0].poses_3d, results[1].poses_3d)
    assert np.array_equal(results[0].root_3d, results[1].root_3d)
    assert np.isfinite(results[0].poses_3d).all()
    assert (results[0].state[20:50, [3, 13]] == State.RECOVERED).all()
    assert np.isnan(results[0].keypoints_2d[20:50, [3, 13]]).all()
    everything = lift_keypoints(pixels, size=size, fps=50, model=model)
    assert not np.allclose(everything.poses_3d[30], results[0].poses_3d[30], atol=1e-3)


def test_recovering_a_limb_beats_interpolating_a_long_gap():
    """The masked model fills in what a lifter has to leave empty."""
    pixels, size = sample_pixels()[:40].copy(), sample_size()
    pixels[5:35, [1, 2, 3]] = np.nan
    options = LiftOptions(max_gap=0.1)
    masked = lift_keypoints(pixels, size=size, fps=50, model=MASKED, options=options)
    lifter = lift_keypoints(pixels, size=size, fps=50, model=LIFTER, options=options)
    assert np.isfinite(masked.poses_3d).all()
    assert np.isnan(lifter.poses_3d[5:35]).all() and np.isfinite(lifter.poses_3d[:5]).all()


def test_nothing_to_lift_names_the_joints_and_the_remedy():
    pixels = sample_pixels()[:40].copy()
    pixels[:, [3, 6]] = np.nan
    with pytest.raises(UserError, match="right foot in 0%.*--occluded"):
        lift_keypoints(pixels, size=sample_size(), fps=50, model=LIFTER)
    with pytest.raises(UserError, match="none of 40 frames"):
        lift_keypoints(pixels * np.nan, size=sample_size(), fps=50, model=MASKED)
