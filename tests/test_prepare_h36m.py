"""Human3.6M's own files become data files: prepare_h36m.py."""

import os
from types import SimpleNamespace

import cdflib
import numpy as np
import pytest
import torch
from cdflib import cdfwrite
from paths import SAMPLE
from preparing import run_here
from runs import TINY

from common.data.h36m import H36MFiles
from common.data.npz import load_npz
from common.data.skeleton import H36M_17
from common.errors import UserError
from dataset import prepare_h36m

SAMPLE_3D = load_npz(SAMPLE / "data_3d_h36m.npz")["positions_3d"]
SAMPLE_2D = load_npz(SAMPLE / "data_2d_h36m_gt.npz")["positions_2d"]


def write_cdf(path, metres, majority="row_major"):
    """Positions (L, 32, 3) in a file as the owners distribute them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (metres * 1000).astype(np.float32).reshape(1, -1, 96)
    stored = values if majority == "row_major" else values[0].T.reshape(values.shape)  # as on disk
    file = cdfwrite.CDF(str(path), cdf_spec={"Majority": majority})
    specification = {"Variable": "Pose", "Data_Type": 44, "Num_Elements": 1, "Rec_Vary": True}
    file.write_var(specification | {"Dim_Sizes": list(values.shape[1:])}, var_data=stored)
    file.close()


@pytest.fixture
def h36m_folder(tmp_path):
    """Sequences of the sample in the owners' layouts, under the owners' action names."""
    folder = tmp_path / "h36m"
    of_s11 = "Poses_D3_Positions_S11/S11/MyPoseFeatures/D3_Positions"
    for place, poses in {
        "S6/MyPoseFeatures/D3_Positions/Walking 1": SAMPLE_3D["S6"]["Walking"],
        "S6/MyPoseFeatures/D3_Positions/TakingPhoto": SAMPLE_3D["S6"]["Jumping"],
        "S6/MyPoseFeatures/D3_Positions/TakingPhoto 1": SAMPLE_3D["S6"]["Running"],
        "S6/MyPoseFeatures/Other/Eating": SAMPLE_3D["S6"]["Running"],
        "S9/D3_Positions/WalkingDog 1": SAMPLE_3D["S9"]["Dancing"],
        "S9/D3_Positions/Directions": SAMPLE_3D["S9"]["Dancing"][:40],
        f"{of_s11}/Directions": SAMPLE_3D["S9"]["Dancing"],
        f"{of_s11}/Directions 1": SAMPLE_3D["S9"]["Dancing"][40:90],
        "Poses_D3_Positions_S7/D3_Positions/Walking": SAMPLE_3D["S6"]["Walking"][:30],
        "S2/MyPoseFeatures/D3_Positions/Walking": SAMPLE_3D["S6"]["Walking"][:30],
    }.items():
        write_cdf(folder / f"{place}.cdf", poses)
    return folder


def test_h36m_round_trip(monkeypatch, h36m_folder, tmp_path):
    out = tmp_path / "out" / "data"
    run_here(monkeypatch, prepare_h36m, h36m_folder, "--output", out)
    files = H36MFiles.read(out, "gt")
    assert {subject: list(poses) for subject, poses in files.poses_3d.items()} == {
        "S6": ["Photo 1", "Photo", "Walking 1"],
        "S7": ["Walking"],
        "S9": ["Directions", "WalkDog 1"],
        "S11": ["Directions 1"],
    }
    sources = {
        ("S6", "Walking 1"): "Walking",
        ("S6", "Photo"): "Jumping",
        ("S6", "Photo 1"): "Running",
        ("S9", "WalkDog 1"): "Dancing",
    }
    for (subject, action), source in sources.items():
        world = files.poses_3d[subject][action]
        assert world.dtype == np.float32
        np.testing.assert_allclose(world, SAMPLE_3D[subject][source], atol=1e-6)
        views = files.poses_2d[subject][action]
        assert len(views) == 4 and {view.dtype for view in views} == {np.dtype(np.float32)}
        for view, expected in zip(views, SAMPLE_2D[subject][source], strict=True):
            np.testing.assert_allclose(view, expected, atol=1 / 64)  # what the sample rounds to
    sample = load_npz(SAMPLE / "data_2d_h36m_gt.npz")
    assert load_npz(out / "data_2d_h36m_gt.npz")["metadata"] == sample["metadata"]
    # Through the loader: the same poses as from the sample's own files.
    ours = files.store(["S9"], H36M_17, actions=["WalkDog"])
    theirs = H36MFiles.read(SAMPLE, "gt").store(["S9"], H36M_17, actions=["Dancing"])
    torch.testing.assert_close(ours.pose_3d, theirs.pose_3d, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.root_3d, theirs.root_3d, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.pose_2d, theirs.pose_2d, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_prepare_h36m_and_a_training_run(script, mistake, h36m_folder, tmp_path):
    out = tmp_path / "out" / "data"
    done = script("dataset/prepare_h36m.py", h36m_folder, "--output", out)
    for line in (
        "missing: no D3_Positions files of S1, S5, S8; continuing without",
        "skipped: S11 Directions, its video is corrupt",
        "note: S6 has 3 sequences, the data set 30",
        "note: S11 has 1 sequence, the data set 29",
        f"wrote {out}/data_3d_h36m.npz: 4 subjects, 7 sequences, 1,487 frames, ",
        f"wrote {out}/data_2d_h36m_gt.npz: 4 subjects, 7 sequences, 1,487 frames, 4 cameras, ",
    ):
        assert line in done.stdout
    assert "S2" in done.stdout and done.stderr == ""  # no progress bar where there is no terminal
    assert sorted(os.listdir(out)) == ["data_2d_h36m_gt.npz", "data_3d_h36m.npz"]
    line = mistake("dataset/prepare_h36m.py", h36m_folder, "--output", out)
    assert "data_3d_h36m.npz" in line and "data_2d_h36m_gt.npz: there already; --force" in line
    before = (out / "data_2d_h36m_gt.npz").read_bytes()
    script("dataset/prepare_h36m.py", h36m_folder, "--output", out, "--force")
    assert (out / "data_2d_h36m_gt.npz").read_bytes() == before
    subjects = ["--subjects_train", "S6", "--subjects_test", "S9"]
    words = [*TINY, "--train", 1, "--nepoch", 1, *subjects, "--root_path", out]
    assert script("trainer.py", *words).stdout.splitlines()[-1].startswith("p1: ")


@pytest.mark.parametrize("majority", ["row_major", "column_major"])
def test_either_majority_of_a_cdf_file_is_read(tmp_path, majority):
    poses = SAMPLE_3D["S9"]["Dancing"][:5]
    write_cdf(tmp_path / "a.cdf", poses, majority)
    read = prepare_h36m.read_positions(cdflib, tmp_path / "a.cdf")
    np.testing.assert_allclose(read, poses, atol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ("metres", "body is .* mm large; positions in mm are needed"),
        ("nan", "nan at frame 3, joint 7"),
        ("damaged", "not a CDF file with a variable Pose"),
        ("joints", r"Pose has shape \(1, 17, 51\), \(1, frames, 96\) is needed"),
        ("twice", "are both S1 Photo 1"),
    ],
)
def test_h36m_files_that_are_not_what_they_should_be(tmp_path, monkeypatch, spoil, complaint):
    poses = SAMPLE_3D["S9"]["Dancing"][:17].copy()
    folder = tmp_path / "S1" / "D3_Positions"
    write_cdf(folder / "Eating.cdf", poses)
    if spoil == "nan":
        poses[3, 7, 1] = np.nan
    if spoil == "metres":
        poses /= 1000
    write_cdf(folder / "TakingPhoto 1.cdf", poses)
    if spoil == "damaged":
        (folder / "TakingPhoto 1.cdf").write_bytes(b"x" * 1000)
    if spoil == "twice":
        write_cdf(folder / "Photo 1.cdf", poses)
    if spoil == "joints":
        wrong = SimpleNamespace(
            CDF=lambda _: SimpleNamespace(varget=lambda _: np.zeros((1, 17, 51)))
        )
        monkeypatch.setattr(cdflib, "CDF", wrong.CDF)
    with pytest.raises(UserError, match=complaint):
        run_here(monkeypatch, prepare_h36m, tmp_path, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []
