"""Time and memory of a store and an index of Human3.6M's size, for the benchmark."""

import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.data import h36m
from common.data.skeleton import H36M_17
from common.data.windows import WindowIndex, WindowRule

FULL_SIZE_TRAIN_FRAMES, FULL_SIZE_TEST_FRAMES = 1_559_752, 543_344


def full_size() -> dict[str, Any]:
    """Time and memory of a store and an index of Human3.6M's size, from random files."""
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        write_random_h36m(Path(folder), generator)
        before = peak_megabytes()
        started = time.perf_counter()
        files = h36m.H36MFiles.read(Path(folder), "gt")
        train = files.store(h36m.TRAIN_SUBJECTS, H36M_17)
        test = files.store(h36m.TEST_SUBJECTS, H36M_17)
        loaded = time.perf_counter() - started
    del files
    memory = current_megabytes()
    started = time.perf_counter()
    index = WindowIndex(train.offsets, WindowRule(243, frame_step=2, mirror=True))
    order = torch.randperm(len(index))
    index.windows(order[:1024])
    indexed = time.perf_counter() - started
    return {
        "train_frames": train.num_frames,
        "test_frames": test.num_frames,
        "windows": len(index),
        "load_seconds": loaded,
        "index_seconds": indexed,
        "index_megabytes": current_megabytes() - memory,
        "poses_megabytes": sum(
            t.numel() * 4 / 2**20 for s in (train, test) for t in (s.pose_2d, s.pose_3d)
        ),
        "peak_megabytes_before": before,
        "peak_megabytes": peak_megabytes(),
    }


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def current_megabytes() -> float:
    """Resident memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def write_random_h36m(folder: Path, generator: np.random.Generator) -> None:
    """Random files of exactly Human3.6M's numbers of frames, 30 actions per subject."""
    world: dict[str, dict[str, np.ndarray]] = {}
    screen: dict[str, dict[str, list[np.ndarray]]] = {}
    for subjects, frames in (
        (h36m.TRAIN_SUBJECTS, FULL_SIZE_TRAIN_FRAMES),
        (h36m.TEST_SUBJECTS, FULL_SIZE_TEST_FRAMES),
    ):
        sequences = [(subject, f"Action {i}") for subject in subjects for i in range(30)]
        bounds = np.linspace(0, frames // 4, len(sequences) + 1).astype(int)
        for (subject, action), length in zip(sequences, np.diff(bounds), strict=True):
            poses = generator.random((length, 32, 3), dtype=np.float32)
            views = [generator.random((length, 17, 2), dtype=np.float32) * 1000 for _ in range(4)]
            world.setdefault(subject, {})[action] = poses
            screen.setdefault(subject, {})[action] = views
    np.savez(folder / "data_3d_h36m.npz", positions_3d=np.array(world, dtype=object))
    np.savez(folder / "data_2d_h36m_gt.npz", positions_2d=np.array(screen, dtype=object))
