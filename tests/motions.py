"""Motions made of the sample, for the tests of what is written from them."""

from dataclasses import replace

import numpy as np
import torch
from paths import SAMPLE

from common.data.camera import denormalise_screen, load_cameras
from common.data.npz import load_dictionary
from common.data.skeleton import H36M_17, H36M_32_TO_17, Skeleton
from common.inference.motion import Motion, PinholeCamera, State

RECORD = {"model": "weights.pth", "command": "python -m common.predict", "versions": "numpy 2"}


def sample_motion(
    subject: str = "S7",
    action: str = "Dancing",
    *,
    frames: slice = slice(0, 60),
    rate: float = 50.0,
    name: str = "1",
    skeleton: Skeleton = H36M_17,
) -> Motion:
    """The motion of a subject of the sample as its first camera sees it, all joints seen."""
    whole = load_dictionary(SAMPLE / "data_3d_h36m.npz", "positions_3d")[subject][action]
    world = torch.from_numpy(np.array(whole[frames][:, list(H36M_32_TO_17)], np.float32))
    view = load_cameras(SAMPLE).of(subject, action)[0]
    camera = view.from_world(world)
    screen = view.to_screen(camera)
    pixels = denormalise_screen(screen, width=view.width, height=view.height).numpy()
    if skeleton.num_joints != world.shape[1]:
        kept = [H36M_17.joint_names.index(joint) for joint in skeleton.joint_names]
        world, camera, pixels = world[:, kept], camera[:, kept], pixels[:, kept]
    length, joints = world.shape[:2]
    focal = (view.intrinsics[:2] / 2 * view.width).tolist()
    centre = denormalise_screen(view.intrinsics[2:4], width=view.width, height=view.height)
    k1, k2, k3, p1, p2 = view.intrinsics[4:].tolist()
    return Motion(
        name=name,
        skeleton=skeleton,
        time=np.arange(length) / rate,
        poses_3d=(camera - camera[:, :1]).numpy(),
        root_3d=camera[:, 0].numpy(),
        world_3d=world.numpy(),
        keypoints_2d=pixels,
        confidence=np.full((length, joints), 0.875, np.float32),
        state=np.full((length, joints), State.SEEN, np.uint8),
        derived=np.arange(joints) == 7,
        camera=PinholeCamera(
            size=(view.width, view.height),
            focal=(focal[0], focal[1]),
            centre=(float(centre[0]), float(centre[1])),
            distortion=(k1, k2, p1, p2, k3),
            assumed=True,
        ),
        record=dict(RECORD),
    )


def with_gaps(motion: Motion, *, empty: slice, interpolated: slice, recovered: slice) -> Motion:
    """The motion with frames without a pose, and with frames whose right arm was not detected."""
    arm = list(motion.skeleton.limbs["right arm"])
    arrays = {
        name: np.array(getattr(motion, name))
        for name in ("poses_3d", "root_3d", "world_3d", "keypoints_2d", "confidence", "state")
    }
    for where, state in ((interpolated, State.INTERPOLATED), (recovered, State.RECOVERED)):
        arrays["state"][where, arm] = state
        arrays["confidence"][where, arm] = 0
    arrays["keypoints_2d"][recovered, arm] = np.nan
    for name, array in arrays.items():
        array[empty] = 0 if name in ("confidence", "state") else np.nan
    return replace(motion, **arrays)


def moved(motion: Motion, by: tuple[float, float, float], *, name: str) -> Motion:
    """Another person, beside the first: metres in the world."""
    step = np.array(by, np.float32)
    return replace(motion, world_3d=motion.world_3d + step, name=name)


def bone_lengths(poses: np.ndarray) -> np.ndarray:
    """(L, 16) of poses (L, 17, 3), in their unit."""
    return np.linalg.norm(poses[:, 1:] - poses[:, list(H36M_17.parents[1:])], axis=-1)
