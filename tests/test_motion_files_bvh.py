"""Rigid bones and their BVH file: read back by pybvh, whose forward kinematics is not ours."""

import logging
from dataclasses import replace

import numpy as np
import pybvh
import pytest
from motions import sample_motion, with_gaps

from common.data.skeleton import H36M_16, H36M_17, Skeleton
from common.errors import UserError
from common.motion_files.bvh_file import CM, fitted
from common.motion_files.registry import WRITERS
from common.motion_files.rig import fit_rig, rest_directions
from common.motion_files.rotations import best_rotations, euler_zxy, shortest_rotations
from common.motion_files.text_numbers import y_up

MM = 1e-3
CLIPS = [("S7", "Spinning"), ("S7", "Kicking"), ("S11", "Climbing"), ("S6", "Jumping")]


def read_back(path):
    """The joints (L, J, 3) in metres as pybvh has them, by name, and the file."""
    file = pybvh.read_bvh_file(path)
    positions = file.joint_positions() / CM
    names = [name for name in file.joint_names if not name.endswith("_base")]
    kept = [file.joint_names.index(name) for name in names]
    return {name: positions[:, j] for name, j in zip(names, kept, strict=True)}, file


def in_order(joints, skeleton):
    return np.stack([joints["_".join(name.split())] for name in skeleton.joint_names], axis=1)


@pytest.mark.parametrize("skeleton", [H36M_17, H36M_16], ids=lambda s: s.name)
@pytest.mark.parametrize(("subject", "action"), CLIPS)
def test_another_reader_finds_the_fitted_joints(tmp_path, subject, action, skeleton):
    motion = sample_motion(subject, action, frames=slice(0, 120), skeleton=skeleton)
    (path,) = WRITERS["bvh"].write([motion], tmp_path)
    joints, file = read_back(path)
    found = in_order(joints, skeleton)
    rig = fitted(motion, path.name)
    assert np.linalg.norm(found - rig.positions(), axis=-1).max() < MM
    assert file.frame_time == pytest.approx(1 / 50)
    # The bones are rigid, of the median length of the motion's own.
    for joint, parent in enumerate(skeleton.parents):
        if parent >= 0:
            own = np.linalg.norm(motion.world_3d[:, joint] - motion.world_3d[:, parent], axis=-1)
            now = np.linalg.norm(found[:, joint] - found[:, parent], axis=-1)
            np.testing.assert_allclose(now, np.median(own), atol=1e-4)
    # The sample's bones hardly change their lengths, so the rig is where the joints are.
    strayed = np.linalg.norm(found - y_up(motion.world_3d), axis=-1)
    assert strayed.mean() < 3 * MM


