"""Load a model for inference, from a weight file or an ONNX file."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.data.camera import NORMALISATIONS, CameraView, normalise_screen
from common.data.pose_ops import mirror_mask, mirror_pose, with_zero_root
from common.errors import UserError
from common.inference.model_info import LIFTING_TASKS, ModelInfo, Network
from common.inference.motion import PinholeCamera

ROOT = Path(__file__).resolve().parents[2]
# The released models: what is taken where no other is named.
DEFAULT_MODEL = ROOT / "checkpoint" / "mpm_lift_27.pth"
OCCLUDED_MODEL = ROOT / "checkpoint" / "mpm_occluded_27.pth"
COMPLETION_MODEL = ROOT / "checkpoint" / "mpm_complete_27.pth"
# Window frames in one pass: few enough on a CPU that the activations stay in cache.
FRAMES_PER_PASS = {"cpu": 4096, "cuda": 65536}


@dataclass(frozen=True)
class LiftingModel:
    """A model that lifts windows of 2D poses.

    Attributes:
        info: its description.
        network: what it computes.
        device: where.
        flip: whether results are averaged with those of the mirrored input.
    """

    info: ModelInfo
    network: Network
    device: torch.device
    flip: bool = True

    @property
    def windows_per_pass(self) -> int:
        """The number of windows to lift at once."""
        return max(FRAMES_PER_PASS.get(self.device.type, 4096) // self.info.rule.frames, 1)

    def lift(self, poses: Tensor, hidden: Tensor | None, windows: Tensor) -> Tensor:
        """Lift windows, on the model's device and back.

        Args:
            poses: (L, J, 2) in the model's input space, finite.
            hidden: (L, J) bool, True = hidden; None for a lifter.
            windows: (B, T) int64, frame numbers.

        Returns:
            (B, J, 3) float32 metres along the camera's axes, the root at 0, on CPU.
        """
        poses, windows = poses[None].to(self.device), windows.to(self.device)
        hidden = None if hidden is None else hidden[None].to(self.device)
        skeleton = self.info.skeleton
        with torch.inference_mode():
            if self.flip:
                poses = torch.cat([poses, mirror_pose(poses, skeleton)])
                if hidden is not None:
                    hidden = torch.cat([hidden, mirror_mask(hidden, skeleton)])
            lifted = self.network(poses, hidden, windows)
            if self.flip:
                plain, mirrored = lifted.chunk(2)
                lifted = (plain + mirror_pose(mirrored, skeleton)) / 2
            return with_zero_root(lifted.float()).cpu()


def load_model(
    path: str | Path | None = None,
    *,
    onnx: str | Path | None = None,
    device: str = "auto",
    flip: bool = True,
    rate: float | None = None,
) -> LiftingModel:
    """Load a model that lifts.

    Args:
        path: a weight file of a lifter or a masked lifting model; None for `DEFAULT_MODEL`.
        onnx: an ONNX file of `common.export` in its place.
        device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:1"; ONNX runs on CPU.
        flip: average with the prediction of the mirrored input.
        rate: window frames per second, where the file does not say or says wrong.

    Returns:
        The model.

    Raises:
        UserError: no such file or device, or a model that does not lift.
    """
    if onnx is not None:
        from common.inference.onnx_model import load_onnx

        info, network = load_onnx(Path(onnx), rate=rate)
        chosen = torch.device("cpu")
    else:
        from common.inference.networks import load_weights  # not where ONNX runs: no model code

        if path is None and not DEFAULT_MODEL.exists():
            raise UserError(
                f"there is no {DEFAULT_MODEL.name} in {DEFAULT_MODEL.parent} yet: name a weight "
                "file, --model weights.pth (python trainer.py --demo trains one)"
            )
        chosen = choose_device(device)
        info, network = load_weights(Path(path or DEFAULT_MODEL), chosen, rate=rate)
    info.require(LIFTING_TASKS, "lifting")
    if info.normalisation not in NORMALISATIONS:
        raise UserError(
            f"{info.path}: its input is normalised by {info.normalisation!r}; known are "
            f"{', '.join(NORMALISATIONS)}"
        )
    return LiftingModel(info, network, chosen, flip)


def choose_device(name: str) -> torch.device:
    """A device by its name.

    Raises:
        UserError: there is none of that name.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(f"--device {name}: no such device here; auto, cpu or cuda") from None
    return device


def model_input(keypoints: Tensor, camera: PinholeCamera, info: ModelInfo) -> Tensor:
    """Undistorted pixels (..., J, 2) of a camera in the input space of a model."""
    width, height = camera.size
    focal, centre = (keypoints.new_tensor(pair) for pair in (camera.focal, camera.centre))
    view = CameraView(
        intrinsics=torch.cat(
            [
                focal / width * 2,
                normalise_screen(centre, width=width, height=height),
                keypoints.new_zeros(5),
            ]
        ),
        orientation=keypoints.new_tensor([1.0, 0, 0, 0]),
        centre=keypoints.new_zeros(3),
        width=width,
        height=height,
    )
    return view.normalise(keypoints, info.normalisation)
