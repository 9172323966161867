"""3D motion of any source -> training files in the format of Human3.6M's, seen by random cameras.

Takes BVH files (of the programs that dataset/README.md lists, or with --names) or .npz files of
clips of the 17 joints in world space (metres, z up, 50 frames/s), or a folder of them. Frames that
cannot be true are named and left out. Each clip is cut into parts, each part is seen by cameras
drawn for it alone, and projected exactly (-k gt) and with the errors of a detector (-k det). People
are split into those to train on and those to test on; trainer.py and pretrainer.py take this split
by themselves.
"""
# ruff: noqa: E402  (common/ is found on the path that is added first)

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

import fnmatch
import json
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from common.cli.entry import run_script
from common.cli.values import at_least, degrees, positive, seed, share_below_one, share_or_zero
from common.data.camera import CAMERA_FILE, CameraView, denormalise_screen
from common.data.npz_writer import dictionary_file
from common.data.text_files import read_text
from common.errors import UserError, shown
from common.files import published_together, write_atomically
from common.log import LOG
from common.progress import progress
from dataset import preparation
from dataset.body_shapes import vary_body
from dataset.bvh_clips import load_names
from dataset.detector_noise import MEDIAPIPE, detect, shifted
from dataset.motion_clips import FRAME_RATE, MotionClip
from dataset.motion_library import Entry, MotionLibrary
from dataset.motion_variation import vary_motion
from dataset.preparation import output_paths, random_source
from dataset.virtual_cameras import CameraRanges, draw_camera, project_pixels, share_in_image

FILES = ("data_3d_h36m.npz", "data_2d_h36m_gt.npz", "data_2d_h36m_det.npz", CAMERA_FILE)
LEAST_INSIDE = 0.6  # share of detections in the image after an error of the focal length
GROUND_PERCENTILE = 1  # of the height of the lowest joint: feet on the floor, not a jump's top


@dataclass
class Written:
    """What the files hold.

    Attributes:
        subjects: "train" and "test" -> people.
        sequences: number of parts.
        views: number of parts times cameras.
        frames: of all parts.
        cameras: subject -> sequence -> descriptions of its cameras.
    """

    subjects: dict[str, list[str]] = field(default_factory=lambda: {"train": [], "test": []})
    sequences: int = 0
    views: int = 0
    frames: int = 0
    cameras: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)


def main() -> None:
    """The preparation that the command line asks for."""
    args = parse_arguments()
    names = load_names(args.names) if args.names else None
    library = MotionLibrary(args.input, names, checked=not args.unchecked)
    check_subject_names(library.people)
    held_out = held_out_people(library.people, args)
    paths = output_paths(args.output, FILES, force=args.force, inputs=[args.input])
    with published_together(args.output) as folder:
        written = write(library, held_out, args, [folder / path.name for path in paths])
    preparation.log_written(
        paths[0],
        people=len(library.people),
        sequences=written.sequences,
        frames=written.frames,
    )
    for path in paths[1:3]:
        preparation.log_written(path, views=written.views)
    preparation.log_written(paths[3], cameras=written.views)
    counts = [len(written.subjects[part]) for part in ("train", "test")]
    LOG.info("people to train on: %d, to test on: %d", *counts)
    LOG.info(
        "use: trainer.py --root_path %s -k det --n_joints 17 --normalise rays ...", args.output
    )


