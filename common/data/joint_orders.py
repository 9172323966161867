"""Joint orders of detectors and files, and the way from each to ours, Human3.6M's 17 joints.

An order is declared by the names of its joints; the way to ours follows from the names. Each joint
of ours has one or more ways, weighted sums of joints of the order, the preferred one first: the
next is taken in frames where a joint that the first needs is missing.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.data.skeleton import H36M_16, H36M_17, Skeleton

# A weighted sum of joints: name, or number in the order, -> weight.
NamedSum = Mapping[str, float]
Sum = tuple[tuple[int, float], ...]

SIDES = ("left", "right")

# Distance of the head's top from the middle of the shoulders, in units of that of the ears' middle,
# the eyes' middle or the nose. Fitted, as medians: head's top to shoulders is 0.646 of the trunk
# (shoulders to hips) in the 6,610 poses of dataset/sample; ears, eyes and nose are 0.380, 0.449 and
# 0.425 of it in MediaPipe's joints of cameras 1, 2 and 4 of the PyPI package pose2sim 0.10.49's
# Demo_SinglePerson, triangulated over 100 frames.
BEYOND_EARS, BEYOND_EYES, BEYOND_NOSE = 1.70, 1.44, 1.52
# The nose on the way from thorax to head: 0.47 in the median of the same sample's poses.
NOSE_ON_NECK = 0.5


def _mean(*names: str) -> NamedSum:
    return {name: 1 / len(names) for name in names}


def _beyond(ratio: float, *names: str) -> NamedSum:
    """From the thorax towards the mean of some joints, and beyond."""
    return {"thorax": 1 - ratio} | {name: ratio / len(names) for name in names}


# Joint of ours -> sums of joints of an order (or of ours, which have ways of their own).
RECIPES: dict[str, tuple[NamedSum, ...]] = {
    "hip": (_mean("mid hip"), _mean("left hip", "right hip")),
    "spine": (_mean("mid spine"), _mean("hip", "thorax")),
    "thorax": (_mean("neck base"), _mean("left shoulder", "right shoulder")),
    "neck": (_mean("nose"), {"thorax": 1 - NOSE_ON_NECK, "head top": NOSE_ON_NECK}),
    "head": (
        _mean("head top"),
        _beyond(BEYOND_EARS, "left ear", "right ear"),
        _beyond(BEYOND_EARS, "left ear"),
        _beyond(BEYOND_EARS, "right ear"),
        _beyond(BEYOND_EYES, "left eye", "right eye"),
        _beyond(BEYOND_NOSE, "nose"),
    ),
    "left foot": (_mean("left ankle"),),
    "right foot": (_mean("right ankle"),),
}
DERIVED_FROM = ("hip", "thorax")  # joints of ours that recipes of others refer to

# A joint -> the joints it may hang on, the first that an order has; {} is either side.
BONES: dict[str, tuple[str, ...]] = {
    "mid hip": ("mid spine", "neck base"),
    "mid spine": ("neck base",),
    "nose": ("neck base",),
    "upper neck": ("neck base",),
    "head top": ("upper neck", "nose", "neck base"),
    "{} eye inner": ("nose",),
    "{} eye": ("{} eye inner", "nose"),
    "{} eye outer": ("{} eye",),
    "{} ear": ("{} eye outer", "{} eye"),
    "{} mouth": ("nose",),
    "{} shoulder": ("neck base", "nose"),
    "{} elbow": ("{} shoulder",),
    "{} wrist": ("{} elbow",),
    "{} pinky": ("{} wrist",),
    "{} index": ("{} wrist",),
    "{} thumb": ("{} wrist",),
    "{} hip": ("mid hip", "{} shoulder"),
    "{} knee": ("{} hip",),
    "{} ankle": ("{} knee",),
    "{} heel": ("{} ankle",),
    "{} big toe": ("{} ankle",),
    "{} small toe": ("{} big toe",),
}
# Names of ours -> of the other orders.
OUR_NAMES = {
    "hip": "mid hip",
    "spine": "mid spine",
    "thorax": "neck base",
    "neck": "nose",
    "head": "head top",
    "left foot": "left ankle",
    "right foot": "right ankle",
}


@dataclass(frozen=True)
class JointOrder:
    """A joint order, and how its poses become ours.

    Attributes:
        name: of the layout that it belongs to, see `common.data.layouts`.
        skeleton: its joints.
        names: of its joints, in the words of `RECIPES`.
    """

    name: str
    skeleton: Skeleton
    names: tuple[str, ...]

    @cached_property
    def ways(self) -> tuple[tuple[Sum, ...], ...]:
        """For each joint of ours the sums of joints of this order that give it, best first."""
        return tuple(tuple(self._sums(joint)) for joint in H36M_17.joint_names)

    @cached_property
    def derived(self) -> np.ndarray:
        """(17,) bool, the joints of ours that this order does not have."""
        return np.array([len(sums[0]) > 1 for sums in self.ways])

    def _sums(self, joint: str) -> list[Sum]:
        """The sums that give a joint of ours, of what this order has."""
        found: list[Sum] = []
        for recipe in RECIPES.get(joint, (_mean(joint),)):
            options = [self._options(name) for name in recipe]
            for combination in itertools.product(*options):
                weights: dict[int, float] = {}
                for part, factor in zip(combination, recipe.values(), strict=True):
                    for source, weight in part:
                        weights[source] = weights.get(source, 0.0) + factor * weight
                found.append(tuple(weights.items()))
        return found

    def _options(self, name: str) -> list[Sum]:
        if name in self.names:
            return [((self.names.index(name), 1.0),)]
        return self._sums(name) if name in DERIVED_FROM else []

    def to_ours(self, poses: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert poses.

        Args:
            poses: (L, J, C) of this order, NaN where not known.
            confidence: (L, J).

        Returns:
            (L, 17, C) in our order, NaN where a joint that is needed is not known; (L, 17), the
            least confidence of the joints that are needed, 0 where not known.
        """
        ours = np.full((len(poses), len(self.ways), poses.shape[2]), np.nan, poses.dtype)
        sure = np.zeros(ours.shape[:2], confidence.dtype)
        for joint, sums in enumerate(self.ways):
            for parts in sums:
                missing = np.isnan(ours[:, joint]).any(-1)
                if not missing.any():
                    break
                sources, weights = [s for s, _ in parts], [w for _, w in parts]
                known = missing & np.isfinite(poses[:, sources]).all((1, 2))
                values = np.tensordot(weights, poses[known][:, sources], axes=(0, 1))
                ours[known, joint] = values
                sure[known, joint] = confidence[known][:, sources].min(1)
        return ours, sure


