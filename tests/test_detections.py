"""2D joints that were not detected: told apart, interpolated or left out, and said."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from paths import SAMPLE
from preparing import run_here

from common.data import amass, h36m, mpi_inf_3dhp
from common.data.base import DataOptions
from common.data.detections import Detections, interpolate
from common.data.inspect import check, not_detected, read_clips, summary_lines
from common.data.layouts import COCO
from common.data.npz import load_npz
from common.data.skeleton import H36M_16, H36M_17
from common.data.windowed_poses import WindowedPoses
from common.data.windows import WindowRule
from common.errors import UserError
from common.evaluation.lifting import lifting_table, score
from dataset import make_custom

# A place in the arrays -> what a detector writes there for a joint that it did not find.
MARKS = {
    "both nan": lambda xyc, place: xyc[..., :2].__setitem__(place, np.nan),
    "one nan": lambda xyc, place: xyc[..., 1].__setitem__(place, np.nan),
    "0 0": lambda xyc, place: xyc[..., :2].__setitem__(place, 0),
    "confidence 0": lambda xyc, place: xyc[..., 2].__setitem__(place, 0),
    "confidence nan": lambda xyc, place: xyc[..., 2].__setitem__(place, np.nan),
}


@pytest.mark.parametrize("mark", MARKS)
def test_every_way_to_say_not_found(mark):
    poses = np.random.default_rng(0).uniform(1, 900, (9, 4, 3))
    expected = np.random.default_rng(1).uniform(size=(9, 4)) < 0.6
    MARKS[mark](poses, ~expected)
    found = Detections.of(poses)
    np.testing.assert_array_equal(found.seen, expected)
    np.testing.assert_array_equal(found.missing, ~expected)
    np.testing.assert_array_equal(found.xy[expected], poses[expected][:, :2])
    assert (found.confidence[~expected] == 0).all() and (found.confidence[expected] > 0).all()
    assert found.missing_share == pytest.approx((~expected).mean())


def test_half_a_zero_is_a_place_and_normalised_zero_the_centre():
    poses = np.array([[[0.0, 5.0], [5.0, 0.0], [0.0, 0.0]]])
    assert Detections.of(poses).seen.tolist() == [[True, True, False]]
    assert Detections.of(poses, zero_is_missing=False).seen.all()


@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.integers(0, 12),
    st.integers(0, 2**32 - 1),
)
def test_gaps_are_filled_linearly_up_to_their_limit(seen, max_gap, seed):
    length = len(seen)
    straight = np.random.default_rng(seed).normal(0, 50, (2, 2))
    poses = 500 + np.arange(length)[:, None] * straight[0] + straight[1]  # (L, 2), a straight path
    poses[~np.array(seen)] = np.nan
    filled = interpolate(Detections.of(poses[:, None]), max_gap=max_gap).xy[:, 0]
    for frame in range(length):
        before = [f for f in range(frame) if seen[f]]
        after = [f for f in range(frame, length) if seen[f]]
        gap = (after[0] if after else length) - (before[-1] if before else -1) - 1
        if seen[frame]:
            expected = poses[frame]
        elif gap > max_gap or not any(seen):
            expected = np.full(2, np.nan)
        elif before and after:
            expected = 500 + frame * straight[0] + straight[1]
        else:
            expected = poses[(before[-1:] or after[:1])[0]]
        np.testing.assert_allclose(filled[frame], expected, atol=1e-6)


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.2)), min_size=2, max_size=40),
    st.floats(0.01, 1.0),
)
def test_gaps_are_measured_and_filled_in_time(frames, max_gap):
    seen = np.array([one for one, _ in frames])
    time = np.cumsum([step for _, step in frames])
    poses = np.outer(time, [3.0, -2.0]) + 500  # moves evenly in time, not by frames
    poses[~seen] = np.nan
    found = Detections.of(poses[:, None])
    filled = interpolate(found, max_gap=max_gap, time=time).xy[:, 0]
    usual = np.median(np.diff(time))
    for frame in np.flatnonzero(~seen):
        before, after = np.flatnonzero(seen[:frame]), np.flatnonzero(seen[frame:]) + frame
        if len(before) and len(after):
            lasts = time[after[0]] - time[before[-1]] - usual
            expected = np.outer(time[frame], [3.0, -2.0])[0] + 500
        elif seen.any():
            edge = before[-1] if len(before) else after[0]
            lasts = time[-1] - time[edge] if len(before) else time[edge] - time[0]
            expected = poses[edge]
        else:
            lasts = np.inf
        if abs(lasts - max_gap) > 1e-6:  # beside the limit, rounding decides
            expected = expected if lasts < max_gap else np.full(2, np.nan)
            np.testing.assert_allclose(filled[frame], expected, atol=1e-6)


def test_a_joint_derived_from_a_missing_one_is_missing():
    poses = np.random.default_rng(2).uniform(1, 900, (5, 17, 3))
    poses[2, 11, 2] = 0  # the left hip: of the hip, the left hip and the spine
    ours = Detections.of(poses).converted(COCO.to_ours)
    assert np.argwhere(~ours.seen).tolist() == [[2, 0], [2, 4], [2, 7]]
    assert np.argwhere(ours.missing).tolist() == [[2, 0], [2, 4], [2, 7]]
    assert len(ours.complete()) == 4


def test_a_derived_joint_is_as_sure_as_the_least_sure_that_it_is_made_of():
    poses = np.random.default_rng(2).uniform(1, 900, (3, 17, 2))
    confidence = np.random.default_rng(3).uniform(0.2, 1, (3, 17, 1))
    confidence[:, 3] = 1.0  # the left ear is surer than the shoulders, and lies beyond them
    confidence[1, 4] = 0  # without the right ear the head is made of the left one
    ours = Detections.of(np.concatenate([poses, confidence], axis=-1)).converted(COCO.to_ours)
    assert ours.seen.all()
    for frame, ears in enumerate(([3, 4], [3], [3, 4])):
        least = confidence[frame, [*ears, 5, 6], 0].min()
        assert ours.confidence[frame, 10] == pytest.approx(least)


# ---- the loaders


class Folder:
    """A data folder with a copy of a subject's sequences, to be changed."""

    def __init__(self, path):
        self.path = path
        self.world = load_npz(SAMPLE / "data_3d_h36m.npz")["positions_3d"]["S9"]["Dancing"]
        views = load_npz(SAMPLE / "data_2d_h36m_gt.npz")["positions_2d"]["S9"]["Dancing"]
        self.views = [np.dstack([view, np.ones_like(view[..., 0])]) for view in views]

    def store(self, skeleton=H36M_17, fps=None, **words):
        metadata = {"layout_name": "h36m", "fps": fps}
        np.savez(self.path / "data_3d_h36m.npz", positions_3d={"S9": {"Dancing": self.world}})
        np.savez(
            self.path / "data_2d_h36m_gt.npz",
            positions_2d={"S9": {"Dancing": self.views}},
            metadata=metadata,
        )
        return h36m.H36MFiles.read(self.path, "gt").store(["S9"], skeleton, **words)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.mark.parametrize("mark", MARKS)
