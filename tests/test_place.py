"""Where a person stands: the root's path, the world, cameras of calibration files, smoothing."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_inputs import FPS, OUR_CALIBRATION, sample_camera, sample_pixels
from paths import SAMPLE

from common.data.camera import load_cameras, world_to_camera
from common.data.npz import float_tensor, load_npz
from common.data.skeleton import H36M_17, H36M_32_TO_17
from common.errors import UserError
from common.inference.calibration import (
    assumed_camera,
    camera_of_fov,
    distort,
    read_camera,
    undistort,
)
from common.inference.motion import PinholeCamera
from common.inference.place import level, root_path, world_of_pitch
from common.inference.smoothing import SMOOTHERS, jitter


def true_poses(subject: str, action: str, camera: int = 0) -> np.ndarray:
    """(L, 17, 3) float64 metres in camera space."""
    world = load_npz(SAMPLE / "data_3d_h36m.npz")["positions_3d"][subject][action]
    view = load_cameras(SAMPLE).by_subject[subject][camera]
    points = float_tensor(world[:, list(H36M_32_TO_17)])
    return world_to_camera(points, view.orientation, view.centre).double().numpy()


def true_up(subject: str, camera: int = 0) -> np.ndarray:
    """(3,) what is up along a camera's axes."""
    view = load_cameras(SAMPLE).by_subject[subject][camera]
    ends = float_tensor(np.array([[0, 0, 0], [0, 0, 1.0]]))
    foot, top = world_to_camera(ends, view.orientation, view.centre).numpy()
    return top - foot


# ---- the root's path


@pytest.mark.parametrize(("subject", "action"), [("S9", "Dancing"), ("S6", "Walking")])
def test_true_poses_are_placed_where_they_are(subject, action):
    poses = true_poses(subject, action)
    camera = sample_camera(subject)
    pixels = undistort(sample_pixels(subject, action), camera)
    time = np.arange(len(poses)) / FPS
    root = root_path(poses - poses[:, :1], pixels, np.ones(pixels.shape[:2]), time, camera)
    assert np.linalg.norm(root - poses[:, 0], axis=-1).mean() < 0.01  # at 5 m


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(1.0, 20.0))
def test_without_noise_the_placement_is_exact_and_weights_choose(seed, depth):
    rng = np.random.default_rng(seed)
    camera = assumed_camera((1000, 800))
    poses = rng.normal(0, 0.3, (5, 17, 3)).clip(-0.4, 0.4)
    poses -= poses[:, :1]
    root = np.tile([*rng.normal(0, 0.5, 2), depth], (5, 1))
    absolute = poses + root[:, None]
    pixels = absolute[..., :2] / absolute[..., 2:] * camera.focal + camera.centre
    weight = np.ones((5, 17))
    weight[:, 10:] = 0
    pixels[:, 10:] += 300  # outliers that do not count
    pixels[:, 16] = np.nan
    found = root_path(poses, pixels, weight, np.arange(5) / 30, camera)
    assert np.allclose(found, root, rtol=1e-3, atol=1e-3)


def test_frames_that_cannot_be_placed_are_placed_by_their_neighbours():
    poses = true_poses("S9", "Dancing")[:40]
    camera = sample_camera()
    pixels = undistort(sample_pixels()[:40], camera)
    pixels[10:14] = np.nan
    pixels[20, 2:] = np.nan
    weight, time = np.ones(pixels.shape[:2]), np.arange(40) / FPS
    root = root_path(poses - poses[:, :1], pixels, weight, time, camera)
    assert np.linalg.norm(root - poses[:, 0], axis=-1).max() < 0.1
    nowhere = root_path(poses, pixels * np.nan, weight, time, camera)
    assert np.isnan(nowhere).all()


# ---- the world


@pytest.mark.parametrize(
    ("subject", "action", "degrees"),
    [
        ("S6", "Walking", 6),
        ("S6", "Running", 6),
        ("S7", "Spinning", 6),
        ("S7", "Boxing", 6),
        ("S11", "Kicking", 6),
        ("S9", "Climbing", 10),  # on boxes
    ],
)
def test_the_world_is_levelled(subject, action, degrees):
    """The cameras look down by 11 degrees: that is what taking them for level would cost."""
    poses = true_poses(subject, action)
    world = level(poses, np.arange(len(poses)) / FPS, H36M_17, None)
    up = true_up(subject)
    assert np.degrees(np.arccos(world.axes[2] @ up)) < degrees
    assert np.degrees(np.arccos(-up[1])) > 10
    assert np.allclose(world.axes @ world.axes.T, np.eye(3)) and np.linalg.det(world.axes) > 0


