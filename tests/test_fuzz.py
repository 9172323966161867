"""Every reader of outside files, on mutations of its files: success or one line, nothing else.

A new reader is a line in `READERS`: a function that writes a sound file, and one that reads it.
"""

import json
import os
import signal
import tracemalloc
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import smplx.lbs
import torch
from amass_bodies import toy_model
from fuzz import Reader, mutations, write_npz
from fuzz_predict import PREDICT_READERS
from paths import SAMPLE

from common.data import amass, h36m, mpi_inf_3dhp
from common.data.base import DataOptions
from common.data.camera import load_cameras
from common.data.inspect import check, not_detected, outside_the_image, read_clips, summary_lines
from common.data.npz import load_npz
from common.data.skeleton import H36M_17
from common.errors import UserError
from common.training.checkpoint import WeightFile, load_torch, save_torch
from dataset import amass_bodies, make_custom, motion_clips, prepare_3dhp

COUNT = 300  # mutations of each reader's file
FRAMES = 8


def cut(value: Any) -> Any:
    """Copies of the first frames of every array in a nested dictionary or list."""
    if isinstance(value, dict):
        return {key: cut(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cut(item) for item in value]
    if isinstance(value, int) and value > FRAMES:  # a number of frames
        return FRAMES
    return np.array(value[:FRAMES]) if isinstance(value, np.ndarray) and value.ndim else value


def sample(name: str, key: str, *chosen: str) -> dict[str, Any]:
    """A few frames of the sample."""
    held = cut(load_npz(SAMPLE / f"{name}.npz")[key])
    return {item: held[item] for item in chosen or held}


def write_h36m(folder: Path, changed: str) -> dict[str, Any]:
    """Both files of a data folder and its cameras; returns what one of them holds."""
    world = {"positions_3d": sample("data_3d_h36m", "positions_3d", "S9")}
    screen = {"positions_2d": sample("data_2d_h36m_gt", "positions_2d", "S9")}
    for name, views in screen["positions_2d"]["S9"].items():
        screen["positions_2d"]["S9"][name] = [np.dstack([v, v[..., :1] * 0 + 1]) for v in views]
    screen["metadata"] = load_npz(SAMPLE / "data_2d_h36m_gt.npz")["metadata"]
    write_npz(folder, "data_3d_h36m.npz", world)
    write_npz(folder, "data_2d_h36m_gt.npz", screen)
    cameras = json.loads((SAMPLE.parent / h36m.CAMERA_FILE).read_text())
    cameras["extrinsic"] = {"S9": cameras["extrinsic"]["S9"]}
    (folder / h36m.CAMERA_FILE).write_text(json.dumps(cameras))
    return {"3d": world, "2d": screen, "cameras": cameras}[changed]


def read_h36m(folder: Path) -> None:
    h36m.H36MFiles.read(folder, "gt").store(["S9"], H36M_17)


def inspects(name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        _, clips = read_clips(folder / name)
        summary_lines(clips)
        for clip in clips:
            for kind in (check, not_detected, outside_the_image):
                list(kind(clip))

    return read


def write_clip(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    keypoints = np.dstack([rng.uniform(0, 480, (FRAMES, 17, 2)), rng.uniform(0, 1, (FRAMES, 17))])
    positions = rng.normal((0, 0, 4), 0.3, (FRAMES, 17, 3))
    metadata = {"layout_name": "coco", "num_joints": 17}
    return write_npz(
        folder,
        "Ann_walk.npz",
        {"keypoints": keypoints, "positions_3d": positions, "metadata": metadata},
    )


def write_npy(folder: Path) -> None:
    np.save(folder / "Ann_walk.npy", write_clip(folder)["keypoints"])


def reads_clip(name: str) -> Callable[[Path], Any]:
    args = Namespace(layout=None, width=640, height=480)
    return lambda folder: make_custom.read_clip(folder / name, args)


def load_options(folder: Path, *, train: bool) -> DataOptions:
    return DataOptions(folder, num_joints=16, train=train, test=not train)


def write_motion(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    motion = {"poses": rng.normal(0, 0.2, (FRAMES, 156)), "trans": np.zeros((FRAMES, 3))}
    other = {"betas": np.zeros(16), "gender": np.array("male"), "mocap_framerate": np.array(60.0)}
    return write_npz(folder, "walk.npz", motion | other)


class StillBodies:
    """Stands in for body models, which motions do not choose."""

    def of(self, gender: str) -> "StillBodies":
        return self

    def joints(self, angles: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
        return angles.new_zeros(len(angles), 16, 3)


def read_motion(folder: Path) -> None:
    motion = amass_bodies.Motion.read(folder / "walk.npz")
    amass_bodies.resample(motion, StillBodies(), too_few=1)


def packed_clip() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    relative = rng.integers(-2000, 2000, (FRAMES, 17, 3)).astype(np.int16)
    return {"walk|root": rng.normal(size=(FRAMES, 3)), "walk|rel": relative}


def write_weights(folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    state = {f"module.layer{i}.weight": torch.randn(4, 3, generator=generator) for i in range(3)}
    save_torch(folder / "weights.pth", state)


def write_resume(folder: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    content = {"epoch": 3, "model": layer.state_dict(), "optimiser": optimiser.state_dict()}
    save_torch(folder / "resume.pth", content | {"rng": torch.get_rng_state()[:64], "best": 1.5})


def write_hdf5(folder: Path) -> None:
    entry = sample("data_test_3dhp", "data", "TS1")["TS1"]
    with h5py.File(folder / "annot_data.mat", "w") as file:
        file["annot2"] = entry["data_2d"][:, None]
        file["univ_annot3"] = entry["data_3d"][:, None]
        file["valid_frame"] = np.ones((FRAMES, 1))


def write_matlab(folder: Path) -> None:
    rng = np.random.default_rng(2)
    cells = {"annot2": np.empty((14, 1), object), "univ_annot3": np.empty((14, 1), object)}
    for camera in range(14):
        cells["annot2"][camera, 0] = rng.uniform(0, 2000, (FRAMES, 56))
        cells["univ_annot3"][camera, 0] = rng.normal(0, 500, (FRAMES, 84))
    scipy.io.savemat(folder / "annot.mat", cells, do_compression=True)


READERS = {
    "h36m 3D": Reader("data_3d_h36m.npz", lambda f: write_h36m(f, "3d"), read_h36m),
    "h36m 2D": Reader("data_2d_h36m_gt.npz", lambda f: write_h36m(f, "2d"), read_h36m),
    "cameras": Reader(h36m.CAMERA_FILE, lambda f: write_h36m(f, "cameras"), load_cameras),
    "inspect 3D": Reader(
        "data_3d_h36m.npz", lambda f: write_h36m(f, "3d"), inspects("data_3d_h36m.npz")
    ),
    "inspect 2D": Reader(
        "data_2d_h36m_gt.npz", lambda f: write_h36m(f, "2d"), inspects("data_2d_h36m_gt.npz")
    ),
    "clip .npz": Reader("Ann_walk.npz", write_clip, reads_clip("Ann_walk.npz")),
    "clip .npy": Reader("Ann_walk.npy", write_npy, reads_clip("Ann_walk.npy")),
    "3dhp training": Reader(
        mpi_inf_3dhp.TRAIN_FILE,
        lambda f: write_npz(
            f, mpi_inf_3dhp.TRAIN_FILE, {"data": sample("data_train_3dhp", "data")}
        ),
        lambda f: mpi_inf_3dhp.load(load_options(f, train=True)),
    ),
    "3dhp test": Reader(
        mpi_inf_3dhp.TEST_FILE,
        lambda f: write_npz(f, mpi_inf_3dhp.TEST_FILE, {"data": sample("data_test_3dhp", "data")}),
        lambda f: mpi_inf_3dhp.load(load_options(f, train=False)),
    ),
    "inspect 3dhp": Reader(
        mpi_inf_3dhp.TEST_FILE,
        lambda f: write_npz(f, mpi_inf_3dhp.TEST_FILE, {"data": sample("data_test_3dhp", "data")}),
        inspects(mpi_inf_3dhp.TEST_FILE),
    ),
    "amass": Reader(
        amass.FILE,
        lambda f: write_npz(f, amass.FILE, {"poses": sample("amass", "poses")}),
        lambda f: amass.load(load_options(f, train=True)),
    ),
    "amass motion": Reader("walk.npz", write_motion, read_motion, (amass_bodies.Unusable,)),
    "body model": Reader(
        "model.npz",
        lambda f: write_npz(f, "model.npz", toy_model(24)),
        lambda f: amass_bodies.BodyModel.read(smplx.lbs, f / "model.npz", None),
    ),
    "regressor": Reader(
        "r.npz",
        lambda f: write_npz(f, "r.npz", {"regressor": np.full((17, 50), 1 / 50)}),
        lambda f: amass_bodies.read_regressor(f / "r.npz"),
    ),
    "motion clips": Reader(
        "clips.npz",
        lambda f: write_npz(f, "clips.npz", packed_clip()),
        lambda f: list(motion_clips.read_npz_clips(f / "clips.npz")),
    ),
    "weights": Reader("weights.pth", write_weights, lambda f: WeightFile.load(f / "weights.pth")),
    "resume file": Reader("resume.pth", write_resume, lambda f: load_torch(f / "resume.pth")),
    "3dhp MATLAB 7.3": Reader(
        "annot_data.mat",
        write_hdf5,
        lambda f: prepare_3dhp.read_test(h5py, f / "annot_data.mat"),
    ),
    "3dhp MATLAB 5": Reader(
        "annot.mat",
        write_matlab,
        lambda f: prepare_3dhp.read_training(scipy.io, f / "annot.mat", FRAMES),
    ),
} | PREDICT_READERS


def read_bounded(reader: Reader, folder: Path) -> str:
    """Read once; returns the message of a refusal, "" for success.

    The memory taken is checked against the size of the file, with room for what is always there.
    """
    size = (folder / reader.file).stat().st_size
    tracemalloc.start()
    try:
        reader.read(folder)
        message = ""
    except (UserError, *reader.accepts) as error:
        message = str(error)
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 2e6 + 60 * size, (most, size)
    return message


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_mutated_files(name, tmp_path, monkeypatch):
    reader = READERS[name]
    content = reader.write(tmp_path)
    reader.read(tmp_path)  # what is imported when first needed is no memory of the file's
    assert read_bounded(reader, tmp_path) == ""
    path = tmp_path / reader.file
    refused = 0
    for number, data in enumerate(mutations(path, content, COUNT, seed=20)):
        path.write_bytes(data)
        try:
            message = read_bounded(reader, tmp_path)
        except Exception as error:
            kept = Path(os.environ.get("FUZZ_KEEP", tmp_path)) / f"{number} {reader.file}"
            kept.write_bytes(data)
            raise AssertionError(f"mutation {number} ({kept}): {error!r}") from error
        assert message.isprintable() and len(message) < 1500, (number, message)
        refused += message != ""
    assert refused > COUNT / 4  # the mutations are no harmless ones


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_place_of_a_file_is_refused(name, tmp_path):
    reader = READERS[name]
    reader.write(tmp_path)
    (tmp_path / reader.file).unlink()
    os.mkfifo(tmp_path / reader.file)
    signal.alarm(60)  # opening a pipe that nobody writes to waits for ever
    try:
        with pytest.raises((UserError, *reader.accepts)):
            reader.read(tmp_path)
    finally:
        signal.alarm(0)
