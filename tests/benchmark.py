"""Measure windows a second, memory and start-up time beside a plain textbook implementation.

    python tests/benchmark.py [--frames 243] [--layers 4] [--device cpu] [--json FILE]
    python tests/benchmark.py --full-size

Each figure is measured in pairs within one run, ours and the baseline's in turn, each in a process
of its own, because machines drift; the ratio counts. The baseline is what a careful reading of the
paper gives: eager modules on (B, C, T) with unfused attention and a hand-written layer norm, one
`__getitem__` a sample behind a DataLoader (the faster of none and one worker a core), mirrored test
passes one after the other, every head computed always, protocol 2 pose by pose, a PoseAug generator
read from its file at every step.
"""

import argparse
import json
import math
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from Augpart.augment import PoseAugmenter, in_view  # noqa: E402  (the path is set just above)
from Augpart.pose_generator import GeneratorNoise, PoseGenerator  # noqa: E402
from common.cli.flags import TEST_SUBJECTS, TRAIN_SUBJECTS  # noqa: E402
from common.data import h36m  # noqa: E402
from common.data.camera import project  # noqa: E402
from common.data.pose_ops import at_its_position, mirror_pose, with_zero_root  # noqa: E402
from common.data.pose_store import PoseStore, WindowedPoses  # noqa: E402
from common.data.windows import WindowIndex, WindowRule  # noqa: E402
from common.evaluation.metrics import mpjpe  # noqa: E402
from common.tasks.lifting import Lifting, score  # noqa: E402
from common.tasks.masked import MaskedModel, MaskedTask, Masking  # noqa: E402
from common.training import runtime  # noqa: E402
from model.encoders import STRIDES_BY_FRAMES  # noqa: E402
from model.lifter import PoseLifter  # noqa: E402
from model.masked_pose import MaskedPoseModel  # noqa: E402

JOINTS = 17
GATHER_BATCH = 256
PRE_TRAINING_JOINTS, PRE_TRAINING_FRAMES = 5, 0.6  # -smn and -tmr of the published command
FIGURES = ("gather", "augment", "train", "pretrain", "evaluate")
WITHOUT_PRECISION = ("gather", "augment")
GENERATORS = 3
SPAWN = multiprocessing.get_context("spawn")
FULL_SIZE_TRAIN_FRAMES, FULL_SIZE_TEST_FRAMES = 1_559_752, 543_344


# ---- the baseline


class TextbookNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.gain * (x - mean) / (std + 1e-6) + self.bias


class TextbookAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        query, key, value = (
            linear(x).view(batch, -1, 8, x.shape[-1] // 8).transpose(1, 2)
            for linear in self.linears[:3]
        )
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        attended = self.dropout(scores.softmax(-1)) @ value
        return self.linears[3](attended.transpose(1, 2).contiguous().view(x.shape))


class TextbookBlock(nn.Module):
    def __init__(self, width: int, hidden: int, stride: int | None = None) -> None:
        super().__init__()
        self.attention, self.stride = TextbookAttention(width), stride
        self.norms = nn.ModuleList([TextbookNorm(width), TextbookNorm(width)])
        self.dropout = nn.Dropout(0.1)
        if stride is None:
            self.in_layer: nn.Module = nn.Linear(width, hidden)
            self.out_layer: nn.Module = nn.Linear(hidden, width)
        else:
            self.in_layer = nn.Conv1d(width, hidden, 1)
            self.out_layer = nn.Conv1d(hidden, width, 3, stride=stride, padding=1)
            self.pool = nn.MaxPool1d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norms[0](x)))
        y = self.norms[1](x)
        if self.stride is None:
            return x + self.dropout(self.out_layer(self.dropout(torch.relu(self.in_layer(y)))))
        y = self.out_layer(self.dropout(torch.relu(self.in_layer(y.transpose(1, 2)))))
        return self.pool(x.transpose(1, 2)).transpose(1, 2) + self.dropout(y.transpose(1, 2))


def textbook_stage(in_width: int, out_width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(in_width, out_width, 1),
        nn.BatchNorm1d(out_width),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.2),
    )


