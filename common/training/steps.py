"""How a batch changes the weights: what a task offers, and the optimiser's step."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from common.training.run_state import load_optimizer
from common.training.runtime import Runtime

# Frames per part of a step on a CPU: faster in cache, bounded in memory.
CPU_FRAMES_PER_PART = 16384


@dataclass(frozen=True)
class TestErrors:
    """Errors of a test, for the log and for choosing the best weights.

    Attributes:
        monitored: the metric that decides which weights are best; lower is better.
        errors: by the names of the log.
    """

    monitored: float
    errors: dict[str, float]


class Task(Protocol):
    """What a script trains.

    Attributes:
        modules: what checkpoints hold: name for the weight files -> model, not wrapped.
        num_samples: samples per epoch.
        frozen: parts of the modules that are not trained and stay in evaluation mode.
        loss_names: every loss term that a step may have, in the order of the log.
    """

    modules: Mapping[str, nn.Module]
    num_samples: int
    frozen: Sequence[nn.Module]
    loss_names: tuple[str, ...]

    def order(self, rng: torch.Generator) -> Tensor:
        """The samples of an epoch in random order, (num_samples,) int64 on CPU."""

    def sequences_of(self, samples: Tensor) -> list[str]:
        """The sequences that some samples come from, for messages."""

    def evaluate(self) -> TestErrors | None:
        """The test errors, in evaluation mode; None if there is no test."""


class LossTask(Task, Protocol):
    """A task that is trained on the gradient of a weighted sum of losses.

    Attributes:
        frames: T, frames per sample.
    """

    frames: int

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """The factor of each loss in the step that has begun."""

    def begin_step(self) -> None:
        """Called before each step, to decide what holds for all parts of its batch."""

    def counts(self, samples: Tensor) -> Mapping[str, int]:
        """How many of some samples (B,) each loss of the step that has begun is a mean over."""

    def losses(self, samples: Tensor) -> Iterator[dict[str, Tensor]]:
        """Unweighted mean losses () by name over some samples (B,), in training mode.

        Each dictionary is one backward pass: the memory of one is free before the next is
        computed. An empty one has nothing to learn from, here or in this process.
        """


class Steps(Protocol):
    """How a batch changes the weights."""

    def set_learning_rate(self, rate: float) -> None:
        """Use a learning rate from now on."""

    def step(self, batch: Tensor) -> Tensor:
        """Learn from some samples (B,).

        Returns:
            (1 + K, 2) of this process's share: the loss, then each of the task's `loss_names`; the
            sum of its means times their shares of the batch, and the sum of these shares.
        """

    def state(self) -> dict[str, Any]:
        """Everything beyond weights and random states that decides the steps to come."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""


