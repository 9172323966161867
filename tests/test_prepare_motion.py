"""dataset/prepare_motion.py: cameras, bodies, errors of detectors, and the files it writes."""

import numpy as np
import pytest
import torch
from motions import bone_lengths
from paths import SAMPLE
from preparing import run_here

from common.data.base import DataOptions
from common.data.camera import NORMALISATIONS, load_cameras, project
from common.data.h36m import load
from common.data.npz import load_npz
from common.data.skeleton import H36M_17, H36M_32_TO_17
from common.errors import UserError
from dataset import prepare_motion
from dataset.body_shapes import vary_body
from dataset.detector_noise import BODY, HIPS, MEDIAPIPE, detect, drifting, shifted
from dataset.motion_clips import MotionClip, read_npz_clips
from dataset.virtual_cameras import (
    CameraRanges,
    draw_camera,
    project_pixels,
    quaternion,
    share_inside,
)


@pytest.fixture(scope="module")
def motion():
    """(300, 17, 3) of a walk in the sample, world metres."""
    actions = load_npz(SAMPLE / "data_3d_h36m.npz")["positions_3d"]["S9"]
    poses = next(iter(actions.values()))[:300, list(H36M_32_TO_17)]
    return np.ascontiguousarray(poses, dtype=np.float32)


@pytest.fixture
def clips(tmp_path, motion):
    """A file of three people: plain arrays and a packed clip."""
    root = motion[:, 0]
    packed = np.round((motion - root[:, None]) * 4096).astype(np.int16)
    path = tmp_path / "clips.npz"
    np.savez(
        path,
        **{"lab/01_01": motion, "lab/01_02": motion[:120], "lab/02_01": motion},
        **{"walk|root": root, "walk|rel": packed},
    )
    return path


def prepare(monkeypatch, clips, folder, *words):
    arguments = ("--cameras", 2, "--bodies", 2, "--test_cameras", 1, "--part_seconds", 3)
    run_here(monkeypatch, prepare_motion, clips, "--output", folder, *arguments, *words)
    return folder


def test_packed_and_plain_clips_are_the_same_motion(clips, motion):
    read = {clip.name: clip for clip in read_npz_clips(clips)}
    assert [*read] == ["lab/01_01", "lab/01_02", "lab/02_01", "walk"]
    assert [clip.person for clip in read.values()] == ["lab/01", "lab/01", "lab/02", "walk"]
    np.testing.assert_array_equal(read["lab/01_01"].poses, motion)
    assert np.abs(read["walk"].poses - motion).max() < 0.6 / 4096


def test_files_hold_what_their_cameras_see(clips, tmp_path, monkeypatch):
    held_out = tmp_path / "held_out.txt"
    held_out.write_text("# comment\nlab/02_*\n")
    folder = prepare(monkeypatch, clips, tmp_path / "out", "--held_out", held_out)
    for how in NORMALISATIONS:
        options = DataOptions(folder, 17, True, True, keypoints="gt", normalisation=how)
        stores = load(options)
        assert {name.subject for name in stores.test.names} == {"lab-02"}
        assert {name.subject for name in stores.train.names} == {"lab-01", "walk"}
        store = stores.train
        absolute = store.pose_3d + store.root_3d[:, None]
        cameras = store.cameras[store.sequences_of(torch.arange(store.num_frames))]
        # A wide-angle view has more than 45 degrees, where `project` limits the angle.
        narrow = (absolute[..., :2] / absolute[..., 2:]).abs().amax(-1) < 1
        screen = project(absolute, cameras)
        torch.testing.assert_close(screen[narrow], store.pose_2d[narrow], atol=1e-4, rtol=0)
        assert narrow.float().mean() > 0.9
    lengths = {name: end - start for name, start, end in sequences(stores.train)}
    # 300 frames are two parts of 3 seconds, by two bodies, seen by two cameras.
    assert sum(length == 150 for length in lengths.values()) == 2 * 2 * 2 * 2
    assert stores.test.num_frames == 300


def sequences(store):
    bounds = store.offsets.tolist()
    return [(str(n), a, b) for n, a, b in zip(store.names, bounds[:-1], bounds[1:], strict=True)]


