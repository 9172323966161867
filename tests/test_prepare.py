"""The preparation scripts, on small files in the formats that the owners distribute."""

import errno
import importlib
import json
import logging
import os
import pickle
import sys
import tracemalloc
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import cdflib
import h5py
import numpy as np
import pytest
import scipy.io
import smplx.lbs
import torch
from cdflib import cdfwrite
from hostile import Calls
from paths import ROOT, SAMPLE
from runs import TINY
from scipy.spatial.transform import Rotation

from common.data import camera
from common.data import npz_writer as data_files
from common.data.h36m import H36MFiles, load_cameras
from common.data.npz import load_npz
from common.data.skeleton import H36M_32_TO_17
from common.errors import UserError
from dataset import preparation

sys.path.append(str(ROOT / "dataset"))
h36m, mpi_inf_3dhp, amass, custom = map(
    importlib.import_module, ("prepare_h36m", "prepare_3dhp", "prepare_amass", "make_custom")
)
# A small model of 16 joints.
SIXTEEN = "-f 9 --n_joints 16 -k gt --layers 1 --channel 16 --d_hid 16 -b 64 --gpu 0".split()
SAMPLE_3D = load_npz(SAMPLE / "data_3d_h36m.npz")["positions_3d"]
SAMPLE_2D = load_npz(SAMPLE / "data_2d_h36m_gt.npz")["positions_2d"]


def run_here(monkeypatch, module, *words):
    """Run a script in this process."""
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, words)])
    module.main()


def touches(path):
    """Unpickling it makes a file."""
    return Calls(os.system, f"touch {path}")


# ---- files


def numbered_items(count, kilobytes=1):
    for i in range(count):
        yield f"sequence {i}", {"length": i, "pose": np.full((kilobytes, 256), i, np.float32)}


def write(path, items, **others):
    with data_files.dictionary_file(path, "poses", **others) as add:
        for item in items:
            add(*item)
    return path


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_is_written_item_by_item_is_what_savez_writes(tmp_path, count):
    path = write(tmp_path / "a.npz", numbered_items(count), metadata={"joints": [1, 2]})
    with np.load(path, allow_pickle=True) as entries:
        assert entries["poses"].dtype == object and entries["poses"].shape == ()
        assert entries["metadata"].item() == {"joints": [1, 2]}
        by_numpy = entries["poses"].item()
    by_us = load_npz(path)
    assert by_us["metadata"] == {"joints": [1, 2]}
    for read in (by_numpy, by_us["poses"]):
        assert list(read) == [f"sequence {i}" for i in range(count)]
        for name, value in numbered_items(count):
            assert read[name]["length"] == value["length"]
            np.testing.assert_array_equal(read[name]["pose"], value["pose"])
    again = write(tmp_path / "b.npz", numbered_items(count), metadata={"joints": [1, 2]})
    assert again.read_bytes() == path.read_bytes()


def test_memory_does_not_grow_with_the_number_of_sequences(tmp_path):
    def peak(count):
        tracemalloc.start()
        write(tmp_path / "a.npz", numbered_items(count, kilobytes=256))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(4), peak(40)
    assert few > 256e3
    assert many < few * 1.2  # 40 items hold 10 MB


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write(tmp_path / "a.npz", numbered_items(1))
    before = path.read_bytes()

    def items():
        yield from numbered_items(2)
        assert path.read_bytes() == before
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        write(path, items())
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "")))
    with pytest.raises(UserError, match="a.npz: the disk is full; the file that was there is"):
        write(path, numbered_items(2))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.parametrize(
    ("module", "words", "message"),
    [
        (h36m, "", "prepare_h36m.py needs cdflib: pip install cdflib"),
        (mpi_inf_3dhp, "", "prepare_3dhp.py needs scipy: pip install scipy"),
        (mpi_inf_3dhp, "test", "prepare_3dhp.py needs h5py: pip install h5py"),
        (amass, "--body_model x", "prepare_amass.py needs smplx: pip install smplx"),
    ],
)
def test_a_missing_library_is_named(tmp_path, monkeypatch, module, words, message):
    for name in preparation.OPTIONAL:
        monkeypatch.setitem(sys.modules, name, None)
    kind = "TS1/annot_data.mat" if words == "test" else "S1/Seq1/annot.mat"
    (tmp_path / kind).parent.mkdir(parents=True)
    (tmp_path / kind).touch()
    with pytest.raises(UserError) as raised:
        run_here(monkeypatch, module, tmp_path, *words.replace("test", "").split())
    assert str(raised.value) == message


@pytest.mark.parametrize("module", [h36m, mpi_inf_3dhp, amass, custom], ids=lambda m: m.__name__)
def test_help_and_mistakes_on_the_command_line(tmp_path, monkeypatch, capsys, module):
    with pytest.raises(SystemExit) as raised:
        run_here(monkeypatch, module, "--help")
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert "--force" in text and "--output" in text and "input" in text
    needed = {amass: ["--body_model", "x"], custom: "--width 9 --height 9 --output o".split()}
    words = needed.get(module, [])
    with pytest.raises(UserError, match="arguments are required"):
        run_here(monkeypatch, module, *words)
    with pytest.raises(UserError, match="unrecognized arguments: --nonsense"):
        run_here(monkeypatch, module, tmp_path, "--nonsense", *words)
    with pytest.raises(UserError, match="none: no such folder"):
        run_here(monkeypatch, module, tmp_path / "none", *words)
    with pytest.raises(UserError, match=f"^{tmp_path}: n"):  # nothing of use in it
        run_here(monkeypatch, module, tmp_path, *words)


