"""A toy body model and motions for it, and their joints worked out straight from the definition."""

import numpy as np
import smplx.lbs
from scipy.spatial.transform import Rotation

from dataset.amass_bodies import Bodies

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
PARENTS += [p for wrist in (20, 21) for k in range(5) for p in (wrist, -1, -1)]  # hands
for hand in range(22, 52, 3):
    PARENTS[hand + 1], PARENTS[hand + 2] = hand, hand + 1
VERTICES = 60
# hip; right leg; left leg; spine, thorax, head; left arm; right arm, in SMPL's numbering.
SMPL_TO_16 = [0, 2, 5, 8, 1, 4, 7, 6, 12, 15, 16, 18, 20, 17, 19, 21]


def toy_model(joints=52, seed=0):
    """A body model whose joint j is its vertex j; further vertices hang on joint 3."""
    rng = np.random.default_rng(seed)
    template = rng.normal(0, 0.3, (VERTICES, 3))
    weights = np.zeros((VERTICES, joints))
    weights[np.arange(VERTICES), np.where(np.arange(VERTICES) < joints, np.arange(VERTICES), 3)] = 1
    parents = np.array(PARENTS[:22] + [20, 21] if joints == 24 else PARENTS, dtype=np.int64)
    return {
        "v_template": template,
        "weights": weights,
        "J_regressor": np.eye(joints, VERTICES),
        "kintree_table": np.stack([parents.astype(np.uint32), np.arange(joints, dtype=np.uint32)]),
        "shapedirs": rng.normal(0, 0.02, (VERTICES, 3, 16)),
        "posedirs": rng.normal(0, 0.01, (VERTICES, 3, 9 * (joints - 1))),
        "f": np.zeros((4, 3), np.uint32),
    }


def naive_body(model, angles, betas):
    """Vertices (V, 3) and joints (K, 3) of one frame, straight from the definition of the model."""
    count = len(model["J_regressor"])
    rest = model["v_template"] + model["shapedirs"] @ betas[: model["shapedirs"].shape[-1]]
    rest_joints = model["J_regressor"] @ rest
    turns = Rotation.from_rotvec(angles.reshape(count, 3).copy()).as_matrix()
    parents = model["kintree_table"][0].astype(np.int32)
    turned, joints = [turns[0]], [rest_joints[0]]
    for j in range(1, count):
        p = parents[j]
        joints.append(joints[p] + turned[p] @ (rest_joints[j] - rest_joints[p]))
        turned.append(turned[p] @ turns[j])
    bent = rest + model["posedirs"] @ (turns[1:] - np.eye(3)).reshape(-1)
    vertices = [
        sum(w[j] * (turned[j] @ (v - rest_joints[j]) + joints[j]) for j in np.flatnonzero(w))
        for v, w in zip(bent, model["weights"], strict=True)
    ]
    return np.stack(vertices), np.stack(joints)


def toy_motion(length, *, rate=120.0, gender="male", joints=52, seed=1, **others):
    """An AMASS file's content: someone who wanders and waves."""
    rng = np.random.default_rng(seed)
    waves = np.sin(np.arange(length)[:, None] * rng.uniform(0.01, 0.05, 3 * joints) + rng.normal())
    return {
        "poses": waves * rng.normal(0, 0.5, 3 * joints),
        "trans": np.cumsum(rng.normal(0, 0.01, (length, 3)), 0) + [3, -2, 0.9],
        "betas": rng.normal(0, 1, 16),
        "gender": gender,
        "mocap_framerate": rate,
        "dmpls": np.zeros((length, 8)),
    } | others


def naive_joints_at_25(motion, model, regressor=None):
    """(L, 16, 3) by posing every frame and interpolating every number by itself."""
    joints = []
    for angles in motion["poses"]:
        vertices, own = naive_body(model, angles, motion["betas"])
        joints.append(own[SMPL_TO_16] if regressor is None else regressor @ vertices)
    joints = np.stack(joints) + motion["trans"][:, None]
    own_times = np.arange(len(joints)) / motion["mocap_framerate"]
    times = np.arange(0, own_times[-1] + 1e-9, 1 / 25)
    columns = [np.interp(times, own_times, column) for column in joints.reshape(len(joints), -1).T]
    return np.stack(columns, 1).reshape(len(times), 16, 3)


def bodies_of(folder, regressor=None, **models):
    for gender, model in models.items():
        (folder / gender).mkdir(parents=True, exist_ok=True)
        np.savez(folder / gender / "model.npz", **model)
    return Bodies.read(smplx.lbs, folder, regressor)
