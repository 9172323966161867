"""Joint orders of 2D files: what a file's metadata says, and the way to our order.

A file of 2D poses may hold `metadata` with `layout_name`, `num_joints` and `keypoints_symmetry`
(VideoPose3D). Poses in another order than ours are converted where the way is known; reading them
as they stand would give wrong numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from common.data.joint_orders import ORDERS, JointOrder
from common.data.skeleton import H36M_16, H36M_17
from common.errors import UserError, shown

HIP = 0  # of ours


@dataclass(frozen=True)
class Layout:
    """A joint order that 2D files may have.

    Attributes:
        name: as in `layout_name`.
        orders: with different numbers of joints.
    """

    name: str
    orders: tuple[JointOrder, ...]

    @cached_property
    def pairs(self) -> dict[int, frozenset[frozenset[int]]]:
        """Number of joints that it may have -> its mirror pairs."""
        skeletons = [order.skeleton for order in self.orders]
        return {s.num_joints: _pairs(s.left, s.right) for s in skeletons}

    @property
    def is_ours(self) -> bool:
        """Whether poses are in our order as they are, with 17 or 16 joints."""
        return self.name == "h36m"

    def to_ours(self, poses: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Poses (L, J, C) and confidences (L, J) in our order, see `JointOrder.to_ours`."""
        return (poses, confidence) if self.is_ours else self.orders[0].to_ours(poses, confidence)

    def pose_to_ours(self, pose: np.ndarray) -> np.ndarray:
        """One pose (J, C) of this order -> (J', C) of ours."""
        return self.to_ours(pose[None], np.ones((1, len(pose))))[0][0]


def _pairs(left: Sequence[int], right: Sequence[int]) -> frozenset[frozenset[int]]:
    return frozenset(frozenset(pair) for pair in zip(left, right, strict=True))


LAYOUTS = {
    name: Layout(name, tuple(order for order in ORDERS if order.name == name))
    for name in dict.fromkeys(order.name for order in ORDERS)
}
H36M, COCO = LAYOUTS["h36m"], LAYOUTS["coco"]


def layout_of(metadata: Any, where: str) -> Layout | None:
    """The joint order that the metadata of a 2D file tells.

    Args:
        metadata: the entry of the file, whatever it is; None if there is none.
        where: the file, for messages.

    Returns:
        The order; None if nothing is told.

    Raises:
        UserError: another order than those known, or entries that contradict each other.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise UserError(f"{where}: 'metadata' is not a dictionary")
    name, symmetry = metadata.get("layout_name"), metadata.get("keypoints_symmetry")
    number = metadata.get("num_joints")
    by_name = None
    if name is not None:
        if not isinstance(name, str) or name not in LAYOUTS:
            raise UserError(
                f"{where}: the layout {shown(name)!r} of its metadata is not one of "
                f"{', '.join(LAYOUTS)}; convert the joints to Human3.6M's order"
            )
        by_name = LAYOUTS[name]
    pairs = _read_pairs(symmetry, where)
    by_pairs = [layout for layout in LAYOUTS.values() if pairs in layout.pairs.values()]
    if pairs is not None and (not by_pairs or by_name not in (None, by_pairs[0])):
        told = f"; its layout_name is {by_name.name!r}" if by_name else ""
        raise UserError(
            f"{where}: 'keypoints_symmetry' {shown(symmetry)} of its metadata is that of "
            f"{by_pairs[0].name if by_pairs else 'no known layout'}{told}"
        )
    layout = by_name or (by_pairs[0] if by_pairs else None)
    if layout is not None and number is not None and number not in layout.pairs:
        raise UserError(
            f"{where}: 'num_joints' {shown(number)} of its metadata does not fit the layout "
            f"{layout.name!r} of {' or '.join(map(str, layout.pairs))} joints"
        )
    return layout


def _read_pairs(symmetry: Any, where: str) -> frozenset[frozenset[int]] | None:
    if symmetry is None:
        return None
    try:
        left, right = ([int(joint) for joint in side] for side in symmetry)
        return _pairs(left, right)
    except (TypeError, ValueError):
        raise UserError(
            f"{where}: 'keypoints_symmetry' of its metadata is not two lists of as many joints"
        ) from None


def implausible(poses: np.ndarray) -> str:
    """Why 2D poses (L, J, 2), y down, are hardly in our order; "" if they may be.

    For files without metadata: heads are above hips in most frames, and the bones of both sides
    are of about the same length.
    """
    skeleton = H36M_17 if poses.shape[1] == 17 else H36M_16
    head = skeleton.joint_names.index("head")
    with np.errstate(invalid="ignore"):
        above = (poses[:, head, 1] < poses[:, HIP, 1]).mean()
    if above < 0.5:
        return f"the head is above the hip in {above:.0%} of the frames only"
    parents = np.array(skeleton.parents)
    ratios = []
    for left, right in zip(skeleton.left, skeleton.right, strict=True):
        lengths = [
            np.linalg.norm(poses[:, joint] - poses[:, parents[joint]], axis=-1).sum()
            for joint in (left, right)
        ]
        ratios.append((min(lengths) + 1e-9) / (max(lengths) + 1e-9))
    if np.median(ratios) < 0.5:
        return "the bones of the left and the right side have very different lengths"
    return ""
