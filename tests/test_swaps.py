"""Exchanged sides of detected bodies are found and put right."""

import warnings

import numpy as np
import pytest
from paths import SAMPLE

from common.data.npz import load_npz
from common.data.skeleton import H36M_17
from common.keypoints.swaps import undo_swaps

ORDER = list(H36M_17.mirror_order)
POSES = next(iter(load_npz(SAMPLE / "data_2d_h36m_gt.npz")["positions_2d"]["S9"].values()))


@pytest.mark.parametrize("camera", range(len(POSES)))
def test_real_motion_is_left_alone(camera):
    keypoints = POSES[camera][:500]
    result, _, swapped = undo_swaps(keypoints, np.ones((500, 17)), H36M_17)
    assert not swapped.any()
    np.testing.assert_array_equal(result, keypoints)


@pytest.mark.parametrize(("start", "stop"), [(100, 130), (40, 41), (0, 25), (470, 500)])
def test_exchanged_frames_are_put_right(start, stop):
    rng = np.random.default_rng(start)
    keypoints = POSES[0][:500] + rng.normal(0, 3, (500, 17, 2))
    confidence = rng.uniform(0.8, 1, (500, 17))
    wrong, of_wrong = keypoints.copy(), confidence.copy()
    wrong[start:stop] = keypoints[start:stop][:, ORDER]
    of_wrong[start:stop] = confidence[start:stop][:, ORDER]
    result, of_result, swapped = undo_swaps(wrong, of_wrong, H36M_17)
    assert np.flatnonzero(swapped).tolist() == list(range(start, stop))
    np.testing.assert_array_equal(result, keypoints)
    np.testing.assert_array_equal(of_result, confidence)


def test_missing_joints_and_short_clips_are_no_trouble():
    keypoints = POSES[0][:200].astype(float).copy()
    confidence = np.ones((200, 17))
    keypoints[50:60], confidence[50:60] = np.nan, 0
    keypoints[120, 4:7], confidence[120, 4:7] = np.nan, 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not undo_swaps(keypoints, confidence, H36M_17)[2].any()
        nothing = np.full((10, 17, 2), np.nan)
        for length in (0, 1, 2, 10):
            result = undo_swaps(nothing[:length], np.zeros((length, 17)), H36M_17)
            assert [len(part) for part in result] == [length] * 3
