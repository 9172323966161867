"""Cameras, mirroring and metrics: golden numbers and properties."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from paths import GOLDEN, SAMPLE

from common.data import camera, h36m, pose_ops
from common.data.skeleton import H36M_16, H36M_17
from common.evaluation import metrics
from common.tasks.losses import mpjpe


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "metrics_camera.npz") as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays}


@pytest.fixture(scope="module")
def refinement():
    with np.load(GOLDEN / "refiner.npz") as arrays:
        return {key.removeprefix("j17."): torch.from_numpy(arrays[key]) for key in arrays}


def random_rotations(count: int) -> torch.Tensor:
    q, r = torch.linalg.qr(torch.randn(count, 3, 3, dtype=torch.float64))
    q = q * torch.diagonal(r, dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return q * torch.linalg.det(q)[:, None, None]


def test_protocols_1_and_2(golden):
    predicted, target = golden["predicted_3d"], golden["target_3d"]
    assert mpjpe(predicted, target).item() == pytest.approx(golden["mpjpe"].item(), rel=1e-5)
    torch.testing.assert_close(
        metrics.p_mpjpe(predicted, target), golden["p_mpjpe"], rtol=1e-4, atol=1e-6
    )


def test_pck_and_auc(golden):
    errors = pose_ops.joint_errors(golden["predicted_16"], golden["target_16"])
    correct, area = metrics.correct_joints(errors), metrics.area_under_curve(errors)
    assert 100 * correct.mean().item() == pytest.approx(golden["pck_150mm"].item(), rel=1e-4)
    assert 100 * area.mean().item() == pytest.approx(golden["auc"].item(), rel=1e-4)


def test_the_metrics_of_tables_are_these_numbers_frame_by_frame(golden):
    for name, ending, want, scale in (
        ("protocol_1", "3d", "mpjpe", 1000),
        ("protocol_2", "3d", "p_mpjpe", 1000),
        ("pck", "16", "pck_150mm", 1),
        ("auc", "16", "auc", 1),
    ):
        predicted = golden[f"predicted_{ending}"].flatten(0, -3)
        target = golden[f"target_{ending}"].flatten(0, -3)
        alone = torch.zeros(len(target), dtype=torch.bool)  # no frame follows another
        values = metrics.METRICS[name].compute(predicted, target, alone)
        assert values.shape == (len(predicted),)
        assert values.mean().item() == pytest.approx(scale * golden[want].mean().item(), rel=1e-4)


def test_protocol_2_does_not_see_a_similarity_transform():
    torch.manual_seed(1)
    target = torch.randn(50, 17, 3, dtype=torch.float64)
    predicted = target + 0.1 * torch.randn_like(target)
    moved = 3.7 * predicted @ random_rotations(50) + torch.randn(50, 1, 3, dtype=torch.float64)
    torch.testing.assert_close(
        metrics.p_mpjpe(moved, target), metrics.p_mpjpe(predicted, target), rtol=1e-8, atol=1e-10
    )


def test_protocol_2_does_see_a_reflection():
    torch.manual_seed(1)
    target = torch.randn(20, 17, 3, dtype=torch.float64)
    mirrored = target * target.new_tensor([-1, 1, 1])
    assert (metrics.p_mpjpe(mirrored, target) > 0.1).all()


def test_protocol_2_of_a_pose_without_extent_is_finite():
    errors = metrics.p_mpjpe(torch.ones(2, 17, 3), torch.randn(2, 17, 3))
    assert torch.isfinite(errors).all()


def test_protocol_2_of_a_batch_is_that_of_each_pose():
    torch.manual_seed(2)
    predicted, target = torch.randn(2, 9, 17, 3)
    single = [metrics.p_mpjpe(p[None], t[None]) for p, t in zip(predicted, target, strict=True)]
    torch.testing.assert_close(metrics.p_mpjpe(predicted, target), torch.cat(single))


def test_velocity_error_ignores_a_constant_offset():
    target = torch.randn(30, 17, 3)
    errors = metrics.velocity_errors(target + 0.25, target)
    assert errors.shape == (29,)
    assert errors.max() < 1e-6
    drifting = target + torch.arange(30).view(-1, 1, 1) * torch.tensor([0.003, 0.004, 0.0])
    assert metrics.velocity_errors(drifting, target).mean().item() == pytest.approx(0.005, rel=1e-3)


def test_world_to_camera(golden):
    moved = camera.world_to_camera(
        golden["world_3d"], golden["quaternion_wxyz"], golden["translation"]
    )
    torch.testing.assert_close(moved, golden["camera_3d"], rtol=1e-4, atol=1e-6)
    back = camera.camera_to_world(moved, golden["quaternion_wxyz"], golden["translation"])
    torch.testing.assert_close(back, golden["world_3d"], rtol=1e-4, atol=1e-5)


def test_screen_coordinates(golden):
    pixel = golden["pixel_2d"]
    screen = camera.normalise_screen(pixel, width=1000, height=1002)
    torch.testing.assert_close(
        screen.double(), golden["screen_2d_w1000_h1002"].double(), rtol=1e-4, atol=1e-6
    )
    back = camera.denormalise_screen(screen, width=1000, height=1002)
    torch.testing.assert_close(back, pixel, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("how", camera.NORMALISATIONS)
def test_normalised_pixels_are_projections_by_the_camera_in_the_same_units(how):
    for view in camera.load_cameras(SAMPLE).by_subject["S9"]:  # lenses with distortion
        points = torch.rand(50, 17, 3, dtype=torch.float64) * 2 - 1 + torch.tensor([0.0, 0, 4])
        screen = view.to_screen(points)
        pixels = camera.denormalise_screen(screen, width=view.width, height=view.height)
        projected = camera.project(points[None], view.intrinsics_for(how).double()[None])[0]
        torch.testing.assert_close(view.normalise(pixels, how), projected, atol=1e-6, rtol=0)


def test_the_longer_side_spans_the_range():
    view = replace(camera.load_cameras(SAMPLE).by_subject["S9"][0], width=600, height=800)
    corners = view.normalise(torch.tensor([[0.0, 0], [600, 800]]), "longer")
    torch.testing.assert_close(corners, torch.tensor([[-0.75, -1], [0.75, 1]]))


def test_projection():
    with np.load(GOLDEN / "generator_forward.npz") as arrays:
        pose, cameras, want = (
            torch.from_numpy(arrays[key]) for key in ("pose_rigid", "camera", "projected_2d")
        )
    torch.testing.assert_close(camera.project(pose, cameras), want, rtol=1e-4, atol=1e-6)


def test_projected_sample_poses_are_the_ground_truth_keypoints():
    store = h36m.H36MFiles.read(SAMPLE, "gt").store(["S9"], H36M_17)
    assert not store.pose_3d[:, 0].any()
    absolute = store.pose_3d + store.root_3d[:, None]
    for sequence, frames in enumerate(store.sequence_slices()):
        projected = camera.project(
            absolute[frames], store.cameras[[sequence]].expand(len(absolute[frames]), -1)
        )
        # The file rounds to 1/64 pixel.
        assert (projected - store.pose_2d[frames]).abs().max() < 2e-4


def test_back_projection(refinement):
    back = camera.back_project(
        refinement["predicted_3d"],
        refinement["target_3d_with_global_root"][:, :, :1],
        refinement["input_2d"],
        refinement["camera"],
    )
    torch.testing.assert_close(back, refinement["back_projected_3d"], rtol=1e-4, atol=1e-5)


def test_back_projection_undoes_projection_without_distortion():
    torch.manual_seed(3)
    root = torch.tensor([0.1, -0.2, 5.0]).expand(4, 1, 1, 3)
    pose = torch.cat([torch.zeros(4, 1, 1, 3), 0.4 * torch.randn(4, 1, 16, 3)], dim=2)
    cameras = torch.tensor([[2.3, 2.3, 0.02, -0.01, 0, 0, 0, 0, 0]]).expand(4, -1)
    screen = camera.project(pose + root, cameras)
    back = camera.back_project(pose, root, screen, cameras)
    torch.testing.assert_close(back, pose, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("skeleton", [H36M_16, H36M_17], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("coordinates", [2, 3])
def test_mirroring_twice_is_the_identity(skeleton, coordinates):
    pose = torch.randn(2, 5, skeleton.num_joints, coordinates)
    mirrored = pose_ops.mirror_pose(pose, skeleton)
    assert torch.equal(pose_ops.mirror_pose(mirrored, skeleton), pose)
    left, right = list(skeleton.left), list(skeleton.right)
    assert torch.equal(mirrored[..., left, 0], -pose[..., right, 0])
    assert torch.equal(mirrored[..., left, 1:], pose[..., right, 1:])
    assert torch.equal(mirrored[..., 0, 1:], pose[..., 0, 1:])


def test_a_mirrored_pose_projects_through_a_mirrored_camera_to_the_mirrored_image():
    torch.manual_seed(4)
    pose = 0.4 * torch.randn(3, 17, 3) + torch.tensor([0.0, 0.0, 5.0])
    cameras = torch.tensor([[2.29, 2.28, 0.02, 0.03, -0.2, 0.24, 0.0, -0.001, -0.002]]).expand(
        3, -1
    )
    plain = camera.project(pose, cameras)
    mirrored = camera.project(pose_ops.mirror_pose(pose, H36M_17), pose_ops.mirror_camera(cameras))
    torch.testing.assert_close(mirrored, pose_ops.mirror_pose(plain, H36M_17), rtol=1e-4, atol=1e-6)


def test_mirror_pairs_of_the_spec():
    assert H36M_17.left == (4, 5, 6, 11, 12, 13)
    assert H36M_17.right == (1, 2, 3, 14, 15, 16)
    assert H36M_16.left == (4, 5, 6, 10, 11, 12)
    assert H36M_16.right == (1, 2, 3, 13, 14, 15)
    assert H36M_16.joint_names[9] == "head"


def test_flip_testing_averages_both_passes():
    pose = torch.randn(3, 4, 17, 2)
    seen = []

    def predict(batch):
        seen.append(batch)
        return torch.nn.functional.pad(batch, (0, 1))

    averaged = pose_ops.predict_with_flip(predict, pose, H36M_17)
    assert len(seen) == 1  # both passes in one batch
    torch.testing.assert_close(averaged[..., :2], pose)


def test_centring_on_the_root():
    pose = torch.randn(6, 17, 3)
    relative = pose_ops.centre_on_root(pose)
    assert not relative[:, 0].any()
    torch.testing.assert_close(relative + pose[:, :1], pose)
    zeroed = pose_ops.with_zero_root(pose)
    assert not zeroed[:, 0].any()
    assert torch.equal(zeroed[:, 1:], pose[:, 1:]) and pose[:, 0].any()
