"""Other bodies that move alike: bones of a motion made longer or shorter."""

import numpy as np

from common.data.skeleton import H36M_17

PARENTS = [0, *H36M_17.parents[1:]]  # the root is its own
# Bones, named by the joint that they lead to, that get one factor together: left and right alike.
# Widths vary more than lengths: data sets and detectors mean different points by hip and shoulder.
GROUPS: tuple[tuple[tuple[int, ...], tuple[float, float]], ...] = (
    ((1, 4), (0.85, 1.35)),  # hip width
    ((2, 5), (0.92, 1.08)),  # thighs
    ((3, 6), (0.92, 1.08)),  # shanks
    ((7, 8), (0.88, 1.12)),  # trunk
    ((9,), (0.85, 1.15)),
    ((10,), (0.85, 1.15)),
    ((11, 14), (0.90, 1.20)),  # shoulder width
    ((12, 15), (0.92, 1.08)),  # upper arms
    ((13, 16), (0.92, 1.08)),  # forearms
)


def vary_body(poses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A motion of another body, its lowest point as high above the floor as before.

    Args:
        poses: (L, 17, 3) metres, z up, the joints of `H36M_17`.
        rng: random generator.

    Returns:
        (L, 17, 3) metres.
    """
    factors = np.ones(H36M_17.num_joints)
    for joints, bounds in GROUPS:
        factors[list(joints)] = rng.uniform(*bounds)
    varied = with_bones(poses, factors[:, None] * bones_of(poses))
    varied[..., 2] += poses[..., 2].min() - varied[..., 2].min()
    return varied


def bones_of(poses: np.ndarray) -> np.ndarray:
    """(L, 17, 3) from the parent of each joint to it; the root has a bone of length zero."""
    return poses - poses[:, PARENTS]


def with_bones(poses: np.ndarray, bones: np.ndarray) -> np.ndarray:
    """Poses (L, 17, 3) with other bones (L, 17, 3); the root stays."""
    changed = poses.copy()
    for joint, parent in enumerate(PARENTS[1:], 1):  # parents come before their children
        changed[:, joint] = changed[:, parent] + bones[:, joint]
    return changed
