"""Everything to look at on the day that a GPU is there: equality, memory, speed, waits, resume.

    python tests/gpu_check.py [--quick] [--json FILE] [--markdown FILE]

Writes a JSON file and a markdown table. Exit code 0: all bounds and aims are met; 1: some are not;
2: there is no GPU. `--device cpu` runs everything with tiny models instead, to test this script.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import gpu_parts as parts  # noqa: E402  (the path is set just above)
from gpu_parts import KINDS, Sizes  # noqa: E402
from machine import processor  # noqa: E402
from runs import TINY, last_checkpoint, torchrun  # noqa: E402

from common.tasks.lifting import LiftingTask  # noqa: E402
from common.training.runtime import Runtime  # noqa: E402

CPU = torch.device("cpu")
EPOCH_WINDOWS, TEST_WINDOWS = 3_119_504, 543_344  # of Human3.6M
EPOCH_MINUTES, TEST_SECONDS, WAIT_PERCENT = 4.0, 20.0, 2.0  # aims, on an H100
# Largest difference to a CPU in fp32, as a share of the largest value.
BOUNDS = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 5e-2}
STEPS = 5


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        section: what it belongs to.
        name: what was measured.
        value: the figure; None if it was not measured, which `note` explains.
        unit: of the value.
        at_most: bound or aim; None for none.
        note: more about it.
        failed: an error ended the measurement.
    """

    section: str
    name: str
    value: float | None = None
    unit: str = ""
    at_most: float | None = None
    note: str = ""
    failed: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with it."""
        if self.failed or (self.value is not None and not math.isfinite(self.value)):
            return False
        return self.at_most is None or self.value is None or self.value <= self.at_most


class Check:
    """All measurements on one device."""

    def __init__(self, device: torch.device, sizes: Sizes, *, quick: bool) -> None:
        self.device, self.sizes, self.quick = device, sizes, quick
        self.run = Runtime(device, (0,) if device.type == "cuda" else (), 0, 1, "fp32")
        self.on_gpu = device.type == "cuda"
        self.gpus = torch.cuda.device_count() if self.on_gpu else 0
        self.rates: dict[str, float] = {}

    def rows(self) -> Iterator[Row]:
        """Measure; an error ends one section, not the others."""
        sections: list[Callable[[], Iterator[Row]]] = [
            self.forward,
            self.steps,
            self.masks,
            self.replicas,
            self.processes,
            self.resume,
            self.memory,
            self.speed,
            self.waiting,
            self.projection,
        ]
        for section in sections:
            print(f"{section.__name__} ...", file=sys.stderr, flush=True)
            try:
                yield from section()
            except Exception as error:  # reported with the others
                text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                yield Row(section.__name__, "ended by an error", note=text, failed=True)
            if self.on_gpu:
                torch.cuda.empty_cache()

    # ---- equality

    def forward(self) -> Iterator[Row]:
        """Predictions of the device against those of the CPU in fp32."""
        size = self.sizes.model
        alone = Runtime(CPU, (), 0, 1, "fp32")
        few = Sizes(size, 8, size, 8, 8, 16, 0)
        want = parts.lifting_test(alone, size, few)()
        for name, bound in BOUNDS.items():
            with parts.precision_of(self.run, name) as run:
                got = parts.lifting_test(run, size, few)()
            yield Row("forward", f"lifter, {name}", _difference(got, want), "of largest", bound)

    def steps(self) -> Iterator[Row]:
        """Losses of five optimisation steps against those of the CPU in fp32, without dropout."""
        alone = Runtime(CPU, (), 0, 1, "fp32")
        for kind in ("fine-tuning", "pre-training", "completion"):
            want = self._losses(kind, alone)
            for name, bound in BOUNDS.items():
                with parts.precision_of(self.run, name) as run:
                    got = self._losses(kind, run)
                yield Row(
                    "five steps", f"{kind}, {name}", _difference(got, want), "of largest", bound
                )

    def _losses(self, kind: str, run: Runtime) -> Tensor:
        (size, _), batch = self._size(kind), self.sizes.equal_batch
        task = parts.make_task(kind, run, size, dropout=False)
        steps, order = parts.steps_of(task, run, batch), parts.batches(task, batch)
        return torch.stack([steps.step(next(order))[:, 0] for _ in range(STEPS)])

    def masks(self) -> Iterator[Row]:
        """What a test hides, and its errors, are those of the CPU."""
        size = self.sizes.completion
        few = Sizes(size, 8, size, 8, 8, 64, 0)
        want = parts.masked_test(Runtime(CPU, (), 0, 1, "fp32"), size, few)()
        got = parts.masked_test(self.run, size, few)()
        hidden = (got[..., 1].cpu() != want[..., 1]).sum().item()
        yield Row("completion test", "windows that hide other joints", float(hidden), "", 0.0)
        yield Row("completion test", "errors", _difference(got, want), "of largest", BOUNDS["fp32"])

    # ---- several devices

    def replicas(self) -> Iterator[Row]:
        """Two GPUs of one process against one."""
        if self.gpus < 2:
            yield Row("two GPUs, one process", "predictions", note=f"not run: {self.gpus} GPUs")
            return
        size = self.sizes.model
        few = Sizes(size, 8, size, 8, 8, 16, 0)
        both = Runtime(self.device, (0, 1), 0, 1, "fp32")
        want, got = (parts.lifting_test(run, size, few)() for run in (self.run, both))
        yield Row(
            "two GPUs, one process", "predictions", _difference(got, want), "of largest", 1e-5
        )

    def processes(self) -> Iterator[Row]:
        """Loss curves of two processes (NCCL on GPUs) against that of one."""
        if self.on_gpu and self.gpus < 2:
            yield Row("two processes", "loss curve", note="not run: NCCL needs two GPUs")
            return
        words = "--train 1 --name t --nepoch 2 -b 100".split()
        curves = []
        with tempfile.TemporaryDirectory() as folder:
            for count in (1, 2):
                inside = Path(folder) / str(count)
                script = ROOT / "tests" / "distributed_losses.py"
                if count == 1:
                    _run(script, inside, words)
                else:
                    torchrun(inside, count, script, *words)
                curves.append(torch.tensor(json.loads((inside / "losses.json").read_text())))
        difference = _difference(curves[1], curves[0])
        yield Row("two processes", "loss curve", difference, "of largest", 1e-4)

    def resume(self) -> Iterator[Row]:
        """Weights after two epochs: in one go, and resumed after the first."""
        words = ["--train", "1", "--name", "t", *TINY, "--gpu", "0" if self.on_gpu else ""]
        for deterministic in ("1", "0") if self.on_gpu else ("1",):
            ends = []
            with tempfile.TemporaryDirectory() as folder:
                for number, epochs in enumerate((["2"], ["1", "2"])):
                    for again, count in enumerate(epochs):
                        more = ["--nepoch", count, "--deterministic", deterministic]
                        inside = Path(folder) / str(number)
                        _run(ROOT / "trainer.py", inside, [*words, *more, *["-r"] * again])
                    state = last_checkpoint(inside / "checkpoint/finetune_t_f9_t0.80")
                    ends.append(state["modules"]["no_refine"])
            difference = max(
                (a.double() - ends[1][n].double()).abs().max().item() for n, a in ends[0].items()
            )
            bound = 0.0 if deterministic == "1" else None
            name = f"--deterministic {deterministic}"
            yield Row("resumed and straight run", name, difference, "largest weight", bound)

    # ---- memory and speed

    def memory(self) -> Iterator[Row]:
        """Peak memory of a step of the published size."""
        for kind in KINDS:
            size, batch = self._size(kind)
            for name in ("fp32", "bf16"):
                section, what = "peak memory", f"{kind}, {size.frames} x {batch}, {name}"
                if not self.on_gpu:
                    yield Row(section, what, note="not run: of GPUs only")
                    continue
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
                try:
                    with parts.precision_of(self.run, name) as run:
                        task = parts.make_task(kind, run, size)
                        parts.steps_of(task, run, batch).step(next(parts.batches(task, batch)))
                except torch.cuda.OutOfMemoryError:
                    yield Row(section, what, note="does not fit: use --micro_batch")
                    continue
                finally:
                    task = None
                yield Row(section, what, torch.cuda.max_memory_allocated() / 2**30, "GiB")

    def _size(self, kind: str) -> tuple[Any, int]:
        completes = kind == "completion"
        sizes = self.sizes
        return (
            (sizes.completion, sizes.completion_batch) if completes else (sizes.model, sizes.batch)
        )

    def speed(self) -> Iterator[Row]:
        """Windows per second of steps and of a test."""
        for kind in KINDS:
            for name in BOUNDS:
                yield self._step_rate(kind, name, compiled=False)
                compiles = not self.quick or (kind, name) == ("fine-tuning", "bf16")
                if self.on_gpu and compiles:
                    yield self._step_rate(kind, name, compiled=True)
        for what, test, size in (
            ("lifting test, mirrored", parts.lifting_test, self.sizes.model),
            ("completion test, mirrored", parts.masked_test, self.sizes.completion),
        ):
            for name in BOUNDS:
                with parts.precision_of(self.run, name) as run:
                    tested = test(run, size, self.sizes)
                    self.rates[f"{what}, {name}"] = value = parts.rate(
                        lambda tested=tested: len(tested()), self.device, self.sizes.seconds, 1
                    )
                yield Row("speed", f"{what}, {name}", value, "windows/s")

    def _step_rate(self, kind: str, name: str, *, compiled: bool) -> Row:
        size, batch = self._size(kind)
        what = f"{kind}, {name}" + (", --compile" if compiled else "")
        started = time.perf_counter()
        with parts.precision_of(self.run, name) as run:
            try:
                task = parts.make_task(kind, run, size, compiled=compiled)
                steps, order = parts.steps_of(task, run, batch), parts.batches(task, batch)
                work = _stepping(steps, lambda: next(order))
                work()
                parts.synchronise(self.device)
                first = time.perf_counter() - started
                value = parts.rate(work, self.device, self.sizes.seconds)
            except Exception as error:
                text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                return Row("speed", what, note=text, failed=True)
        self.rates[what] = value
        return Row("speed", what, value, "windows/s", note=f"first step after {first:.0f} s")

    def waiting(self) -> Iterator[Row]:
        """Share of a training step that goes to finding and gathering its windows."""
        size, batch = self._size("fine-tuning")
        with parts.precision_of(self.run, "bf16") as run:
            task = parts.make_task("fine-tuning", run, size)
            assert isinstance(task, LiftingTask)
            steps, order = parts.steps_of(task, run, batch), parts.batches(task, batch)
            samples = next(order)
            ready: Any = parts.Gathered(task, samples)
            given = task.poses, task.store
            pairs = []
            for _ in range(3):  # in turn: clocks drift
                task.poses, task.store = given
                whole = parts.rate(_stepping(steps, lambda: next(order)), self.device, 1.0)
                task.poses = task.store = ready
                spared = parts.rate(_stepping(steps, lambda: samples), self.device, 1.0)
                pairs.append(100 * (1 - whole / spared))
        aim = WAIT_PERCENT if self.on_gpu else None
        yield Row("waiting for data", "fine-tuning, bf16", sorted(pairs)[1], "%", aim)

    def projection(self) -> Iterator[Row]:
        """What Human3.6M would take."""
        training = [v for n, v in self.rates.items() if n.startswith("fine-tuning, bf16")]
        minutes = EPOCH_WINDOWS / max(training) / 60
        aims = (EPOCH_MINUTES, TEST_SECONDS) if self.on_gpu else (None, None)
        yield Row("Human3.6M", "fine-tuning epoch, bf16", minutes, "minutes", aims[0])
        seconds = TEST_WINDOWS / self.rates["lifting test, mirrored, bf16"]
        yield Row("Human3.6M", "test set, mirrored, bf16", seconds, "seconds", aims[1])


def _difference(got: Tensor, want: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    got, want = got.detach().double().cpu(), want.detach().double().cpu()
    return ((got - want).abs().max() / want.abs().max()).item()


def _stepping(steps: Any, batch: Callable[[], Tensor]) -> Callable[[], int]:
    def work() -> int:
        samples = batch()
        steps.step(samples)
        return len(samples)

    return work


def _run(script: Path, folder: Path, words: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, str(script), *words],
        cwd=folder,
        check=True,
        capture_output=True,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "4"),
        },
    )


def markdown(machine: dict[str, Any], rows: list[Row]) -> str:
    """The figures as a table."""
    lines = [
        f"Measured on {machine['device']}, PyTorch {machine['torch']}:",
        "",
        "| what | | figure | at most | |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        value = "-" if row.value is None else f"{row.value:,.4g} {row.unit}".strip()
        bound = "" if row.at_most is None else f"{row.at_most:g}"
        remark = row.note if row.ok else f"**not met** {row.note}".strip()
        lines.append(f"| {row.section} | {row.name} | {value} | {bound} | {remark} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="under 5 minutes")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--markdown", type=Path, default=Path("gpu_check.md"))
    options = parser.parse_args()
    on_gpu = options.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        print("error: PyTorch finds no GPU; --device cpu tests this script", file=sys.stderr)
        return 2
    device = torch.device("cuda", 0) if on_gpu else CPU
    sizes = Sizes.published(quick=options.quick) if on_gpu else Sizes.tiny()
    machine = {
        "device": processor(device),
        "gpus": torch.cuda.device_count(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "quick": options.quick,
    }
    started = time.perf_counter()
    rows = list(Check(device, sizes, quick=options.quick).rows())
    machine["seconds"] = round(time.perf_counter() - started, 1)
    content = {"machine": machine, "rows": [{**asdict(row), "ok": row.ok} for row in rows]}
    options.json.write_text(json.dumps(content, indent=1) + "\n")
    text = markdown(machine, rows)
    options.markdown.write_text(text)
    print(text)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