def test_gaps_of_a_loaded_sequence(folder, caplog, mark):
    whole = folder.store()
    assert whole.counted is None and whole.undetected is None and not caplog.records
    MARKS[mark](folder.views[1], (slice(100, 125), 13))  # 0.5 s at 50 frames/s: interpolated
    MARKS[mark](folder.views[2], (slice(200, 226), 4))  # longer: left out
    with caplog.at_level("INFO"):
        store = folder.store()
    assert (
        "joints not detected in 2 of 4 sequences: S9 Dancing camera 2 (0.40%), S9 Dancing camera 1 "
        "(0.39%); gaps of at most 0.5 s are interpolated, 26 frames with longer ones" in caplog.text
    )
    left_out = torch.arange(2 * 380 + 200, 2 * 380 + 226)
    assert store.undetected.nonzero().flatten().tolist() == left_out.tolist()
    assert torch.equal(store.counted, ~store.undetected)
    assert store.pose_2d.isfinite().all()
    change = (store.pose_2d - whole.pose_2d).abs().amax((1, 2))
    assert change.max() < 0.3  # no pose with a joint in the corner of the image, which is at -1
    for start in (380 + 100, 2 * 380 + 200):
        assert change[start : start + 25].max() > 0
        change[start : start + 26] = 0
    assert not change.any()
    torch.testing.assert_close(store.pose_3d, whole.pose_3d)
    for place in (slice(479, 506), slice(959, 987)):  # straight from the last seen to the next
        joint = store.pose_2d[place, 13 if place.start < 700 else 4]
        assert joint.diff(n=2, dim=0).abs()[:24].max() < 1e-5


def test_the_gap_is_in_seconds_of_the_file(folder):
    folder.views[0][50:75, 3, 2] = 0
    assert folder.store(max_gap=0.5).undetected is None
    assert int(folder.store(max_gap=0.49).undetected.sum()) == 25
    assert int(folder.store(max_gap=0).undetected.sum()) == 25
    assert int(folder.store(fps=25.0, max_gap=0.5).undetected.sum()) == 25
    assert folder.store(fps=25.0, max_gap=1).undetected is None
    with pytest.raises(UserError, match="'fps' of its metadata is 0; 1 to 1000 frames/s"):
        folder.store(fps=0)


def test_a_joint_that_is_not_used_may_be_missing(folder):
    folder.views[3][:, 9] = 0
    assert folder.store(H36M_16).undetected is None
    assert int(folder.store(H36M_17).undetected.sum()) == 380


