"""BVH files of several programs become clips of the 17 joints."""

import json
from pathlib import Path

import numpy as np
import pybvh
import pytest
from bvh_files import BODY, ENDS, NAMES, PARTS, UP, names_of, write_bvh

from common.data.skeleton import H36M_17
from common.errors import UserError
from dataset import bvh_clips
from dataset.bvh_clips import CONVENTIONS, UNITS, load_names, read_bvh_clip, resample
from dataset.bvh_file import read_bvh
from dataset.motion_checks import RIGID, body_height

SPINE, THORAX, HEAD_BASE, HEAD_TOP = 7, 8, 9, 10
FEET = [3, 6]


def clip_of(path: Path, names=None):
    return read_bvh_clip(path, Path("clip"), names)


def expected(path: Path, program: str, unit: float) -> np.ndarray:
    """(L, 17, 3) metres of a file that stands along y, by another reader's kinematics."""
    bvh = pybvh.read_bvh_file(path, world_up="+y")
    placed, index = bvh.node_positions() * unit, bvh.node_index
    names = names_of(program)
    poses = np.empty((len(placed), 17, 3))
    for joint, ours in enumerate(H36M_17.joint_names):
        if ours in names:
            poses[:, joint] = placed[:, index[names[ours]]]
    poses[:, HEAD_TOP] = placed[:, index["EndSite" + names["neck"]]]
    poses[:, 0] = (poses[:, 1] + poses[:, 4]) / 2
    poses[:, SPINE] = (poses[:, 0] + poses[:, THORAX]) / 2
    return poses[..., [2, 0, 1]]  # y up to z up, by a turn


@pytest.mark.parametrize("program", NAMES)
def test_each_programs_names_are_known(tmp_path, program):
    path = write_bvh(tmp_path / "walk.bvh", names_of(program))
    clip, guess = clip_of(path)
    np.testing.assert_allclose(clip.poses, expected(path, program, 0.01), atol=1e-5)
    assert program in guess.names or guess.names == "Mixamo, LAFAN1"
    assert (guess.unit, guess.up, guess.frame_rate) == ("cm", "y", 50)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("up", UP)
def test_units_and_axes_are_guessed(tmp_path, unit, up):
    path = write_bvh(tmp_path / "a.bvh", names_of("DAZ"), unit=UNITS[unit], up=up, frames=30)
    usual = write_bvh(tmp_path / "b.bvh", names_of("DAZ"), unit=UNITS[unit], frames=30)
    clip, guess = clip_of(path)
    assert (guess.unit, guess.up) == (unit, up)
    truth = clip_of(usual)[0].poses
    # The same body, standing along z, turned about z at most.
    np.testing.assert_allclose(clip.poses[..., 2], truth[..., 2], atol=1e-4)
    right = np.cross(truth[0, 1] - truth[0, 0], truth[0, THORAX] - truth[0, 0]) @ (
        truth[0, 14] - truth[0, 0]
    )
    found = np.cross(
        clip.poses[0, 1] - clip.poses[0, 0], clip.poses[0, THORAX] - clip.poses[0, 0]
    ) @ (clip.poses[0, 14] - clip.poses[0, 0])
    assert found == pytest.approx(right, abs=1e-6)  # turned, not mirrored
    distances = np.linalg.norm(clip.poses[:, :, None] - clip.poses[:, None], axis=-1)
    np.testing.assert_allclose(
        distances, np.linalg.norm(truth[:, :, None] - truth[:, None], axis=-1), atol=1e-4
    )


@pytest.mark.parametrize("channels", ["rotations first", "repeated", "added", "fewer"])
def test_channels_in_any_order_and_number(tmp_path, channels):
    usual = write_bvh(tmp_path / "a.bvh", names_of("Mixamo"))
    other = write_bvh(tmp_path / "b.bvh", names_of("Mixamo"), channels=channels)
    assert usual.read_text() != other.read_text()
    np.testing.assert_allclose(clip_of(other)[0].poses, clip_of(usual)[0].poses, atol=1e-5)


@pytest.mark.parametrize("order", ["XYZ", "YZX", "ZYX", "YXZ"])
def test_the_order_of_the_rotations_is_the_channels(tmp_path, order):
    path = write_bvh(tmp_path / "a.bvh", names_of("LAFAN1"))
    axes = " ".join(f"{axis}rotation" for axis in order)
    path.write_text(path.read_text().replace("Zrotation Xrotation Yrotation", axes))
    assert axes in path.read_text()
    np.testing.assert_allclose(clip_of(path)[0].poses, expected(path, "LAFAN1", 0.01), atol=1e-5)


