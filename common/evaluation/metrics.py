"""Metrics of 3D poses, declared once: tables, logs, results and pictures loop over them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.data.pose_ops import joint_errors

# Poses whose singular value decompositions are computed together; bounds memory, not results.
PROCRUSTES_CHUNK = 65536
# Of MPI-INF-3DHP (Mehta et al., 3DV 2017): metres.
PCK_THRESHOLD = 0.150
NUM_AUC_THRESHOLDS = 31  # 0, 5, ..., 150 mm


def p_mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """Protocol 2: error after the best similarity transform of each pose (no reflection).

    Args:
        predicted: (N, J, 3).
        target: (N, J, 3).

    Returns:
        (N,) mean joint error of each pose, in the unit of the poses.
    """
    pairs = zip(predicted.split(PROCRUSTES_CHUNK), target.split(PROCRUSTES_CHUNK), strict=True)
    return torch.cat([joint_errors(align(a, b), b).mean(-1) for a, b in pairs])


def align(predicted: Tensor, target: Tensor) -> Tensor:
    """Move, turn and scale each pose onto its target (orthogonal Procrustes, Kabsch-Umeyama).

    Args:
        predicted: (N, J, 3).
        target: (N, J, 3).

    Returns:
        (N, J, 3), the similarity transform of `predicted` nearest to `target`. A pose whose joints
        all coincide has no scale or turn and is moved only.
    """
    predicted_mean = predicted.mean(-2, keepdim=True)
    target_mean = target.mean(-2, keepdim=True)
    centred, centred_target = predicted - predicted_mean, target - target_mean
    covariance = (centred.transpose(-1, -2) @ centred_target).double()  # (N, 3, 3)
    u, singular, vh = torch.linalg.svd(covariance)
    sign = torch.ones_like(singular)
    sign[..., -1] = torch.linalg.det(u @ vh).sign()
    rotation = (u * sign.unsqueeze(-2)) @ vh
    spread = centred.double().square().sum((-1, -2)).clamp_min(torch.finfo(torch.float64).tiny)
    scale = (singular * sign).sum(-1) / spread
    turned = centred.double() @ rotation * scale[..., None, None]
    return turned.to(predicted.dtype) + target_mean


def velocity_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """MPJVE: protocol 1 of first differences in time.

    Args:
        predicted: (L, J, 3), consecutive frames.
        target: (L, J, 3).

    Returns:
        (L - 1,) mean joint error of each difference, in the unit of the poses per frame.
    """
    return joint_errors(predicted.diff(dim=0), target.diff(dim=0)).mean(-1)


def correct_joints(errors: Tensor) -> Tensor:
    """PCK joint by joint; the mean over joints and frames is the metric.

    Args:
        errors: (..., J) metres.

    Returns:
        (..., J) 1.0 where the error is below 150 mm.
    """
    return (errors < PCK_THRESHOLD).float()


def area_under_curve(errors: Tensor) -> Tensor:
    """AUC joint by joint; the mean over joints and frames is the metric.

    Args:
        errors: (..., J) metres.

    Returns:
        (..., J) the share of the thresholds 0, 5, ..., 150 mm that are above the error.
    """
    # Whole millimetres divided once: in float32, 30 * 0.005 would not be 0.15.
    thresholds = torch.arange(NUM_AUC_THRESHOLDS, device=errors.device) * 5 / 1000
    reached = torch.bucketize(errors.contiguous(), thresholds, right=True)  # thresholds <= error
    return 1 - reached / NUM_AUC_THRESHOLDS


@dataclass(frozen=True)
class Metric:
    """One number per frame; means over frames are what tables show.

    Attributes:
        name: in results.json.
        title: of its column.
        log_name: in logs.
        unit: of its values.
        compute: predicted (M, J, 3) and true poses (M, J, 3), metres with the root at 0, and
            (M,) bool, whether the row before holds the previous frame of the same sequence ->
            (M,) values; NaN where a frame has none.
    """

    name: str
    title: str
    log_name: str
    unit: str
    compute: Callable[[Tensor, Tensor, Tensor], Tensor]


def _protocol_1(predicted: Tensor, target: Tensor, follows: Tensor) -> Tensor:
    return 1000 * joint_errors(predicted, target).mean(-1)


def _protocol_2(predicted: Tensor, target: Tensor, follows: Tensor) -> Tensor:
    return 1000 * p_mpjpe(predicted, target)


def _velocity(predicted: Tensor, target: Tensor, follows: Tensor) -> Tensor:
    errors = torch.full_like(predicted[:, 0, 0], torch.nan)
    errors[1:] = torch.where(follows[1:], velocity_errors(predicted, target), errors[1:])
    return 1000 * errors


def _pck(predicted: Tensor, target: Tensor, follows: Tensor) -> Tensor:
    return 100 * correct_joints(joint_errors(predicted, target)).mean(-1)


def _auc(predicted: Tensor, target: Tensor, follows: Tensor) -> Tensor:
    return 100 * area_under_curve(joint_errors(predicted, target)).mean(-1)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("protocol_1", "p1 mm", "p1", "mm", _protocol_1),
        Metric("protocol_2", "p2 mm", "p2", "mm", _protocol_2),
        Metric("velocity", "MPJVE", "mpjve", "mm per frame", _velocity),
        Metric("pck", "PCK %", "pck", "%", _pck),
        Metric("auc", "AUC %", "auc", "%", _auc),
    )
}
