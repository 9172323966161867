"""Calibrated videos: the cameras, the triangulated truth and the errors, on made-up views."""

import numpy as np
import pytest
from calibrated_videos import (
    FRAMES_AHEAD,
    H36M_JOINTS,
    MEDIAPIPE_JOINTS,
    demo_folder,
    evaluate,
    swapped_frames,
)
from triangulation import SUBPIXELS, TO_OUR_AXES, CalibratedCamera, read_qualisys, triangulate

from common.errors import UserError

FRAMES = 8


def camera(name: str, *, angle: float, lens: tuple[float, ...] = (-0.05, 0.1, 1e-3, -5e-4)):
    """A camera 4 m from the origin, at a height of 1 m, that looks at the origin."""
    position = np.array([4 * np.cos(angle), 4 * np.sin(angle), 1.0])
    forward = -position / np.linalg.norm(position)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    return CalibratedCamera(
        name=name,
        rotation=np.stack([right, np.cross(forward, right), forward]),
        position=position,
        focal=np.array([1600.0, 1610.0]),
        centre=np.array([530.0, 970.0]),
        distortion=np.array(lens),
    )


CAMERAS = [camera(f"cam0{n}", angle=0.3 + 1.5 * n) for n in range(1, 5)]


def qualisys(cameras) -> str:
    """The calibration file of some cameras."""
    elements = []
    for c in cameras:
        axes = TO_OUR_AXES @ c.rotation
        place = {f"r{i + 1}{j + 1}": axes[i, j] for i in range(3) for j in range(3)}
        place |= dict(zip("xyz", 1000 * c.position, strict=True))
        lens = {
            "focalLengthU": c.focal[0] * SUBPIXELS,
            "focalLengthV": c.focal[1] * SUBPIXELS,
            "centerPointU": c.centre[0] * SUBPIXELS,
            "centerPointV": c.centre[1] * SUBPIXELS,
            "radialDistortion1": c.distortion[0],
            "radialDistortion2": c.distortion[1],
            "tangentalDistortion1": c.distortion[2],
            "tangentalDistortion2": c.distortion[3],
        }
        tags = [
            f"<{tag} " + " ".join(f'{k}="{v!r}"' for k, v in values.items()) + "/>"
            for tag, values in (
                ("transform", {k: float(v) for k, v in place.items()}),
                ("intrinsic", {k: float(v) for k, v in lens.items()}),
            )
        ]
        elements.append(f'<camera serial="{c.name}">{"".join(tags)}</camera>')
    return f"<calibration><cameras>{''.join(elements)}</cameras></calibration>"


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    body = rng.normal(scale=0.4, size=(12, 3))
    walk = np.cumsum(rng.normal(scale=0.05, size=(FRAMES + 3, 1, 3)), axis=0)
    return body + walk + rng.normal(scale=0.02, size=(FRAMES + 3, 12, 3))


def test_a_calibration_file_is_read_back(tmp_path):
    (tmp_path / "Calib.qca.txt").write_text(qualisys(CAMERAS))
    for found, expected in zip(read_qualisys(tmp_path / "Calib.qca.txt"), CAMERAS, strict=True):
        assert found.name == expected.name
        for field in ("rotation", "position", "focal", "centre", "distortion"):
            np.testing.assert_allclose(getattr(found, field), getattr(expected, field), atol=1e-9)


def test_undistorting_undoes_the_lens(points):
    for view in CAMERAS:
        in_camera = view.to_camera(points)
        rays = in_camera[..., :2] / in_camera[..., 2:]
        np.testing.assert_allclose(view.undistort(view.project(points)), rays, atol=1e-9)
        assert np.abs(view.distort(rays) - rays).max() > 1e-4  # the lens does something


def test_the_centre_of_the_view_is_the_principal_point():
    view = CAMERAS[0]
    np.testing.assert_allclose(view.project(np.zeros(3)), view.centre, atol=1e-9)
    above = view.project(np.array([0.0, 0.0, 0.3]))
    assert above[1] < view.centre[1]  # y points down