# ---- Human3.6M


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
    for place, poses in {
        "S6/MyPoseFeatures/D3_Positions/Walking 1": SAMPLE_3D["S6"]["Walking"],
        "S6/MyPoseFeatures/D3_Positions/TakingPhoto": SAMPLE_3D["S6"]["Jumping"],
        "S6/MyPoseFeatures/D3_Positions/TakingPhoto 1": SAMPLE_3D["S6"]["Running"],
        "S6/MyPoseFeatures/Other/Eating": SAMPLE_3D["S6"]["Running"],
        "S9/D3_Positions/WalkingDog 1": SAMPLE_3D["S9"]["Dancing"],
        "S9/D3_Positions/Directions": SAMPLE_3D["S9"]["Dancing"][:40],
        "Poses_D3_Positions_S11/S11/MyPoseFeatures/D3_Positions/Directions": SAMPLE_3D["S9"][
            "Dancing"
        ],
        "Poses_D3_Positions_S11/S11/MyPoseFeatures/D3_Positions/Directions 1": SAMPLE_3D["S9"][
            "Dancing"
        ][40:90],
        "Poses_D3_Positions_S7/D3_Positions/Walking": SAMPLE_3D["S6"]["Walking"][:30],
        "S2/MyPoseFeatures/D3_Positions/Walking": SAMPLE_3D["S6"]["Walking"][:30],
    }.items():
        write_cdf(folder / f"{place}.cdf", poses)
    return folder


