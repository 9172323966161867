"""The script for the day that a GPU is there, tried on a CPU."""

import json

import pytest
from runs import Run

SCRIPT = "tests/gpu_check.py"
SECTIONS = {
    "forward",
    "five steps",
    "completion test",
    "two GPUs, one process",
    "two processes",
    "resumed and straight run",
    "peak memory",
    "speed",
    "waiting for data",
    "Human3.6M",
}


def test_without_a_gpu_it_says_so(tmp_path):
    done = Run(SCRIPT, tmp_path, CUDA_VISIBLE_DEVICES="").end(expect=2)
    assert done.stderr.splitlines() == [
        "error: PyTorch finds no GPU; --device cpu tests this script"
    ]


@pytest.mark.slow
def test_everything_is_measured(tmp_path):
    done = Run(SCRIPT, tmp_path, "--device", "cpu", "--quick", OMP_NUM_THREADS="1")
    done.process.join(300)
    content = json.loads((tmp_path / "gpu_check.json").read_text())
    rows = content["rows"]
    assert not [row for row in rows if row["failed"]]
    assert {row["section"] for row in rows} == SECTIONS
    for row in rows:
        assert row["value"] is not None or row["note"].startswith("not run"), row
    # The device is the CPU itself: in fp32 nothing differs, and a resumed run ends bit for bit.
    for row in rows:
        if row["name"].endswith("fp32") and row["section"] in ("forward", "five steps"):
            assert row["value"] == 0
        if row["section"] == "resumed and straight run":
            assert row["value"] == 0
    table = (tmp_path / "gpu_check.md").read_text()
    assert table.count("\n|") == len(rows) + 2 and table in done.stdout
    assert done.process.exitcode == (0 if all(row["ok"] for row in rows) else 1)
