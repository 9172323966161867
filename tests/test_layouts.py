"""Joint orders of 2D files: what metadata say is obeyed, never taken for ours without a word."""

import numpy as np
import pytest
import torch
from paths import SAMPLE

from common.data import h36m
from common.data.inspect import read_clips
from common.data.layouts import H36M, LAYOUTS, implausible, layout_of
from common.data.npz import load_npz
from common.data.skeleton import H36M_16, H36M_17
from common.errors import UserError

COCO_SIDES = [list(range(1, 17, 2)), list(range(2, 17, 2))]
OURS_17 = [list(H36M_17.left), list(H36M_17.right)]


def in_coco(poses: np.ndarray) -> np.ndarray:
    """Poses (L, 17, 2) of ours in COCO's order; eyes and ears on the head."""
    sources = (9, 10, 10, 10, 10, 11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3)
    return poses[:, sources]


@pytest.fixture(scope="module")
def sample():
    return load_npz(SAMPLE / "data_2d_h36m_gt.npz")


@pytest.fixture
def folder(tmp_path, sample):
    """Write the sample's 2D poses with other metadata, in another order; returns the folder."""

    def write(metadata, change=lambda poses: poses):
        (tmp_path / "data_3d_h36m.npz").symlink_to(SAMPLE / "data_3d_h36m.npz")
        positions = {
            "S9": {
                action: [change(np.asarray(view)) for view in views]
                for action, views in sample["positions_2d"]["S9"].items()
            }
        }
        entries = {} if metadata is None else {"metadata": metadata}
        path = tmp_path / "data_2d_h36m_gt.npz"
        np.savez(path, positions_2d=np.array(positions, dtype=object), **entries)
        return tmp_path

    return write


def store(root):
    return h36m.H36MFiles.read(root, "gt").store(["S9"], H36M_17)


@pytest.mark.parametrize(
    "metadata",
    [
        {"layout_name": "coco", "num_joints": 17, "keypoints_symmetry": COCO_SIDES},
        {"layout_name": "coco"},
        {"keypoints_symmetry": COCO_SIDES},
        {"keypoints_symmetry": np.array(COCO_SIDES)},
        {"keypoints_symmetry": COCO_SIDES[::-1]},
    ],
)
def test_coco_files_are_converted_and_it_is_said(folder, metadata, caplog):
    caplog.set_level("INFO", "mpm")
    converted, ours = store(folder(metadata, in_coco)), store(SAMPLE)
    same = [j for j in range(17) if j not in (0, 7, 8, 10)]  # hip, spine, thorax, head: means
    torch.testing.assert_close(converted.pose_2d[:, same], ours.pose_2d[:, same])
    hips = ours.pose_2d[:, [1, 4]].mean(1)
    torch.testing.assert_close(converted.pose_2d[:, 0], hips, rtol=1e-4, atol=1e-5)
    assert any("'coco', converted" in record.getMessage() for record in caplog.records)
    path = next(r.args[0] for r in caplog.records if "converted" in r.getMessage())
    kind, clips = read_clips(path)
    assert "joints in the order 'coco'" in kind
    assert clips[0].to_skeleton(np.asarray(clips[0].pose_2d)[0]).shape == (17, 2)


@pytest.mark.parametrize(
    "metadata",
    [
        {"layout_name": "h36m", "num_joints": 17, "keypoints_symmetry": OURS_17},
        {"keypoints_symmetry": OURS_17[::-1]},
        {"layout_name": "h36m"},
        {"video_metadata": {"w": 1000}},  # nothing about joints
    ],
)
def test_our_own_order_is_read_as_it_is(folder, metadata):
    assert torch.equal(store(folder(metadata)).pose_2d, store(SAMPLE).pose_2d)


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({"layout_name": "humaneva15"}, "'humaneva15' of its metadata is not one of h36m, coco"),
        ({"layout_name": 3}, "'3' of its metadata"),
        ({"layout_name": "h36m", "keypoints_symmetry": COCO_SIDES}, "is that of coco"),
        ({"layout_name": "coco", "keypoints_symmetry": OURS_17}, "is that of h36m"),
        ({"keypoints_symmetry": [[1, 2], [3, 4]]}, "is that of no known layout"),
        ({"keypoints_symmetry": [[1] * 5000, [2] * 5000]}, "is that of no known layout"),
        ({"keypoints_symmetry": [[1, 2], [3]]}, "not two lists of as many joints"),
        ({"keypoints_symmetry": "left right"}, "not two lists of as many joints"),
        ({"layout_name": "coco", "num_joints": 18}, "'num_joints' 18"),
        (["coco"], "'metadata' is not a dictionary"),
    ],
)
def test_other_orders_are_refused(folder, metadata, complaint):
    with pytest.raises(UserError) as raised:
        store(folder(metadata, in_coco))
    assert complaint in str(raised.value) and "data_2d_h36m_gt.npz" in str(raised.value)
    assert len(str(raised.value)) < 600


def test_arrays_must_fit_the_metadata(folder):
    with pytest.raises(UserError, match="has 16 joints, the layout 'coco' of its metadata has not"):
        store(folder({"layout_name": "coco"}, lambda poses: poses[:, :16]))


@pytest.mark.parametrize(("change", "warns"), [(lambda p: p, False), (in_coco, True)])
def test_without_metadata_an_implausible_order_is_a_warning(folder, change, warns, caplog):
    store(folder(None, change))
    assert any("no metadata on the order" in r.getMessage() for r in caplog.records) == warns


def test_plausible_and_implausible_orders(sample):
    poses = np.concatenate(
        [view for views in sample["positions_2d"]["S9"].values() for view in views]
    )
    assert implausible(poses) == ""
    assert implausible(np.delete(poses, 9, axis=1)) == ""
    assert "head is above" in implausible(poses * [1, -1])
    assert implausible(in_coco(poses))


def test_every_layout_is_told_by_its_own_metadata():
    for layout in LAYOUTS.values():
        for number, pairs in layout.pairs.items():
            sides = list(zip(*(sorted(pair) for pair in pairs), strict=True))
            told = layout_of({"keypoints_symmetry": sides, "num_joints": number}, "file")
            assert told is layout
    assert layout_of(None, "file") is None and H36M_16.num_joints in H36M.pairs