def test_h36m_round_trip_and_a_training_run(script, mistake, h36m_folder, tmp_path):
    out = tmp_path / "out" / "data"
    done = script("dataset/prepare_h36m.py", h36m_folder, "--output", out)
    for line in (
        "missing: no D3_Positions files of S1, S5, S8; going on without",
        "left out: S11 Directions, its video is corrupt",
        "note: S6 has 3 sequences, the data set 30",
        "note: S11 has 1 sequence, the data set 29",
        f"wrote {out}/data_3d_h36m.npz: 4 subjects, 7 sequences, 1,487 frames, ",
        f"wrote {out}/data_2d_h36m_gt.npz: 4 subjects, 7 sequences, 1,487 frames, 4 cameras, ",
    ):
        assert line in done.stdout
    assert "S2" in done.stdout and done.stderr == ""  # no progress bar where there is no terminal
    assert sorted(os.listdir(out)) == ["data_2d_h36m_gt.npz", "data_3d_h36m.npz"]
    files = H36MFiles.read(str(out), "gt")
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
    }
    sources[("S9", "WalkDog 1")] = "Dancing"
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
    # Through the loader: the same windows as from the sample's own files.
    ours = files.store(["S9"], num_joints=17, actions=["WalkDog"])
    theirs = H36MFiles.read(str(SAMPLE), "gt").store(["S9"], num_joints=17, actions=["Dancing"])
    torch.testing.assert_close(ours.pose_3d, theirs.pose_3d, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.pose_2d, theirs.pose_2d, atol=1e-4, rtol=0)

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
    read = h36m.read_positions(cdflib, tmp_path / "a.cdf")
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
        run_here(monkeypatch, h36m, tmp_path, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []


# ---- MPI-INF-3DHP


def frames_of_joints(length, joints, coordinates, camera=0):
    """(length, joints, coordinates) numbers that each tell camera, frame, joint and coordinate."""
    parts = np.ogrid[:length, :joints, :coordinates]
    scale = (7.0, 100.0, 0.25)
    return camera * 1e5 + sum(s * p for s, p in zip(scale, parts, strict=True))


def write_annotations(path, length, cameras=range(14)):
    """An annot.mat with these numbers; cameras not asked for have a single frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {}
    for name, coordinates in (("annot2", 2), ("univ_annot3", 3)):
        content[name] = np.empty((14, 1), dtype=object)
        for c in range(14):
            numbers = frames_of_joints(length if c in cameras else 1, 28, coordinates, c)
            content[name][c, 0] = numbers.reshape(len(numbers), -1).astype(np.float32)
    scipy.io.savemat(path, content | {"cameras": np.arange(14)})


def write_test_annotations(path, poses_2d, poses_3d, valid, activity=None, axes="matlab"):
    """An annot_data.mat; to h5py MATLAB's axes stand the other way round."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"matlab": lambda a: a[:, None], "squeezed": lambda a: a, "first": lambda a: a[None]}
    with h5py.File(path, "w") as file:
        for name, array in (
            ("annot2", poses_2d),
            ("univ_annot3", poses_3d),
            ("valid_frame", valid),
            ("activity_annotation", activity),
        ):
            if array is not None:
                file[name] = shape[axes](array)


KEPT_28 = [7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6]
KEPT_CAMERAS = [0, 1, 2, 4, 5, 6, 7, 8]


def test_3dhp_round_trip(script, tmp_path):
    folder, out = tmp_path / "3dhp", tmp_path / "out"
    write_annotations(folder / "S1" / "Seq1" / "annot.mat", 30)
    write_annotations(folder / "S8" / "Seq2" / "annot.mat", 6060, KEPT_CAMERAS)
    rng = np.random.default_rng(0)
    poses_2d, poses_3d = rng.normal(900, 300, (40, 17, 2)), rng.normal(0, 900, (40, 17, 3))
    valid, activity = np.repeat([1.0, 0.0], 20), np.repeat([1, 2, 5, 7], 10).astype(float)
    test_set = folder / "mpi_inf_3dhp_test_set"
    write_test_annotations(test_set / "TS1" / "annot_data.mat", poses_2d, poses_3d, valid, activity)
    write_test_annotations(
        test_set / "TS5" / "annot_data.mat", poses_2d[:9], poses_3d[:9], valid[:9], axes="first"
    )
    done = script("dataset/prepare_3dhp.py", folder, "--output", out)
    for line in (
        "missing: S1 Seq2, S2 Seq1, ",
        "missing: TS2, TS3, TS4, TS6; going on without",
        "S1/Seq1/annot.mat has 30 frames, 6416 are usable",
        f"wrote {out}/data_train_3dhp.npz: 2 subjects, 2 sequences, 6,084 frames, 8 cameras, ",
        f"wrote {out}/data_test_3dhp.npz: 2 sequences, 49 frames, 29 valid frames, ",
    ):
        assert line in done.stdout
    train = load_npz(out / "data_train_3dhp.npz")["data"]
    assert list(train) == ["S1 Seq1", "S8 Seq2"]
    for name, length in (("S1 Seq1", 30), ("S8 Seq2", 6054)):
        views, frame_rate = train[name]
        assert isinstance(train[name], list) and frame_rate == 25
        assert list(views) == [str(c) for c in KEPT_CAMERAS]
        for view, entry in views.items():
            for key, coordinates in (("data_2d", 2), ("data_3d", 3)):
                assert entry[key].dtype == np.float32
                numbers = frames_of_joints(length, 28, coordinates, int(view))[:, KEPT_28]
                np.testing.assert_array_equal(entry[key], numbers.astype(np.float32))
    test = load_npz(out / "data_test_3dhp.npz")["data"]
    assert list(test) == ["TS1", "TS5"]
    for name, length in (("TS1", 40), ("TS5", 9)):
        assert {k: v.dtype for k, v in test[name].items() if k != "activity"} == {
            "data_2d": np.float32,
            "data_3d": np.float32,
            "valid": np.float64,
        }
        np.testing.assert_array_equal(test[name]["data_2d"], poses_2d[:length].astype(np.float32))
        np.testing.assert_array_equal(test[name]["data_3d"], poses_3d[:length].astype(np.float32))
        np.testing.assert_array_equal(test[name]["valid"], valid[:length])
    np.testing.assert_array_equal(test["TS1"]["activity"], activity)
    assert "activity" not in test["TS5"]
    # The entries are those of the sample's files.
    sample = load_npz(SAMPLE / "data_train_3dhp.npz")["data"]["S1 Seq1"]
    assert list(sample[0]["0"]) == list(views["0"]) and type(sample[1]) is type(frame_rate)
    # Train on them: 30 frames of 8 cameras, mirrored; test on the valid frames.
    words = [*SIXTEEN, "--root_path", out, "--subjects_train", "S1", "--metric_3dhp", "official"]
    done = script("trainer_3dhp.py", *words, "--train", 1, "--nepoch", 1)
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert rows["TS1"][-1] == "20" and rows["TS5"][-1] == "9"
    assert rows["Exercising"][-1] == "10" and "Sports" not in rows  # activity 7's are not valid
    assert done.stdout.splitlines()[-1].startswith("p1: ")


def test_usable_frames_of_3dhp():
    assert list(mpi_inf_3dhp.USABLE_FRAMES) == [f"S{s} Seq{q}" for s in range(1, 9) for q in (1, 2)]
    frames = np.array(list(mpi_inf_3dhp.USABLE_FRAMES.values()))
    fast = [name for name, (_, rate) in mpi_inf_3dhp.USABLE_FRAMES.items() if rate == 50]
    assert set(frames[:, 1]) == {25, 50}
    assert fast == ["S1 Seq2", "S3 Seq1", "S3 Seq2", "S5 Seq1", "S5 Seq2"]
    assert (frames[:, 0] * np.arange(1, 17)).sum() == 1_051_620


def test_3dhp_test_sets_elsewhere(tmp_path, monkeypatch):
    poses = np.random.default_rng(0).normal(0, 900, (5, 17, 3))
    for axes, place in (("squeezed", "a/TS6"), ("matlab", "b/mpi_inf_3dhp_test_set/TS2")):
        path = tmp_path / place / "annot_data.mat"
        write_test_annotations(path, poses[..., :2], poses, np.ones(5), axes=axes)
    run_here(monkeypatch, mpi_inf_3dhp, tmp_path / "a", "--output", tmp_path)
    assert list(load_npz(tmp_path / "data_test_3dhp.npz")["data"]) == ["TS6"]
    words = [tmp_path, "--output", tmp_path, "--force"]
    run_here(monkeypatch, mpi_inf_3dhp, *words, "--test_set", tmp_path / "b")
    assert list(load_npz(tmp_path / "data_test_3dhp.npz")["data"]) == ["TS2"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no TS1/annot_data.mat and so on in it"):
        run_here(monkeypatch, mpi_inf_3dhp, *words, "--test_set", tmp_path / "empty")
    assert not (tmp_path / "data_train_3dhp.npz").exists()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ({"annot2": None}, "no cell array annot2 of 14 cameras"),
        ({"annot2": 5}, "no cell array annot2 of 14 cameras"),
        ({"annot2": np.zeros((4, 34))}, r"annot2, camera 4 has shape \(4, 34\), \(frames, 56\)"),
        ({"annot2": np.full((4, 56), np.nan)}, "annot2, camera 4: nan at frame 0, joint 0"),
        ({"annot2": np.zeros((3, 56))}, r"different numbers of frames, \[3, 4\]"),
        ({"univ_annot3": np.ones((4, 84))}, "positions in mm are needed"),
    ],
)
def test_3dhp_files_that_are_not_what_they_should_be(tmp_path, spoil, complaint):
    path = tmp_path / "annot.mat"
    write_annotations(path, 4)
    content = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("_")}
    for name, value in spoil.items():
        if value is None:
            del content[name]
        elif isinstance(value, int):
            content[name] = content[name][:value]
        else:
            content[name][4, 0] = value
    scipy.io.savemat(path, content)
    with pytest.raises(UserError, match=complaint):
        mpi_inf_3dhp.read_training(scipy.io, path, 100)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ({"valid_frame": None}, "no variable valid_frame"),
        ({"valid_frame": np.full((5, 1), 3)}, "numbers other than 0 and 1"),
        ({"valid_frame": np.ones((4, 1))}, "different numbers of frames, .*'valid_frame': 4"),
        (
            {"annot2": np.ones((5, 1, 28, 2))},
            r"annot2 has shape \(5, 1, 28, 2\), \(frames, 17, 2\)",
        ),
        ({"univ_annot3": np.full((5, 1, 17, 3), np.inf)}, "univ_annot3: inf at frame 0, joint 0"),
    ],
)
def test_3dhp_test_files_that_are_not_what_they_should_be(tmp_path, spoil, complaint):
    path = tmp_path / "annot_data.mat"
    poses = np.random.default_rng(0).normal(0, 900, (5, 17, 3))
    write_test_annotations(path, poses[..., :2], poses, np.ones(5))
    with h5py.File(path, "a") as file:
        for name, value in spoil.items():
            del file[name]
            if value is not None:
                file[name] = value
    with pytest.raises(UserError, match=complaint):
        mpi_inf_3dhp.read_test(h5py, path)
    path.write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(UserError, match="not a MATLAB 7.3 file"):
        mpi_inf_3dhp.read_test(h5py, path)


# ---- AMASS

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
PARENTS += [p for wrist in (20, 21) for k in range(5) for p in (wrist, -1, -1)]  # hands
for hand in range(22, 52, 3):
    PARENTS[hand + 1], PARENTS[hand + 2] = hand, hand + 1
