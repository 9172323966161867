"""Compare predicted 3D poses, and MediaPipe's own, with the triangulated truth of real videos.

    pip download --no-deps pose2sim==0.10.49 && python -m zipfile -e pose2sim-*.whl pose2sim
    python tests/calibrated_videos.py pose2sim --keypoints KEYPOINTS --detect
    python -m common.predict KEYPOINTS/cam01.npz --output PREDICTIONS/cam01  # ... cam04
    python tests/calibrated_videos.py pose2sim --keypoints KEYPOINTS --predictions PREDICTIONS

The videos are those of Pose2Sim's demo (BSD licence): one walking person, four synchronised cameras
with their calibration. MediaPipe's keypoints of the four views, triangulated robustly, are the
truth: twelve joints, to 20 or 30 mm. `--detect` (needs mediapipe 0.10.21 and imageio-ffmpeg) writes
the keypoints to KEYPOINTS/cam01.npz and so on; without it they are read from there. PREDICTIONS
holds a folder per camera with the poses.npz of `common.predict`.

Protocol 2 is the error after the best similarity transform of each pose, protocol 1 that relative
to the middle of the hips in the camera's axes; `swapped` is the share of frames whose detected body
fits the truth better with left and right exchanged.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from triangulation import CalibratedCamera, read_qualisys, triangulate  # noqa: E402

from common.data.npz import load_npz  # noqa: E402
from common.data.pose_ops import joint_errors  # noqa: E402
from common.errors import UserError  # noqa: E402
from common.evaluation.metrics import p_mpjpe  # noqa: E402
from common.evaluation.tables import Row, Table  # noqa: E402

# Left and right shoulders, elbows, wrists, hips, knees, ankles.
MEDIAPIPE_JOINTS = (11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
H36M_JOINTS = (11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3)
EXCHANGED = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10)
HIPS = (6, 7)  # of the twelve
FRAMES_AHEAD = {"cam03": 3}  # its frame i + 3 shows what frame i of the others does
COLUMNS = {
    "own_1": "own p1",
    "own_2": "own p2",
    "protocol_1": "p1 mm",
    "protocol_2": "p2 mm",
    "swapped": "swapped%",
    "frames": "frames",
}


@dataclass(frozen=True)
class Detections:
    """What MediaPipe found in a video.

    Attributes:
        pixels: (L, 12, 2).
        confidence: (L, 12) from 0 to 1.
        own_3d: (L, 12, 3) metres, its own estimate.
    """

    pixels: np.ndarray
    confidence: np.ndarray
    own_3d: np.ndarray

    @classmethod
    def read(cls, path: Path) -> "Detections":
        """Those that `detect` stored.

        Raises:
            UserError: the file is missing or has other contents.
        """
        entries = load_npz(path)
        keypoints, own = entries.get("keypoints"), entries.get("world_landmarks")
        if np.shape(keypoints)[1:] != (33, 3) or np.shape(own) != np.shape(keypoints):
            raise UserError(f"{path}: 'keypoints' and 'world_landmarks' (frames, 33, 3) are needed")
        joints = list(MEDIAPIPE_JOINTS)
        return cls(keypoints[:, joints, :2], keypoints[:, joints, 2], own[:, joints])


def detect(video: Path, output: Path) -> None:
    """Run MediaPipe on a video: (L, 33, 3) pixels and visibility, and its 3D (L, 33, 3)."""
    import imageio_ffmpeg
    import mediapipe

    frames = imageio_ffmpeg.read_frames(str(video), pix_fmt="rgb24")
    facts = next(frames)
    width, height = facts["size"]
    keypoints, own = [], []
    with mediapipe.solutions.pose.Pose(model_complexity=1) as pose:
        for frame in frames:
            found = pose.process(np.frombuffer(frame, np.uint8).reshape(height, width, 3))
            if found.pose_landmarks is None:
                keypoints.append(np.full((33, 3), np.nan))
                own.append(np.full((33, 3), np.nan))
                continue
            image, world = found.pose_landmarks.landmark, found.pose_world_landmarks.landmark
            keypoints.append([[p.x * width, p.y * height, p.visibility] for p in image])
            own.append([[p.x, p.y, p.z] for p in world])
    output.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        output,
        keypoints=np.array(keypoints),
        world_landmarks=np.array(own),
        size=(width, height),
        fps=facts["fps"],
    )


def frames_of(values: np.ndarray, ahead: int) -> np.ndarray:
    """Row i + ahead of a camera's values (L, ...) at row i; NaN where there is none."""
    shifted = np.full_like(values, np.nan)
    shifted[: len(values) - ahead] = values[ahead:]
    return shifted


