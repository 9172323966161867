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
from torch import Tensor, nn

from common.errors import UserError
from common.log import LOG
from common.training.processes import Processes, environment_number
from common.training.random_state import random_state, set_random_state
from common.training.replicas import Replicas

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
        own_generators: random generators with a stream of their own in every process.
        common_generators: those that draw the same in every process.
    """

    device: torch.device
    device_ids: tuple[int, ...]
    rank: int
    world_size: int
    precision: str
    own_generators: list[torch.Generator] = field(default_factory=list)
    common_generators: list[torch.Generator] = field(default_factory=list)

    def new_generator(self, seed: int, *, on_host: bool = False) -> torch.Generator:
        """A generator with a stream of its own in every process; its state is the run's.

        Args:
            seed: of all processes' streams.
            on_host: on the CPU, for what the host has to know; else on the run's device.
        """
        device = torch.device("cpu") if on_host else self.device
        generator = torch.Generator(device)
        generator.manual_seed(seed + self.rank)
        self.own_generators.append(generator)
        return generator

    def new_common_generator(self, seed: int) -> torch.Generator:
        """A generator on the CPU that draws the same in every process; its state is the run's."""
        generator = torch.Generator().manual_seed(seed)
        self.common_generators.append(generator)
        return generator

    @property
    def processes(self) -> Processes:
        """What the processes of the run do together."""
        return Processes(self.rank, self.world_size)

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.processes.is_main

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

    def place(self, modules: Iterable[nn.Module], *, compiled: bool) -> list[nn.Module]:
        """Move models to the run's device and prepare them for all devices and processes.

        Args:
            modules: the models; they are moved in place and keep their state-dict names.
            compiled: compile them as well.

        Returns:
            The models to call, in the same order.

        Raises:
            UserError: `compiled` on several GPUs of one process, or without a C++ compiler.
        """
        if compiled:
            self._check_compilable()
        placed = []
        for module in modules:
            module.to(self.device)
            if compiled:
                module.compile()
            placed.append(module)
        self.processes.share_model(placed)
        if len(self.device_ids) > 1:
            devices = [torch.device(self.device.type, number) for number in self.device_ids]
            return [Replicas(module, devices) for module in placed]
        return placed

    def _check_compilable(self) -> None:
        if len(self.device_ids) > 1:
            gpus = ",".join(map(str, self.device_ids))
            raise UserError(
                f"--compile with --gpu {gpus}: a process compiles for one GPU; give one, as in "
                f"--gpu {self.device_ids[0]}, or start a process for each: torchrun "
                f"--nproc_per_node={len(self.device_ids)}"
            )
        if self.device.type == "cpu":
            if not _has_compiler():
                raise UserError(
                    "--compile on a CPU needs a C++ compiler (g++ or clang++), none found"
                )
            LOG.info(
                "note: --compile is slower on a CPU: training was measured at 0.55 of the plain "
                "speed, after 138 s of compiling"
            )

    def windows_per_pass(self, batch_size: int, frames: int) -> int:
        """The number of windows of `frames` frames that an evaluation takes at once."""
        if self.device.type != "cpu":
            return batch_size
        return min(batch_size, max(CPU_FRAMES_PER_PASS // frames, 1))

    def random_states(self) -> list[dict[str, Any]]:
        """The state of every random source of every process, in a form that a file can hold."""
        mine = random_state()
        mine["generators"] = [generator.get_state() for generator in self.own_generators]
        mine["common_generators"] = [g.get_state() for g in self.common_generators]
        return self.processes.gather(mine)

    def set_random_states(self, states: Sequence[dict[str, Any]]) -> None:
        """Restore what `random_states` returned.

        With another number of processes, or on another kind of device, the streams that cannot be
        continued begin anew, which is logged; those that all processes share are continued.
        """
        continued = _continue(self.common_generators, states[0].get("common_generators", ()))
        if self.rank < len(states):  # else this process was not there: its own streams are new
            mine = states[self.rank]
            set_random_state(mine)
            continued = _continue(self.own_generators, mine["generators"]) and continued
        if len(states) != self.world_size:
            LOG.info(
                "note: the interrupted run had %d processes, this one has %d: the order of the "
                "samples is kept, random streams (dropout, masks of limbs, PoseAug) differ",
                len(states),
                self.world_size,
            )
        elif not continued:
            LOG.info("note: the interrupted run drew in another way; its random streams begin anew")


def _continue(generators: Sequence[torch.Generator], states: Sequence[Tensor]) -> bool:
    """Let generators go on from earlier states; False if they were others, or on other devices."""
    sizes = [len(generator.get_state()) for generator in generators]
    if sizes != [len(state) for state in states]:
        return False
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    return True


@dataclass(frozen=True)
class RuntimeOptions:
    """What a run may choose of its runtime.

    Attributes:
        gpus: device numbers asked for; those that do not exist are ignored with a notice.
        seed: `--manualSeed`; every process draws from a stream of its own.
        precision: "fp32", "tf32" or "bf16".
        deterministic: whether PyTorch takes deterministic algorithms; None for on a CPU only.
    """

    gpus: Sequence[int]
    seed: int
    precision: str = "fp32"
    deterministic: bool | None = None


def start(options: RuntimeOptions) -> Runtime:
    """Choose devices, join the processes of `torchrun`, seed every random source.

    Raises:
        UserError: more processes than GPUs, or what a launcher says makes no sense.
    """
    processes = Processes.of_environment()
    device, device_ids = _choose_devices(options.gpus, processes)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        _keep_freed_memory()
        _warn_of_slow_precision(options.precision)
    processes.join(device)
    torch.set_float32_matmul_precision("high" if options.precision == "tf32" else "highest")
    _set_deterministic(options.deterministic, device)
    seed = options.seed + processes.rank
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return Runtime(device, device_ids, processes.rank, processes.world_size, options.precision)


def _choose_devices(
    gpus: Sequence[int], processes: Processes
) -> tuple[torch.device, tuple[int, ...]]:
    """The device of this process, and all GPUs that it uses."""
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if processes.world_size == 1:
        used = tuple(i for i in dict.fromkeys(gpus) if 0 <= i < available)
        _log_devices(gpus, used, available)
        return (torch.device("cuda", used[0]) if used else torch.device("cpu")), used
    local = environment_number("LOCAL_RANK", processes.rank)
    on_this_machine = environment_number("LOCAL_WORLD_SIZE", processes.world_size)
    if not available:
        return torch.device("cpu"), ()
    if not 0 <= local < on_this_machine <= available:
        raise UserError(
            f"{on_this_machine} processes on a machine with {available} GPUs: start at most "
            f"{available} (--nproc_per_node)"
        )
    return torch.device("cuda", local), (local,)


def _set_deterministic(asked: bool | None, device: torch.device) -> None:
    """Choose between algorithms that repeat bit for bit and those that are fastest."""
    on = device.type == "cpu" if asked is None else asked
    if on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # repeatable products on a GPU
    torch.use_deterministic_algorithms(on, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if on and device.type == "cpu":
        text = "the same command on this machine repeats bit for bit, resumed or not"
    elif on:
        text = "the same command on this GPU repeats bit for bit, unless PyTorch warns below"
    else:
        text = "faster, and repeated runs differ by rounding (--deterministic 1 for none)"
    LOG.info("deterministic algorithms %s: %s", "on" if on else "off", text)


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
