"""Lifting frame by frame gives what lifting at once gives."""

import numpy as np
import pytest
from inference_inputs import FPS, LIFTER, MASKED, sample_pixels, sample_size, write_model

from common.errors import UserError
from common.inference import StreamingLifter, lift_keypoints, load_model
from common.inference.motion import State

SIZE = sample_size()


def stream(model, pixels, lag, **options):
    """Every pose of a stream, in order."""
    lifter = StreamingLifter(model, lag=lag, size=SIZE, **options)
    poses = []
    for number, frame in enumerate(pixels):
        pose = lifter.push(frame)
        assert (pose is None) == (number < lag)
        poses += [] if pose is None else [pose]
    return [*poses, *lifter.finish()]


@pytest.mark.slow
@pytest.mark.parametrize("weights", [LIFTER, MASKED], ids=lambda path: path.stem)
def test_with_half_a_window_of_lag_the_result_is_that_of_the_whole(weights):
    model, pixels = load_model(weights, device="cpu"), sample_pixels()[:80]
    poses = stream(model, pixels, 26, fps=FPS)
    whole = lift_keypoints(pixels, size=SIZE, fps=FPS, model=model)
    assert [pose.frame for pose in poses] == list(range(80))
    assert np.allclose([pose.time for pose in poses], whole.time)
    assert np.abs(np.stack([pose.pose_3d for pose in poses]) - whole.poses_3d).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0, 5])
def test_with_less_the_newest_frame_is_the_end_of_the_recording(lag):
    model, pixels = load_model(LIFTER, device="cpu"), sample_pixels()[:60]
    poses = stream(model, pixels, lag, fps=FPS)
    for number in (0, 3, 30, 50):
        until = lift_keypoints(pixels[: number + lag + 1], size=SIZE, fps=FPS, model=model)
        assert np.abs(poses[number].pose_3d - until.poses_3d[number]).max() < 1e-5


def test_a_causal_model_loses_nothing_without_lag(tmp_path):
    weights = write_model(tmp_path / "x.pth", "lifter", causal=1, frame_rate=FPS, frame_step=2)
    model, pixels = load_model(weights, device="cpu"), sample_pixels()[:40]
    poses = stream(model, pixels, 0, fps=FPS)
    whole = lift_keypoints(pixels, size=SIZE, fps=FPS, model=model)
    assert np.abs(np.stack([pose.pose_3d for pose in poses]) - whole.poses_3d).max() < 1e-5


def test_streams_of_their_own_time(tmp_path):
    weights = write_model(tmp_path / "x.pth", "lifter", frame_rate=FPS, frame_step=1)
    model, pixels = load_model(weights, device="cpu"), sample_pixels()[:40]
    time = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.05, 40))
    lifter = StreamingLifter(model, lag=39, size=SIZE)
    for frame, stamp in zip(pixels, time, strict=True):
        lifter.push(frame, time=stamp)
    whole = lift_keypoints(pixels, size=SIZE, time=time, model=model)
    found = [whole.poses_3d[0], *(pose.pose_3d for pose in lifter.finish())]
    assert np.abs(np.stack(found) - whole.poses_3d).max() < 1e-5


def test_memory_of_a_stream_is_bounded(tmp_path):
    weights = write_model(tmp_path / "x.pth", "lifter", frames=1, frame_rate=FPS, frame_step=1)
    lifter = StreamingLifter(load_model(weights, device="cpu"), lag=3, size=SIZE, fps=FPS)
    for frame in np.tile(sample_pixels()[:50], (6, 1, 1)):
        lifter.push(frame)
        assert len(lifter._frames) <= 6


def test_a_missing_joint_keeps_its_place_for_a_while_or_is_hidden():
    pixels = sample_pixels()[:20].copy()
    pixels[5:12, 4] = np.nan
    lifted = stream(load_model(LIFTER, device="cpu"), pixels, 0, fps=FPS, max_gap=0.06)
    states = np.stack([pose.state for pose in lifted])
    assert (states[5:8, 4] == State.INTERPOLATED).all()
    assert (states[8:12] == State.EMPTY).all() and (states[12:] == State.SEEN).all()
    empty = np.isnan([pose.pose_3d for pose in lifted]).all((1, 2))
    assert np.flatnonzero(empty).tolist() == [8, 9, 10, 11]
    filled = stream(load_model(MASKED, device="cpu"), pixels, 0, fps=FPS, max_gap=0.06)
    states = np.stack([pose.state for pose in filled])
    assert (states[5:12, 4] == State.RECOVERED).all()
    assert np.isfinite([pose.pose_3d for pose in filled]).all()


def test_a_joint_at_0_0_is_not_detected():
    pixels = sample_pixels()[:9].copy()
    pixels[5:, 4] = 0
    poses = stream(load_model(LIFTER, device="cpu"), pixels, 0, fps=FPS)
    states = np.stack([pose.state for pose in poses])
    assert (states[5:, 4] == State.INTERPOLATED).all() and (states[:5] == State.SEEN).all()


def test_what_a_stream_refuses(tmp_path):
    model = load_model(LIFTER, device="cpu")
    with pytest.raises(UserError, match="lag -1"):
        StreamingLifter(model, lag=-1, size=SIZE, fps=FPS)
    with pytest.raises(UserError, match="fps 0"):
        StreamingLifter(model, lag=0, size=SIZE, fps=0)
    lifter = StreamingLifter(model, lag=0, size=SIZE)
    frame = sample_pixels()[0]
    with pytest.raises(UserError, match="a time for each"):
        lifter.push(frame)
    with pytest.raises(UserError, match="shape"):
        lifter.push(frame[:5], time=0.0)
    lifter.push(frame, time=1.0)
    with pytest.raises(UserError, match="does not increase"):
        lifter.push(frame, time=1.0)
