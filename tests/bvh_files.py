"""Write small BVH files: one body, in the names, units, axes and channels of several programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

# Body: part -> (parent, offset in metres). It stands along y, faces z, has its right at -x.
BODY: dict[str, tuple[str | None, tuple[float, float, float]]] = {
    "hip": (None, (0, 0.95, 0)),
    "right hip": ("hip", (-0.1, -0.06, 0)),
    "right knee": ("right hip", (0, -0.42, 0)),
    "right foot": ("right knee", (0, -0.41, 0)),
    "right toes": ("right foot", (0, -0.06, 0.15)),
    "left hip": ("hip", (0.1, -0.06, 0)),
    "left knee": ("left hip", (0, -0.42, 0)),
    "left foot": ("left knee", (0, -0.41, 0)),
    "left toes": ("left foot", (0, -0.06, 0.15)),
    "chest": ("hip", (0, 0.22, -0.02)),
    "thorax": ("chest", (0, 0.28, 0)),
    "neck": ("thorax", (0, 0.1, 0.02)),
    "head": ("neck", (0, 0.15, 0.01)),
    "left shoulder": ("chest", (0.18, 0.25, 0)),
    "left elbow": ("left shoulder", (0.28, 0, 0)),
    "left wrist": ("left elbow", (0.25, 0, 0)),
    "left fingers": ("left wrist", (0.1, 0, 0)),
    "right shoulder": ("chest", (-0.18, 0.25, 0)),
    "right elbow": ("right shoulder", (-0.28, 0, 0)),
    "right wrist": ("right elbow", (-0.25, 0, 0)),
    "right fingers": ("right wrist", (-0.1, 0, 0)),
}
ENDS = ("right toes", "left toes", "head", "left fingers", "right fingers")
PARTS = (
    "hip",
    *(f"{side} {part}" for side in ("right", "left") for part in ("hip", "knee", "foot")),
)
PARTS += ("chest", "thorax", "neck")
PARTS += tuple(
    f"{side} {part}" for side in ("left", "right") for part in ("shoulder", "elbow", "wrist")
)
# Program -> its names of PARTS: hip, right and left leg, chest, neck, head, left and right arm.
NAMES = {
    "cgspeed's CMU": "Hips RightHip RightKnee RightAnkle LeftHip LeftKnee LeftAnkle Chest "
    "Neck Head LeftShoulder LeftElbow LeftWrist RightShoulder RightElbow RightWrist",
    "DAZ": "hip rThigh rShin rFoot lThigh lShin lFoot chest neck head "
    "lShldr lForeArm lHand rShldr rForeArm rHand",
    "iClone": "CC_Base_Hip CC_Base_R_Thigh CC_Base_R_Calf CC_Base_R_Foot CC_Base_L_Thigh "
    "CC_Base_L_Calf CC_Base_L_Foot CC_Base_Spine01 CC_Base_NeckTwist01 CC_Base_Head "
    "CC_Base_L_Upperarm CC_Base_L_Forearm CC_Base_L_Hand "
    "CC_Base_R_Upperarm CC_Base_R_Forearm CC_Base_R_Hand",
    "Bandai-Namco": "Hips UpperLeg_R LowerLeg_R Foot_R UpperLeg_L LowerLeg_L Foot_L Spine "
    "Neck Head UpperArm_L LowerArm_L Hand_L UpperArm_R LowerArm_R Hand_R",
    "Blender": "pelvis thigh.R shin.R foot.R thigh.L shin.L foot.L spine.001 neck face "
    "upper_arm.L forearm.L hand.L upper_arm.R forearm.R hand.R",
    "Mixamo": "mixamorig:Hips mixamorig:RightUpLeg mixamorig:RightLeg mixamorig:RightFoot "
    "mixamorig:LeftUpLeg mixamorig:LeftLeg mixamorig:LeftFoot mixamorig:Spine1 mixamorig:Neck "
    "mixamorig:Head mixamorig:LeftArm mixamorig:LeftForeArm mixamorig:LeftHand "
    "mixamorig:RightArm mixamorig:RightForeArm mixamorig:RightHand",
}
NAMES["LAFAN1"] = NAMES["Mixamo"].replace("mixamorig:", "")
# What a turn of the whole body does to its axes x, y and z: axis and sign.
UP = {
    "y": ((0, 1), (1, 1), (2, 1)),
    "z": ((0, 1), (2, 1), (1, -1)),
    "x": ((1, -1), (0, 1), (2, 1)),
    "-y": ((0, 1), (1, -1), (2, -1)),
}


def names_of(program: str) -> dict[str, str]:
    """Part -> name."""
    return dict(zip(PARTS, NAMES[program].split(), strict=True))


def angles_of(frames: int, *, frame_rate: float = 50, swing: float = 25) -> dict[str, np.ndarray]:
    """Part -> (L, 3) degrees about z, x and y, in this order; the parts swing smoothly so far."""
    rng = np.random.default_rng(0)
    time = np.arange(frames)[:, None] / frame_rate
    return {
        part: swing * np.sin(2 * np.pi * rng.uniform(0.3, 0.9, 3) * time + rng.uniform(0, 6, 3))
        for part in PARTS
    }


def walk_of(frames: int, *, frame_rate: float = 50) -> np.ndarray:
    """(L, 3) metres, positions of the root."""
    time = np.arange(frames)[:, None] / frame_rate
    return np.array([0, 0.95, 0]) + time * [0.3, 0, 1.0] + 0.02 * np.sin(6 * time) * [0, 1, 0]


def write_bvh(
    path: Path,
    names: Mapping[str, str],
    *,
    frames: int = 60,
    frame_rate: float = 50,
    unit: float = 0.01,
    up: str = "y",
    channels: str = "usual",
    ends: Sequence[str] = ENDS,
    swing: float = 25,
) -> Path:
    """Write a body in motion.

    Args:
        path: the file.
        names: part -> name; parts without one are left out.
        frames: L.
        frame_rate: frames per second.
        unit: metres.
        up: the axis that the body stands along.
        channels: "usual" (6 and 3), "rotations first" (of the root), "repeated" or "added"
            positions of every joint, or "fewer" (a joint that does not turn has none; it stands
            still, then: only "fewer" and the others with a still neck describe the same motion).
        ends: parts that get an End Site.
        swing: of all parts, degrees.
    """
    angles = angles_of(frames, frame_rate=frame_rate, swing=swing)
    root = walk_of(frames, frame_rate=frame_rate)
    angles["neck"] = np.zeros((frames, 3))
    axes = UP[up]
    columns: list[np.ndarray] = []

    def turned(vector: np.ndarray) -> np.ndarray:
        result = np.zeros_like(vector, dtype=float)
        for (axis, sign), value in zip(axes, np.moveaxis(vector, -1, 0), strict=True):
            result[..., axis] = sign * value
        return result / unit

    def lines(part: str, depth: int) -> list[str]:
        tab = "  " * depth
        offset = turned(np.array(BODY[part][1]))
        shown = f"{tab}  OFFSET {' '.join(f'{v:.6f}' for v in offset)}"
        if part in ends:
            return [f"{tab}End Site", f"{tab}{{", shown, f"{tab}}}"]
        root_part = BODY[part][0] is None
        turns = [(axes[a], angles[part][:, i]) for i, a in enumerate((2, 0, 1))]
        rotations = [(f"{'XYZ'[axis]}rotation", sign * v) for (axis, sign), v in turns]
        repeated = np.tile(
            turned(root) if root_part else offset, (frames if not root_part else 1, 1)
        )
        where = np.zeros_like(repeated) if channels == "added" and not root_part else repeated
        positions = [(f"{'XYZ'[i]}position", where[:, i]) for i in range(3)]
        if channels == "rotations first":
            chosen = rotations + (positions if root_part else [])
        elif channels in ("repeated", "added"):
            chosen = positions + rotations
        elif channels == "fewer" and part == "neck":
            chosen = []
        else:
            chosen = (positions if root_part else []) + rotations
        columns.extend(values for _, values in chosen)
        children = [p for p, (parent, _) in BODY.items() if parent == part]
        children = [p for p in children if p in names or p in ends]
        head = [f"{tab}{'ROOT' if root_part else 'JOINT'} {names[part]}", f"{tab}{{", shown]
        if root_part:
            head[-1] = f"{tab}  OFFSET 0 0 0"
        head.append(f"{tab}  CHANNELS {len(chosen)} {' '.join(name for name, _ in chosen)}")
        return [*head, *(line for p in children for line in lines(p, depth + 1)), f"{tab}}}"]

    hierarchy = lines("hip", 0)
    motion = [" ".join(f"{v:.6f}" for v in row) for row in np.column_stack(columns)]
    header = ["MOTION", f"Frames: {frames}", f"Frame Time: {1 / frame_rate:.6f}"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["HIERARCHY", *hierarchy, *header, *motion]) + "\n")
    return path
