"""Left and right joints that a detector exchanges for some frames, put right again.

Detectors of single frames take a body's front for its back now and then: all left joints jump to
where the right ones were, for half a second, with high confidence. Exchanged back, they move on
smoothly; this is how such frames are found.
"""

import numpy as np

from common.data.skeleton import Skeleton

LARGEST_STEP = 0.1  # of the body's size: a joint that jumps farther counts no more than this
SWITCH_COST = 0.2  # of beginning or ending an exchange, in body sizes, added over all joints
FRAME_COST = 0.01  # of a frame that is exchanged


def undo_swaps(
    keypoints: np.ndarray, confidence: np.ndarray, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exchange left and right in the frames where joints then move most smoothly.

    The sequence of exchanged and plain frames that costs least is found by dynamic programming
    (Viterbi 1967): each step costs how far the joints move, each change of sides and each
    exchanged frame a little more, so that the sides of most frames are believed.

    Args:
        keypoints: (L, J, 2) pixels, NaN where not detected.
        confidence: (L, J) from 0 to 1, 0 where not detected.
        skeleton: tells left from right.

    Returns:
        (L, J, 2) and (L, J) in the same units, and (L,) bool, the frames that were exchanged.
    """
    sides = [*skeleton.left, *skeleton.right]
    order = list(skeleton.mirror_order)
    length = len(keypoints)
    size = _body_size(keypoints)
    if length < 3 or size <= 0:
        return keypoints, confidence, np.zeros(length, dtype=bool)
    weight = np.sqrt(confidence[1:, sides] * confidence[:-1, sides])
    moved = [
        _moves(keypoints[1:][:, joints], keypoints[:-1], sides, weight, size)
        for joints in (range(len(order)), order)
    ]  # by plain, and by changing sides
    swapped = _cheapest(*moved)
    result, of_result = keypoints.copy(), confidence.copy()
    result[swapped] = keypoints[swapped][:, order]
    of_result[swapped] = confidence[swapped][:, order]
    return result, of_result, swapped


def _body_size(keypoints: np.ndarray) -> float:
    """The median over frames (L, J, 2) of what a body measures across, pixels; 0 if not seen."""
    seen = keypoints[np.isfinite(keypoints).all(-1).any(-1)]
    if not len(seen):
        return 0.0
    extent = np.nanmax(seen, axis=1) - np.nanmin(seen, axis=1)  # (L', 2)
    return float(np.median(np.linalg.norm(extent, axis=-1)))


def _moves(
    later: np.ndarray, earlier: np.ndarray, sides: list[int], weight: np.ndarray, size: float
) -> np.ndarray:
    """(L - 1,) how far the joints move from each frame to the next, in body sizes."""
    steps = np.linalg.norm(later[:, sides] - earlier[:, sides], axis=-1) / size
    return (np.minimum(np.nan_to_num(steps), LARGEST_STEP) * weight).sum(-1)


def _cheapest(keep: np.ndarray, change: np.ndarray) -> np.ndarray:
    """(L,) bool, the exchanged frames, given the costs (L - 1,) of the steps between frames."""
    cost = np.array([0.0, FRAME_COST])
    origin = np.zeros((len(keep), 2), dtype=int)
    for step, (same, other) in enumerate(zip(keep, change + SWITCH_COST, strict=True)):
        ways = cost[:, None] + np.array([[same, other], [other, same]])  # from, to
        origin[step] = ways.argmin(0)
        cost = ways.min(0) + [0.0, FRAME_COST]
    state = int(cost.argmin())
    states = [state]
    for came_from in origin[::-1]:
        state = int(came_from[state])
        states.append(state)
    return np.array(states[::-1], dtype=bool)
