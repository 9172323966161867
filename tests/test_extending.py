"""A data set, a skeleton, a metric, a loss term and a backbone from outside the product."""

import json

import numpy as np
import pytest
from runs import Run

FLAGS = (
    "--dataset toy --backbone frames --n_joints 17 -f 9 --channel 16 -b 32 --gpu 0 --nepoch 8 "
    "--lr 0.01 --name t"
).split()
FOLDER = "checkpoint/finetune_t_f9_t0.80"


@pytest.mark.slow
def test_what_is_added_from_outside_trains_evaluates_prints_and_draws(tmp_path):
    run = Run("tests/extension.py", tmp_path, *FLAGS, "--train", "1", "--vis", "1").end()
    folder = tmp_path / FOLDER
    results = json.loads((folder / "results.json").read_text())
    first, last = results["history"][0], results["history"][-1]
    # The loss term is part of the loss, is learned, and stands in every record by its name.
    for term in ("sequence", "target", "bones"):
        assert last[f"loss/{term}"] < first[f"loss/{term}"]
    parts = last["loss/sequence"] + last["loss/target"] + 0.5 * last["loss/bones"]
    assert last["loss"] == pytest.approx(parts, rel=1e-5)
    epoch = next(line for line in run.stdout.splitlines() if line.startswith("epoch 8/8"))
    assert " bones 0." in epoch and " worst " in epoch
    # The metric is a column of the table, of the results and of the last line.
    lines = run.stdout.splitlines()
    titles = next(line for line in lines if line.startswith("Person"))
    assert titles.split() == ["Person", "p1", "mm", "worst", "mm", "frames"]
    row = next(line for line in lines if line.startswith("Eve")).split()
    assert float(row[2]) > float(row[1]) and row[3] == "120"
    assert lines[-1] == f"toy p1: {row[1]}, worst: {row[2]}"
    assert results["test"]["persons"]["Eve"]["worst_joint"] == pytest.approx(
        float(row[2]), abs=0.01
    )
    for picture in ("predictions.png", "learning_curve.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    # Its weights are evaluated by naming the file only: backbone and sizes are in it.
    weights = max(folder.glob("t_no_refine_*.pth"), key=lambda path: path.stat().st_mtime)
    again = Run(
        "tests/extension.py", tmp_path / "again", "--dataset", "toy", "--n_joints", "17", "-f", "9",
        "--channel", "16", "--reload", "1", "--previous_dir", weights,
        "--save_predictions", "p.npz",
    ).end()  # fmt: skip
    assert "--backbone frames" in again.stdout
    assert again.stdout.splitlines()[-1] == lines[-1]
    with np.load(tmp_path / "again" / "p.npz") as saved:
        assert saved["joint_names"][5] == "left shoulder"
        assert saved["predicted_3d"].shape == (120, 17, 3)


def test_an_unknown_data_set_is_named(mistake):
    line = mistake("trainer.py", "--dataset", "toy")
    assert "--dataset 'toy' is not a comma list of h36m, 3dhp, amass" in line
