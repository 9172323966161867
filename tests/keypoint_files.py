"""Keypoints of a known person, and files of every format that hold them."""

import csv
import json

import numpy as np
from paths import SAMPLE

from common.data.joint_orders import ORDERS
from common.data.npz import load_npz
from common.data.skeleton import H36M_17

SIZE = (1000, 1002)
BY_NAME = {order.skeleton.name: order for order in ORDERS}
# Part of the body -> joint of ours that stands in where the name is not one of ours.
STAND_INS = {
    **dict.fromkeys(("eye", "ear", "nose", "mouth"), "neck"),
    **dict.fromkeys(("inner", "outer"), "neck"),
    **dict.fromkeys(("top",), "head"),
    **dict.fromkeys(("base",), "thorax"),
    "neck": "thorax",
    "spine": "spine",
    **dict.fromkeys(("pinky", "index", "thumb"), "wrist"),
    **dict.fromkeys(("ankle", "heel", "toe"), "foot"),
}


def person(length=12, subject="S9"):
    """(L, 17, 2) pixels in our order: someone who moves, of the sample's first camera."""
    actions = load_npz(SAMPLE / "data_2d_h36m_gt.npz")["positions_2d"][subject]
    return np.asarray(next(iter(actions.values()))[0], np.float64)[:length]


def in_order(skeleton_name, ours):
    """Poses (L, 17, C) of ours in another order; joints that ours lack are put on a neighbour."""
    places = []
    for name in BY_NAME[skeleton_name].names:
        side = name.split()[0] if name.split()[0] in ("left", "right") else ""
        part = name.split()[-1]
        joint = "hip" if name == "mid hip" else f"{side} {STAND_INS.get(part, part)}".strip()
        if joint not in H36M_17.joint_names:
            joint = STAND_INS[part]
        places.append(H36M_17.joint_names.index(joint))
    return ours[:, places]


def flat(pose, confidence=0.9):
    """x y confidence of every joint in one list."""
    sure = np.broadcast_to(confidence, len(pose))
    return [float(v) for (x, y), c in zip(pose, sure, strict=True) for v in (x, y, c)]


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def alphapose(path, people, *, ids=None, names="{}.jpg", skip=(), shuffle=False):
    """A record per person and frame; `ids` maps the number of a person to idx."""
    records = [
        {
            "image_id": names.format(frame),
            "category_id": 1,
            "keypoints": flat(pose),
            "score": 2.5,
            "box": [1.0, 2.0, 3.0, 4.0],
            "idx": ids(number) if ids else 0.0,
        }
        for number, poses in enumerate(people)
        for frame, pose in enumerate(poses)
        if frame not in skip
    ]
    if shuffle:
        np.random.default_rng(0).shuffle(records)
    return write_json(path, records)


def coco_results(path, poses):
    return write_json(
        path,
        [
            {"image_id": n, "category_id": 1, "keypoints": flat(pose), "score": 0.7}
            for n, pose in enumerate(poses)
        ],
    )


def openpose(folder, people, *, first=0):
    """A file per frame; people in another order in every second frame."""
    for frame in range(len(people[0])):
        there = [p[frame] for p in people][:: -1 if frame % 2 else 1]
        content = {
            "version": 1.3,
            "people": [
                {"person_id": [-1], "pose_keypoints_2d": flat(p), "face_keypoints_2d": []}
                for p in there
            ],
        }
        write_json(folder / f"walk_{frame + first:012d}_keypoints.json", content)
    return folder


def mmpose(path, poses, *, meta="coco", listed=False, track=None):
    def instance(pose):
        found = {"keypoints": pose.tolist(), "keypoint_scores": [0.8] * len(pose)}
        return found | ({} if track is None else {"track_id": track})

    frames = [{"frame_id": n, "instances": [instance(p)]} for n, p in enumerate(poses)]
    if listed:
        return write_json(path, frames)
    return write_json(path, {"meta_info": {"dataset_name": meta}, "instance_info": frames})