class TextbookLifter(nn.Module):
    """The network of the paper, written straight down."""

    def __init__(self, frames: int, layers: int, width: int = 256, hidden: int = 512) -> None:
        super().__init__()
        self.stem = textbook_stage(2 * JOINTS, 2 * width)
        self.residual = nn.Sequential(*(textbook_stage(2 * width, 2 * width) for _ in range(2)))
        self.narrow = nn.Conv1d(2 * width, width, 1)
        self.positions = nn.Parameter(torch.zeros(1, frames, width))
        self.blocks = nn.ModuleList(TextbookBlock(width, hidden) for _ in range(layers))
        strides = STRIDES_BY_FRAMES[frames]
        self.strided_positions = nn.ParameterList(torch.zeros(1, frames, width) for _ in range(3))
        self.strided = nn.ModuleList(TextbookBlock(width, hidden, stride) for stride in strides)
        self.centre_head, self.sequence_head = (
            nn.Sequential(nn.BatchNorm1d(width), nn.Conv1d(width, 3 * JOINTS, 1)) for _ in range(2)
        )

    def forward(self, pose_2d: Tensor) -> tuple[Tensor, Tensor]:
        batch, frames = pose_2d.shape[:2]
        x = self.stem(pose_2d.view(batch, frames, -1).permute(0, 2, 1).contiguous())
        x = self.narrow(x + self.residual(x)).permute(0, 2, 1).contiguous() + self.positions
        for block in self.blocks:
            x = block(x)
        sequence = self.sequence_head(x.permute(0, 2, 1)).permute(0, 2, 1)
        for i, block in enumerate(self.strided):
            if i < 3:
                x = x + self.strided_positions[i][:, : x.shape[1]]
            x = block(x)
        centre = self.centre_head(x.permute(0, 2, 1)).permute(0, 2, 1)
        return centre.reshape(batch, 1, JOINTS, 3), sequence.reshape(batch, frames, JOINTS, 3)


class TextbookMaskedModel(nn.Module):
    """The masked model of the paper, written straight down; encodes visible frames only."""

    def __init__(self, frames: int, layers: int, width: int = 256, hidden: int = 512) -> None:
        super().__init__()
        self.stems = nn.ModuleDict({str(c): textbook_stage(c * JOINTS, 2 * width) for c in (2, 3)})
        self.residual = nn.Sequential(*(textbook_stage(2 * width, 2 * width) for _ in range(2)))
        self.narrow = nn.Conv1d(2 * width, width, 1)
        self.positions, self.decoder_positions = (
            nn.Parameter(torch.zeros(1, frames, width)) for _ in range(2)
        )
        self.frame_token = nn.Parameter(torch.zeros(1, 1, width))
        self.joint_tokens = nn.ParameterDict({str(c): torch.zeros(c) for c in (2, 3)})
        self.blocks = nn.ModuleList(TextbookBlock(width, hidden) for _ in range(layers))
        self.norm = TextbookNorm(width)
        self.decoders = nn.ModuleDict({str(c): TextbookBlock(width, hidden) for c in (2, 3)})
        self.heads = nn.ModuleDict(
            {
                str(c): nn.Sequential(nn.BatchNorm1d(width), nn.Conv1d(width, c * JOINTS, 1))
                for c in (2, 3)
            }
        )

    def forward(self, pose: Tensor, joint_mask: Tensor, frame_mask: Tensor) -> Tensor:
        batch, frames, _, coordinates = pose.shape
        kind = str(coordinates)
        pose = pose.clone()
        pose[:, joint_mask] = self.joint_tokens[kind]
        x = self.stems[kind](pose.view(batch, frames, -1).permute(0, 2, 1).contiguous())
        x = self.narrow(x + self.residual(x)).permute(0, 2, 1) + self.positions
        x = x[:, ~frame_mask]
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        everything = self.frame_token.repeat(batch, frames, 1)
        everything[:, ~frame_mask] = x
        x = self.decoders[kind](everything + self.decoder_positions)
        return self.heads[kind](x.permute(0, 2, 1)).permute(0, 2, 1).reshape(pose.shape)


class TextbookDataset(Dataset):
    """One window a call, cut and padded from lists of sequences; every second one mirrored."""

    def __init__(self, store: PoseStore, frames: int, step: int) -> None:
        self.sequences = [
            (store.pose_2d[s].cpu().numpy(), store.pose_3d[s].cpu().numpy(), camera.cpu().numpy())
            for s, camera in zip(store.sequence_slices(), store.cameras, strict=True)
        ]
        self.samples = [
            (number, centre, mirror)
            for number, (pose_2d, *_) in enumerate(self.sequences)
            for centre in range(len(pose_2d))
            for mirror in (False, True)
        ]
        self.frames, self.step = frames, step

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        number, centre, mirror = self.samples[index]
        pose_2d, pose_3d, camera = self.sequences[number]
        half = self.frames // 2
        wanted = np.arange(centre - half * self.step, centre + half * self.step + 1, self.step)
        wanted = np.clip(wanted, 0, len(pose_2d) - 1)
        pose_2d, pose_3d, camera = pose_2d[wanted], pose_3d[wanted], camera.copy()
        if mirror:
            left, right = [4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]
            for pose in (pose_2d, pose_3d):
                pose[..., 0] *= -1
                pose[:, left + right] = pose[:, right + left]
            camera[[2, 7]] *= -1
        return pose_2d, pose_3d, camera


