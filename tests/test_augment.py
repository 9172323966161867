"""Augmentation of windows with saved generators, and pictures of it."""

import math
import os

import pytest
import torch
from hostile import Calls
from poseaug import CAMERA, POSES, augmenter, far_generator, fresh, generate, rng, save_generator

from Augpart import augment
from Augpart.draw import draw_stages
from Augpart.pose_generator import GeneratorNoise, PoseGenerator
from common.data.camera import project
from common.errors import UserError
from common.tasks.losses import mpjpe


def test_augmenter_drops_what_leaves_the_screen(tmp_path):
    save_generator(tmp_path / "ckpt_generater21.pth.tar", far_generator(8.0))
    augmented = augmenter(tmp_path)
    batch, camera = POSES.repeat(20, 1, 1, 1), CAMERA.repeat(20, 1)
    pose_3d, pose_2d, weights = augmented(batch, camera)
    noise = GeneratorNoise.draw(60, rng())
    with torch.no_grad():
        moved = augmented.pose_generators[0](batch, noise=noise).moved
    screen = project(moved, camera)
    kept = [i for i in range(60) if screen[i].abs().max() <= 1 and moved[i, ..., 2].min() > 0]
    assert 5 < len(kept) < 55
    assert torch.equal(pose_2d, screen[kept])
    assert torch.equal(pose_3d, moved[kept] - moved[kept][..., :1, :])
    assert not pose_3d[..., 0, :].any()
    assert weights.tolist() == [1.0] * len(kept)


@pytest.mark.parametrize("number", [0, 1, 2, 5, 7, 12])
def test_repeated_windows_weigh_as_much_as_those_that_are_kept(number):
    source = torch.Generator().manual_seed(number)
    kept = torch.randperm(12, generator=source) < number
    windows = torch.randn(12, 9, 16, 3, generator=source)
    windows[~kept] = torch.nan  # a window may leave the view at infinity
    others = torch.randn(12, 4, generator=source)
    only, only_others, ones = augment.kept_only(kept, windows, others)
    repeated, repeated_others, weights = augment.kept_repeated(kept, windows, others)
    assert repeated.shape == windows.shape and repeated.isfinite().all()
    target = torch.zeros(())
    if not number:
        assert not weights.any() and mpjpe(repeated, target, weights) == 0
        return
    want = mpjpe(only, target, ones)
    torch.testing.assert_close(mpjpe(repeated, target, weights), want)
    torch.testing.assert_close(want, mpjpe(only, target))
    for window, other, weight in zip(repeated, repeated_others, weights, strict=True):
        same = [torch.equal(window, one) for one in only]
        assert sum(same) == 1 and torch.equal(other, only_others[same.index(True)])
        copies = sum(torch.equal(window, one) for one in repeated)
        assert weight == pytest.approx(1 / copies)


def test_one_joint_out_of_view_is_enough():
    screen, poses = torch.zeros(5, 9, 16, 2), torch.ones(5, 9, 16, 3)
    screen[0, 8, 15, 1] = 1.001
    screen[1, 0, 0, 0] = -1.001
    screen[2, 4, 3, 1] = torch.nan
    poses[3, 2, 7, 2] = -0.1  # behind the camera
    assert augment.in_view(poses, screen).tolist() == [False, False, False, False, True]


def test_augmenter_can_drop_everything(tmp_path):
    module = far_generator(0.0)
    module.RTprocess.get_submodule("w2_T").bias.data[0] = 100
    save_generator(tmp_path / "a.pth.tar", module)
    pose_3d, pose_2d, _ = augmenter(tmp_path)(POSES, CAMERA)
    assert pose_3d.shape == (0, 9, 16, 3) and pose_2d.shape == (0, 9, 16, 2)


