"""Who is who from frame to frame: a file's own ids where these are tracks, else matching."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.optional import optional

MOST_REPEATED = 0.01  # share of poses whose id is there twice in their frame
REACH = 0.15  # how far a joint is expected to be, in body sizes, from one frame to the next
REACH_PER_FRAME = 0.2  # how much farther, relative to that, with every frame in between
LEAST_SIMILARITY = 0.3  # of two poses of the same person; 1 = in the same place
LEAST_JOINTS = 2  # seen in both poses, or they are not compared
STEADINESS = 0.5  # weight of the newest step in the velocity


def body_sizes(keypoints: np.ndarray) -> np.ndarray:
    """Diagonals (N,) of the boxes around the joints of poses (N, J, 2), NaN where not detected."""
    known = np.isfinite(keypoints)
    low = np.where(known, keypoints, np.inf).min(1)
    high = np.where(known, keypoints, -np.inf).max(1)
    return np.where(known.any((1, 2)), np.linalg.norm(np.maximum(high - low, 0), axis=-1), 0.0)


def told_tracks(frame: np.ndarray, ids: Sequence[str | None]) -> np.ndarray | None:
    """Tracks by the ids of a file.

    Args:
        frame: (N,) frame numbers.
        ids: N ids.

    Returns:
        (N,) numbers of tracks; None if the ids are no tracks: some are missing, all are 0, or the
        same is there several times in a frame.
    """
    if None in ids or set(ids) == {"0"}:
        return None
    names = {name: number for number, name in enumerate(dict.fromkeys(ids))}
    tracks = np.array([names[name] for name in ids])
    distinct = len(np.unique(np.stack([frame, tracks]), axis=1).T)
    return tracks if len(ids) - distinct <= MOST_REPEATED * len(ids) else None


@dataclass
class _Track:
    """A person as last seen: (J, 2) pose, velocity in pixels per frame, body size."""

    number: int
    frame: int
    pose: np.ndarray
    velocity: np.ndarray
    size: float

    def follow(self, frame: int, pose: np.ndarray, size: float) -> None:
        """Go on with the pose of a later frame."""
        moved = (pose - self.pose)[np.isfinite(pose[:, 0]) & np.isfinite(self.pose[:, 0])]
        if len(moved):
            step = moved.mean(0) / (frame - self.frame)
            self.velocity = STEADINESS * step + (1 - STEADINESS) * self.velocity
        # Joints that are not seen now stay where the body has carried them.
        carried = self.pose + self.velocity * (frame - self.frame)
        self.pose = np.where(np.isfinite(pose), pose, carried)
        self.frame, self.size = frame, max(size, 0.9 * self.size)


def match_tracks(frame: np.ndarray, keypoints: np.ndarray, *, max_gap: int) -> np.ndarray:
    """Tracks by the similarity of poses from frame to frame.

    Similarity is that of COCO's keypoints, a Gaussian of the joints' distances relative to the
    size of the body, to where a person would be who moved on as before; people and poses are
    paired for the largest sum (Hungarian method).

    Args:
        frame: (N,) frame numbers, in any order.
        keypoints: (N, J, 2), NaN where not detected.
        max_gap: number of frames after which someone who is not seen is forgotten.

    Returns:
        (N,) numbers of tracks.

    Raises:
        UserError: there are several people, and SciPy is not installed.
    """
    result = np.full(len(frame), -1)
    order = np.argsort(frame, kind="stable")
    sizes = body_sizes(keypoints)
    active: list[_Track] = []
    count = 0
    starts = np.flatnonzero(np.diff(frame[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        if not len(rows):
            continue
        now = int(frame[rows[0]])
        active = [track for track in active if now - track.frame <= max_gap]
        poses = keypoints[rows]
        for place, chosen in _pair(_similarity(active, now, poses, sizes[rows])):
            row = rows[chosen]
            active[place].follow(now, keypoints[row], sizes[row])
            result[row] = active[place].number
        for row in rows[result[rows] < 0]:
            still = np.zeros(2)
            active.append(_Track(count, now, keypoints[row], still, float(sizes[row])))
            result[row], count = count, count + 1
    return result


def _similarity(
    tracks: Sequence[_Track], now: int, poses: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """(T, P) from 0 to 1, of people and the poses (P, J, 2) of a frame."""
    if not tracks:
        return np.zeros((0, len(poses)))
    gaps = np.array([now - track.frame for track in tracks])
    expected = np.stack([t.pose + t.velocity * (now - t.frame) for t in tracks])
    size = np.maximum(np.array([t.size for t in tracks])[:, None], sizes)
    reach = size * REACH * (1 + REACH_PER_FRAME * (gaps - 1))[:, None] + 1e-9
    squared = ((expected[:, None] - poses) ** 2).sum(-1) / reach[..., None] ** 2
    known = np.isfinite(squared)
    likeness = np.exp(-squared / 2).sum(-1, where=known)
    common = known.sum(-1)
    return np.where(common >= LEAST_JOINTS, likeness / np.maximum(common, 1), 0)


def _pair(similarity: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows and columns with the largest sum, without those that are not similar."""
    if min(similarity.shape) == 0:
        return []
    if min(similarity.shape) == 1:
        best = np.unravel_index(similarity.argmax(), similarity.shape)
        pairs = [(int(best[0]), int(best[1]))]
    else:
        optimize = optional("scipy.optimize", needed_by="telling several people apart")
        pairs = list(zip(*optimize.linear_sum_assignment(-similarity), strict=True))
    return [(i, j) for i, j in pairs if similarity[i, j] >= LEAST_SIMILARITY]
