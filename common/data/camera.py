"""Cameras: normalised screen coordinates, world to camera space, projection and back-projection.

Nine intrinsics describe a camera: focal x y, centre x y, radial k1 k2 k3, tangential p1 p2, the
first four in normalised screen units. Quaternions are (w, x, y, z). Any leading dimensions.

Pixels become inputs of a model in one of three ways (`NORMALISATIONS`); a camera's intrinsics are
given in the same units, so that projecting camera-space points leads to the same coordinates.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError

CAMERA_FILE = "h36m_cameras.json"
# width: x in [-1, 1] over the image's width, y scaled alike (published models). longer: the longer
# side in [-1, 1]. rays: x/z and y/z in camera space, distortion undone.
NORMALISATIONS = ("width", "longer", "rays")
UNDISTORT_STEPS = 20
PACKAGED_CAMERAS = Path(__file__).resolve().parents[2] / "dataset" / CAMERA_FILE


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
    path = root / CAMERA_FILE if (root / CAMERA_FILE).exists() else PACKAGED_CAMERAS
    try:
        content = json.loads(path.read_text())
        return Cameras(
            {
                subject: [
                    _camera_view(inner, outer)
                    for inner, outer in zip(content["intrinsic"], extrinsics, strict=True)
                ]
                for subject, extrinsics in content["extrinsic"].items()
            },
            {
                (subject, action): [_camera_view(view, view) for view in views]
                for subject, actions in content.get("sequences", {}).items()
                for action, views in actions.items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a camera file ({type(error).__name__}: {error})") from None


def _camera_view(inner: dict[str, Any], outer: dict[str, Any]) -> CameraView:
    width, height = inner["res_w"], inner["res_h"]
    focal = torch.tensor(inner["focal_length"]) / width * 2
    centre = normalise_screen(torch.tensor(inner["center"]), width=width, height=height)
    distortion = torch.tensor([*inner["radial_distortion"], *inner["tangential_distortion"]])
    return CameraView(
        intrinsics=torch.cat([focal, centre, distortion]),
        orientation=torch.tensor(outer["orientation"]),
        centre=torch.tensor(outer["translation"]) / 1000,
        width=width,
        height=height,
    )
