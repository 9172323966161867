"""Windows at the model's rate around frames of any rate; the same poses as in an evaluation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_inputs import FPS, LIFTER, MASKED, sample_pixels, sample_size, write_model
from paths import SAMPLE

from common.data import h36m
from common.data.base import DataOptions
from common.data.windows import WindowIndex, WindowRule
from common.errors import UserError
from common.evaluation.lifting import LiftingTest
from common.inference import LiftOptions, lift_keypoints, load_model
from common.inference.lifting import Clip, gather, lift_clip, runs, window_samples
from common.inference.models import LiftingModel
from common.inference.motion import State
from common.tasks.lifting import Lifting, load_lifter
from common.training import runtime
from common.training.runtime import RuntimeOptions


@pytest.fixture(scope="module")
def model() -> LiftingModel:
    return load_model(LIFTER, device="cpu")


# ---- the key test: what predict gives is what trainer.py evaluates


@pytest.mark.slow
@pytest.mark.parametrize("flip", [True, False])
def test_poses_are_those_of_the_evaluation(flip):
    run = runtime.start(RuntimeOptions([], 1))
    options = DataOptions(
        SAMPLE, 17, train=False, test=True, test_subjects=("S11",), actions=("Kicking",)
    )
    store = h36m.load(options).test
    test = LiftingTest(store, WindowRule(27, 2), 4096, flip, h36m.DATA_SET.table)
    evaluated, _ = test.predict(Lifting(load_lifter(LIFTER), None, run))
    model = load_model(LIFTER, device="cpu", flip=flip)
    for name, frames in zip(store.names, store.sequence_slices(), strict=True):
        pixels = sample_pixels(name.subject, name.action, name.camera)
        size = sample_size(name.subject, name.camera)
        motion = lift_keypoints(pixels, size=size, fps=FPS, model=model)
        length = frames.stop - frames.start
        difference = np.linalg.norm(motion.poses_3d[:length] - evaluated[frames].numpy(), axis=-1)
        assert 1000 * difference.max() < 0.1
        true = store.pose_3d[frames].numpy()
        errors = [
            1000 * np.linalg.norm(poses - true, axis=-1).mean()
            for poses in (motion.poses_3d[:length], evaluated[frames].numpy())
        ]
        assert abs(errors[0] - errors[1]) < 0.1


# ---- windows in time


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 40),
    frames=st.sampled_from([1, 9, 27]),
    step=st.integers(1, 3),
    causal=st.booleans(),
)
def test_at_the_models_rate_windows_are_those_of_the_data(length, frames, step, causal):
    rule = WindowRule(frames, step, causal=causal)
    windows = WindowIndex(torch.tensor([0, length]), rule).windows(torch.arange(length))
    seconds = (np.arange(frames) - rule.target) * step / FPS
    samples = window_samples(np.arange(length) / FPS, np.arange(length), seconds)
    assert (samples.share == 0).all()
    assert np.array_equal(samples.before[samples.windows], windows.frames.numpy())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_samples_lie_on_the_line_between_frames(data):
    steps = data.draw(st.lists(st.floats(0.004, 0.2), min_size=0, max_size=30))
    time = np.cumsum([3.0, *steps])
    rng = np.random.default_rng(len(steps))
    pose = rng.normal(size=(len(time), 17, 2)).astype(np.float32)
    seconds = np.arange(-4, 5) * 0.04
    targets = np.arange(len(time))
    samples = window_samples(time, targets, seconds)
    found, hidden = gather(Clip(torch.from_numpy(pose), None, time), samples)
    wanted = (time[:, None] + seconds).clip(time[0], time[-1])
    for joint in (0, 9):
        for axis in range(2):
            naive = np.interp(wanted, time, pose[:, joint, axis])
            places = found[samples.windows, joint, axis].numpy()
            # The place of a sample is rounded to a 1024th of the step between two frames.
            assert np.abs(places - naive).max() <= np.abs(pose).max() * 2 / 1024
    assert hidden is None


def test_a_sample_is_hidden_where_either_of_its_frames_is():
    time = np.arange(4) / 20
    pose = torch.ones(4, 2, 2)
    pose[1, 0] = torch.nan
    hidden = pose.isnan().any(-1)
    seconds = np.array([-0.02, 0.0, 0.02])
    found, mask = gather(Clip(pose, hidden, time), window_samples(time, np.arange(4), seconds))
    assert found.isfinite().all()
    samples = window_samples(time, np.arange(4), seconds)
    at = time[samples.before] + samples.share / 20
    assert mask[:, 0].tolist() == [bool(abs(t - time[1]) < 0.05 - 1e-6) for t in at]
    assert not mask[:, 1].any()


@pytest.mark.parametrize("fps", [24, 25, 30, 59.94, 60, 120])
def test_other_frame_rates_give_the_same_motion(model, fps):
    pixels = sample_pixels()[:200]
    size = sample_size()
    native = lift_keypoints(pixels, size=size, fps=FPS, model=model)
    time = np.arange(0, native.time[-1], 1 / fps)
    resampled = np.stack(
        [
            np.stack([np.interp(time, native.time, pixels[:, j, a]) for a in range(2)], -1)
            for j in range(17)
        ],
        axis=1,
    )
    motion = lift_keypoints(resampled, size=size, fps=fps, model=model)
    assert np.allclose(motion.time, time)
    wanted = np.stack(
        [
            np.stack([np.interp(time, native.time, native.poses_3d[:, j, a]) for a in range(3)], -1)
            for j in range(17)
        ],
        axis=1,
    )
    difference = np.linalg.norm(motion.poses_3d - wanted, axis=-1)
    spread = np.linalg.norm(wanted - wanted.mean(0), axis=-1).mean()
    assert difference.mean() < 0.05 * spread


def test_variable_rates_go_by_the_time_stamps(model):
    pixels, size = sample_pixels()[:120], sample_size()
    kept = np.sort(np.random.default_rng(0).choice(120, 90, replace=False))
    whole = lift_keypoints(pixels, size=size, fps=FPS, model=model)
    by_time = lift_keypoints(pixels[kept], size=size, time=kept / FPS, model=model)
    by_number = lift_keypoints(pixels[kept], size=size, fps=FPS, model=model)
    errors = [
        np.linalg.norm(motion.poses_3d - whole.poses_3d[kept], axis=-1).mean()
        for motion in (by_time, by_number)
    ]
    assert errors[0] < errors[1] / 3


# ---- lengths


@pytest.mark.parametrize("length", [1, 2, 5])
def test_clips_shorter_than_a_window(model, length):
    motion = lift_keypoints(sample_pixels()[:length], size=sample_size(), fps=30, model=model)
    assert motion.poses_3d.shape == (length, 17, 3)
    for array in (motion.poses_3d, motion.root_3d, motion.world_3d):
        assert np.isfinite(array).all()


def test_long_clips_are_lifted_in_passes_of_bounded_size(model):
    sizes = []

    def network(poses, hidden, windows):
        sizes.append((poses.shape[1], len(windows)))
        return torch.zeros(len(poses) * len(windows), 17, 3)

    length = 10_000
    clip = Clip(torch.zeros(length, 17, 2), None, np.arange(length) / 30)
    seen = []
    lift_clip(LiftingModel(model.info, network, torch.device("cpu")), clip, progress=seen.append)
    assert sum(seen) == length
    assert max(windows for _, windows in sizes) <= model.windows_per_pass
    assert max(samples for samples, _ in sizes) <= model.windows_per_pass * 27


def test_passes_do_not_change_the_result(model, monkeypatch):
    pixels, size = sample_pixels()[:90], sample_size()
    whole = lift_keypoints(pixels, size=size, fps=30, model=model)
    monkeypatch.setattr("common.inference.models.FRAMES_PER_PASS", {"cpu": 27 * 7})
    parts = lift_keypoints(pixels, size=size, fps=30, model=model)
    assert np.abs(whole.poses_3d - parts.poses_3d).max() < 1e-5


# ---- runs


def test_runs_end_at_empty_frames_and_at_holes_in_time():
    time = np.array([0, 1, 2, 3, 4, 9, 10, 11.0])
    usable = np.array([1, 1, 0, 1, 1, 1, 1, 0], bool)
    assert runs(usable, time, longest_step=2) == [slice(0, 2), slice(3, 5), slice(5, 7)]
    assert runs(np.zeros(8, bool), time, longest_step=2) == []


def test_what_lies_beyond_a_long_gap_has_no_influence(model):
    pixels, size = sample_pixels()[:120].copy(), sample_size()
    pixels[50:90] = np.nan
    motion = lift_keypoints(
        pixels, size=size, fps=FPS, model=model, options=LiftOptions(max_gap=0.2)
    )
    assert np.isnan(motion.poses_3d[50:90]).all() and np.isnan(motion.root_3d[50:90]).all()
    assert (motion.state[50:90] == State.EMPTY).all()
    for part in (slice(0, 50), slice(90, 120)):
        alone = lift_keypoints(pixels[part], size=size, fps=FPS, model=model)
        assert np.abs(motion.poses_3d[part] - alone.poses_3d).max() < 1e-5


# ---- what is refused


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((10, 12, 2), {"fps": 30}, "shape"),
        ((0, 17, 2), {"fps": 30}, "shape"),
        ((10, 17), {"fps": 30}, "shape"),
        ((10, 17, 2), {}, "either fps"),
        ((10, 17, 2), {"fps": -1}, "above 0"),
        ((10, 17, 2), {"fps": float("nan")}, "above 0"),
        ((10, 17, 2), {"time": np.zeros(10)}, "frame 1"),
        ((10, 17, 2), {"time": np.arange(9)}, "10 finite"),
    ],
)
def test_arrays_of_another_form(model, shape, options, message):
    with pytest.raises(UserError, match=message):
        lift_keypoints(np.full(shape, 50.0), size=(100, 100), model=model, **options)


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        (lambda pixels: pixels / 1000, (1000, 1002), "already normalised"),
        (lambda pixels: pixels / 500 - 1, (1000, 1002), "already normalised"),
        (lambda pixels: pixels, (100, 100), "another size"),
        (lambda pixels: pixels, (0, 100), "width and height"),
    ],
)
def test_numbers_that_are_no_pixels_of_the_image(model, change, size, message):
    with pytest.raises(UserError, match=message):
        lift_keypoints(change(sample_pixels()[:5]), size=size, fps=FPS, model=model)


def test_joints_at_0_0_are_not_detected(model):
    pixels = sample_pixels()[:20].copy()
    lost = pixels.copy()
    lost[5:8, [3, 13]] = np.nan
    pixels[5:8, [3, 13]] = 0
    motion, wanted = (
        lift_keypoints(keypoints, size=sample_size(), fps=FPS, model=model)
        for keypoints in (pixels, lost)
    )
    assert (motion.state[5:8, [3, 13]] == State.INTERPOLATED).all()
    assert np.array_equal(motion.poses_3d, wanted.poses_3d)
    assert np.isfinite(motion.poses_3d).all()


def test_a_model_of_16_joints_takes_those_of_17(tmp_path):
    path = write_model(tmp_path / "x.pth", "lifter", joints=16, frame_rate=50.0, frame_step=1)
    motion = lift_keypoints(sample_pixels()[:9], size=sample_size(), fps=50, model=path)
    assert motion.poses_3d.shape == (9, 16, 3) and motion.skeleton.name == "h36m_16"
    with pytest.raises(UserError, match="no neck"):
        lift_keypoints(np.full((9, 16, 2), 5.0), size=(9, 9), fps=50, model=MASKED)
