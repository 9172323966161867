"""Output that nobody reads, or that cannot be written, is no failed run."""

import os
import subprocess
import sys

import pytest
from paths import GOLDEN, ROOT, SAMPLE

COMMAND = [
    sys.executable, str(ROOT / "trainer.py"), "-k", "gt", "-tds", "2", "--debug", "1", "--gpu", "0",
    "--root_path", str(SAMPLE), "--reload", "1",
    "--previous_dir", str(GOLDEN / "ckpt" / "small_lift.pth"),
]  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["| head -1", "| true", ">&-", "> /dev/full"])
def test_standard_output_may_end(tmp_path, reading):
    line = " ".join(COMMAND)
    done = subprocess.run(
        ["bash", "-c", f"{line} {reading}; echo ${{PIPESTATUS[0]}} >&2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.stderr.split() == ["0"], done.stderr
    log = next((tmp_path / "checkpoint").glob("*/train.log")).read_text()
    assert log.splitlines()[-1].split(" ", 2)[2].startswith("p1: ")


@pytest.mark.slow
def test_a_log_that_cannot_be_written_is_no_failed_run(tmp_path):
    folder = tmp_path / "checkpoint" / "finetune_test_f27_t0.80"
    folder.mkdir(parents=True)
    (folder / "train.log").symlink_to("/dev/full")
    done = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines()[-1].startswith("p1: ")
    assert (folder / "results.json").exists()