VERTICES = 60
# hip; right leg; left leg; spine, thorax, head; left arm; right arm, in SMPL's numbering.
SMPL_TO_16 = [0, 2, 5, 8, 1, 4, 7, 6, 12, 15, 16, 18, 20, 17, 19, 21]


def toy_model(joints=52, seed=0):
    """A body model whose joint j is its vertex j; further vertices hang on joint 3."""
    rng = np.random.default_rng(seed)
    template = rng.normal(0, 0.3, (VERTICES, 3))
    weights = np.zeros((VERTICES, joints))
    weights[np.arange(VERTICES), np.where(np.arange(VERTICES) < joints, np.arange(VERTICES), 3)] = 1
    parents = np.array(PARENTS[:22] + [20, 21] if joints == 24 else PARENTS, dtype=np.int64)
    return {
        "v_template": template,
        "weights": weights,
        "J_regressor": np.eye(joints, VERTICES),
        "kintree_table": np.stack([parents.astype(np.uint32), np.arange(joints, dtype=np.uint32)]),
        "shapedirs": rng.normal(0, 0.02, (VERTICES, 3, 16)),
        "posedirs": rng.normal(0, 0.01, (VERTICES, 3, 9 * (joints - 1))),
        "f": np.zeros((4, 3), np.uint32),
    }


def naive_body(model, angles, betas):
    """Vertices (V, 3) and joints (K, 3) of one frame, straight from the definition of the model."""
    count = len(model["J_regressor"])
    rest = model["v_template"] + model["shapedirs"] @ betas[: model["shapedirs"].shape[-1]]
    rest_joints = model["J_regressor"] @ rest
    turns = Rotation.from_rotvec(angles.reshape(count, 3).copy()).as_matrix()
    parents = model["kintree_table"][0].astype(np.int32)
    turned, joints = [turns[0]], [rest_joints[0]]
    for j in range(1, count):
        p = parents[j]
        joints.append(joints[p] + turned[p] @ (rest_joints[j] - rest_joints[p]))
        turned.append(turned[p] @ turns[j])
    bent = rest + model["posedirs"] @ (turns[1:] - np.eye(3)).reshape(-1)
    vertices = [
        sum(w[j] * (turned[j] @ (v - rest_joints[j]) + joints[j]) for j in np.flatnonzero(w))
        for v, w in zip(bent, model["weights"], strict=True)
    ]
    return np.stack(vertices), np.stack(joints)


def toy_motion(length, *, rate=120.0, gender="male", joints=52, seed=1, **others):
    """An AMASS file's content: someone who wanders and waves."""
    rng = np.random.default_rng(seed)
    waves = np.sin(np.arange(length)[:, None] * rng.uniform(0.01, 0.05, 3 * joints) + rng.normal())
    return {
        "poses": waves * rng.normal(0, 0.5, 3 * joints),
        "trans": np.cumsum(rng.normal(0, 0.01, (length, 3)), 0) + [3, -2, 0.9],
        "betas": rng.normal(0, 1, 16),
        "gender": gender,
        "mocap_framerate": rate,
        "dmpls": np.zeros((length, 8)),
    } | others


def naive_joints_at_25(motion, model, regressor=None):
    """(L, 16, 3) by posing every frame and interpolating every number by itself."""
    joints = []
    for angles in motion["poses"]:
        vertices, own = naive_body(model, angles, motion["betas"])
        joints.append(own[SMPL_TO_16] if regressor is None else regressor @ vertices)
    joints = np.stack(joints) + motion["trans"][:, None]
    own_times = np.arange(len(joints)) / motion["mocap_framerate"]
    times = np.arange(0, own_times[-1] + 1e-9, 1 / 25)
    columns = [np.interp(times, own_times, column) for column in joints.reshape(len(joints), -1).T]
    return np.stack(columns, 1).reshape(len(times), 16, 3)


def bodies_of(folder, regressor=None, **models):
    for gender, model in models.items():
        (folder / gender).mkdir(parents=True, exist_ok=True)
        np.savez(folder / gender / "model.npz", **model)
    return amass.Bodies.read(smplx.lbs, folder, regressor)


@pytest.mark.parametrize("rate", [25, 50, 60, 100, 120, 59.94, 24])
def test_amass_joints_at_25_frames_a_second(tmp_path, rate):
    model, content = toy_model(), toy_motion(61, rate=rate)
    bodies = bodies_of(tmp_path / "models", male=model)
    np.savez(tmp_path / "walk.npz", **content)
    motion = amass.Motion.read(tmp_path / "walk.npz")
    joints = amass.resample(motion, bodies, too_few=5)
    np.testing.assert_allclose(joints, naive_joints_at_25(content, model), atol=1e-5)
    with pytest.raises(amass.Unusable, match=f"shorter than {len(joints) + 1} frames"):
        amass.resample(motion, bodies, too_few=len(joints))


@pytest.mark.parametrize("rows", [16, 17])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_amass_joints_by_a_regressor(tmp_path, monkeypatch, rows, suffix):
    monkeypatch.setattr(amass, "FRAMES_A_PASS", 7)  # passes make no difference
    model, content = toy_model(), toy_motion(20, rate=25)
    matrix = np.random.default_rng(2).uniform(0, 1, (rows, VERTICES)) ** 8
    matrix[:, ::7] = 0
    matrix /= matrix.sum(1, keepdims=True)
    (np.save if suffix == "npy" else np.savez)(tmp_path / f"regressor.{suffix}", matrix)
    bodies = bodies_of(tmp_path / "models", tmp_path / f"regressor.{suffix}", male=model)
    np.savez(tmp_path / "walk.npz", **content)
    joints = amass.resample(amass.Motion.read(tmp_path / "walk.npz"), bodies, too_few=5)
    kept = [j for j in range(rows) if rows == 16 or j != 9]
    expected = naive_joints_at_25(content, model, matrix[kept])
    np.testing.assert_allclose(joints, expected, atol=1e-5)


