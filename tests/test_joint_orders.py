"""Every joint order becomes ours: mirrored, with joints missing, derived joints marked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import SAMPLE

from common.data.joint_orders import ORDERS
from common.data.layouts import LAYOUTS
from common.data.npz import load_npz
from common.data.skeleton import H36M_17, H36M_32_TO_17

BY_NAME = {order.skeleton.name: order for order in ORDERS}
# Joint in the words of the orders -> joint of ours, where it is the same place of the body.
SAME = {
    "mid hip": "hip",
    "mid spine": "spine",
    "neck base": "thorax",
    "nose": "neck",
    "head top": "head",
    "left ankle": "left foot",
    "right ankle": "right foot",
}
NOT_THERE = {
    "coco_17": {"hip", "spine", "thorax", "head"},
    "halpe_26": {"spine"},
    "body_25": {"spine", "head"},
    "openpose_18": {"hip", "spine", "head"},
    "mpii_16": {"spine", "neck"},
    "mediapipe_33": {"hip", "spine", "thorax", "head"},
    "h36m_17": set(),
    "h36m_16": {"neck"},
}
any_order = st.sampled_from(sorted(BY_NAME))


def in_order(order, ours):
    """Poses (L, 17, C) of ours in another order, NaN where ours have no such joint."""
    poses = np.full((len(ours), len(order.names), ours.shape[2]), np.nan)
    for number, name in enumerate(order.names):
        joint = SAME.get(name, name)
        if joint in H36M_17.joint_names:
            poses[:, number] = ours[:, H36M_17.joint_names.index(joint)]
    return poses


def body(rng, length=5):
    """Poses (L, 17, 3) whose middle joints are exactly in the middle, the face on a line."""
    pose = rng.normal(size=(length, 17, 3))
    number = H36M_17.joint_names.index
    pose[:, number("hip")] = pose[:, [1, 4]].mean(1)
    pose[:, number("thorax")] = pose[:, [11, 14]].mean(1)
    pose[:, number("spine")] = pose[:, [0, 8]].mean(1)
    pose[:, number("neck")] = pose[:, [8, 10]].mean(1)
    return pose


def project(pose):
    """A weak perspective, under which means stay means."""
    return 1000 * pose[..., :2] / 5 + 500


@given(any_order, st.integers(0, 2**32 - 1), st.floats(0, 0.4))
@settings(deadline=None)
def test_conversion_commutes_with_the_mirror(name, seed, share_missing):
    order, rng = BY_NAME[name], np.random.default_rng(seed)
    shape = (6, order.skeleton.num_joints)
    pose, confidence = rng.normal(size=(*shape, 2)), rng.uniform(size=shape)
    pose[rng.uniform(size=shape) < share_missing] = np.nan
    swap, ours = list(order.skeleton.mirror_order), list(H36M_17.mirror_order)
    there, sure = order.to_ours((pose * [-1, 1])[:, swap], confidence[:, swap])
    back, sure_back = order.to_ours(pose, confidence)
    np.testing.assert_allclose(there, (back * [-1, 1])[:, ours], atol=1e-12)
    np.testing.assert_array_equal(sure, sure_back[:, ours])


@given(any_order, st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_projected_pose_comes_back(name, seed):
    """All but the head's top where the order has only a face: that is another place."""
    order = BY_NAME[name]
    truth = project(body(np.random.default_rng(seed)))
    converted, sure = order.to_ours(in_order(order, truth), np.ones((5, order.skeleton.num_joints)))
    head = H36M_17.joint_names.index("head")
    exact = [j for j in range(17) if j != head or "head top" in order.names]
    np.testing.assert_allclose(converted[:, exact], truth[:, exact], atol=1e-9)
    assert (sure == 1).all()


def test_derived_joints_are_those_that_an_order_lacks():
    for name, order in BY_NAME.items():
        marked = {j for j, d in zip(H36M_17.joint_names, order.derived, strict=True) if d}
        assert marked == NOT_THERE[name], name


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_order_is_one_tree_with_all_of_its_sides(name):
    skeleton, names = BY_NAME[name].skeleton, BY_NAME[name].names
    assert len(set(names)) == len(names) == len(skeleton.parents)
    assert [n for n in range(len(names)) if skeleton.parents[n] == -1] == [0]
    assert {names[j] for j in skeleton.left} == {n for n in names if n.startswith("left ")}
    for left, right in zip(skeleton.left, skeleton.right, strict=True):
        assert names[left].removeprefix("left") == names[right].removeprefix("right")
        assert skeleton.joint_names[left] != skeleton.joint_names[right]


