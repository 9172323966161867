"""The 17-joint skeleton of Human3.6M and its 16-joint version without the neck."""

from dataclasses import dataclass
from functools import cached_property

H36M_32_TO_17 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
JOINT_ABSENT_FROM_16 = 9


@dataclass(frozen=True)
class Skeleton:
    """Names, bones and mirror pairs of a joint order; joint 0 is the root.

    Attributes:
        joint_names: J names.
        parents: J joint numbers, -1 for the root.
        left: joints of the left side.
        right: their mirror images, in the same order.
    """

    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]

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

    def without(self, joint: int) -> "Skeleton":
        """The skeleton with one joint left out, its children hung on its parent."""
        kept = [j for j in range(self.num_joints) if j != joint]
        number = {old: new for new, old in enumerate(kept)} | {-1: -1}
        parents = [self.parents[joint] if p == joint else p for p in self.parents]
        return Skeleton(
            joint_names=tuple(self.joint_names[j] for j in kept),
            parents=tuple(number[parents[j]] for j in kept),
            left=tuple(number[j] for j in self.left),
            right=tuple(number[j] for j in self.right),
        )


SKELETON_17 = Skeleton(
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
)
SKELETONS = {17: SKELETON_17, 16: SKELETON_17.without(JOINT_ABSENT_FROM_16)}
