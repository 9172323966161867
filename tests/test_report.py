"""`python -m common.report`: results of runs as one table, over seeds, beside published numbers."""

import json
import math
import os
import sys

import pytest
from paths import GOLDEN, SAMPLE

from common import report as report_script
from common.errors import UserError
from common.evaluation.results import load_published, mean_and_spread
from common.report import report


@pytest.fixture
def run(tmp_path):
    """Write the results of a run; returns its folder."""

    def write(folder: str, *, script: str = "trainer.py", test=None, **options):
        command = f"python {script}"
        chosen = {"manualSeed": 1, "name": "", "dataset": "h36m", "keypoints": "gt", "frames": 27}
        chosen |= {"n_joints": 17, "train": 1, "command": command, "previous_dir": ""} | options
        if test is None:
            test = lifted(50.0)
        path = tmp_path / folder
        path.mkdir(parents=True)
        content = {"command": command, "test": test, "options": chosen}
        content["history"] = [{"seconds": 1800.0}, {"seconds": 1800.0}]
        (path / "results.json").write_text(json.dumps(content))
        return path

    return write


def lifted(error: float, *, frames: int = 100):
    """The test of a lifter, whose mean over frames differs."""
    values = {"protocol_1": error, "protocol_2": error - 10, "velocity": None, "frames": frames}
    return {
        "actions": {"Walking": values},
        "average": values,
        "average_over_frames": values | {"protocol_1": error + 1},
    }


def cells(lines: list[str]) -> list[dict[str, str]]:
    """The rows of a Markdown table, title -> cell."""
    table = [line.strip("|").split(" | ") for line in lines if line.startswith("|")]
    titles, rule, *rows = [[cell.strip() for cell in row] for row in table]
    assert all(set(mark) <= set("-:") for mark in rule) and len(rule) == len(titles)
    return [dict(zip(titles, row, strict=True)) for row in rows]


def test_seeds_of_one_experiment_are_one_row(run):
    for seed, error in ((1, 50.0), (2, 53.0), (3, 56.0)):
        run(f"runs/{seed}", name=f"tuned_s{seed}", manualSeed=seed, test=lifted(error))
    folder = run("runs/other", name="tuned_s1", frames=9).parent
    first, second = cells(report(sorted(folder.iterdir()), []))
    assert first["run"] == second["run"] == "tuned"
    assert (first["frames"], first["seeds"], first["p1 mm"]) == ("27", "1,2,3", "53.00 ± 3.00")
    assert first["p2 mm"] == "43.00 ± 3.00"
    assert first["hours"] == "1.00 ± 0.00"
    assert (second["frames"], second["seeds"], second["p1 mm"]) == ("9", "1", "50.00")
    assert "MPJVE" not in first  # no run has a number


@pytest.mark.parametrize(
    "changed", [{"lr": 0.1}, {"MAEreload": 1}, {"name": "x"}, {"name": "a_s7"}, {"debug": 1}]
)
def test_other_experiments_are_rows_of_their_own(run, changed):
    run("runs/a", name="a")
    folder = run("runs/b", **{"name": "a", "manualSeed": 2} | changed).parent
    assert len(cells(report([folder], []))) == 2


@pytest.mark.parametrize("changed", [{"previous_dir": "pre_2.pth"}, {"gpu": [1]}, {"vis": 1}])
def test_what_differs_between_seeds_does_not_divide_them(run, changed):
    run("runs/a", name="a", previous_dir="pre_1.pth")
    folder = run("runs/b", **{"name": "a", "manualSeed": 2} | changed).parent
    assert len(cells(report([folder], []))) == 1


def test_evaluations_of_other_weights_are_rows_of_their_own(run):
    run("runs/a", train=0, previous_dir="x/one.pth")
    folder = run("runs/b", train=0, previous_dir="x/two.pth", manualSeed=2).parent
    assert [row["run"] for row in cells(report([folder], []))] == ["one", "two"]


def test_evaluations_of_the_weights_of_several_seeds_are_one_row(run):
    for seed in (1, 2):
        weights = f"checkpoint/x/a_s{seed}_no_refine_{4 + seed}_491{seed}_2D.pth"
        folder = run(f"runs/{seed}", train=0, previous_dir=weights, manualSeed=seed).parent
    (row,) = cells(report([folder], []))
    assert (row["run"], row["seeds"]) == ("a", "1,2")


def test_of_a_repeated_run_the_last_counts(run):
    path = run("runs/a", name="a", test=lifted(50.0)) / "results.json"
    path.with_name("results_1.json").write_text(json.dumps(json.loads(path.read_text())))
    later = path.stat().st_mtime + 10
    content = json.loads(path.read_text()) | {"test": lifted(60.0)}
    path.write_text(json.dumps(content))
    os.utime(path, (later, later))
    (row,) = cells(report([path.parent], []))
    assert (row["p1 mm"], row["seeds"]) == ("60.00", "1")