@pytest.mark.parametrize("rate", [23.976, 24, 25, 30, 60, 100, 120])
def test_any_frame_rate_becomes_50(tmp_path, rate):
    path = write_bvh(tmp_path / "a.bvh", names_of("LAFAN1"), frame_rate=rate, frames=int(3 * rate))
    clip, guess = clip_of(path)
    assert guess.frame_rate == pytest.approx(rate, abs=1e-3)
    assert len(clip.poses) == int((int(3 * rate) - 1) / rate * 50 + 1e-6) + 1
    truth = write_bvh(tmp_path / "b.bvh", names_of("LAFAN1"), frames=len(clip.poses))
    # The same smooth motion, sampled at 50 frames per second in the first place.
    assert np.abs(clip.poses - clip_of(truth)[0].poses).max() < 0.002
    for joint, other in RIGID:
        length = np.linalg.norm(clip.poses[:, joint] - clip.poses[:, other], axis=-1)
        assert np.ptp(length) < 0.005 * length.mean()


def test_resampling_keeps_straight_motion():
    line = np.arange(7.0)[:, None, None] * np.ones((7, 17, 3))
    np.testing.assert_allclose(resample(line, 25)[:, 0, 0], np.arange(13) / 2)
    assert len(resample(line[:1], 25)) == 1
    np.testing.assert_allclose(resample(line[:2], 25)[:, 0, 0], [0, 0.5, 1])
    np.testing.assert_array_equal(resample(line, 50), line)


def test_a_rig_without_head_end_or_base_gets_them(tmp_path):
    names = names_of("DAZ")
    whole = clip_of(write_bvh(tmp_path / "a.bvh", names))[0].poses
    no_end = clip_of(write_bvh(tmp_path / "b.bvh", names, ends=[e for e in ENDS if e != "head"]))
    np.testing.assert_allclose(no_end[0].poses[:, :10], whole[:, :10], atol=1e-5)
    np.testing.assert_allclose(no_end[0].poses[:, 10], whole[:, 10], atol=0.07)
    del names["neck"]
    path = write_bvh(tmp_path / "c.bvh", names, ends=[e for e in ENDS if e != "head"])
    poses = clip_of(path)[0].poses
    np.testing.assert_allclose(poses[:, :9], whole[:, :9], atol=1e-5)
    np.testing.assert_allclose(poses[:, 10], whole[:, 10], atol=0.2)  # a guess
    np.testing.assert_allclose(poses[:, 9], (poses[:, 8] + poses[:, 10]) / 2, atol=1e-6)


def test_names_of_ones_own(tmp_path):
    own = {part: f"Bone{number}" for number, part in enumerate(PARTS)}
    path = write_bvh(tmp_path / "a.bvh", own)
    with pytest.raises(UserError, match="Bone0.*--names"):
        clip_of(path)
    wanted = {p: n for p, n in own.items() if p not in ("hip", "chest")}
    (tmp_path / "map.json").write_text(json.dumps(wanted))
    clip, guess = clip_of(path, load_names(tmp_path / "map.json"))
    usual = clip_of(write_bvh(tmp_path / "b.bvh", names_of("DAZ")))[0]
    np.testing.assert_allclose(clip.poses, usual.poses, atol=1e-5)
    assert guess.names == "the names file"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "JSON object"),
        ("{", "not JSON"),
        ('{"tail": "Tail"}', "unknown joint 'tail'"),
        ('{"right hip": "a"}', "no left elbow"),
        ('{"right hip": 3}', "our joint name"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_invalid_names_files_are_named(tmp_path, content, message):
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(UserError, match=f"map.json: .*{message}"):
        load_names(tmp_path / "map.json")


def test_names_that_a_file_lacks_are_named(tmp_path):
    path = write_bvh(tmp_path / "a.bvh", names_of("DAZ"))
    names = dict(CONVENTIONS["DAZ"]) | {13: "noSuchHand"}
    with pytest.raises(UserError, match="noSuchHand"):
        clip_of(path, names)


def test_a_body_of_no_human_size_is_an_error(tmp_path):
    path = write_bvh(tmp_path / "a.bvh", names_of("DAZ"), unit=10)
    with pytest.raises(UserError, match="1.2 to 2.2 m"):
        clip_of(path)


def test_a_folder_is_read_one_file_at_a_time(tmp_path, monkeypatch, caplog):
    for name in ("b/02_01", "b/02_02", "a"):
        write_bvh(tmp_path / f"{name}.bvh", names_of("DAZ"), frames=20)
    (tmp_path / "broken.BVH").write_text("nothing")
    read: list[str] = []
    monkeypatch.setattr(
        bvh_clips, "read_bvh", lambda path: (read.append(path.name), read_bvh(path))[1]
    )
    caplog.set_level("INFO", logger="mpm")
    monkeypatch.setattr(bvh_clips.LOG, "propagate", True)
    clips = bvh_clips.bvh_clips(tmp_path)
    assert next(clips)[1].name == "a"
    assert read == ["a.bvh"]
    assert [clip.name for _, clip in clips] == ["b/02_01", "b/02_02"]
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "guessed" in line and "cm" in line][1:] == []  # said once
    assert sum("broken.BVH" in line for line in said) == 1