def test_a_joint_whose_sources_are_missing_is_missing():
    coco = BY_NAME["coco_17"]
    pose, confidence = np.random.default_rng(0).normal(size=(1, 17, 2)), np.full((1, 17), 0.9)
    pose[0, coco.names.index("left hip")] = np.nan
    ours, sure = coco.to_ours(pose, confidence)
    missing = {H36M_17.joint_names[j] for j in np.flatnonzero(np.isnan(ours).any((0, 2)))}
    assert missing == {"hip", "left hip", "spine"}
    assert (sure[0] > 0).tolist() == [name not in missing for name in H36M_17.joint_names]


def test_a_derived_joint_is_as_sure_as_the_least_sure_of_its_sources():
    coco = BY_NAME["coco_17"]
    confidence = np.linspace(0.1, 0.9, 17)[None]
    _, sure = coco.to_ours(np.ones((1, 17, 2)), confidence)
    place = H36M_17.joint_names.index
    assert sure[0, place("hip")] == confidence[0, coco.names.index("left hip")]
    assert sure[0, place("head")] == confidence[0, coco.names.index("left ear")]


@pytest.mark.parametrize(
    "lost",
    [
        ["left ear"],
        ["right ear"],
        ["left ear", "right ear"],
        ["left ear", "right ear", "left eye"],
        ["left ear", "right ear", "left eye", "right eye"],
    ],
)
def test_the_head_is_found_from_what_is_seen_of_the_face(lost):
    """A face of the proportions that the fit is about: the head's top stays where it is."""
    coco = BY_NAME["coco_17"]
    at = {"left ear": (0, -0.38), "right ear": (0, -0.38), "left eye": (0, -0.449)}
    at |= {"right eye": (0, -0.449), "nose": (0, -0.425), "left hip": (0, 1), "right hip": (0, 1)}
    pose = np.array([at.get(name, (0, 0)) for name in coco.names], float)[None]
    pose[0, [coco.names.index(name) for name in lost]] = np.nan
    ours, _ = coco.to_ours(pose, np.ones((1, 17)))
    assert ours[0, H36M_17.joint_names.index("head")] == pytest.approx((0, -0.646), abs=0.002)


def test_the_fit_of_the_head_is_that_of_the_sample():
    """Median distances of head and nose in the sample, which the constants were fitted on."""
    files = load_npz(SAMPLE / "data_3d_h36m.npz")["positions_3d"]
    world = np.concatenate([np.asarray(p) for actions in files.values() for p in actions.values()])
    pose = world[:, list(H36M_32_TO_17)].astype(float)
    shoulders, hips, length = pose[:, [11, 14]].mean(1), pose[:, [1, 4]].mean(1), np.linalg.norm
    head = length(pose[:, 10] - shoulders, axis=-1) / length(shoulders - hips, axis=-1)
    assert np.median(head) == pytest.approx(0.646, abs=0.001)
    neck = pose[:, 10] - pose[:, 8]
    along = ((pose[:, 9] - pose[:, 8]) * neck).sum(-1) / (neck**2).sum(-1)
    assert np.median(along) == pytest.approx(0.47, abs=0.01)


def test_layouts_share_the_orders():
    assert [order for layout in LAYOUTS.values() for order in layout.orders] == list(ORDERS)
    pose = np.random.default_rng(0).normal(size=(2, 17, 2))
    confidence = np.random.default_rng(1).random((2, 17))
    assert all(
        a is b
        for a, b in zip(LAYOUTS["h36m"].to_ours(pose, confidence), (pose, confidence), strict=True)
    )
    converted = BY_NAME["coco_17"].to_ours(pose, confidence)
    for ours, wanted in zip(LAYOUTS["coco"].to_ours(pose, confidence), converted, strict=True):
        np.testing.assert_array_equal(ours, wanted)
