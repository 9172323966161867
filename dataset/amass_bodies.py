"""AMASS motions and the body models that turn them into joints: for prepare_amass.py."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.data.amass import FRAME_RATE
from common.data.keypoint_files import frame_rate
from common.data.npz import float_tensor, load_npz, numbers
from common.data.skeleton import JOINT_ABSENT_FROM_16
from common.errors import UserError, shown
from common.files import files_below
from common.log import LOG
from dataset import preparation

FRAMES_PER_PASS = 128  # of the body model; bounds the memory that a long sequence takes
# The joints of SMPL and SMPL-H that our 16 take.
MODEL_JOINTS_TO_16 = (0, 2, 5, 8, 1, 4, 7, 6, 12, 15, 16, 18, 20, 17, 19, 21)
MODEL_JOINTS = (24, 52)  # of SMPL, of SMPL-H; the first 22 are the same, hands follow
SHARED_ANGLES = 3 * 22
GENDERS = ("neutral", "male", "female")  # the first that there is stands in for those missing
MODEL_FILES = ("{0}/model.npz", "SMPLH_{1}.npz", "SMPL_{1}.npz")
MODEL_FOLDERS = ("", "smplh", "smpl")
# Entries of a model file and their axes: vertices, joints K, shape and pose directions.
MODEL_AXES = {
    "v_template": "V3",
    "weights": "VK",
    "J_regressor": "KV",
    "kintree_table": "2K",
    "shapedirs": "V3S",
    "posedirs": "V3P",
}


class Unusable(Exception):
    """A file is skipped; the message is the reason, equal for all files of its kind."""


@dataclass(frozen=True)
class Motion:
    """What an AMASS file holds.

    Attributes:
        angles: (N, 72 or 156) float32, axis-angle of the joints of SMPL or SMPL-H.
        positions: (N, 3) float32 metres, of the body in a world whose z points up.
        shape: (S,) float32 coefficients.
        gender: of `GENDERS`.
        frame_rate: of the N frames.
    """

    angles: Tensor
    positions: Tensor
    shape: Tensor
    gender: str
    frame_rate: float

    @classmethod
    def read(cls, path: Path) -> "Motion":
        """Read a file.

        Raises:
            Unusable: it is damaged, holds no motion, or that of another model.
        """
        try:
            content = load_npz(path)
        except UserError as error:
            LOG.info("%s", error)
            raise Unusable("cannot be read") from None
        if "poses" not in content:
            raise Unusable("no poses in it")
        angles, positions, shape = (_numbers(content.get(k)) for k in ("poses", "trans", "betas"))
        rate = content.get("mocap_framerate", content.get("mocap_frame_rate"))
        if angles.dim() != 2 or angles.shape[1] not in [3 * joints for joints in MODEL_JOINTS]:
            raise Unusable("not the 156 angles of SMPL-H or the 72 of SMPL")
        if positions.shape != (len(angles), 3) or shape.dim() != 1 or not len(shape):
            raise Unusable("poses, trans and betas do not fit together")
        try:
            fps = frame_rate(rate, str(path))
        except UserError as error:
            if rate is not None:
                LOG.info("%s", error)
            raise Unusable("no frame rate in it") from None
        return cls(angles, positions, shape, _gender(content.get("gender")), fps)


def _numbers(value: Any) -> Tensor:
    """An array as float32; an empty one for what is no array of numbers.

    Raises:
        Unusable: NaN or infinity in it.
    """
    array = numbers(value)
    if array is None:
        return torch.empty(0)
    tensor = float_tensor(array)
    if not tensor.isfinite().all():
        raise Unusable("NaN or infinity in it")
    return tensor


def _gender(value: Any) -> str:
    """ "male" from what files have: 'male', b'male', an array of either, or "b'male'"."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    word = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size else value
    word = word.decode("latin1") if isinstance(word, bytes) else shown(word)
    word = word.removeprefix("b'").strip("'").lower()
    return word if word in GENDERS else GENDERS[0]


