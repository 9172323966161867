"""Motion as plain NumPy arrays, and back: `poses.npz`.

No entry is pickled: `numpy.load` of NumPy 1 and 2 opens it as it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data.npz import load_npz, making_sense
from common.data.skeleton import SKELETONS, Skeleton
from common.errors import UserError
from common.files import whole_file
from common.inference.motion import Motion, PinholeCamera, State
from common.motion_files.writer import WriteOptions

CAMERA_FIELDS = (
    *("width", "height", "focal x", "focal y", "centre x", "centre y"),
    *("k1", "k2", "p1", "p2", "k3"),
)
# Entry -> kind of its numbers and its axes: L frames, J joints, or a number.
_FRAMES: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "time": (np.float64, ("L",)),
    "poses_3d": (np.float32, ("L", "J", 3)),
    "root_3d": (np.float32, ("L", 3)),
    "world_3d": (np.float32, ("L", "J", 3)),
    "keypoints_2d": (np.float32, ("L", "J", 2)),
    "confidence": (np.float32, ("L", "J")),
    "state": (np.uint8, ("L", "J")),
    "derived": (np.bool_, ("J",)),
}
_SKELETON = ("skeleton", "joint_names", "parents", "left", "right")
_CAMERA = ("camera", "camera_fields", "camera_assumed")
_OURS = {"name", "state_names", *_FRAMES, *_SKELETON, *_CAMERA}


def save_npz(motions: Sequence[Motion], path: Path, options: WriteOptions) -> None:
    """Write one person's motion as plain arrays; `read_motion` reads it.

    Args:
        motions: one.
        path: the file.
        options: not used.

    Raises:
        UserError: it cannot be written.
    """
    (motion,) = motions
    with whole_file(path) as stream:
        np.savez_compressed(stream, **_entries(motion))


def _entries(motion: Motion) -> dict[str, Any]:
    """Entry -> array, none of them of objects."""
    clash = _OURS & motion.record.keys()
    if clash:
        raise ValueError(f"the record of a motion has the names of arrays: {sorted(clash)}")
    skeleton, camera = motion.skeleton, motion.camera
    numbers = [*camera.size, *camera.focal, *camera.centre, *camera.distortion]
    entries = {
        **{name: np.asarray(getattr(motion, name), kind) for name, (kind, _) in _FRAMES.items()},
        "state_names": _text([state.name.lower() for state in State]),
        "joint_names": _text(skeleton.joint_names),
        "parents": np.array(skeleton.parents, np.int32),
        "left": np.array(skeleton.left, np.int32),
        "right": np.array(skeleton.right, np.int32),
        "skeleton": _text(skeleton.name),
        "camera": np.array(numbers, np.float64),
        "camera_fields": _text(CAMERA_FIELDS),
        "camera_assumed": np.array(camera.assumed),
        "name": _text(motion.name),
    }
    return entries | {key: _text(value) for key, value in motion.record.items()}


def _text(value: str | Sequence[str]) -> np.ndarray:
    """Text as an array; what no UTF-8 can hold (bytes of an odd file name) becomes "?"."""
    if isinstance(value, str):
        return np.array(_writable(value), np.str_)
    return np.array([_writable(item) for item in value], np.str_)


def _writable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def read_motion(path: Path) -> Motion:
    """Read the motion that `save_npz` wrote.

    Args:
        path: the file; nothing in it is run.

    Returns:
        The motion; its arrays are read-only.

    Raises:
        UserError: it is missing or damaged, or not such a file.
    """
    entries = load_npz(path)
    with making_sense(str(path), "a motion written by `common.predict`"):
        return _motion(entries, path)


def _motion(entries: dict[str, Any], path: Path) -> Motion:
    missing = sorted(_OURS - entries.keys())
    if missing:
        raise UserError(
            f"{path}: no motion written by `common.predict`: it has no {', '.join(missing[:4])}"
        )
    skeleton = _read_skeleton(entries, path)
    axes = {"L": _length(entries["time"]), "J": skeleton.num_joints}
    arrays = {name: _numbers(entries, name, axes, path) for name in _FRAMES}
    if arrays["state"].max(initial=0) > max(State):
        raise UserError(f"{path}: 'state' holds {arrays['state'].max()}, at most {max(State)}")
    record = {
        key: str(value)
        for key, value in entries.items()
        if key not in _OURS and isinstance(value, np.ndarray) and value.dtype.kind == "U"
    }
    return Motion(
        name=_word(entries, "name", path),
        skeleton=skeleton,
        camera=_read_camera(entries, path),
        record=record,
        **arrays,
    )


def _numbers(entries: dict[str, Any], name: str, axes: dict[str, int], path: Path) -> np.ndarray:
    """An entry of `_FRAMES`, of the shape and the kind that it must have."""
    kind, wanted = _FRAMES[name]
    shape = tuple(axes.get(axis, axis) if isinstance(axis, str) else axis for axis in wanted)
    return _array(entries, name, np.dtype(kind), shape, path)


def _array(
    entries: dict[str, Any], name: str, kind: np.dtype, shape: Sequence[Any], path: Path
) -> np.ndarray:
    array = entries[name]
    if not isinstance(array, np.ndarray) or array.dtype != kind or array.shape != tuple(shape):
        found = (
            f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "another object"
        )
        raise UserError(f"{path}: {name!r} is {found}, {kind} {tuple(shape)} is needed")
    return array


def _length(value: Any) -> int:
    """How many numbers an array has; 0 for anything else."""
    return value.size if isinstance(value, np.ndarray) else 0


def _word(entries: dict[str, Any], name: str, path: Path) -> str:
    """A text of the file."""
    value = entries[name]
    if not isinstance(value, np.ndarray) or value.dtype.kind != "U" or value.shape != ():
        raise UserError(f"{path}: {name!r} is not a text")
    return str(value)


def _read_skeleton(entries: dict[str, Any], path: Path) -> Skeleton:
    """The skeleton of the file: ours of that name if it is the same, else as it stands there."""
    names = entries["joint_names"]
    if not isinstance(names, np.ndarray) or names.dtype.kind != "U" or names.ndim != 1:
        raise UserError(f"{path}: 'joint_names' is not a list of names")
    joints = len(names)
    integers = np.dtype(np.int32)
    parents = _array(entries, "parents", integers, (joints,), path).tolist()
    pairs = _length(entries["left"])
    left, right = (_array(entries, side, integers, (pairs,), path) for side in ("left", "right"))
    if not joints or parents[0] != -1 or not all(0 <= p < j for j, p in enumerate(parents) if j):
        raise UserError(f"{path}: 'parents' {parents} is no tree in which parents come first")
    if not all(0 <= joint < joints for joint in (*left.tolist(), *right.tolist())):
        raise UserError(f"{path}: 'left' or 'right' names a joint beyond the {joints}")
    found = Skeleton(
        name=_word(entries, "skeleton", path),
        joint_names=tuple(str(name) for name in names),
        parents=tuple(parents),
        left=tuple(left.tolist()),
        right=tuple(right.tolist()),
    )
    ours = SKELETONS.get(found.name)
    return ours if ours == found else found


def _read_camera(entries: dict[str, Any], path: Path) -> PinholeCamera:
    numbers = _array(entries, "camera", np.dtype(np.float64), (len(CAMERA_FIELDS),), path)
    assumed = _array(entries, "camera_assumed", np.dtype(np.bool_), (), path)
    if not np.isfinite(numbers).all():
        raise UserError(f"{path}: 'camera' holds numbers that are not finite")
    values = numbers.tolist()
    k1, k2, p1, p2, k3 = values[6:]
    return PinholeCamera(
        size=(int(values[0]), int(values[1])),
        focal=(values[2], values[3]),
        centre=(values[4], values[5]),
        distortion=(k1, k2, p1, p2, k3),
        assumed=bool(assumed),
    )