@pytest.mark.parametrize(("of_model", "of_motion"), [(24, 24), (24, 52), (52, 24)])
def test_smpl_and_smplh_share_all_joints_but_hands(tmp_path, of_model, of_motion):
    model, content = toy_model(of_model), toy_motion(8, rate=25, joints=of_motion)
    bodies = bodies_of(tmp_path / "models", male=model)
    np.savez(tmp_path / "walk.npz", **content)
    joints = amass.resample(amass.Motion.read(tmp_path / "walk.npz"), bodies, too_few=5)
    angles = np.zeros((8, of_model * 3))
    shared = 72 if of_model == of_motion else 66
    angles[:, :shared] = content["poses"][:, :shared]
    expected = naive_joints_at_25(content | {"poses": angles}, model)
    np.testing.assert_allclose(joints, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("gender", "read"),
    [
        ("male", "male"),
        (b"female", "female"),
        (np.array("female"), "female"),
        (np.array(b"male"), "male"),
        (np.array(["male"], dtype=object), "male"),
        ("b'female'", "female"),
        ("unknown", "neutral"),
    ],
)
def test_genders_as_files_have_them(tmp_path, gender, read):
    np.savez(tmp_path / "walk.npz", **toy_motion(3, gender=gender))
    assert amass.Motion.read(tmp_path / "walk.npz").gender == read


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"poses": np.zeros((9, 165))}, "not the 156 angles of SMPL-H or the 72 of SMPL"),
        ({"trans": np.zeros((8, 3))}, "do not fit together"),
        ({"betas": np.zeros(0)}, "do not fit together"),
        ({"trans": np.full((9, 3), np.nan)}, "NaN or infinity"),
        ({"mocap_framerate": 0.0}, "no frame rate"),
    ],
)
def test_amass_files_that_are_left_out(tmp_path, others, reason):
    np.savez(tmp_path / "walk.npz", **toy_motion(9, **others))
    with pytest.raises(amass.Unusable, match=reason):
        amass.Motion.read(tmp_path / "walk.npz")


def test_both_spellings_of_the_frame_rate(tmp_path):
    content = toy_motion(9)
    content["mocap_frame_rate"] = np.array([content.pop("mocap_framerate")])
    np.savez(tmp_path / "walk.npz", **content)
    assert amass.Motion.read(tmp_path / "walk.npz").frame_rate == 120


def test_where_the_cameras_look_at():
    for rig in load_cameras(ROOT).values():
        target = amass.looked_at(rig)
        for view in rig:
            in_camera = camera.world_to_camera(
                target, view.orientation.double(), view.centre.double()
            )
            assert in_camera[2] > 3  # in front, near the image's middle
            assert (in_camera[:2] / in_camera[2]).abs().max() < 0.15
        rng = np.random.default_rng(0)
        views = [SimpleNamespace(orientation=v.orientation, centre=v.centre) for v in rig]

        def distance(point, views=views):
            offsets = [
                camera.world_to_camera(point, v.orientation.double(), v.centre.double())
                for v in views
            ]
            return sum(float(offset[:2].square().sum()) for offset in offsets)

        for _ in range(20):
            assert distance(target) < distance(target + torch.from_numpy(rng.normal(0, 0.005, 3)))


def test_random_sources_differ_by_seed_and_by_name_only():
    drawn = [
        amass.random_source(seed, name).uniform()
        for seed, name in ((1, "a"), (1, "b"), (2, "a"), (1, "a"))
    ]
    assert len(set(drawn)) == 3 and drawn[0] == drawn[3]


def test_a_sequence_is_placed_upright_before_the_camera():
    rng = np.random.default_rng(0)
    joints = torch.from_numpy(rng.normal(0, 0.4, (30, 16, 3)) + [5, 9, 1])
    rig = load_cameras(ROOT)["S1"]
    target = amass.looked_at(rig)
    for view, heading in zip(rig, (0.0, 1.0, 2.5, 6.0), strict=True):
        placed = amass.place(joints, target, view, heading)
        world = camera.camera_to_world(placed, view.orientation.double(), view.centre.double())
        torch.testing.assert_close(world[..., 2], joints[..., 2], atol=1e-6, rtol=0)  # heights stay
        mean_root = world[:, 0].mean(0)
        torch.testing.assert_close(mean_root[:2], target[:2], atol=1e-6, rtol=0)
        turned = Rotation.from_euler("z", heading).apply((joints - joints[:, :1]).reshape(-1, 3))
        turned = torch.from_numpy(turned).view(30, 16, 3)
        torch.testing.assert_close(world - world[:, :1], turned, atol=1e-5, rtol=0)


def test_a_sequence_too_near_to_the_camera_is_moved_away_along_its_axis():
    joints = torch.zeros(2, 16, 3, dtype=torch.float64)
    joints[0, :, 0], joints[1, :, 0] = -30, 30
    view = load_cameras(ROOT)["S1"][0]
    target = amass.looked_at(load_cameras(ROOT)["S1"])
    headings = torch.linspace(0, 6, 7).tolist()
    nearest = [float(amass.place(joints, target, view, h)[..., 2].min()) for h in headings]
    assert min(nearest) == pytest.approx(1) and max(nearest) >= 1
    near, far = amass.place(joints, target, view, 1.0), amass.place(joints / 100, target, view, 1.0)
    torch.testing.assert_close(near.mean((0, 1))[:2], far.mean((0, 1))[:2])


