"""Measure windows per second, memory and start-up time beside a plain textbook implementation.

    python tests/benchmark.py [--frames 243] [--layers 4] [--device cpu] [--json FILE]
    python tests/benchmark.py --full-size

Each figure is measured in pairs within one run, ours and the baseline's in turn, each in a process
of its own, because machines drift; the ratio counts. The baseline (tests/textbook.py) gathers
behind a DataLoader (the faster of none and one worker per core) and reads a PoseAug generator from
its file at every step.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from full_size import full_size, peak_megabytes  # noqa: E402  (the path is set just above)
from machine import matrix_rate, processor, speed  # noqa: E402
from textbook import (  # noqa: E402
    JOINTS,
    TextbookDataset,
    TextbookLifter,
    TextbookMaskedModel,
    textbook_evaluate,
)

from Augpart.augment import PoseAugmenter, in_view  # noqa: E402
from Augpart.pose_generator import GeneratorNoise, PoseGenerator  # noqa: E402
from common.data import h36m  # noqa: E402
from common.data.camera import project  # noqa: E402
from common.data.skeleton import H36M_16, H36M_17  # noqa: E402
from common.data.windowed_poses import WindowedPoses  # noqa: E402
from common.data.windows import WindowIndex, WindowRule  # noqa: E402
from common.evaluation.lifting import LiftingTest, score  # noqa: E402
from common.tasks.lifting import Lifting  # noqa: E402
from common.tasks.losses import mpjpe  # noqa: E402
from common.tasks.masked import MaskedModel, MaskedTask, RandomSources  # noqa: E402
from common.tasks.masking import Masking  # noqa: E402
from common.training import runtime  # noqa: E402
from common.training.steps import weighted_sum  # noqa: E402
from model.build import ModelSize, build_lifter, build_masked_model  # noqa: E402

GATHER_BATCH = 256
PRE_TRAINING_JOINTS, PRE_TRAINING_FRAMES = 5, 0.6  # -smn and -tmr of the published command
FIGURES = ("gather", "augment", "train", "pretrain", "evaluate")
WITHOUT_PRECISION = ("gather", "augment")
GENERATORS = 3
SPAWN = multiprocessing.get_context("spawn")


# ---- measuring: each side in a process of its own, asked in turn


class Side:
    """What both sides set up: the sample's poses and one batch for training steps."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self.frames, self.batch = options.frames, options.batch
        files = h36m.H36MFiles.read(ROOT / "dataset" / "sample", "gt")
        self.store = files.store(h36m.TRAIN_SUBJECTS, H36M_17)
        self.test_store = self.store.head(options.test_windows).to(self.device)
        index = WindowIndex(self.store.offsets, WindowRule(self.frames, frame_step=2))
        generator = torch.Generator().manual_seed(0)
        windows = index.windows(torch.randperm(len(index), generator=generator)[: self.batch])
        self.pose_2d = self.store.window_2d(windows).to(self.device)
        self.target = self.store.window_3d(windows).to(self.device)
        self.model: nn.Module
        sixteen = files.store(["S1"], H36M_16).to(self.device)
        windows = index.windows(torch.arange(self.batch)).to(self.device)
        self.pose_3d = sixteen.window_3d(windows) + sixteen.window_root(windows)
        self.cameras = sixteen.window_cameras(windows)
        self.folder = tempfile.TemporaryDirectory()
        self.generators = Path(self.folder.name)
        for number in range(GENERATORS):
            generator = PoseGenerator()
            generator.move_away(5.0)
            content = {"model_G": generator.state_dict()}
            torch.save(content, self.generators / f"{number}.pth.tar")

    def training_step(self, optimizer: torch.optim.Optimizer) -> int:
        centre, sequence = self.model(self.pose_2d)
        half = self.frames // 2
        loss = mpjpe(sequence, self.target) + mpjpe(centre, self.target[:, half : half + 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        return self.batch


class Ours(Side):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        gpus = [0] * (self.device.type == "cuda")
        self.run = runtime.start(runtime.RuntimeOptions(gpus, 1, options.precision))
        size = ModelSize(self.frames, JOINTS, options.layers, width=256, hidden_width=512)
        lifter = build_lifter("mpm", size)
        self.lifting = Lifting(lifter, None, self.run, compiled=options.compile)
        self.model = self.lifting.modules["no_refine"]
        self.optimizer = torch.optim.Adam(lifter.parameters(), lr=1e-4, amsgrad=True, fused=True)
        self.on_device = self.store.to(self.device)
        masked = build_masked_model(size, decoder_depth=1)
        rng = RandomSources.of(self.run, 1)
        self.masked_task = MaskedTask(
            MaskedModel(masked, self.run, compiled=options.compile),
            WindowedPoses([(self.on_device, WindowRule(self.frames, frame_step=2))]),
            Masking("pretrain", PRE_TRAINING_JOINTS, PRE_TRAINING_FRAMES, (), ()),
            test=None,
            rng=rng,
        )
        self.masked_optimizer = torch.optim.Adam(
            masked.parameters(), lr=1e-4, amsgrad=True, fused=True
        )
        table = h36m.DATA_SET.table
        assert table is not None
        rule = WindowRule(self.frames, frame_step=2)
        self.test = LiftingTest(self.test_store, rule, GATHER_BATCH, flip=True, table_rule=table)
        self.index = WindowIndex(
            self.store.offsets, WindowRule(self.frames, frame_step=2, mirror=True)
        )
        self.augmenter = PoseAugmenter(
            self.generators, length_limit=0.15, generator=rng.samples, choices=rng.choices
        )

    def gather(self) -> int:
        order = torch.randperm(len(self.index))[: 8 * GATHER_BATCH]
        for samples in order.split(GATHER_BATCH):
            windows = self.index.windows(samples).to(self.device)
            self.on_device.window_2d(windows), self.on_device.window_3d(windows)
            self.on_device.window_cameras(windows)
        return len(order)

    def augment(self) -> int:
        self.augmenter(self.pose_3d, self.cameras)
        return len(self.pose_3d)

    def train(self) -> int:
        self.model.train()
        with self.run.autocast():
            return self.training_step(self.optimizer)

    def pretrain(self) -> int:
        half = torch.arange(self.batch // 2)
        samples = torch.cat([half, half + len(self.masked_task.poses)])  # 2D and 3D
        self.masked_task.begin_step()
        with self.run.autocast():
            (losses,) = self.masked_task.losses(samples)
        loss = weighted_sum(losses, self.masked_task.loss_weights)
        self.masked_optimizer.zero_grad()
        loss.backward()
        self.masked_optimizer.step()
        loss.item()
        return len(samples)

    def evaluate(self) -> int:
        predicted, frames = self.test.predict(self.lifting)
        names = self.test.table_rule.metrics
        score(predicted, frames, self.test_store, names).metrics["protocol_2"].mean().item()
        return len(predicted)


class Baseline(Side):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.model = TextbookLifter(self.frames, options.layers).to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4, amsgrad=True)
        self.masked_model = TextbookMaskedModel(self.frames, options.layers).to(self.device)
        self.masked_optimizer = torch.optim.Adam(
            self.masked_model.parameters(), lr=1e-4, amsgrad=True
        )
        self.dataset = TextbookDataset(self.store, self.frames, 2)
        self.loader: DataLoader | None = None
        index = WindowIndex(self.test_store.offsets, WindowRule(self.frames, frame_step=2))
        windows = index.windows(torch.arange(len(index))).to(self.device)
        self.test_2d = self.test_store.window_2d(windows)
        self.test_target = self.test_store.pose_3d

    def gather(self) -> int:
        """Batches from the faster of: no workers, one worker a core."""
        if self.loader is None:
            loaders = [self._loader(workers) for workers in (0, os.cpu_count() or 1)]
            speeds = [max(speed(lambda x=x: self._take(x)) for _ in range(2)) for x in loaders]
            self.loader = loaders[speeds.index(max(speeds))]
        return self._take(self.loader)

    def _loader(self, workers: int) -> DataLoader:
        return DataLoader(
            self.dataset,
            GATHER_BATCH,
            sampler=torch.utils.data.RandomSampler(self.dataset, num_samples=4 * GATHER_BATCH),
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def _take(self, loader: DataLoader) -> int:
        return sum(len([part.to(self.device) for part in batch][0]) for batch in loader)

    def augment(self) -> int:
        """A generator is read from its file at every step."""
        path = self.generators / f"{np.random.randint(GENERATORS)}.pth.tar"
        generator = PoseGenerator()
        generator.load_state_dict(torch.load(path, weights_only=True)["model_G"])
        generator.to(self.device).eval()
        noise = GeneratorNoise.draw(len(self.pose_3d), torch.Generator(self.device))
        with torch.no_grad():
            moved = generator(self.pose_3d, noise=noise).moved
            kept = in_view(moved, project(moved, self.cameras))
            moved[kept] - moved[kept][..., :1, :]
        return len(self.pose_3d)

    def train(self) -> int:
        self.model.train()
        return self.training_step(self.optimizer)

    def pretrain(self) -> int:
        """Masks are drawn on the host, frame by frame; gathering is spared."""
        loss = torch.zeros((), device=self.device)
        half = self.batch // 2
        for weight, poses in ((5, self.pose_2d[:half]), (2, self.target[:half])):
            joint_mask = np.zeros((self.frames, JOINTS), dtype=bool)
            for row in joint_mask:
                row[np.random.choice(JOINTS, PRE_TRAINING_JOINTS, replace=False)] = True
            frame_mask = np.zeros(self.frames, dtype=bool)
            hidden = int(self.frames * PRE_TRAINING_FRAMES)
            frame_mask[np.random.choice(self.frames, hidden, replace=False)] = True
            masks = (torch.from_numpy(mask).to(self.device) for mask in (joint_mask, frame_mask))
            loss = loss + weight * mpjpe(self.masked_model(poses, *masks), poses)
        self.masked_optimizer.zero_grad()
        loss.backward()
        self.masked_optimizer.step()
        loss.item()
        return 2 * half

    def evaluate(self) -> int:
        self.model.eval()
        parts = zip(self.test_2d.split(32), self.test_target.split(32), strict=True)
        for inputs, targets in parts:
            textbook_evaluate(self.model, inputs, targets)
        return len(self.test_2d)


def serve(kind: str, options: argparse.Namespace, pipe: Connection) -> None:
    """Set up one side, then measure whatever the parent asks for."""
    side: Side = Ours(options) if kind == "ours" else Baseline(options)
    pipe.send(time.time())
    while (figure := pipe.recv()) != "stop":
        if figure == "memory":
            on_gpu = side.device.type == "cuda"
            pipe.send(torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_megabytes())
        else:
            pipe.send(speed(getattr(side, figure)))


class Served:
    """One side, in its own process."""

    def __init__(self, kind: str, options: argparse.Namespace) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        started = time.time()
        self.process = SPAWN.Process(target=serve, args=(kind, options, theirs))
        self.process.start()
        self.start_up = self.pipe.recv() - started

    def ask(self, figure: str) -> float:
        self.pipe.send(figure)
        return self.pipe.recv()

    def stop(self) -> None:
        self.pipe.send("stop")
        self.process.join()


def in_pairs(ours: Served, baseline: Served, figure: str, rounds: int) -> dict[str, float]:
    """Medians over rounds in turn; the ratio is the median of the rounds' ratios."""
    print(f"measuring {figure} ...", file=sys.stderr, flush=True)
    ours.ask(figure), baseline.ask(figure)
    pairs = [(ours.ask(figure), baseline.ask(figure)) for _ in range(rounds)]
    return {
        "ours": median(a for a, _ in pairs),
        "baseline": median(b for _, b in pairs),
        "ratio": median(a / b for a, b in pairs),
    }


def benchmark(options: argparse.Namespace) -> dict[str, Any]:
    device = torch.device(options.device)
    results: dict[str, Any] = {
        "machine": {
            "processor": processor(device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "GFLOP/s fp32": matrix_rate(device, torch.float32),
            "GFLOP/s bf16": matrix_rate(device, torch.bfloat16),
        },
        "settings": {
            name: getattr(options, name) for name in ("frames", "layers", "batch", "compile")
        },
    }
    for precision in options.precisions:
        options.precision = precision
        ours, baseline = Served("ours", options), Served("baseline", options)
        first = precision == options.precisions[0]
        for figure in FIGURES:
            if figure in WITHOUT_PRECISION and not first:
                continue
            name = figure if figure in WITHOUT_PRECISION else f"{figure} {precision}"
            results[name] = in_pairs(ours, baseline, figure, options.rounds)
        if first:
            pairs = {
                "start-up, seconds": (ours.start_up, baseline.start_up),
                "peak memory, MB": (ours.ask("memory"), baseline.ask("memory")),
            }
            for name, (a, b) in pairs.items():
                results[name] = {"ours": a, "baseline": b, "ratio": a / b}
        ours.stop()
        baseline.stop()
    return results


# ---- reporting


def print_table(results: dict[str, Any]) -> None:
    rows = {name: value for name, value in results.items() if isinstance(value, dict)}
    print(f"{'windows per second, or as said':28} {'ours':>10} {'baseline':>10} {'ratio':>8}")
    for name, value in rows.items():
        if "ratio" in value:
            print(
                f"{name:28} {value['ours']:10.1f} {value['baseline']:10.1f} {value['ratio']:8.2f}"
            )
        else:
            for key, item in value.items():
                print(f"  {key}: {item:.4g}" if isinstance(item, float) else f"  {key}: {item}")
    for name, value in results.items():
        if not isinstance(value, dict):
            print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--frames", type=int, default=243)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32, help="windows per training step")
    parser.add_argument("--test_windows", type=int, default=256, help="windows per evaluation")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--full-size", action="store_true", help="files of Human3.6M's size")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    results = full_size() if options.full_size else benchmark(options)
    print_table(dict(results))
    text = json.dumps(results, indent=1)
    print(text)
    if options.json:
        Path(options.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