def resample(motion: Motion, bodies: "Bodies", *, too_few: int) -> Tensor:
    """The joints of a motion at 25 frames/s, linear between its own frames.

    Args:
        motion: at any frame rate.
        bodies: poses the body, at the frames that are needed only.
        too_few: a number of frames at 25 frames/s that is still too small.

    Returns:
        (L, 16, 3) world metres.

    Raises:
        Unusable: it is too short.
    """
    step = motion.frame_rate / FRAME_RATE
    count = math.floor((len(motion.angles) - 1) / step + 1e-6) + 1
    if count <= too_few:
        raise Unusable(f"shorter than {too_few + 1} frames at {FRAME_RATE} frames/s")
    times = torch.arange(count, dtype=torch.float64) * step
    before = (times + 1e-6).floor()  # a time may miss its own frame by a rounding error
    share = (times - before).clamp(min=0)
    between = share > 1e-6
    first = before.long()
    needed = torch.cat([first, first[between] + 1]).unique()
    joints = bodies.of(motion.gender).joints(motion.angles[needed], motion.shape)
    joints = joints + motion.positions[needed].unsqueeze(1)
    place = torch.searchsorted(needed, first)  # where the next frame is needed, it comes next
    weight = (share * between).to(joints)[:, None, None]
    return torch.lerp(joints[place], joints[place + between.long()], weight)


@dataclass(frozen=True)
class BodyModel:
    """A SMPL-H or SMPL model, cut down to the V vertices that its joints depend on.

    Attributes:
        lbs: the module smplx.lbs.
        template: (V, 3) metres.
        shape_directions: (V, 3, S).
        pose_directions: (9 * (K - 1), V * 3).
        own_regressor: (K, V), of the model's own joints.
        parents: (K,) joint numbers.
        weights: (V, K), of skinning.
        regressor: (16, V); None takes the model's own joints.
    """

    lbs: ModuleType
    template: Tensor
    shape_directions: Tensor
    pose_directions: Tensor
    own_regressor: Tensor
    parents: Tensor
    weights: Tensor
    regressor: Tensor | None

    @classmethod
    def read(cls, lbs: ModuleType, path: Path, regressor: Tensor | None) -> "BodyModel":
        """Read an .npz file of a model; nothing in it is run.

        Args:
            lbs: the module smplx.lbs.
            path: the file.
            regressor: (16, all vertices) or None.

        Raises:
            UserError: the file holds no such model or more than data, or the regressor does not
                fit it.
        """
        arrays = _model_arrays(path)
        template, own_regressor = arrays["v_template"], arrays["J_regressor"]
        if regressor is not None and regressor.shape[1] != len(template):
            raise UserError(
                f"--regressor has {regressor.shape[1]} columns, {path} has {len(template)} vertices"
            )
        used = (own_regressor != 0).any(0)
        if regressor is not None:
            used |= (regressor != 0).any(0)
        parents = arrays["kintree_table"][0].long()
        parents[0] = -1
        return cls(
            lbs=lbs,
            template=template[used],
            shape_directions=arrays["shapedirs"][used],
            pose_directions=arrays["posedirs"][used].flatten(0, 1).T.contiguous(),
            own_regressor=own_regressor[:, used],
            parents=parents,
            weights=arrays["weights"][used],
            regressor=None if regressor is None else regressor[:, used],
        )

    def joints(self, angles: Tensor, shape: Tensor) -> Tensor:
        """Pose the body at the origin.

        Args:
            angles: (N, 72 or 156) axis-angle.
            shape: (S,) coefficients; those that the model does not have are ignored.

        Returns:
            (N, 16, 3) metres.
        """
        width = 3 * len(self.parents)
        if angles.shape[1] != width:  # hands of the other model: flat
            flat = angles.new_zeros(len(angles), width - SHARED_ANGLES)
            angles = torch.cat([angles[:, :SHARED_ANGLES], flat], dim=1)
        known = min(len(shape), self.shape_directions.shape[-1])
        return torch.cat([self._pass(a, shape[:known]) for a in angles.split(FRAMES_PER_PASS)])

    def _pass(self, angles: Tensor, shape: Tensor) -> Tensor:
        vertices, joints = self.lbs.lbs(
            shape.expand(len(angles), -1),
            angles,
            self.template,
            self.shape_directions[..., : len(shape)],
            self.pose_directions,
            self.own_regressor,
            self.parents,
            self.weights,
        )
        if self.regressor is None:
            return joints[:, MODEL_JOINTS_TO_16]
        return self.regressor @ vertices


