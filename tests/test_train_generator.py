"""Training of PoseAug generators, and pre-training with them, from the outside."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch
from paths import ROOT, SAMPLE
from runs import TINY, Run, assert_same_tensors, last_checkpoint, straight_and_resumed, torchrun

from Augpart.adversarial_training import collapses, single_poses
from Augpart.augment import in_view, load_generator
from Augpart.bones import bone_lengths, bones_of
from Augpart.pose_generator import GeneratorNoise, PoseGenerator
from common.data.camera import project
from common.data.h36m import H36MFiles
from common.data.skeleton import H36M_16

SCRIPT = "Augpart/train_generator.py"
WORDS = f"--root_path {SAMPLE} --subjects_train S7,S8 --gpu 0 --nepoch 4 -b 64 --downsample 8 "
WORDS += "--warm_up 1 --save_every 2 --output g --lr 0.001"
TRAIN = WORDS.split()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a short training of a generator."""
    folder = tmp_path_factory.mktemp("trained")
    run = Run(SCRIPT, folder, *TRAIN, "--vis", "1")
    return folder / "g", run.end().stdout


@pytest.mark.slow
def test_what_a_training_leaves_behind(trained):
    folder, output = trained
    assert sorted(path.name for path in folder.glob("*.pth.tar")) == [
        "ckpt_generater2.pth.tar",
        "ckpt_generater4.pth.tar",
    ]
    content = torch.load(folder / "ckpt_generater4.pth.tar", weights_only=True)
    assert content["options"]["blr_tanhlimit"] == 0.2
    PoseGenerator().load_state_dict(content["model_G"])
    results = json.loads((folder / "results.json").read_text())
    # Bones to spine and thorax keep their direction, the one to the thorax its length.
    bones = results["bones"]
    assert len(bones) == 15 and bones["spine"][0] < 0.1 and bones["thorax"][0] < 0.1
    assert bones["thorax"][1] < 1e-3 and bones["left knee"][1] > 0.1
    assert bones["left knee"][0] > 1 and "left knee " in output
    history = results["history"]
    rates = [record["learning_rate"] for record in history]
    np.testing.assert_allclose(rates, [0.001, 0.00075, 0.0005, 0.00025])
    for record in history:
        assert all(np.isfinite(value) for value in record.values())
        assert record["monitored"] == record["lifter_mm"]
        assert 0 <= record["discriminator_3d_accuracy"] <= 1 and 0 < record["turn_degrees"] < 90
    assert history[-1]["lifter_mm"] < history[0]["lifter_mm"]
    assert "epoch 4/4" in (folder / "train.log").read_text()
    assert (folder / "generator.png").read_bytes().startswith(b"\x89PNG")
    assert "generators in g: ckpt_generater2.pth.tar, ckpt_generater4.pth.tar" in output


@pytest.mark.slow
def test_killed_and_resumed_it_ends_where_an_uninterrupted_one_does(trained, tmp_path):
    run = Run(SCRIPT, tmp_path, *TRAIN)
    run.wait_for((tmp_path / "g" / "ckpt_generater2.pth.tar").exists)
    run.send(signal.SIGKILL)
    run = Run(SCRIPT, tmp_path, *TRAIN, "-r")
    again = tmp_path / "g"
    run.wait_for(lambda: "resuming in" in (again / "train.log").read_text())
    run.send(signal.SIGTERM)  # in the middle of an epoch
    run.end(expect=130)
    assert run.stderr.strip().splitlines()[-1].endswith(" -r")
    Run(SCRIPT, tmp_path, *TRAIN, "-r").end()
    one, two = last_checkpoint(trained[0]), last_checkpoint(again)
    for name in ("generator", "lifter", "discriminator_3d", "discriminator_2d"):
        assert_same_tensors(one["modules"][name], two["modules"][name])
    for name in ("discriminator_3d", "discriminator_2d"):
        a, b = (c["optimizer"]["pools"][name]["stored"] for c in (one, two))
        assert torch.equal(a, b) and len(a) > 100
    files = [folder / "ckpt_generater4.pth.tar" for folder in (trained[0], again)]
    states = [torch.load(path, weights_only=True)["model_G"] for path in files]
    assert_same_tensors(*states)