def parse_arguments() -> Namespace:
    """Read the command line.

    Raises:
        UserError: an invalid value.
    """
    parser = preparation.new_parser(
        __doc__, "a .bvh file, an .npz file of clips, or a folder of them", output=None
    )
    parser.add_argument(
        "--names",
        type=Path,
        metavar="FILE.json",
        help="which joint of the BVH files is which: a JSON object, our joint name -> theirs",
    )
    parser.add_argument(
        "--cameras", type=at_least(1), default=3, help="per part and body (default: %(default)s)"
    )
    parser.add_argument(
        "--bodies",
        type=at_least(1),
        default=3,
        help="per part of a clip: its own, and others with longer or shorter bones that move "
        "alike (default: %(default)s)",
    )
    parser.add_argument(
        "--varied",
        type=share_or_zero,
        default=0.0,
        help="share of the other bodies whose motion is varied as well: limbs and trunk turned by "
        "angles that change slowly (default: %(default)s)",
    )
    parser.add_argument(
        "--test_cameras", type=at_least(1), default=2, help="for people that are tested on"
    )
    parser.add_argument(
        "--roll",
        type=degrees(0, 90),
        default=CameraRanges.roll,
        help="of the cameras about their axis, degrees, a standard deviation (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--part_seconds", type=positive, default=5.0, help="length of a part (default: %(default)s)"
    )
    parser.add_argument(
        "--held_out",
        type=Path,
        metavar="FILE",
        help="text file of clip names, * and ? allowed, one a line: whoever is seen in one of "
        "these is tested on (default: every tenth person)",
    )
    parser.add_argument(
        "--focal_error",
        type=share_below_one,
        default=0.12,
        help="relative error of the focal length in half of the detections, a standard deviation "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--unchecked", action="store_true", help="take every frame, also those that cannot be true"
    )
    parser.add_argument("--seed", type=seed, default=1, help="of cameras and errors")
    args = parser.parse_args()
    if not args.input.exists():
        raise UserError(f"{args.input}: no such file or folder")
    return args


def held_out_people(people: dict[str, list[Entry]], args: Namespace) -> set[str]:
    """The people that are tested on.

    Raises:
        UserError: the list cannot be read, names no clip, or leaves nobody to train on.
    """
    if args.held_out is None:
        return set(list(people)[9::10])
    lines = read_text(args.held_out).splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    clips = [(clip.name, person) for person, own in people.items() for clip in own]
    found: set[str] = set()
    for pattern in patterns:
        matching = {person for name, person in clips if fnmatch.fnmatchcase(name, pattern)}
        if not matching:
            raise UserError(f"{args.held_out}: no clip is named {pattern!r}")
        found |= matching
    if len(found) == len(people):
        raise UserError(f"{args.held_out}: holds out all people, nobody is left to train on")
    return found


def write(
    library: MotionLibrary, held_out: set[str], args: Namespace, paths: Sequence[Path]
) -> Written:
    """Write the four files."""
    written = Written()
    for person in library.people:
        written.subjects["test" if person in held_out else "train"].append(subject_name(person))
    split = {f"{part}_subjects": names for part, names in written.subjects.items()}
    metadata = preparation.keypoint_metadata(17)
    ranges = CameraRanges(roll=args.roll)
    with (
        dictionary_file(paths[0], "positions_3d", metadata=split) as add_3d,
        dictionary_file(paths[1], "positions_2d", metadata=metadata) as add_exact,
        dictionary_file(paths[2], "positions_2d", metadata=metadata) as add_detected,
    ):
        for person in progress(list(library.people), " people"):
            world, exact, detected = {}, {}, {}
            subject = subject_name(person)
            tested = person in held_out
            cameras, bodies = (args.test_cameras, 1) if tested else (args.cameras, args.bodies)
            for clip in library.clips(person):
                for name, part, ground in variants(clip, args, bodies):
                    rng = random_source(args.seed, f"{clip.name} {name} cameras")
                    views = [draw_camera(part, ground, rng, ranges) for _ in range(cameras)]
                    world[name] = part
                    exact[name] = [project_pixels(part, view) for view in views]
                    detected[name] = [
                        detections(part, view, args.focal_error, rng) for view in views
                    ]
                    written.cameras.setdefault(subject, {})[name] = list(map(description, views))
                    written.sequences += 1
                    written.frames += len(part)
                    written.views += cameras
            add_3d(subject, world)
            add_exact(subject, exact)
            add_detected(subject, detected)
    content = {"intrinsic": [], "extrinsic": {}, "sequences": written.cameras}
    write_atomically(paths[3], json.dumps(content).encode())
    return written


