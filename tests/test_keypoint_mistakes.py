"""Inputs that are not what they should be: one line that says what, never a traceback."""

import json
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keypoint_files import (
    COCO,
    FILES,
    HALPE,
    SIZE,
    alphapose,
    coco_results,
    detectron,
    flat,
    mmpose,
    openpose,
    save,
    table,
    videopose3d,
    write_json,
)

from common.errors import UserError
from common.keypoints.formats.registry import FORMATS
from common.keypoints.people import choose
from common.keypoints.reading import ReadOptions, read_recording


def complaint(path, **options):
    """The line with which an input is refused."""
    with pytest.raises(UserError) as raised:
        read_recording(path, ReadOptions(**({"size": SIZE, "fps": 25.0} | options)))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def text(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


MISTAKES = {
    "nothing": (lambda d: d / "no.json", "not found"),
    "an empty file": (lambda d: text(d / "e.json", b""), "the file is empty"),
    "an empty folder": (lambda d: d, "no .json files in it, but nothing"),
    "cut JSON": (lambda d: text(d / "c.json", '[{"image_id": "0.jpg", "key'), "not JSON"),
    "deep JSON": (lambda d: text(d / "d.json", "[" * 200_000), "nested too deeply"),
    "huge number": (
        lambda d: text(d / "h.json", '{"people": ' + "9" * 5000 + "}"),
        "not JSON",
    ),
    "other JSON": (lambda d: write_json(d / "o.json", {"a": 1}), "neither a video nor keypoints"),
    "a JSON list": (lambda d: write_json(d / "o.json", [1, 2]), "neither a video nor keypoints"),
    "plain text": (lambda d: text(d / "t.txt", "no keypoints\nhere at all\n"), "neither a video"),
    "bytes": (lambda d: text(d / "b.bin", bytes(range(256)) * 9), "neither a video nor keypoints"),
    "nobody": (lambda d: write_json(d / "a.json", []), "no person in it, and no frames"),
    "nobody in OpenPose": (
        lambda d: openpose(d / "o", [np.empty((3, 0, 2))]),
        "no person in any of its 3 frames, numbers 0 to 2",
    ),
    "nobody in an array": (
        lambda d: save(d / "z.npy", np.zeros((9, 26, 3))),
        "no person in any of its 9 frames, numbers 0 to 8",
    ),
    "an empty array": (lambda d: save(d / "z.npy", np.zeros((0, 26, 3))), "of shape (0, 26, 3)"),
    "a flat array": (lambda d: save(d / "z.npy", np.zeros((9, 78))), "of shape (9, 78)"),
    "words": (
        lambda d: save(d / "z.npy", np.full((9, 26, 2), "x")),
        "one plain array of numbers",
    ),
    "unknown joints": (lambda d: save(d / "u.npy", np.ones((4, 19, 2))), "19 joints; known orders"),
    "3D": (lambda d: save(d / "u.npy", np.random.default_rng(0).normal(size=(4, 26, 3))), "3D"),
    "mixed joints": (
        lambda d: write_json(
            d / "a.json",
            [
                {"image_id": f"{n}.jpg", "keypoints": flat(p[0])}
                for n, p in enumerate((COCO, HALPE))
            ],
        ),
        "26 joints in frame 1, 17 in frame 0",
    ),
    "two sequences": (
        lambda d: write_json(
            d / "a.json",
            [{"image_id": f"{n}_001.jpg", "keypoints": flat(COCO[0])} for n in ("left", "right")],
        ),
        "images of several sequences (left_#, right_#)",
    ),
    "images of a data set": (
        lambda d: write_json(
            d / "a.json", [{"image_id": n, "keypoints": flat(COCO[0])} for n in (139, 397133)]
        ),
        "no frames of one recording",
    ),
    "far frames": (
        lambda d: write_json(
            d / "a.json", [{"image_id": n, "keypoints": flat(COCO[0])} for n in (0, 10**400)]
        ),
        "a recording has at most 1,000,000",
    ),
    "half a joint": (
        lambda d: write_json(d / "a.json", [{"image_id": "0.jpg", "keypoints": [1.0] * 50}]),
        "an array of shape (50,)",
    ),
    "scores for others": (
        lambda d: write_json(
            d / "m.json",
            [{"instances": [{"keypoints": [[1, 2]] * 17, "keypoint_scores": [1]}]}],
        ),
        "scores of shape (1,), not (17,)",
    ),
    "an unknown data set": (
        lambda d: mmpose(d / "m.json", COCO[:, :14], meta="crowdpose"),
        "'crowdpose' is not one of",
    ),
    "uneven rows": (lambda d: text(d / "c.csv", "1,2,3\n4,5\n"), "rows of 2, 3 numbers"),
    "odd columns": (lambda d: table(d / "c.csv", np.ones((3, 19, 2))), "38 columns"),
    "all x before all y": (
        lambda d: table(
            d / "c.csv",
            np.ones((3, 17, 2)),
            header=[f"{axis}_{n}" for axis in "xy" for n in range(17)],
        ),
        "'x_0', 'x_1': all x come first",
    ),
    "letters": (lambda d: text(d / "c.csv", "1,2,3\n4,x,5\n"), "could not convert"),
    "an npz of other things": (
        lambda d: np.savez(d / "n.npz", a=np.ones(3)) or d / "n.npz",
        "neither a video nor keypoints",
    ),
    "a damaged npz": (lambda d: text(d / "n.npz", b"PK\3\4" + b"x" * 99), "not an .npz file"),
    "a damaged npy": (
        lambda d: text(d / "n.npy", b"\x93NUMPY" + b"x" * 99),
        "one plain array is",
    ),
    "no four rows": (
        lambda d: (
            np.savez(d / "n.npz", boxes=np.ones(2), keypoints=np.ones((2, 2, 1, 3, 17)))
            or d / "n.npz"
        ),
        "rows x, y, logit, probability",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_one_line(kind, tmp_path):
    write, expected = MISTAKES[kind]
    path = write(tmp_path)
    said = complaint(path)
    assert expected in said and str(path).split("/")[-1] in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"format": "betamax"}, "format 'betamax' is not one of video, alphapose"),
        ({"layout": "horse"}, "--layout 'horse' is not one of h36m, coco"),
        ({"layout": "mpii"}, "says that it is 'coco'"),
        ({"size": (0, 5)}, "--size 0x5"),
        ({"size": None}, "--size WIDTHxHEIGHT is needed"),
        ({"size": (300, 200)}, "of an image of another size?"),
        ({"fps": 0.0}, "--fps 0"),
        ({"fps": float("nan")}, "--fps nan"),
        ({"format": "openpose"}, "not OpenPose's"),
        ({"format": "mmpose"}, "neither 'instances' nor 'keypoints'"),
        ({"format": "array"}, "no array in it"),
        ({"format": "videopose3d"}, "no dictionary 'positions_2d'"),
        ({"format": "detectron"}, "no 'keypoints'"),
    ],
)
def test_wrong_options_are_one_line(options, expected, tmp_path):
    if options.get("format") == "mmpose":
        path = write_json(tmp_path / "a.json", [{"a": 1}])
    else:
        path = coco_results(tmp_path / "a.json", COCO * [0.6, 0.6])
    assert expected in complaint(path, **options)