@pytest.mark.parametrize("seed", range(3))
def test_a_motion_of_rigid_bones_comes_back(seed):
    """Bones of fixed lengths in any directions, hips and spine a rigid body."""
    rng = np.random.default_rng(seed)
    frames, skeleton = 40, H36M_17
    lengths = rng.uniform(0.1, 0.5, 17)
    body = rest_directions(skeleton) + rng.normal(0, 0.1, (17, 3))
    turns = np.linalg.qr(rng.normal(size=(frames, 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    points = np.zeros((frames, 17, 3))
    points[:, 0] = rng.normal(0, 2, (frames, 3))
    for joint, parent in list(enumerate(skeleton.parents))[1:]:
        free = rng.normal(size=(frames, 3))
        direction = turns @ body[joint] if parent == 0 else free
        unit = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
        points[:, joint] = points[:, parent] + lengths[joint] * unit
    assert np.linalg.norm(fit_rig(points, skeleton).positions() - points, axis=-1).max() < MM


def test_bones_are_turned_without_twist():
    motion = sample_motion("S7", "Spinning", frames=slice(0, 100))
    rig = fit_rig(y_up(motion.world_3d), motion.skeleton)
    single = [n for n in range(len(rig.names)) if rig.parents.count(n) == 1 and n]
    assert len(single) == 13  # hips, knees, shoulders, elbows, spine, neck and three bases
    for node in single:
        child = rig.parents.index(node)
        r = rig.rotations[:, node]
        axis = np.stack(
            [r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], axis=-1
        )
        np.testing.assert_allclose(axis @ rig.offsets[child], 0, atol=1e-9)


def test_the_rest_pose_faces_forward_with_arms_to_the_sides():
    motion = sample_motion("S7", "Dancing", frames=slice(0, 100))
    rig = fit_rig(y_up(motion.world_3d), motion.skeleton)
    rest = np.zeros((len(rig.names), 3))
    for node, parent in list(enumerate(rig.parents))[1:]:
        rest[node] = rest[parent] + rig.offsets[node]
    at = {name: rest[node] for node, name in enumerate(rig.names)}
    assert at["head"][1] > at["thorax"][1] > at["hip"][1] > at["left_knee"][1] > at["left_foot"][1]
    assert at["left_wrist"][0] > 0.5 > -0.5 > at["right_wrist"][0]
    assert at["left_hip"][0] > 0 > at["right_hip"][0]


def test_turning_around_makes_no_jumps(tmp_path):
    motion = sample_motion("S7", "Spinning", frames=slice(0, 400))
    rig = fit_rig(y_up(motion.world_3d), motion.skeleton)
    angles = euler_zxy(rig.rotations)[:, 0]
    assert np.ptp(angles[:, 2]) > 360  # it spins around more than once
    assert np.abs(np.diff(angles, axis=0)).max() < 180


def test_frames_without_a_pose_hold_the_one_before(tmp_path, caplog):
    motion = sample_motion(frames=slice(0, 12))
    nothing = dict(interpolated=slice(0, 0), recovered=slice(0, 0))
    gaps = with_gaps(with_gaps(motion, empty=slice(0, 2), **nothing), empty=slice(6, 9), **nothing)
    with caplog.at_level(logging.INFO, "mpm"):
        (path,) = WRITERS["bvh"].write([gaps], tmp_path)
    assert "poses.bvh: 5 of 12 frames have no pose; they hold the one before" in caplog.text
    found = in_order(read_back(path)[0], motion.skeleton)
    for frame, held in ((0, 2), (1, 2), (6, 5), (8, 5)):
        np.testing.assert_allclose(found[frame], found[held], atol=1e-6)
    assert np.abs(found[9] - found[5]).max() > 0.01


def test_a_person_without_any_pose_is_told(tmp_path):
    motion = sample_motion(frames=slice(0, 3))
    empty = with_gaps(motion, empty=slice(0, 3), interpolated=slice(0, 0), recovered=slice(0, 0))
    with pytest.raises(UserError, match="person 1 has no frame with a pose"):
        WRITERS["bvh"].write([empty], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_variable_rate_becomes_a_constant_one(tmp_path):
    motion = sample_motion(frames=slice(0, 60))
    kept = np.sort(np.random.default_rng(0).permutation(60)[:45])
    kept[0] = 0
    arrays = ("poses_3d", "root_3d", "world_3d", "keypoints_2d", "confidence", "state")
    uneven = replace(
        motion, time=motion.time[kept], **{name: getattr(motion, name)[kept] for name in arrays}
    )
    (path,) = WRITERS["bvh"].write([uneven], tmp_path)
    joints, file = read_back(path)
    assert file.frame_time == pytest.approx(1 / 50)
    found = in_order(joints, motion.skeleton)
    assert len(found) == kept[-1] + 1
    # Frames that were left out are those between their neighbours.
    strayed = np.linalg.norm(found - y_up(motion.world_3d)[: len(found)], axis=-1)
    assert strayed[kept].mean() < 3 * MM and strayed.mean() < 10 * MM


@pytest.mark.parametrize("parents", [(-1, 0), (-1, 0, 0, 1, 3, 3)])
def test_any_skeleton_and_bones_without_length(parents):
    skeleton = Skeleton("own", tuple("abcdef"[: len(parents)]), parents, (), ())
    points = np.zeros((5, len(parents), 3))
    assert np.abs(fit_rig(points, skeleton).positions()).max() < MM
    points[:, 1:] += np.random.default_rng(0).normal(size=(len(parents) - 1, 3))
    strayed = np.abs(fit_rig(points, skeleton).positions() - points)
    assert strayed.max() < MM


def test_rotations_do_what_they_say():
    rng = np.random.default_rng(0)
    start, *ends = rng.normal(size=(50, 3)) / 1.0
    start /= np.linalg.norm(start)
    ends = np.array([*ends, start, -start])
    ends /= np.linalg.norm(ends, axis=-1, keepdims=True)
    turned = shortest_rotations(start, ends)
    np.testing.assert_allclose(turned @ start, ends, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(turned), 1)
    back = turned.transpose(0, 2, 1)
    np.testing.assert_allclose(turned @ back, np.tile(np.eye(3), (51, 1, 1)), atol=1e-9)
    body = rng.normal(size=(4, 3))
    np.testing.assert_allclose(best_rotations(body, body @ back), turned, atol=1e-9)


@pytest.mark.parametrize("x", [0.0, 30.0, 89.9999, 90.0, -90.0, 179.0])
def test_euler_angles_give_the_rotation(x):
    def about(axis, degrees):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        i, j = (axis + 1) % 3, (axis + 2) % 3
        r = np.eye(3)
        r[i, i] = r[j, j] = c
        r[j, i], r[i, j] = s, -s
        return r

    wanted = about(2, 50) @ about(0, x) @ about(1, -120)
    z, x, y = euler_zxy(wanted[None])[0]
    np.testing.assert_allclose(about(2, z) @ about(0, x) @ about(1, y), wanted, atol=1e-5)
