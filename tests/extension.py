"""What a stranger adds from outside: a data set, a skeleton, a metric, a loss term, a backbone.

Run as `python tests/extension.py FLAGS`; it is trainer.py with these five more things in it.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.cli import configs  # noqa: E402  (the path is set just above)
from common.cli.entry import run_script  # noqa: E402
from common.cli.lifting_run import run_lifting  # noqa: E402
from common.data.base import DataOptions, DataSet, Stores, TableRule  # noqa: E402
from common.data.pose_store import PoseStore, SequenceName, Source, build_store  # noqa: E402
from common.data.registry import DATA_SETS  # noqa: E402
from common.data.skeleton import Skeleton  # noqa: E402
from common.evaluation.metrics import METRICS, Metric  # noqa: E402
from common.tasks.losses import LIFTING_LOSSES, LiftedBatch, LossTerm  # noqa: E402
from model.build import LIFTERS, ModelSize  # noqa: E402

# ---- a skeleton: COCO's 17 joints, as many as Human3.6M's

_SIDES = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_17 = Skeleton(
    name="coco_17",
    joint_names=("nose", *(f"{side} {part}" for part in _SIDES for side in ("left", "right"))),
    parents=(-1, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    left=tuple(range(1, 17, 2)),
    right=tuple(range(2, 17, 2)),
    colours={"left": "tab:green", "right": "tab:red", "middle": "black"},
)


# ---- a data set: bodies that sway before a camera, made here instead of read


def _sequence(name: str, frames: int) -> Source:
    rng = torch.Generator().manual_seed(len(name))
    body = torch.randn(17, 3, generator=rng) * 0.3
    time = torch.arange(frames)[:, None, None] / 10
    absolute = body + 0.1 * torch.sin(time + body) + torch.tensor([0.0, 0.0, 4.0])
    screen = absolute[..., :2] / absolute[..., 2:]

    def read(kept: slice) -> tuple[Tensor, Tensor]:
        return screen[kept], absolute[kept]

    return Source(SequenceName(name, "Sway", 0), frames, read)


def _store(subjects: tuple[str, ...], options: DataOptions) -> PoseStore:
    sources = [_sequence(name, 120) for name in subjects]
    path = options.root / "toy"
    return build_store(sources, COCO_17, options.reduction, path_2d=path, path_3d=path)


def load_toy(options: DataOptions) -> Stores:
    """Training and test poses of the toy data set."""
    return Stores(
        _store(options.train_subjects or ("Ann", "Robert"), options) if options.train else None,
        _store(options.test_subjects or ("Eve",), options) if options.test else None,
    )


DATA_SETS["toy"] = DataSet(
    name="toy",
    title="the toy data set",
    load=load_toy,
    skeletons={17: COCO_17},
    table=TableRule(
        corner="Person",
        row_of=lambda name: name.subject,
        by_frames=True,
        metrics=("protocol_1", "worst_joint"),
        last_line="toy p1: {protocol_1:.2f}, worst: {worst_joint:.2f}",
    ),
    has_subjects=True,
)


# ---- a metric


def _worst_joint(predicted: Tensor, target: Tensor, follows: Tensor) -> Tensor:
    return 1000 * (predicted - target).norm(dim=-1).max(-1).values


METRICS["worst_joint"] = Metric("worst_joint", "worst mm", "worst", "mm", _worst_joint)


# ---- a loss term: the lengths of the predicted bones


def _bone_lengths(pose: Tensor) -> Tensor:
    parents = torch.tensor(COCO_17.parents[1:])
    return (pose[..., 1:, :] - pose[..., parents, :]).norm(dim=-1)


def _bone_loss(batch: LiftedBatch) -> Tensor:
    return (_bone_lengths(batch.target) - _bone_lengths(batch.true_target)).abs().mean()


LIFTING_LOSSES["bones"] = LossTerm(0.5, _bone_loss)


# ---- a backbone


class FrameLifter(nn.Module):
    """Lifts every frame on its own."""

    sequence_head = None

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * size.num_joints, size.width),
            nn.ReLU(),
            nn.Linear(size.width, 3 * size.num_joints),
        )

    def forward(
        self, pose_2d: Tensor, frames: Tensor | None = None, *, with_sequence: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Lift windows (B, T, J, 2); see `model.build.Lifter`."""
        sequence = self.layers(pose_2d.flatten(2)).unflatten(-1, (-1, 3))
        if frames is not None:
            sequence = sequence[:, frames].flatten(0, 1)
        middle = sequence.shape[1] // 2
        return sequence[:, middle : middle + 1], sequence if with_sequence else None


LIFTERS["frames"] = FrameLifter


if __name__ == "__main__":
    run_script(lambda: run_lifting(configs.lifting("trainer.py")))
