"""Show what a data file holds, check it, and draw one of its frames."""

from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

import sys
from pathlib import Path

import numpy as np

from common.cli.entry import run_script
from common.cli.parser import Parser
from common.data.base import FileClip
from common.data.inspect import (
    check,
    clip_length,
    not_detected,
    outside_the_image,
    read_clips,
    summary_lines,
)
from common.data.npz import float_tensor
from common.data.registry import DATA_SETS
from common.data.skeleton import SKELETONS, Skeleton
from common.errors import UserError
from common.evaluation.drawing import draw_skeleton, new_figure, same_limits, save
from common.log import LOG
from common.outputs import check_output

SHOWN = 8  # problems, or notes, that are printed


def main() -> None:
    """Describe a file, check it, draw one frame; exit code 1 if a check fails."""
    parser = Parser(prog="python -m common.inspect", description=__doc__)
    parser.add_argument("file", type=Path, help="an .npz file of this project's formats")
    parser.add_argument("--frame", type=int, help="which frame to draw (default: the middle)")
    parser.add_argument("--sequence", default="", help="draw a sequence whose name begins so")
    parser.add_argument("--picture", type=Path, help="PNG file (default: FILE.png, here)")
    parser.add_argument(
        "--force", action="store_true", help="replace a picture that this program did not draw"
    )
    args = parser.parse_args()
    picture = args.picture or Path(f"{args.file.stem}.png")
    check_output(picture, inputs=[args.file], force=args.force, flag="--picture")
    content, clips = read_clips(args.file)
    LOG.info("%s: %s, %.1f MB", args.file, content, args.file.stat().st_size / 1e6)
    for line in summary_lines(clips):
        LOG.info(line)
    problems = [problem for clip in clips for problem in check(clip)]
    notes = [note for kind in (not_detected, outside_the_image) for c in clips for note in kind(c)]
    for what, found in (("note", notes), ("problem", problems)):
        for text in found[:SHOWN]:
            LOG.info("%s: %s", what, text)
        if len(found) > SHOWN:
            LOG.info("... and %d more %ss", len(found) - SHOWN, what)
    if problems:
        sys.exit(1)
    LOG.info("checks passed: shapes, finite numbers, lengths, units")
    clip = _chosen(clips, args.sequence)
    frame = draw(picture, clip, args.frame)
    LOG.info("%s: frame %d of %s", picture, frame, clip.name)


def _chosen(clips: list[FileClip], prefix: str) -> FileClip:
    for clip in clips:
        if clip.name.startswith(prefix):
            return clip
    shown = ", ".join(clip.name for clip in clips[:5])
    raise UserError(f"--sequence {prefix!r}: no such sequence; there are {shown} ...")


def skeleton_with(num_joints: int) -> Skeleton | None:
    """A skeleton of this project or of a data set with so many joints, if there is one."""
    of_data_sets = (s for known in DATA_SETS.values() for s in known.skeletons.values())
    all_known = (*SKELETONS.values(), *of_data_sets)
    return next((known for known in all_known if known.num_joints == num_joints), None)


def draw(path: Path, clip: FileClip, frame: int | None) -> int:
    """Draw one frame in 2D and, from two sides, in 3D.

    Args:
        path: PNG file.
        clip: a sound sequence.
        frame: which frame; None for the middle.

    Returns:
        The frame.

    Raises:
        UserError: there is no such frame.
    """
    length = clip_length(clip)
    frame = length // 2 if frame is None else frame
    if not 0 <= frame < length:
        raise UserError(f"--frame {frame}: {clip.name} has frames 0 to {length - 1}")
    pose_2d, pose_3d = (None if p is None else p[frame] for p in (clip.pose_2d, clip.pose_3d))
    if pose_3d is not None and np.isnan(pose_3d).all():  # no 3D known
        pose_3d = None
    z_up = clip.z_up
    if clip.view is not None and pose_3d is not None:
        points = clip.view.from_world(float_tensor(pose_3d))
        pose_2d, pose_3d, z_up = clip.view.to_screen(points).numpy(), points.numpy(), False
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
        joints = clip.to_skeleton(pose)
        skeleton = clip.skeleton or skeleton_with(len(joints))
        draw_skeleton(axis, joints[:, list(columns)] * np.array(signs), skeleton)
    if pose_3d is not None:
        same_limits(axes[0, 1:])
    figure.suptitle(f"{clip.name}, frame {frame}", fontsize=10)
    save(figure, path)
    return frame


if __name__ == "__main__":
    run_script(main)
