"""What a data file holds, whether it is sound, and a picture of one of its frames.

Run as `python -m common.inspect FILE.npz`.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.cli.entry import run_script
from common.cli.flags import TEST_SUBJECTS, TRAIN_SUBJECTS, Parser
from common.data import mpi_inf_3dhp
from common.data.h36m import CameraView, load_cameras
from common.data.npz import float_tensor, load_npz, numeric_shape
from common.data.skeleton import H36M_32_TO_17, SKELETONS
from common.errors import UserError
from common.evaluation.drawing import draw_skeleton, new_figure, same_limits, save
from common.log import LOG

LARGEST_EXTENT = 20.0  # metres that a person may cover in a plausible sequence
MUCH_OUTSIDE = 0.05  # share of joints outside the image that is worth a word
SHOWN = 8  # problems, or notes, that are printed
HUMAN36M_RATE = 50  # frames/s of Human3.6M itself; other subjects in its format may have any


@dataclass(frozen=True)
class Clip:
    """One sequence of a file as one camera or the world sees it, not yet checked.

    Attributes:
        subject: for the summary.
        name: subject, action, camera.
        pose_2d: (L, J, 2), or None.
        pose_3d: (L, J, 3), or None.
        metre: how many units of 3D make a metre.
        box: (4,) left, top, right, bottom of the image in the unit of 2D, or None if not known.
        fps: frames a second, or None.
        z_up: whether 3D is in world coordinates, z up, instead of camera space, y down.
    """

    subject: str
    name: str
    pose_2d: Any
    pose_3d: Any
    metre: float = 1.0
    box: tuple[float, float, float, float] | None = None
    fps: float | None = None
    z_up: bool = False

    @property
    def poses(self) -> dict[str, Any]:
        """What there is, by name."""
        both = {"2D": self.pose_2d, "3D": self.pose_3d}
        return {name: poses for name, poses in both.items() if poses is not None}


def main() -> None:
    """Describe a file, check it, draw one frame; exit code 1 if a check fails."""
    parser = Parser(prog="python -m common.inspect", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="an .npz file of this project's formats")
    parser.add_argument("--frame", type=int, help="which frame to draw (default: the middle)")
    parser.add_argument("--sequence", default="", help="draw a sequence whose name begins so")
    parser.add_argument("--picture", type=Path, help="PNG file (default: FILE.png, here)")
    args = parser.parse_args()
    kind, clips = read_clips(args.file)
    LOG.info("%s: %s, %.1f MB", args.file, kind, args.file.stat().st_size / 1e6)
    for line in summary_lines(clips):
        LOG.info(line)
    problems = [problem for clip in clips for problem in check(clip)]
    notes = [note for clip in clips for note in outside_the_image(clip)]
    for what, found in (("note", notes), ("problem", problems)):
        for text in found[:SHOWN]:
            LOG.info("%s: %s", what, text)
        if len(found) > SHOWN:
            LOG.info("... and %d more %ss", len(found) - SHOWN, what)
    if problems:
        sys.exit(1)
    LOG.info("checks passed: shapes, finite numbers, lengths, units")
    picture = args.picture or Path(f"{args.file.stem}.png")
    clip = _chosen(clips, args.sequence)
    frame = draw(picture, clip, args.frame, load_cameras(args.file.parent))
    LOG.info("%s: frame %d of %s", picture, frame, clip.name)


def read_clips(path: Path) -> tuple[str, list[Clip]]:
    """Read a data file of any of the formats.

    Args:
        path: an .npz file.

    Returns:
        What kind of file it is; its sequences.

    Raises:
        UserError: it cannot be read, or is of no known kind.
    """
    content = load_npz(path)
    for key, (kind, reader) in _KINDS.items():
        if isinstance(content.get(key), dict):
            clips = list(reader(content[key], path))
            if not clips:
                raise UserError(f"{path}: {key!r} holds no sequences")
            return kind, clips
    raise UserError(
        f"{path}: no dictionary {', '.join(map(repr, _KINDS))} in it, but {', '.join(content)}"
    )


def _human36m_3d(poses: Mapping[str, Any], path: Path) -> Iterator[Clip]:
    for subject, action, array in _two_levels(poses, path):
        joints = array[:, list(H36M_32_TO_17)] if numeric_shape(array)[1:] == (32, 3) else array
        yield Clip(
            subject, f"{subject} {action}", None, joints, fps=_human36m_rate(subject), z_up=True
        )


def _human36m_2d(poses: Mapping[str, Any], path: Path) -> Iterator[Clip]:
    cameras = load_cameras(path.parent)
    for subject, action, views in _two_levels(poses, path):
        for number, array in enumerate(views if isinstance(views, list | tuple) else [views]):
            known = cameras.get(subject, [])[number : number + 1]
            box = (0.0, 0.0, known[0].width, known[0].height) if known else None
            name = f"{subject} {action} camera {number}"
            yield Clip(subject, name, array, None, box=box, fps=_human36m_rate(subject))


def _human36m_rate(subject: str) -> float | None:
    return HUMAN36M_RATE if subject in (*TRAIN_SUBJECTS, *TEST_SUBJECTS) else None


def _two_levels(poses: Mapping[str, Any], path: Path) -> Iterator[tuple[str, str, Any]]:
    for subject, actions in poses.items():
        if not isinstance(actions, dict):
            raise UserError(f"{path}: {subject} is not a dictionary of actions")
        for action, value in actions.items():
            yield str(subject), str(action), value


def _mpi_inf_3dhp(data: Mapping[str, Any], path: Path) -> Iterator[Clip]:
    for key, value in data.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            views, fps = value[0], (value[1] if len(value) > 1 else None)
        else:
            views, fps = {"": value}, None
        for camera, entry in views.items():
            if not isinstance(entry, dict):
                raise UserError(f"{path}: {key} is not a dictionary of 'data_2d', 'data_3d'")
            subject = str(key).split()[0]
            width, height = mpi_inf_3dhp.image_size(subject)
            yield Clip(
                subject,
                f"{key} camera {camera}" if camera else str(key),
                entry.get("data_2d"),
                entry.get("data_3d"),
                metre=1000,
                box=(0.0, 0.0, width, height),
                fps=fps,
            )


def _amass(poses: Mapping[str, Any], path: Path) -> Iterator[Clip]:
    for name, entry in poses.items():
        if not isinstance(entry, dict):
            raise UserError(f"{path}: {name} is not a dictionary of 'pose2d', 'pose3d'")
        two, three = entry.get("pose2d"), entry.get("pose3d")
        yield Clip("AMASS", str(name), two, three, box=(-1.0, -1.0, 1.0, 1.0))


_KINDS: dict[str, tuple[str, Callable[[Mapping[str, Any], Path], Iterator[Clip]]]] = {
    "positions_3d": ("3D poses in Human3.6M's format", _human36m_3d),
    "positions_2d": ("2D poses in Human3.6M's format", _human36m_2d),
    "data": ("poses in MPI-INF-3DHP's format", _mpi_inf_3dhp),
    "poses": ("poses in AMASS's format", _amass),
}


def summary_lines(clips: list[Clip]) -> list[str]:
    """A line a subject: sequences, frames, rate, joints, ranges."""
    head = f"{'subject':<9}{'sequences':>10}{'frames':>9}{'shortest':>9}  "
    lines = [head + "frames/s  joints  ranges of x, y (, z)"]
    for subject in dict.fromkeys(clip.subject for clip in clips):
        mine = [clip for clip in clips if clip.subject == subject]
        lengths = [max(map(_length, clip.poses.values()), default=0) for clip in mine]
        rates = sorted({f"{clip.fps:g}" if clip.fps else "unknown" for clip in mine})
        joints = {str((*numeric_shape(p), 0, 0)[1]) for clip in mine for p in clip.poses.values()}
        line = f"{subject:<9}{len(mine):>10}{sum(lengths):>9}{min(lengths):>9}  "
        line += f"{','.join(rates):<8}  {','.join(sorted(joints)):<6}"
        for name in ("2D", "3D"):
            arrays = [clip.poses[name] for clip in mine if len(_shape(clip, name)) == 3]
            line += f"  {name} {_ranges(arrays)}" if arrays else ""
        lines.append(line)
    return lines


def _shape(clip: Clip, name: str) -> tuple[int, ...]:
    return numeric_shape(clip.poses.get(name))


def _length(poses: Any) -> int:
    return (*numeric_shape(poses), 0)[0]


def _ranges(arrays: list[np.ndarray]) -> str:
    known = [array for array in arrays if not np.isnan(array).all()]
    if not known:
        return "not known"
    low = np.min([np.nanmin(array, axis=(0, 1)) for array in known], axis=0)
    high = np.max([np.nanmax(array, axis=(0, 1)) for array in known], axis=0)
    return ", ".join(f"{a:.4g} to {b:.4g}" for a, b in zip(low, high, strict=True))


def check(clip: Clip) -> Iterator[str]:
    """What is wrong with a sequence, a sentence each; frames and joints count from 0."""
    if not clip.poses:
        yield f"{clip.name}: no poses"
    lengths = {}
    for name, poses in clip.poses.items():
        shape, coordinates = numeric_shape(poses), int(name[0])
        if len(shape) != 3 or not shape[0] or shape[1] not in (16, 17) or shape[2] != coordinates:
            yield f"{clip.name}: {name} poses of shape {shape}"
            continue
        lengths[name] = shape[0]
        yield from _check_numbers(clip, name, poses)
    if lengths.get("2D", 0) < lengths.get("3D", 0) and "2D" in lengths:
        yield f"{clip.name}: {lengths['2D']} frames of 2D for {lengths['3D']} of 3D"


def _check_numbers(clip: Clip, name: str, poses: np.ndarray) -> Iterator[str]:
    if name == "3D" and np.isnan(poses).all():
        return  # no 3D known
    bad = np.argwhere(~np.isfinite(poses))
    if len(bad):
        frame, joint, _ = bad[0]
        yield f"{clip.name}: {name} is {poses[tuple(bad[0])]} in frame {frame}, joint {joint}"
        return
    if name == "3D":
        body = poses - poses[:, :1]
        extent = float(np.abs(body).max()) / clip.metre
        if not 0.1 < extent < LARGEST_EXTENT:
            yield f"{clip.name}: a body of {extent:.3g} m: wrong unit?"


def outside_the_image(clip: Clip) -> Iterator[str]:
    """A word on a sequence many of whose 2D joints lie outside the image."""
    if clip.box is None or len(_shape(clip, "2D")) != 3:
        return
    poses = clip.poses["2D"]
    outside = ((poses < np.array(clip.box[:2])) | (poses > np.array(clip.box[2:]))).any(-1)
    if outside.mean() > MUCH_OUTSIDE:
        frame, joint = np.argwhere(outside)[0]
        x, y = poses[frame, joint]
        yield (
            f"{clip.name}: {outside.mean():.0%} of the joints outside the image, the first in "
            f"frame {frame}, joint {joint}: {x:.4g}, {y:.4g}"
        )


def _chosen(clips: list[Clip], prefix: str) -> Clip:
    for clip in clips:
        if clip.name.startswith(prefix):
            return clip
    shown = ", ".join(clip.name for clip in clips[:5])
    raise UserError(f"--sequence {prefix!r}: no such sequence; there are {shown} ...")


def draw(path: Path, clip: Clip, frame: int | None, cameras: Mapping[str, list[CameraView]]) -> int:
    """Draw one frame in 2D and, from two sides, in 3D.

    Args:
        path: PNG file.
        clip: a sound sequence.
        frame: which frame; None for the middle.
        cameras: of the subjects; poses in the world are drawn as the first of them sees them.

    Returns:
        The frame.

    Raises:
        UserError: there is no such frame.
    """
    length = min(map(_length, clip.poses.values()))
    frame = length // 2 if frame is None else frame
    if not 0 <= frame < length:
        raise UserError(f"--frame {frame}: {clip.name} has frames 0 to {length - 1}")
    pose_2d, pose_3d = (None if p is None else p[frame] for p in (clip.pose_2d, clip.pose_3d))
    if pose_3d is not None and np.isnan(pose_3d).all():  # no 3D known
        pose_3d = None
    z_up = clip.z_up
    if z_up and pose_3d is not None and clip.subject in cameras:
        view = cameras[clip.subject][0]
        points = view.from_world(float_tensor(pose_3d))
        pose_2d, pose_3d, z_up = view.to_screen(points).numpy(), points.numpy(), False
    figure, axes = new_figure(1, 3, (10, 3.8))
    views = [("2D", pose_2d, (0, 1), (1, 1)), ("3D, front", pose_3d, (0, 1), (1, 1))]
    views.append(("3D, side", pose_3d, (2, 1), (1, 1)))
    if z_up:  # x to the right or y to the right, z up
        views[1:] = [("3D, x z", pose_3d, (0, 2), (1, -1)), ("3D, y z", pose_3d, (1, 2), (1, -1))]
    for axis, (title, pose, columns, signs) in zip(axes[0], views, strict=True):
        axis.set_title(title if pose is not None else f"no {title[:2]} known", fontsize=9)
        if pose is None:
            axis.set_axis_off()
            continue
        joints = pose if len(pose) in SKELETONS and clip.metre == 1 else _sixteen(pose)
        draw_skeleton(axis, joints[:, list(columns)] * np.array(signs), SKELETONS[len(joints)])
    if pose_3d is not None:
        same_limits(axes[0, 1:])
    figure.suptitle(f"{clip.name}, frame {frame}", fontsize=10)
    save(figure, path)
    return frame


def _sixteen(pose: np.ndarray) -> np.ndarray:
    """(17, C) of MPI-INF-3DHP's joints -> (16, C) of ours."""
    return mpi_inf_3dhp.to_16_joints(float_tensor(pose)).numpy()


if __name__ == "__main__":
    run_script(main)
