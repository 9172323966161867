"""Motion of BVH files as clips of the 17 joints: metres, z up, 50 frames/s.

Which joint is which is known by name, for the programs in `CONVENTIONS` and by a JSON file for
others. A BVH file says neither its unit nor which way is up: both are guessed from the body, and
said.

How the 17 joints come about: Human3.6M's skeleton is a rig of the same kind, so the base of the
neck is its thorax (8), the joint at the head's base its joint 9, "neck" or "nose", and the head's
End Site its head (10). The hip is the middle of the thigh joints, for a rig's own root lies above
them; the spine is half-way from hip to thorax. A rig without a joint at the head's base gets one
half-way from thorax to head; where nothing marks the head's top, it lies beyond the head's base by
`HEAD_LENGTH`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.data.skeleton import H36M_17
from common.data.text_files import load_json
from common.errors import UserError, listing, shown
from common.log import LOG
from dataset.bvh_file import END_SITE, BvhMotion, Node, read_bvh
from dataset.motion_checks import LARGEST, SMALLEST, body_height, upward
from dataset.motion_clips import FRAME_RATE, MotionClip

HIP, SPINE, THORAX, HEAD_BASE, HEAD_TOP = 0, 7, 8, 9, 10
RIGHT_HIP, LEFT_HIP = 1, 4
RIGHT_LEG, LEFT_LEG, LEFT_ARM, RIGHT_ARM = (1, 2, 3), (4, 5, 6), (11, 12, 13), (14, 15, 16)
DERIVED = (HIP, SPINE)
OPTIONAL = (HEAD_BASE, HEAD_TOP)  # joints that a rig may lack
HEAD_LENGTH = 0.13  # of a leg, from the head's base to its top, as in Human3.6M
HEAD_RANGE = (0.05, 0.5)  # of a leg: an End Site elsewhere is no top of a head
TOP_WORDS = ("top", "end", "nub", "tip", "site")

LARGEST_NAMES = 2**20  # bytes of a file that names joints
# Metres; the third is CMU's: inches times 0.45.
UNITS = {"metres": 1.0, "cm": 0.01, "CMU's inches / 0.45": 0.0254 / 0.45, "inches": 0.0254}
UNITS |= {"mm": 0.001, "dm": 0.1, "feet": 0.3048}
USUAL_HEIGHT = 1.7  # metres
CLEARLY = 1.5  # how much more another axis than y must be along the body to be up


def _convention(leg: str, arm: str, sides: str, *, neck: str, head: str) -> dict[int, str]:
    """Joint -> name, of three names per limb with {} for the side."""
    right, left = sides.split()
    limbs = {RIGHT_LEG: (leg, right), LEFT_LEG: (leg, left)}
    limbs |= {LEFT_ARM: (arm, left), RIGHT_ARM: (arm, right)}
    names = {
        joint: name.format(side)
        for joints, (words, side) in limbs.items()
        for joint, name in zip(joints, words.split(), strict=True)
    }
    return names | {THORAX: neck, HEAD_BASE: head}


# Program -> our joint -> its name there, without a prefix that ends in a colon, in any case.
CONVENTIONS: dict[str, dict[int, str]] = {
    "Mixamo, LAFAN1": _convention(
        "{}UpLeg {}Leg {}Foot", "{}Arm {}ForeArm {}Hand", "Right Left", neck="Neck", head="Head"
    ),
    "cgspeed's CMU": _convention(
        "{}Hip {}Knee {}Ankle", "{}Shoulder {}Elbow {}Wrist", "Right Left", neck="Neck", head="Head"
    ),
    "DAZ": _convention(
        "{}Thigh {}Shin {}Foot", "{}Shldr {}ForeArm {}Hand", "r l", neck="neck", head="head"
    ),
    "iClone": _convention(
        "CC_Base_{}_Thigh CC_Base_{}_Calf CC_Base_{}_Foot",
        "CC_Base_{}_Upperarm CC_Base_{}_Forearm CC_Base_{}_Hand",
        "R L",
        neck="CC_Base_NeckTwist01",
        head="CC_Base_Head",
    ),
    "Bandai-Namco": _convention(
        "UpperLeg_{} LowerLeg_{} Foot_{}",
        "UpperArm_{} LowerArm_{} Hand_{}",
        "R L",
        neck="Neck",
        head="Head",
    ),
    "Blender": _convention(
        "thigh.{} shin.{} foot.{}",
        "upper_arm.{} forearm.{} hand.{}",
        "R L",
        neck="neck",
        head="face",
    ),
}


@dataclass(frozen=True)
class Guess:
    """What a file does not say.

    Attributes:
        names: the convention of its joint names.
        unit: of its lengths.
        up: axis that points up, for example "y" or "-z".
        frame_rate: frames per second; this one it does say.
    """

    names: str
    unit: str
    up: str
    frame_rate: float

    def __str__(self) -> str:
        """For the log."""
        rate = f"{self.frame_rate:g} frames/s"
        if self.frame_rate != FRAME_RATE:
            rate += f" resampled to {FRAME_RATE:g}"
        return f"joint names of {self.names}; guessed: {self.unit}, {self.up} up; {rate}"


def bvh_files(source: Path) -> dict[Path, Path]:
    """BVH files -> names of their clips: the path in the folder, without the suffix.

    Args:
        source: a folder, searched with the folders in it, or a file.
    """
    if not source.is_dir():
        return {source: Path(source.stem)} if source.suffix.lower() == ".bvh" else {}
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() == ".bvh")
    return {path: path.relative_to(source).with_suffix("") for path in paths}


def bvh_clips(
    source: Path, names: Mapping[int, str] | None = None
) -> Iterator[tuple[Path, MotionClip]]:
    """The motion of BVH files, one at a time.

    Args:
        source: a folder, searched with the folders in it, or a file.
        names: our joint -> name in the files; None recognises `CONVENTIONS`.

    Yields:
        File and clip. Files that cannot be used are left out, and the log says why; so it does
        when guesses change.

    Raises:
        UserError: there is no such file, or none of them can be used.
    """
    paths = bvh_files(source)
    if not paths:
        raise UserError(f"{source}: no .bvh files in it")
    said: set[str] = set()
    reasons: list[str] = []
    for path, name in paths.items():
        try:
            clip, guess = read_bvh_clip(path, name, names)
        except UserError as error:
            reasons.append(str(error))
            LOG.warning("left out %s", error)
            continue
        if str(guess) not in said:
            said.add(str(guess))
            LOG.info("%s: %s", path, guess)
        yield path, clip
    if len(reasons) == len(paths):
        raise UserError(f"no file of {source} can be used; {reasons[0]}")


def read_bvh_clip(
    path: Path, name: Path, names: Mapping[int, str] | None = None
) -> tuple[MotionClip, Guess]:
    """The motion of a BVH file.

    Args:
        path: the file.
        name: of the clip.
        names: our joint -> name in the file; None recognises `CONVENTIONS`.

    Returns:
        The clip, and what was guessed.

    Raises:
        UserError: the file cannot be read, its joints are not known, or no unit gives a body of
            human size.
    """
    motion = read_bvh(path)
    convention, joints = _joints(motion.nodes, names, path)
    poses = _seventeen(motion, joints, path)
    finite = poses[np.isfinite(poses).all((1, 2))]
    unit = _unit(body_height(finite), path)
    up = _up_axis(finite)
    poses = resample(_z_up(poses, up) * UNITS[unit], motion.frame_rate)
    guess = Guess(convention, unit, up, motion.frame_rate)
    return MotionClip(name.as_posix(), poses.astype(np.float32)), guess


def load_names(path: Path) -> dict[int, str]:
    """Read which joint of a rig is which: a JSON object, our name -> the rig's.

    Our names are those of `common.data.skeleton.H36M_17`: the three of each limb and "thorax" (the
    base of the neck) are needed; "neck" (the head's base) and "head" (its top) may be left out.

    Raises:
        UserError: it cannot be read, or names other joints.
    """
    content = load_json(path, largest=LARGEST_NAMES)
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise UserError(f"{path}: one JSON object is needed, our joint name -> the rig's")
    ours = {H36M_17.joint_names[j]: j for j in range(17) if j not in DERIVED}
    unknown = sorted(content.keys() - ours.keys())
    missing = sorted(ours.keys() - content.keys() - {H36M_17.joint_names[j] for j in OPTIONAL})
    if unknown or missing:
        problem = f"unknown joint {shown(unknown[0])!r}" if unknown else f"no {listing(missing)}"
        raise UserError(f"{path}: {problem}; the joints are {', '.join(ours)}")
    return {ours[name]: value for name, value in content.items()}


def _joints(
    nodes: Sequence[Node], names: Mapping[int, str] | None, path: Path
) -> tuple[str, dict[int, int]]:
    """The convention, and our joint -> number of the node."""
    numbers: dict[str, int] = {}
    for number, node in enumerate(nodes):
        if node.name != END_SITE:
            numbers.setdefault(_plain(node.name), number)
    candidates = {"the names file": dict(names)} if names is not None else CONVENTIONS
    lacking: dict[str, list[str]] = {}
    for convention, wanted in candidates.items():
        found = {j: numbers[_plain(n)] for j, n in wanted.items() if _plain(n) in numbers}
        asked = OPTIONAL if names is None else ()
        lacking[convention] = [n for j, n in wanted.items() if j not in found and j not in asked]
        if not lacking[convention]:
            return convention, found
    nearest = min(lacking, key=lambda convention: len(lacking[convention]))
    absent = shown(listing(lacking[nearest]))
    there = listing([node.name[:40] for node in nodes if node.name != END_SITE])
    raise UserError(
        f"{path}: its joints ({there}) are none that are known: nearest are those of {nearest}, "
        f"of which {absent} are missing; --names map.json says which is which"
    )


def _plain(name: str) -> str:
    """A name without the prefix that a program puts before a colon, in lower case."""
    return name.rsplit(":", 1)[-1].strip().lower()


def _seventeen(motion: BvhMotion, joints: Mapping[int, int], path: Path) -> np.ndarray:
    """(L, 17, 3) in the file's unit and axes.

    Raises:
        UserError: no frame has numbers.
    """
    tops = [] if HEAD_TOP in joints else _tops(motion.nodes, joints.get(HEAD_BASE, joints[THORAX]))
    placed = motion.positions([*joints.values(), *tops])
    poses = np.full((len(placed), 17, 3), np.nan)
    poses[:, list(joints)] = placed[:, : len(joints)]
    poses[:, HIP] = (poses[:, RIGHT_HIP] + poses[:, LEFT_HIP]) / 2
    poses[:, SPINE] = (poses[:, HIP] + poses[:, THORAX]) / 2
    known = [HIP, SPINE, *joints]
    if not np.isfinite(poses[:, known]).all((1, 2)).any():
        raise UserError(f"{path}: no frame has numbers for all joints")
    if HEAD_TOP not in joints:
        poses[:, HEAD_TOP] = _head_top(
            poses, placed[:, len(joints) :], has_base=HEAD_BASE in joints
        )
    if HEAD_BASE not in joints:
        poses[:, HEAD_BASE] = (poses[:, THORAX] + poses[:, HEAD_TOP]) / 2
    return poses


def _tops(nodes: Sequence[Node], base: int) -> list[int]:
    """The nodes that may be the top of the head: those that hang on its base and end a chain."""
    return [
        number
        for number, node in enumerate(nodes)
        if node.parent == base and _plain(node.name).endswith(TOP_WORDS)
    ]


def _head_top(poses: np.ndarray, tops: np.ndarray, *, has_base: bool) -> np.ndarray:
    """(L, 3): the first of the candidates (L, W, 3) at a head's distance, else one made up.

    Args:
        poses: (L, 17, 3), the head missing.
        tops: (L, W, 3).
        has_base: whether the head's base is known, or only the neck's.
    """
    base, below = (HEAD_BASE, THORAX) if has_base else (THORAX, HIP)
    bones = (np.linalg.norm(poses[:, a] - poses[:, b], axis=-1) for a, b in ((1, 2), (2, 3)))
    leg = np.nanmedian(sum(bones))
    for top in tops.transpose(1, 0, 2):
        distance = np.nanmedian(np.linalg.norm(top - poses[:, base], axis=-1))
        if HEAD_RANGE[0] * leg <= distance <= HEAD_RANGE[1] * leg:
            return top
    direction = poses[:, base] - poses[:, below]
    direction = direction / np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-9)
    return poses[:, base] + direction * leg * HEAD_LENGTH * (1 if has_base else 2)


def _unit(height: float, path: Path) -> str:
    """The unit in which a body of this height is nearest to the usual one.

    Raises:
        UserError: it is of no human's height in any.
    """
    metres = {unit: height * size for unit, size in UNITS.items()}
    unit = min(metres, key=lambda name: abs(np.log(max(metres[name], 1e-9) / USUAL_HEIGHT)))
    if not SMALLEST <= metres[unit] <= LARGEST:
        raise UserError(
            f"{path}: the body is {height:.4g} tall, at best {metres[unit]:.2f} m (as {unit}); "
            f"{SMALLEST} to {LARGEST} m are needed"
        )
    return unit


def _up_axis(poses: np.ndarray) -> str:
    """The axis from feet to head: y, as a rule, unless another is clearly more so."""
    direction = upward(poses)
    axis = int(np.abs(direction).argmax())
    if np.abs(direction[axis]) < CLEARLY * np.abs(direction[1]) or axis == 1:
        return "-y" if direction[1] < 0 and axis == 1 else "y"
    return f"{'-' if direction[axis] < 0 else ''}{'xyz'[axis]}"


def _z_up(poses: np.ndarray, up: str) -> np.ndarray:
    """Turn (never mirror) poses (L, 17, 3) so that an axis points along z."""
    axis = "xyz".index(up[-1])
    turned = poses[..., [(axis + 1) % 3, (axis + 2) % 3, axis]]
    return turned * [-1, 1, -1] if up.startswith("-") else turned


def resample(poses: np.ndarray, frame_rate: float) -> np.ndarray:
    """Poses at `FRAME_RATE`, by cubic interpolation (Catmull-Rom), which keeps bones' lengths.

    Args:
        poses: (L, J, 3).
        frame_rate: of these, frames per second.

    Returns:
        (L', J, 3), of the same duration.
    """
    last = len(poses) - 1
    if frame_rate == FRAME_RATE or not last:
        return poses
    place = np.arange(int(last / frame_rate * FRAME_RATE + 1e-6) + 1) * (frame_rate / FRAME_RATE)
    index = np.minimum(place.astype(int), last - 1)
    t = (place - index)[:, None, None]
    padded = np.concatenate([_next(poses[2::-1]), poses, _next(poses[-3:])])
    before, first, second, after = (padded[index + step] for step in range(4))
    slope_1, slope_2 = (second - before) / 2, (after - first) / 2
    rise = second - first
    return first + t * (
        slope_1 + t * (3 * rise - 2 * slope_1 - slope_2 + t * (slope_1 + slope_2 - 2 * rise))
    )


def _next(poses: np.ndarray) -> np.ndarray:
    """(1, J, 3), the pose after the last of two or three, on their line or parabola."""
    if len(poses) == 2:
        return 2 * poses[1:] - poses[:1]
    return 3 * (poses[2:] - poses[1:2]) + poses[:1]
