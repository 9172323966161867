"""A GPU simulated by PyTorch's fake tensors: shapes, types and devices, without a number.

Tensors of the device are fake, tensors of the host stay real, so that index arithmetic runs as it
does. A tensor left on the wrong device fails as it does on a GPU, and so does, inside
`never_waiting`, whatever makes the host wait for the device: reading a number, shapes that depend
on numbers, copies that block.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._pytree import tree_leaves, tree_map_only

from common.data import pose_ops
from common.tasks import masking
from common.training.runtime import Runtime

GPU = torch.device("cuda:0")
ATEN = torch.ops.aten
# What fake tensors raise where a number would have to be known.
UNKNOWN_NUMBER = (DataDependentOutputException, DynamicOutputShapeException)
INDEXING = (ATEN.index.Tensor, ATEN.index_put_.default, ATEN.index_put.default)
CUDA, META = 1, 14  # c10::DeviceType


class DeviceWait(AssertionError):
    """The host would wait for the device."""


class Generator(torch.Generator):
    """A random generator that says it is on the device."""

    device = GPU


class Simulation(FakeTensorMode):
    """While it is entered, `cuda:0` and further devices of that kind exist."""

    waits_fail = False

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
        to_device = any(isinstance(x, torch.device) and x.type == "cuda" for x in leaves)
        if not to_device and not any(isinstance(x, FakeTensor) for x in tensors):
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(torch.Tensor, self._fake, (args, kwargs))
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if self.waits_fail:
            self._check(func, tensors, result, args, kwargs)
        return result

    def _fake(self, tensor: torch.Tensor) -> FakeTensor:
        fake = tensor if isinstance(tensor, FakeTensor) else self.from_tensor(tensor)
        fake.constant = None  # a number that PyTorch happens to remember: a GPU would not
        return fake

    @staticmethod
    def _check(func: Any, tensors: list, result: Any, args: Any, kwargs: dict) -> None:
        on_host = [x for x in tensors if x.device.type == "cpu" and x.dim()]
        if func in INDEXING and on_host:
            raise DeviceWait("indices on the host, which are copied to the device")
        names = [argument.name for argument in func._schema.arguments]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if "non_blocking" in names and not given.get("non_blocking"):
            devices = {x.device.type for x in [*tensors, result]}
            if len(devices) > 1:
                raise DeviceWait(f"{func} between the host and the device blocks")

    @contextmanager
    def never_waiting(self) -> Iterator[None]:
        """What runs inside must not wait for the device."""
        self.waits_fail = True
        try:
            yield
        except UNKNOWN_NUMBER as error:
            raise DeviceWait(f"the host asks for a number on the device: {error}") from error
        finally:
            self.waits_fail = False


@contextmanager
def simulation() -> Iterator[Simulation]:
    """A simulated GPU; what is cached per device is forgotten before and after."""
    _let_autograd_record()
    _forget()
    try:
        with Simulation() as simulated:
            yield simulated
    finally:
        _forget()


def _forget() -> None:
    for cached in (
        pose_ops._mirror_columns,
        pose_ops._mirror_order,
        pose_ops._camera_signs,
        masking._joint_mask,
    ):
        cached.cache_clear()


def _let_autograd_record() -> None:
    """Give a build of PyTorch for CPUs what autograd asks of any device: its guard, which is empty.

    Builds for GPUs do so by themselves where there is no GPU.
    """
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    symbol = "_ZN3c104impl26device_guard_impl_registryE"
    guards = (ctypes.c_void_p * (META + 1)).in_dll(library, symbol)
    if not guards[CUDA]:
        guards[CUDA] = guards[META]


class SimulatedRuntime(Runtime):
    """A run on simulated GPUs."""

    def new_generator(self, seed: int, *, on_host: bool = False) -> torch.Generator:
        if on_host:
            return super().new_generator(seed, on_host=True)
        generator = Generator()
        generator.manual_seed(seed)
        self.own_generators.append(generator)
        return generator


def simulated_run(count: int = 1) -> SimulatedRuntime:
    """A run on some simulated GPUs."""
    return SimulatedRuntime(GPU, tuple(range(count)), 0, 1, "fp32")


def fake_backward(loss: torch.Tensor, *_: Any, **__: Any) -> None:
    """Stands for backward: the engine of a build for CPUs refuses graphs of another device.

    Every parameter that the loss reaches gets a gradient on its own device.
    """
    assert loss.device == GPU and loss.dim() == 0 and loss.requires_grad
    seen, to_visit = set(), [loss.grad_fn]
    while to_visit:
        node = to_visit.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            node.variable.grad = torch.zeros_like(node.variable)
        to_visit += [following for following, _ in node.next_functions]
    assert any(hasattr(node, "variable") for node in seen)
