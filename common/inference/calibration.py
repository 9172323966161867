"""The camera of a recording: from a calibration file, a focal length, or an assumption."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from common.data.npz import described, load_npz, making_sense, numbers
from common.data.text_files import read_text
from common.errors import UserError, shown
from common.inference.motion import PinholeCamera

# Focal length over the longer side where nothing is known, a field of view of 53 degrees; that of
# Human3.6M's cameras is 1.15.
ASSUMED_FOCAL = 1.0
UNDISTORTION_STEPS = 30
MAX_FILE_BYTES = 50 * 2**20
CODEC_BLOCK = 16  # pixels: a video of 1080 lines may be stored with 1088, which is no scaling
SAME_SHAPE = 0.02  # relative difference of two aspect ratios that count as equal
_MATRIX = ("camera_matrix", "cameraMatrix", "K", "mtx", "matrix", "intrinsic_matrix", "intrinsics")
_DISTORTION = (
    *("dist_coeffs", "distCoeffs", "dist", "distortion_coefficients", "distortions"),
    "distortion",
)
QUALISYS_UNIT = 64.0
_EDGES = ("left", "top", "right", "bottom")
_QUALISYS = ("focalLength", "centerPoint")
_TANGENTIAL = ("tangentalDistortion1", "tangentalDistortion2")  # spelt so in the files
_WIDTHS = (("image_width", "image_height"), ("width", "height"), ("res_w", "res_h"))


def assumed_camera(size: tuple[int, int]) -> PinholeCamera:
    """A camera of which only the image size is known."""
    focal = ASSUMED_FOCAL * max(size)
    return PinholeCamera(size, (focal, focal), (size[0] / 2, size[1] / 2), assumed=True)


def camera_of_focal(size: tuple[int, int], focal: float) -> PinholeCamera:
    """A camera of a focal length in pixels."""
    return PinholeCamera(size, (focal, focal), (size[0] / 2, size[1] / 2))


def camera_of_fov(size: tuple[int, int], degrees: float) -> PinholeCamera:
    """A camera of a horizontal field of view in degrees, below 180."""
    return camera_of_focal(size, size[0] / 2 / math.tan(math.radians(degrees) / 2))


def read_camera(path: Path, size: tuple[int, int], name: str | None = None) -> PinholeCamera:
    """A camera from a calibration file.

    Args:
        path: JSON or npz with a camera matrix and distortion coefficients (OpenCV), JSON with
            `intrinsic` (`h36m_cameras.json`), a TOML file of Pose2Sim, or XML of Qualisys.
        size: width and height of the recording; a camera that was calibrated at another size of
            the same shape is scaled to it.
        name: which camera of the file, by its name there (of lists: its number from 0); None where
            there is one.

    Returns:
        The camera.

    Raises:
        UserError: not such a file, no such camera in it, or one for another image.
    """
    with making_sense(str(path), "a calibration as JSON, TOML, XML or npz"):
        cameras = _found(_content(path))
    if not cameras:
        raise UserError(
            f"{path}: no camera in it; a camera matrix (camera_matrix, K), or Pose2Sim's TOML, or "
            "the form of h36m_cameras.json is needed"
        )
    if name is None and len(cameras) == 1:
        name = next(iter(cameras))
    if name not in cameras:
        asked = f"no camera {name!r}" if name is not None else "several cameras"
        there = shown(", ".join(list(cameras)[:8]))
        raise UserError(f"{path}: {asked} in it: choose one of {there} with --camera")
    with making_sense(f"{path}: camera {shown(name)}", "a camera matrix of a pinhole camera"):
        camera = _camera(cameras[name], size)
    return _scaled(camera, size, path)


def _content(path: Path) -> Any:
    """What a calibration file holds: dictionaries, lists, numbers, arrays."""
    if path.suffix == ".npz":
        return load_npz(path)
    text = read_text(path, largest=MAX_FILE_BYTES)
    if text.lstrip().startswith("<"):
        return _qualisys(ElementTree.fromstring(text))
    return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)


def _qualisys(root: ElementTree.Element) -> dict[str, Any]:
    """The cameras of a calibration of Qualisys (.qca.txt), whose lengths are 64ths of pixels."""
    cameras = {}
    for number, camera in enumerate(root.iter("camera")):
        inner, image = camera.find("intrinsic"), camera.find("fov_video")
        if inner is None or image is None:
            continue
        left, top, right, bottom = (float(image.attrib[k]) for k in _EDGES)
        u, v = (
            [float(inner.attrib[f"{what}{axis}"]) / QUALISYS_UNIT for what in _QUALISYS]
            for axis in "UV"
        )
        lens = ("radialDistortion1", "radialDistortion2", *_TANGENTIAL, "radialDistortion3")
        cameras[camera.attrib.get("serial", str(number))] = {
            "matrix": [[u[0], 0, u[1] - left], [0, v[0], v[1] - top], [0, 0, 1]],
            "distortions": [float(inner.attrib.get(name, 0)) for name in lens],
            "size": [right - left + 1, bottom - top + 1],
        }
    return cameras


def _found(content: Any) -> dict[str, Mapping[str, Any]]:
    """The entries of a file that describe a camera, by name."""
    if not isinstance(content, Mapping):
        return {}
    if _key(content, _MATRIX) is not None:
        return {"0": content}
    if isinstance(content.get("intrinsic"), list):
        entries = enumerate(content["intrinsic"])
        return {str(n): e for n, e in entries if isinstance(e, Mapping)}
    found = {}
    for key, entry in content.items():
        if isinstance(entry, Mapping) and _key(entry, _MATRIX) is not None:
            found[str(entry.get("name", key))] = entry
    return found


def _key(entry: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in entry), None)


def _camera(entry: Mapping[str, Any], size: tuple[int, int]) -> PinholeCamera:
    """One camera at the size it was calibrated for, checked."""
    if entry.get("fisheye"):
        raise ValueError("a fisheye lens, which is not supported")
    if "focal_length" in entry:
        focal, centre = _numbers(entry["focal_length"], 2), _numbers(entry["center"], 2)
        radial = _numbers(entry.get("radial_distortion", [0, 0, 0]), 3)
        tangential = _numbers(entry.get("tangential_distortion", [0, 0]), 2)
        distortion = np.array([*radial[:2], *tangential[::-1], radial[2]])  # p of x comes first
    else:
        key = _key(entry, _MATRIX)
        assert key is not None
        matrix = _numbers(entry[key], 9).reshape(3, 3)
        focal, centre = matrix[[0, 1], [0, 1]], matrix[:2, 2]
        key = _key(entry, _DISTORTION)
        distortion = _five(np.zeros(0) if key is None else _numbers(entry[key]))
    if (focal <= 0).any():
        raise ValueError(f"focal length {focal.tolist()} is not above 0")
    calibrated = _size(entry) or size
    k1, k2, p1, p2, k3 = distortion.tolist()
    return PinholeCamera(
        size=calibrated,
        focal=(float(focal[0]), float(focal[1])),
        centre=(float(centre[0]), float(centre[1])),
        distortion=(k1, k2, p1, p2, k3),
    )


def _numbers(value: Any, count: int | None = None) -> np.ndarray:
    """Finite float64 numbers of a nested list, an array, or a matrix of OpenCV's FileStorage."""
    if isinstance(value, Mapping):
        value = value["data"]
    array = numbers([value] if isinstance(value, int | float) else value)
    if array is None:
        raise ValueError(f"an entry {described(value)}, numbers are needed")
    flat = array.astype(np.float64).ravel()
    if count is not None and len(flat) != count:
        raise ValueError(f"{len(flat)} numbers where {count} are needed")
    if not np.isfinite(flat).all():
        raise ValueError("NaN or infinity among its numbers")
    return flat


