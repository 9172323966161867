"""Who is who from frame to frame, where the file does not say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keypoint_files import BY_NAME, alphapose, in_order, person

from common.errors import UserError
from common.keypoints.people import choose
from common.keypoints.reading import ReadOptions, read_recording
from common.keypoints.tracks import match_tracks, told_tracks

STANDING = person(1)[0] - person(1)[0, 0]  # (17, 2) around the hip, about 300 pixels tall


def walk(start, speed, length=60, size=1.0):
    """(L, 17, 2) of a body that is carried along at so many pixels per frame."""
    centre = np.array(start) + np.arange(length)[:, None] * np.array(speed)
    return STANDING * size + centre[:, None]


def shuffled(people, rng, lost=()):
    """Flat poses of several people, in an order that says nothing; who they are."""
    rows = [
        (frame, who, pose)
        for who, poses in enumerate(people)
        for frame, pose in enumerate(poses)
        if (who, frame) not in lost
    ]
    rng.shuffle(rows)
    frame, who, poses = zip(*rows, strict=True)
    return np.array(frame), np.array(who), np.array(poses)


def same_people(tracks, who):
    """Whether every track is one person, and every person one track."""
    return len(set(zip(tracks, who, strict=True))) == len(set(who)) == len(set(tracks))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.floats(0, 4))
@settings(deadline=None, max_examples=30)
def test_people_side_by_side_are_told_apart(seed, count, jitter):
    rng = np.random.default_rng(seed)
    people = [
        walk((300 * n, rng.uniform(0, 50)), rng.uniform(-2, 2, 2), size=rng.uniform(0.5, 1))
        for n in range(count)
    ]
    people = [p + rng.normal(scale=jitter, size=p.shape) for p in people]
    frame, who, poses = shuffled(people, rng)
    assert same_people(match_tracks(frame, poses, max_gap=10), who)


def test_people_who_cross_and_hide_each_other():
    """They meet at frame 30; the one behind is not seen for nine frames."""
    left, right = walk((0, 500), (10, 0)), walk((600, 520), (-10, 0), size=0.8)
    lost = {(1, frame) for frame in range(26, 35)}
    frame, who, poses = shuffled([left, right], np.random.default_rng(0), lost)
    assert same_people(match_tracks(frame, poses, max_gap=30), who)


def test_a_gap_is_bridged_up_to_a_limit():
    lost = {(0, frame) for frame in range(20, 30)}
    frame, who, poses = shuffled([walk((0, 0), (3, 0))], np.random.default_rng(0), lost)
    assert len(set(match_tracks(frame, poses, max_gap=11))) == 1
    assert len(set(match_tracks(frame, poses, max_gap=10))) == 2


def test_someone_else_at_another_place_is_a_new_person():
    away = np.concatenate([walk((0, 0), (1, 0), 20), walk((900, 300), (1, 0), 20)])
    tracks = match_tracks(np.arange(40), away, max_gap=30)
    assert (tracks == np.repeat([0, 1], 20)).all()


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_missing_joints_do_not_lose_a_person_who_was_seen_whole(seed):
    rng = np.random.default_rng(seed)
    frame, who, poses = shuffled([walk((0, 0), (4, 1)), walk((250, 0), (4, 1))], rng)
    lost = (rng.uniform(size=poses.shape[:2]) < 0.5) & (frame > 0)[:, None]
    poses[lost] = np.nan
    poses[(~np.isnan(poses).any(-1)).sum(1) < 5] = np.nan  # hardly seen, that is not at all
    seen = ~np.isnan(poses).all((1, 2))
    assert same_people(match_tracks(frame[seen], poses[seen], max_gap=30), who[seen])


def test_scale_does_not_matter():
    """Tiny people move few pixels, large ones many: the body is the measure."""
    rng = np.random.default_rng(0)
    frame, who, poses = shuffled([walk((0, 0), (8, 0)), walk((400, 0), (-8, 0))], rng)
    big = match_tracks(frame, poses * 20, max_gap=30)
    np.testing.assert_array_equal(match_tracks(frame, poses / 20, max_gap=30), big)


@pytest.mark.parametrize(
    ("frames", "ids", "tracks"),
    [
        ([0, 0, 1, 1], ["5", "8", "8", "5"], [0, 1, 1, 0]),
        ([0, 1, 2], ["1", "1", "1"], [0, 0, 0]),
        ([0, 0, 1, 1], ["0", "0", "0", "0"], None),
        ([0, 1], ["0", "0"], None),
        ([0, 0, 1], ["3", "3", "3"], None),
        ([0, 1], ["3", None], None),
    ],
)
def test_which_ids_are_tracks(frames, ids, tracks):
    told = told_tracks(np.array(frames), ids)
    assert (None if told is None else told.tolist()) == tracks


def test_the_one_seen_longest_and_largest_comes_first(tmp_path, caplog):
    caplog.set_level("INFO", "mpm")
    small, large = walk((100, 300), (0, 0), size=0.4), walk((500, 400), (0, 0), 50)
    brief = walk((900, 400), (0, 0), 3)
    coco = [in_order("coco_17", p) for p in (small, brief, large)]
    path = alphapose(tmp_path / "a.json", coco)
    recording = read_recording(path, ReadOptions(size=(1200, 900), fps=30.0))
    seen = [int((p.confidence > 0).any(1).sum()) for p in recording.people]
    assert seen == [50, 60]  # the third was there for a tenth of a second
    assert "3 poses here and there are taken for no person" in caplog.text
    chosen = choose(recording)
    assert [p.name for p in chosen.people] == ["1"]
    assert "person 1 of 2 is taken, seen longest and largest (in 50 of 60 frames)" in caplog.text


def test_several_people_need_scipy_and_it_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.optimize", None)
    frame, _, poses = shuffled(
        [walk((0, 0), (1, 0)), walk((400, 0), (1, 0))], np.random.default_rng(0)
    )
    with pytest.raises(UserError, match="telling several people apart needs scipy: pip install"):
        match_tracks(frame, poses, max_gap=5)
    alone = walk((0, 0), (1, 0))
    assert (match_tracks(np.arange(60), alone, max_gap=5) == 0).all()


def test_sides_that_a_detector_exchanged_are_put_right(tmp_path, caplog):
    caplog.set_level("INFO", "mpm")
    truth = in_order("coco_17", person(60))
    wrong = truth.copy()
    wrong[20:35] = wrong[20:35][:, list(BY_NAME["coco_17"].skeleton.mirror_order)]
    size = {"size": (1000, 1002), "fps": 50.0}
    right = read_recording(alphapose(tmp_path / "a.json", [truth]), ReadOptions(**size))
    assert "taken for each other" not in caplog.text
    path = alphapose(tmp_path / "a.json", [wrong])
    put_right = read_recording(path, ReadOptions(**size))
    assert "taken for each other in 15 of 60 frames" in caplog.text
    expected = right.people[0].keypoints
    np.testing.assert_allclose(put_right.people[0].keypoints, expected, atol=0.01)
    as_it_is = read_recording(path, ReadOptions(undo_swaps=False, **size))
    assert not np.allclose(as_it_is.people[0].keypoints, expected, atol=5)
