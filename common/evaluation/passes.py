"""The one evaluation loop: every script's test goes through its windows here."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from common.training.runtime import Runtime


def compute_for_all(
    samples: Tensor,
    out: Tensor,
    compute: Callable[[Tensor], Tensor],
    *,
    runtime: Runtime,
    modules: Iterable[nn.Module],
    per_pass: int,
) -> Tensor:
    """Compute something for every sample of a test, in evaluation mode, each process its share.

    Args:
        samples: (M,) int64 on CPU.
        out: (M, ...) zeros on the runtime's device, filled in place.
        compute: some of the samples (B,) -> their rows (B, ...) of `out`, in their order.
        runtime: devices and processes.
        modules: the models that it calls.
        per_pass: samples per call.

    Returns:
        `out`, complete in every process.
    """
    modules = list(modules)
    for module in modules:
        module.eval()
    runtime.sync_buffers(modules)
    places = torch.arange(len(samples)).tensor_split(runtime.world_size)[runtime.rank]
    with torch.inference_mode():
        for part in places.split(per_pass) if len(places) else ():
            out[part[0] : part[-1] + 1] = compute(samples[part])
    return runtime.sum_over_processes(out)
