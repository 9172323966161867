"""The one evaluation loop: every script's test goes through its windows here."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from common.training.progress import Progress
from common.training.runtime import Runtime


def compute_for_all(
    samples: Tensor,
    out: Tensor,
    compute: Callable[[Tensor], Tensor],
    *,
    runtime: Runtime,
    modules: Iterable[nn.Module],
    per_pass: int,
    ends: int | None = None,
) -> Tensor:
    """Compute something for every sample of a test, in evaluation mode, each process its share.

    Args:
        samples: (M,) int64 on CPU.
        out: (M, ...) zeros on the runtime's device, filled in place.
        compute: some of the samples (B,) -> their rows (B, ...) of `out`, in their order.
        runtime: devices and processes.
        modules: the models that it calls.
        per_pass: samples per call.
        ends: a call holds no numbers on both sides of a multiple of this; None for no such end.

    Returns:
        `out`, complete in every process.
    """
    modules = list(modules)
    for module in modules:
        module.eval()
    runtime.processes.share_buffers(modules)
    places = torch.arange(len(samples)).tensor_split(runtime.world_size)[runtime.rank]
    with (
        torch.inference_mode(),
        Progress("test", total=len(places), shown=runtime.is_main) as progress,
    ):
        for group in _groups(places, samples, ends):
            for part in group.split(per_pass):
                out[part[0] : part[-1] + 1] = compute(samples[part])
                progress.advance(len(part))
                progress.report()
    return runtime.processes.sum(out)


def _groups(places: Tensor, samples: Tensor, ends: int | None) -> Sequence[Tensor]:
    """Places of samples in a row, cut where the samples' numbers pass a multiple of `ends`."""
    if not len(places):
        return ()
    if ends is None:
        return (places,)
    group = samples[places] // ends
    cuts = 1 + group.diff().nonzero().flatten()
    return places.tensor_split(cuts)
