"""Random cameras that see a motion as people's videos do."""

from dataclasses import dataclass

import numpy as np
import torch

from common.data.camera import CameraView, denormalise_screen, normalise_screen

ASPECTS = ((9, 16), (3, 4), (1, 1), (4, 3), (16, 9))  # width to height, all equally likely
NEAREST = 0.7  # metres from the camera to the nearest joint
TRIES = 12


@dataclass(frozen=True)
class CameraRanges:
    """What the cameras are drawn from, each between its two bounds.

    Attributes:
        focal: focal length in image widths, logarithmic.
        height: of the camera above the ground, metres.
        fill: size of the body in image heights, logarithmic.
        longer_side: of the image, pixels, logarithmic.
        roll: standard deviation, degrees.
        inside: the smallest share of joints that lie inside the image.
    """

    focal: tuple[float, float] = (0.7, 2.5)
    height: tuple[float, float] = (0.3, 3.0)
    fill: tuple[float, float] = (0.2, 1.0)
    longer_side: tuple[int, int] = (640, 1920)
    roll: float = 4.0
    inside: float = 0.75


def draw_camera(
    poses: np.ndarray, ground: float, rng: np.random.Generator, ranges: CameraRanges
) -> CameraView:
    """A camera that sees a motion.

    Args:
        poses: (L, J, 3) world metres, z up.
        ground: height of the floor, metres.
        rng: random generator.
        ranges: see there.

    Returns:
        The camera. Where none of some tries sees the asked share of joints, the farthest of them.
    """
    side = _logarithmic(rng, ranges.longer_side)
    aspect = np.array(ASPECTS[rng.integers(len(ASPECTS))])
    width, height = np.round(side * aspect / aspect.max()).astype(int).tolist()
    focal = _logarithmic(rng, ranges.focal) * width
    target = poses.reshape(-1, 3).mean(0)
    body = np.linalg.norm(np.ptp(poses, axis=1), axis=-1).mean()
    reach = np.linalg.norm(poses - target, axis=-1).max()
    fill = _logarithmic(rng, ranges.fill)
    distance = max(focal * body / (fill * height), NEAREST + reach)
    azimuth = rng.uniform(0, 2 * np.pi)
    rise = ground + rng.uniform(*ranges.height) - target[2]
    # Where in the image the body is, in pixels from the centre.
    place = rng.uniform(-1, 1, 2) * [0.35 * width, 0.5 * max(0.1, 1 - fill) * height]
    roll = np.deg2rad(rng.normal(0, ranges.roll))
    view = None
    for _ in range(TRIES):
        # `rise` stays as drawn; a camera that is near is not above the head.
        up = np.clip(rise / distance, -0.8, 0.8)
        towards = np.array([np.cos(azimuth), np.sin(azimuth), 0]) * np.sqrt(1 - up**2)
        centre = target + distance * (towards + [0, 0, up])
        axes = _looking_at(target - centre, place / focal, roll)
        view = _view(axes, centre, focal, width, height)
        if share_inside(poses, view) >= ranges.inside:
            break
        distance, place = distance * 1.2, place * 0.8
    assert view is not None
    return view


def share_inside(poses: np.ndarray, view: CameraView) -> float:
    """The share of joints (L, J, 3), world metres, that a camera sees inside its image."""
    return share_in_image(project_pixels(poses, view), view)


def share_in_image(pixels: np.ndarray, view: CameraView) -> float:
    """The share of pixels (..., 2) that lie inside the image of a camera."""
    return float(((pixels >= 0) & (pixels <= [view.width, view.height])).all(-1).mean())


def project_pixels(poses: np.ndarray, view: CameraView) -> np.ndarray:
    """World points (L, J, 3), metres, as pixels (L, J, 2) float32."""
    points = view.from_world(torch.from_numpy(np.ascontiguousarray(poses, np.float32)))
    points[..., 2].clamp_(min=0.05)  # of a joint behind the camera: far outside of the image
    # Lens-free: `project` limits the angle, which wide images pass.
    screen = points[..., :2] / points[..., 2:] * view.intrinsics[:2] + view.intrinsics[2:4]
    return denormalise_screen(screen, width=view.width, height=view.height).numpy()


def _logarithmic(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _looking_at(forward: np.ndarray, tangents: np.ndarray, roll: float) -> np.ndarray:
    """(3, 3) camera axes right, down, forward as columns, in the world.

    Args:
        forward: (3,) from the camera to what it looks at.
        tangents: (2,) x/z and y/z at which this is seen.
        roll: turn about the forward axis, radians.
    """
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right = right / np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward], axis=1)
    yaw, pitch = np.arctan(-tangents[0]), np.arctan(tangents[1])
    turn_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    turn_x = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    turn_z = np.array(
        [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    )
    return axes @ turn_y @ turn_x @ turn_z


def _view(
    axes: np.ndarray, centre: np.ndarray, focal: float, width: int, height: int
) -> CameraView:
    middle = normalise_screen(torch.tensor([width / 2, height / 2]), width=width, height=height)
    scale = 2 * focal / width
    return CameraView(
        intrinsics=torch.tensor([scale, scale, *middle.tolist(), 0, 0, 0, 0, 0]),
        orientation=torch.from_numpy(quaternion(axes)).float(),
        centre=torch.from_numpy(centre).float(),
        width=width,
        height=height,
    )


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(4,) w, x, y, z of a rotation matrix (3, 3)."""
    m = rotation
    # The eigenvector of the largest eigenvalue (Bar-Itzhack 2000): stable for every rotation.
    k = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
            [m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1]],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1]],
        ]
    )
    vector = np.linalg.eigh(k)[1][:, -1]
    return vector * (1.0 if vector[0] >= 0 else -1.0)