def videopose3d(path, videos, *, metadata=None):
    positions = {name: {"custom": [poses]} for name, poses in videos.items()}
    sides = [list(range(1, 17, 2)), list(range(2, 17, 2))]
    metadata = metadata or {
        "layout_name": "coco",
        "num_joints": 17,
        "keypoints_symmetry": sides,
        "video_metadata": {name: {"w": SIZE[0], "h": SIZE[1]} for name in videos},
    }
    np.savez(path, positions_2d=np.array(positions, object), metadata=np.array(metadata, object))
    return path


def detectron(path, people):
    """`people`: a list of persons per frame."""
    boxes, keypoints = np.empty(len(people), object), np.empty(len(people), object)
    for frame, poses in enumerate(people):
        rows = [
            np.stack([p[:, 0], p[:, 1], np.full(len(p), 9.0), np.full(len(p), 0.7)]) for p in poses
        ]
        boxes[frame] = [[], np.zeros((len(rows), 5), np.float32)]
        keypoints[frame] = [[], np.array(rows, np.float32) if rows else []]
    metadata = np.array({"w": SIZE[0], "h": SIZE[1]}, object)
    np.savez(
        path,
        boxes=boxes,
        segments=np.full(len(people), None),
        keypoints=keypoints,
        metadata=metadata,
    )
    return path


def table(path, array, *, header=None, first=None):
    """A .csv file with a row per frame; `first` are the values of a column before."""
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        if header:
            writer.writerow(header)
        for n, frame in enumerate(array):
            writer.writerow([*([] if first is None else [first[n]]), *frame.ravel().tolist()])
    return path


OURS = person()
COCO, HALPE, BODY = (in_order(name, OURS) for name in ("coco_17", "halpe_26", "body_25"))
OPENPOSE_18, MPII = in_order("openpose_18", OURS), in_order("mpii_16", OURS)
BLAZE = in_order("mediapipe_33", OURS)
WITH_SCORE = np.concatenate([COCO, np.full((*COCO.shape[:2], 1), 0.6)], -1)


def normalised(poses, *more):
    share = poses / SIZE
    return np.concatenate([share, *(np.full((*share.shape[:2], 1), m) for m in more)], -1)


def save(path, array):
    np.save(path, array)
    return path


FILES = {
    "alphapose 17": lambda d: alphapose(d / "a.json", [COCO]),
    "alphapose 26": lambda d: alphapose(d / "a.json", [HALPE], names="frame_{:05d}.png"),
    "alphapose 136": lambda d: alphapose(
        d / "a.json", [np.concatenate([HALPE, np.zeros((12, 110, 2))], 1)]
    ),
    "coco results": lambda d: coco_results(d / "r.json", COCO),
    "openpose 25": lambda d: openpose(d / "o", [BODY]),
    "openpose 18": lambda d: openpose(d / "o", [OPENPOSE_18]),
    "mmpose": lambda d: mmpose(d / "m.json", COCO),
    "mmpose halpe": lambda d: mmpose(d / "m.json", HALPE, meta="body8-halpe26"),
    "mmpose wholebody": lambda d: mmpose(
        d / "m.json", np.concatenate([COCO, np.ones((12, 116, 2))], 1), meta="coco_wholebody"
    ),
    "videopose3d": lambda d: videopose3d(d / "data_2d_custom_x.npz", {"v.mp4": COCO}),
    "detectron": lambda d: detectron(d / "v.mp4.npz", [[p] for p in COCO]),
    "mediapipe pixels": lambda d: save(d / "m.npy", BLAZE),
    "mediapipe x y z visibility": lambda d: save(d / "m.npy", normalised(BLAZE, -0.2, 0.9)),
    "mediapipe x y z": lambda d: save(d / "m.npy", normalised(BLAZE, -0.2)),
    "mediapipe csv": lambda d: table(d / "m.csv", normalised(BLAZE, -0.2, 0.9)),
    "npy halpe": lambda d: save(d / "h.npy", HALPE),
    "csv": lambda d: table(d / "h.csv", HALPE),
}
