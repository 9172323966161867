"""Results that are not finite are reported, never averaged away."""

import json
import math

import numpy as np
import pytest
import torch
from paths import SAMPLE
from runs import TINY, Run

from common.data import h36m
from common.data.skeleton import H36M_17
from common.errors import FailedRun, UserError
from common.evaluation.lifting import check_finite, lifting_table, score
from common.training.checkpoint import WeightFile, released_format
from model.build import ModelSize, build_lifter, build_masked_model

RULE = h36m.DATA_SET.table
SIZE = ModelSize(frames=9, num_joints=17, layers=1, width=16, hidden_width=16)


@pytest.fixture(scope="module")
def store():
    return h36m.H36MFiles.read(SAMPLE, "gt").store(["S9"], H36M_17)


def scores_of(store, change=lambda predicted: None):
    frames = torch.arange(store.num_frames)
    predicted = store.pose_3d + 0.01
    change(predicted)
    return score(predicted, frames, store, RULE.metrics)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_frame_that_is_not_finite_shows_in_its_row_and_the_means(store, value):
    def spoil(predicted):
        predicted[3, 5, 1] = value

    scores = scores_of(store, spoil)
    table = lifting_table(scores, store, RULE)
    spoilt = RULE.row_of(store.names[0])
    for row in table.rows:
        assert math.isnan(row.values["protocol_1"]) == (row.name == spoilt)
    assert math.isnan(table.average.values["protocol_1"])
    assert math.isnan(table.frame_average.values["protocol_2"])
    assert not any("no true 3D" in line for line in table.lines())
    with pytest.raises(FailedRun, match=rf"predictions of 1 of {len(scores.frames)} frames"):
        check_finite(scores, store)


def test_finite_predictions_are_fine(store):
    scores = scores_of(store)
    check_finite(scores, store)
    table = lifting_table(scores, store, RULE)
    assert table.result.values["protocol_1"] == pytest.approx(1000 * 0.01 * math.sqrt(3), rel=1e-3)


def test_frames_without_a_true_pose_are_counted_apart(store):
    pose_3d = store.pose_3d.clone()
    first, second = store.sequence_slices()[0], store.sequence_slices()[-1]
    pose_3d[first.start : first.start + 10] = math.nan
    unknown = [
        s
        for s, n in zip(store.sequence_slices(), store.names, strict=True)
        if RULE.row_of(n) == RULE.row_of(store.names[-1])
    ]
    for frames in unknown:
        pose_3d[frames] = math.nan
    assert second in unknown
    partly = type(store)(**{**vars(store), "pose_3d": pose_3d})
    frames = torch.arange(store.num_frames)
    table = lifting_table(score(store.pose_3d + 0.01, frames, partly, RULE.metrics), partly, RULE)
    by_name = {row.name: row for row in table.rows}
    full = lifting_table(scores_of(store), store, RULE)
    row, last = RULE.row_of(store.names[0]), RULE.row_of(store.names[-1])
    whole = next(r for r in full.rows if r.name == row)
    assert by_name[row].values["frames"] == whole.values["frames"] - 10
    assert by_name[last].values["frames"] == 0 and math.isnan(by_name[last].values["protocol_1"])
    assert math.isfinite(table.average.values["protocol_1"])  # of the rows that have frames
    lines = table.lines()
    assert any(line.startswith(f"no true 3D poses of {last}:") for line in lines)
    assert any(f"{row} (10 frames)" in line for line in lines)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    state = released_format(build_lifter("mpm", SIZE))
    state["module.fcn.1.bias"][0] = value
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"NaN or infinity in 1 of its \d+ tensors: fcn.1.bias"):
        WeightFile.load(tmp_path / "x.pth")


@pytest.mark.slow
@pytest.mark.parametrize("script", ["trainer.py", "pretrainer.py"])
def test_a_test_that_overflows_ends_with_exit_code_1(tmp_path, script):
    """Weights that are finite, and results that are not."""
    model = (
        build_lifter("mpm", SIZE)
        if script == "trainer.py"
        else build_masked_model(SIZE, decoder_depth=2)
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("fcn", "fcn_dec")):
                parameter.fill_(3e38)
    torch.save(released_format(model), tmp_path / "x.pth")
    words = (
        ["--reload", "1", "--previous_dir", "x.pth"]
        if script == "trainer.py"
        else ["--MAE", "--comp3d", "1", "--MAEreload", "1", "--MAEcp", "x.pth"]
    )
    run = Run(script, tmp_path, *TINY, *words).end(expect=1)
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith("error: ") and "are not finite" in line and "S9 " in line
    if script == "trainer.py":  # the table and the results came first
        assert np.all(["-" in row.split() for row in run.stdout.splitlines()[-3:-1]])
        results = next((tmp_path / "checkpoint").glob("*/results.json"))
        assert json.loads(results.read_text())["test"]["average"]["protocol_1"] is None