def test_pitch_and_height_of_the_camera_are_taken_as_told():
    pitch, height = 20.0, 2.5
    points = np.array([[[0.0, 0.0, 5.0], [0.0, 1.0, 5.0], [1.0, 0.0, 5.0]]])
    world = world_of_pitch(pitch, height, points.reshape(-1, 3))
    placed = world.of_camera(points)[0]
    angle = np.radians(pitch)
    assert np.allclose(placed[0], [0, 5 * np.cos(angle), height - 5 * np.sin(angle)])
    assert np.allclose(placed[1] - placed[0], [0, -np.sin(angle), -np.cos(angle)])
    assert np.allclose(placed[2] - placed[0], [1, 0, 0])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_frames_are_levelled(count):
    poses = true_poses("S9", "Dancing")[:count]
    world = level(poses, np.arange(count) / FPS, H36M_17, None)
    assert np.isfinite(world.axes).all() and np.isfinite(world.height)


def test_a_person_who_lies_does_not_turn_the_world():
    poses = true_poses("S6", "Walking")
    lying = np.stack([poses[..., 1], -poses[..., 0], poses[..., 2]], axis=-1)
    world = level(lying, np.arange(len(lying)) / FPS, H36M_17, None)
    assert np.degrees(np.arccos(-world.axes[2][1])) < 15


# ---- cameras


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-0.3, 0.3),
    st.floats(-0.1, 0.1),
    st.floats(-0.01, 0.01),
    st.floats(-0.01, 0.01),
)
def test_undistortion_undoes_distortion(k1, k2, p1, p2):
    camera = PinholeCamera((1920, 1080), (1500, 1480), (950, 550), (k1, k2, p1, p2, 0.0))
    rays = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 7), np.linspace(-0.3, 0.3, 5)), -1)
    pixels = distort(rays, camera) * camera.focal + camera.centre
    straight = rays * camera.focal + camera.centre
    assert np.abs(undistort(pixels, camera) - straight).max() < 0.05
    assert np.isnan(undistort(pixels * np.nan, camera)).all()


def test_points_that_no_lens_maps_stay_where_they_are():
    camera = PinholeCamera((100, 100), (100, 100), (50, 50), (-5.0, 0.0, 0.0, 0.0, 0.0))
    far = np.array([[1e6, -1e6], [99.0, 99.0]])
    assert np.array_equal(undistort(far, camera)[0], far[0])
    assert np.isfinite(undistort(far, camera)).all()


def test_a_field_of_view_is_that_of_the_width():
    camera = camera_of_fov((1600, 900), 90)
    assert camera.focal[0] == pytest.approx(800) and not camera.assumed


MATRIX = [[1500, 0, 950], [0, 1480, 550], [0, 0, 1]]
DISTORTION = [0.1, -0.05, 0.001, 0.002, 0.01]
OPENCV = {"camera_matrix": MATRIX, "dist_coeffs": [DISTORTION]}
STORAGE = {
    "cameraMatrix": {"rows": 3, "cols": 3, "data": sum(MATRIX, [])},
    "distCoeffs": {"rows": 1, "cols": 5, "data": DISTORTION},
    "image_width": 1920,
    "image_height": 1080,
}
POSE2SIM = f"""
[cam_1]
name = "cam_1"
size = [1920.0, 1080.0]
matrix = {MATRIX}
distortions = {DISTORTION[:4]}
rotation = [0.1, 0.2, 0.3]
translation = [0.0, 1.0, 4.0]
fisheye = false
[metadata]
adjusted = false
"""
QUALISYS = f"""<?xml version='1.0' encoding='ASCII'?>
<calibration type="regular"><cameras><camera active="1" serial="cam01">
<fov_video bottom="1079" left="0" right="1919" top="0"/>
<transform r11="1" r12="0" r13="0" x="1460.2" y="-1909.1" z="1896.5"/>
<intrinsic centerPointU="{950 * 64}" centerPointV="{550 * 64}" focalLengthU="{1500 * 64}"
 focalLengthV="{1480 * 64}" focallength="9.3" radialDistortion1="0.1" radialDistortion2="-0.05"
 radialDistortion3="0.01" tangentalDistortion1="0.001" tangentalDistortion2="0.002"/>
</camera></cameras></calibration>"""