def test_real_poses_are_those_of_the_store_with_the_bones_of_training_subjects():
    store = H36MFiles.read(SAMPLE, "gt").store(["S6", "S8"], H36M_16)
    poses, num_dropped = single_poses(store)
    assert len(poses) + num_dropped == store.num_frames and num_dropped > 0
    screen = project(poses.pose_3d, poses.cameras[poses.camera_of])
    assert in_view(poses.pose_3d[:, None], screen[:, None]).all()
    on_screen = (store.pose_2d.abs() <= 1).flatten(1).all(1)  # the 2D poses are projections
    torch.testing.assert_close(screen, store.pose_2d[on_screen], atol=1e-4, rtol=0)
    generator = torch.Generator().manual_seed(0)
    changed, camera = poses.with_random_bodies(torch.arange(300), generator)
    lengths = bone_lengths(bones_of(changed))
    matches = torch.isclose(lengths[:, None], poses.body_lengths, atol=1e-5).all(-1)
    assert matches.any(-1).all() and matches.any(0).all()  # each one's are a subject's, both occur
    torch.testing.assert_close(changed[:, 0], poses.pose_3d[:300, 0])
    assert camera.shape == (300, 9)


def test_a_collapse_is_said():
    sound = {
        "discriminator_2d_accuracy": 0.7,
        "discriminator_3d_accuracy": 0.6,
        "turn_spread": 3.0,
        "length_spread": 2.0,
    }
    assert not collapses(sound)
    for change, words in (
        ({"discriminator_3d_accuracy": 1.0}, "the 3D discriminator was right about every pose"),
        ({"turn_spread": 0.01}, "all poses are turned alike"),
        ({"length_spread": 0.01}, "all bodies are stretched alike"),
    ):
        (line,) = collapses(sound | change)
        assert words in line


@pytest.mark.slow
def test_pre_training_uses_every_generator(script, trained, tmp_path):
    words = ["--MAE", "--train", "1", "--name", "t", "--nepoch", "1", *TINY, "--n_joints", "16"]
    with_it = script("pretrainer.py", *words, "--generators", trained[0])
    line = next(line for line in with_it.stdout.splitlines() if "blr_tanhlimit" in line)
    assert line.endswith("was trained with --blr_tanhlimit 0.2, this run uses 0.15")
    without = script("pretrainer.py", *words, "--poseaug", "0")
    assert "blr_tanhlimit" not in without.stdout
    losses = []
    for folder in ("earlier_1", "."):
        results = tmp_path / "checkpoint/pretrain_t_f9_t0.80" / folder / "results.json"
        losses.append(json.loads(results.read_text())["history"][0]["loss"])
    assert losses[0] > 1.2 * losses[1]  # half of the steps have the losses of augmented poses, too


@pytest.mark.slow
def test_a_pre_training_with_poseaug_is_resumed_exactly(trained, tmp_path):
    words = ["--MAE", "--train", "1", "--name", "t", "--nepoch", "2", *TINY, "--n_joints", "16"]
    words += ["--generators", trained[0], "-tmr", "0.6", "-smn", "5"]
    place = "checkpoint/pretrain_t_f9_t0.60"
    one, two = straight_and_resumed("pretrainer.py", tmp_path, words, place, "t_pretrain_1_*")
    assert_same_tensors(one["modules"]["pretrain"], two["modules"]["pretrain"])


