"""`--complete`: 3D motion with missing joints in, complete motion out."""

import numpy as np
import pytest
from inference_inputs import COMPLETER, FPS
from paths import SAMPLE
from test_place import true_poses

from common.data.npz import load_npz
from common.data.skeleton import H36M_17, H36M_32_TO_17
from common.errors import UserError
from common.inference.completion import (
    AXES,
    Incomplete,
    complete,
    complete_file,
    find_axes,
    load_completion,
    read_incomplete,
)
from common.inference.motion import State

MODEL = load_completion(COMPLETER, device="cpu")


def world_poses(frames: int = 50) -> np.ndarray:
    """(L, 17, 3) metres, z up, without gaps."""
    world = load_npz(SAMPLE / "data_3d_h36m.npz")["positions_3d"]["S6"]["Walking"]
    return np.array(world[:frames, list(H36M_32_TO_17)], np.float64)


def without(poses: np.ndarray, *joints: int) -> np.ndarray:
    """The poses with some joints missing in every frame."""
    poses = poses.copy()
    poses[:, joints] = np.nan
    return poses


@pytest.mark.slow
def test_what_is_given_stays_and_what_is_missing_is_filled_in():
    poses = world_poses()
    given = poses.copy()
    given[10:40, [4, 5, 6]] = np.nan  # a leg
    given[5, 13, 1] = np.nan  # one coordinate
    motion = complete(Incomplete(given, np.arange(50) / FPS, H36M_17), MODEL, max_gap=0.1)
    missing = np.isnan(given).any(-1)
    assert (motion.state == np.where(missing, State.RECOVERED, State.SEEN)).all()
    assert np.abs(motion.world_3d - poses)[~missing].max() < 1e-5
    assert np.isfinite(motion.world_3d).all()
    error = np.linalg.norm(motion.world_3d - poses, axis=-1)[10:40, [4, 5, 6]].mean()
    centre = np.linalg.norm(poses[:, :1] - poses, axis=-1)[10:40, [4, 5, 6]].mean()
    assert error < 0.5 * centre  # better than the root's place
    assert np.allclose(motion.poses_3d[:, 0], 0)


@pytest.mark.slow
def test_the_axes_of_the_input_do_not_matter():
    given = true_poses("S9", "Dancing")[:40]
    given[10:30, [11, 12, 13]] = np.nan
    motions = []
    for name, to_camera in AXES.items():
        turned = given @ to_camera  # the inverse of a rotation is its transpose
        incomplete = Incomplete(turned, np.arange(40) / FPS, H36M_17)
        assert find_axes(incomplete) == name
        motions.append(complete(incomplete, MODEL, max_gap=0.1))
    for motion in motions[1:]:
        assert np.abs(motion.poses_3d - motions[0].poses_3d).max() < 1e-5


@pytest.mark.parametrize("joints", [(6,), (1, 2, 3), (3, 6), (10,), (9, 10, 11, 12, 13)])
def test_what_is_up_is_told_by_the_joints_that_are_there(joints):
    poses = without(world_poses(), *joints)
    for name, to_camera in AXES.items():
        turned = poses @ AXES["z up"].T @ to_camera
        assert find_axes(Incomplete(turned, np.arange(50) / FPS, H36M_17)) == name


@pytest.mark.slow
def test_a_missing_root_is_put_between_the_hips_and_empty_frames_stay_empty():
    poses = world_poses(60)
    given = poses.copy()
    given[5:50, 0] = np.nan
    given[20:22] = np.nan
    given[30:45] = np.nan
    motion = complete(Incomplete(given, np.arange(60) / FPS, H36M_17), MODEL, max_gap=0.1)
    assert np.linalg.norm(motion.world_3d - poses, axis=-1)[5:20, 0].max() < 0.1
    assert (motion.state[20:22, 1:] == State.INTERPOLATED).all()
    assert np.linalg.norm(motion.world_3d - poses, axis=-1)[20:22].max() < 0.1
    assert (motion.state[30:45] == State.EMPTY).all()
    for array in (motion.poses_3d, motion.root_3d, motion.world_3d):
        assert np.isnan(array[30:45]).all() and np.isfinite(array[:30]).all()


def test_files_of_motion(tmp_path):
    poses = world_poses(9).astype(np.float32)
    np.savez(tmp_path / "a.npz", poses_3d=poses, time=np.arange(9) / 30)
    np.savez(tmp_path / "b.npz", positions_3d=poses, fps=np.array(30.0))
    np.save(tmp_path / "c.npy", poses)
    relative = poses - poses[:, :1]
    np.savez(tmp_path / "d.npz", poses_3d=relative, root_3d=poses[:, 0], time=np.arange(9) / 30)
    for name, fps in (("a.npz", None), ("b.npz", None), ("c.npy", 30), ("d.npz", 30)):
        found = read_incomplete(tmp_path / name, fps)
        assert np.allclose(found.poses, poses, atol=1e-6)
        assert np.allclose(found.time, np.arange(9) / 30)


@pytest.mark.parametrize(
    ("entries", "fps", "message"),
    [
        ({"poses_3d": world_poses(5)}, None, "--fps"),
        ({"poses_3d": np.zeros((5, 17, 2))}, 30, "shape"),
        ({"poses_3d": np.zeros((5, 12, 3))}, 30, "shape"),
        ({"poses_3d": np.zeros((0, 17, 3))}, 30, "shape"),
        ({"poses_3d": np.array("text")}, 30, "shape"),
        ({"others": np.zeros(3)}, 30, "no entry poses_3d"),
        ({"poses_3d": world_poses(5) * 1000}, 30, "metres are needed"),
        ({"poses_3d": without(1000 * world_poses(5), 6)}, 30, "metres are needed"),
        ({"poses_3d": without(1000 * world_poses(5), 0)}, 30, "metres are needed"),
        ({"poses_3d": without(world_poses(5), *range(17))}, 30, "what is up cannot be told"),
        ({"poses_3d": without(world_poses(5), *range(13))}, 30, "what is up cannot be told"),
        (
            {"poses_3d": without(world_poses(5), *range(2, 8), *range(9, 17))},
            30,
            "none of 5 frames",
        ),
        ({"poses_3d": world_poses(5), "time": np.zeros(5)}, None, "does not increase"),
        ({"poses_3d": world_poses(5), "time": np.array(["a"] * 5)}, None, "x.npz"),
        ({"poses_3d": world_poses(5)[:, :16]}, 30, "completes poses of 17"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else None,
)
def test_what_is_no_motion_is_refused(tmp_path, entries, fps, message):
    np.savez(tmp_path / "x.npz", **entries)
    with pytest.raises(UserError, match=message):
        complete_file(tmp_path / "x.npz", MODEL, fps=fps, max_gap=0.1)
