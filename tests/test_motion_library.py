"""Motion files of any kind through dataset/prepare_motion.py: sound parts of all people, lazily."""

import json
import weakref

import numpy as np
import pytest
from bvh_files import PARTS, names_of, write_bvh
from preparing import run_here

from common.data.npz import load_npz
from common.data.skeleton import H36M_32_TO_17
from common.errors import UserError
from dataset import bvh_clips, motion_library, prepare_motion
from dataset.bvh_clips import load_names
from dataset.motion_library import MotionLibrary

ARGUMENTS = ("--cameras", 1, "--bodies", 1, "--test_cameras", 1, "--part_seconds", 60)


@pytest.fixture
def folder(tmp_path):
    """BVH files of two people, in the names of two programs, at two frame rates."""
    path = tmp_path / "in"
    write_bvh(path / "02_01.bvh", names_of("DAZ"), frames=50)
    write_bvh(path / "02_02.BVH", names_of("LAFAN1"), frames=60, frame_rate=100, up="z", unit=1)
    write_bvh(path / "more" / "03_01.bvh", names_of("Blender"), frames=50)
    return path


def npz_clip(folder, name, change=lambda poses: None, frames=200):
    """An .npz file of the motion of a BVH file, with something changed."""
    path = write_bvh(folder / "x.bvh", names_of("DAZ"), frames=frames)
    ((_, clip),) = bvh_clips.bvh_clips(path)
    path.unlink()
    poses = clip.poses.copy()
    change(poses)
    np.savez(folder / f"{name}.npz", **{name: poses})
    return poses


def test_bvh_files_become_training_files(folder, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("more/*\n")
    words = ("--output", tmp_path / "out", *ARGUMENTS, "--held_out", tmp_path / "list.txt")
    run_here(monkeypatch, prepare_motion, folder, *words)
    content = load_npz(tmp_path / "out" / "data_3d_h36m.npz")
    assert content["metadata"] == {"train_subjects": ["02"], "test_subjects": ["more-03"]}
    lengths = {
        (subject, action): len(poses)
        for subject, actions in content["positions_3d"].items()
        for action, poses in actions.items()
    }
    assert lengths == {("02", "02_01 0"): 50, ("02", "02_02 0"): 30, ("more-03", "03_01 0"): 50}
    poses = content["positions_3d"]["02"]["02_01 0"]
    poses = poses[:, list(H36M_32_TO_17)] if poses.shape[1] == 32 else poses
    ((_, clip),) = bvh_clips.bvh_clips(folder / "02_01.bvh")
    np.testing.assert_allclose(poses, clip.poses, atol=1e-6)


def test_parts_of_a_clip_stay_with_their_person(tmp_path):
    def spoil(poses):
        poses[100, 3] = np.nan

    poses = npz_clip(tmp_path, "04_01", spoil)
    library = MotionLibrary(tmp_path)
    first, second = library.clips("04")
    assert (first.name, second.name) == ("04_01 part 1", "04_01 part 2")
    np.testing.assert_array_equal(first.poses, poses[:100])
    np.testing.assert_array_equal(second.poses, poses[101:])


def test_unchecked_clips_are_taken_whole_unless_they_hold_no_numbers(tmp_path):
    def stretch(poses):
        poses[50:60, 3] += 0.5

    poses = npz_clip(tmp_path, "04_01", stretch)
    assert sum(len(clip.poses) for clip in MotionLibrary(tmp_path).clips("04")) < len(poses)
    (whole,) = MotionLibrary(tmp_path, checked=False).clips("04")
    np.testing.assert_array_equal(whole.poses, poses)
    poses[3, 3] = np.nan
    np.savez(tmp_path / "04_01.npz", **{"04_01": poses})
    with pytest.raises(UserError, match="04_01: NaN"):
        MotionLibrary(tmp_path, checked=False)


def test_kinds_of_files_go_together_and_repeated_names_do_not(folder):
    npz_clip(folder, "05_01")
    library = MotionLibrary(folder)
    assert list(library.people) == ["02", "05", "more/03"]
    npz_clip(folder, "02_01")
    with pytest.raises(UserError, match="02_01.bvh and .*02_01.npz: both hold a clip '02_01'"):
        MotionLibrary(folder)


def test_memory_holds_one_clip_at_a_time(tmp_path, monkeypatch):
    for number in range(12):
        write_bvh(tmp_path / f"{number:02}_01.bvh", names_of("DAZ"), frames=30)
    read: list[weakref.ref] = []
    most = 0

    def counted(path, name, names=None):
        nonlocal most
        clip, guess = bvh_clips_read(path, name, names)
        read.append(weakref.ref(clip))
        most = max(most, sum(reference() is not None for reference in read))
        return clip, guess

    bvh_clips_read = bvh_clips.read_bvh_clip
    monkeypatch.setattr(bvh_clips, "read_bvh_clip", counted)
    monkeypatch.setattr(motion_library, "read_bvh_clip", counted)
    library = MotionLibrary(tmp_path)
    for person in library.people:
        for _ in library.clips(person):
            pass
    assert len(read) == 24 and most <= 2


def test_names_of_ones_own_reach_the_files(tmp_path, monkeypatch):
    own = {part: f"Bone{number}" for number, part in enumerate(PARTS)}
    write_bvh(tmp_path / "in" / "a.bvh", own, frames=50)
    write_bvh(tmp_path / "in" / "b.bvh", own, frames=50)
    with pytest.raises(UserError, match="can be used; .*--names"):
        MotionLibrary(tmp_path / "in")
    names = {part: name for part, name in own.items() if part not in ("hip", "chest")}
    (tmp_path / "map.json").write_text(json.dumps(names))
    assert len(MotionLibrary(tmp_path / "in", load_names(tmp_path / "map.json")).people) == 2
    words = ("--output", tmp_path / "out", *ARGUMENTS, "--names", tmp_path / "map.json")
    run_here(monkeypatch, prepare_motion, tmp_path / "in", *words)
    assert len(load_npz(tmp_path / "out" / "data_3d_h36m.npz")["positions_3d"]) == 2


def test_nothing_to_use_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no .npz or .bvh files"):
        MotionLibrary(tmp_path)

    def spoil(poses):
        poses[:] = np.nan

    npz_clip(tmp_path, "a", spoil)
    with pytest.raises(UserError, match="no motion in it can be used"):
        MotionLibrary(tmp_path)
