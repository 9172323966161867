"""Models and recordings for the tests of inference."""

from pathlib import Path

import numpy as np
import torch
from paths import GOLDEN, SAMPLE

from common.data.camera import load_cameras
from common.data.npz import load_npz
from common.inference.calibration import PinholeCamera
from common.training.checkpoint import released_format, save_torch
from model.build import ModelSize, build_lifter, build_masked_model

LIFTER = GOLDEN / "ckpt" / "small_lift.pth"
MASKED = GOLDEN / "ckpt" / "small_comp2dlift.pth"
COMPLETER = GOLDEN / "ckpt" / "small_comp3d.pth"
SIZE = (1000, 1002)
FPS = 50.0
# A calibration in the form of h36m_cameras.json.
OUR_CALIBRATION = {
    "intrinsic": [
        {
            "focal_length": [1500, 1480],
            "center": [950, 550],
            "radial_distortion": [0.1, -0.05, 0.01],
            "tangential_distortion": [0.002, 0.001],
            "res_w": 1920,
            "res_h": 1080,
        }
    ]
}


def sample_pixels(subject: str = "S9", action: str = "Dancing", camera: int = 0) -> np.ndarray:
    """(L, 17, 2) float32 pixels that the sample holds of a camera."""
    poses = load_npz(SAMPLE / "data_2d_h36m_gt.npz")["positions_2d"]
    return np.array(poses[subject][action][camera], dtype=np.float32)


def sample_size(subject: str = "S9", camera: int = 0) -> tuple[int, int]:
    """Width and height of a camera of the sample."""
    view = load_cameras(SAMPLE).by_subject[subject][camera]
    return view.width, view.height


def sample_camera(subject: str = "S9", camera: int = 0) -> PinholeCamera:
    """A camera of the sample with its distortion."""
    view = load_cameras(SAMPLE).by_subject[subject][camera]
    focal = view.intrinsics[:2].double() * view.width / 2
    centre = (view.intrinsics[2:4] + torch.tensor([1, view.height / view.width])) * view.width / 2
    k1, k2, k3, p2, p1 = view.intrinsics[4:].tolist()
    return PinholeCamera(
        (view.width, view.height),
        (float(focal[0]), float(focal[1])),
        (float(centre[0]), float(centre[1])),
        (k1, k2, p1, p2, k3),
    )


def write_model(path: Path, kind: str, *, frames: int = 9, joints: int = 17, **record) -> Path:
    """A small random lifter or masked model as a weight file with a record."""
    torch.manual_seed(0)
    size = ModelSize(frames, joints, layers=1, width=16, hidden_width=16)
    if kind == "lifter":
        model = build_lifter("mpm", size)
    else:
        model = build_masked_model(size, decoder_depth=1)
    save_torch(path, released_format(model, {"model": kind, **record}))
    return path
