"""Lift frame by frame while they come in: one frame in, the pose of some frames back out."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from common.data.detections import MAX_GAP
from common.errors import UserError
from common.inference.calibration import assumed_camera, undistort
from common.inference.lifting import Clip, lift_targets
from common.inference.missing import MIN_CONFIDENCE, MIN_SEEN
from common.inference.models import LiftingModel, model_input
from common.inference.motion import PinholeCamera, State
from common.keypoints.table import mark_missing


@dataclass(frozen=True)
class StreamedPose:
    """The pose of one frame.

    Attributes:
        frame: its number, from 0.
        time: seconds.
        pose_3d: (J, 3) float32 metres relative to joint 0, along the camera's axes; NaN without a
            pose.
        state: (J,) uint8, values of `State`.
    """

    frame: int
    time: float
    pose_3d: np.ndarray
    state: np.ndarray


@dataclass(frozen=True)
class _Frame:
    """One frame: number, seconds, (J, 2) input, (J,) what is hidden of it, (J,) state."""

    number: int
    time: float
    pose: torch.Tensor
    hidden: torch.Tensor
    state: np.ndarray

    @property
    def usable(self) -> bool:
        return bool((self.state != State.EMPTY).all())


class StreamingLifter:
    """A lifter that keeps what it needs of the past: memory and time per frame are constant.

    A pose is that of `common.inference.lift_keypoints` for the frames that have come in when it is
    made: with `lag` half a window or more, for the whole recording; with less, the newest frame
    stands for those to come, as at the end of a recording. A missing joint keeps its last place
    (what comes later is not known), or is hidden from a masked model. Times are taken to go on
    evenly: after a pause, call a new lifter, since windows here reach across it.
    """

    def __init__(
        self,
        model: LiftingModel,
        *,
        lag: int,
        size: tuple[int, int],
        fps: float | None = None,
        camera: PinholeCamera | None = None,
        min_confidence: float = MIN_CONFIDENCE,
        max_gap: float = MAX_GAP,
    ) -> None:
        """Start a stream.

        Args:
            model: of `load_model`; a causal one loses nothing with a lag of 0.
            lag: N, frames between the newest one and the one whose pose comes out.
            size: width and height of the image in pixels.
            fps: frames per second; None if each frame comes with its time.
            camera: its distortion is removed; None to assume one without.
            min_confidence: joints below it count as not detected.
            max_gap: seconds for which a joint that is not detected keeps its place.

        Raises:
            UserError: an invalid lag or rate.
        """
        if lag < 0:
            raise UserError(f"lag {lag} is below 0")
        if fps is not None and not (np.isfinite(fps) and fps > 0):
            raise UserError(f"fps {fps} is not a number above 0")
        self.model, self.lag, self.fps = model, lag, fps
        self.camera = camera or assumed_camera(size)
        self.min_confidence, self.max_gap = min_confidence, max_gap
        joints = model.info.skeleton.num_joints
        self._last = np.full((joints, 2), np.nan, np.float32)  # pixels of each joint when seen
        self._seen_at = np.full(joints, -np.inf)  # seconds
        self._frames: deque[_Frame] = deque()
        self._next = 0  # number of the frame whose pose comes next

    def push(
        self,
        keypoints: np.ndarray,
        confidence: np.ndarray | None = None,
        *,
        time: float | None = None,
    ) -> StreamedPose | None:
        """Take in a frame.

        Args:
            keypoints: (J, 2) pixels, NaN or 0 0 where not detected.
            confidence: (J,) from 0 to 1; None for 1 where detected.
            time: seconds, where the stream has no fixed rate.

        Returns:
            The pose N frames back; None for the first N frames.

        Raises:
            UserError: another shape, or time that does not increase.
        """
        number = self._frames[-1].number + 1 if self._frames else 0
        stamp = self._time(number, time)
        self._frames.append(self._taken(number, stamp, keypoints, confidence))
        return self._pose() if number - self._next >= self.lag else None

    def finish(self) -> Iterator[StreamedPose]:
        """The poses of the last N frames, when no frame comes any more."""
        while self._frames and self._next <= self._frames[-1].number:
            yield self._pose()

    def _time(self, number: int, time: float | None) -> float:
        if (time is None) == (self.fps is None):
            raise UserError("a stream has either a rate (fps) or a time for each frame")
        stamp = float(time) if time is not None else number / (self.fps or 1)
        if not np.isfinite(stamp) or (self._frames and stamp <= self._frames[-1].time):
            raise UserError(f"time {stamp} of frame {number} does not increase")
        return stamp

    def _taken(
        self, number: int, time: float, keypoints: np.ndarray, confidence: np.ndarray | None
    ) -> _Frame:
        """A frame with its missing joints dealt with."""
        joints = self.model.info.skeleton.num_joints
        points = np.asarray(keypoints, dtype=np.float32)
        given = None if confidence is None else np.asarray(confidence, dtype=np.float32)
        if points.shape != (joints, 2):
            raise UserError(f"keypoints have shape {points.shape}, ({joints}, 2) is needed")
        if given is not None and given.shape != (joints,):
            raise UserError(f"confidences have shape {given.shape}, ({joints},) is needed")
        points, sure = mark_missing(points, given)
        seen = (sure > 0) & (sure >= self.min_confidence)
        self._seen_at[seen] = time
        self._last[seen] = points[seen]
        held = time - self._seen_at <= self.max_gap + 1e-6
        state = np.where(seen, State.SEEN, State.INTERPOLATED).astype(np.uint8)
        hidden = np.zeros(joints, bool)
        if self.model.info.hides_joints and seen.sum() >= min(MIN_SEEN, joints):
            hidden, state = ~seen, np.where(seen, State.SEEN, State.RECOVERED).astype(np.uint8)
        elif not (seen | held).all():
            state[:] = State.EMPTY
        straight = torch.from_numpy(undistort(self._last, self.camera).astype(np.float32))
        pose = model_input(straight, self.camera, self.model.info)
        return _Frame(number, time, pose, torch.from_numpy(hidden), state)

    def _pose(self) -> StreamedPose:
        """The pose of the next frame, with the run of usable frames around it as its window."""
        at = self._next - self._frames[0].number
        frame = self._frames[at]
        lifted = np.full((len(frame.state), 3), np.nan, np.float32)
        if frame.usable:
            first = last = at
            while first > 0 and self._frames[first - 1].usable:
                first -= 1
            while last + 1 < len(self._frames) and self._frames[last + 1].usable:
                last += 1
            run = [self._frames[i] for i in range(first, last + 1)]
            hidden = torch.stack([f.hidden for f in run])
            clip = Clip(
                torch.stack([f.pose for f in run]),
                hidden if self.model.info.hides_joints else None,
                np.array([f.time for f in run]),
            )
            lifted = lift_targets(self.model, clip, np.array([at - first])).numpy()[0]
        self._next += 1
        self._forget(frame.time)
        return StreamedPose(frame.number, frame.time, lifted, frame.state)

    def _forget(self, time: float) -> None:
        """Drop frames that no later window reaches; one before the earliest sample is kept."""
        earliest = time + self.model.info.seconds[0]
        while (
            len(self._frames) > 1
            and self._frames[1].time <= earliest
            and (self._frames[0].number < self._next - 1)
        ):
            self._frames.popleft()
