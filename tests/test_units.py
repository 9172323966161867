"""Units are recognised by magnitude, by one check in loaders, make_custom.py and inspect."""

import numpy as np
import pytest
from paths import SAMPLE

from common.data import amass, h36m, mpi_inf_3dhp
from common.data.base import DataOptions
from common.data.inspect import check, read_clips
from common.data.npz import load_npz
from common.data.units import wrong_length_unit, wrong_pixels
from common.errors import UserError

BODY = np.random.default_rng(0).normal(size=(10, 17, 3)) * 0.5
PIXELS = np.random.default_rng(1).uniform(200, 800, (10, 17, 2))


@pytest.mark.parametrize(
    ("scale", "units_per_metre", "complaint"),
    [
        (1, 1, ""),
        (1000, 1, "3D poses in metres are needed (they are in millimetres? divide by 1000)"),
        (100, 1, "3D poses in metres are needed"),  # centimetres
        (0.001, 1, "3D poses in metres are needed (wrong unit?)"),
        (1000, 1000, ""),
        (1, 1000, "in millimetres are needed (they are in metres? multiply by 1000)"),
        (1e6, 1000, "3D poses in millimetres are needed (wrong unit?)"),
    ],
)
def test_lengths(scale, units_per_metre, complaint):
    far = BODY * scale + 5 * units_per_metre  # where the body is does not matter
    reason = wrong_length_unit(far, units_per_metre=units_per_metre)
    assert complaint in reason and bool(reason) == bool(complaint)


def test_poses_that_are_not_known_have_no_unit():
    unknown = np.full((4, 17, 3), np.nan)
    assert wrong_length_unit(unknown) == ""
    assert wrong_length_unit(np.concatenate([unknown, BODY])) == ""
    assert wrong_length_unit(np.concatenate([unknown, BODY * 1000]))


@pytest.mark.parametrize(
    ("pixels", "size", "complaint"),
    [
        (PIXELS, (1000, 1000), ""),
        (PIXELS / 1000, (1000, 1000), "already normalised"),  # 0 to 1
        (PIXELS / 500 - 1, (1000, 1000), "already normalised"),  # -1 to 1
        (PIXELS + [0, 900], (1080, 1920), ""),  # portrait, as said
        (PIXELS + [0, 900], (1920, 1080), "width and height swapped?"),
        (PIXELS * [2, 1], (1080, 1920), ""),  # partly outside only
        (np.full((2, 17, 2), np.nan), (10, 10), ""),
    ],
)
def test_pixels(pixels, size, complaint):
    reason = wrong_pixels(pixels, *size)
    assert complaint in reason and bool(reason) == bool(complaint)


CASES = [
    ("data_3d_h36m.npz", "positions_3d", 1000, "in metres are needed"),
    ("data_2d_h36m_gt.npz", "positions_2d", 1 / 1000, "already normalised"),
    ("data_train_3dhp.npz", "data_3d", 1 / 1000, "in millimetres are needed"),
    ("data_train_3dhp.npz", "data_2d", 1 / 2048, "already normalised"),
    ("amass.npz", "pose3d", 1000, "in metres are needed"),
]
LOADERS = {"h36m": (h36m, 17), "3dhp": (mpi_inf_3dhp, 16), "amas": (amass, 16)}


@pytest.mark.parametrize(("name", "key", "scale", "complaint"), CASES)
def test_loaders_and_inspect_agree(tmp_path, name, key, scale, complaint):
    for path in SAMPLE.glob("*.npz"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / name).unlink()

    def walk(value, under=False):
        if isinstance(value, dict):
            return {k: walk(v, under or k == key) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [walk(v, under) for v in value]
        return value * scale if under and getattr(value, "ndim", 0) == 3 else value

    content = {
        entry: np.array(walk(value, entry == key), dtype=object)
        for entry, value in load_npz(SAMPLE / name).items()
    }
    np.savez(tmp_path / name, **content)
    kind = next(k for k in LOADERS if k in name)
    module, joints = LOADERS[kind]
    options = DataOptions(tmp_path, joints, train=True, test=kind == "h36m")
    with pytest.raises(UserError) as raised:
        module.load(options)
    assert complaint in str(raised.value) and name in str(raised.value)
    _, clips = read_clips(tmp_path / name)
    assert any(complaint in problem for clip in clips for problem in check(clip))
