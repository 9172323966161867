"""Use trained generators: load them once, change a batch of windows with one of them."""

from pathlib import Path

import torch
from torch import Tensor

from Augpart.pose_generator import GeneratorNoise, PoseGenerator
from common.data.camera import project
from common.data.pose_ops import centre_on_root
from common.errors import UserError
from common.log import LOG
from common.training.checkpoint import WeightFile, load_whole
from common.training.torch_file import load_torch

FILE_PATTERN = "*.pth.tar"
SCREEN_LIMIT = 1.0


class PoseAugmenter:
    """Changes windows of poses with a generator chosen at random for each call."""

    def __init__(
        self,
        folder: Path,
        *,
        length_limit: float,
        generator: torch.Generator,
        choices: torch.Generator,
    ) -> None:
        """Load every generator of a folder onto the device of the random generator.

        Args:
            folder: holds `*.pth.tar` files, each {'model_G': state dict} and possibly 'options'.
            length_limit: largest relative change of a bone length (`--blr_tanhlimit`).
            generator: draws noise.
            choices: chooses, on CPU.

        Raises:
            UserError: no generator there, or a file that cannot be read or does not fit.
        """
        self.generator, self.choices = generator, choices
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
    def __call__(self, pose_3d: Tensor, camera: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Augment windows; those that leave the camera's view in any frame are dropped.

        Args:
            pose_3d: (B, T, 16, 3) camera-space metres, every joint at its own position; on the
                device of the random generator.
            camera: (B, 9) intrinsics.

        Returns:
            3D (K, T, 16, 3) metres relative to the root, which is at 0, 2D (K, T, 16, 2) normalised
            screen coordinates, and weights (K,) in a mean over windows; see `kept_only`.
        """
        device = self.generator.device
        chosen = int(torch.randint(len(self.pose_generators), (), generator=self.choices))
        noise = GeneratorNoise.draw(len(pose_3d), self.generator)
        with torch.autocast(device.type, enabled=False):
            moved = self.pose_generators[chosen](pose_3d, noise=noise).moved
        screen = project(moved, camera)
        kept = in_view(moved, screen)
        select = kept_only if device.type == "cpu" else kept_repeated
        chosen_moved, chosen_screen, weights = select(kept, moved, screen)
        return centre_on_root(chosen_moved), chosen_screen, weights


def kept_only(kept: Tensor, *windows: Tensor) -> tuple[Tensor, ...]:
    """The windows that are kept, K of B. The host has to wait for their number.

    Args:
        kept: (B,) bool.
        windows: each (B, ...).

    Returns:
        Each (K, ...), and weights (K,), all 1.
    """
    places = kept.nonzero().flatten()
    return *(tensor[places] for tensor in windows), torch.ones(len(places), device=kept.device)


def kept_repeated(kept: Tensor, *windows: Tensor) -> tuple[Tensor, ...]:
    """The windows that are kept, repeated in turn until there are B again: no wait for a device.

    With their weights, means over windows are those of `kept_only`; batch norm sees some windows
    once more often than others.

    Args:
        kept: (B,) bool.
        windows: each (B, ...).

    Returns:
        Each (B, ...), and weights (B,): those of a window's copies add up to 1. Where none is kept
        everything is 0.
    """
    count = len(kept)
    number = kept.sum().clamp_min(1)
    kept_first = (~kept).byte().argsort(stable=True)
    turns = torch.arange(count, device=kept.device)
    places = kept_first.index_select(0, turns % number)
    copies = (count - 1 - turns % number) // number + 1
    repeated = []
    for tensor in windows:
        finite = torch.where(kept.view(-1, *[1] * (tensor.dim() - 1)), tensor, 0)
        repeated.append(finite.index_select(0, places))
    return *repeated, kept.any() / copies


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