def test_sizes_that_contradict_each_other(tmp_path):
    path = videopose3d(tmp_path / "d.npz", {"v": COCO})
    assert "--size 640x480" in complaint(path, size=(640, 480))
    wide = {"w": 2000, "h": 700}
    meta = {"layout_name": "coco", "video_metadata": {"v": wide}}
    tall = COCO * [0.5, 1.9]
    path = videopose3d(tmp_path / "d.npz", {"v": tall}, metadata=meta)
    assert "width and height swapped?" in complaint(path, size=None)


def test_numbers_of_another_layout_are_a_warning(tmp_path, caplog):
    read_recording(save(tmp_path / "k.npy", COCO), ReadOptions(layout="h36m", size=SIZE, fps=25.0))
    assert "are its joints in the order 'h36m' (--layout)?" in caplog.text


def test_times_that_do_not_increase(tmp_path):
    for times, expected in (
        ([0.0, 0.2, 0.1], "frame 2 is no later than"),
        ([0.0, 0.1], "times of shape (2,)"),
    ):
        np.savez(tmp_path / "k.npz", keypoints=HALPE[:3], time=times)
        assert expected in complaint(tmp_path / "k.npz", fps=None)


def test_a_frame_rate_that_is_none(tmp_path):
    for fps in (0, -5, "fast", np.inf):
        np.savez(tmp_path / "k.npz", keypoints=HALPE, fps=fps)
        assert "'fps' is" in complaint(tmp_path / "k.npz", fps=None)


def test_nobody_of_that_name(tmp_path):
    path = alphapose(tmp_path / "a.json", [COCO, COCO * 0.5 + 300], ids=lambda n: n + 3)
    recording = read_recording(path, ReadOptions(size=SIZE))
    assert [p.name for p in choose(recording).people] == ["3"]
    assert [p.name for p in choose(recording, 4).people] == ["4"]
    assert choose(recording, "all") is recording
    with pytest.raises(UserError, match="no person 9; there are 3, 4, or all"):
        choose(recording, 9)


def test_a_detectron_file_without_anybody(tmp_path):
    assert "no person in any of its 3 frames" in complaint(detectron(tmp_path / "d.npz", [[]] * 3))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "image_id",
                    "keypoints",
                    "people",
                    "pose_keypoints_2d",
                    "instance_info",
                    "instances",
                ]
                + ["keypoint_scores", "frame_id", "idx", "person_id", "meta_info", "dataset_name"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values, st.sampled_from([None, *FORMATS]))
@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_json_of_any_shape_is_one_line(tmp_path, content, name):
    if name == "video":
        name = None
    path = tmp_path / "any.json"
    path.write_text(json.dumps(content))
    assert complaint(path, format=name)


def spoilt_value(content, rng):
    """Replace or drop something, anywhere in parsed JSON."""
    place, key = None, None
    while isinstance(content, list | dict) and content and rng.random() < 0.9:
        keys = list(content) if isinstance(content, dict) else range(len(content))
        place, key = content, rng.choice(keys)
        content = place[key]
    if place is None:
        return
    if rng.random() < 0.2:
        del place[key]
    else:
        place[key] = rng.choice([None, True, -1, 1e308, float("nan"), 10**400, "x", [], {}, [[]]])


def spoilt_bytes(content, rng):
    """Cut a file, or change some of its bytes, more often near its start."""
    if rng.random() < 0.3:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(rng.choice([1, 4, 20])):
        end = len(changed) if rng.random() < 0.5 else min(400, len(changed))
        changed[rng.randrange(end)] = rng.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("kind", FILES)
def test_spoilt_files_are_read_or_refused_in_one_line(kind, tmp_path):
    rng = random.Random(kind)
    path = FILES[kind](tmp_path)
    victim = path if path.is_file() else sorted(path.iterdir())[0]
    whole = victim.read_bytes()
    for _ in range(20):
        if victim.suffix == ".json" and rng.random() < 0.7:
            content = json.loads(whole)
            spoilt_value(content, rng)
            victim.write_text(json.dumps(content))
        else:
            victim.write_bytes(spoilt_bytes(whole, rng))
        try:
            read_recording(path, ReadOptions(size=SIZE))
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000
