"""What a run runs on: devices, processes, seeds, precision."""

import ctypes
import os
import random
import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from common.errors import UserError
from common.log import LOG
from common.training.random_state import random_state, set_random_state

# Frames per evaluation pass on a CPU: few enough that the activations stay in cache.
CPU_FRAMES_PER_PASS = 4096


@dataclass(frozen=True)
class Runtime:
    """The devices and processes of a run.

    Attributes:
        device: where this process computes.
        device_ids: the GPUs that this process spreads a batch over (DataParallel if several).
        rank: number of this process among those of `torchrun`.
        world_size: number of processes.
        precision: "fp32", "tf32" or "bf16".
        generators: the random generators whose states belong to the run.
    """

    device: torch.device
    device_ids: tuple[int, ...]
    rank: int
    world_size: int
    precision: str
    generators: list[torch.Generator] = field(default_factory=list)

    def new_generator(self, seed: int) -> torch.Generator:
        """A generator on the run's device, with a stream of its own in every process.

        Its state is one of the run's `random_states`.
        """
        generator = torch.Generator(self.device).manual_seed(seed + self.rank)
        self.generators.append(generator)
        return generator

    def new_common_generator(self, seed: int) -> torch.Generator:
        """A generator on the CPU that draws the same in every process; also in `random_states`."""
        generator = torch.Generator().manual_seed(seed)
        self.generators.append(generator)
        return generator

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    @property
    def num_replicas(self) -> int:
        """Number of parts that a batch is split into, over all devices and processes."""
        return max(len(self.device_ids), 1) * self.world_size

    def describe(self) -> str:
        """The devices in words."""
        if self.device.type == "cpu":
            kind = f"CPU ({torch.get_num_threads()} threads)"
        else:
            kind = f"{max(len(self.device_ids), 1)} x {torch.cuda.get_device_name(self.device)}"
        return kind if self.world_size == 1 else f"{self.world_size} processes, each {kind}"

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 arithmetic where `--precision bf16` asks for it."""
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def place(
        self, modules: Iterable[nn.Module], *, compiled: bool, partial: bool = False
    ) -> list[nn.Module]:
        """Move models to the run's device and wrap them for all devices and processes.

        Args:
            modules: the models; they are moved in place and keep their state-dict names.
            compiled: compile them as well.
            partial: a step may use only some of the parameters.

        Returns:
            The models to call, in the same order.

        Raises:
            UserError: `compiled` on a CPU without a C++ compiler.
        """
        if compiled and self.device.type == "cpu" and not _has_compiler():
            raise UserError("--compile on a CPU needs a C++ compiler (g++ or clang++), none found")
        placed = []
        for module in modules:
            module.to(self.device)
            if compiled:
                module.compile()
            placed.append(self._wrap(module, partial=partial))
        return placed

    def _wrap(self, module: nn.Module, *, partial: bool) -> nn.Module:
        if self.world_size > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            return nn.parallel.DistributedDataParallel(
                module,
                device_ids=ids,
                find_unused_parameters=partial,
                # Passes of a test differ in number between processes: see `sync_buffers`.
                broadcast_buffers=False,
            )
        if len(self.device_ids) > 1:
            return _Replicas(module, device_ids=list(self.device_ids))
        return module

    def sync_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Give every process the buffers of the main one: batch norm's running statistics."""
        if self.world_size > 1:
            for module in modules:
                for buffer in module.buffers():
                    distributed.broadcast(buffer, 0)

    def sum_over_processes(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over all processes, in place."""
        if self.world_size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def any_process(self, flag: bool) -> bool:
        """Whether the flag is set in any process; every process must call this."""
        if self.world_size == 1:
            return flag
        return bool(self.sum_over_processes(torch.tensor([float(flag)], device=self.device)))

    def wait_for_all(self) -> None:
        """Wait until every process has come here."""
        if self.world_size > 1:
            distributed.barrier()

    def windows_per_pass(self, batch_size: int, frames: int) -> int:
        """The number of windows of `frames` frames that an evaluation takes at once."""
        if self.device.type != "cpu":
            return batch_size
        return min(batch_size, max(CPU_FRAMES_PER_PASS // frames, 1))

    def random_states(self) -> list[dict[str, Any]]:
        """The state of every random source of every process, in a form that a file can hold."""
        mine = random_state()
        mine["generators"] = [generator.get_state() for generator in self.generators]
        if self.world_size == 1:
            return [mine]
        states: list[Any] = [None] * self.world_size
        distributed.all_gather_object(states, mine)
        return states

    def set_random_states(self, states: Sequence[dict[str, Any]]) -> None:
        """Restore what `random_states` returned.

        Raises:
            UserError: it comes from a run with another number of processes.
        """
        if len(states) != self.world_size:
            raise UserError(
                f"the interrupted run had {len(states)} processes, this one has {self.world_size}"
            )
        mine = states[self.rank]
        set_random_state(mine)
        for generator, state in zip(self.generators, mine["generators"], strict=True):
            generator.set_state(state)


class _Replicas(nn.DataParallel):
    """DataParallel whose vectors (1-D tensors, such as frame numbers) go whole to every device.

    Everything else that is split has samples along its first axis.
    """

    def scatter(
        self,
        inputs: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
        device_ids: Sequence[int | torch.device],
    ) -> Any:
        """Split a batch; see `nn.DataParallel`."""

        def hold(value: Any) -> Any:  # anything but a tensor is handed to every device as it is
            return _Whole(value) if isinstance(value, Tensor) and value.dim() == 1 else value

        def release(value: Any, device: int | torch.device) -> Any:
            return value.tensor.to(device) if isinstance(value, _Whole) else value

        held = tuple(map(hold, inputs))
        split, split_kwargs = super().scatter(held, kwargs, list(device_ids))
        released = [
            tuple(release(value, device) for value in part)
            for part, device in zip(split, device_ids, strict=False)
        ]
        return released, split_kwargs


@dataclass(frozen=True)
class _Whole:
    """A tensor that is not split."""

    tensor: Tensor


@dataclass(frozen=True)
class RuntimeOptions:
    """What a run may choose of its runtime.

    Attributes:
        gpus: device numbers asked for; those that do not exist are ignored with a notice.
        seed: `--manualSeed`; every process draws from a stream of its own.
        precision: "fp32", "tf32" or "bf16".
    """

    gpus: Sequence[int]
    seed: int
    precision: str = "fp32"


def start(options: RuntimeOptions) -> Runtime:
    """Choose devices, join the processes of `torchrun`, seed every random source."""
    gpus, seed, precision = options.gpus, options.seed, options.precision
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # repeatable products on a GPU
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if world_size > 1:
        on_this_machine = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
        if 0 < available < on_this_machine:
            raise UserError(
                f"{on_this_machine} processes on a machine with {available} GPUs: start at most "
                f"{available} (--nproc_per_node)"
            )
        local = int(os.environ.get("LOCAL_RANK", rank))
        device = torch.device("cuda", local) if local < available else torch.device("cpu")
        device_ids: tuple[int, ...] = (local,) if device.type == "cuda" else ()
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend)
    else:
        device_ids = tuple(i for i in dict.fromkeys(gpus) if 0 <= i < available)
        device = torch.device("cuda", device_ids[0]) if device_ids else torch.device("cpu")
        _log_devices(gpus, device_ids, available)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        _keep_freed_memory()
        _warn_of_slow_precision(precision)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    random.seed(seed + rank)
    np.random.seed((seed + rank) % 2**32)
    torch.manual_seed(seed + rank)
    return Runtime(device, device_ids, rank, world_size, precision)


def _log_devices(gpus: Sequence[int], used: Sequence[int], available: int) -> None:
    absent = [i for i in gpus if i not in used]
    if used and absent:
        LOG.info(
            "--gpu: no device %s on this machine (%d found); using %s",
            ", ".join(map(str, absent)),
            available,
            ", ".join(map(str, used)),
        )
    elif not used:
        chosen = f"no device {', '.join(map(str, absent))} ({available} found)"
        reason = "none found" if not available else chosen if absent else "none chosen"
        LOG.info("--gpu: %s; using the CPU", reason)


def _keep_freed_memory() -> None:
    """Let the C library reuse large freed blocks instead of returning them to the system.

    A training step frees and takes gigabytes; having every page of them mapped and zeroed anew
    costs a CPU a third of its time. Only glibc has these settings; elsewhere nothing happens.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # M_... of malloc.h
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 2**26)


def _warn_of_slow_precision(precision: str) -> None:
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        LOG.info("note: this CPU has no bf16 instructions; --precision bf16 is slower here")


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "g++", "clang++"))
