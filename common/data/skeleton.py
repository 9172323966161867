"""Skeletons: the joints of a pose, how they hang together, and which mirror each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

H36M_32_TO_17 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
JOINT_ABSENT_FROM_16 = 9
SIDE_COLOURS = {"left": "tab:blue", "right": "tab:orange", "middle": "0.3"}


@dataclass(frozen=True)
class Skeleton:
    """Names, bones and mirror pairs of a joint order; joint 0 is the root.

    Attributes:
        name: unique, also where two skeletons have equally many joints.
        joint_names: J names.
        parents: J joint numbers, -1 for the root.
        left: joints of the left side.
        right: their mirror images, in the same order.
        limbs: name of a limb -> its joints; the limbs that completion hides.
        colours: of the "left", "right" and "middle" bones in pictures.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    limbs: Mapping[str, tuple[int, ...]] = field(default_factory=dict, compare=False)
    colours: Mapping[str, str] = field(default_factory=lambda: SIDE_COLOURS, compare=False)

    @property
    def num_joints(self) -> int:
        """J."""
        return len(self.joint_names)

    @cached_property
    def mirror_order(self) -> tuple[int, ...]:
        """For each joint, the joint whose place it takes in the mirrored pose."""
        order = list(range(self.num_joints))
        for left, right in zip(self.left, self.right, strict=True):
            order[left], order[right] = right, left
        return tuple(order)

    def colour(self, joint: int) -> str:
        """The colour of the bone that leads to a joint."""
        if joint in self.left:
            return self.colours["left"]
        return self.colours["right" if joint in self.right else "middle"]

    def without(self, joint: int, *, name: str) -> "Skeleton":
        """The skeleton with one joint dropped, its children attached to its parent."""
        kept = [j for j in range(self.num_joints) if j != joint]
        number = {old: new for new, old in enumerate(kept)} | {-1: -1}
        parents = [self.parents[joint] if p == joint else p for p in self.parents]
        return Skeleton(
            name=name,
            joint_names=tuple(self.joint_names[j] for j in kept),
            parents=tuple(number[parents[j]] for j in kept),
            left=tuple(number[j] for j in self.left if j != joint),
            right=tuple(number[j] for j in self.right if j != joint),
            limbs={
                limb: tuple(number[j] for j in joints if j != joint)
                for limb, joints in self.limbs.items()
            },
            colours=self.colours,
        )


H36M_17 = Skeleton(
    name="h36m_17",
    joint_names=(
        "hip",
        "right hip",
        "right knee",
        "right foot",
        "left hip",
        "left knee",
        "left foot",
        "spine",
        "thorax",
        "neck",
        "head",
        "left shoulder",
        "left elbow",
        "left wrist",
        "right shoulder",
        "right elbow",
        "right wrist",
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    left=(4, 5, 6, 11, 12, 13),
    right=(1, 2, 3, 14, 15, 16),
    limbs={
        "right leg": (1, 2, 3),
        "left leg": (4, 5, 6),
        "left arm": (11, 12, 13),
        "right arm": (14, 15, 16),
    },
)
H36M_16 = H36M_17.without(JOINT_ABSENT_FROM_16, name="h36m_16")
SKELETONS = {skeleton.name: skeleton for skeleton in (H36M_17, H36M_16)}