def bones(names: Sequence[str]) -> tuple[int, ...]:
    """Parents of the joints of an order, as a tree with joint 0 as its root."""
    neighbours: dict[int, list[int]] = {joint: [] for joint in range(len(names))}
    for joint, name in enumerate(names):
        side = name.split()[0]
        pattern = name.replace(side, "{}", 1) if side in SIDES else name
        above = [up.format(side) for up in BONES.get(pattern, ())]
        up = next((names.index(other) for other in above if other in names), None)
        if up is not None:
            neighbours[joint].append(up)
            neighbours[up].append(joint)
    parents = {0: -1}
    queue = [0]
    while queue:
        joint = queue.pop()
        for other in neighbours[joint]:
            if other not in parents:
                parents[other] = joint
                queue.append(other)
    return tuple(parents[joint] for joint in range(len(names)))


def _order(layout: str, skeleton_name: str, names: str) -> JointOrder:
    """An order of joints named "l" or "r" and a part, or a part in the middle, comma-separated."""
    full = tuple(
        name.replace("l ", "left ", 1)
        if name.startswith("l ")
        else name.replace("r ", "right ", 1)
        if name.startswith("r ")
        else name
        for name in (part.strip() for part in names.split(","))
    )
    left = tuple(joint for joint, name in enumerate(full) if name.startswith("left "))
    right = tuple(full.index(full[joint].replace("left", "right")) for joint in left)
    skeleton = Skeleton(skeleton_name, full, bones(full), left, right)
    return JointOrder(layout, skeleton, full)


def _ours(skeleton: Skeleton) -> JointOrder:
    names = tuple(OUR_NAMES.get(name, name) for name in skeleton.joint_names)
    return JointOrder("h36m", skeleton, names)


COCO_NAMES = (
    "nose, l eye, r eye, l ear, r ear, l shoulder, r shoulder, l elbow, r elbow, l wrist, r wrist, "
    "l hip, r hip, l knee, r knee, l ankle, r ankle"
)
ORDERS = (
    _ours(H36M_17),
    _ours(H36M_16),
    _order("coco", "coco_17", COCO_NAMES),
    _order(
        "halpe26",
        "halpe_26",
        f"{COCO_NAMES}, head top, neck base, mid hip, l big toe, r big toe, l small toe, "
        "r small toe, l heel, r heel",
    ),
    _order(
        "body25",
        "body_25",
        "nose, neck base, r shoulder, r elbow, r wrist, l shoulder, l elbow, l wrist, mid hip, "
        "r hip, r knee, r ankle, l hip, l knee, l ankle, r eye, l eye, r ear, l ear, l big toe, "
        "l small toe, l heel, r big toe, r small toe, r heel",
    ),
    _order(
        "openpose18",
        "openpose_18",
        "nose, neck base, r shoulder, r elbow, r wrist, l shoulder, l elbow, l wrist, r hip, "
        "r knee, r ankle, l hip, l knee, l ankle, r eye, l eye, r ear, l ear",
    ),
    _order(
        "mpii",
        "mpii_16",
        "r ankle, r knee, r hip, l hip, l knee, l ankle, mid hip, neck base, upper neck, head top, "
        "r wrist, r elbow, r shoulder, l shoulder, l elbow, l wrist",
    ),
    _order(
        "mediapipe",
        "mediapipe_33",
        "nose, l eye inner, l eye, l eye outer, r eye inner, r eye, r eye outer, l ear, r ear, "
        "l mouth, r mouth, l shoulder, r shoulder, l elbow, r elbow, l wrist, r wrist, l pinky, "
        "r pinky, l index, r index, l thumb, r thumb, l hip, r hip, l knee, r knee, l ankle, "
        "r ankle, l heel, r heel, l big toe, r big toe",
    ),
)
