"""The processes of a run under torchrun: what they add up, agree on and wait for together.

Every method is a meeting: all processes call it, in the same order, whatever their share of the
work. Numbers that the host has to know travel between CPUs, so that no meeting waits for a device
but those that add up tensors of one.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous

from common.errors import FailedElsewhere, FailedRun, UserError

# Seconds that a failed process waits for the main one to report the same before it speaks itself.
WAIT_FOR_MAIN = 5.0
_FAILURE_KEY = "failure_of_main"


@dataclass(frozen=True)
class Processes:
    """The processes of a run.

    Attributes:
        rank: number of this one.
        world_size: how many there are.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def of_environment(cls) -> "Processes":
        """Those that torchrun has started; one if it has not.

        Raises:
            UserError: its variables make no sense.
        """
        rank, world_size = environment_number("RANK", 0), environment_number("WORLD_SIZE", 1)
        if not 0 <= rank < world_size:
            raise UserError(
                f"RANK={rank} of WORLD_SIZE={world_size}: start several processes with torchrun, "
                "which sets both, and one without these variables"
            )
        return cls(rank, world_size)

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def join(self, device: torch.device) -> None:
        """Meet the other processes for the first time.

        Raises:
            UserError: they cannot be reached.
        """
        if self.world_size == 1 or distributed.is_initialized():
            return
        # Tensors of GPUs travel by NCCL, those of CPUs by Gloo.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        try:
            store, rank, world_size = next(iter(rendezvous("env://")))
            distributed.init_process_group(
                backend,
                store=distributed.PrefixStore(_attempt(), store),
                rank=rank,
                world_size=world_size,
            )
        except (ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"cannot join the {self.world_size} processes of the run ({reason}): start them "
                "with torchrun"
            ) from None

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over all processes, in place."""
        if self.world_size > 1:
            with _meeting(self.rank):
                distributed.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(self.sum(torch.tensor([int(flag)])))

    def wait_for_all(self) -> None:
        """Wait until every process has come here."""
        self.sum(torch.zeros(1))

    def gather(self, value: Any) -> list[Any]:
        """What each process hands in, by rank."""
        values: list[Any] = [None] * self.world_size
        if self.world_size == 1:
            return [value]
        with _meeting(self.rank):
            distributed.all_gather_object(values, value)
        return values

    def on_main(self, work: Callable[[], object]) -> None:
        """Do something in the main process while the others wait; what fails there fails in all.

        Raises:
            FailedElsewhere: in the other processes, if it failed.
        """
        if self.world_size == 1:
            work()
            return
        failure = None
        if self.is_main:
            try:
                work()
            except Exception as error:
                failure = error
        failed = self.any(failure is not None)
        if failure is not None:
            raise failure
        if failed:
            raise FailedElsewhere

    def share_model(self, modules: Iterable[nn.Module]) -> None:
        """Give every process the parameters and buffers of the main one."""
        for module in modules:
            self._copy_of_main([*module.parameters(), *module.buffers()])

    def share_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Give every process the buffers of the main one: batch norm's running statistics."""
        for module in modules:
            self._copy_of_main(module.buffers())

    def _copy_of_main(self, tensors: Iterable[Tensor]) -> None:
        if self.world_size > 1:
            with _meeting(self.rank):
                for tensor in tensors:
                    distributed.broadcast(tensor.data, 0)

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up the gradients of all processes: one exchange, the same whatever each has.

        A process may have a gradient of no parameter, of some, or of all of them; it contributes 0
        where it has none. A parameter without a gradient in any process stays without one, so that
        the optimiser leaves it as it is, as it does in a run of one process.

        Args:
            parameters: those that are trained, in the same order in every process.
        """
        if self.world_size == 1:
            return
        counts = self.sum(torch.tensor([int(p.grad is not None) for p in parameters]))
        shared = [p for p, count in zip(parameters, counts.tolist(), strict=True) if count]
        if not shared:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in shared]
        summed = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        pieces = summed.split([p.numel() for p in shared])
        for parameter, piece in zip(shared, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)


def environment_number(name: str, default: int) -> int:
    """A whole number that a launcher has put into the environment.

    Raises:
        UserError: it is none.
    """
    text = os.environ.get(name, "")
    try:
        return int(text) if text else default
    except ValueError:
        raise UserError(f"the environment variable {name}={text!r} is not a number") from None


def was_restarted() -> bool:
    """Whether torchrun or SLURM has started this job again after it was cut short."""
    names = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return any(environment_number(name, 0) > 0 for name in names)


def _attempt() -> str:
    """A name of this start of the job, the same in all its processes.

    On one machine torchrun lets a restarted job meet at the store of the one before, where
    addresses of processes that are gone still stand. Of several machines, each counts its own
    restarts, and has a new store every time (`--rdzv_backend=c10d`).
    """
    several = environment_number("GROUP_WORLD_SIZE", 1) > 1
    return f"mpm/{0 if several else environment_number('TORCHELASTIC_RESTART_COUNT', 0)}"


@contextmanager
def _meeting(rank: int) -> Iterator[None]:
    """Turn the loss of another process into one line; the reason stands in its own output."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise FailedRun(
            f"process {rank} has lost another one, see what that printed ({reason})"
        ) from error


def speaks(message: str) -> bool:
    """Whether this process is the one to report a failure.

    The main process is. Another one is if the main process does not report the same: a file may be
    missing on one machine only. Before processes have met, one of each machine is.
    """
    try:
        processes = Processes.of_environment()
        if not distributed.is_available() or not distributed.is_initialized():
            return processes.is_main or environment_number("LOCAL_RANK", 0) == 0
        store = distributed.TCPStore(
            os.environ["MASTER_ADDR"],
            environment_number("MASTER_PORT", 0),
            is_master=False,
            timeout=timedelta(seconds=WAIT_FOR_MAIN),
        )
        key = f"{_attempt()}/{_FAILURE_KEY}"
        if processes.is_main:
            store.set(key, message)
            return True
        store.wait([key], timedelta(seconds=WAIT_FOR_MAIN))
        return store.get(key).decode() != message
    except (KeyError, RuntimeError, ValueError):  # nothing to meet at: rather twice than never
        return True
