"""Motion as arrays and as text: what is written comes back, whatever the names and the gaps."""

import csv
import io
import json
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest
from chromium import INSTALL, find_chromium
from hostile import touches
from motions import moved, sample_motion, with_gaps
from paths import ROOT

from common.data.skeleton import H36M_16, Skeleton
from common.errors import UserError
from common.inference.motion import State
from common.motion_files.npz_file import read_motion
from common.motion_files.registry import WRITERS

GAPS = dict(interpolated=slice(3, 5), recovered=slice(5, 8), empty=slice(9, 11))
NAMES = ("nan", 'a,"b"\nc', "Ünï 日本 \u2028", "\ue000\ue001", "=1+1", "</script>", "\udcff bytes")


@pytest.fixture
def motion():
    return with_gaps(sample_motion(frames=slice(0, 12)), **GAPS)


def assert_same(first, second):
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other, err_msg=field.name)
        else:
            assert one == other, field.name


@pytest.mark.parametrize("skeleton", [None, H36M_16])
def test_npz_comes_back(tmp_path, motion, skeleton):
    if skeleton:
        motion = sample_motion(frames=slice(0, 2), skeleton=skeleton)
    (path,) = WRITERS["npz"].write([motion], tmp_path)
    assert path == tmp_path / "poses.npz"
    back = read_motion(path)
    assert_same(motion, back)
    assert back.skeleton is motion.skeleton  # colours and limbs too


def test_npz_of_an_unknown_skeleton_comes_back(tmp_path, motion):
    own = Skeleton("own", ("a", "b", "c"), (-1, 0, 1), left=(1,), right=(2,))
    motion = replace(
        motion,
        skeleton=own,
        derived=motion.derived[:3],
        **{
            name: getattr(motion, name)[:, :3]
            for name in ("poses_3d", "world_3d", "keypoints_2d", "confidence", "state")
        },
    )
    (path,) = WRITERS["npz"].write([motion], tmp_path)
    assert_same(motion, read_motion(path))


def test_npz_is_plain_arrays_that_any_numpy_opens(tmp_path, motion):
    (path,) = WRITERS["npz"].write([motion], tmp_path)
    with np.load(path, allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays.files} <= set("fiubU")
        assert arrays["joint_names"].tolist() == list(motion.skeleton.joint_names)
        assert str(arrays["model"]) == motion.record["model"]
        assert arrays["poses_3d"].shape == (12, 17, 3)
        assert arrays["state_names"][arrays["state"][6, 16]] == "recovered"
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            assert archive.read(name)[:8] == b"\x93NUMPY\x01\x00", name


@pytest.mark.parametrize("name", NAMES)
def test_npz_keeps_odd_names(tmp_path, motion, name):
    motion = replace(motion, name=name, record={"command": name, "nothing": ""})
    (path,) = WRITERS["npz"].write([motion], tmp_path)
    kept = name.encode("utf-8", "replace").decode()
    back = read_motion(path)
    assert (back.name, back.record) == (kept, {"command": kept, "nothing": ""})


def test_npz_refuses_a_record_with_the_name_of_an_array(tmp_path, motion):
    with pytest.raises(ValueError, match="time"):
        WRITERS["npz"].write([replace(motion, record={"time": "now"})], tmp_path)
    assert not (tmp_path / "poses.npz").exists()


def damages(entries):
    """Every entry missing, of another kind, of another shape, and an object."""
    for name, array in entries.items():
        if name in ("command", "model", "versions", "state_names", "camera_fields"):
            continue
        yield f"{name} missing", {k: v for k, v in entries.items() if k != name}
        yield f"{name} complex", entries | {name: np.zeros(array.shape, np.complex64)}
        yield f"{name} of objects", entries | {name: np.array({"a": 1}, dtype=object)}
        yield f"{name} with an axis more", entries | {name: array[None]}
    yield "cycle", entries | {"parents": np.roll(entries["parents"], 1)}
    yield "mirror", entries | {"left": entries["left"] + 90}
    yield "state", entries | {"state": entries["state"] + np.uint8(9)}
    yield "camera", entries | {"camera": entries["camera"] * np.nan}
    yield "shorter", entries | {"state": entries["state"][1:]}


def test_damaged_npz_files_are_told_in_a_line(tmp_path, motion):
    (path,) = WRITERS["npz"].write([motion], tmp_path)
    with np.load(path) as arrays:
        entries = dict(arrays)
    for what, damaged in damages(entries):
        np.savez(path, **damaged)
        with pytest.raises(UserError, match="poses.npz") as caught:
            read_motion(path)
        assert len(str(caught.value).splitlines()) == 1, what


def test_reading_a_motion_runs_nothing(tmp_path, motion):
    (path,) = WRITERS["npz"].write([motion], tmp_path)
    mark = tmp_path / "touched"
    with np.load(path) as arrays:
        entries = dict(arrays) | {"model": np.array(touches(mark), dtype=object)}
    np.savez(path, **entries)
    with pytest.raises(UserError, match="refused"):
        read_motion(path)
    assert not mark.exists()
    path.write_text("poses")
    with pytest.raises(UserError, match="not an .npz"):
        read_motion(path)


