"""Readers of what is predicted from, of motion and of results, with a sound file for each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keypoint_files as kinds
import numpy as np
from bvh_files import names_of, write_bvh
from fuzz import Reader, write_npz
from inference_inputs import OUR_CALIBRATION, write_model
from motions import sample_motion

from common.data.npz import load_npz
from common.data.skeleton import H36M_17
from common.evaluation.results import load_published
from common.inference.calibration import read_camera
from common.inference.completion import find_axes, read_incomplete
from common.inference.export import export_model
from common.inference.onnx_model import load_onnx
from common.keypoints.reading import ReadOptions, read_recording
from common.motion_files.npz_file import read_motion, save_npz
from common.motion_files.writer import WriteOptions
from common.report import report
from dataset.bvh_clips import CONVENTIONS, load_names, read_bvh_clip

LENGTH = 8
MATRIX = [[1500.0, 0.0, 950.0], [0.0, 1480.0, 550.0], [0.0, 0.0, 1.0]]
SIZE = (1920, 1080)
POSE2SIM = f"""[cam_1]
name = "cam_1"
size = [1920.0, 1080.0]
matrix = {MATRIX}
distortions = [0.1, -0.05, 0.001, 0.002]
fisheye = false
"""
QUALISYS = """<?xml version='1.0' encoding='ASCII'?>
<calibration type="regular"><cameras><camera active="1" serial="cam01">
<fov_video bottom="1079" left="0" right="1919" top="0"/>
<intrinsic centerPointU="60800" centerPointV="35200" focalLengthU="96000" focalLengthV="94720"
 radialDistortion1="0.1" radialDistortion2="-0.05" tangentalDistortion1="0.001"/>
