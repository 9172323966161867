"""Cameras: normalised screen coordinates, world to camera space, projection and back-projection.

Nine intrinsics describe a camera: focal x y, centre x y, radial k1 k2 k3, tangential p1 p2, the
first four in normalised screen units. Quaternions are (w, x, y, z). Any leading dimensions.

Pixels become inputs of a model in one of three ways (`NORMALISATIONS`); a camera's intrinsics are
given in the same units, so that projecting camera-space points leads to the same coordinates.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.data.npz import described, float_tensor, integer, making_sense, numbers
from common.errors import UserError, shown
from common.files import open_regular

CAMERA_FILE = "h36m_cameras.json"
# width: x in [-1, 1] over the image's width, y scaled alike (published models). longer: the longer
# side in [-1, 1]. rays: x/z and y/z in camera space, distortion undone.
NORMALISATIONS = ("width", "longer", "rays")
UNDISTORT_STEPS = 20
PACKAGED_CAMERAS = Path(__file__).resolve().parents[2] / "dataset" / CAMERA_FILE

MAX_CAMERA_FILE = 10_000_000  # bytes
MAX_IMAGE = 100_000  # pixels


def normalise_screen(pixel: Tensor, *, width: int, height: int) -> Tensor:
    """Pixels (..., 2) to screen coordinates: x in [-1, 1], y scaled alike."""
    return pixel / width * 2 - pixel.new_tensor([1, height / width])


def denormalise_screen(screen: Tensor, *, width: int, height: int) -> Tensor:
    """Screen coordinates (..., 2) back to pixels."""
    return (screen + screen.new_tensor([1, height / width])) * width / 2


def rotate(quaternion: Tensor, vector: Tensor) -> Tensor:
    """Rotate (..., 3) vectors by unit quaternions (..., 4) that broadcast against them."""
    w, xyz = quaternion[..., :1], quaternion[..., 1:].expand_as(vector)
    uv = torch.linalg.cross(xyz, vector)
    uuv = torch.linalg.cross(xyz, uv)
    return vector + 2 * (w * uv + uuv)


def world_to_camera(world: Tensor, quaternion: Tensor, centre: Tensor) -> Tensor:
    """World points to camera space.

    Args:
        world: (..., 3) metres.
        quaternion: (4,) orientation of the camera in the world.
        centre: (3,) position of the camera, metres.

    Returns:
        (..., 3) metres; z points away from the camera.
    """
    inverse = quaternion * quaternion.new_tensor([1, -1, -1, -1])
    return rotate(inverse, world - centre)


def camera_to_world(camera_space: Tensor, quaternion: Tensor, centre: Tensor) -> Tensor:
    """Camera-space points (..., 3) back to the world; the inverse of `world_to_camera`."""
    return rotate(quaternion, camera_space) + centre


def project(camera_space: Tensor, camera: Tensor) -> Tensor:
    """Project camera-space points with lens distortion.

    Args:
        camera_space: (B, ..., 3) metres, z > 0.
        camera: (B, 9) intrinsics.

    Returns:
        (B, ..., 2) normalised screen coordinates.
    """
    camera = camera.reshape(camera.shape[0], *[1] * (camera_space.dim() - 2), 9)
    focal, centre = camera[..., :2], camera[..., 2:4]
    radial, tangential = camera[..., 4:7], camera[..., 7:9]
    xy = (camera_space[..., :2] / camera_space[..., 2:]).clamp(-1, 1)
    r2 = xy.square().sum(-1, keepdim=True)
    radial_factor = 1 + (radial * torch.cat([r2, r2**2, r2**3], dim=-1)).sum(-1, keepdim=True)
    tangential_factor = (tangential * xy).sum(-1, keepdim=True)
    return focal * (xy * (radial_factor + tangential_factor) + tangential * r2) + centre


def undistort(distorted: Tensor, camera: Tensor) -> Tensor:
    """Undo lens distortion by fixed-point iteration.

    Args:
        distorted: (..., 2), (screen - centre) / focal.
        camera: (9,) intrinsics.

    Returns:
        (..., 2), x/z and y/z in camera space.
    """
    radial, tangential = camera[4:7], camera[7:9]
    if not camera[4:].any():
        return distorted
    xy = distorted
    for _ in range(UNDISTORT_STEPS):
        r2 = xy.square().sum(-1, keepdim=True)
        factor = 1 + (radial * torch.cat([r2, r2**2, r2**3], dim=-1)).sum(-1, keepdim=True)
        factor = factor + (tangential * xy).sum(-1, keepdim=True)
        xy = (distorted - tangential * r2) / factor.clamp(min=0.1)
    return xy


def back_project(predicted: Tensor, root: Tensor, screen: Tensor, camera: Tensor) -> Tensor:
    """x and y of the joints from their 2D positions and predicted depths, for the refiner.

    Args:
        predicted: (B, T, J, 3) root-relative metres; only z is read, and not that of the root.
        root: (B, T, 1, 3) true position of the root in camera space, metres.
        screen: (B, T, J, 2) normalised screen coordinates.
        camera: (B, 9) intrinsics; distortion is neglected.

    Returns:
        (B, T, J, 3) root-relative metres.
    """
    focal, centre = camera[:, None, None, :2], camera[:, None, None, 2:4]
    relative_z = torch.cat([torch.zeros_like(root[..., 2:]), predicted[..., 1:, 2:]], dim=-2)
    depth = relative_z + root[..., 2:]  # (B, T, J, 1)
    absolute = torch.cat([(screen - centre) * depth / focal, depth], dim=-1)
    return absolute - absolute[..., :1, :]


@dataclass(frozen=True)
class CameraView:
    """One camera of one subject.

    Attributes:
        intrinsics: (9,) float32, normalised screen units.
        orientation: (4,) float32 quaternion w x y z.
        centre: (3,) float32 metres.
        width: image width in pixels.
        height: image height in pixels.
    """

    intrinsics: Tensor
    orientation: Tensor
    centre: Tensor
    width: int
    height: int

    def from_world(self, points: Tensor) -> Tensor:
        """World points (..., 3) in this camera's space, metres."""
        return world_to_camera(points, self.orientation.to(points), self.centre.to(points))

    def normalise(self, pixel: Tensor, how: str = "width") -> Tensor:
        """Pixels (..., 2) in the units that a model takes, one of `NORMALISATIONS`."""
        screen = normalise_screen(pixel, width=self.width, height=self.height)
        if how == "rays":
            camera = self.intrinsics.to(pixel)
            return undistort((screen - camera[2:4]) / camera[:2], camera)
        return screen * self._scale(how)

    def intrinsics_for(self, how: str = "width") -> Tensor:
        """(9,) intrinsics in the units of `normalise`."""
        camera = self.intrinsics.clone()
        if how == "rays":
            return torch.tensor([1.0, 1, 0, 0, 0, 0, 0, 0, 0]).to(camera)
        camera[:4] *= self._scale(how)
        return camera

    def _scale(self, how: str) -> float:
        return self.width / max(self.width, self.height) if how == "longer" else 1.0

    def to_screen(self, points: Tensor) -> Tensor:
        """Points (L, ..., 3) of this camera's space on its screen, (L, ..., 2) normalised."""
        return project(points[None], self.intrinsics.to(points)[None])[0]