@pytest.mark.slow
def test_two_processes_agree_on_which_steps_are_augmented(trained, tmp_path):
    """If they did not, one would wait for gradients that the other never sends."""
    words = ["--MAE", "--train", "1", "--name", "t", "--nepoch", "1", *TINY, "--n_joints", "16"]
    torchrun(tmp_path, 2, ROOT / "pretrainer.py", *words, "--generators", trained[0])
    last = last_checkpoint(tmp_path / "checkpoint" / "pretrain_t_f9_t0.80")
    assert last["position"]["finished"] and len(last["random_states"]) == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--generators .", "train one with `python Augpart/train_generator.py`"),
        ("--poseaug 1 --dataset h36m,amass", "on --dataset h36m alone"),
        ("--poseaug 1 --n_joints 17", "with --n_joints 16"),
    ],
)
def test_mistakes_of_pre_training(mistake, words, complaint):
    line = mistake(
        "pretrainer.py", "--MAE", "--train", "1", *TINY, "--n_joints", "16", *words.split()
    )
    assert complaint in line
    assert "--poseaug 0" in line or "--poseaug 1 is for" in line


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("-r", "no interrupted run in g"),
        ("--nepoch 0", "is below 1"),
        ("--subjects_train S3", "holds no subject S3"),
        ("--lifter no.pth", "no such checkpoint"),
        ("--output theirs", "holds generators that no run here made"),
    ],
)
def test_mistakes_of_training_a_generator(mistake, tmp_path, words, complaint):
    (tmp_path / "theirs").mkdir()
    torch.save({"model_G": {}}, tmp_path / "theirs" / "ckpt_generater21.pth.tar")
    assert complaint in mistake(SCRIPT, *TRAIN, *words.split())


def test_it_trains_on_the_people_that_the_data_name(mistake, tmp_path):
    shutil.copy(SAMPLE / "data_2d_h36m_gt.npz", tmp_path)
    content = dict(np.load(SAMPLE / "data_3d_h36m.npz", allow_pickle=True))
    split = np.array({"train_subjects": ["Nobody"]}, dtype=object)
    np.savez(tmp_path / "data_3d_h36m.npz", **{**content, "metadata": split})
    line = mistake(SCRIPT, "--root_path", tmp_path, "--output", "g")
    assert "holds no subject Nobody" in line


@pytest.mark.slow
def test_a_longer_training_gives_whole_bodies_in_their_ranges_on_the_screen(script, tmp_path):
    words = [*TRAIN, "--downsample", "4", "--nepoch", "6", "--warm_up", "2", "--save_from", "6"]
    script(SCRIPT, *words)
    generator = load_generator(tmp_path / "g" / "ckpt_generater6.pth.tar", length_limit=0.2)
    store = H36MFiles.read(SAMPLE, "gt").store(["S9", "S11"], H36M_16)
    poses, _ = single_poses(store)
    chosen = torch.arange(0, len(poses), 7)
    pose_3d, camera = poses.pose_3d[chosen].unsqueeze(1), poses.cameras[poses.camera_of[chosen]]
    noise = GeneratorNoise.draw(len(chosen), torch.Generator().manual_seed(0))
    generated = generator(pose_3d, noise=noise)
    # The mean turn, 1 - cosine, is in the range that training asked for: 0.205 +- 0.165.
    turns = generated.angle_difference.mean(-1)
    assert 0.04 < turns.mean() < 0.37
    # Lengths change within their limit, alike on both sides.
    before, after = (bone_lengths(bones_of(p))[:, 0] for p in (pose_3d, generated.bone_length))
    ratio = after / before - 1
    assert 0.01 < ratio.abs().max() <= 0.2 + 1e-4
    assert ratio.abs().mean() < 0.1
    for right, left in ((0, 3), (1, 4), (2, 5), (9, 12), (10, 13), (11, 14)):
        torch.testing.assert_close(ratio[:, right], ratio[:, left], atol=1e-4, rtol=0)
    seen = in_view(generated.moved, project(generated.moved, camera))
    assert seen.float().mean() > 0.7