@pytest.mark.parametrize("name", NAMES)
def test_csv_has_a_row_per_joint_and_empty_cells(tmp_path, motion, name):
    people = [motion, moved(motion, (1, 2, 0), name=name)]
    (path,) = WRITERS["csv"].write(people, tmp_path)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert len(rows) == 2 * 12 * 17
    for person, part in zip(people, (rows[: 12 * 17], rows[12 * 17 :]), strict=True):
        assert {row["person"] for row in part} == {person.name.encode("utf-8", "replace").decode()}
        assert [row["joint"] for row in part[:17]] == list(person.skeleton.joint_names)
        for columns, array in (
            (("x", "y", "z"), person.poses_3d),
            (("world_x", "world_y", "world_z"), person.world_3d),
            (("u", "v"), person.keypoints_2d),
        ):
            numbers = [[float(row[c] or "nan") for c in columns] for row in part]
            np.testing.assert_allclose(np.reshape(numbers, array.shape), array, atol=6e-3)
            empty = [[row[c] == "" for c in columns] for row in part]
            np.testing.assert_array_equal(np.reshape(empty, array.shape), np.isnan(array))
        states = [State[row["state"].upper()] for row in part]
        np.testing.assert_array_equal(np.reshape(states, (12, 17)), person.state)
        assert [int(row["frame"]) for row in part[::17]] == list(range(12))
        np.testing.assert_allclose([float(row["time"]) for row in part[::17]], person.time)


def test_csv_holds_tenths_of_a_millimetre(tmp_path, motion):
    (path,) = WRITERS["csv"].write([motion], tmp_path)
    row = list(csv.DictReader(path.open()))[17 * 8 + 3]
    written = [float(row[axis]) for axis in ("world_x", "world_y", "world_z")]
    np.testing.assert_allclose(written, motion.world_3d[8, 3], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_json_is_strict_and_complete(tmp_path, motion, name):
    people = [motion, moved(motion, (1, 2, 0), name=name)]
    (path,) = WRITERS["json"].write(people, tmp_path)
    content = json.loads(path.read_text("ascii"), parse_constant=pytest.fail)
    assert [person["name"] for person in content["people"]] == ["1", name]
    found = content["people"][1]
    for key, tolerance in (("poses_3d", 1e-5), ("root_3d", 1e-5), ("world_3d", 1e-5)):
        array = np.array(found[key], float)  # null becomes NaN
        np.testing.assert_allclose(array, getattr(people[1], key), atol=tolerance)
    np.testing.assert_allclose(
        np.array(found["keypoints_2d"], float), motion.keypoints_2d, atol=0.01
    )
    np.testing.assert_array_equal(found["state"], motion.state)
    assert found["skeleton"]["parents"] == list(motion.skeleton.parents)
    assert found["record"] == motion.record and found["frames"] == 12
    assert found["camera"]["size"] == list(motion.camera.size) and found["camera"]["assumed"]


def test_trc_is_what_opensim_reads(tmp_path, motion):
    motion = replace(motion, time=np.arange(12) * 1001 / 30000)
    (path,) = WRITERS["trc"].write([motion], tmp_path)
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert lines[0] == ["PathFileType", "4", "(X/Y/Z)", "poses.trc"]
    header = dict(zip(lines[1], lines[2], strict=True))
    assert (header["NumFrames"], header["NumMarkers"], header["Units"]) == ("12", "17", "m")
    assert float(header["DataRate"]) == pytest.approx(29.97, abs=0.001)
    markers = lines[3][2::3]
    assert markers[:2] == ["hip", "right_hip"] and len(markers) == 17
    assert lines[4][2:5] == ["X1", "Y1", "Z1"] and lines[4][-1] == "Z17"
    body = lines[5:]
    assert len(body) == 12 and {len(row) for row in body} == {2 + 3 * 17}
    assert [row[0] for row in body] == [str(n) for n in range(1, 13)]
    assert body[9][2:] == [""] * 51  # a frame without a pose
    points = np.array([[float(cell or "nan") for cell in row[2:]] for row in body])
    points = points.reshape(12, 17, 3)
    np.testing.assert_allclose(points[..., 1], motion.world_3d[..., 2], atol=1e-5)  # y is up
    np.testing.assert_allclose(points[..., 0], motion.world_3d[..., 0], atol=1e-5)
    np.testing.assert_allclose(points[..., 2], -motion.world_3d[..., 1], atol=1e-5)


def test_people_have_files_of_their_own_where_the_format_holds_one(tmp_path, motion):
    people = [motion, moved(motion, (1, 0, 0), name="2"), moved(motion, (2, 0, 0), name="3")]
    for name in ("npz", "trc", "bvh"):
        writer = WRITERS[name]
        paths = writer.write(people, tmp_path / "new" / "folder")
        assert [path.name for path in paths] == [f"poses_{n}{writer.suffix}" for n in (1, 2, 3)]
        assert (
            writer.existing(tmp_path / "new" / "folder")
            == paths
            == writer.paths(3, tmp_path / "new" / "folder")
        )
        assert writer.existing(tmp_path) == []
    assert read_motion(tmp_path / "new" / "folder" / "poses_2.npz").name == "2"
    assert WRITERS["csv"].paths(3, tmp_path) == [tmp_path / "poses.csv"]


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_refuses_what_is_no_recording(tmp_path, motion, name):
    other = replace(motion, time=motion.time + 1)
    for people, message in (([], "no motion"), ([motion, other], "different time stamps")):
        with pytest.raises(UserError, match=message):
            WRITERS[name].write(people, tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot make the folder"):
        WRITERS[name].write([motion], blocked / "folder")
    assert list(tmp_path.iterdir()) == [blocked]


@pytest.mark.parametrize("name", sorted(WRITERS.keys() - {"video", "gif"}))
def test_one_frame_is_a_motion(tmp_path, name):
    motion = sample_motion(frames=slice(0, 1))
    (path,) = WRITERS[name].write([motion], tmp_path)
    assert path.stat().st_size > 500


def test_without_a_browser_the_tests_of_the_viewer_tell_how_to_install_it(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(AssertionError, match=INSTALL):
        find_chromium()
    for file in (".ci/run", "CONTRIBUTING.md"):
        assert INSTALL in (ROOT / file).read_text()
