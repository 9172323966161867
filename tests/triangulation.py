"""Calibrated cameras and robust triangulation: the truth that calibrated videos are judged by."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

SUBPIXELS = 64  # Qualisys gives focal lengths and centres in 1/64 pixel
TO_OUR_AXES = np.diag([1.0, -1.0, -1.0])  # x right, y down, z forward
UNDISTORTION_STEPS = 20
ROBUST_SCALE = 5.0  # pixels: the residual at which a view counts by 1 / sqrt(2)
REWEIGHTINGS = 60


@dataclass(frozen=True)
class CalibratedCamera:
    """A camera whose place and lens are known.

    Attributes:
        name: as in the calibration file.
        rotation: (3, 3) world to camera axes (x right, y down, z forward).
        position: (3,) metres, in the world.
        focal: (2,) pixels.
        centre: (2,) pixels.
        distortion: (4,) k1, k2, p1, p2 of Brown's model.
    """

    name: str
    rotation: np.ndarray
    position: np.ndarray
    focal: np.ndarray
    centre: np.ndarray
    distortion: np.ndarray

    @property
    def extrinsics(self) -> np.ndarray:
        """(3, 4) homogeneous world points to camera space."""
        return np.column_stack([self.rotation, -self.rotation @ self.position])

    def to_camera(self, world: np.ndarray) -> np.ndarray:
        """World points (..., 3) in this camera's space, metres."""
        return (world - self.position) @ self.rotation.T

    def project(self, world: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of world points (..., 3)."""
        points = self.to_camera(world)
        return self.distort(points[..., :2] / points[..., 2:]) * self.focal + self.centre

    def distort(self, rays: np.ndarray) -> np.ndarray:
        """What the lens makes of the directions (x / z, y / z), (..., 2)."""
        factor, shift = self._distortion(rays)
        return rays * factor + shift

    def undistort(self, pixels: np.ndarray) -> np.ndarray:
        """Directions (x / z, y / z) of pixels (..., 2), by fixed-point iteration."""
        distorted = (pixels - self.centre) / self.focal
        rays = distorted
        for _ in range(UNDISTORTION_STEPS):
            factor, shift = self._distortion(rays)
            rays = (distorted - shift) / factor
        return rays

    def _distortion(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Radial factor (..., 1) and tangential shift (..., 2)."""
        k1, k2, p1, p2 = self.distortion
        r2 = np.square(rays).sum(-1, keepdims=True)
        product = rays[..., :1] * rays[..., 1:]
        shift = 2 * product * [p1, p2] + (r2 + 2 * np.square(rays)) * [p2, p1]
        return 1 + k1 * r2 + k2 * r2**2, shift


def read_qualisys(path: Path) -> list[CalibratedCamera]:
    """The cameras of a Qualisys calibration file (`.qca.txt`), in its order."""
    return [
        _qualisys_camera(
            camera.attrib["serial"], camera.find("transform"), camera.find("intrinsic")
        )
        for camera in ElementTree.parse(path).getroot().iter("camera")
    ]


def _qualisys_camera(
    name: str, transform: ElementTree.Element | None, intrinsic: ElementTree.Element | None
) -> CalibratedCamera:
    assert transform is not None and intrinsic is not None, name
    place, lens = transform.attrib, intrinsic.attrib

    def numbers(values: dict[str, str], *keys: str) -> np.ndarray:
        return np.array([float(values[key]) for key in keys])

    axes = numbers(place, *(f"r{row}{column}" for row in "123" for column in "123")).reshape(3, 3)
    return CalibratedCamera(
        name=name,
        rotation=TO_OUR_AXES @ axes,
        position=numbers(place, "x", "y", "z") / 1000,
        focal=numbers(lens, "focalLengthU", "focalLengthV") / SUBPIXELS,
        centre=numbers(lens, "centerPointU", "centerPointV") / SUBPIXELS,
        distortion=numbers(
            lens,
            *("radialDistortion1", "radialDistortion2"),
            *("tangentalDistortion1", "tangentalDistortion2"),
        ),
    )


def triangulate(
    cameras: Sequence[CalibratedCamera], pixels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Points seen by several cameras, robust against views that are wrong.

    Least squares, reweighted by the reprojection error (Cauchy's function): detectors confuse
    left and right, and such a view must not pull the point away from where the others see it.

    Args:
        cameras: V of them.
        pixels: (V, ..., 2) where each sees the points.
        weights: (V, ...) trust in each, for example the detector's confidence; 0 leaves a view out.

    Returns:
        (..., 3) metres, in the world.
    """
    shape = pixels.shape[1:-1]
    pixels, weights = (
        values.reshape(len(cameras), -1, *values.shape[len(shape) + 1 :])
        for values in (pixels, weights)
    )
    seen = np.where(weights[..., None] > 0, pixels, 0)  # a view that is left out may hold NaN
    rays = np.stack([camera.undistort(view) for camera, view in zip(cameras, seen, strict=True)])
    robust = weights
    for _ in range(REWEIGHTINGS):
        points = _least_squares(cameras, rays, robust)
        errors = np.stack(
            [
                np.linalg.norm(camera.project(points) - view, axis=-1)
                for camera, view in zip(cameras, seen, strict=True)
            ]
        )
        robust = weights / np.sqrt(1 + np.square(errors / ROBUST_SCALE))
    return points.reshape(*shape, 3)


def _least_squares(
    cameras: Sequence[CalibratedCamera], rays: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Direct linear triangulation: rays (V, N, 2), weights (V, N) -> points (N, 3)."""
    rows = []
    for camera, ray, weight in zip(cameras, rays, weights, strict=True):
        matrix = camera.extrinsics
        equations = ray[..., None] * matrix[2] - matrix[:2]  # (N, 2, 4)
        rows.append(weight[:, None, None] * equations)
    system = np.concatenate(rows, axis=1)
    left, right = system[..., :3], system[..., 3:]
    transposed = left.transpose(0, 2, 1)
    return np.linalg.solve(transposed @ left, -transposed @ right)[..., 0]
