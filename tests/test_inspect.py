"""`python -m common.inspect` on every kind of file."""

import numpy as np
import pytest
from paths import SAMPLE

from common.data.base import DataSet, FileClip, FileFormat, Stores
from common.data.inspect import check, read_clips
from common.data.npz import load_npz
from common.data.registry import DATA_SETS
from common.data.skeleton import H36M_17
from common.inspect import draw, skeleton_with


@pytest.fixture
def inspect(script):
    """Run `python -m common.inspect` on a file."""

    def run(path, *words, expect=0):
        return script("common/inspect.py", path, *words, expect=expect)

    return run


@pytest.mark.parametrize(
    ("name", "kind", "row"),
    [
        ("data_3d_h36m", "3D poses in Human3.6M's", "S9 2 980 380 50 17 3D -0.7889 to 1.437"),
        ("data_2d_h36m_gt", "2D poses in Human3.6M's", "S9 8 3920 380 50 17 2D 157.2 to"),
        ("data_train_3dhp", "MPI-INF-3DHP's", "S2 8 2552 315 50 17 2D -813.9"),
        ("data_test_3dhp", "MPI-INF-3DHP's", "TS2 1 200 200 unknown 17 2D 768.9 to 1266"),
        ("amass", "AMASS's", "AMASS 3 1358 319 unknown 16 2D -2.446 to"),
    ],
)
def test_the_sample(inspect, tmp_path, name, kind, row):
    done = inspect(SAMPLE / f"{name}.npz")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert kind in lines[0]
    assert any(line.startswith(row) for line in lines), lines
    assert any(line.startswith("checks passed") for line in lines)
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_3d_that_is_not_known(inspect, tmp_path):
    unknown = np.full((4, 32, 3), np.nan, np.float32)
    np.savez(tmp_path / "x.npz", positions_3d={"Eve": {"walk": unknown}})
    done = inspect(tmp_path / "x.npz")
    row = next(line for line in done.stdout.splitlines() if line.startswith("Eve"))
    assert row.split() == "Eve 1 4 4 unknown 17 3D not known".split()
    assert (tmp_path / "x.png").exists()


def test_the_ranges_are_those_of_the_file(inspect):
    held = load_npz(SAMPLE / "data_test_3dhp.npz")["data"]["TS5"]["data_3d"]
    done = inspect(SAMPLE / "data_test_3dhp.npz")
    row = next(line for line in done.stdout.splitlines() if line.startswith("TS5"))
    assert row.endswith(f"{held[..., 2].min():.4g} to {held[..., 2].max():.4g}")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda e: e["data_3d"].__setitem__((3, 2, 1), np.nan), "3D is nan in frame 3, joint 2"),
        (lambda e: e["data_2d"].__setitem__((4, 16, 0), np.inf), "2D is inf in frame 4, joint 16"),
        (lambda e: e.update(data_2d=e["data_2d"][:5]), "5 frames of 2D for 8 of 3D"),
        (lambda e: e.update(data_3d=e["data_3d"] / 1000), "3D poses in millimetres are needed"),
        (lambda e: e.update(data_3d=e["data_3d"][:, :15]), "3D poses of shape (8, 15, 3)"),
        (lambda e: e.clear(), "no poses"),
    ],
)
def test_unsound_files(inspect, tmp_path, change, problem):
    held = load_npz(SAMPLE / "data_test_3dhp.npz")["data"]["TS1"]
    entry = {key: np.array(array[:8]) for key, array in held.items()}
    change(entry)
    np.savez(tmp_path / "x.npz", data={"TS1": entry})
    done = inspect(tmp_path / "x.npz", expect=1)
    assert "problem: TS1" in done.stdout and problem in done.stdout
    assert not list(tmp_path.glob("*.png"))


def test_mistakes(mistake, tmp_path):
    np.savez(tmp_path / "x.npz", other=np.zeros(3))
    for words, complaint in (
        ("no.npz", "no such file"),
        (tmp_path / "x.npz", "no dictionary 'positions_3d', "),
        (f"{SAMPLE}/amass.npz --frame 5000", "has frames 0 to 599"),
        (f"{SAMPLE}/amass.npz --sequence swim", "no such sequence"),
    ):
        assert complaint in mistake("common/inspect.py", *str(words).split())


def outside_file(path, joints, skeletons, monkeypatch):
    """A file of a data set that is registered from outside, with this number of joints."""

    def read(content, _):
        for name, poses in content.items():
            yield FileClip("Ann", name, None, poses)

    data_set = DataSet(
        name="other",
        title="another data set",
        load=lambda options: Stores(None, None),
        skeletons=skeletons,
        table=None,
        file_formats=(FileFormat("other_poses", "poses of another data set", read),),
    )
    monkeypatch.setitem(DATA_SETS, "other", data_set)
    poses = np.random.default_rng(0).normal(0, 0.4, (5, joints, 3))
    np.savez(path, other_poses={"walk": poses})


@pytest.mark.parametrize("kind", ["its own skeleton", "none"])
def test_a_data_set_from_outside_is_drawn(kind, tmp_path, monkeypatch):
    skeleton = H36M_17.without(10, name="headless").without(9, name="neckless")
    joints, own = (15, {15: skeleton}) if kind == "its own skeleton" else (21, {})
    monkeypatch.setattr("common.data.inspect.known_joints", lambda: {joints})
    outside_file(tmp_path / "x.npz", joints, own, monkeypatch)
    _, clips = read_clips(tmp_path / "x.npz")
    assert not [problem for clip in clips for problem in check(clip)]
    assert skeleton_with(joints) == own.get(joints)
    assert draw(tmp_path / "x.png", clips[0], None) == 2
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_foreign_picture_is_not_replaced(inspect, mistake, tmp_path):
    picture = tmp_path / "amass.png"
    picture.write_bytes(b"mine")
    assert "--picture amass.png is there already" in mistake(
        "common/inspect.py", SAMPLE / "amass.npz"
    )
    assert picture.read_bytes() == b"mine"
    for words in (["--force"], []):  # the second time it is the program's own
        inspect(SAMPLE / "amass.npz", *words)
    assert picture.read_bytes().startswith(b"\x89PNG")