def test_what_the_camera_sees():
    rig = load_cameras(ROOT)["S1"]
    joints = torch.from_numpy(np.random.default_rng(0).normal(0, 0.4, (9, 16, 3)))
    for seed in range(6):
        shot = amass.film(joints, [rig], np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        rng.integers(1)
        view = rig[rng.integers(4)]
        placed = amass.place(joints, amass.looked_at(rig), view, rng.uniform(0, 2 * np.pi))
        torch.testing.assert_close(shot.pose_3d, placed - placed[:, :1])
        screen = camera.project(placed[None], view.intrinsics.double()[None])[0]
        torch.testing.assert_close(shot.pose_2d, screen)
        wide = (screen[..., 0].abs() > 1) | (screen[..., 1].abs() > view.height / view.width)
        assert torch.equal(shot.outside, wide)
    far = amass.film(joints * 40, [rig], np.random.default_rng(0))
    assert 0.1 < far.outside.double().mean() < 1


def test_amass_end_to_end(script, tmp_path, monkeypatch, caplog):
    folder, victim, out = tmp_path / "amass", tmp_path / "victim", tmp_path / "out"
    bodies_of(tmp_path / "models", male=toy_model(), neutral=toy_model(seed=5))
    for name, content in {
        "CMU/01/walk_poses": toy_motion(80, rate=100.0),
        "CMU/01/neutral_stagei": {"betas": np.zeros(16)},
        "CMU/02/short": toy_motion(40, rate=100.0),
        "KIT/dance.v2": toy_motion(90, gender=b"female", rate=120.0, seed=7),
        "KIT/hostile": toy_motion(90, extra=np.array(touches(victim), dtype=object)),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"{name}.npz", **content)
    (folder / "KIT" / "cut.npz").write_bytes((folder / "KIT" / "dance.v2.npz").read_bytes()[:9999])
    words = [folder, "--body_model", tmp_path / "models", "--frames", 9]
    done = script("dataset/prepare_amass.py", *words, "--output", out)
    for line in (
        "KIT/cut.npz: not an .npz file, or cut short",
        "KIT/hostile.npz: refused, it holds more than data",
        "left out, cannot be read: 2 (KIT/cut, KIT/hostile)",
        "left out, no poses in it: 1 (CMU/01/neutral_stagei)",
        "left out, shorter than 11 frames at 25 frames/s: 1 (CMU/02/short)",
        "note: 1 female sequence with the neutral body model",
        "% of the joints are outside of the image",
        f"wrote {out}/amass.npz: 2 sequences, 39 frames, ",
    ):
        assert line in done.stdout
    assert done.stderr == "" and not victim.exists()
    poses = load_npz(out / "amass.npz")["poses"]
    assert list(poses) == ["CMU/01/walk_poses", "KIT/dance.v2"]
    models = {"CMU/01/walk_poses": toy_model(), "KIT/dance.v2": toy_model(seed=5)}
    for name, entry in poses.items():
        content = load_npz(folder / f"{name}.npz")
        expected = naive_joints_at_25(content, models[name])
        length = len(expected)
        assert entry["length"] == length and type(entry["length"]) is int
        assert entry["pose2d"].shape == (length, 16, 2) and entry["pose2d"].dtype == np.float32
        assert entry["pose3d"].shape == (length, 16, 3) and entry["pose3d"].dtype == np.float32
        assert (entry["pose3d"][:, 0] == 0).all()
        for joint in range(1, 16):  # lengths survive every placement
            np.testing.assert_allclose(
                np.linalg.norm(entry["pose3d"] - entry["pose3d"][:, joint : joint + 1], axis=-1),
                np.linalg.norm(expected - expected[:, joint : joint + 1], axis=-1),
                atol=1e-5,
            )
    words_of_training = [*SIXTEEN, "--MAE", "--dataset", "amass", "--root_path", out]
    done = script("pretrainer.py", *words_of_training, "--train", 1, "--nepoch", 1, "--name", "t")
    lengths = [len(entry["pose3d"]) for entry in poses.values()]
    assert f"training windows: amass {sum(lengths) - 2 * 10}" in done.stdout
    # Another seed gives other cameras; the other sequences make no difference.
    run_here(monkeypatch, amass, *words, "--output", tmp_path / "b", "--seed", 2)
    other = load_npz(tmp_path / "b" / "amass.npz")["poses"]
    assert np.abs(other["KIT/dance.v2"]["pose3d"] - poses["KIT/dance.v2"]["pose3d"]).max() > 0.01
    for path in (folder / "CMU").rglob("*.npz"):
        path.unlink()
    run_here(monkeypatch, amass, *words, "--output", tmp_path / "c")
    alone = load_npz(tmp_path / "c" / "amass.npz")["poses"]
    assert list(alone) == ["KIT/dance.v2"]
    np.testing.assert_array_equal(alone["KIT/dance.v2"]["pose2d"], poses["KIT/dance.v2"]["pose2d"])
    (folder / "KIT" / "dance.v2.npz").unlink()
    caplog.set_level(logging.INFO, logger="mpm")
    with pytest.raises(UserError, match="none of its 2 .npz files can be used"):
        run_here(monkeypatch, amass, *words, "--output", tmp_path / "c", "--force")
    assert list(load_npz(tmp_path / "c" / "amass.npz")["poses"]) == ["KIT/dance.v2"]  # as it was


def test_a_hostile_body_model_runs_nothing(mistake, tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "model.npz"
    np.savez(path, **toy_model() | {"bs_style": np.array(touches(victim), dtype=object)})
    np.savez(tmp_path / "walk.npz", **toy_motion(9))
    line = mistake("dataset/prepare_amass.py", tmp_path, "--body_model", path, "--output", tmp_path)
    assert "model.npz: refused, it holds more than data" in line
    assert not victim.exists()
    with np.load(path, allow_pickle=True) as entries:
        assert entries["bs_style"] is not None
    assert victim.exists()  # the payload is a real one


@pytest.mark.parametrize("place", ["SMPL_MALE.pkl", "smplh/male/model.pkl"])
def test_a_pickled_body_model_is_refused(tmp_path, place):
    path, victim = tmp_path / "models" / place, tmp_path / "victim"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(touches(victim)))
    for given in (path, tmp_path / "models"):
        with pytest.raises(
            UserError, match="in a .pkl file is not read, since .* any code; get the"
        ):
            amass.Bodies.read(smplx.lbs, given, None)
    assert not victim.exists()
    with pytest.raises(UserError, match="no model there, neither male/model.npz nor SMPLH_MALE"):
        amass.Bodies.read(smplx.lbs, tmp_path / "nowhere", None)


@pytest.mark.parametrize("name", ["SMPLH_MALE.npz", "smplh/SMPLH_MALE.npz", "SMPL_MALE.npz"])
def test_names_of_body_models(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    np.savez(tmp_path / name, **toy_model())
    bodies = amass.Bodies.read(smplx.lbs, tmp_path, None)
    assert list(bodies.models) == ["male"] and bodies.stand_in == "male"
    assert bodies.of("male") is bodies.of("female") and bodies.replaced == {"female": 1}
    alone = amass.Bodies.read(smplx.lbs, tmp_path / name, None)
    assert alone.of("female") is alone.of("neutral") and not alone.replaced


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"weights": None}, r"its weights of shape \(\) is not that of a SMPL"),
        ({"v_template": np.zeros((59, 3))}, r"its weights of shape \(60, 52\)"),
        ({"posedirs": np.zeros((60, 3, 207))}, "52 joints; SMPL-H has 52, SMPL 24"),
    ],
)
def test_body_models_that_are_none(tmp_path, change, complaint):
    model = {k: v for k, v in (toy_model() | change).items() if v is not None}
    np.savez(tmp_path / "model.npz", **model)
    with pytest.raises(UserError, match=complaint):
        amass.Bodies.read(smplx.lbs, tmp_path / "model.npz", None)


