"""dataset/motion_variation.py: other motion, by a body that stays what it was."""

import numpy as np
import pytest
from motions import bone_lengths, sample_motion

from common.data.skeleton import H36M_17
from dataset.motion_checks import FASTEST
from dataset.motion_clips import FRAME_RATE
from dataset.motion_variation import BENDS, FULL_BEND, slow_waves, vary_motion


@pytest.fixture(scope="module")
def motion():
    """(200, 17, 3) metres, z up."""
    return sample_motion(frames=slice(0, 200)).world_3d


def bends(poses):
    """(L, 4) angles of knees and elbows."""
    upper = np.stack([poses[:, j] - poses[:, H36M_17.parents[j]] for j in BENDS], 1)
    lower = np.stack([poses[:, j + 1] - poses[:, j] for j in BENDS], 1)
    norms = np.linalg.norm(upper, axis=-1) * np.linalg.norm(lower, axis=-1)
    return np.arccos(np.clip((upper * lower).sum(-1) / norms, -1, 1))


@pytest.mark.parametrize("seed", range(8))
def test_body_floor_and_smoothness_stay(motion, seed):
    varied = vary_motion(motion, np.random.default_rng(seed))
    np.testing.assert_allclose(bone_lengths(varied), bone_lengths(motion), atol=1e-5)
    np.testing.assert_allclose(varied[..., 2].min(1), motion[..., 2].min(1), atol=1e-5)
    steps = np.linalg.norm(np.diff(varied, axis=0), axis=-1)
    assert steps.max() < FASTEST / FRAME_RATE  # no jump
    assert bends(varied).max() < max(FULL_BEND, bends(motion).max()) + 1e-3


def test_limbs_move_differently_by_drawn_amounts(motion):
    amounts = []
    for seed in range(20):
        varied = vary_motion(motion, np.random.default_rng(seed))
        relative = (varied - varied[:, :1]) - (motion - motion[:, :1])
        amounts.append(np.linalg.norm(relative, axis=-1).mean())
    assert min(amounts) < 0.06 and max(amounts) > 0.12  # metres: hardly, and very much


def test_knees_and_elbows_bend_in_their_own_plane(motion):
    def normals(poses):
        hip, knee, foot = poses[:, 1], poses[:, 2], poses[:, 3]
        across = np.cross(knee - hip, foot - knee)
        return (across * (poses[:, 1] - poses[:, 4])).sum(-1)  # along the line of the hips

    bent = bends(motion)[:, 0] > np.deg2rad(30)
    assert bent.sum() > 20
    kept = []
    for seed in range(10):
        varied = vary_motion(motion, np.random.default_rng(seed))
        still = bent & (bends(varied)[:, 0] > np.deg2rad(10))
        kept.append((np.sign(normals(varied)) == np.sign(normals(motion)))[still].mean())
    assert np.mean(kept) > 0.9


def test_waves_are_slow_and_of_unit_size():
    waves = slow_waves(250, 4000, np.random.default_rng(0))
    assert waves.shape == (250, 4000)
    assert abs(waves.mean()) < 0.1 and 0.9 < waves.std() < 1.1
    assert np.abs(np.diff(waves, axis=0)).mean() * 50 < 3  # per second
