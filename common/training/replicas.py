"""One model on several GPUs of a process: each computes its part of a batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

# Batch norm needs two samples to have statistics.
MIN_SAMPLES = 2


class Replicas(nn.Module):
    """Splits a batch over devices, and joins the results on the first of them.

    Weights are copied to the other devices in every pass by operations that autograd follows, so
    gradients add up in the one set of parameters. What a pass changes of batch norm's running
    statistics is kept on the first device and dropped on the others.

    Everything that is split has samples along its first axis; modalities may differ in their number
    of samples. Vectors (1-D tensors, such as frame numbers) and whatever is no tensor go whole to
    every device.
    """

    def __init__(self, module: nn.Module, devices: Sequence[torch.device]) -> None:
        """Wrap a model.

        Args:
            module: on the first device.
            devices: at least one.
        """
        super().__init__()
        self.module, self.devices = module, list(devices)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the model makes of a batch; see there."""
        count = self.num_parts(inputs)
        parts = [_part(inputs, number, count, self.devices[number]) for number in range(count)]
        results = [self.module(*parts[0], **options)]
        for part, device in zip(parts[1:], self.devices[1:], strict=False):
            results.append(functional_call(self.module, self._copy(device), part, options))
        return _joined(results, self.devices[0])

    def num_parts(self, inputs: Sequence[Any]) -> int:
        """How many devices a batch occupies: each gets samples of every modality, and enough."""
        shortest = min((len(x) for x in inputs if _is_split(x)), default=0)
        return max(min(len(self.devices), shortest // MIN_SAMPLES), 1)

    def _copy(self, device: torch.device) -> dict[str, Tensor]:
        """Parameters and buffers on another device."""
        weights = {
            name: parameter.to(device, non_blocking=True)
            for name, parameter in self.module.named_parameters()
        }
        buffers = {
            name: buffer.to(device, non_blocking=True, copy=True)
            for name, buffer in self.module.named_buffers()
        }
        return {**weights, **buffers}


def _is_split(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 1


def _part(inputs: Sequence[Any], number: int, count: int, device: torch.device) -> tuple[Any, ...]:
    """The part of a batch that a device computes."""

    def of(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        mine = value.tensor_split(count)[number] if _is_split(value) else value
        return mine.to(device, non_blocking=True)

    return tuple(map(of, inputs))


def _joined(results: Sequence[Any], device: torch.device) -> Any:
    """Results of the parts as one: tensors joined along samples; None stays None."""
    first = results[0]
    if isinstance(first, tuple):
        return tuple(_joined(values, device) for values in zip(*results, strict=True))
    if first is None or len(results) == 1:
        return first
    return torch.cat([result.to(device, non_blocking=True) for result in results])