def test_nothing_detected_at_all(folder):
    for view in folder.views:
        view[:, 5] = np.nan
    with pytest.raises(UserError, match="no frame in which all joints are detected"):
        folder.store()


def test_no_window_has_a_missing_target_and_the_table_says_so(folder):
    folder.views[2][200:226, 4] = 0
    store = folder.store()
    windows = WindowedPoses([(store, WindowRule(9, mirror=True))])
    assert len(windows) == 2 * (4 * 380 - 26)
    targets = torch.cat([w.targets for _, w in windows.windows(torch.arange(len(windows))).parts])
    assert not store.undetected[targets].any()
    frames = store.counted.nonzero().flatten()
    rule = h36m.DATA_SET.table
    scores = score(store.pose_3d[frames], frames, store, rule.metrics)
    table = lifting_table(scores, store, rule)
    line = "2D joints not detected (--max_gap), left out: Dancing (26 frames)"
    assert line in table.lines()
    assert table.rows[0].values["frames"] == 4 * 380 - 26
    assert table.results()["frames_left_out"] == {"Dancing": 26}


def test_mpi_inf_3dhp_and_amass(tmp_path):
    held = load_npz(SAMPLE / "data_test_3dhp.npz")["data"]["TS1"]
    entry = {key: np.array(array) for key, array in held.items()}
    entry["data_2d"][50:70, 7] = 0  # 20 frames are 0.8 s at 25 frames/s
    entry["valid"][:] = np.arange(len(entry["valid"])) < 60
    np.savez(tmp_path / mpi_inf_3dhp.TEST_FILE, data={"TS1": entry})
    options = DataOptions(tmp_path, num_joints=16, train=False, test=True)
    store = mpi_inf_3dhp.load(options).test
    assert store.undetected.nonzero().flatten().tolist() == list(range(50, 60))  # valid ones only
    assert not store.counted[50:].any() and store.pose_2d.isfinite().all()

    walk = dict(next(iter(load_npz(SAMPLE / "amass.npz")["poses"].values())))
    walk["pose2d"] = np.array(walk["pose2d"])
    walk["pose2d"][10:12, 3] = np.nan
    walk["pose2d"][100, 5] = 0  # normalised: the centre of the image
    np.savez(tmp_path / amass.FILE, poses={"walk": walk})
    store = amass.load(DataOptions(tmp_path, num_joints=16, train=True, test=False)).train
    assert store.undetected is None and not store.pose_2d[100, 5].any()
    expected = torch.from_numpy(walk["pose2d"][[9, 12], 3])
    torch.testing.assert_close(store.pose_2d[10, 3], torch.lerp(expected[0], expected[1], 1 / 3))


def test_make_custom_keeps_what_is_missing(tmp_path, monkeypatch, caplog):
    rng = np.random.default_rng(3)
    keypoints = np.dstack([rng.uniform(1, 480, (20, 17, 2)), rng.uniform(0.1, 1, (20, 17))])
    keypoints[3, 4] = 0
    keypoints[5:, 6, 2] = 0
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "a_run.npz", keypoints=keypoints)
    np.savez(tmp_path / "in" / "a_sit.npz", keypoints=keypoints[..., :2])
    words = "--width 640 --height 480 --fps 30 --name mine".split()
    with caplog.at_level("INFO"):
        run_here(monkeypatch, make_custom, tmp_path / "in", *words, "--output", tmp_path / "out")
    assert (
        "joints not detected in 2 sequences, NaN in the file: a run (4.71%), a sit (0.29%)"
        in caplog.text
    )
    content = load_npz(tmp_path / "out" / "data_2d_h36m_mine.npz")
    assert content["metadata"]["fps"] == 30
    (run,), (sit,) = content["positions_2d"]["a"]["run"], content["positions_2d"]["a"]["sit"]
    assert run.shape == (20, 17, 3) and sit.shape == (20, 17, 2)
    missing = np.zeros((20, 17), bool)
    missing[3, 4] = missing[5:, 6] = True
    np.testing.assert_array_equal(np.isnan(run[..., 0]), missing)
    np.testing.assert_array_equal(run[..., 2] == 0, missing)
    np.testing.assert_allclose(run[..., 2][~missing], keypoints[..., 2][~missing], rtol=1e-6)
    assert np.argwhere(np.isnan(sit[..., 0])).tolist() == [[3, 4]]


def test_inspect_reports_the_share(folder):
    folder.views[1][:38, 2, 2] = 0
    folder.store()
    _, clips = read_clips(folder.path / "data_2d_h36m_gt.npz")
    notes = [note for clip in clips for note in not_detected(clip)]
    assert notes == ["S9 Dancing camera 1: 0.59% of the 2D joints not detected"]
    assert not [problem for clip in clips for problem in check(clip)]
    assert summary_lines(clips)[1].split()[:6] == ["S9", "4", "1520", "380", "50", "17"]
