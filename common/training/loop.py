"""The training loop of every script: epochs, exact resume, interruption, logs.

A task defines what is trained and `Steps` how; the loop owns the order of the samples, the learning
rate and every file that a run leaves behind.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError, shown
from common.log import LOG
from common.training import checkpoint
from common.training.progress import Progress
from common.training.run_folder import RunFolder
from common.training.run_state import RESUME_FORMAT, Position, RunState
from common.training.runtime import Runtime
from common.training.signals import Interrupted, StopSignals
from common.training.steps import Schedule, Steps, Task, TestErrors

# Steps between reads of losses and signals on a GPU, where reading waits for the device.
STEPS_BETWEEN_CHECKS = 50


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
            keep: save weights when the monitored metric has "improved", after "every" epoch, or
                "never".
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
                f"{runtime.num_replicas} devices: batch norm needs at least 2 windows per device"
            )
        self.writer = _tensorboard_writer(folder.path) if runtime.is_main else None

    def _resume(self) -> None:
        """Restore the state of an interrupted run.

        Raises:
            UserError: there is none, it was started with other options, or it is damaged.
        """
        state = RunState.read(self.folder.resume_path)
        differing = self.folder.info.differing(state.options)
        if differing:
            raise UserError(
                f"the interrupted run, {state.path}, had other options: {'; '.join(differing)}"
            )
        for name, module in self.task.modules.items():
            checkpoint.load_whole(module, state.weights_of(name))
        try:
            self.steps.load_state(state.optimizer)
            self.runtime.set_random_states(state.random_states)
        except Exception as error:  # an edited file surfaces as almost any exception
            reason = f"{type(error).__name__}: {shown(error)}"
            raise UserError(f"{state.path}: damaged or edited ({reason})") from None
        self.position = state.position
        self._check_best_files()
        self.position.finished = False
        self.folder.write_options()
        LOG.info("resuming in epoch %d after step %d", self.position.epoch, self.position.step)

    def _check_best_files(self) -> None:
        """Require the weights that the run would end with, before hours of training."""
        for what, name in self.position.best_files.items():
            where = f"{self.folder.resume_path} names {shown(name)} as the best weights of"
            if what not in self.task.modules:
                raise UserError(f"{where} {shown(what)}, which this run does not train")
            if not (self.folder.path / name).is_file():
                raise UserError(f"{where} {what}, but the folder has no such file")

    def run(self, *, resume: bool) -> list[dict[str, float]]:
        """Train to the last epoch; the models then hold the best weights that were saved.

        Args:
            resume: go on from the state in the folder.

        Returns:
            One record per epoch.

        Raises:
            Interrupted: by a signal, after the state was saved.
            UserError: a loss is not finite, or a file cannot be written.
        """
        with StopSignals() as signals:
            if self.runtime.processes.any(resume):
                self._resume()
            self._save_state()
            try:
                while self.position.epoch <= self.schedule.epochs:
                    self._train_epoch(signals)
                    self._save_state()
                    self._finish_epoch()
            except KeyboardInterrupt:  # a second signal: the state saved last is kept
                raise Interrupted(self._how_to_resume()) from None
            self.position.finished = True
            self._save_state()
        if self.writer:
            self.writer.close()
        for what, name in self.position.best_files.items():
            file = checkpoint.WeightFile.load(self.folder.path / name)
            checkpoint.load_whole(self.task.modules[what], file)
        if self.position.best_files:
            LOG.info("best weights: %s", ", ".join(self.position.best_files.values()))
        return self.position.history

    def _train_epoch(self, signals: StopSignals) -> None:
        position, task = self.position, self.task
        for module in task.modules.values():
            module.train()
        for part in task.frozen:
            part.eval()
        self.steps.set_learning_rate(self.schedule.learning_rate_of(position.epoch))
        batches = self._batches()
        check_every = 1 if self.runtime.device.type == "cpu" else STEPS_BETWEEN_CHECKS
        unseen: list[tuple[int, Tensor, Tensor]] = []
        started = time.monotonic() - position.seconds
        seen = sum(map(len, batches[: position.step]))
        with Progress(
            f"epoch {position.epoch}/{self.schedule.epochs}",
            total=task.num_samples,
            done=seen,
            shown=self.runtime.is_main,
        ) as progress:
            for step in range(position.step, len(batches)):
                batch = batches[step]
                unseen.append((step, batch, self.steps.step(batch)))
                progress.advance(len(batch))
                seen += len(batch)
                if (step + 1) % check_every and step + 1 < len(batches):
                    continue
                self._check_losses(unseen)
                unseen.clear()
                position.step = step + 1
                position.seconds = time.monotonic() - started
                progress.report(self._shown_losses(seen))
                if self.runtime.processes.any(signals.received):
                    self._save_state()
                    raise Interrupted(self._how_to_resume())

    def _batches(self) -> list[Tensor]:
        """The epoch's batches; a rest too small for batch norm joins the batch before it."""
        order = self.task.order(self.schedule.rng(self.position.epoch))
        batches = list(order.split(self.schedule.batch_size))
        if len(batches) > 1 and len(batches[-1]) < self.smallest_batch:
            rest = batches.pop()
            batches[-1] = torch.cat([batches[-1], rest])
        return batches

    def _check_losses(self, unseen: list[tuple[int, Tensor, Tensor]]) -> None:
        """Add up the losses of the last steps; stop the run at one that is not finite."""
        sums = self.runtime.processes.sum(torch.stack([sums for *_, sums in unseen]))
        for (step, batch, _), rows in zip(unseen, sums.tolist(), strict=True):
            (loss, _), *terms = rows
            if not math.isfinite(loss):
                sequences = self.task.sequences_of(batch)
                shown = ", ".join(sequences[:20]) + (" ..." if len(sequences) > 20 else "")
                raise UserError(
                    f"the loss is {loss} in epoch {self.position.epoch}, step {step + 1}; its "
                    f"batch holds windows of {shown}. The last good state is in "
                    f"{self.folder.resume_path}"
                )
            self.position.loss_sum += loss * len(batch)
            for name, (term, share) in zip(self.task.loss_names, terms, strict=True):
                so_far = self.position.term_sums.setdefault(name, [0.0, 0.0])
                so_far[0] += term * len(batch)
                so_far[1] += share * len(batch)

    def _losses(self, samples: int) -> dict[str, float]:
        """Means over the epoch so far: of the loss, and of each term that a step has had."""
        terms = {
            f"loss/{name}": total / count
            for name, (total, count) in self.position.term_sums.items()
            if count
        }
        return {"loss": self.position.loss_sum / samples, **terms}

    def _shown_losses(self, samples: int) -> dict[str, str]:
        """Losses for the progress bar; a single term is the loss itself."""
        losses = {n.removeprefix("loss/"): f"{v:.4f}" for n, v in self._losses(samples).items()}
        return losses if len(losses) > 2 else {"loss": losses["loss"]}

    def _how_to_resume(self) -> str:
        command = self.folder.info.command
        if not {"-r", "--resume"} & set(command.split()):
            command += " -r"
        if self.runtime.world_size > 1:
            command = command.replace(
                "python ", f"torchrun --nproc_per_node={self.runtime.world_size} ", 1
            )
        return (
            f"stopped in epoch {self.position.epoch} after step {self.position.step}; the state is "
            f"in {self.folder.resume_path}. To resume: {command}"
        )

    def _finish_epoch(self) -> None:
        """Evaluate, save, log, and move the position to the next epoch."""
        position, task = self.position, self.task
        for module in task.modules.values():
            module.eval()
        losses = self._losses(task.num_samples)
        test = task.evaluate() or TestErrors(1000 * losses["loss"], {})
        if not math.isfinite(test.monitored):
            raise UserError(
                f"the test error is {test.monitored} after epoch {position.epoch}: the weights are "
                f"no longer finite. The last good state is in {self.folder.resume_path}"
            )
        record = {
            "epoch": position.epoch,
            "learning_rate": self.schedule.learning_rate_of(position.epoch),
            **losses,
            "monitored": test.monitored,
            **test.errors,
            "seconds": round(position.seconds, 3),
            "windows_per_second": round(task.num_samples / max(position.seconds, 1e-9), 1),
        }
        improved = test.monitored < position.best
        if self.keep == "every" or (self.keep == "improved" and improved):
            files = self._save_weights(test.monitored)
            if improved:
                position.best, position.best_files = test.monitored, files
        if self.after_epoch:
            after_epoch, epoch = self.after_epoch, position.epoch
            self.runtime.processes.on_main(lambda: after_epoch(epoch, record))
        position.history.append(record)
        position.epoch, position.step = position.epoch + 1, 0
        position.loss_sum = position.seconds = 0.0
        position.term_sums = {}
        self._save_state()
        self._log(record, test.errors, improved=improved)

    def _save_weights(self, monitored: float) -> dict[str, str]:
        """Write the weight files of this epoch; their names by module."""
        epoch = self.position.epoch
        paths = {
            what: self.folder.weights_path(what, epoch=epoch, metric=monitored)
            for what in self.task.modules
        }

        def write() -> None:
            for what, module in self.task.modules.items():
                state = checkpoint.released_format(module, self.folder.info.model_record)
                checkpoint.save_torch(paths[what], state)

        self.runtime.processes.on_main(write)
        return {what: path.name for what, path in paths.items()}

    def _save_state(self) -> None:
        states = self.runtime.random_states()

        def write() -> None:
            modules = self.task.modules.items()
            checkpoint.save_torch(
                self.folder.resume_path,
                {
                    "format": RESUME_FORMAT,
                    "options": dict(self.folder.info.options),
                    "position": vars(self.position),
                    "modules": {n: checkpoint.released_format(module) for n, module in modules},
                    "optimizer": self.steps.state(),
                    "random_states": states,
                },
            )

        self.runtime.processes.on_main(write)

    def _log(
        self, record: Mapping[str, float], errors: Mapping[str, float], *, improved: bool
    ) -> None:
        shown = {n.removeprefix("loss/"): v for n, v in record.items() if n.startswith("loss/")}
        terms = " ".join(f"{name} {value:.4f}" for name, value in shown.items())
        LOG.info(
            "epoch %d/%d lr %.3g loss %.4f %s%s(%.0f windows/s)%s",
            record["epoch"],
            self.schedule.epochs,
            record["learning_rate"],
            record["loss"],
            f"({terms}) " if len(shown) > 1 else "",
            "".join(f"{name} {value:.2f} " for name, value in errors.items()),
            record["windows_per_second"],
            " best so far, saved" if improved and self.keep != "never" else "",
        )
        if self.writer:
            for name, value in record.items():
                self.writer.add_scalar(name, value, record["epoch"])
            self.writer.flush()


def _tensorboard_writer(folder: Path) -> Any:
    """A TensorBoard writer, or None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
