"""The models of the scripts, with the weights that a run begins with."""

from collections.abc import Mapping

from torch import nn

from common.log import LOG
from common.training import checkpoint
from model.lifter import PoseLifter, PoseRefiner
from model.masked_pose import MaskedPoseModel


def build_lifter(
    size: Mapping[str, int],
    *,
    refine: bool,
    every_frame: bool,
    whole: str | None,
    matching: str | None,
    refiner: str | None,
) -> dict[str, nn.Module]:
    """A lifter and, if refining, a refiner.

    Args:
        size: arguments of `PoseLifter`.
        refine: whether there is a refiner; then lifter and refiner learn from its output alone.
        every_frame: whether the per-frame head is trained when there is no refiner.
        whole: a file with all weights of the lifter, or None.
        matching: a pre-trained file to take over what matches, or None.
        refiner: a file with all weights of the refiner, or None.

    Returns:
        The models by the names of their weight files: "no_refine" and "refine".

    Raises:
        UserError: a file cannot be read or does not fit.
    """
    lifter = PoseLifter(**size)
    _load(lifter, whole, matching)
    modules: dict[str, nn.Module] = {"no_refine": lifter}
    if refine:
        modules["refine"] = PoseRefiner(num_joints=size["num_joints"])
        if refiner is not None:
            checkpoint.load_whole(modules["refine"], refiner)
    if refine or not every_frame:
        lifter.fcn_1.requires_grad_(False)  # the per-frame head is not part of these losses
    return modules


def build_masked_model(
    size: Mapping[str, int], *, decoder_depth: int, whole: str | None, matching: str | None
) -> dict[str, nn.Module]:
    """A masked model.

    Args:
        size: arguments of `MaskedPoseModel`.
        decoder_depth: blocks of each decoder.
        whole: a file with all its weights, or None.
        matching: a file to take over what matches, or None.

    Returns:
        The model by the name of its weight files: "pretrain".

    Raises:
        UserError: a file cannot be read or does not fit.
    """
    model = MaskedPoseModel(**size, decoder_depth=decoder_depth)
    _load(model, whole, matching)
    return {"pretrain": model}


def _load(module: nn.Module, whole: str | None, matching: str | None) -> None:
    if whole is not None:
        checkpoint.load_whole(module, whole)
    elif matching is not None:
        LOG.info(checkpoint.load_matching(module, matching))