def _five(distortion: np.ndarray) -> np.ndarray:
    """k1 k2 p1 p2 k3 of OpenCV's list of up to 14 coefficients."""
    if distortion[5:].any():
        raise ValueError("a lens model of more than the five coefficients k1 k2 p1 p2 k3")
    return np.pad(distortion[:5], (0, 5 - len(distortion[:5])))


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height of the image that a camera was calibrated with, if they are given."""
    for names in _WIDTHS:
        if all(name in entry for name in names):
            found = np.concatenate([_numbers(entry[name], 1) for name in names])
            break
    else:
        if "size" not in entry:
            return None
        found = _numbers(entry["size"], 2)
    if not ((found >= 1) & (found < 1e6)).all():
        raise ValueError(f"image size {found.tolist()}")
    return int(found[0]), int(found[1])


def _scaled(camera: PinholeCamera, size: tuple[int, int], path: Path) -> PinholeCamera:
    (width, height), (old_width, old_height) = size, camera.size
    if max(abs(width - old_width), abs(height - old_height)) < CODEC_BLOCK:
        return replace(camera, size=size)
    factor = width / old_width
    if abs(old_height * factor / height - 1) > SAME_SHAPE:
        raise UserError(
            f"{path}: the camera was calibrated for {old_width}x{old_height}, the recording is "
            f"{width}x{height}: give the calibration of this recording"
        )
    return replace(
        camera,
        size=size,
        focal=(camera.focal[0] * factor, camera.focal[1] * factor),
        centre=(camera.centre[0] * factor, camera.centre[1] * factor),
    )


def distort(rays: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """What a lens makes of x / z and y / z (..., 2): OpenCV's model of five coefficients."""
    k1, k2, p1, p2, k3 = camera.distortion
    x, y = rays[..., 0], rays[..., 1]
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    cross = 2 * x * y
    return np.stack(
        [
            x * radial + p1 * cross + p2 * (square + 2 * x * x),
            y * radial + p2 * cross + p1 * (square + 2 * y * y),
        ],
        axis=-1,
    )


def undistort(keypoints: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Pixels (..., 2) where a lens without distortion would have them; NaN stays NaN.

    Steps of fixed-point iteration; a point that does not come to rest, beyond where the lens model
    turns back, stays where it was.
    """
    if not any(camera.distortion):
        return keypoints
    focal, centre = np.array(camera.focal), np.array(camera.centre)
    seen = (keypoints.astype(np.float64) - centre) / focal
    rays = seen.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(UNDISTORTION_STEPS):
            rays = rays + (seen - distort(rays, camera))
        off = np.abs(distort(rays, camera) - seen) > 1 / max(camera.focal)
        rays = np.where(off.any(-1, keepdims=True) | ~np.isfinite(rays), seen, rays)
    return (rays * focal + centre).astype(keypoints.dtype)