</camera></cameras></calibration>"""
VALUES = {"protocol_1": 50.0, "protocol_2": 40.0, "velocity": None, "frames": 100}
RESULT = {
    "command": "python trainer.py",
    "test": {"actions": {"Walking": VALUES}, "average": VALUES, "average_over_frames": VALUES},
    "options": {
        **{"manualSeed": 1, "name": "tuned_s1", "dataset": "h36m", "keypoints": "gt"},
        **{"frames": 27, "n_joints": 17, "train": 1, "command": "python trainer.py"},
    },
    "history": [{"seconds": 1800.0}],
    "test_windows": 100,
}


def keypoints(name: str, write: Callable[[Path], Any], **told: Any) -> Reader:
    """The reader of a file of keypoints, whose recording is made of it as for a prediction."""

    def written(folder: Path) -> Any:
        write(folder)
        path = folder / name
        if path.suffix == ".json":
            return json.loads(path.read_text())
        return load_npz(path) if path.suffix == ".npz" else None

    options = ReadOptions(**{"size": kinds.SIZE, "fps": 30.0} | told)
    shown = Path(name).parts[0]
    return Reader(name, written, lambda folder: read_recording(folder / shown, options))


def of_text(name: str, content: Any, read: Callable[[Path], Any]) -> Reader:
    """The reader of a file of text, JSON where the content is no text."""

    def write(folder: Path) -> Any:
        is_text = isinstance(content, str)
        (folder / name).write_text(content if is_text else json.dumps(content))
        return None if is_text else content

    return Reader(name, write, lambda folder: read(folder / name))


def of_npz(name: str, content: dict[str, Any], read: Callable[[Path], Any]) -> Reader:
    """The reader of an archive of arrays."""
    return Reader(name, lambda f: write_npz(f, name, content), lambda f: read(f / name))


def camera(name: str, content: Any) -> Reader:
    return of_text(name, content, lambda path: read_camera(path, SIZE))


def write_poses(folder: Path) -> dict[str, Any]:
    """What predict writes."""
    path = folder / "poses.npz"
    save_npz([sample_motion(frames=slice(0, LENGTH))], path, WriteOptions())
    return load_npz(path)


def incomplete() -> dict[str, Any]:
    motion = sample_motion(frames=slice(0, LENGTH))
    poses = np.array(motion.poses_3d)
    poses[2:4, 12] = np.nan
    return {"poses_3d": poses, "root_3d": motion.root_3d, "time": motion.time, "fps": 50.0}


def complete(path: Path, fps: float | None = None) -> None:
    find_axes(read_incomplete(path, fps))


def write_onnx(folder: Path) -> None:
    weights = write_model(folder / "weights.pth", "lifter", frames=9)
    export_model(weights, folder / "model.onnx")


def write_walk(folder: Path) -> None:
    write_bvh(folder / "walk.bvh", names_of("LAFAN1"), frames=LENGTH)


COCO, BODY, BLAZE = (array[:LENGTH] for array in (kinds.COCO, kinds.BODY, kinds.BLAZE))
TWO = [COCO, COCO + 200.0]
ITEM = "o/walk_000000000003_keypoints.json"
PREDICT_READERS = {
    "alphapose": keypoints("a.json", lambda f: kinds.alphapose(f / "a.json", TWO)),
    "alphapose ids": keypoints(
        "a.json", lambda f: kinds.alphapose(f / "a.json", TWO, ids=lambda n: n + 1)
    ),
    "coco results": keypoints("r.json", lambda f: kinds.coco_results(f / "r.json", COCO)),
    "openpose folder": keypoints(ITEM, lambda f: kinds.openpose(f / "o", [BODY, BODY + 200.0])),
    "openpose file": keypoints(
        "walk_000000000000_keypoints.json", lambda f: kinds.openpose(f, [BODY[:1]])
    ),
    "mmpose": keypoints("m.json", lambda f: kinds.mmpose(f / "m.json", COCO, track=1)),
    "mmpose list": keypoints(
        "m.json", lambda f: kinds.mmpose(f / "m.json", COCO, listed=True), layout="coco"
    ),
    "videopose3d": keypoints(
        "data_2d_custom_x.npz",
        lambda f: kinds.videopose3d(f / "data_2d_custom_x.npz", {"v.mp4": COCO}),
    ),
    "detectron": keypoints(
        "v.mp4.npz", lambda f: kinds.detectron(f / "v.mp4.npz", [[p] for p in COCO])
    ),
    "mediapipe npy": keypoints(
        "m.npy", lambda f: kinds.save(f / "m.npy", kinds.normalised(BLAZE, -0.2, 0.9))
    ),
    "mediapipe csv": keypoints(
        "m.csv", lambda f: kinds.table(f / "m.csv", kinds.normalised(BLAZE, -0.2, 0.9))
    ),
    "keypoints npy": keypoints("k.npy", lambda f: kinds.save(f / "k.npy", COCO), layout="coco"),
    "keypoints npz": of_npz(
        "k.npz",
        {
            "keypoints": COCO,
            "confidence": np.ones(COCO.shape[:2]),
            "time": np.arange(LENGTH) / 25,
            "layout": np.array("coco"),
            "metadata": {"layout_name": "coco", "num_joints": 17, "fps": 25, "w": 1000, "h": 1002},
        },
        read_recording,
    ),
    "keypoints csv": keypoints(
        "k.csv",
        lambda f: kinds.table(
            f / "k.csv",
            COCO,
            header=["time", *map(str.upper, "abcdefghijklmnopqrstuvwxyzabcdefgh")],
            first=np.arange(LENGTH) / 25,
        ),
        layout="coco",
        fps=None,
    ),
    "camera OpenCV": camera("c.json", {"camera_matrix": MATRIX, "dist_coeffs": [[0.1, -0.05]]}),
    "camera FileStorage": camera(
        "c.json",
        {
            "cameraMatrix": {"rows": 3, "cols": 3, "data": sum(MATRIX, [])},
            "distCoeffs": {"rows": 1, "cols": 5, "data": [0.1, -0.05, 0.001, 0.002, 0.01]},
            "image_width": 1920,
            "image_height": 1080,
        },
    ),
    "camera Human3.6M": camera("c.json", OUR_CALIBRATION),
    "camera Pose2Sim": camera("c.toml", POSE2SIM),
    "camera Qualisys": camera("c.xml", QUALISYS),
    "camera npz": of_npz(
        "c.npz",
        {"mtx": np.array(MATRIX), "dist": np.array([0.1, -0.05, 0.0, 0.0, 0.0]), "size": [*SIZE]},
        lambda path: read_camera(path, SIZE),
    ),
    "poses.npz": Reader("poses.npz", write_poses, lambda f: read_motion(f / "poses.npz")),
    "complete npz": of_npz("i.npz", incomplete(), complete),
    "complete npy": Reader(
        "i.npy",
        lambda f: np.save(f / "i.npy", incomplete()["poses_3d"]),
        lambda f: complete(f / "i.npy", 50.0),
    ),
    "bvh": Reader("walk.bvh", write_walk, lambda f: read_bvh_clip(f / "walk.bvh", Path("walk"))),
    "bvh names": of_text(
        "names.json",
        {H36M_17.joint_names[j]: name for j, name in CONVENTIONS["Mixamo, LAFAN1"].items()},
        load_names,
    ),
    "results.json": of_text("results.json", RESULT, lambda path: report([path], [])),
    "published.json": of_text(
        "p.json",
        {
            "entries": [
                {
                    **{"title": "a", "options": {"frames": 27}, "test_size": 100, "row": ""},
                    **{"values": {"protocol_1": 40.0}, "source": "a paper"},
                }
            ]
        },
        load_published,
    ),
    "onnx": Reader("model.onnx", write_onnx, lambda f: load_onnx(f / "model.onnx")),
}
