"""What can be wrong with a motion of the 17 joints; such frames are left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.data.skeleton import H36M_17
from common.log import LOG
from dataset.motion_clips import FRAME_RATE, MotionClip

# Bones between joints that a skeleton's own bone joins, and the way from an ankle up to the head.
RIGID = ((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (11, 12), (12, 13), (14, 15), (15, 16))
LEGS, TRUNK = ((1, 2), (2, 3), (4, 5), (5, 6)), ((0, 7), (7, 8), (8, 9), (9, 10))
FEET, HEAD = (3, 6), 10
ABOVE_ANKLES = 0.955  # of a body's height, the part from the ankles up
SMALLEST, LARGEST = 1.2, 2.2  # metres
BONE_TOLERANCE, BONE_ROUNDING = 0.02, 0.004  # of a bone's length; metres, if that is more
FASTEST = 15.0  # metres per second; hands that box or throw reach 12
STILL, STILL_SECONDS = 1e-4, 0.5  # metres from frame to frame; for so long
GROUND_PERCENTILE = 10  # of the height of the lowest joint
BELOW_GROUND, ABOVE_GROUND = 0.5, 2.5  # metres: through the floor; higher than one climbs or leaps
ALONG = 0.8  # of the height: the head so far from the feet along another axis is no crawling body
UPSIDE_DOWN = 0.4  # of the height: the head so far below the feet, on average
SHORTEST_SECONDS = 0.5  # of a part that is kept


@dataclass(frozen=True)
class Fault:
    """Something that is wrong.

    Attributes:
        reason: what.
        frames: (L,) bool, where.
    """

    reason: str
    frames: np.ndarray

    def __str__(self) -> str:
        """The reason and the first frames, for a message."""
        found = list(stretches(self.frames))
        start, stop = found[0]
        first = f"frame {start}" if stop - start == 1 else f"frames {start} to {stop - 1}"
        return f"{first}{' and others' if len(found) > 1 else ''}: {self.reason}"


def sound_spans(clip: MotionClip) -> list[tuple[int, int]]:
    """Where nothing is wrong with a clip; what is left out is logged.

    Args:
        clip: of any length; NaN and infinity are no error.

    Returns:
        The first frame and the one after the last of each sound part, in order; all frames of a
        sound clip, however short it is.
    """
    reason = wrong_body(clip.poses)
    if reason:
        LOG.warning("left out %s: %s", clip.name, reason)
        return []
    poses = np.where(np.isfinite(clip.poses), clip.poses, np.nan)
    found = [fault for fault in faults(poses) if fault.frames.any()]
    jumping = np.flatnonzero(_steps(poses) > FASTEST / FRAME_RATE) + 1
    if not found and not len(jumping):
        return [(0, len(poses))]
    bad = np.any([np.zeros(len(poses), bool), *(fault.frames for fault in found)], axis=0)
    spans = [
        span
        for start, stop in stretches(~bad)
        for span in _cut(start, stop, jumping)
        if span[1] - span[0] >= SHORTEST_SECONDS * FRAME_RATE
    ]
    kept = sum(stop - start for start, stop in spans)
    reasons = [str(fault) for fault in found]
    if len(jumping):
        reasons.append(f"frame {jumping[0]}{' and others' if len(jumping) > 1 else ''}: a jump")
    LOG.warning(
        "%s: %d of %d frames left out, %d parts kept (%s)",
        *(clip.name, len(poses) - kept, len(poses), len(spans), "; ".join(reasons)),
    )
    return spans


def parts_of(clip: MotionClip, spans: Sequence[tuple[int, int]]) -> Iterator[MotionClip]:
    """The parts of a clip, named `<name> part <n>` from 1; the clip itself if that is all of it."""
    if list(spans) == [(0, len(clip.poses))]:
        yield clip
        return
    for number, (start, stop) in enumerate(spans, start=1):
        yield replace(clip, name=f"{clip.name} part {number}", poses=clip.poses[start:stop])


def _cut(start: int, stop: int, places: np.ndarray) -> Iterator[tuple[int, int]]:
    """The stretches that cuts before some frames leave of one stretch."""
    bounds = [start, *(int(place) for place in places if start < place < stop), stop]
    yield from zip(bounds, bounds[1:], strict=False)


def body_height(poses: np.ndarray) -> float:
    """How tall a body is, by the median lengths of its bones: whatever it does.

    Args:
        poses: (L, 17, 3), any unit.

    Returns:
        Height from the soles to the top of the head, in the same unit.
    """
    leg = sum(_length(poses, *bone) for bone in LEGS) / 2
    return (leg + sum(_length(poses, *bone) for bone in TRUNK)) / ABOVE_ANKLES


def _length(poses: np.ndarray, joint: int, other: int) -> float:
    return float(np.median(np.linalg.norm(poses[:, joint] - poses[:, other], axis=-1)))


def upward(poses: np.ndarray) -> np.ndarray:
    """(3,) mean direction from the feet to the head, relative to the body's height.

    Args:
        poses: (L, 17, 3), any unit, any axes.
    """
    return (poses[:, HEAD] - poses[:, FEET].mean(1)).mean(0) / max(body_height(poses), 1e-9)


def wrong_body(poses: np.ndarray) -> str | None:
    """Why no frame of a motion can be used, if so.

    Args:
        poses: (L, 17, 3) metres, z up.

    Returns:
        The reason: no numbers, a height that nobody has, or a body that does not stand along z.
    """
    finite = poses[np.isfinite(poses).all((1, 2))]
    if not len(finite):
        return "no frame has numbers for all joints"
    height = body_height(finite)
    if not SMALLEST <= height <= LARGEST:
        return f"the body is {height:.3g} m tall, {SMALLEST} to {LARGEST} m are needed"
    direction = upward(finite)
    axis = int(np.abs(direction).argmax())
    if (np.abs(direction[axis]) > ALONG and axis != 2) or direction[2] < -UPSIDE_DOWN:
        axis = 2 if direction[2] < -UPSIDE_DOWN else axis
        sign = "-" if direction[axis] < 0 else ""
        return f"the body stands along {sign}{'xyz'[axis]}, z up is needed"
    return None


def faults(poses: np.ndarray) -> Iterator[Fault]:
    """What may be wrong with frames of a motion.

    Args:
        poses: (L, 17, 3) metres, z up, at `FRAME_RATE`; what is no number is NaN, in some frames.
    """
    finite = np.isfinite(poses).all((1, 2))
    yield Fault("not numbers", ~finite)
    yield _changing_bones(poses, finite)
    lowest = poses[..., 2].min(1)
    ground = np.percentile(lowest[finite], GROUND_PERCENTILE)
    yield Fault("below the ground", lowest < ground - BELOW_GROUND)
    yield Fault("far above the ground", lowest > ground + ABOVE_GROUND)
    yield Fault("frozen", _in_long_runs(_steps(poses) <= STILL))


def _changing_bones(poses: np.ndarray, finite: np.ndarray) -> Fault:
    """Where a bone is longer or shorter than usual; the reason names the one that is most so."""
    frames, worst, reason = np.zeros(len(poses), bool), 0.0, ""
    for joint, other in RIGID:
        length = np.linalg.norm(poses[:, joint] - poses[:, other], axis=-1)
        usual = float(np.median(length[finite]))
        change = np.abs(length - usual)
        frames |= change > max(BONE_TOLERANCE * usual, BONE_ROUNDING)
        largest = float(np.nanmax(change)) / max(usual, 1e-9)
        if largest > worst:
            names = f"{H36M_17.joint_names[joint]} to {H36M_17.joint_names[other]}"
            worst, reason = largest, f"{names} is not {usual:.3f} m (by {100 * largest:.0f} %)"
    return Fault(reason, frames)


def _steps(poses: np.ndarray) -> np.ndarray:
    """(L - 1,) metres that the fastest joint moves from each frame to the next."""
    return np.linalg.norm(np.diff(poses, axis=0), axis=-1).max(1, initial=0)


def _in_long_runs(still: np.ndarray) -> np.ndarray:
    """(L,) frames between steps (L - 1,) without motion that follow each other for long."""
    frames = np.zeros(len(still) + 1, dtype=bool)
    for start, stop in stretches(still):
        if stop - start >= STILL_SECONDS * FRAME_RATE:
            frames[start : stop + 1] = True
    return frames


def stretches(chosen: np.ndarray) -> Iterator[tuple[int, int]]:
    """First frame and the one after the last of each run of True in (L,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
