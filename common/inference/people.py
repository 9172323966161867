"""From the keypoints of a recording's people to their 3D motion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch

from common.data.detections import MAX_GAP
from common.data.skeleton import Skeleton
from common.errors import UserError
from common.inference.calibration import undistort
from common.inference.lifting import Clip, lift_clip, runs
from common.inference.missing import (
    MIN_CONFIDENCE,
    Filled,
    fill,
    longest_step,
)
from common.inference.models import LiftingModel, model_input
from common.inference.motion import Motion, PinholeCamera, State
from common.inference.place import World, level, root_path, world_of_pitch
from common.inference.smoothing import SMOOTHERS, jitter
from common.keypoints.recording import Person, Recording

# The weight of an interpolated joint beside that of a detected one when a person is placed.
INTERPOLATED_WEIGHT = 0.1
LEVELLED_FRAMES = 20_000  # at most: more do not tell more of what is up


@dataclass(frozen=True)
class LiftOptions:
    """How keypoints become motion.

    Attributes:
        min_confidence: joints below it count as not detected.
        max_gap: the longest gap that is interpolated, in seconds.
        smooth: a key of `SMOOTHERS`; None leaves the result as it is.
        pitch: degrees that the camera looks down; None to find out.
        height: metres of the camera above the ground; None to find out.
    """

    min_confidence: float = MIN_CONFIDENCE
    max_gap: float = MAX_GAP
    smooth: str | None = None
    pitch: float | None = None
    height: float | None = None


DEFAULTS = LiftOptions()


@dataclass
class Report:
    """What lifting has to tell besides the motion.

    Attributes:
        world: how the world was found, in words.
        jitter: mean acceleration of the joints in m/s^2 before and after smoothing.
        recoverable: frames without a pose that a masked model would give one.
        seconds: stage -> time that it took.
    """

    world: str = ""
    recoverable: int = 0
    jitter: tuple[float, float] = (0.0, 0.0)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, begin: float) -> None:
        """Count the time since `begin` for a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - begin


@dataclass(frozen=True)
class _Lifted:
    """A person's poses before the world is known; arrays as in `Motion`."""

    person: Person
    filled: Filled
    poses: np.ndarray
    root: np.ndarray


