"""pretrainer.py from the outside: real runs of its commands."""

import json
import shutil

import numpy as np
import pytest
import torch
from goldens import EXPECTED, filled, golden_command, last_numbers, save_released
from paths import GOLDEN
from runs import TINY, assert_same_end, last_checkpoint, straight_and_resumed

from model.masked_pose import MaskedPoseModel

ROWS = [name for name in EXPECTED if name.startswith("comp")]
TRAIN = ["--MAE", "--train", "1", "--name", "t", "--nepoch", "2", "-tmr", "0.6", "-smn", "5", *TINY]
FOLDER = "checkpoint/pretrain_t_f9_t0.60"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    model = MaskedPoseModel(frames=27, num_joints=17, layers=3, decoder_depth=2)
    save_released(filled(model), folder / "comp_f27_j17_l3.pth")
    for path in (GOLDEN / "ckpt").glob("*.pth"):
        shutil.copy(path, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_golden_evaluations(row, script, weights, tmp_path):
    done = script(*golden_command(row, weights))
    lines = done.stdout.splitlines()
    printed, wanted = last_numbers(lines[-1]), last_numbers(EXPECTED[row]["last_line"])
    np.testing.assert_allclose(printed, wanted, atol=0.02)
    # With one limb set its row and the mixture agree.
    assert lines[-3].split()[-6:] == lines[-2].split()[-6:]


@pytest.fixture(scope="module")
def tiny_completion(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "x.pth"
    torch.manual_seed(0)
    model = MaskedPoseModel(
        frames=9, num_joints=17, layers=1, decoder_depth=2, width=16, hidden_width=16
    )
    return save_released(model, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("--comp3d 1 --mask_manner3D 0,1,2,3", 5),
        ("--comp3d 1 --mask_manner3D 0,1,2,3 --test_augmentation True", 5),
        ("--comp2dlift 1 --mask_manner2D 0,1,2,3", 5),
        ("--comp2dlift 1", 6),  # the default list ends in six joints at random
        ("--onlylift 1", 1),
    ],
)
def test_each_limb_set_has_a_row(script, tiny_completion, words, rows, tmp_path):
    reload = ["--MAEreload", "1", "--MAEcp", tiny_completion, "--MAE", "--vis", "1", "--debug", "1"]
    done = script("pretrainer.py", *TINY, *words.split(), *reload)
    lines = done.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Hidden "))
    assert len(lines[start + 1 : -1]) == rows
    assert lines[-1].startswith("maep1: ")
    picture = tmp_path / "checkpoint/pretrain_test_f9_t0.80/completions.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = script("pretrainer.py", *TINY, *words.split(), *reload)
    assert again.stdout.splitlines()[start:] == lines[start:]  # the masks are the same each time


@pytest.mark.slow
def test_the_mirrored_pass_hides_the_mirrored_joints(script, tiny_completion):
    lines = {}
    for name, words in (
        ("plain", ""),
        ("mirrored", "--test_augmentation True"),
        ("as published", "--test_augmentation True --legacy_flip_mask 1"),
    ):
        done = script(
            "pretrainer.py", *TINY, "--comp2dlift", "1", "--mask_manner2D", "2", "--MAEreload", "1",
            "--MAEcp", tiny_completion, *words.split(),
        )  # fmt: skip
        lines[name] = done.stdout.splitlines()[-1]
    assert len(set(lines.values())) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "",
        "--comp3d 1",
        "--comp2dlift 1 --test_augmentation True",
        "--comp2dlift 1 --mask_manner2D none,0,left_leg,6",
        "--onlylift 1",
        "--n_joints 16 --poseaug 0 --vis 1",
        "--precision bf16",
        "-b 2 -s 10 --debug 1 --data_augmentation False",  # batches of one modality occur
        "-f 1 -b 16 -s 100",
        "--modalities 2d -b 16",
        "--modalities 3D,2d",
        "--frozen 1 --frozen_parts encoder2d,shared_layers_spatial",
        "--test 0",
        "--n_joints 16 --dataset h36m,3dhp,amass",
        "--n_joints 16 --dataset amass -s 4",
        "--n_joints 16 --dataset 3dhp,amass --dataset_weights 1,2 --reverse_augmentation True "
        "--subjects_train S1 --subjects_test TS5",
    ],
)
def test_tasks_train(script, words, tmp_path):
    done = script("pretrainer.py", *TRAIN, *words.split())
    results = next((tmp_path / "checkpoint").glob("pretrain_t_*/results.json"))
    history = json.loads(results.read_text())["history"]
    assert len(history) == 2 and all(np.isfinite(record["loss"]) for record in history)
    weights = list(results.parent.glob("t_pretrain_*_2D.pth"))
    assert len(weights) == 2  # after every epoch
    if "frozen" in words:
        assert "frozen: encoder2d, shared_layers_spatial" in done.stdout


