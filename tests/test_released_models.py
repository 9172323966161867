"""The weights in checkpoint/: what they say of themselves, and that they do their tasks."""

import pytest
from paths import ROOT, SAMPLE
from released_models import HIDDEN, held_out, mean_pose, place, predict, protocols

from common.data.pose_ops import joint_errors
from common.inference.completion import load_completion
from common.inference.models import (
    COMPLETION_MODEL,
    DEFAULT_MODEL,
    OCCLUDED_MODEL,
    load_model,
)
from common.training.checkpoint import WeightFile

PRE_TRAINED = ROOT / "checkpoint" / "mpm_pretrain_27.pth"
TASKS = {
    DEFAULT_MODEL: "lift",
    OCCLUDED_MODEL: "comp2dlift",
    COMPLETION_MODEL: "comp3d",
    PRE_TRAINED: "pretrain",
}
STEP = 40  # every n-th frame of the sample's test subjects


@pytest.fixture(scope="module")
def occluded():
    """The model, and the poses that it is tested on."""
    model = load_model(OCCLUDED_MODEL, device="cpu")
    return model, held_out(SAMPLE, "gt", model)


@pytest.fixture(scope="module")
def completing():
    """The model, the poses that it is tested on, and the mean of others."""
    model = load_completion(COMPLETION_MODEL, device="cpu")
    store, others = (held_out(SAMPLE, "gt", model, train=train) for train in (False, True))
    return model, store, mean_pose(others.pose_3d)


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.name)
def test_each_is_small_and_says_what_it_is(path):
    file = WeightFile.load(path)
    assert path.stat().st_size < 12e6
    assert file.record["task"] == TASKS[path] and file.record["normalise"] == "rays"
    assert dict(file.flags())["frames"] == 27 and file.record["t_downsample"] == 2


def test_all_are_small_and_have_a_card():
    paths = sorted((ROOT / "checkpoint").glob("*.pth"))
    assert paths == sorted(TASKS)
    assert sum(path.stat().st_size for path in paths) < 30e6
    card = (ROOT / "checkpoint" / "README.md").read_text()
    assert all(f"`{path.name}`" in card for path in paths)


@pytest.mark.slow
def test_the_lifter_lifts():
    model = load_model(DEFAULT_MODEL, device="cpu")
    store = held_out(SAMPLE, "gt", model)
    predicted, frames = predict(model, store.pose_2d, store, None, STEP)
    p1, p2 = protocols(predicted, store.pose_3d[frames])
    assert p1 < 70 and p2 < 55  # mm


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bound"), [("nothing", 115), ("left arm", 130), ("both legs", 135)]
)
def test_the_occluded_lifter_recovers_limbs(name, bound, occluded):
    model, store = occluded
    predicted, frames = predict(model, store.pose_2d, store, HIDDEN[name], STEP)
    p1, p2 = protocols(predicted, store.pose_3d[frames])
    assert p2 < p1 < bound  # mm


@pytest.mark.slow
@pytest.mark.parametrize("name", ["right leg", "left arm"])
def test_completion_is_better_than_the_mean_pose(name, completing):
    model, store, average = completing
    joints = HIDDEN[name]
    predicted, frames = predict(model, store.pose_3d, store, joints, STEP)
    target = store.pose_3d[frames]
    mean = place(average, target, joints)
    ours, its = (joint_errors(pose, target)[:, list(joints)].mean() for pose in (predicted, mean))
    assert ours < 0.55 * its
