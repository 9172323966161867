"""A person's lifted motion: what `common.inference` makes and `common.motion_files` writes."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from common.data.skeleton import Skeleton


class State(IntEnum):
    """Where a joint of a frame comes from."""

    EMPTY = 0  # there is no pose in this frame
    SEEN = 1  # detected
    INTERPOLATED = 2  # 2D between detections
    RECOVERED = 3  # hidden from the model, which filled it in


@dataclass(frozen=True)
class PinholeCamera:
    """The camera of a recording.

    Attributes:
        size: width and height of the image in pixels.
        focal: horizontal and vertical focal length in pixels.
        centre: principal point in pixels.
        distortion: k1, k2, p1, p2, k3 (the order of OpenCV).
        assumed: whether the focal length is an assumption.
    """

    size: tuple[int, int]
    focal: tuple[float, float]
    centre: tuple[float, float]
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    assumed: bool = False


@dataclass(frozen=True)
class Motion:
    """The 3D motion of one person, frame by frame.

    Attributes:
        name: of the person.
        skeleton: J joints.
        time: (L,) float64 seconds, those of the input.
        poses_3d: (L, J, 3) float32 metres relative to joint 0 along the camera's axes (x right,
            y down, z forward); NaN in frames without a pose.
        root_3d: (L, 3) float32 metres, joint 0 in camera space; NaN likewise.
        world_3d: (L, J, 3) float32 metres, z up, the ground at z = 0; NaN likewise.
        keypoints_2d: (L, J, 2) float32 pixels; NaN where not detected.
        confidence: (L, J) float32 from 0 to 1.
        state: (L, J) uint8, values of `State`.
        derived: (J,) bool, the joints that the input's joint order lacks.
        camera: of the recording.
        record: plain strings that tell how it was made: model, command, versions.
    """

    name: str
    skeleton: Skeleton
    time: np.ndarray
    poses_3d: np.ndarray
    root_3d: np.ndarray
    world_3d: np.ndarray
    keypoints_2d: np.ndarray
    confidence: np.ndarray
    state: np.ndarray
    derived: np.ndarray
    camera: PinholeCamera
    record: dict[str, str]