def subject_name(person: str) -> str:
    """The name of a person in the files; commas and slashes separate elsewhere."""
    return person.replace("/", "-").replace(",", "-")


def check_subject_names(people: Iterable[str]) -> None:
    """Require that no two people have one name in the files.

    Raises:
        UserError: two have.
    """
    named: dict[str, str] = {}
    for person in people:
        other = named.setdefault(subject_name(person), person)
        if other != person:
            raise UserError(
                f"the people {shown(other)!r} and {shown(person)!r} would both be "
                f"{shown(subject_name(person))!r} in the files: rename one of them"
            )


def variants(
    clip: MotionClip, args: Namespace, bodies: int
) -> Iterator[tuple[str, np.ndarray, float]]:
    """What `equal_parts` gives, each part by several bodies; the first is the clip's own.

    Some of the others also move differently.
    """
    for name, part, floor in equal_parts(clip, args.part_seconds):
        yield name, part, floor
        for body in range(1, bodies):
            rng = random_source(args.seed, f"{clip.name} {name} body {body}")
            other = vary_body(part, rng)
            if rng.random() < args.varied:
                other = vary_motion(other, rng)
            yield f"{name} {body}", other, floor


def equal_parts(clip: MotionClip, seconds: float) -> Iterator[tuple[str, np.ndarray, float]]:
    """The parts of a clip: name, poses (L, 17, 3), and the height of the floor in metres."""
    floor = float(np.percentile(clip.poses[..., 2].min(1), GROUND_PERCENTILE))
    number = max(round(len(clip.poses) / (seconds * FRAME_RATE)), 1)
    for index, part in enumerate(np.array_split(clip.poses, number)):
        yield f"{clip.name.rsplit('/', 1)[-1]} {index}", part, floor


def detections(
    part: np.ndarray, view: CameraView, focal_error: float, rng: np.random.Generator
) -> np.ndarray:
    """(L, 17, 3) pixels and confidence, with a detector's errors.

    In every other view they are zoomed, as keypoints are whose focal length is a guess.
    """
    points = project_pixels(shifted(part, MEDIAPIPE, rng), view)
    depth = view.from_world(torch.from_numpy(part[:, 0]))[:, 2].clamp(min=0.1).numpy()  # (L,)
    focal = float(view.intrinsics[0]) * view.width / 2  # pixels
    found = detect(points, focal / depth, (view.width, view.height), rng, MEDIAPIPE)
    if rng.random() < 0.5:
        found[..., :2] = zoomed(found[..., :2], view, float(np.exp(rng.normal(0, focal_error))))
    return found


def zoomed(pixels: np.ndarray, view: CameraView, factor: float) -> np.ndarray:
    """Pixels (L, 17, 2) farther from the image's centre by a factor; nearer by it, rather than
    many of them outside the image, where no detector finds anything.
    """
    centre = np.array([view.width, view.height]) / 2
    farther = centre + factor * (pixels - centre)
    if share_in_image(farther, view) >= LEAST_INSIDE:
        return farther
    return centre + min(factor, 1 / factor) * (pixels - centre)


def description(view: CameraView) -> dict[str, Any]:
    """A camera as the camera file holds it."""
    size = {"width": view.width, "height": view.height}
    focal = (view.intrinsics[:2] * view.width / 2).tolist()
    return {
        "center": denormalise_screen(view.intrinsics[2:4], **size).tolist(),
        "focal_length": focal,
        "radial_distortion": [0.0, 0.0, 0.0],
        "tangential_distortion": [0.0, 0.0],
        "res_w": view.width,
        "res_h": view.height,
        "orientation": view.orientation.tolist(),
        "translation": (view.centre * 1000).tolist(),
    }


if __name__ == "__main__":
    run_script(main)
