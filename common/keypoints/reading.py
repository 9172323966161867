"""From a path to a recording: any keypoint file or video that people bring."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from common.data.joint_orders import JointOrder
from common.data.layouts import LAYOUTS, implausible
from common.data.skeleton import H36M_17
from common.errors import UserError
from common.keypoints.formats.registry import read_table
from common.keypoints.options import ReadOptions
from common.keypoints.people import gather
from common.keypoints.recording import Person, Recording
from common.keypoints.sizes import guess_size, wrong_size
from common.keypoints.source import Source
from common.keypoints.swaps import undo_swaps
from common.keypoints.table import PoseTable
from common.keypoints.tracks import match_tracks, told_tracks
from common.keypoints.video import Video, open_video
from common.log import LOG

ASSUMED_FPS = 30.0
BRIDGED = 1.0  # seconds for which someone who is not seen is looked for
SHORTEST_STAY = 0.2  # seconds; what is seen shorter is no person
# Whole-body orders of so many joints begin with those of a smaller one.
LARGER_ORDERS = {133: ("coco", 17), 136: ("halpe26", 26)}

__all__ = ["ReadOptions", "read_recording"]


def read_recording(path: Path, options: ReadOptions | None = None) -> Recording:
    """Read keypoints of a file or folder, or detect them in a video.

    Args:
        path: the file or folder.
        options: what the user says about it.

    Returns:
        Every person, the one seen longest and largest first.

    Raises:
        UserError: it cannot be read, is of no known format, or lacks something that `options` has
            to say.
    """
    options = options or ReadOptions()
    _check_options(options)
    source = Source(path)
    table = read_table(source, options)
    order, table = _joint_order(table, options, path)
    video = open_video(options.video) if options.video else None
    size = _image_size(table, options, video, path)
    table = _in_pixels(table, size, path)
    time = _frame_times(table, options, video, path)
    people = _people(table, order, time, path)
    if options.undo_swaps:
        people = tuple(map(_with_sides_put_right, people))
    _warn_of_implausible_order(people[0], order, path)
    return Recording(
        source=path,
        people=people,
        time=time,
        size=size,
        skeleton=H36M_17,
        layout=order.name,
        derived=order.derived,
        video=options.video or table.video,
    )


def _check_options(options: ReadOptions) -> None:
    """Require sensible values.

    Raises:
        UserError: names the first that is not.
    """
    if options.layout is not None and options.layout not in LAYOUTS:
        raise UserError(f"--layout {options.layout!r} is not one of {', '.join(LAYOUTS)}")
    if options.size is not None and min(options.size) < 1:
        raise UserError(f"--size {options.size[0]}x{options.size[1]}: pixels, at least 1, needed")
    if options.fps is not None and not 0 < options.fps < np.inf:
        raise UserError(f"--fps {options.fps:g}: a positive number is needed")


def _joint_order(
    table: PoseTable, options: ReadOptions, path: Path
) -> tuple[JointOrder, PoseTable]:
    """The order of the joints, and the table with these joints only.

    Raises:
        UserError: it is not known, several fit, or what is told contradicts the user or the number
            of joints.
    """
    count = table.keypoints.shape[1]
    if count in LARGER_ORDERS:
        layout, joints = LARGER_ORDERS[count]
        body = replace(
            table,
            keypoints=table.keypoints[:, :joints],
            confidence=table.confidence[:, :joints],
            layout=layout,
        )
        return _joint_order(body, options, path)
    told = options.layout or table.layout
    if options.layout and table.layout not in (None, options.layout):
        raise UserError(f"--layout {options.layout}: {path} says that it is {table.layout!r}")
    if told is not None and told not in LAYOUTS:
        raise UserError(f"{path}: its joint order {told!r} is not one of {', '.join(LAYOUTS)}")
    fitting = [
        order
        for layout in ([LAYOUTS[told]] if told else LAYOUTS.values())
        for order in layout.orders
        if order.skeleton.num_joints == count
    ]
    if len(fitting) == 1:
        return fitting[0], table
    if fitting:
        names = " or ".join(order.name for order in fitting)
        raise UserError(
            f"{path}: {count} joints may be in the order {names}, and the file does not tell: "
            f"--layout {names.replace(' or ', ' or --layout ')}"
        )
    known = sorted({c for layout in LAYOUTS.values() for c in layout.pairs} | {*LARGER_ORDERS})
    if told:
        fit = " or ".join(map(str, sorted(LAYOUTS[told].pairs)))
        raise UserError(f"{path}: {count} joints; the order {told!r} has {fit}")
    raise UserError(f"{path}: {count} joints; known orders have {', '.join(map(str, known))}")


def _image_size(
    table: PoseTable, options: ReadOptions, video: Video | None, path: Path
) -> tuple[int, int]:
    """Width and height of the image: of the file, the user, its video, or guessed.

    Raises:
        UserError: they contradict each other, or it is not known.
    """
    sources = {str(path): table.size, "--size": options.size}
    if video is not None:
        sources[str(video.path)] = video.size
    told = {name: size for name, size in sources.items() if size is not None}
    if len(set(told.values())) > 1:
        sizes = ", ".join(f"{name} {w}x{h}" for name, (w, h) in told.items())
        raise UserError(f"the size of the image is not the same: {sizes}")
    if told:
        return next(iter(told.values()))
    guess = None if table.normalised else guess_size(table.keypoints)
    if guess is None:
        raise UserError(
            f"{path}: the size of the image is not known: --size WIDTHxHEIGHT is needed"
        )
    LOG.info(
        "note: no --size, so the image is assumed to have %d x %d pixels, the only usual size that "
        "the joints fit into",
        *guess,
    )
    return guess


def _in_pixels(table: PoseTable, size: tuple[int, int], path: Path) -> PoseTable:
    """The table in pixels of an image of this size.

    Raises:
        UserError: its numbers are those of another size.
    """
    if table.normalised:
        table = replace(table, keypoints=table.keypoints * np.array(size, np.float32))
    if reason := wrong_size(table.keypoints, size):
        raise UserError(f"{path}: {reason}")
    return table


def _frame_times(
    table: PoseTable, options: ReadOptions, video: Video | None, path: Path
) -> np.ndarray:
    """(L,) seconds of the frames.

    Raises:
        UserError: the file's times do not increase, or the video is shorter than the keypoints.
    """
    frames = np.arange(table.frames.start, table.frames.stop)
    if options.fps is not None:
        return frames / options.fps
    if table.time is not None:
        time = table.time
        if time.shape != frames.shape:
            raise UserError(f"{path}: times of shape {time.shape} for {len(frames)} frames")
        bad = np.flatnonzero(~(np.diff(time, prepend=-np.inf) > 0) | ~np.isfinite(time))
        if len(bad):
            raise UserError(f"{path}: frame {bad[0]} is no later than the one before it")
        return time.astype(np.float64)
    if video is not None:
        if len(video.times) <= frames[-1]:
            raise UserError(
                f"{path}: poses up to frame {frames[-1]}; {video.path} has {len(video.times)} "
                "frames"
            )
        return video.times[frames]
    if table.fps is None:
        LOG.info("note: no --fps, so %g frames/s are assumed", ASSUMED_FPS)
    return frames / (table.fps or ASSUMED_FPS)


def _people(
    table: PoseTable, order: JointOrder, time: np.ndarray, path: Path
) -> tuple[Person, ...]:
    """The people in our joint order.

    Raises:
        UserError: nobody has a joint that we have.
    """
    keypoints, confidence = order.to_ours(table.keypoints, table.confidence)
    track = told_tracks(table.frame, table.track)
    names = None
    if track is not None:
        names = {int(number): str(name) for number, name in zip(track, table.track, strict=True)}
    else:
        rate = 1 / np.median(np.diff(time)) if len(time) > 1 else ASSUMED_FPS
        track = match_tracks(table.frame, keypoints, max_gap=max(2, round(BRIDGED * rate)))
        stays = np.bincount(track)
        stayed = stays >= min(round(SHORTEST_STAY * rate), max(stays.max() // 2, 1))
        keep = stayed[track]
        if not keep.all():
            LOG.info("note: %d poses here and there are taken for no person", (~keep).sum())
        table = replace(table, frame=table.frame[keep])
        keypoints, confidence, track = keypoints[keep], confidence[keep], track[keep]
    people = gather(
        table.frame - table.frames.start,
        keypoints,
        confidence,
        track,
        length=len(time),
        names=names,
    )
    if not people:
        raise UserError(f"{path}: no joint of a body in any of its {len(time)} frames")
    return people


def _with_sides_put_right(person: Person) -> Person:
    keypoints, confidence, swapped = undo_swaps(person.keypoints, person.confidence, H36M_17)
    if not swapped.any():
        return person
    LOG.info(
        "person %s: left and right were taken for each other in %d of %d frames, put right",
        person.name,
        swapped.sum(),
        len(swapped),
    )
    return replace(person, keypoints=keypoints, confidence=confidence)


def _warn_of_implausible_order(person: Person, order: JointOrder, path: Path) -> None:
    poses = person.keypoints[np.isfinite(person.keypoints).all((1, 2))]
    if len(poses) and (reason := implausible(poses)):
        LOG.warning(
            "warning: %s: %s; are its joints in the order %r (--layout)?", path, reason, order.name
        )
