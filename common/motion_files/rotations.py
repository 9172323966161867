"""Rotation matrices from directions, and their Euler angles."""

import numpy as np

_GIMBAL = 1 - 1e-9


def best_rotations(rest: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The rotations that bring vectors of a body nearest to measured ones (Wahba's problem).

    Args:
        rest: (K, 3).
        vectors: (L, K, 3).

    Returns:
        (L, 3, 3), the least-squares rotations by singular value decomposition (Kabsch).
    """
    covariance = np.einsum("lki,kj->lij", vectors, rest)
    u, _, vt = np.linalg.svd(covariance)
    sign = np.ones((len(u), 3))
    sign[:, 2] = np.linalg.det(u) * np.linalg.det(vt)
    return (u * sign[:, None, :]) @ vt


def shortest_rotations(start: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The rotations from a direction to others along the shortest arc: without twist.

    Args:
        start: (3,) unit vector.
        ends: (L, 3) unit vectors.

    Returns:
        (L, 3, 3); for the opposite direction, half a turn around some axis.
    """
    cosine = ends @ start
    x, y, z = np.cross(start, ends).T
    zero = np.zeros_like(x)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    turned = cosine <= -_GIMBAL
    factor = 1 / np.where(turned, 1, 1 + cosine)
    rotations = np.eye(3) + skew + skew @ skew * factor[:, None, None]
    axis = np.cross(start, np.eye(3)[np.argmin(np.abs(start))])
    axis /= np.linalg.norm(axis)
    rotations[turned] = 2 * np.outer(axis, axis) - np.eye(3)
    return rotations


def euler_zxy(rotations: np.ndarray) -> np.ndarray:
    """The angles of R = Rz Rx Ry.

    Args:
        rotations: (L, ..., 3, 3), L frames.

    Returns:
        (L, ..., 3) degrees about z, x, y; without jumps of a whole turn from frame to frame.
    """
    r = rotations
    sine = np.clip(r[..., 2, 1], -1, 1)
    locked = np.abs(sine) > _GIMBAL  # z and y turn about one axis: all of it is given to z
    z = np.where(
        locked,
        np.arctan2(r[..., 1, 0], r[..., 0, 0]),
        np.arctan2(-r[..., 0, 1], r[..., 1, 1]),
    )
    y = np.where(locked, 0, np.arctan2(-r[..., 2, 0], r[..., 2, 2]))
    angles = np.stack([z, np.arcsin(sine), y], axis=-1)
    return np.degrees(np.unwrap(angles, axis=0))
