"""Rigid bones fitted to joint positions: what animation formats need.

Bones have their median length. The hip is a rigid body of the mean shape of its children, turned
to fit them best. Any other joint points its bone at where its child is, along the shortest arc
from the rest pose in the frame of its parent: positions say nothing of twist. Where bones part
further up (at the thorax), each has a joint of its own at that place, `<child>_base`, as the
clavicles and the neck of other rigs. Rest pose: facing +z, y up, arms to the sides, legs down.
"""

from dataclasses import dataclass

import numpy as np

from common.data.skeleton import Skeleton
from common.motion_files.rotations import best_rotations, shortest_rotations
from common.motion_files.text_numbers import marker_names

UP, DOWN, LEFT, RIGHT = ((0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0))
_SHAPE_FRAMES = 2000  # enough to know the mean shape of a joint's children
_SHAPE_ROUNDS = 5
_TINY = 1e-9


@dataclass(frozen=True)
class Rig:
    """A body of rigid bones in motion, y up: N nodes, the J joints of a skeleton among them.

    Attributes:
        names: N names without blanks.
        parents: N node numbers, parents first, -1 for the root.
        joints: J numbers of the nodes that are the joints.
        offsets: (N, 3) metres from the parent in the rest pose; 0 for the root.
        rotations: (L, N, 3, 3) relative to the parent.
        root: (L, 3) metres, joint 0.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    joints: tuple[int, ...]
    offsets: np.ndarray
    rotations: np.ndarray
    root: np.ndarray

    def positions(self) -> np.ndarray:
        """The joints (L, J, 3) by forward kinematics, metres."""
        places, turns = [self.root], [self.rotations[:, 0]]
        for node, parent in list(enumerate(self.parents))[1:]:
            places.append(places[parent] + turns[parent] @ self.offsets[node])
            turns.append(turns[parent] @ self.rotations[:, node])
        return np.stack([places[node] for node in self.joints], axis=1)


def fit_rig(points: np.ndarray, skeleton: Skeleton) -> Rig:
    """Fit rigid bones to joints, frame by frame.

    Args:
        points: (L, J, 3) metres, y up, without NaN.
        skeleton: of the joints; parents come before their children.
    """
    points = points.astype(np.float64)
    names, parents, joints = _nodes(skeleton)
    bones = _rest_bones(points, skeleton)
    offsets = np.zeros((len(names), 3))
    offsets[list(joints)] = bones
    rotations = np.tile(np.eye(3), (len(points), len(names), 1, 1))
    places, turns = {0: points[:, 0]}, {-1: np.eye(3)[None]}
    for node, parent in enumerate(parents):
        if node:
            places[node] = places[parent] + turns[parent] @ offsets[node]
        ahead = _joints_ahead(node, parents, joints)
        if ahead:
            targets = points[:, ahead] - places[node][:, None]  # (L, K, 3)
            # Rows times a rotation: turned by its inverse, into the frame of the parent.
            rotations[:, node] = _turn(bones[ahead], targets @ turns[parent])
        turns[node] = turns[parent] @ rotations[:, node]
    return Rig(names, parents, joints, offsets, rotations, points[:, 0])


def _nodes(skeleton: Skeleton) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """The nodes of a rig: their names, their parents, and which of them the joints are."""
    joint_names = marker_names(skeleton.joint_names)
    names, parents, joints = [joint_names[0]], [-1], [0]
    for joint, parent in list(enumerate(skeleton.parents))[1:]:
        before = joints[parent]
        if parent > 0 and skeleton.parents.count(parent) > 1:
            names.append(f"{joint_names[joint]}_base")
            parents.append(before)
            before = len(names) - 1
        names.append(joint_names[joint])
        parents.append(before)
        joints.append(len(names) - 1)
    return tuple(names), tuple(parents), tuple(joints)


def _joints_ahead(node: int, parents: tuple[int, ...], joints: tuple[int, ...]) -> list[int]:
    """The joints that the bones of a node, or of the bases at its place, lead to."""
    ahead = []
    for child in (c for c, parent in enumerate(parents) if parent == node):
        ahead += [joints.index(child)] if child in joints else _joints_ahead(child, parents, joints)
    return ahead


def _turn(rest: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The rotation (L, 3, 3) of a joint from its children at rest (K, 3) and now (L, K, 3)."""
    if len(rest) > 1:
        return best_rotations(rest, vectors)
    start = _unit(rest[0], np.array(UP, float))
    return shortest_rotations(start, _unit(vectors[:, 0], start))


def _unit(vectors: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3); the fallback in place of those without a length."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > _TINY, vectors / np.maximum(length, _TINY), fallback)


def _rest_bones(points: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Where each joint is from its parent in the rest pose, (J, 3) metres."""
    parents = np.array(skeleton.parents)
    bones = points - points[:, np.maximum(parents, 0)]
    lengths = np.median(np.linalg.norm(bones, axis=-1), axis=0)
    directions = rest_directions(skeleton)
    sampled = bones[:: -(-len(bones) // _SHAPE_FRAMES)]
    for joint in range(len(parents)):
        children = np.flatnonzero(parents == joint)
        if len(children) > 1:
            directions[children] = _mean_shape(directions[children], sampled[:, children])
    return directions * lengths[:, None]  # that of the root is 0, its parent is itself


def rest_directions(skeleton: Skeleton) -> np.ndarray:
    """The directions (J, 3) of the bones to the joints in the rest pose, as limbs' names tell."""
    directions = np.tile(np.array(UP, float), (skeleton.num_joints, 1))
    for side, outward in (("left", LEFT), ("right", RIGHT)):
        directions[list(skeleton.limbs.get(f"{side} arm", ()))] = outward
        leg = list(skeleton.limbs.get(f"{side} leg", ()))
        directions[leg[:1]] = outward
        directions[leg[1:]] = DOWN
    return directions


def _mean_shape(start: np.ndarray, bones: np.ndarray) -> np.ndarray:
    """The mean directions (K, 3) of bones (L, K, 3) in a frame that moves with them (Procrustes).

    The frame is that in which they are nearest to the directions of the start.
    """
    bones = _unit(bones, start)
    shape = start
    for _ in range(_SHAPE_ROUNDS):
        turned_back = bones @ best_rotations(shape, bones)
        shape = _unit(turned_back.mean(axis=0), start)
    return shape @ best_rotations(shape, start[None])[0].T