@pytest.mark.parametrize(
    ("matrix", "complaint"),
    [
        (np.full((16, 50), 1 / 50), "50 columns, .* has 60 vertices"),
        (np.full((15, 60), 1 / 60), r"shapes \[\(15, 60\)\]; one of 16 or 17 joints x vertices"),
        (np.full((16, 60), 0.5), "weights must add up to 1"),
        (np.array(["text"], dtype=object), "not an .npy file of one plain array"),
    ],
)
def test_regressors_that_are_none(tmp_path, matrix, complaint):
    np.savez(tmp_path / "model.npz", **toy_model())
    np.save(tmp_path / "r.npy", matrix, allow_pickle=True)
    with pytest.raises(UserError, match=complaint):
        amass.Bodies.read(smplx.lbs, tmp_path / "model.npz", tmp_path / "r.npy")


# ---- a user's own keypoints


def own_clip(length, joints=17, seed=0):
    """Keypoints in a 640 x 480 image, with confidences, and positions in camera space."""
    rng = np.random.default_rng(seed)
    keypoints = np.concatenate(
        [rng.uniform(0, (640, 480), (length, joints, 2)), rng.uniform(0, 1, (length, joints, 1))],
        -1,
    )
    return keypoints, rng.normal((0, 0, 4), 0.4, (length, joints, 3))


def test_own_keypoints_round_trip(script, mistake, tmp_path):
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    clips = {
        name: own_clip(12 + i, seed=i)
        for i, name in enumerate(("Ann_walk_cam0", "Ann_walk_cam12", "Bob_long_jump", "Bob_sit"))
    }
    for name, (keypoints, positions) in clips.items():
        if name == "Bob_sit":
            np.save(folder / f"{name}.npy", keypoints[..., :2])
        else:
            np.savez(folder / f"{name}.npz", keypoints=keypoints, positions_3d=positions)
    (folder / "notes.txt").touch()
    words = [folder, "--width", 640, "--height", 480, "--output", out, "--name", "mine"]
    done = script("dataset/make_custom.py", *words)
    for line in (
        f"wrote {out}/data_3d_h36m.npz: 2 subjects, 4 sequences, 54 frames, ",
        f"wrote {out}/data_2d_h36m_mine.npz: 2 subjects, 4 sequences, 54 frames, ",
        f"wrote {out}/h36m_cameras.json: 1 camera, ",
        "note: no --focal, so it is assumed to be the image's width, 640",
        "note: 1 sequence without 3D, to be lifted but not trained on: Bob sit",
        f"use: trainer.py --root_path {out} -k mine --n_joints 17 --subjects_train ... "
        "--subjects_test ... (of Ann,Bob)",
    ):
        assert line in done.stdout
    files = H36MFiles.read(str(out), "mine")
    assert {s: list(a) for s, a in files.poses_2d.items()} == {
        "Ann": ["walk cam0", "walk cam12"],
        "Bob": ["long_jump", "sit"],
    }
    assert files.poses_3d["Bob"]["sit"].shape == (15, 32, 3)
    assert np.isnan(files.poses_3d["Bob"]["sit"]).all()
    store = files.store(["Ann"], num_joints=17)
    assert [name.action for name in store.names] == ["walk cam0", "walk cam12"]
    for place, name in zip(store.sequence_slices(), clips, strict=False):
        keypoints, positions = map(torch.from_numpy, clips[name])
        screen = camera.normalise_screen(keypoints[..., :2], width=640, height=480)
        torch.testing.assert_close(store.pose_2d[place].double(), screen, atol=1e-6, rtol=0)
        roots = positions[:, :1]
        torch.testing.assert_close(store.pose_3d[place, :1].double(), roots, atol=1e-6, rtol=0)
        relative = (positions - roots)[:, 1:]
        torch.testing.assert_close(store.pose_3d[place, 1:].double(), relative, atol=1e-6, rtol=0)
    assert store.cameras[0].tolist() == [2, 2, 0, 0, 0, 0, 0, 0, 0]
    world = files.poses_3d["Ann"]["walk cam0"]
    for joint in set(range(32)) - set(
        H36M_32_TO_17
    ):  # copies of neighbours, no numbers of their own
        assert any(np.array_equal(world[:, joint], world[:, kept]) for kept in H36M_32_TO_17)
    # Train on the clips with 3D, lift those without.
    tiny = [*TINY, "--root_path", out, "-k", "mine", "--subjects_train", "Ann", "--gpu", 0]
    script("trainer.py", *tiny, "--subjects_test", "Ann", "--train", 1, "--nepoch", 1, "-s", 1)
    done = script("trainer.py", *tiny, "--subjects_test", "Bob", "--save_predictions", "p.npz")
    rows = {line.split()[0]: line.split()[1:] for line in reversed(done.stdout.splitlines())}
    assert rows["sit"] == ["nan", "nan", "nan", "15"]
    assert rows["Average"][0] != "nan" and rows["Average"][0] == rows["long_jump"][0]
    assert "no true 3D poses of sit: predictions, but no errors" in done.stdout
    with np.load(tmp_path / "p.npz") as saved:
        assert np.isfinite(saved["predicted_3d"]).all() and len(saved["predicted_3d"]) == 29
        assert np.isnan(saved["target_3d"][saved["action"] == "sit"][:, 1:]).all()
    assert "NaN or infinity in Bob sit camera 0, frame 0" in mistake(
        "trainer.py", *tiny, "--subjects_train", "Bob", "--subjects_test", "Ann", "--train", 1
    )
    assert "there already" in mistake("dataset/make_custom.py", *words)
    assert "data_2d_h36m_mine.npz" in script("dataset/make_custom.py", *words, "--force").stdout