def test_augmenter_repeats_with_the_seed(tmp_path):
    for number in (21, 31):
        save_generator(tmp_path / f"ckpt_generater{number}.pth.tar", fresh(number, depth=5.0))
    one, two = augmenter(tmp_path, 3), augmenter(tmp_path, 3)
    results = []
    for _ in range(5):
        (pose, screen, _), (same_pose, same_screen, _) = one(POSES, CAMERA), two(POSES, CAMERA)
        assert torch.equal(pose, same_pose) and torch.equal(screen, same_screen)
        results.append(screen)
    assert len(results[0])
    assert not torch.equal(results[0], results[1])


def test_every_generator_is_used_and_gradients_are_off(tmp_path):
    for number in (21, 31, 37):
        save_generator(tmp_path / f"ckpt_generater{number}.pth.tar", far_generator(1.0))
    augmented, used = augmenter(tmp_path), [0, 0, 0]
    for number, module in enumerate(augmented.pose_generators):

        def count(*_, number=number):
            used[number] += 1

        module.register_forward_hook(count)
    for _ in range(300):
        results = augmented(POSES[:1, :1].clone().requires_grad_(), CAMERA[:1])
        assert not any(result.requires_grad for result in results)
    assert sum(used) == 300
    assert all(abs(times - 100) < 4 * math.sqrt(300 * 2 / 9) for times in used)


def test_generators_are_loaded_as_they_were_saved(tmp_path, caplog):
    module = PoseGenerator()
    state = {f"module.{name}": t for name, t in module.state_dict().items()}
    path = tmp_path / "ckpt_generater31.pth.tar"
    torch.save({"model_G": state, "epoch": 31, "optimizer_G": {"state": {}}}, path)
    loaded = augment.load_generator(path, length_limit=0.2)
    for name, tensor in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert loaded.length_limit == 0.2 and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not caplog.records


def test_another_length_limit_is_told(tmp_path, caplog):
    options = {"blr_tanhlimit": 0.2, "epochs": 50}
    path = save_generator(tmp_path / "a.pth.tar", PoseGenerator(), options=options)
    augment.load_generator(path, length_limit=0.2)
    assert not caplog.records
    augment.load_generator(path, length_limit=0.15)
    (record,) = caplog.records
    assert "0.2" in record.getMessage() and "0.15" in record.getMessage()


def test_no_generator_says_how_to_train_one(tmp_path):
    (tmp_path / "ckpt.pth").touch()
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match=r"python Augpart/train_generator.py.*--poseaug 0"):
            augmenter(folder)


def test_hostile_generator_is_refused(tmp_path):
    victim = tmp_path / "victim"
    call = Calls(os.system, f"touch {victim}")
    torch.save({"model_G": PoseGenerator().state_dict(), "options": call}, tmp_path / "a.pth.tar")
    with pytest.raises(UserError, match="a.pth.tar"):
        augmenter(tmp_path)
    assert not victim.exists()


def test_generators_that_do_not_fit_are_refused(tmp_path):
    state = PoseGenerator().state_dict()
    state["foreign"] = state.pop("BAprocess.w2.bias")
    state["BLprocess.w2_BL.bias"] = torch.zeros(10)
    path = tmp_path / "a.pth.tar"
    torch.save({"model_G": state}, path)
    with pytest.raises(UserError) as mistake:
        augmenter(tmp_path)
    for word in ("a.pth.tar", "missing: BAprocess.w2.bias", "unexpected: foreign", "w2_BL.bias 10"):
        assert word in str(mistake.value)
    for content in ({"model_G": 3}, [1, 2], {}):
        torch.save(content, path)
        with pytest.raises(UserError, match="a.pth.tar"):
            augmenter(tmp_path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="damaged"):
        augmenter(tmp_path)


@pytest.mark.slow
def test_stages_are_drawn(tmp_path):
    pixels = {}
    for rows in (1, 2):
        path = tmp_path / f"{rows}.png"
        draw_stages(path, POSES, generate(), CAMERA, rows=rows)
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        pixels[rows] = [int.from_bytes(content[i : i + 4], "big") for i in (16, 20)]
    assert pixels[2] == [pixels[1][0], 2 * pixels[1][1]]
