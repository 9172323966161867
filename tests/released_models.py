"""Errors of the released models on held-out people: the figures of checkpoint/README.md.

    python dataset/prepare_motion.py clips.npz --unchecked --output MOTION \\
        --held_out checkpoint/held_out_clips.txt
    python tests/released_models.py MOTION

A script, not a test: it prints a table for each model. Lifting: protocol 1 and 2 on exact (gt) and
detected (det) keypoints. With hidden joints: the masked lifting model, which gets them as hidden
tokens; a column for all joints and one for those that were hidden. Completion: hidden joints of 3D
poses, beside two baselines, the mean pose placed by the visible joints, and the limb of the other
side mirrored in the plane of the trunk.
"""

import argparse
import math
import sys
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.data.base import DataOptions  # noqa: E402
from common.data.h36m import load  # noqa: E402
from common.data.pose_ops import joint_errors  # noqa: E402
from common.data.pose_store import PoseStore, Reduction  # noqa: E402
from common.data.skeleton import H36M_17  # noqa: E402
from common.data.windows import WindowIndex  # noqa: E402
from common.evaluation.metrics import p_mpjpe  # noqa: E402
from common.inference.completion import load_completion  # noqa: E402
from common.inference.models import LiftingModel, load_model  # noqa: E402

RIGHT_LEG, LEFT_LEG, LEFT_ARM, RIGHT_ARM = H36M_17.limbs.values()
HIDDEN = {
    "nothing": (),
    "right leg": RIGHT_LEG,
    "left arm": LEFT_ARM,
    "both legs": RIGHT_LEG + LEFT_LEG,
    "both arms": LEFT_ARM + RIGHT_ARM,
}
TRUNK = (0, 7, 8, 9, 10)  # joints of no limb
FRAMES_PER_PASS = 2000