def test_a_known_focal_length(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "a_b.npz", keypoints=own_clip(5)[0])
    words = "--width 640 --height 480 --focal 700".split()
    run_here(monkeypatch, custom, tmp_path / "in", *words, "--output", tmp_path / "out")
    camera_file = json.loads((tmp_path / "out" / "h36m_cameras.json").read_text())
    assert camera_file["intrinsic"][0]["focal_length"] == [700, 700]
    with pytest.raises(UserError, match="h36m_cameras.json in it is this project's own"):
        run_here(monkeypatch, custom, tmp_path / "in", *words, "--output", ROOT / "dataset")


def test_coco_keypoints_become_ours():
    names = (
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
        "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
        "right_ankle"
    ).split()
    place = {name: np.random.default_rng(i).uniform(0, 100, (3, 2)) for i, name in enumerate(names)}

    def mean(*those):
        return np.mean([place[name] for name in those], axis=0)

    hip, thorax = mean("left_hip", "right_hip"), mean("left_shoulder", "right_shoulder")
    expected = [hip, place["right_hip"], place["right_knee"], place["right_ankle"]]
    expected += [place["left_hip"], place["left_knee"], place["left_ankle"]]
    expected += [(hip + thorax) / 2, thorax, place["nose"]]
    expected += [mean("left_eye", "right_eye", "left_ear", "right_ear")]
    for side in ("left", "right"):
        expected += [place[f"{side}_{part}"] for part in ("shoulder", "elbow", "wrist")]
    ours = custom.from_coco(np.stack([place[name] for name in names], axis=1))
    np.testing.assert_allclose(ours, np.stack(expected, axis=1))


def test_sixteen_joints_of_3d_get_a_neck_between_thorax_and_head():
    positions = np.random.default_rng(0).normal(size=(4, 16, 3))
    seventeen = custom.with_neck(positions)
    np.testing.assert_array_equal(np.delete(seventeen, 9, axis=1), positions)
    np.testing.assert_allclose(seventeen[:, 9], (positions[:, 8] + positions[:, 9]) / 2)


def spoilt(array, place, value):
    array = array.copy()
    array[place] = value
    return array


KEYPOINTS, POSITIONS = own_clip(6)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"keypoints": spoilt(KEYPOINTS, (2, 5, 1), np.nan)}, "keypoints: nan at frame 2, joint 5"),
        (
            {"keypoints": spoilt(KEYPOINTS, (4, 1, 0), -641)},
            r"\(-641, .*\) at frame 4, joint 1 is far",
        ),
        ({"keypoints": spoilt(KEYPOINTS, (4, 1, 1), 961)}, "961.* frame 4, joint 1 is far outside"),
        ({"keypoints": KEYPOINTS[:, :15]}, r"shape \(6, 15, 3\), \(frames, 16 or 17, 2 or 3\)"),
        ({"keypoints": KEYPOINTS[0]}, r"shape \(17, 3\), \(frames, 16 or 17, 2 or 3\) is needed"),
        ({"keypoints": KEYPOINTS[:0]}, r"shape \(0, 17, 3\)"),
        ({"pose": KEYPOINTS}, r"no entry 'keypoints' in it \(pose\)"),
        ({"positions_3d": POSITIONS[:5]}, "positions_3d: 5 frames, keypoints 6"),
        ({"positions_3d": POSITIONS[:, :14]}, r"shape \(6, 14, 3\), \(frames, 16 or 17, 3\)"),
        ({"positions_3d": spoilt(POSITIONS, (3, 16, 2), np.inf)}, "inf at frame 3, joint 16"),
        ({"positions_3d": POSITIONS * 1000}, "m large at frame 0; metres are needed, not mm"),
        ({"positions_3d": spoilt(POSITIONS, (5, 3, 2), -0.25)}, "z = -0.25 at frame 5, joint 3"),
    ],
)
def test_clips_that_cannot_be(tmp_path, monkeypatch, content, complaint):
    np.savez(tmp_path / "Ann_run.npz", keypoints=KEYPOINTS, positions_3d=POSITIONS)
    path = tmp_path / "Ann_walk_cam0.npz"
    np.savez(path, **({"keypoints": KEYPOINTS} if "pose" not in content else {}) | content)
    words = [tmp_path, *"--width 640 --height 480 --output".split(), tmp_path / "out"]
    with pytest.raises(UserError, match=f"^{path}.*{complaint}"):
        run_here(monkeypatch, custom, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "joints", "complaint"),
    [
        (["walk.npz"], [17], "name is not <subject>_<action> or <subject>_<action>_cam<k>"),
        (["a_b.npz", "a_b.npy"], [17, 17], "a_b.npy and .*a_b.npz are both a b"),
        (["a_b.npy", "a_c.npy"], [16, 17], "a_c.npy has 17 joints, .*a_b.npy has 16"),
    ],
)
def test_clips_that_do_not_go_together(tmp_path, monkeypatch, names, joints, complaint):
    for name, count in zip(names, joints, strict=True):
        keypoints = KEYPOINTS[:, :count]
        if name.endswith("y"):
            np.save(tmp_path / name, keypoints)
        else:
            np.savez(tmp_path / name, keypoints=keypoints)
    words = [tmp_path, *"--width 640 --height 480 --output".split(), tmp_path / "out"]
    with pytest.raises(UserError, match=complaint):
        run_here(monkeypatch, custom, *words)


def test_a_hostile_clip_runs_nothing(tmp_path):
    victim = tmp_path / "victim"
    np.savez(tmp_path / "a_b.npz", keypoints=np.array([touches(victim)], dtype=object))
    np.save(tmp_path / "a_c.npy", np.array([touches(victim)], dtype=object), allow_pickle=True)
    args = Namespace(layout="h36m", width=640, height=480)
    for name, complaint in (("a_b.npz", "refused"), ("a_c.npy", "not an .npy file")):
        with pytest.raises(UserError, match=complaint):
            custom.read_clip(Path(tmp_path / name), args)
    assert not victim.exists()
