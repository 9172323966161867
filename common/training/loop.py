"""The training loop of every script: epochs, exact resume, interruption, logs.

An engine hands in what differs between the scripts (the `Task`); the loop owns the order of the
samples, the optimiser, the learning rate and every file that a run leaves behind.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from common.errors import UserError
from common.log import LOG
from common.training import checkpoint
from common.training.run_folder import RunFolder
from common.training.runtime import Runtime
from common.training.signals import Interrupted, StopSignals

RESUME_FORMAT = 1
# On a GPU the host looks at losses and signals every so many steps, not to wait for each step.
STEPS_BETWEEN_LOOKS = 50
# On a CPU a step is computed in parts of about so many frames: faster in cache, bounded in memory.
CPU_FRAMES_A_PART = 16384


class Task(Protocol):
    """What a script trains.

    Attributes:
        modules: what checkpoints hold: name for the weight files -> model, not wrapped.
        num_samples: samples of an epoch.
        frozen: parts of the modules that are not trained and stay in evaluation mode.
    """

    modules: Mapping[str, nn.Module]
    num_samples: int
    frozen: Sequence[nn.Module]

    def order(self, generator: torch.Generator) -> Tensor:
        """The samples of an epoch in random order, (num_samples,) int64 on CPU."""

    def sequences_of(self, samples: Tensor) -> list[str]:
        """The sequences that some samples come from, for messages."""

    def evaluate(self) -> dict[str, float]:
        """The errors to log, in evaluation mode; "criterion" (lower is better) among them."""


class LossTask(Task, Protocol):
    """A task that is trained on the gradient of a loss.

    Attributes:
        frames: T, frames of a sample.
    """

    frames: int

    def begin_step(self) -> None:
        """Called before each step, to decide what holds for all parts of its batch."""

    def losses(self, samples: Tensor) -> Iterator[Tensor]:
        """Mean losses () over some samples (B,), in training mode, that add up.

        They are taken one by one: the memory of one is free before the next is computed. Every
        process has the same number of them.
        """


class Steps(Protocol):
    """How a batch changes the weights."""

    def set_rate(self, rate: float) -> None:
        """Use a learning rate from now on."""

    def step(self, batch: Tensor) -> Tensor:
        """Learn from some samples (B,); the loss (), of this process's share of them."""

    def state(self) -> dict[str, Any]:
        """Everything beyond weights and random states that decides the steps to come."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""


@dataclass(frozen=True)
class Schedule:
    """Epochs, batches and learning rate of a run.

    Attributes:
        epochs: number of epochs.
        batch_size: windows a step, over all devices and processes.
        micro_batch: windows computed at once; 0 decides by the device.
        learning_rate: of the first epoch.
        decay: factor after an epoch ...
        large_decay: ... and after every `large_decay_epoch`-th instead.
        large_decay_epoch: see there.
        seed: decides the order of the samples of each epoch.
        best: criterion to beat before weights are saved.
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

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        rate = self.learning_rate
        for finished in range(1, epoch):
            rate *= self.large_decay if finished % self.large_decay_epoch == 0 else self.decay
        return rate

    def generator(self, epoch: int) -> torch.Generator:
        """What decides the order of the samples in an epoch."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)


@dataclass
class Position:
    """How far a run has come: all of it goes into the resume file.

    Attributes:
        epoch: the epoch under way or to begin, counted from 1.
        step: steps of it that are done.
        loss_sum: sum of the losses of its samples so far.
        seconds: time spent on it so far.
        best: lowest criterion so far.
        best_files: the weight files that it was saved in, by module name.
        history: one dictionary an epoch: epoch, learning rate, loss, errors, speed.
        finished: whether the run is complete.
    """

    epoch: int = 1
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best: float = math.inf
    best_files: dict[str, str] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    finished: bool = False


class GradientSteps:
    """One Adam step a batch on the gradient of a task's loss, in parts where memory asks for it."""

    def __init__(self, task: LossTask, runtime: Runtime, schedule: Schedule) -> None:
        """Set up the optimiser.

        Args:
            task: what is trained.
            runtime: devices and processes.
            schedule: sizes of batches and parts.
        """
        self.task, self.runtime, self.schedule = task, runtime, schedule
        parameters = [p for m in task.modules.values() for p in m.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(
            parameters, lr=schedule.learning_rate, amsgrad=True, fused=True
        )

    def set_rate(self, rate: float) -> None:
        """Use a learning rate from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def step(self, batch: Tensor) -> Tensor:
        """Learn from some samples (B,); the loss () of this process's share of them."""
        world = self.runtime.world_size
        mine = batch.tensor_split(world)[self.runtime.rank]
        # As many parts in every process: each part's gradients are averaged over all of them.
        parts = mine.tensor_split(math.ceil(len(batch) / world / self._part_size()))
        self.optimizer.zero_grad(set_to_none=True)
        self.task.begin_step()
        total = torch.zeros((), device=self.runtime.device)
        for part in parts:
            share = len(part) / len(batch)
            losses = self.task.losses(part)
            while (loss := self._next(losses)) is not None:
                # Processes average their gradients: shares of the batch mean are scaled to add up.
                (loss * share * world).backward()
                total += loss.detach() * share
        self.optimizer.step()
        return total

    def _next(self, losses: Iterator[Tensor]) -> Tensor | None:
        """The next loss, computed in the run's precision."""
        with self.runtime.autocast():
            return next(losses, None)

    def _part_size(self) -> int:
        """Windows that this process computes at once."""
        if self.schedule.micro_batch:
            wanted = self.schedule.micro_batch
        elif self.runtime.device.type == "cpu":
            wanted = CPU_FRAMES_A_PART // self.task.frames
        else:
            wanted = self.schedule.batch_size * 2
        # At least four a replica, so that equal parts hold the two that batch norm needs.
        return max(wanted, 4 * self.runtime.num_replicas)

    def state(self) -> dict[str, Any]:
        """The optimiser's state."""
        return self.optimizer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""
        self.optimizer.load_state_dict(state)


class Training:
    """One training run in one folder."""

    def __init__(
        self,
        task: Task,
        steps: Steps,
        runtime: Runtime,
        schedule: Schedule,
        folder: RunFolder,
        *,
        keep: str = "improved",
        after_epoch: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:
        """Set up a run.

        Args:
            task: what is trained.
            steps: how.
            runtime: devices and processes.
            schedule: epochs and learning rate.
            folder: where its files go.
            keep: save weights when the criterion has "improved", after "every" epoch, or "never".
            after_epoch: called with each finished epoch and its record before its state is saved,
                in the main process.

        Raises:
            UserError: there are too few samples, or the batch is too small for batch norm.
        """
        self.task, self.steps, self.runtime, self.schedule = task, steps, runtime, schedule
        self.folder, self.keep, self.after_epoch = folder, keep, after_epoch
        self.position = Position(best=schedule.best)
        self.smallest_batch = 2 * runtime.num_replicas  # batch norm needs two samples
        if min(schedule.batch_size, task.num_samples) < self.smallest_batch:
            raise UserError(
                f"--batchSize {schedule.batch_size} over {task.num_samples} windows and "
                f"{runtime.num_replicas} devices: batch norm needs at least 2 windows a device"
            )
        self.writer = _tensorboard_writer(folder.path) if runtime.is_main else None

    def _resume(self) -> None:
        """Take up the state of an interrupted run.

        Raises:
            UserError: there is none, or it was begun with other options.
        """
        content = checkpoint.load_torch(self.folder.resume_path)
        if not isinstance(content, dict) or content.get("format") != RESUME_FORMAT:
            raise UserError(f"{self.folder.resume_path}: not a file to resume from")
        before = content["options"]
        differing = [
            f"--{name} {before[name]} then, {value} now"
            for name, value in self.folder.options.items()
            if name not in self.folder.free_on_resume and name in before and before[name] != value
        ]
        if differing:
            raise UserError(f"the interrupted run had other options: {'; '.join(differing)}")
        for name, module in self.task.modules.items():
            state = content["modules"][name]
            module.load_state_dict({n.removeprefix("module."): t for n, t in state.items()})
        self.steps.load_state(content["optimizer"])
        self.runtime.set_random_states(content["random_states"])
        self.position = Position(**content["position"])
        self.position.finished = False
        LOG.info("going on in epoch %d after step %d", self.position.epoch, self.position.step)

    def run(self, *, resume: bool) -> list[dict[str, float]]:
        """Train to the last epoch; the models then hold the best weights that were saved.

        Args:
            resume: go on from the state in the folder.

        Returns:
            One record an epoch.

        Raises:
            Interrupted: by a signal, after the state was saved.
            UserError: a loss is not finite, or a file cannot be written.
        """
        with StopSignals() as signals:
            if resume:
                self._resume()
            self._save_state()
            try:
                while self.position.epoch <= self.schedule.epochs:
                    self._train_epoch(signals)
                    self._save_state()
                    self._finish_epoch()
            except KeyboardInterrupt:  # a second signal: whatever was saved last is what remains
                raise Interrupted(self._how_to_go_on()) from None
            self.position.finished = True
            self._save_state()
        if self.writer:
            self.writer.close()
        for what, name in self.position.best_files.items():
            checkpoint.load_whole(self.task.modules[what], self.folder.path / name)
        if self.position.best_files:
            LOG.info("best weights: %s", ", ".join(self.position.best_files.values()))
        return self.position.history

    def _train_epoch(self, signals: StopSignals) -> None:
        position, task = self.position, self.task
        for module in task.modules.values():
            module.train()
        for part in task.frozen:
            part.eval()
        self.steps.set_rate(self.schedule.rate(position.epoch))
        batches = self._batches()
        look_every = 1 if self.runtime.device.type == "cpu" else STEPS_BETWEEN_LOOKS
        unseen: list[tuple[int, Tensor, Tensor]] = []
        started = time.monotonic() - position.seconds
        seen = sum(map(len, batches[: position.step]))
        with tqdm(
            total=task.num_samples,
            initial=seen,
            desc=f"epoch {position.epoch}/{self.schedule.epochs}",
            unit=" windows",
            leave=False,
            disable=None if self.runtime.is_main else True,
        ) as bar:
            for step in range(position.step, len(batches)):
                batch = batches[step]
                unseen.append((step, batch, self.steps.step(batch)))
                bar.update(len(batch))
                seen += len(batch)
                if (step + 1) % look_every and step + 1 < len(batches):
                    continue
                self._look_at_losses(unseen)
                unseen.clear()
                position.step = step + 1
                position.seconds = time.monotonic() - started
                bar.set_postfix(loss=f"{position.loss_sum / seen:.4f}")
                if self.runtime.any_process(signals.received):
                    self._save_state()
                    raise Interrupted(self._how_to_go_on())

    def _batches(self) -> list[Tensor]:
        """The epoch's batches; a rest too small for batch norm joins the batch before it."""
        order = self.task.order(self.schedule.generator(self.position.epoch))
        batches = list(order.split(self.schedule.batch_size))
        if len(batches) > 1 and len(batches[-1]) < self.smallest_batch:
            rest = batches.pop()
            batches[-1] = torch.cat([batches[-1], rest])
        return batches

    def _look_at_losses(self, unseen: list[tuple[int, Tensor, Tensor]]) -> None:
        """Add up the losses of the last steps; stop the run at one that is not finite."""
        losses = self.runtime.sum_over_processes(torch.stack([loss for *_, loss in unseen]))
        for (step, batch, _), loss in zip(unseen, losses.tolist(), strict=True):
            if not math.isfinite(loss):
                sequences = self.task.sequences_of(batch)
                shown = ", ".join(sequences[:20]) + (" ..." if len(sequences) > 20 else "")
                raise UserError(
                    f"the loss is {loss} in epoch {self.position.epoch}, step {step + 1}; its "
                    f"batch holds windows of {shown}. The last good state is in "
                    f"{self.folder.resume_path}"
                )
            self.position.loss_sum += loss * len(batch)

    def _how_to_go_on(self) -> str:
        command = self.folder.options["command"]
        if not {"-r", "--resume"} & set(command.split()):
            command += " -r"
        return (
            f"stopped in epoch {self.position.epoch} after step {self.position.step}; the state is "
            f"in {self.folder.resume_path}. To go on: {command}"
        )

    def _finish_epoch(self) -> None:
        """Evaluate, save, log, and move the position to the next epoch."""
        position, task = self.position, self.task
        for module in task.modules.values():
            module.eval()
        loss = position.loss_sum / task.num_samples
        errors = task.evaluate() or {"criterion": 1000 * loss}
        record = {
            "epoch": position.epoch,
            "learning_rate": self.schedule.rate(position.epoch),
            "loss": loss,
            **errors,
            "seconds": round(position.seconds, 3),
            "windows_per_second": round(task.num_samples / max(position.seconds, 1e-9), 1),
        }
        improved = errors["criterion"] < position.best
        if self.keep == "every" or (self.keep == "improved" and improved):
            files = self._save_weights(errors["criterion"])
            if improved:
                position.best, position.best_files = errors["criterion"], files
        if self.after_epoch and self.runtime.is_main:
            self.after_epoch(position.epoch, record)
        position.history.append(record)
        position.epoch, position.step = position.epoch + 1, 0
        position.loss_sum = position.seconds = 0.0
        self._save_state()
        self._log(record, improved=improved)

    def _save_weights(self, criterion: float) -> dict[str, str]:
        """Write the weight files of this epoch; their names by module."""
        files = {}
        for what, module in self.task.modules.items():
            path = self.folder.weights_path(what, epoch=self.position.epoch, criterion=criterion)
            if self.runtime.is_main:
                checkpoint.save_torch(path, checkpoint.released_format(module))
            files[what] = path.name
        return files

    def _save_state(self) -> None:
        states = self.runtime.random_states()
        if self.runtime.is_main:
            checkpoint.save_torch(
                self.folder.resume_path,
                {
                    "format": RESUME_FORMAT,
                    "options": self.folder.options,
                    "position": vars(self.position),
                    "modules": {
                        name: checkpoint.released_format(module)
                        for name, module in self.task.modules.items()
                    },
                    "optimizer": self.steps.state(),
                    "random_states": states,
                },
            )
        self.runtime.wait_for_all()

    def _log(self, record: Mapping[str, float], *, improved: bool) -> None:
        errors = " ".join(
            f"{name} {value:.2f}" for name, value in record.items() if name not in _NOT_ERRORS
        )
        LOG.info(
            "epoch %d/%d lr %.3g loss %.4f %s (%.0f windows/s)%s",
            record["epoch"],
            self.schedule.epochs,
            record["learning_rate"],
            record["loss"],
            errors,
            record["windows_per_second"],
            " best so far, saved" if improved and self.keep != "never" else "",
        )
        if self.writer:
            for name, value in record.items():
                self.writer.add_scalar(name, value, record["epoch"])
            self.writer.flush()


_NOT_ERRORS = {"epoch", "learning_rate", "loss", "criterion", "seconds", "windows_per_second"}


def _tensorboard_writer(folder: Path) -> Any:
    """A TensorBoard writer, or None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def freeze(module: nn.Module, parts: Sequence[str]) -> list[nn.Module]:
    """Keep some parts of a model as they are: no gradients, and (by the loop) no new statistics.

    Args:
        module: the model.
        parts: names of its parts, for example "encoder2d".

    Returns:
        The parts.

    Raises:
        UserError: there is no such part, or nothing would be left to train.
    """
    known = dict(module.named_children())
    for name in parts:
        if name not in known:
            raise UserError(f"--frozen_parts: no part {name!r}; there are {', '.join(known)}")
        known[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise UserError("--frozen_parts: nothing is left to train")
    LOG.info("frozen: %s", ", ".join(parts))
    return [known[name] for name in parts]
