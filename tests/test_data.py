"""The pose store and the loaders of Human3.6M and AMASS."""

import shutil

import numpy as np
import pytest
import torch
from paths import SAMPLE

from common.data import amass, h36m, pose_ops
from common.data.base import DataOptions
from common.data.npz import load_npz
from common.data.pose_store import Reduction
from common.data.skeleton import H36M_16, H36M_17, H36M_32_TO_17
from common.data.windows import WindowIndex, WindowRule
from common.errors import UserError


@pytest.fixture(scope="module")
def files():
    return h36m.H36MFiles.read(SAMPLE, "gt")


def test_mirrored_windows_of_the_store(files):
    store = files.store(["S9"], H36M_17)
    index = WindowIndex(store.offsets, WindowRule(9, mirror=True))
    samples = torch.tensor([3, 3 + len(index) // 2])
    windows = index.windows(samples)
    for poses in (store.window_2d(windows), store.window_3d(windows), store.target_3d(windows)):
        assert torch.equal(poses[1], pose_ops.mirror_pose(poses[0], H36M_17))
    for root in (store.window_root(windows), store.target_root(windows)):
        assert torch.equal(root[1], root[0] * torch.tensor([-1, 1, 1]))
    frames = windows.frames[0]
    assert torch.equal(store.window_root(windows)[0, :, 0], store.root_3d[frames])
    cameras = store.window_cameras(windows)
    assert torch.equal(cameras[1], pose_ops.mirror_camera(cameras[0]))
    assert torch.equal(cameras[0], store.cameras[0])
    for target, window in (
        (store.target_2d(windows), store.window_2d(windows)),
        (store.target_3d(windows), store.window_3d(windows)),
        (store.target_root(windows), store.window_root(windows)),
    ):
        assert torch.equal(target[:, 0], window[:, 4])


def test_sixteen_joints_are_the_seventeen_without_the_ninth(files):
    all_joints = files.store(["S11"], H36M_17)
    fewer = files.store(["S11"], H36M_16)
    kept = [j for j in range(17) if j != 9]
    assert torch.equal(fewer.pose_2d, all_joints.pose_2d[:, kept])
    torch.testing.assert_close(fewer.pose_3d, all_joints.pose_3d[:, kept])
    assert torch.equal(fewer.root_3d, all_joints.root_3d)


def test_downsampling_keeps_every_nth_frame(files):
    full, thin = (files.store(["S9"], H36M_17, Reduction(downsample=n)) for n in (1, 3))
    for a, b in zip(full.sequence_slices(), thin.sequence_slices(), strict=True):
        assert torch.equal(full.pose_2d[a][::3], thin.pose_2d[b])


def test_a_subset_is_a_run_of_frames_that_all_cameras_share_and_that_repeats(files):
    full = files.store(["S1"], H36M_17)
    part, again = (files.store(["S1"], H36M_17, Reduction(subset=0.25)) for _ in range(2))
    assert torch.equal(part.pose_3d, again.pose_3d)
    assert torch.equal(part.root_3d, again.root_3d)
    assert len(set(part.first_frames)) == 1
    first, frames = part.first_frames[0], part.sequence_slices()[0]
    assert frames.stop == pytest.approx(full.sequence_slices()[0].stop / 4, abs=1)
    assert torch.equal(part.pose_2d[frames], full.pose_2d[first : first + frames.stop])


def test_actions_are_chosen_by_prefix(files):
    store = files.store(["S9"], H36M_17, actions=["Dan"])
    assert {name.action for name in store.names} == {"Dancing"}
    with pytest.raises(UserError, match="starts with 'Xy'; .* holds Boxing, Climbing, Dancing"):
        files.store(["S9"], H36M_17, actions=["Xy"])
    with pytest.raises(UserError, match="no sequences of the actions Boxing for the subjects S9"):
        files.store(["S9"], H36M_17, actions=["Boxing"])


def test_pixels_can_stay(files):
    store = files.store(["S9"], H36M_17, normalisation=None)
    assert store.pose_2d.max() > 100


def test_head_cuts_whole_store(files):
    store = files.store(["S9"], H36M_17)
    head = store.head(700)
    assert head.num_frames == 700
    assert head.offsets.tolist() == [0, 600, 700]
    assert len(head.names) == len(head.cameras) == len(head.first_frames) == 2
    for name in ("pose_2d", "pose_3d", "root_3d"):
        assert torch.equal(getattr(head, name), getattr(store, name)[:700])


class Copy:
    """A copy of the sample data that a test may spoil."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("data_3d_h36m.npz", "data_2d_h36m_gt.npz"):
            shutil.copy(SAMPLE / name, folder)
        self.world = np.load(folder / "data_3d_h36m.npz", allow_pickle=True)["positions_3d"].item()
        self.screen = np.load(folder / "data_2d_h36m_gt.npz", allow_pickle=True)[
            "positions_2d"
        ].item()

    def store(self, *subjects, skeleton=H36M_17, **reduction):
        np.savez(self.folder / "data_3d_h36m.npz", positions_3d=self.world)
        np.savez(self.folder / "data_2d_h36m_gt.npz", positions_2d=self.screen)
        files = h36m.H36MFiles.read(self.folder, "gt")
        return files.store(subjects or ["S9"], skeleton, Reduction(**reduction))


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


def test_longer_2d_is_cut(copy):
    copy.screen["S9"]["Dancing"] = [
        np.concatenate([view, view[-5:]]) for view in copy.screen["S9"]["Dancing"]
    ]
    assert copy.store().offsets.diff().tolist() == [600] * 4 + [380] * 4


def test_shorter_2d_is_an_error(copy):
    copy.screen["S9"]["Dancing"][2] = copy.screen["S9"]["Dancing"][2][:-1]
    with pytest.raises(UserError, match="S9 Dancing camera 2 has 379 frames, fewer .*380"):
        copy.store()


def test_infinite_2d_is_located(copy):
    copy.screen["S9"]["Dancing"][1][123, 4, 0] = np.inf
    with pytest.raises(UserError, match="2d.*S9 Dancing camera 1, frame 123"):
        copy.store()


def test_bad_3d_numbers_are_located_in_the_frames_of_the_file(copy):
    copy.world["S9"]["Dancing"][120, 3, 1] = np.nan
    with pytest.raises(UserError, match="3d.*S9 Dancing camera 0, frame 120"):
        copy.store(downsample=2)


def test_an_action_without_2d_is_left_out(copy):
    del copy.screen["S9"]["Dancing"]
    assert {name.action for name in copy.store().names} == {"Climbing"}


def test_a_subject_without_poses_is_an_error(copy):
    del copy.screen["S9"]
    with pytest.raises(UserError, match="holds no subject S9"):
        copy.store()


def test_nothing_left_is_an_error(copy):
    copy.screen["S9"] = {}
    with pytest.raises(UserError, match="no sequences"):
        copy.store()


@pytest.mark.parametrize("joints", [15, 18])
def test_another_joint_count_is_an_error(copy, joints):
    copy.screen["S9"]["Climbing"][0] = np.zeros((600, joints, 2), np.float32)
    with pytest.raises(UserError, match=rf"S9 Climbing camera 0 has shape \(600, {joints}, 2\)"):
        copy.store()


def test_sixteen_joint_keypoints_serve_sixteen_joints_only(copy):
    copy.screen["S9"]["Climbing"] = [v[:, :16] for v in copy.screen["S9"]["Climbing"]]
    copy.screen["S9"]["Dancing"] = [v[:, :16] for v in copy.screen["S9"]["Dancing"]]
    assert copy.store(skeleton=H36M_16).num_joints == 16
    with pytest.raises(UserError, match="has 16 joints, --n_joints says 17"):
        copy.store(skeleton=H36M_17)


def test_3d_poses_that_are_not_poses(copy):
    copy.world["S9"]["Climbing"] = np.zeros((600, 18, 3), np.float32)
    with pytest.raises(UserError, match=r"S9 Climbing has shape \(600, 18, 3\)"):
        copy.store()
    copy.world["S9"]["Climbing"] = "poses"
    with pytest.raises(UserError, match=r"S9 Climbing has shape \(\)"):
        copy.store()


def test_3d_poses_of_17_joints_are_those_of_32(copy):
    wanted, wanted_16 = copy.store(), copy.store(skeleton=H36M_16)
    for action, world in copy.world["S9"].items():
        copy.world["S9"][action] = world[:, list(H36M_32_TO_17)].tolist()  # and as lists
    for skeleton, expected in ((H36M_17, wanted), (H36M_16, wanted_16)):
        store = copy.store(skeleton=skeleton)
        torch.testing.assert_close(store.pose_3d, expected.pose_3d, rtol=0, atol=0)
        torch.testing.assert_close(store.root_3d, expected.root_3d, rtol=0, atol=0)


def test_a_single_camera_needs_no_list(copy):
    wanted = copy.store()
    for action, views in copy.screen["S9"].items():
        copy.screen["S9"][action] = views[0]
    store = copy.store()
    assert [str(name) for name in store.names] == [str(name) for name in wanted.names[::4]]
    for frames, of_wanted in zip(
        store.sequence_slices(), wanted.sequence_slices()[::4], strict=True
    ):
        torch.testing.assert_close(store.pose_2d[frames], wanted.pose_2d[of_wanted])


def test_a_subject_of_the_users_own_needs_cameras(copy):
    copy.world["Ann"], copy.screen["Ann"] = copy.world["S9"], copy.screen["S9"]
    with pytest.raises(UserError, match="no cameras are known for Ann"):
        copy.store("Ann")
    text = (SAMPLE.parent / h36m.CAMERA_FILE).read_text().replace('"S9"', '"Ann"')
    (copy.folder / h36m.CAMERA_FILE).write_text(text)
    assert copy.store("Ann").num_frames == 3920
    (copy.folder / h36m.CAMERA_FILE).write_text("{}")
    with pytest.raises(UserError, match="not a camera file"):
        copy.store("Ann")


def load_amass(root):
    stores = amass.load(DataOptions(root, num_joints=16, train=True, test=True))
    assert stores.test is None
    return stores.train


def test_amass_poses_are_those_of_the_file():
    store = load_amass(SAMPLE)
    held = load_npz(SAMPLE / "amass.npz")["poses"]
    assert [name.action for name in store.names] == list(held)
    for frames, entry in zip(store.sequence_slices(), held.values(), strict=True):
        np.testing.assert_array_equal(store.pose_2d[frames].numpy(), entry["pose2d"])
        np.testing.assert_array_equal(store.pose_3d[frames, 1:].numpy(), entry["pose3d"][:, 1:])
    assert not store.pose_3d[:, 0].any() and not store.root_3d.any() and store.cameras is None


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ([1], "'pose2d' has shape"),
        ({"pose2d": np.ones((5, 17, 2)), "pose3d": np.ones((5, 16, 3))}, r"\(5, 17, 2\)"),
        (
            {"pose2d": np.ones((5, 16, 2)), "pose3d": np.ones((5, 16, 3)), "length": 6},
            "says 6 frames and holds 5",
        ),
    ],
)
def test_amass_files_in_the_wrong_format(tmp_path, entry, complaint):
    np.savez(tmp_path / "amass.npz", poses={"walk": entry})
    with pytest.raises(UserError, match=complaint):
        load_amass(tmp_path)


def test_sequences_without_3d_are_read_only_to_predict_it(tmp_path):
    with np.load(SAMPLE / "data_3d_h36m.npz", allow_pickle=True) as file:
        poses = file["positions_3d"].item()
    poses["S11"] = {name: np.full_like(array, np.nan) for name, array in poses["S11"].items()}
    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d=poses)
    shutil.copy(SAMPLE / "data_2d_h36m_gt.npz", tmp_path)
    files = h36m.H36MFiles.read(tmp_path, "gt")
    with pytest.raises(UserError, match="NaN or infinity in S11 Climbing camera 0, frame 0"):
        files.store(["S9", "S11"], H36M_17)
    store = files.store(["S9", "S11"], H36M_17, unknown_3d=True)
    assert store.pose_3d.isnan().any() and store.pose_2d.isfinite().all()
    poses["S9"]["Climbing"][3, 2, 1] = np.nan  # some of it missing is a mistake all the same
    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d=poses)
    files = h36m.H36MFiles.read(tmp_path, "gt")
    with pytest.raises(UserError, match="in S9 Climbing camera 0, frame 3"):
        files.store(["S9", "S11"], H36M_17, unknown_3d=True)
