"""Losses by name, unweighted, and the weights that go with the names, as published."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from common.data.pose_ops import joint_errors

Losses = dict[str, Tensor]  # name -> mean () over a batch, unweighted
Weights = Mapping[str, float]


def mpjpe(predicted: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean per-joint position error over everything: protocol 1 when roots are aligned.

    Args:
        predicted: (..., J, C).
        target: (..., J, C).
        weights: (B,) of the samples, along the first axis; None for equal ones. Where all are 0,
            so is the mean.

    Returns:
        () in the unit of the poses.
    """
    errors = joint_errors(predicted, target)
    if weights is None:
        return errors.mean()
    return (errors.flatten(1).mean(1) * weights).sum() / weights.sum().clamp_min(1)


@dataclass(frozen=True)
class LiftedBatch:
    """What a lifter made of a batch, and what it should have made.

    Attributes:
        pose_2d: (B, T, J, 2) normalised screen coordinates.
        target: (B, 1, J, 3) predicted target frame, root-relative metres (its root is predicted).
        sequence: (B, T, J, 3) predicted frames, or None.
        refined: (B, 1, J, 3) the refined target frame, or None without a refiner.
        true_target: (B, 1, J, 3) root-relative metres, its root at 0.
        true_sequence: (B, T, J, 3) likewise, or None where `sequence` is.
    """

    pose_2d: Tensor
    target: Tensor
    sequence: Tensor | None
    refined: Tensor | None
    true_target: Tensor
    true_sequence: Tensor | None


@dataclass(frozen=True)
class LossTerm:
    """One term of a lifter's loss.

    Attributes:
        weight: its factor.
        compute: the unweighted mean () over a batch; None where it does not apply.
    """

    weight: float
    compute: Callable[[LiftedBatch], Tensor | None]


def _sequence_loss(batch: LiftedBatch) -> Tensor | None:
    if batch.refined is not None or batch.sequence is None or batch.true_sequence is None:
        return None
    return mpjpe(batch.sequence, batch.true_sequence)


def _target_loss(batch: LiftedBatch) -> Tensor | None:
    return mpjpe(batch.target, batch.true_target) if batch.refined is None else None


def _refined_loss(batch: LiftedBatch) -> Tensor | None:
    return None if batch.refined is None else mpjpe(batch.refined, batch.true_target)


# Fine-tuning; with a refiner, lifter and refiner learn from the refined pose alone.
LIFTING_LOSSES: dict[str, LossTerm] = {
    "sequence": LossTerm(1.0, _sequence_loss),
    "target": LossTerm(1.0, _target_loss),
    "refined": LossTerm(1.0, _refined_loss),
}

# Masked modelling, by task. In a step with PoseAug the weights of the batch itself differ, and the
# terms of its augmented 3D windows are added.
MASKED_WEIGHTS: dict[str, Weights] = {
    "pretrain": {"recovered_2d": 5, "recovered_3d": 2},
    "onlylift": {"recovered_2d": 2, "recovered_3d": 3, "lifted": 8},
    "comp3d": {"recovered_3d": 1},
    "comp2dlift": {"recovered_2d": 1, "lifted": 2},
}
AUGMENTED_STEP_WEIGHTS: Weights = {"recovered_2d": 5, "recovered_3d": 5}
AUGMENTED_WEIGHTS: Weights = {"augmented_2d": 5, "augmented_3d": 5, "augmented_lifted": 1}