@pytest.mark.slow
def test_the_windows_of_each_data_set_are_printed_and_tested(script, tmp_path):
    words = "--n_joints 16 --dataset h36m,3dhp,amass -s 1 --nepoch 1".split()
    done = script("pretrainer.py", *TRAIN, *words, "--debug", "1")
    # 300 frames of each, all mirrored but those of AMASS, whose windows lie inside: 300 - 10.
    assert "training windows: h36m 600, 3dhp 600, amass 290" in done.stdout
    rows = [line.split()[0] for line in done.stdout.splitlines()[-4:-1]]
    assert rows == ["h36m", "3dhp", "joints"]


@pytest.mark.slow
def test_frozen_parts_stay_as_they_are(script, tmp_path):
    model = MaskedPoseModel(
        frames=9, num_joints=17, layers=1, decoder_depth=1, width=16, hidden_width=16
    )
    save_released(model, tmp_path / "x.pth")
    words = ["--frozen", "1", "--frozen_parts", "encoder2d", "--MAEreload", "1"]
    script("pretrainer.py", *TRAIN, *words, "--MAEcp", "x.pth", "--nepoch", "1")
    after = last_checkpoint(tmp_path / FOLDER)["modules"]["pretrain"]
    for name, tensor in model.state_dict().items():
        if name.startswith("encoder2d."):
            assert torch.equal(after[f"module.{name}"], tensor), name
    assert not torch.equal(after["module.encoder3d.fc_1.weight"], model.encoder3d.fc_1.weight)


@pytest.mark.slow
def test_killed_and_resumed_a_run_ends_where_an_uninterrupted_one_does(tmp_path):
    words = [*TRAIN, "--nepoch", "3"]
    ends = straight_and_resumed("pretrainer.py", tmp_path, words, FOLDER, "t_pretrain_1_*")
    assert_same_end(*ends)


@pytest.mark.slow
def test_pre_trained_weights_go_into_the_lifter(script, tmp_path):
    script("pretrainer.py", *TRAIN, "--nepoch", "1")
    weights = next((tmp_path / FOLDER).glob("t_pretrain_1_*.pth"))
    fine_tune = ["--train", "1", "--nepoch", "1", "--MAEreload", "1", "--previous_dir", weights]
    done = script("trainer.py", *fine_tune, *TINY)
    report = next(line for line in done.stdout.splitlines() if "loaded" in line)
    for part in ("encoder2d 7/7", "shared_layers_spatial 16/16", "shared_layers_temporal 19/19"):
        assert part in report
    assert "Transformer_reduce 0/" in report


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--comp3d 1 --mask_manner3D x", "--mask_manner3D 'x' is not a comma list"),
        ("--comp3d 1 --mask_manner3D 40", "numbers up to 20"),
        ("--comp3d 1 --mask_manner3D 0,nose", "or of none, right_leg, left_leg, left_arm"),
        ("-smn 18", "-smn 18 is more than the 17 joints"),
        ("--comp3d 1 --onlylift 1", "exclude each other"),
        ("--MAEreload 1", "--MAEreload 1 needs a path: --MAEcp"),
        ("--dataset h36m,cmu", "is not a comma list of h36m, 3dhp, amass"),
        ("--dataset h36m,h36m", "each once"),
        ("--dataset h36m,3dhp --dataset_weights 1", "1 numbers for the 2 data sets"),
        ("--modalities 2d,4d", "'2d,4d' is none of 2d, 3d and 2d,3d"),
        ("--modalities 3d --train 1 --n_joints 16", "use --modalities 2d,3d or --poseaug 0"),
        ("--dataset amass --n_joints 16", "nothing to train on or to test on"),
        ("--dataset 3dhp", "use --n_joints 16"),
        ("--dataset amass --train 1", "use --n_joints 16"),
        ("--dataset amass --train 1 --n_joints 16 -f 351 -s 1000 --subset 0.1", "long enough for"),
        ("--train 1 --frozen 1 --frozen_parts legs", "no part 'legs'; there are"),
        (f"--MAEreload 1 --MAEcp {GOLDEN}/ckpt/nothing.pth", "no such checkpoint"),
    ],
)
def test_mistakes(mistake, words, complaint):
    assert complaint in mistake("pretrainer.py", "--MAE", *TINY, *words.split())
