"""MPI-INF-3DHP's own files become data files: prepare_3dhp.py."""

import h5py
import numpy as np
import pytest
import scipy.io
from paths import SAMPLE
from preparing import SIXTEEN, run_here

from common.data.npz import load_npz
from common.errors import UserError
from dataset import prepare_3dhp


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
RNG = np.random.default_rng(0)
TEST_2D, TEST_3D = RNG.normal(900, 300, (40, 17, 2)), RNG.normal(0, 900, (40, 17, 3))
VALID, ACTIVITY = np.repeat([1.0, 0.0], 20), np.repeat([1, 2, 5, 7], 10).astype(float)


@pytest.fixture
def owners_folder(tmp_path):
    """A training sequence of 30 frames, and two of the test set, in the owners' layout."""
    folder = tmp_path / "3dhp"
    write_annotations(folder / "S1" / "Seq1" / "annot.mat", 30)
    test_set = folder / "mpi_inf_3dhp_test_set"
    write_test_annotations(test_set / "TS1" / "annot_data.mat", TEST_2D, TEST_3D, VALID, ACTIVITY)
    write_test_annotations(
        test_set / "TS5" / "annot_data.mat", TEST_2D[:9], TEST_3D[:9], VALID[:9], axes="first"
    )
    return folder


@pytest.mark.slow
def test_3dhp_round_trip(script, owners_folder, tmp_path):
    folder, out = owners_folder, tmp_path / "out"
    write_annotations(folder / "S8" / "Seq2" / "annot.mat", 6060, KEPT_CAMERAS)
    done = script("dataset/prepare_3dhp.py", folder, "--output", out)
    for line in (
        "missing: S1 Seq2, S2 Seq1, ",
        "missing: TS2, TS3, TS4, TS6; continuing without",
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
        np.testing.assert_array_equal(test[name]["data_2d"], TEST_2D[:length].astype(np.float32))
        np.testing.assert_array_equal(test[name]["data_3d"], TEST_3D[:length].astype(np.float32))
        np.testing.assert_array_equal(test[name]["valid"], VALID[:length])
    np.testing.assert_array_equal(test["TS1"]["activity"], ACTIVITY)
    assert "activity" not in test["TS5"]
    # The entries are those of the sample's files.
    sample = load_npz(SAMPLE / "data_train_3dhp.npz")["data"]["S1 Seq1"]
    assert list(sample[0]["0"]) == list(views["0"]) and type(sample[1]) is type(frame_rate)


@pytest.mark.slow
def test_a_lifter_trains_on_prepared_3dhp(script, monkeypatch, owners_folder, tmp_path):
    out = tmp_path / "out"
    run_here(monkeypatch, prepare_3dhp, owners_folder, "--output", out)
    # 30 frames of 8 cameras, mirrored; the test counts valid frames.
    words = [*SIXTEEN, "--root_path", out, "--subjects_train", "S1", "--metric_3dhp", "official"]
    done = script("trainer_3dhp.py", *words, "--train", 1, "--nepoch", 1)
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert rows["TS1"][-1] == "20" and rows["TS5"][-1] == "9"
    assert rows["Exercising"][-1] == "10" and "Sports" not in rows  # activity 7's are not valid
    assert done.stdout.splitlines()[-1].startswith("p1: ")


def test_frames_after_the_usable_ones_are_left_out(tmp_path):
    write_annotations(tmp_path / "annot.mat", 30)
    views = prepare_3dhp.read_training(scipy.io, tmp_path / "annot.mat", 20)
    assert list(views) == [str(c) for c in KEPT_CAMERAS]
    for view, entry in views.items():
        for key, coordinates in (("data_2d", 2), ("data_3d", 3)):
            numbers = frames_of_joints(20, 28, coordinates, int(view))[:, KEPT_28]
            np.testing.assert_array_equal(entry[key], numbers.astype(np.float32))


def test_usable_frames_of_3dhp():
    assert list(prepare_3dhp.USABLE_FRAMES) == [f"S{s} Seq{q}" for s in range(1, 9) for q in (1, 2)]
    frames = np.array(list(prepare_3dhp.USABLE_FRAMES.values()))
    fast = [name for name, (_, rate) in prepare_3dhp.USABLE_FRAMES.items() if rate == 50]
    assert set(frames[:, 1]) == {25, 50}
    assert fast == ["S1 Seq2", "S3 Seq1", "S3 Seq2", "S5 Seq1", "S5 Seq2"]
    assert (frames[:, 0] * np.arange(1, 17)).sum() == 1_051_620


def test_3dhp_test_sets_elsewhere(tmp_path, monkeypatch):
    poses = np.random.default_rng(0).normal(0, 900, (5, 17, 3))
    for axes, place in (("squeezed", "a/TS6"), ("matlab", "b/mpi_inf_3dhp_test_set/TS2")):
        path = tmp_path / place / "annot_data.mat"
        write_test_annotations(path, poses[..., :2], poses, np.ones(5), axes=axes)
    run_here(monkeypatch, prepare_3dhp, tmp_path / "a", "--output", tmp_path)
    assert list(load_npz(tmp_path / "data_test_3dhp.npz")["data"]) == ["TS6"]
    words = [tmp_path, "--output", tmp_path, "--force"]
    run_here(monkeypatch, prepare_3dhp, *words, "--test_set", tmp_path / "b")
    assert list(load_npz(tmp_path / "data_test_3dhp.npz")["data"]) == ["TS2"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no TS1/annot_data.mat and so on in it"):
        run_here(monkeypatch, prepare_3dhp, *words, "--test_set", tmp_path / "empty")
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
        prepare_3dhp.read_training(scipy.io, path, 100)


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
        prepare_3dhp.read_test(h5py, path)
    path.write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(UserError, match="not a MATLAB 7.3 file"):
        prepare_3dhp.read_test(h5py, path)