def main() -> None:
    """Evaluate the models that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("motion", type=Path, help="folder of dataset/prepare_motion.py")
    folder = ROOT / "checkpoint"
    parser.add_argument("--lifter", type=Path, default=folder / "mpm_lift_27.pth")
    parser.add_argument("--occluded", type=Path, default=folder / "mpm_occluded_27.pth")
    parser.add_argument("--completion", type=Path, default=folder / "mpm_complete_27.pth")
    parser.add_argument("--step", type=int, default=1, help="evaluate every n-th frame")
    args = parser.parse_args()
    if args.lifter.exists():
        lifting(args.motion, load_model(args.lifter), args.step)
    if args.occluded.exists():
        occluded(args.motion, load_model(args.occluded), args.step)
    if args.completion.exists():
        completion(args.motion, load_completion(args.completion), args.step)


def held_out(
    motion: Path, keypoints: str, model: LiftingModel, *, train: bool = False
) -> PoseStore:
    """The people that were not trained on, or, to average over, every tenth frame of the others."""
    options = DataOptions(
        motion,
        len(model.info.skeleton.joint_names),
        train,
        not train,
        keypoints=keypoints,
        normalisation=model.info.normalisation,
        reduction=Reduction(downsample=10 if train else 1),
    )
    stores = load(options)
    store = stores.train if train else stores.test
    assert store is not None
    return store


def predict(
    model: LiftingModel, poses: Tensor, store: PoseStore, hidden: tuple[int, ...] | None, step: int
) -> tuple[Tensor, Tensor]:
    """Poses (M, J, 3), metres, of every n-th frame, and the frames (M,).

    Args:
        model: takes windows of the poses.
        poses: (N, J, C), the model's input.
        store: says which frames belong together.
        hidden: joints that are hidden in all frames; None for a model without hidden tokens.
        step: n.
    """
    index = WindowIndex(store.offsets, model.info.rule, store.counted)
    samples = torch.arange(0, len(index), step)
    mask = None
    if hidden is not None:
        mask = torch.zeros(poses.shape[:2], dtype=torch.bool)
        mask[:, list(hidden)] = True
    parts, frames = [], []
    for chosen in samples.split(FRAMES_PER_PASS):
        windows = index.windows(chosen)
        first, last = int(windows.frames.min()), int(windows.frames.max()) + 1
        own = None if mask is None else mask[first:last]
        parts.append(model.lift(poses[first:last], own, windows.frames - first))
        frames.append(windows.targets)
    return torch.cat(parts), torch.cat(frames)


def lifting(motion: Path, model: LiftingModel, step: int) -> None:
    """Errors of the lifter on exact and on detected keypoints."""
    print(f"\n{model.info.path.name}, held-out people\n")
    print("| keypoints | p1 mm | p2 mm | frames |\n|---|---|---|---|")
    for keypoints in ("gt", "det"):
        store = held_out(motion, keypoints, model)
        predicted, frames = predict(model, store.pose_2d, store, None, step)
        errors = protocols(predicted, store.pose_3d[frames])
        print(f"| {keypoints} | {errors[0]:.1f} | {errors[1]:.1f} | {len(frames)} |")


def occluded(motion: Path, model: LiftingModel, step: int) -> None:
    """Errors of the masked lifting model with limbs hidden."""
    print(f"\n{model.info.path.name}, held-out people\n")
    print("| keypoints | hidden | p1 mm | p2 mm | hidden joints mm |\n|---|---|---|---|---|")
    for keypoints in ("gt", "det"):
        store = held_out(motion, keypoints, model)
        for name, joints in HIDDEN.items():
            predicted, frames = predict(model, store.pose_2d, store, joints, step)
            target = store.pose_3d[frames]
            p1, p2 = protocols(predicted, target)
            own = of_joints(predicted, target, joints)
            print(f"| {keypoints} | {name} | {p1:.1f} | {p2:.1f} | {own} |")


def completion(motion: Path, model: LiftingModel, step: int) -> None:
    """Errors of completed 3D poses on the hidden joints, beside two baselines."""
    store = held_out(motion, "gt", model)
    mean = mean_pose(held_out(motion, "gt", model, train=True).pose_3d)
    print(f"\n{model.info.path.name}, held-out people, hidden joints, mm\n")
    print("| hidden | model | mean pose | mirrored limb |\n|---|---|---|---|")
    for name, joints in list(HIDDEN.items())[1:]:
        predicted, frames = predict(model, store.pose_3d, store, joints, step)
        target = store.pose_3d[frames]
        cells = [
            of_joints(pose, target, joints) for pose in (predicted, place(mean, target, joints))
        ]
        one_side = len(joints) == len(RIGHT_LEG)  # the other limb is there to be mirrored
        cells.append(of_joints(mirrored_limb(target), target, joints) if one_side else "-")
        print(f"| {name} | {' | '.join(cells)} |")


def protocols(predicted: Tensor, target: Tensor) -> tuple[float, float]:
    """Protocol 1 and 2 in mm, means over frames (M, J, 3)."""
    one = joint_errors(predicted, target).mean() * 1000
    return float(one), float(p_mpjpe(predicted, target).mean() * 1000)


def of_joints(predicted: Tensor, target: Tensor, joints: tuple[int, ...]) -> str:
    """The mean error of some joints in mm; a dash for none."""
    if not joints:
        return "-"
    chosen = list(joints)
    return f"{1000 * joint_errors(predicted[:, chosen], target[:, chosen]).mean():.1f}"


def mean_pose(poses: Tensor) -> Tensor:
    """(J, 3) the mean of poses (N, J, 3), the trunk of each turned onto that of the first."""
    trunk = [*TRUNK, RIGHT_LEG[0], LEFT_LEG[0], LEFT_ARM[0], RIGHT_ARM[0]]
    return rigid(poses, poses[:1].expand_as(poses), trunk).mean(0)


def place(mean: Tensor, target: Tensor, hidden: tuple[int, ...]) -> Tensor:
    """The mean pose (J, 3) turned and moved onto the visible joints of poses (M, J, 3)."""
    visible = [joint for joint in range(mean.shape[0]) if joint not in hidden]
    return rigid(mean.expand_as(target), target, visible)


def rigid(poses: Tensor, target: Tensor, joints: list[int]) -> Tensor:
    """Poses (M, J, 3) moved rigidly so that some of their joints lie best on those of others."""
    own, other = poses[:, joints], target[:, joints]
    centre, goal = own.mean(1, keepdim=True), other.mean(1, keepdim=True)
    u, _, vh = torch.linalg.svd((own - centre).mT @ (other - goal))
    signs = torch.ones(len(poses), 3)
    signs[:, 2] = torch.linalg.det(u @ vh).sign()
    return (poses - centre) @ (u * signs[:, None]) @ vh + goal


def mirrored_limb(target: Tensor) -> Tensor:
    """Every limb of poses (M, J, 3) in the place of that of the other side.

    It is mirrored in the plane through the trunk, across the line from shoulder to shoulder.
    """
    centre = target[:, list(TRUNK[:3])].mean(1, keepdim=True)
    across = target[:, LEFT_ARM[0]] - target[:, RIGHT_ARM[0]]
    across = across + target[:, LEFT_LEG[0]] - target[:, RIGHT_LEG[0]]
    across = across / across.norm(dim=-1, keepdim=True).clamp(min=math.ulp(1.0))
    beyond = ((target - centre) * across[:, None]).sum(-1, keepdim=True)
    return (target - 2 * beyond * across[:, None])[:, list(H36M_17.mirror_order)]


if __name__ == "__main__":
    main()