@pytest.mark.parametrize("left_out", [None, 0, 3])
def test_points_are_found_from_their_views(points, left_out):
    pixels = np.stack([view.project(points) for view in CAMERAS])
    weights = np.ones(pixels.shape[:-1])
    if left_out is not None:
        pixels[left_out], weights[left_out] = np.nan, 0
    np.testing.assert_allclose(triangulate(CAMERAS, pixels, weights), points, atol=1e-6)


def test_a_view_that_confuses_the_sides_does_not_move_the_truth(points):
    pixels = np.stack([view.project(points) for view in CAMERAS])
    order = np.arange(12).reshape(6, 2)[:, ::-1].ravel()
    pixels[1] = pixels[1][:, order]
    found = triangulate(CAMERAS, pixels, np.ones(pixels.shape[:-1]))
    assert np.median(np.linalg.norm(found - points, axis=-1)) < 0.005
    assert swapped_frames(pixels[1], CAMERAS[1].project(found)).all()
    assert not swapped_frames(pixels[0], CAMERAS[0].project(found)).any()


@pytest.fixture
def demo(tmp_path, points):
    """A folder like the package's, with detections whose own 3D is a turned, scaled truth."""
    (tmp_path / "Demo_SinglePerson" / "calibration").mkdir(parents=True)
    calibration = tmp_path / "Demo_SinglePerson" / "calibration" / "Calib.qca.txt"
    calibration.write_text(qualisys(CAMERAS))
    for view in CAMERAS:
        # A camera that is ahead began later: its frame 0 shows what the others' frame -3 did.
        start = 3 - FRAMES_AHEAD.get(view.name, 0)
        seen = points[start : start + FRAMES]
        keypoints = np.full((FRAMES, 33, 3), 0.9)
        keypoints[:, MEDIAPIPE_JOINTS, :2] = view.project(seen)
        world = np.zeros((FRAMES, 33, 3))
        world[:, MEDIAPIPE_JOINTS] = 1.3 * view.to_camera(seen)
        np.savez(tmp_path / f"{view.name}.npz", keypoints=keypoints, world_landmarks=world)
    return tmp_path


def test_own_3d_and_predictions_are_scored_at_the_right_frames(demo, points):
    poses = np.zeros((FRAMES, 17, 3), np.float32)
    poses[:, H36M_JOINTS] = CAMERAS[2].to_camera(points[:FRAMES])  # cam03 is three frames ahead
    poses[0] = np.nan
    (demo / "predictions" / "cam03").mkdir(parents=True)
    np.savez(demo / "predictions" / "cam03" / "poses.npz", poses_3d=poses)
    results = evaluate(demo_folder(demo), demo, demo / "predictions").results()
    for name, values in results.items():
        assert values["own_2"] < 0.01 < values["own_1"]  # only the scale is wrong
        assert values["swapped"] == 0
        assert values["frames"] == FRAMES - FRAMES_AHEAD.get(name, 0)
        assert np.isnan(values["protocol_2"]) == (name != "cam03")
    assert results["cam03"]["protocol_1"] < 0.01
    assert results["cam03"]["protocol_2"] < 0.01


def test_a_known_error_is_measured(demo, points):
    poses = np.zeros((FRAMES, 17, 3), np.float32)
    poses[:, H36M_JOINTS] = CAMERAS[0].to_camera(points[3 : 3 + FRAMES])
    poses[:, H36M_JOINTS[0], 0] += 0.12  # one of twelve joints
    (demo / "cam01").mkdir()
    np.savez(demo / "cam01" / "poses.npz", poses_3d=poses)
    (row,) = (r for r in evaluate(demo_folder(demo), demo, demo).rows if r.name == "cam01")
    assert row.values["protocol_1"] == pytest.approx(10, abs=0.01)
    assert 0 < row.values["protocol_2"] <= 20


def test_other_files_are_named(demo):
    np.savez(demo / "cam02.npz", keypoints=np.zeros((FRAMES, 17, 3)))
    with pytest.raises(UserError, match="cam02.npz.*33"):
        evaluate(demo_folder(demo), demo, None)
    with pytest.raises(UserError, match="no Demo_SinglePerson"):
        demo_folder(demo / "cam01")
