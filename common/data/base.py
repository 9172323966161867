"""Every data set that a masked model can be pre-trained on, by the name of `--dataset`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from common.data import amass, h36m, mpi_inf_3dhp
from common.data.pose_store import PoseStore, WindowedPoses
from common.data.windows import WindowRule
from common.errors import UserError
from common.log import LOG

Stores = dict[str, PoseStore]
LOADERS: dict[str, Callable[..., tuple[PoseStore | None, PoseStore | None]]] = {
    "h36m": h36m.load_stores,
    "3dhp": mpi_inf_3dhp.load_stores,
    "amass": amass.load_stores,
}


def load_stores(requests: Mapping[str, dict[str, Any]]) -> tuple[Stores, Stores]:
    """Training and test poses of some data sets, on CPU.

    Args:
        requests: name -> arguments of its loader; a set without training or test poses in them, as
            asked for, is left out of the result. AMASS has no test poses.

    Returns:
        Stores to train on and stores to test on, by name.

    Raises:
        UserError: a file is missing or not in the format, or there is nothing at all.
    """
    train: dict[str, PoseStore | None] = {}
    test: dict[str, PoseStore | None] = {}
    for name, arguments in requests.items():
        train[name], test[name] = LOADERS[name](**arguments)
    found = [{n: s for n, s in stores.items() if s is not None} for stores in (train, test)]
    if not any(found):
        raise UserError(f"--dataset {','.join(requests)}: nothing to train on or to test on")
    return found[0], found[1]


def windowed(
    stores: Mapping[str, PoseStore],
    rule: WindowRule,
    device: torch.device,
) -> WindowedPoses:
    """The windows of some data sets on a device.

    Args:
        stores: by name.
        rule: windows of Human3.6M; the others keep frame step 1, and those of AMASS lie inside
            their sequence and are not mirrored.
        device: where the poses go.

    Returns:
        The windows, stores in the order given.
    """
    return WindowedPoses(
        [(store.to(device), _rule_of(name, rule)) for name, store in stores.items()]
    )


def _rule_of(name: str, rule: WindowRule) -> WindowRule:
    if name == "3dhp":
        return replace(rule, frame_step=mpi_inf_3dhp.FRAME_STEP)
    if name == "amass":
        return replace(rule, frame_step=amass.FRAME_STEP, inside=True, mirror=False)
    return rule


def tell_windows(stores: Mapping[str, PoseStore], poses: WindowedPoses) -> None:
    """Say how many windows each data set has.

    Raises:
        UserError: one has none.
    """
    counts = {name: len(poses.samples_of(part)) for part, name in enumerate(stores)}
    LOG.info("training windows: %s", ", ".join(f"{n} {count}" for n, count in counts.items()))
    for name, count in counts.items():
        if not count:
            raise UserError(f"--dataset {name}: no sequence is long enough for -f {poses.frames}")