def _model_arrays(path: Path) -> dict[str, Tensor]:
    """The entries of a model file, float32, checked."""
    content = load_npz(path)
    arrays, sizes = {}, {"2": 2, "3": 3}
    for name, axes in MODEL_AXES.items():
        array = numbers(content.get(name))
        shape = () if array is None else array.shape
        if (
            array is None
            or len(shape) != len(axes)
            or any(sizes.setdefault(a, s) != s for a, s in zip(axes, shape, strict=True))
        ):
            raise UserError(
                f"{path}: its {name} of shape {shape} is not that of a SMPL-H or SMPL model"
            )
        arrays[name] = float_tensor(array)
    if sizes["K"] not in MODEL_JOINTS or sizes["P"] != 9 * (sizes["K"] - 1):
        raise UserError(f"{path}: {sizes['K']} joints; SMPL-H has 52, SMPL 24")
    return arrays


@dataclass(frozen=True)
class Bodies:
    """Body models by gender.

    Attributes:
        models: gender -> model, for the genders that there is a file of.
        replaced: gender without a file -> how often another one stood in.
    """

    models: Mapping[str, BodyModel]
    replaced: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, lbs: ModuleType, path: Path, regressor: Path | None) -> "Bodies":
        """Read every model that a path holds.

        Raises:
            UserError: there is none, or one cannot be read.
        """
        matrix = None if regressor is None else read_regressor(regressor)
        read: dict[Path, BodyModel] = {}
        models = {}
        for gender, file in model_files(path).items():
            if file not in read:
                read[file] = BodyModel.read(lbs, file, matrix)
            models[gender] = read[file]
        return cls(models)

    def of(self, gender: str) -> BodyModel:
        """The model for a gender, or what stands in for it."""
        if gender not in self.models:
            self.replaced[gender] += 1
            gender = self.stand_in
        return self.models[gender]

    @property
    def stand_in(self) -> str:
        """The gender whose model is used where there is none."""
        return next(gender for gender in GENDERS if gender in self.models)


def model_files(path: Path) -> dict[str, Path]:
    """The model file of each gender; one file serves all.

    Raises:
        UserError: there is none that can be read without running code.
    """
    if path.is_file() and path.suffix == ".npz":
        return dict.fromkeys(GENDERS, path)
    found = {}
    for gender in GENDERS:
        names = [name.format(gender, gender.upper()) for name in MODEL_FILES]
        places = [path / folder / name for folder in MODEL_FOLDERS for name in names]
        if place := next(filter(Path.is_file, places), None):
            found[gender] = place
    if found:
        return found
    if path.suffix == ".pkl" or files_below(path, ".pkl"):
        raise UserError(
            f"{path}: a model in a .pkl file is not read, since reading one can run any code; get "
            "the .npz files that the page of AMASS leads to, or save a model you trust as .npz"
        )
    names = [name.format("male", "MALE") for name in MODEL_FILES]
    raise UserError(f"--body_model {path}: no model there, neither {' nor '.join(names)}")


def read_regressor(path: Path) -> Tensor:
    """A matrix that makes joints of vertices.

    Args:
        path: .npy or .npz file with one matrix, (16 or 17, vertices).

    Returns:
        (16, vertices) float32.

    Raises:
        UserError: it holds something else.
    """
    content = preparation.load_arrays(path, "regressor")
    arrays = [numbers(array) for array in content.values()]
    shapes = [() if array is None else array.shape for array in arrays]
    matrix = arrays[0] if len(arrays) == 1 else None
    if matrix is None or matrix.ndim != 2 or len(matrix) not in (16, 17):
        raise UserError(
            f"{path}: shapes {shown(shapes)}; one of 16 or 17 joints x vertices is needed"
        )
    if matrix.dtype.kind != "f" or not np.allclose(matrix.sum(1), 1, atol=0.01):
        raise UserError(f"{path}: a joint's weights must add up to 1")
    if len(matrix) == 17:
        matrix = np.delete(matrix, JOINT_ABSENT_FROM_16, axis=0)
    return torch.from_numpy(matrix.astype(np.float32))
