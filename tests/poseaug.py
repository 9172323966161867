"""Generators of PoseAug for its tests, with statistics of the golden poses."""

from pathlib import Path

import torch
from goldens import golden
from torch import nn

from Augpart.augment import PoseAugmenter
from Augpart.pose_generator import GeneratedPoses, GeneratorNoise, PoseGenerator

WANT = golden("generator_forward.npz", "")
POSES, CAMERA = WANT["pose_3d_camera"], WANT["camera"]  # (3, 9, 16, 3), 5 m away


def rng(seed: int = 0) -> torch.Generator:
    """A random number generator on CPU."""
    return torch.Generator().manual_seed(seed)


def fresh(seed: int = 0, *, depth: float | None = None, **options: float) -> PoseGenerator:
    """A generator at the start of its training, with the statistics of the golden poses.

    Args:
        seed: of its weights and of the noise behind its statistics.
        depth: where its bodies are, in metres; None leaves them near the camera, as published.
        **options: of `PoseGenerator`.
    """
    torch.manual_seed(seed)
    module = PoseGenerator(**options)
    if depth is not None:
        module.move_away(depth)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.momentum = 1.0
    with torch.no_grad():
        poses = POSES.repeat(50, 1, 1, 1)
        module(poses, noise=GeneratorNoise.draw(len(poses), rng(seed)))
    return module.eval()


def generate(seed: int = 0, **options: float) -> GeneratedPoses:
    """What such a generator, its bodies 5 m away, makes of the golden poses."""
    module = fresh(seed, depth=5.0, **options)
    with torch.no_grad():
        return module(POSES, noise=GeneratorNoise.draw(len(POSES), rng(seed)))


def far_generator(spread: float) -> PoseGenerator:
    """A generator that puts bodies 5 m away, more or less near the middle of the screen."""
    module = fresh(depth=5.0)
    head = module.RTprocess.get_submodule("w2_T")
    with torch.no_grad():
        head.weight.mul_(spread * torch.tensor([[1.0], [1.0], [0.0]]))
    return module


def save_generator(path: Path, module: PoseGenerator, **more: object) -> Path:
    """Write a generator in the published format, with more entries beside its weights."""
    torch.save({"model_G": module.state_dict(), **more}, path)
    return path


def augmenter(folder: Path, seed: int = 0) -> PoseAugmenter:
    """Augmentation with every generator of a folder."""
    return PoseAugmenter(folder, length_limit=0.15, generator=rng(seed), choices=rng(seed))
