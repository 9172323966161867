"""Use trained generators: load them once, change a batch of windows with one of them."""

from pathlib import Path

import torch
from torch import Tensor

from Augpart.pose_generator import GeneratorNoise, PoseGenerator
from common.data.camera import project
from common.data.pose_ops import centre_on_root
from common.errors import UserError
from common.log import LOG
from common.training.checkpoint import WeightFile, load_torch, load_whole

FILE_PATTERN = "*.pth.tar"
SCREEN_LIMIT = 1.0


class PoseAugmenter:
    """Changes windows of poses with a generator chosen at random for each call."""

    def __init__(self, folder: Path, *, length_limit: float, generator: torch.Generator) -> None:
        """Load every generator of a folder onto the device of the random generator.

        Args:
            folder: holds `*.pth.tar` files, each {'model_G': state dict} and possibly 'options'.
            length_limit: largest relative change of a bone length (`--blr_tanhlimit`).
            generator: chooses and draws noise.

        Raises:
            UserError: no generator there, or a file that cannot be read or does not fit.
        """
        self.generator = generator
        files = sorted(folder.glob(FILE_PATTERN))
        if not files:
            raise UserError(
                f"PoseAug needs a generator, {folder} holds none ({FILE_PATTERN}): train one with "
                "`python Augpart/train_generator.py`, or go without: --poseaug 0"
            )
        self.pose_generators = [
            load_generator(path, length_limit=length_limit).to(generator.device) for path in files
        ]

    @torch.no_grad()
    def __call__(self, pose_3d: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
        """Augment windows; those that leave the camera's view in any frame are dropped.

        Args:
            pose_3d: (B, T, 16, 3) camera-space metres, every joint at its own position; on the
                device of the random generator.
            camera: (B, 9) intrinsics.

        Returns:
            3D (K, T, 16, 3) metres relative to the root, which is at 0, and 2D (K, T, 16, 2)
            normalised screen coordinates of the K <= B windows that were kept.
        """
        device, count = self.generator.device, len(self.pose_generators)
        chosen = torch.randint(count, (), generator=self.generator, device=device)
        noise = GeneratorNoise.draw(len(pose_3d), self.generator)
        with torch.autocast(device.type, enabled=False):
            moved = self.pose_generators[int(chosen)](pose_3d, noise=noise).moved
        screen = project(moved, camera)
        kept = in_view(moved, screen).nonzero().flatten()
        moved = moved[kept]  # (K, T, 16, 3)
        return centre_on_root(moved), screen[kept]


def in_view(pose_3d: Tensor, pose_2d: Tensor) -> Tensor:
    """Which windows the camera sees whole: in front of it and, projected, on the screen.

    Args:
        pose_3d: (B, T, J, 3) camera-space metres.
        pose_2d: (B, T, J, 2), their projection.

    Returns:
        (B,) bool. The projection alone would not do: bodies behind a camera project onto the
        screen, too.
    """
    seen = (pose_2d.abs() <= SCREEN_LIMIT).all(-1) & (pose_3d[..., 2] > 0)
    return seen.flatten(1).all(1)


def load_generator(path: Path, *, length_limit: float) -> PoseGenerator:
    """Read a generator; in evaluation mode, without gradients.

    Args:
        path: {'model_G': state dict}; 'options' of ours records 'blr_tanhlimit'.
        length_limit: largest relative change of a bone length, whatever the file records; a
            difference is logged.

    Returns:
        The generator, on CPU.

    Raises:
        UserError: the file cannot be read, or its tensors are not those of a generator.
    """
    pose_generator = PoseGenerator(length_limit=length_limit)
    content = load_torch(path)
    load_whole(pose_generator, WeightFile.of(content, path))
    options = content.get("options")
    recorded = options.get("blr_tanhlimit") if isinstance(options, dict) else None
    if isinstance(recorded, int | float) and recorded != length_limit:
        LOG.warning(
            "%s was trained with --blr_tanhlimit %s, this run uses %s", path, recorded, length_limit
        )
    return pose_generator.eval().requires_grad_(False)