def test_mpi_inf_3dhp_is_averaged_over_frames(run):
    path = run("a", script="trainer_3dhp.py", test=lifted(50.0))
    (row,) = cells(report([path], []))
    assert (row["data"], row["p1 mm"]) == ("3dhp", "51.00")


def test_each_limb_set_is_a_row(run):
    test = {"0: one | leg": {"recovered_3d": 30.0, "lifted": None}, "mixture": {"recovered_3d": 31}}
    path = run("a", script="pretrainer.py", name="c", comp3d=1, test=test)
    lines = report([path], [])
    assert "c: 0: one \\| leg" in lines[2]
    assert "| 3D completion |" in lines[2] and "| 31.00 |" in lines[3]


def published_file(tmp_path, **changes):
    entry = {
        "title": "t",
        "options": {"dataset": "h36m", "keypoints": "gt"},
        "test_size": 543_344,
        "row": "",
        "values": {"protocol_1": 12.5, "protocol_2": None},
        "source": "some paper, table 1",
    }
    path = tmp_path / "published.json"
    path.write_text(json.dumps({"entries": [entry | changes]}))
    return path


def test_published_numbers_stand_beside_those_of_the_same_data(run, tmp_path):
    run("runs/whole", name="whole", test=lifted(50.0, frames=543_344))
    run("runs/part", name="part", test=lifted(50.0, frames=100))
    folder = run("runs/x", name="x", keypoints="cpn", test=lifted(50.0, frames=543_344)).parent
    lines = report([folder], load_published(published_file(tmp_path)))
    shown = {row["run"]: (row["p1 mm"], row["p2 mm"]) for row in cells(lines)}
    assert shown["whole"] == ("50.00 (12.50)", "40.00 (-)")
    assert shown["part"] == shown["x"] == ("50.00", "40.00")
    assert "some paper, table 1" in lines[-1]


def test_published_numbers_need_a_source(tmp_path):
    with pytest.raises(UserError, match="without a source"):
        load_published(published_file(tmp_path, source=None))
    with pytest.raises(UserError, match="not a table"):
        load_published(published_file(tmp_path, more=1))


def test_no_number_is_shipped_without_a_source():
    entries = load_published()
    assert len(entries) >= 3
    assert all(e.source or not any(e.values.values()) for e in entries)


def test_spread_is_the_sample_deviation():
    assert mean_and_spread([]) == "-"
    assert mean_and_spread([2.0]) == "2.00"
    assert mean_and_spread([1.0, 3.0]) == f"2.00 ± {math.sqrt(2):.2f}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "JSON"),
        ("[" * 100_000, "JSON"),
        ("[1]", "no options"),
        ('{"test": {}}', "no options"),
        ('{"options": {"manualSeed": "x"}}', "no options"),
        ('{"options": {"manualSeed": 1}, "test": {"average": 3}}', "damaged"),
        ('{"options": {"manualSeed": 1}, "test": {"average": {"protocol_1": "x"}}}', "damaged"),
        ('{"options": {"manualSeed": 1}, "test": {"a": [1]}}', "damaged"),
        ('{"options": {"manualSeed": 1}, "test": {}, "history": 5}', "damaged"),
        ('{"options": {"manualSeed": 1}, "test": {}, "history": [5]}', "damaged"),
        ('{"options": {"manualSeed": 1}, "history": []}', "without a test"),
    ],
)
def test_other_files_are_named(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(UserError, match=f"results.json: .*{message}"):
        report([path], [])


def test_nothing_to_report_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["report.py", str(tmp_path)])
    with pytest.raises(UserError, match="no results.json in"):
        report_script.main()
    with pytest.raises(UserError, match="no such file"):
        report([tmp_path / "missing.json"], [])


@pytest.mark.slow
def test_real_runs_are_reported(script, tmp_path):
    words = ["-k", "gt", "-tds", 2, "--root_path", SAMPLE, "--subjects_test", "S9", "--debug", 1]
    lift = GOLDEN / "ckpt" / "small_lift.pth"
    comp = GOLDEN / "ckpt" / "small_comp3d.pth"
    script("trainer.py", *words, "--reload", 1, "--previous_dir", lift)
    masked = ["--MAE", "--comp3d", 1, "--mask_manner3D", 0, "--MAEreload", 1, "--MAEcp", comp]
    script("pretrainer.py", *words, *masked)
    tables = [json.loads(p.read_text()) for p in sorted(tmp_path.glob("checkpoint/*/results.json"))]
    lines = script("common/report.py", *sorted(tmp_path.glob("checkpoint/*"))).stdout.splitlines()
    lifting, one, mixture = cells(lines)
    assert lifting["run"] == "small_lift" and lifting["task"] == "lifting (evaluation)"
    assert lifting["p1 mm"] == f"{tables[0]['test']['average']['protocol_1']:.2f}"
    assert one["3D mm"] == mixture["3D mm"]
    assert one["3D mm"] == f"{tables[1]['test']['mixture']['recovered_3d']:.2f}"
    assert tables[1]["test_windows"] == tables[0]["test"]["average"]["frames"]