def test_a_folder_without_motion_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no .bvh files"):
        next(bvh_clips.bvh_clips(tmp_path))
    (tmp_path / "x.bvh").write_text("HIERARCHY")
    with pytest.raises(UserError, match=r"no file of .* can be used; .*x.bvh"):
        next(bvh_clips.bvh_clips(tmp_path))


def test_a_body_is_as_tall_as_its_bones(tmp_path):
    poses = clip_of(write_bvh(tmp_path / "a.bvh", names_of("DAZ"), frames=200))[0].poses
    lowest_to_top = 0.06 + 0.41 + 0.42 + 0.06 + 0.22 + 0.28 + 0.1 + 0.15
    assert body_height(poses) == pytest.approx(lowest_to_top, rel=0.05)


def mutations(text: str, number: int):
    """Files cut short, with characters replaced, lines doubled or left out."""
    rng = np.random.default_rng(1)
    lines = text.splitlines()
    for _ in range(number):
        where = int(rng.integers(len(text)))
        yield text[:where]
        yield text[:where] + str(rng.choice(list("x{}-\0é9 \n"))) + text[where + 1 :]
        line = int(rng.integers(len(lines)))
        yield "\n".join(lines[:line] + lines[line + 1 :])
        yield "\n".join(lines[: line + 1] + lines[line:])


def test_damaged_files_give_one_line_or_a_clip(tmp_path):
    text = write_bvh(tmp_path / "a.bvh", names_of("DAZ"), frames=3).read_text()
    path, invalid = tmp_path / "b.bvh", 0
    for damaged in mutations(text, 50):
        path.write_text(damaged)
        try:
            clip_of(path)
        except UserError as error:
            assert str(path) in str(error)
            invalid += 1
    assert invalid > 60


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("OFFSET 0 0 0", "OFFSET 0 0", "line 4: OFFSET"),
        ("OFFSET 0 0 0", "OFFSET 0 0 nan", "line 4: OFFSET"),
        ("CHANNELS 6", "CHANNELS 7", "line 5: CHANNELS"),
        ("Xposition", "Wposition", "line 5: channel 'Wposition'"),
        ("Frame Time: 0.02", "Frame Time: 0", "Frame Time 0"),
        ("Frames: 3", "Frames: many", "Frames: n"),
        ("ROOT hip", "JOINT hip", "line 2: JOINT hip"),
        ("MOTION", "MOTOIN", "no line MOTION"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, message):
    path = write_bvh(tmp_path / "a.bvh", names_of("DAZ"), frames=3)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        read_bvh(path)


def test_a_chain_without_end_is_refused(tmp_path):
    deep = "HIERARCHY\nROOT a\n{\n" + "JOINT b\n{\n" * 100_000
    (tmp_path / "a.bvh").write_text(deep + "MOTION\nFrames: 1\nFrame Time: 0.1\n1\n")
    with pytest.raises(UserError, match="no skeleton"):
        read_bvh(tmp_path / "a.bvh")


def test_left_stays_left(tmp_path):
    assert BODY["right hip"][1][0] < 0  # of a body that faces z and stands along y
    poses = clip_of(write_bvh(tmp_path / "a.bvh", names_of("DAZ")))[0].poses
    forward = np.cross(poses[:, 4] - poses[:, 1], [0, 0, 1.0])
    walked = poses[-1, 0] - poses[0, 0]  # along z of the file
    assert (forward @ walked > 0).all()
    assert (poses[:, HEAD_TOP, 2] > poses[:, FEET, 2].max(1)).all()


def test_more_nodes_than_a_skeleton_has_are_refused(tmp_path):
    """Nodes without channels cost a file nothing, and memory and time in every frame."""
    nodes = "JOINT a { OFFSET 0 0 1 }\n" * 6000
    head = "HIERARCHY\nROOT r {\nOFFSET 0 0 0\nCHANNELS 1 Xrotation\n"
    (tmp_path / "x.bvh").write_text(f"{head}{nodes}}}\nMOTION\nFrames: 1\nFrame Time: 0.02\n1\n")
    with pytest.raises(UserError, match="no skeleton"):
        read_bvh_clip(tmp_path / "x.bvh", Path("x"))