def lift_recording(
    recording: Recording,
    camera: PinholeCamera,
    model: LiftingModel,
    options: LiftOptions = DEFAULTS,
    *,
    record: dict[str, str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> tuple[list[Motion], Report]:
    """Lift every person of a recording.

    Args:
        recording: keypoints in pixels.
        camera: of its size.
        model: what lifts.
        options: how.
        record: plain strings for `Motion.record`.
        progress: called with the number of frames after each pass of the model.

    Returns:
        A motion for each person, and what there is to tell.

    Raises:
        UserError: the recording's joints are not those of the model, or nobody has a frame that
            can be lifted.
    """
    joints = joints_of(recording.skeleton, model.info.skeleton)
    report = Report()
    lifted = [
        _lift(_chosen(person, joints), recording.time, camera, model, options, report, progress)
        for person in recording.people
    ]
    if not any(one.filled.usable.any() for one in lifted):
        raise UserError(_nothing_to_lift(recording, lifted, options, model))
    world = _world(lifted, recording.time, model.info.skeleton, options)
    report.world = world.how
    return [
        Motion(
            name=one.person.name,
            skeleton=model.info.skeleton,
            time=recording.time,
            poses_3d=one.poses,
            root_3d=one.root,
            world_3d=world.of_camera(one.poses + one.root[:, None]).astype(np.float32),
            keypoints_2d=_shown_keypoints(one.filled),
            confidence=np.where(np.isfinite(one.person.confidence), one.person.confidence, 0),
            state=one.filled.state,
            derived=recording.derived[joints],
            camera=camera,
            record=dict(record or {}),
        )
        for one in lifted
    ], report


def joints_of(found: Skeleton, wanted: Skeleton) -> list[int]:
    """The joints of a skeleton that make another one, by name.

    Raises:
        UserError: some are missing.
    """
    missing = set(wanted.joint_names) - set(found.joint_names)
    if missing:
        raise UserError(
            f"the model lifts {wanted.num_joints} joints, the keypoints have no "
            f"{', '.join(sorted(missing))}"
        )
    return [found.joint_names.index(name) for name in wanted.joint_names]


def _chosen(person: Person, joints: Sequence[int]) -> Person:
    return Person(person.name, person.keypoints[:, joints], person.confidence[:, joints])


def _lift(
    person: Person,
    time: np.ndarray,
    camera: PinholeCamera,
    model: LiftingModel,
    options: LiftOptions,
    report: Report,
    progress: Callable[[int], object] | None,
) -> _Lifted:
    """One person's poses and path, run by run of usable frames."""
    filled = fill(
        person.keypoints,
        person.confidence,
        time,
        min_confidence=options.min_confidence,
        max_gap=options.max_gap,
        hides_joints=model.info.hides_joints,
    )
    report.recoverable += filled.recoverable
    straight = undistort(filled.keypoints, camera)
    poses = np.full((*person.keypoints.shape[:2], 3), np.nan, np.float32)
    root = np.full((len(poses), 3), np.nan, np.float32)
    smoother = SMOOTHERS[options.smooth] if options.smooth else None
    rough = [0.0, 0.0, 0.0]  # before, after, frames
    for part in runs(filled.usable, time, longest_step=longest_step(options.max_gap, time)):
        begin = perf_counter()
        of_run = model_clip(straight[part], filled.hidden, part, time, camera, model)
        poses[part] = lift_clip(model, of_run, progress=progress)
        report.add("lifting", begin)
        begin = perf_counter()
        before, count = jitter(poses[part], time[part])
        if smoother is not None:
            poses[part] = smoother(poses[part], time[part])
        after, _ = jitter(poses[part], time[part])
        rough = [a + count * b for a, b in zip(rough, (before, after, 1), strict=True)]
        weight = np.where(
            filled.state[part] == State.SEEN, person.confidence[part], INTERPOLATED_WEIGHT
        )
        weight = np.where(filled.state[part] == State.RECOVERED, 0, weight)
        root[part] = root_path(poses[part], straight[part], weight, time[part], camera)
        report.add("placing", begin)
    if rough[2]:
        report.jitter = (rough[0] / rough[2], rough[1] / rough[2])
    return _Lifted(person, filled, poses, root)


def model_clip(
    keypoints: np.ndarray,
    hidden: np.ndarray | None,
    part: slice,
    time: np.ndarray,
    camera: PinholeCamera,
    model: LiftingModel,
) -> Clip:
    """A run of frames as the model takes it; `keypoints` are of the run, the rest is whole."""
    pose = model_input(torch.from_numpy(np.ascontiguousarray(keypoints)), camera, model.info)
    mask = None if hidden is None else torch.from_numpy(hidden[part])
    return Clip(pose.float(), mask, time[part])


def _shown_keypoints(filled: Filled) -> np.ndarray:
    keypoints = filled.keypoints.astype(np.float32)
    if filled.hidden is not None:
        keypoints[filled.hidden] = np.nan
    return keypoints


def _world(
    lifted: Sequence[_Lifted], time: np.ndarray, skeleton: Skeleton, options: LiftOptions
) -> World:
    """The world of all people together."""
    absolute = [one.poses + one.root[:, None] for one in lifted]
    known = [np.isfinite(points).all((1, 2)) for points in absolute]
    points = np.concatenate([p[k] for p, k in zip(absolute, known, strict=True)])
    times = np.concatenate([time[k] for k in known])
    enough = slice(None, None, len(times) // LEVELLED_FRAMES + 1)
    points, times = points[enough].astype(np.float64), times[enough]
    if options.pitch is None:
        return level(points, times, skeleton, options.height)
    feet = points[:, [j for j, name in enumerate(skeleton.joint_names) if "foot" in name]]
    return world_of_pitch(options.pitch, options.height, feet.reshape(-1, 3))


def _nothing_to_lift(
    recording: Recording, lifted: Sequence[_Lifted], options: LiftOptions, model: LiftingModel
) -> str:
    frames = len(recording.time)
    if not lifted:
        return f"{recording.source}: no person in any of its {frames} frames"
    names = model.info.skeleton.joint_names
    seen = (lifted[0].person.confidence >= options.min_confidence).mean(0)
    rarest = ", ".join(f"{names[j]} in {seen[j]:.0%}" for j in np.argsort(seen)[:4])
    remedy = (
        "a lower --min_confidence or a longer --max_gap"
        if model.info.hides_joints
        else "--occluded (a model that fills in joints), a lower --min_confidence or a longer "
        "--max_gap"
    )
    return (
        f"{recording.source}: none of {frames} frames has all the joints that the model needs "
        f"(seen: {rarest} of the frames); try {remedy}"
    )
