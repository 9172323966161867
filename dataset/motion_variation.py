"""Motion that nobody recorded: limbs and trunk of a motion turned by angles that change slowly."""

import math

import numpy as np
import torch

from common.data.rotations import rotation_matrix
from common.data.skeleton import H36M_17
from dataset.body_shapes import PARENTS, bones_of, with_bones
from dataset.motion_clips import FRAME_RATE

# Joints about which what hangs on them turns, with the largest standard deviation in degrees of
# the turn about each axis.
TURNS = {0: 8.0, 1: 22.0, 4: 22.0, 7: 6.0, 8: 8.0, 9: 8.0, 11: 30.0, 14: 30.0}
BENDS = (2, 5, 12, 15)  # knees and elbows: these only bend more or less, in their own plane
BEND = 25.0  # degrees, of their angle
FULL_BEND = np.deg2rad(150)
STRAIGHT = np.deg2rad(25)  # below this the plane of a bend is uncertain, so the bend changes less
LOG_PERIODS = (math.log(1.5), math.log(6.0))  # seconds
WAVES = 3


def vary_motion(poses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A motion like another one, by the same body; how much it differs is drawn too.

    Args:
        poses: (L, 17, 3) metres, z up, the joints of `H36M_17`.
        rng: random generator.

    Returns:
        (L, 17, 3) metres; in each frame the lowest joint is as high as before.
    """
    length, strength = len(poses), rng.uniform()
    bones = bones_of(poses)
    turned = np.broadcast_to(np.eye(3), (length, H36M_17.num_joints, 3, 3)).copy()
    for joint, degrees in TURNS.items():
        angles = strength * np.deg2rad(degrees) * slow_waves(length, 3, rng)
        turned[:, joint] = rotation_matrix(torch.from_numpy(angles)).numpy()
    for joint in BENDS:
        angles = strength * np.deg2rad(BEND) * slow_waves(length, 1, rng)[:, 0]
        turned[:, joint] = bent(bones, joint, angles)
    for joint, parent in enumerate(PARENTS[1:], 1):  # what hangs on a joint turns with it
        turned[:, joint] = turned[:, parent] @ turned[:, joint]
    varied = with_bones(poses, np.einsum("ljik,ljk->lji", turned[:, PARENTS], bones))
    varied[..., 2] += (poses[..., 2].min(1) - varied[..., 2].min(1))[:, None]
    return varied


def slow_waves(length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(length, count) smooth noise at 50 values a second: mean 0, standard deviation 1."""
    time = np.arange(length)[:, None, None] / FRAME_RATE
    period = np.exp(rng.uniform(*LOG_PERIODS, (count, WAVES)))
    phase = rng.uniform(0, 2 * np.pi, (count, WAVES))
    waves = rng.normal(size=(count, WAVES)) * np.sqrt(2) * np.sin(2 * np.pi * time / period + phase)
    level = rng.normal(size=count)
    return (level + waves.mean(-1) * np.sqrt(WAVES)) / np.sqrt(2)


def bent(bones: np.ndarray, joint: int, angles: np.ndarray) -> np.ndarray:
    """(L, 3, 3) turns of the bone below a knee or elbow that bend it more.

    Args:
        bones: (L, 17, 3), as `bones_of` gives them.
        joint: the knee or elbow; the bone goes from it to the next joint.
        angles: (L,) radians that are added to its bend, as far as limbs bend.
    """
    upper, lower = bones[:, joint], bones[:, joint + 1]
    normal = np.cross(upper, lower)
    sine = np.linalg.norm(normal, axis=-1)
    bend = np.arctan2(sine, (upper * lower).sum(-1))
    angles = np.clip(bend + angles, 0, FULL_BEND) - bend
    angles = angles * np.minimum(bend / STRAIGHT, 1)
    axes = normal / np.maximum(sine, 1e-9)[:, None]
    return rotation_matrix(torch.from_numpy(axes * angles[:, None])).numpy()
