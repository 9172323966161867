"""Frames of a motion that cannot be true are found, named and left out."""

from pathlib import Path

import numpy as np
import pytest
from bvh_files import names_of, write_bvh

from dataset import motion_checks
from dataset.bvh_clips import read_bvh_clip
from dataset.motion_checks import parts_of, sound_spans
from dataset.motion_clips import MotionClip

FRAMES = 200
LEFT_WRIST, RIGHT_KNEE = 13, 2


@pytest.fixture(scope="module")
def motion(tmp_path_factory):
    path = tmp_path_factory.mktemp("bvh") / "a.bvh"
    write_bvh(path, names_of("DAZ"), frames=FRAMES, swing=12)
    return read_bvh_clip(path, Path("01_01"))[0].poses


@pytest.fixture
def left(monkeypatch, caplog):
    """Parts of a motion, and what the log says about the rest."""
    monkeypatch.setattr(motion_checks.LOG, "propagate", True)

    def run(poses: np.ndarray) -> tuple[list[MotionClip], str]:
        caplog.clear()
        clip = MotionClip("01_01", poses)
        parts = list(parts_of(clip, sound_spans(clip)))
        return parts, "\n".join(record.getMessage() for record in caplog.records)

    return run


def test_a_sound_motion_stays_as_it_is(motion, left):
    (part,), said = left(motion)
    assert part.name == "01_01" and part.poses is motion and said == ""


def stretched(poses, frames):
    poses[frames, LEFT_WRIST] += 0.05 * (poses[frames, LEFT_WRIST] - poses[frames, 12])


def frozen(poses, frames):
    poses[frames] = poses[frames][:1]


def not_numbers(poses, frames):
    poses[frames, 9, 1] = np.nan


def infinite(poses, frames):
    poses[frames, 9, 1] = -np.inf


FAULTS = {
    stretched: "left elbow to left wrist is not 0.250 m",
    frozen: "frozen",
    not_numbers: "not numbers",
    infinite: "not numbers",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("start", "stop"), [(0, 40), (80, 120), (160, FRAMES)])
def test_faulty_frames_are_left_out(motion, left, fault, start, stop):
    poses = motion.copy()
    fault(poses, slice(start, stop))
    parts, said = left(poses)
    kept = [motion[a:b] for a, b in ((0, start), (stop, FRAMES)) if b > a]
    assert [part.name for part in parts] == [f"01_01 part {n + 1}" for n in range(len(kept))]
    # At an edge of a frozen stretch, the first and last frame count as frozen or not.
    for part, expected in zip(parts, kept, strict=True):
        assert abs(len(part.poses) - len(expected)) <= 1
        overlap = part.poses[:, None, 0] == expected[None, :, 0]
        assert overlap.all(-1).any(1).sum() >= len(part.poses) - 1
    assert FAULTS[fault] in said and f"frames {start}" in said.replace(
        f"{start - 1} to", f"{start}"
    )
    assert "of 200 frames left out" in said


@pytest.mark.parametrize(
    ("step", "steps", "reason"), [(-0.12, 8, "below the ground"), (0.2, 15, "far above the ground")]
)
def test_frames_away_from_the_ground_are_left_out(motion, left, step, steps, reason):
    poses = motion.copy()
    slope = step * np.concatenate([np.arange(steps), np.arange(steps, -1, -1)])  # no jump
    poses[80 : 80 + len(slope), :, 2] += slope[:, None]
    parts, said = left(poses)
    assert reason in said and "jump" not in said and len(parts) == 2
    assert 200 - len(slope) < sum(len(part.poses) for part in parts) < 200
    for part in parts:
        assert -0.7 < (part.poses[:, 0, 2] - motion[0, 0, 2]).min()
        assert (part.poses[:, 0, 2] - motion[0, 0, 2]).max() < 2.7


def test_a_jump_divides_without_loss(motion, left):
    poses = motion.copy()
    poses[120:] += [2.0, 0, 0]
    parts, said = left(poses)
    assert [len(part.poses) for part in parts] == [120, 80]
    assert "0 of 200 frames left out" in said and "frame 120: a jump" in said
    np.testing.assert_array_equal(parts[1].poses, poses[120:])


def test_short_parts_are_left_out(motion, left):
    poses = motion.copy()
    poses[[20, 190]] = np.nan
    parts, said = left(poses)
    assert [len(part.poses) for part in parts] == [169]
    assert "31 of 200" in said and "frame 20 and others" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p * 100, "m tall"),
        (lambda p: p * 0.6, "m tall"),
        (lambda p: p[..., [1, 2, 0]], "stands along y"),
        (lambda p: p[..., [2, 0, 1]], "stands along x"),
        (lambda p: p * [1, -1, -1], "stands along -z"),
        (lambda p: p * np.nan, "no frame has numbers"),
    ],
)
def test_wrong_bodies_are_left_out_whole(motion, left, change, message):
    parts, said = left(change(motion))
    assert parts == [] and message in said and "01_01" in said


def test_the_bone_that_changes_most_is_named(motion, left):
    poses = motion.copy()
    poses[50, 3] += 0.2 * (poses[50, 3] - poses[50, 2])  # a shank a fifth longer
    poses[90, LEFT_WRIST] += 0.1 * (poses[90, LEFT_WRIST] - poses[90, 12])
    parts, said = left(poses)
    assert "frame 50 and others: right knee to right foot is not 0.410 m (by 20 %)" in said
    assert [len(part.poses) for part in parts] == [50, 39, 109]


def test_who_crawls_is_no_fault(motion, left):
    still = motion - motion[:, :1] + motion[:1, :1]
    turn = np.deg2rad(50)  # from upright
    axes = [[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]]
    crawling = ((still - still[:, :1]) @ np.array(axes) + [0, 0, 0.6]).astype(np.float32)
    (part,), said = left(crawling)
    assert said == "" and part.poses is crawling


def test_who_lies_down_is_no_fault(motion, left):
    lying = (motion - motion[:, :1])[:50, :, [2, 1, 0]] * [1, 1, -1] + motion[-1, :1] * [1, 1, 0.6]
    poses = np.concatenate([motion, lying]).astype(np.float32)
    parts, said = left(poses)
    assert sum(len(part.poses) for part in parts) == len(poses), said