def test_detections_are_near_the_joints_and_have_confidences(clips, tmp_path, monkeypatch):
    folder = prepare(monkeypatch, clips, tmp_path / "out")
    exact, found = (
        load_npz(folder / f"data_2d_h36m_{k}.npz")["positions_2d"] for k in ("gt", "det")
    )
    errors, sizes = [], []
    for subject, actions in exact.items():
        for action, views in actions.items():
            for view, detected in zip(views, found[subject][action], strict=True):
                assert detected.shape == (len(view), 17, 3)
                assert 0 < detected[..., 2].min() and detected[..., 2].max() <= 1
                errors.append(np.median(np.linalg.norm(detected[..., :2] - view, axis=-1)))
                sizes.append(np.linalg.norm(np.ptp(view, axis=1), axis=-1).mean())
    relative = np.array(errors) / np.array(sizes)
    assert 0.005 < np.median(relative) < 0.03  # of a body of 1.8 m: 9 to 54 mm


def test_equal_seeds_give_equal_files(clips, tmp_path, monkeypatch):
    folders = [
        prepare(monkeypatch, clips, tmp_path / name, "--seed", seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    contents = [
        [(folder / name).read_bytes() for name in prepare_motion.FILES] for folder in folders
    ]
    assert contents[0] == contents[1]
    assert contents[0][2] != contents[2][2]


def test_cameras_see_the_body_upright_and_from_many_sides(motion):
    ranges = CameraRanges()
    rng = np.random.default_rng(0)
    views = [draw_camera(motion, 0.0, rng, ranges) for _ in range(100)]
    assert np.mean([share_inside(motion, view) >= ranges.inside for view in views]) > 0.95
    heads_above = [
        (project_pixels(motion, view)[:, 10, 1] < project_pixels(motion, view)[:, 3, 1]).mean()
        for view in views
    ]
    assert np.mean(heads_above) > 0.95
    assert {view.width > view.height for view in views} == {True, False}
    focal = np.array([float(view.intrinsics[0]) / 2 for view in views])
    assert ranges.focal[0] <= focal.min() < 1 < 2 < focal.max() <= ranges.focal[1]
    depth = [view.from_world(torch.from_numpy(motion))[..., 2].min() for view in views]
    assert min(depth) > 0.3


def test_quaternions_turn_as_their_matrices():
    for seed in range(20):
        matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
        matrix *= np.sign(np.linalg.det(matrix))
        w, x, y, z = quaternion(matrix)
        vector = np.array([0.3, -1.2, 0.7])
        cross = 2 * np.cross([x, y, z], vector)
        turned = vector + w * cross + np.cross([x, y, z], cross)
        np.testing.assert_allclose(turned, matrix @ vector, atol=1e-12)


def test_other_bodies_are_rigid_symmetric_and_stand_on_the_floor(motion):
    varied = vary_body(motion, np.random.default_rng(4))
    ratio = bone_lengths(varied) / bone_lengths(motion)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-3)
    left, right = (np.array(side) - 1 for side in (H36M_17.left, H36M_17.right))
    np.testing.assert_allclose(ratio[0, left], ratio[0, right], rtol=1e-3)
    assert np.ptp(ratio[0]) > 0.05
    assert varied[..., 2].min() == pytest.approx(motion[..., 2].min(), abs=1e-5)


def test_other_bodies_also_move_differently_if_asked(clips, tmp_path, monkeypatch):
    plain, varied = (
        prepare(monkeypatch, clips, tmp_path / words[-1], *words)
        for words in (("--varied", "0"), ("--varied", "1"))
    )
    plain, varied = (
        load_npz(folder / "data_3d_h36m.npz")["positions_3d"]["lab-01"]
        for folder in (plain, varied)
    )
    np.testing.assert_array_equal(varied["01_01 0"], plain["01_01 0"])
    other, same = varied["01_01 0 1"], plain["01_01 0 1"]
    np.testing.assert_allclose(bone_lengths(other[:1]), bone_lengths(same[:1]), atol=1e-5)
    assert np.linalg.norm(other - same, axis=-1).mean() > 0.002  # metres


def test_an_error_of_the_focal_length_leaves_people_in_the_image(motion):
    rng = np.random.default_rng(0)
    for factor in (0.7, 1.0, 1.1, 2.0, 5.0):
        view = draw_camera(motion, 0.0, rng, CameraRanges(fill=(0.9, 1.0)))
        pixels, middle = project_pixels(motion, view), np.array([view.width, view.height]) / 2
        found = prepare_motion.zoomed(pixels, view, factor)
        applied = np.median((found - middle) / (pixels - middle))
        assert min(abs(applied - factor), abs(applied - 1 / factor)) < 1e-3
        inside = ((found >= 0) & (found <= 2 * middle)).all(-1).mean()
        assert inside >= min(prepare_motion.LEAST_INSIDE, share_inside(motion, view))


def test_swaps_exchange_sides_and_derived_joints_lie_between(motion):
    rng = np.random.default_rng(0)
    pixels = motion[..., [0, 2]] * 100 + 500
    quiet = np.zeros(17)
    model = type(MEDIAPIPE)(quiet, quiet, quiet, hidden_rate=0.0, swap_rates=(0, 0, 1.0))
    found = detect(pixels, np.full(len(pixels), 100.0), (2000, 2000), rng, model)[..., :2]
    mirrored = pixels[:, list(H36M_17.mirror_order)]
    swapped = np.abs(found - mirrored).max((1, 2)) < 1e-3
    plain = np.abs(found - pixels).max((1, 2)) < 1e-3
    assert (swapped ^ plain).all() and 0.1 < swapped.mean() < 0.9
    assert len(BODY[0]) == 6
    always = type(MEDIAPIPE)(quiet, quiet, quiet, derived=1.0)
    points = shifted(motion, always, rng)
    np.testing.assert_allclose(points[:, 0], points[:, list(HIPS)].mean(1), atol=1e-6)


def test_drift_has_the_correlation_asked_for():
    noise = drifting(20000, 0.9, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=0.05)
    assert (noise[1:] * noise[:-1]).mean() == pytest.approx(0.9, abs=0.03)


def wrong_clips(motion):
    return {
        "joints": motion[:, :16],
        "no frames": motion[:0],
        "millimetres": motion * 1000,
        "one |root": {"a|root": motion[:, 0]},
        "one |rel": {"a|rel": motion.astype(np.int16), "b_1": motion},
        "another part": {"a|feet": motion[:, 0], "b_1": motion},
    }


@pytest.mark.parametrize(
    "kind", ["joints", "no frames", "millimetres", "one |root", "one |rel", "another part"]
)
def test_what_is_no_motion_is_refused(kind, motion, tmp_path, monkeypatch):
    content = wrong_clips(motion)[kind]
    np.savez(tmp_path / "x.npz", **(content if isinstance(content, dict) else {"a_1": content}))
    with pytest.raises(UserError, match=r"x\.npz: a"):
        prepare(monkeypatch, tmp_path / "x.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["nobody\n", "*\n"])
def test_held_out_lists_that_make_no_sense_are_refused(text, clips, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError, match=r"list\.txt"):
        prepare(monkeypatch, clips, tmp_path / "out", "--held_out", tmp_path / "list.txt")


def test_people_whose_names_become_one_are_refused(motion, tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", **{"lab/a": motion, "lab-a": motion})
    with pytest.raises(UserError, match="'lab-a' and 'lab/a' would both be 'lab-a'"):
        prepare(monkeypatch, tmp_path / "x.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cameras_of_a_sequence_take_precedence(clips, tmp_path, monkeypatch):
    folder = prepare(monkeypatch, clips, tmp_path / "out")
    cameras = load_cameras(folder)
    assert not cameras.by_subject
    views = cameras.of("lab-01", "01_01 0")
    assert len(views) == 2 and views[0].width > 0
    assert cameras.of("lab-01", "unknown") == []


def test_people_are_told_by_takes():
    poses = np.zeros((1, 17, 3), np.float32)
    names = {"cmu/02_01": "cmu/02", "a/walking_50": "a/walking_50", "walk": "walk"}
    assert {name: MotionClip(name, poses).person for name in names} == names