def truth_of(cameras: list[CalibratedCamera], detections: list[Detections]) -> np.ndarray:
    """(L, 12, 3) triangulated world positions at the time of the cameras that are not ahead."""
    ahead = [FRAMES_AHEAD.get(camera.name, 0) for camera in cameras]
    pixels = np.stack([frames_of(d.pixels, n) for d, n in zip(detections, ahead, strict=True)])
    trust = np.stack([frames_of(d.confidence, n) for d, n in zip(detections, ahead, strict=True)])
    return triangulate(cameras, pixels, np.where(np.isfinite(pixels).all(-1), trust, 0))


def errors(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Protocol 1, relative to the middle of the hips, and protocol 2 of (L, 12, 3), in mm."""
    whole = np.isfinite(predicted).all((1, 2)) & np.isfinite(truth).all((1, 2))
    if not whole.any():
        return np.nan, np.nan
    poses = [torch.from_numpy(np.asarray(p[whole], np.float64)) for p in (predicted, truth)]
    first, second = (pose - pose[:, HIPS].mean(1, keepdim=True) for pose in poses)
    protocol_1 = joint_errors(first, second).mean()
    return 1000 * float(protocol_1), 1000 * float(p_mpjpe(first, second).mean())


def swapped_frames(pixels: np.ndarray, true_pixels: np.ndarray) -> np.ndarray:
    """(L,) whether detected joints (L, 12, 2) fit the truth better with the sides exchanged."""
    plain, exchanged = (
        np.linalg.norm(found - true_pixels, axis=-1).mean(-1)
        for found in (pixels, pixels[:, list(EXCHANGED)])
    )
    return exchanged < plain


def predictions_of(folder: Path | None, camera: str, frames: int) -> np.ndarray:
    """(L, 12, 3) predicted poses of a camera in its own axes; NaN where there are none.

    Raises:
        UserError: the file has other contents, or another number of frames.
    """
    path = folder / camera / "poses.npz" if folder else None
    if path is None or not path.exists():
        return np.full((frames, 12, 3), np.nan)
    poses = load_npz(path).get("poses_3d")
    if np.shape(poses) != (frames, 17, 3):
        raise UserError(f"{path}: 'poses_3d' {np.shape(poses)}, ({frames}, 17, 3) is needed")
    return poses[:, list(H36M_JOINTS)]


def row(
    camera: CalibratedCamera, detected: Detections, truth: np.ndarray, predictions: Path | None
) -> Row:
    """The line of one camera."""
    ahead = FRAMES_AHEAD.get(camera.name, 0)
    frames = len(truth) - ahead  # those that the truth covers
    predicted = predictions_of(predictions, camera.name, len(truth))
    true_pose = (truth @ camera.rotation.T)[:frames]
    own_1, own_2 = errors(detected.own_3d[ahead:], true_pose)
    protocol_1, protocol_2 = errors(predicted[ahead:], true_pose)
    swapped = swapped_frames(detected.pixels[ahead:], camera.project(truth)[:frames])
    return Row(
        camera.name,
        {
            "own_1": own_1,
            "own_2": own_2,
            "protocol_1": protocol_1,
            "protocol_2": protocol_2,
            "swapped": 100 * float(swapped.mean()),
            "frames": frames,
        },
    )


def evaluate(demo: Path, keypoints: Path, predictions: Path | None) -> Table:
    """One row per camera: MediaPipe's own 3D, and the predictions where there are any.

    Args:
        demo: folder with `calibration/Calib.qca.txt`.
        keypoints: folder with the stored detections, `cam01.npz` and so on.
        predictions: folder with `cam01/poses.npz` and so on.
    """
    cameras = read_qualisys(demo / "calibration" / "Calib.qca.txt")
    detections = [Detections.read(keypoints / f"{camera.name}.npz") for camera in cameras]
    truth = truth_of(cameras, detections)
    rows = [row(c, d, truth, predictions) for c, d in zip(cameras, detections, strict=True)]
    return Table("camera", COLUMNS, rows)


def demo_folder(unpacked: Path) -> Path:
    """The demo within an unpacked package.

    Raises:
        UserError: there is none.
    """
    for path in (unpacked, *sorted(unpacked.glob("**/Demo_SinglePerson"))):
        if (path / "calibration" / "Calib.qca.txt").exists():
            return path
    raise UserError(f"{unpacked}: no Demo_SinglePerson of pose2sim 0.10.49 in it")


def main() -> None:
    """Detect if asked to, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pose2sim", type=Path, help="folder of the unpacked package")
    parser.add_argument("--keypoints", type=Path, required=True, help="folder of the detections")
    parser.add_argument("--predictions", type=Path, help="folder with camNN/poses.npz")
    parser.add_argument("--detect", action="store_true", help="run MediaPipe first")
    options = parser.parse_args()
    demo = demo_folder(options.pose2sim)
    if options.detect:
        for video in sorted((demo / "videos").glob("*.mp4")):
            detect(video, options.keypoints / f"{video.stem}.npz")
    print(*evaluate(demo, options.keypoints, options.predictions).lines(), sep="\n")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
