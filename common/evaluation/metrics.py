"""Errors of 3D poses: protocol 1, protocol 2, velocity, share of correct joints."""

import torch
from torch import Tensor

# Poses whose singular value decompositions are computed together; bounds memory, not results.
PROCRUSTES_CHUNK = 65536
# Of MPI-INF-3DHP (Mehta et al., 3DV 2017): metres.
PCK_THRESHOLD = 0.150
NUM_AUC_THRESHOLDS = 31  # 0, 5, ..., 150 mm


def joint_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """Euclidean distances (..., J) of two poses (..., J, C), in their unit."""
    return torch.linalg.vector_norm(predicted - target, dim=-1)


def mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean per-joint position error over everything: protocol 1 when roots are aligned.

    Args:
        predicted: (..., J, C).
        target: (..., J, C).

    Returns:
        () in the unit of the poses.
    """
    return joint_errors(predicted, target).mean()


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


def correct_joints(errors: Tensor) -> tuple[Tensor, Tensor]:
    """PCK and AUC joint by joint; means over joints and frames are the metrics.

    Args:
        errors: (..., J) metres.

    Returns:
        (..., J) 1.0 where the error is below 150 mm; (..., J) the share of the thresholds 0, 5,
        ..., 150 mm that are above the error.
    """
    # Whole millimetres divided once: in float32, 30 * 0.005 would not be 0.15.
    thresholds = torch.arange(NUM_AUC_THRESHOLDS, device=errors.device) * 5 / 1000
    reached = torch.bucketize(errors.contiguous(), thresholds, right=True)  # thresholds <= error
    return (errors < PCK_THRESHOLD).float(), 1 - reached / NUM_AUC_THRESHOLDS