def textbook_evaluate(model: nn.Module, pose_2d: Tensor, target: Tensor) -> tuple[float, float]:
    """Both passes one after the other, all heads, protocol 2 pose by pose in NumPy."""
    with torch.no_grad():
        plain, _ = model(pose_2d)
        mirrored, _ = model(mirror_pose(pose_2d))
        predicted = with_zero_root((plain + mirror_pose(mirrored)) / 2)[:, 0]
    predicted_array, target_array = predicted.cpu().numpy(), target.cpu().numpy()
    aligned = [textbook_p_mpjpe(p, t) for p, t in zip(predicted_array, target_array, strict=True)]
    return mpjpe(predicted, target).item(), float(np.mean(aligned))


def textbook_p_mpjpe(predicted: np.ndarray, target: np.ndarray) -> float:
    a, b = predicted - predicted.mean(0), target - target.mean(0)
    norm_a, norm_b = np.linalg.norm(a), np.linalg.norm(b)
    u, s, vt = np.linalg.svd((b / norm_b).T @ (a / norm_a))
    rotation = u @ vt
    if np.linalg.det(rotation) < 0:
        u[:, -1] *= -1
        s[-1] *= -1
        rotation = u @ vt
    aligned = norm_b * s.sum() * (a / norm_a) @ rotation.T + target.mean(0)
    return float(np.linalg.norm(aligned - target, axis=1).mean())


# ---- measuring: each side in a process of its own, asked in turn


class Side:
    """What both sides set up: the sample's poses and one batch for training steps."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self.frames, self.batch = options.frames, options.batch
        files = h36m.H36MFiles.read(str(ROOT / "dataset" / "sample"), "gt")
        self.store = files.store(TRAIN_SUBJECTS, num_joints=JOINTS)
        self.test_store = self.store.head(options.test_windows).to(self.device)
        index = WindowIndex(self.store.offsets, WindowRule(self.frames, frame_step=2))
        generator = torch.Generator().manual_seed(0)
        windows = index.windows(torch.randperm(len(index), generator=generator)[: self.batch])
        self.pose_2d = self.store.window_2d(windows).to(self.device)
        self.target = with_zero_root(self.store.window_3d(windows)).to(self.device)
        self.model: nn.Module
        sixteen = files.store(["S1"], num_joints=16).to(self.device)
        windows = index.windows(torch.arange(self.batch)).to(self.device)
        self.pose_3d = at_its_position(sixteen.window_3d(windows))
        self.cameras = sixteen.window_cameras(windows)
        self.folder = tempfile.TemporaryDirectory()
        self.generators = Path(self.folder.name)
        for number in range(GENERATORS):
            content = {"model_G": PoseGenerator().state_dict()}
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
        self.run = runtime.start(gpus=gpus, seed=1, precision=options.precision)
        lifter = PoseLifter(frames=self.frames, num_joints=JOINTS, layers=options.layers)
        self.lifting = Lifting({"no_refine": lifter}, self.run, compiled=options.compile)
        self.model = self.lifting.lifter
        self.optimizer = torch.optim.Adam(lifter.parameters(), lr=1e-4, amsgrad=True, fused=True)
        self.on_device = self.store.to(self.device)
        masked = MaskedPoseModel(
            frames=self.frames, num_joints=JOINTS, layers=options.layers, decoder_depth=1
        )
        self.masked_task = MaskedTask(
            MaskedModel({"pretrain": masked}, self.run, compiled=options.compile),
            WindowedPoses([(self.on_device, WindowRule(self.frames, frame_step=2))]),
            Masking("pretrain", PRE_TRAINING_JOINTS, PRE_TRAINING_FRAMES, (), ()),
            test=None,
            generator=self.run.new_generator(1),
        )
        self.masked_optimizer = torch.optim.Adam(
            masked.parameters(), lr=1e-4, amsgrad=True, fused=True
        )
        self.index = WindowIndex(
            self.store.offsets, WindowRule(self.frames, frame_step=2, mirror=True)
        )
        self.augmenter = PoseAugmenter(
            self.generators, length_limit=0.15, generator=self.run.new_generator(1)
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
        with self.run.autocast():
            (loss,) = self.masked_task.losses(samples)
        self.masked_optimizer.zero_grad()
        loss.backward()
        self.masked_optimizer.step()
        loss.item()
        return len(samples)

    def evaluate(self) -> int:
        rule = WindowRule(self.frames, frame_step=2)
        predicted, frames = self.lifting.predict(
            self.test_store, rule, batch_size=GATHER_BATCH, flip=True
        )
        score(predicted, frames, self.test_store).protocol_2.mean().item()
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
        self.test_target = with_zero_root(self.test_store.pose_3d)

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


def speed(run: Callable[[], int]) -> float:
    """Windows a second of a call that returns how many it did."""
    _synchronise()
    started = time.perf_counter()
    count = run()
    _synchronise()
    return count / (time.perf_counter() - started)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


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


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """GFLOP/s of the machine's own product of matrices, of the shapes of a feed-forward layer."""
    a = torch.randn(4096, 256, device=device).to(dtype)
    b = torch.randn(256, 512, device=device).to(dtype)

    def product() -> int:
        a @ b
        return 1

    speed(product)
    return max(speed(product) for _ in range(10)) * 2 * 4096 * 256 * 512 / 1e9


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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


def processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    return f"{', '.join(names) or platform.processor()}, {os.cpu_count()} cores"


# ---- Human3.6M's size


def full_size() -> dict[str, Any]:
    """Time and memory of a store and an index of Human3.6M's size, from random files."""
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        write_random_h36m(Path(folder), generator)
        before = peak_megabytes()
        started = time.perf_counter()
        files = h36m.H36MFiles.read(folder, "gt")
        train = files.store(TRAIN_SUBJECTS, num_joints=JOINTS)
        test = files.store(TEST_SUBJECTS, num_joints=JOINTS)
        loaded = time.perf_counter() - started
    del files
    memory = current_megabytes()
    started = time.perf_counter()
    index = WindowIndex(train.offsets, WindowRule(243, frame_step=2, mirror=True))
    order = torch.randperm(len(index))
    index.windows(order[:1024])
    indexed = time.perf_counter() - started
    return {
        "train_frames": train.num_frames,
        "test_frames": test.num_frames,
        "windows": len(index),
        "load_seconds": loaded,
        "index_seconds": indexed,
        "index_megabytes": current_megabytes() - memory,
        "poses_megabytes": sum(
            t.numel() * 4 / 2**20 for s in (train, test) for t in (s.pose_2d, s.pose_3d)
        ),
        "peak_megabytes_before": before,
        "peak_megabytes": peak_megabytes(),
    }


def current_megabytes() -> float:
    """Resident memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def write_random_h36m(folder: Path, generator: np.random.Generator) -> None:
    """Random files of exactly Human3.6M's numbers of frames, 30 actions a subject."""
    world: dict[str, dict[str, np.ndarray]] = {}
    screen: dict[str, dict[str, list[np.ndarray]]] = {}
    for subjects, frames in (
        (TRAIN_SUBJECTS, FULL_SIZE_TRAIN_FRAMES),
        (TEST_SUBJECTS, FULL_SIZE_TEST_FRAMES),
    ):
        sequences = [(subject, f"Action {i}") for subject in subjects for i in range(30)]
        bounds = np.linspace(0, frames // 4, len(sequences) + 1).astype(int)
        for (subject, action), length in zip(sequences, np.diff(bounds), strict=True):
            poses = generator.random((length, 32, 3), dtype=np.float32)
            views = [generator.random((length, 17, 2), dtype=np.float32) * 1000 for _ in range(4)]
            world.setdefault(subject, {})[action] = poses
            screen.setdefault(subject, {})[action] = views
    np.savez(folder / "data_3d_h36m.npz", positions_3d=np.array(world, dtype=object))
    np.savez(folder / "data_2d_h36m_gt.npz", positions_2d=np.array(screen, dtype=object))


# ---- reporting


def print_table(results: dict[str, Any]) -> None:
    rows = {name: value for name, value in results.items() if isinstance(value, dict)}
    print(f"{'windows a second, or as said':28} {'ours':>10} {'baseline':>10} {'ratio':>8}")
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
    parser.add_argument("--batch", type=int, default=32, help="windows a training step")
    parser.add_argument("--test_windows", type=int, default=256, help="windows an evaluation")
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
