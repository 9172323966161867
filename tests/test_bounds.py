"""What a file declares is bounded before it is acted upon; only regular files are opened."""

import io
import json
import os
import pickle
import socket
import struct
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
from paths import SAMPLE
from test_safe_files import npz

from common.data import amass, mpi_inf_3dhp
from common.data.base import DataOptions
from common.data.camera import CAMERA_FILE, load_cameras
from common.data.keypoint_files import camera_views, frame_rate
from common.data.npz import load_npy, load_npz, numbers
from common.errors import UserError, shown
from common.evaluation.results import load_published, read_result
from common.files import files_below
from common.inference.calibration import read_camera
from dataset import prepare_3dhp
from dataset.amass_bodies import Motion, Unusable
from dataset.bvh_clips import load_names
from dataset.bvh_file import read_bvh

DEEP = 200_000
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
OBJECTS = b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI63\ntb"


def peak_of(read):
    """The message with which reading ends, and the memory that it took."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as raised:
            read()
        return str(raised.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def greedy_pickles():
    """Pickles of a few bytes that ask an unpickler for much."""
    deep = b")" + b"\x85" * DEEP  # (((...),),)
    yield "deep tuple", b"\x80\x02" + deep + b"."
    yield "deep key", b"\x80\x02}" + deep + b"Ns."
    yield "deep set member", b"\x80\x04\x8f(" + deep + b"\x90."
    yield "deep frozenset", b"\x80\x04(" + deep + b"\x91."
    yield "deep pairs", b"\x80\x02N" + b"N\x86" * DEEP + b"."
    yield "deep marks", b"(" * DEEP + b"t" * DEEP + b"."
    yield "deep lists", b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b"."
    yield "deep by memo", b"\x80\x02)q\x00" + b"h\x00\x85q\x00" * DEEP + b"."
    yield "memo", b"\x80\x02Nr" + struct.pack("<I", 2**31) + b"."
    yield "memo in text", b"Np4000000000\n."
    for name, opcode in (("bytes", b"\x8e"), ("text", b"\x8d"), ("bytearray", b"\x96")):
        yield name, b"\x80\x05" + opcode + struct.pack("<Q", 2**40) + b"x."
    yield "frame", b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N."
    yield "integer", b"\x80\x02\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b"."
    yield "integer in text", b"L" + b"9" * 100_000 + b"L\n."
    yield "negative", ARRAY + b"(I1\n(I-5\nI-5\nt" + OBJECTS + b"I00\n(ltb."
    numbers_ = pickle.dumps(np.zeros(2**16), 2)[2:-1]
    yield (
        "one array again and again",
        b"\x80\x02]q\xff(" + numbers_ + b"q\xfe" + b"h\xfe" * 999 + b"e.",
    )


@pytest.mark.parametrize("number", range(len(list(greedy_pickles()))))
def test_greedy_pickles(number, tmp_path):
    name, payload = list(greedy_pickles())[number]
    path = npz(tmp_path / "x.npz", payload)
    message, most = peak_of(lambda: load_npz(path))
    assert message.startswith(f"{path}: ") and message.isprintable(), name
    assert most < 4e6 + 20 * len(payload), name


def test_a_thousand_million_empty_rows_are_none(tmp_path):
    payload = ARRAY + b"(I1\n(I1000000000\nI0\nt" + OBJECTS + b"I00\n(ltb."
    assert load_npz(npz(tmp_path / "x.npz", payload)) == {"positions_3d": []}


def test_the_bounds_are_far_from_what_files_have(tmp_path):
    deep = "x"
    for _ in range(50):
        deep = {"a": [deep]} if len(str(deep)) % 2 else (deep,)
    four_views = [np.ones((50, 17, 2))] * 8
    content = {"deep": deep, "views": four_views, "int64": [2**63 - 1, -(2**63)], "f": [1.5] * 999}
    for protocol in range(6):
        read = load_npz(npz(tmp_path / "x.npz", pickle.dumps(content, protocol)))["positions_3d"]
        assert read["deep"] == deep and read["int64"] == content["int64"]
        np.testing.assert_array_equal(read["views"], four_views)


# ---- archives


def changed_directory(data, field, value):
    """The archive with a 4-byte field of its last directory entry changed."""
    place = data.rindex(b"PK\x01\x02") + field
    return data[:place] + struct.pack("<I", value) + data[place + 4 :]


def test_archives_that_declare_more_than_they_hold(tmp_path):
    stream = io.BytesIO()
    np.savez_compressed(stream, positions_3d=np.zeros(1000))
    for field, value in ((24, 2**32 - 2), (24, 2**30), (20, 2**31)):
        (tmp_path / "x.npz").write_bytes(changed_directory(stream.getvalue(), field, value))
        message, most = peak_of(lambda: load_npz(tmp_path / "x.npz"))
        assert str(tmp_path) in message and most < 1e6


def test_members_that_share_their_bytes(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(10**7))
        for number in range(200):  # quoted again and again in the directory
            info = archive.filelist[0]
            archive.filelist.append(info)
            archive.NameToInfo[f"{number}.npy"] = info
    message, most = peak_of(lambda: load_npz(tmp_path / "x.npz"))
    assert "not an .npz file" in message or "unpack" in message
    assert most < 1e6


def test_arrays_larger_than_their_bytes(tmp_path):
    for shape in ((10**12,), (10**6, 10**6), (2**40, 17, 2)):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        (tmp_path / "x.npy").write_bytes(header.getvalue() + bytes(1000))
        message, most = peak_of(lambda: load_npy(tmp_path / "x.npy"))
        assert "x.npy" in message and most < 1e6


# ---- other files


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "loop", "nowhere"])
def test_only_regular_files_are_opened(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    for name, read in {
        "data.npz": load_npz,
        "data.npy": load_npy,
        CAMERA_FILE: lambda path: load_cameras(path.parent),
        "annot.mat": lambda path: prepare_3dhp.read_training(scipy.io, path, 5),
        "annot_data.mat": lambda path: prepare_3dhp.read_test(h5py, path),
        "calibration.toml": lambda path: read_camera(path, (100, 100)),
        "motion.bvh": read_bvh,
        "names.json": load_names,
        "results.json": read_result,
        "published.json": load_published,
    }.items():
        path = tmp_path / name
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            socket.socket(socket.AF_UNIX).bind(name)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to({"device": "/dev/zero", "loop": path, "nowhere": "none"}[kind])
        with pytest.raises(UserError, match=name):
            read(path)


def test_loops_of_links_end(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x.npz").touch()
    for number in range(3):
        (tmp_path / "a" / "b" / f"up{number}").symlink_to(tmp_path)
        (tmp_path / f"self{number}").symlink_to(tmp_path / f"self{number}")
    assert files_below(tmp_path, ".npz") == [tmp_path / "a" / "x.npz"]


def camera_file(**changes):
    content = json.loads((SAMPLE.parent / CAMERA_FILE).read_text())
    content["intrinsic"][1] |= changes
    return json.dumps(content)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "null", "{" * 5, "[" * DEEP, '{"intrinsic": 1, "extrinsic": []}', "\x00"),
        *(camera_file(res_w=size) for size in (0, -5, 1e12, 10**400, "1000", None, 1.5, [1000])),
        *(camera_file(focal_length=f) for f in (1145, [0, 1], [1], ["a", "b"], [10**400, 1])),
        *(camera_file(center=c) for c in ({}, [[1, 2]], [float("nan"), 1], [1, 2, 3])),
        *(camera_file(radial_distortion=r) for r in ([0.1], [[], [], []], None)),
    ],
    ids=lambda text: text[:20],
)
def test_camera_files_of_any_shape(text, tmp_path):
    (tmp_path / CAMERA_FILE).write_text(text)
    with pytest.raises(UserError, match=f"{CAMERA_FILE}: not a camera file") as raised:
        load_cameras(tmp_path)
    assert len(str(raised.value)) < 500


def test_hdf5_without_data(tmp_path):
    entry = load_npz(SAMPLE / "data_test_3dhp.npz")["data"]["TS1"]

    def write(**changes):
        with h5py.File(tmp_path / "annot_data.mat", "w") as file:
            file["annot2"] = entry["data_2d"][:8, None]
            file["univ_annot3"] = entry["data_3d"][:8, None]
            file["valid_frame"] = np.ones((8, 1))
            for name, change in changes.items():
                del file[name]
                change(file, name)

    def read():
        return prepare_3dhp.read_test(h5py, tmp_path / "annot_data.mat")

    write()
    assert len(read()["data_2d"]) == 8
    huge = (10**9, 1, 17, 2)
    (tmp_path / "other.h5").touch()
    for change in (
        lambda file, name: file.create_dataset(name, huge, "f8", chunks=(10, 1, 17, 2)),
        lambda file, name: file.create_dataset(name, huge, "f4"),
        lambda file, name: file.create_group(name),
        lambda file, name: file.__setitem__(name, h5py.ExternalLink("other.h5", "/x")),
        lambda file, name: file.__setitem__(name, np.array([b"a", b"b"])),
        lambda file, name: file.create_dataset(
            name, (8, 1, 17, 2), "f8", external=[(str(tmp_path / "other.h5"), 0, 2176)]
        ),
    ):
        write(annot2=change)
        message, most = peak_of(read)
        assert "annot_data.mat" in message and most < 1e7


@pytest.mark.parametrize(
    "rate", [0, -25, 1e-9, 1e9, np.nan, np.inf, [], "60", None, [1, 2], 10**30]
)
def test_frame_rates_that_no_recording_has(rate, tmp_path):
    with pytest.raises(UserError, match="here"):
        frame_rate(rate, "here")
    motion = {"poses": np.zeros((9, 156)), "trans": np.zeros((9, 3)), "betas": np.zeros(16)}
    np.savez(tmp_path / "x.npz", **motion, mocap_framerate=rate)
    with pytest.raises(Unusable, match="no frame rate|cannot be read"):
        Motion.read(tmp_path / "x.npz")


@pytest.mark.parametrize("key", ["valid", "activity"])
@pytest.mark.parametrize("value", [2**63, 1e30, np.nan, -(2.0**70), "a", None, {}])
def test_labels_that_fit_no_int64(key, value, tmp_path):
    held = load_npz(SAMPLE / "data_test_3dhp.npz")["data"]["TS1"]
    np.savez(tmp_path / mpi_inf_3dhp.TEST_FILE, data={"TS1": held | {key: [value] * 1000}})
    with pytest.raises(UserError, match=f"TS1.*'{key}'"):
        mpi_inf_3dhp.load(DataOptions(tmp_path, num_joints=16, train=False, test=True))


@pytest.mark.parametrize("length", [2**70, 0, -1, 1.5, "9", None, [5, 6], {}, np.nan, np.inf, True])
def test_lengths_that_are_none(length, tmp_path):
    walk = next(iter(load_npz(SAMPLE / "amass.npz")["poses"].values()))
    np.savez(tmp_path / amass.FILE, poses={"walk": walk | {"length": length}})
    with pytest.raises(UserError, match="walk: 'length' is"):
        amass.load(DataOptions(tmp_path, num_joints=16, train=True, test=False))


# ---- what is accepted


def test_lists_object_arrays_and_cameras_in_every_shape():
    poses = np.random.default_rng(0).normal(size=(4, 3, 2))
    for held in (poses, poses.tolist(), list(poses), [list(frame) for frame in poses]):
        np.testing.assert_array_equal(numbers(held), poses)
        (view,) = camera_views(held, "here")  # one camera, not four
        np.testing.assert_array_equal(view, poses)
    for held in ([poses, 2 * poses], np.stack([poses, 2 * poses]), (poses.tolist(), 2 * poses)):
        first, second = camera_views(held, "here")
        np.testing.assert_array_equal(first * 2, second)
    by_name = {"cam10": 2 * poses, "cam9": poses}
    np.testing.assert_array_equal(camera_views(by_name, "here"), [poses, 2 * poses])
    for held in (
        None,
        "text",
        [],
        {},
        {"left": poses},
        [poses, "text"],
        [[[1, 2], [3]]],
        np.ones(3),
    ):
        with pytest.raises(UserError, match="^here"):
            camera_views(held, "here")


def test_text_from_files_is_escaped_and_cut():
    assert (
        shown("S9 Walking 1") == "S9 Walking 1" and shown(25) == "25" and shown("Größe") == "Größe"
    )
    assert shown("a\x1b[2J\n\x00\x9b\u202eb") == r"a\x1b[2J\n\x00\x9b\u202eb"
    assert shown("x" * 1000) == "x" * 200 + "..." and len(shown("\x1b" * 1000)) == 203
    assert shown(10**10_000).isprintable()