@dataclass(frozen=True)
class Cameras:
    """The cameras of a data folder.

    Attributes:
        by_subject: subject -> cameras of all its sequences, in the order of the 2D files.
        by_sequence: subject and action -> cameras of this sequence, where it has its own.
    """

    by_subject: Mapping[str, list[CameraView]]
    by_sequence: Mapping[tuple[str, str], list[CameraView]] = field(default_factory=dict)

    def of(self, subject: str, action: str) -> list[CameraView]:
        """The cameras of a sequence; empty if none are known."""
        return self.by_sequence.get((subject, action), self.by_subject.get(subject, []))


def load_cameras(root: Path) -> Cameras:
    """The cameras of every subject, from the data folder's own file or the one that we ship.

    Args:
        root: data folder; a file `h36m_cameras.json` in it takes precedence.

    Raises:
        UserError: the file is not in the format.
    """
    own = root / CAMERA_FILE
    path = own if os.path.lexists(own) else PACKAGED_CAMERAS
    where = f"{path}: not a camera file"
    with making_sense(where, "the format of dataset/README.md"), open_regular(path) as stream:
        if os.fstat(stream.fileno()).st_size > MAX_CAMERA_FILE:
            raise UserError(f"{where}, over {MAX_CAMERA_FILE / 1e6:.0f} MB large")
        content = json.loads(stream.read())
        inner, subjects = content["intrinsic"], content["extrinsic"]
        return Cameras(
            {
                subject: [
                    _camera_view(i, e, f"{where}: camera {number} of {shown(subject)}")
                    for number, (i, e) in enumerate(zip(inner, extrinsics, strict=True))
                ]
                for subject, extrinsics in subjects.items()
            },
            {
                (subject, action): [
                    _camera_view(view, view, f"{where}: {shown(subject)} {shown(action)}")
                    for view in views
                ]
                for subject, actions in content.get("sequences", {}).items()
                for action, views in actions.items()
            },
        )


def _camera_view(inner: dict[str, Any], outer: dict[str, Any], where: str) -> CameraView:
    def entries(held: Any, key: str, count: int) -> Tensor:
        """A list of so many finite numbers, float32."""
        values = numbers(held[key])
        if values is None or values.shape != (count,):
            raise UserError(f"{where}: {key!r} {described(held[key])}; {count} numbers are needed")
        tensor = float_tensor(values)
        if not tensor.isfinite().all():
            raise UserError(f"{where}: {key!r} holds numbers that are not finite")
        return tensor

    with making_sense(where, "the format of dataset/README.md"):
        width, height = (
            integer(inner[key], f"{where}: {key!r}", low=1, high=MAX_IMAGE)
            for key in ("res_w", "res_h")
        )
        focal = entries(inner, "focal_length", 2)
        if (focal <= 0).any():
            raise UserError(f"{where}: 'focal_length' is not above 0")
        centre = normalise_screen(entries(inner, "center", 2), width=width, height=height)
        distortion = [entries(inner, "radial_distortion", 3)]
        distortion.append(entries(inner, "tangential_distortion", 2))
        orientation = entries(outer, "orientation", 4)
        if abs(orientation.norm().item() - 1) > 0.01:
            raise UserError(f"{where}: 'orientation' is no unit quaternion w x y z")
        return CameraView(
            intrinsics=torch.cat([focal / width * 2, centre, *distortion]),
            orientation=orientation,
            centre=entries(outer, "translation", 3) / 1000,
            width=width,
            height=height,
        )