@pytest.mark.parametrize(
    "content", [OPENCV, STORAGE, OUR_CALIBRATION, POSE2SIM, QUALISYS, "npz"], ids=str
)
def test_calibration_files(tmp_path, content):
    path = tmp_path / "camera.json"
    if content == "npz":
        path = path.with_suffix(".npz")
        np.savez(path, mtx=np.array(MATRIX, float), dist=np.array(DISTORTION))
    elif isinstance(content, str):
        path = path.with_suffix(".toml" if content == POSE2SIM else ".txt")
        path.write_text(content)
    else:
        path.write_text(json.dumps(content))
    camera = read_camera(path, (1920, 1080))
    assert camera.focal == (1500, 1480) and camera.centre == (950, 550)
    assert camera.distortion[:4] == pytest.approx(DISTORTION[:4])
    assert camera.distortion[4] == (0 if content == POSE2SIM else pytest.approx(0.01))


def test_a_calibration_of_another_size_is_scaled_or_refused(tmp_path):
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(STORAGE))
    camera = read_camera(path, (960, 540))
    assert camera.focal == (750, 740) and camera.size == (960, 540)
    padded = read_camera(path, (1920, 1088))  # blocks of a codec
    assert padded.focal == (1500, 1480) and padded.size == (1920, 1088)
    with pytest.raises(UserError, match="calibrated for 1920x1080, the recording is 1080x1920"):
        read_camera(path, (1080, 1920))


NOT_CAMERAS = [
    "",
    "[]",
    "7",
    "{}",
    '{"K": 5}',
    '{"K": [[1, 2], [3, 4]]}',
    '{"K": "text"}',
    '{"K": {"rows": 3}}',
    '{"camera_matrix": [[0, 0, 1], [0, 1, 1], [0, 0, 1]]}',
    '{"camera_matrix": [[NaN, 0, 1], [0, 1, 1], [0, 0, 1]]}',
    '{"K": [[9, 0, 1], [0, 9, 1], [0, 0, 1]], "dist": [0, 0, 0, 0, 0, 1]}',
    '{"K": [[9, 0, 1], [0, 9, 1], [0, 0, 1]], "fisheye": true}',
    '{"K": [[9, 0, 1], [0, 9, 1], [0, 0, 1]], "size": [0, 5]}',
    '{"intrinsic": [{"focal_length": [1, 2, 3], "center": [1, 2]}]}',
    '{"intrinsic": [{"focal_length": [1, 2]}]}',
    '{"intrinsic": [1, 2]}',
    '{"a": {"K": 1}, "b": {"K": 2}}',
    "[" * 100_000,
    "<a",
    "<a><camera/></a>",
    "<a><camera><fov_video/><intrinsic/></camera></a>",
    "<a>" * 20_000,
    '<!DOCTYPE a [<!ENTITY b "' + "c" * 1000 + '">]><a>&b;&b;</a>',
]


@pytest.mark.parametrize("text", NOT_CAMERAS, ids=lambda text: text[:40])
@pytest.mark.parametrize("suffix", [".json", ".toml", ".npz"])
def test_what_is_no_calibration_is_refused_in_one_line(tmp_path, text, suffix):
    path = tmp_path / f"camera{suffix}"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_camera(path, (100, 100))
    assert len(str(caught.value)) < 400


# ---- smoothing


@pytest.mark.parametrize("name", SMOOTHERS)
def test_smoothing_takes_noise_away_and_keeps_the_motion(name):
    rng = np.random.default_rng(0)
    time = np.cumsum(rng.uniform(0.5, 1.5, 400)) / FPS
    true = np.stack([np.sin(time * 3), np.cos(time * 2), 0.1 * time], -1)[:, None]
    noisy = true + rng.normal(0, 0.01, true.shape)
    smooth = SMOOTHERS[name](noisy.astype(np.float32), time)
    assert smooth.shape == noisy.shape and smooth.dtype == np.float32
    assert jitter(smooth, time)[0] < 0.5 * jitter(noisy, time)[0]
    assert np.abs(smooth - true).mean() < (0.01 if name == "savgol" else 0.05)
    for short in (1, 2, 3):
        assert np.isfinite(SMOOTHERS[name](noisy[:short], time[:short])).all()


def test_parabolas_pass_unchanged():
    time = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.05, 50))
    values = np.stack([1 + time, 3 * time**2 - time], -1)
    assert np.allclose(SMOOTHERS["savgol"](values, time), values, atol=1e-9)