@dataclass(frozen=True)
class Schedule:
    """Epochs, batches and learning rate of a run.

    Attributes:
        epochs: number of epochs.
        batch_size: windows per step, over all devices and processes.
        micro_batch: windows computed at once; 0 for what suits the device.
        learning_rate: of the first epoch.
        decay: factor after an epoch.
        large_decay: factor instead of `decay` after every `large_decay_epoch`-th epoch.
        large_decay_epoch: see there.
        seed: decides the order of the samples of each epoch.
        best: value of the monitored metric to beat before weights are saved.
    """

    epochs: int
    batch_size: int
    micro_batch: int
    learning_rate: float
    decay: float
    large_decay: float
    large_decay_epoch: int
    seed: int
    best: float = math.inf

    def learning_rate_of(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        rate = self.learning_rate
        for finished in range(1, epoch):
            rate *= self.large_decay if finished % self.large_decay_epoch == 0 else self.decay
        return rate

    def rng(self, epoch: int) -> torch.Generator:
        """The random generator that decides the order of the samples in an epoch."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)


class GradientSteps:
    """One Adam step per batch, its gradient computed in parts where memory asks for it."""

    def __init__(self, task: LossTask, runtime: Runtime, schedule: Schedule) -> None:
        """Set up the optimiser.

        Args:
            task: what is trained.
            runtime: devices and processes.
            schedule: sizes of batches and parts.
        """
        self.task, self.runtime, self.schedule = task, runtime, schedule
        self.parameters = [
            p for m in task.modules.values() for p in m.parameters() if p.requires_grad
        ]
        self.optimizer = torch.optim.Adam(
            self.parameters, lr=schedule.learning_rate, amsgrad=True, fused=True
        )
        self.batch_norms = [
            part
            for module in task.modules.values()
            for part in module.modules()
            if isinstance(part, nn.BatchNorm1d)
        ]
        self.momentum = [norm.momentum for norm in self.batch_norms]

    def set_learning_rate(self, rate: float) -> None:
        """Use a learning rate from now on."""
        set_learning_rate(self.optimizer, rate)

    def step(self, batch: Tensor) -> Tensor:
        """Learn from some samples (B,); see `Steps.step`."""
        mine = batch.tensor_split(self.runtime.world_size)[self.runtime.rank]
        parts = mine.tensor_split(max(math.ceil(len(mine) / self._part_size()), 1))
        self.optimizer.zero_grad(set_to_none=True)
        self.task.begin_step()
        counts = self.task.counts(batch)
        sums = torch.zeros(1 + len(self.task.loss_names), 2, device=self.runtime.device)
        for number, part in enumerate(parts):
            self._share_momentum([len(p) for p in parts], number)
            self._add_gradients(part, counts, sums)
            sums[0, 1] += len(part) / len(batch)
        self._share_momentum([1], 0)
        # The one exchange of a step, of whatever gradients each process has.
        self.runtime.processes.sum_gradients(self.parameters)
        self.optimizer.step()
        return sums

    def _add_gradients(self, part: Tensor, counts: Mapping[str, int], sums: Tensor) -> None:
        """Add the gradients of a part of the batch, and its losses to `sums`.

        A part may hold more of what one loss is over than of another, so each has its own share.

        Args:
            part: samples.
            counts: of the whole batch, over all processes.
            sums: see `step`.
        """
        passes = self.task.losses(part) if len(part) else iter(())
        own = self.task.counts(part)
        weights = self.task.loss_weights
        while (losses := self._next(passes)) is not None:
            if not losses:
                continue
            shares = {name: own[name] / counts[name] for name in losses}
            loss = weighted_sum(losses, {name: weights[name] * shares[name] for name in losses})
            loss.backward()
            sums[0, 0] += loss.detach()
            for name, term in losses.items():
                row = 1 + self.task.loss_names.index(name)
                sums[row, 0] += term.detach() * shares[name]
                sums[row, 1] += shares[name]

    def _next(self, passes: Iterator[dict[str, Tensor]]) -> dict[str, Tensor] | None:
        """The losses of the next pass, computed in the run's precision."""
        with self.runtime.autocast():
            return next(passes, None)

    def _share_momentum(self, sizes: list[int], number: int) -> None:
        """Let the parts of a step move the running statistics of batch norm as one batch would.

        With shares a_1 .. a_k of its samples, updates of the momentum
        m a_i / (1 - m (a_i+1 + .. + a_k)) add up to (1 - m) old + m (a_1 part_1 + .. + a_k part_k).
        """
        total = max(sum(sizes), 1)
        share, later = sizes[number] / total, sum(sizes[number + 1 :]) / total
        for norm, momentum in zip(self.batch_norms, self.momentum, strict=True):
            if momentum is not None:
                norm.momentum = momentum * share / (1 - momentum * later)

    def _part_size(self) -> int:
        """Windows that this process computes at once."""
        if self.schedule.micro_batch:
            wanted = self.schedule.micro_batch
        elif self.runtime.device.type == "cpu":
            wanted = CPU_FRAMES_PER_PART // self.task.frames
        else:
            wanted = self.schedule.batch_size * 2
        # At least four per GPU, so that equal parts hold the two that batch norm needs.
        return max(wanted, 4 * max(len(self.runtime.device_ids), 1))

    def state(self) -> dict[str, Any]:
        """The optimiser's state."""
        return self.optimizer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        load_optimizer(self.optimizer, state)


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The total loss (): the sum of all terms, each times its weight."""
    return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use a learning rate in all groups of an optimiser."""
    for group in optimizer.param_groups:
        group["lr"] = rate
