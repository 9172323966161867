"""The lifter (2D sequence -> 3D pose of the target frame) and the refiner of its result."""

import torch
from torch import Tensor, nn

from model.encoders import PoseEmbedding, SpatialMLP, StridedTemporalEncoder, TemporalEncoder
from model.layers import Dropout, pose_head

FINE_TUNING_DROPOUT = 0.2


class PoseLifter(nn.Module):
    """Lifts a window of 2D poses to 3D: arXiv 2306.17201, fine-tuning stage.

    The stem, the spatial MLP and the temporal encoder carry the names of the pre-trained model, so
    that its weights can be loaded; the strided encoder reduces the window to its target frame: the
    centre frame, or the last one of a causal window.
    """

    def __init__(
        self,
        *,
        frames: int,
        num_joints: int,
        layers: int,
        width: int = 256,
        hidden_width: int = 512,
        in_coordinates: int = 2,
        out_coordinates: int = 3,
    ) -> None:
        """Make a lifter.

        Args:
            frames: T, one of the keys of `STRIDES_BY_FRAMES`.
            num_joints: J.
            layers: number of blocks of the temporal encoder.
            width: D, token width; a multiple of 8.
            hidden_width: F, feed-forward width.
            in_coordinates: coordinates of an input joint.
            out_coordinates: coordinates of an output joint.
        """
        super().__init__()
        pose_width = out_coordinates * num_joints
        self.encoder2d = PoseEmbedding(
            in_coordinates * num_joints, 2 * width, dropout=FINE_TUNING_DROPOUT
        )
        self.shared_layers_spatial = SpatialMLP(width, dropout=FINE_TUNING_DROPOUT)
        self.shared_layers_temporal = TemporalEncoder(frames, width, hidden_width, layers=layers)
        self.Transformer_reduce = StridedTemporalEncoder(frames, width, hidden_width)
        self.fcn = pose_head(width, pose_width)
        self.fcn_1 = pose_head(width, pose_width)
        self.num_joints = num_joints

    @property
    def sequence_head(self) -> nn.Module:
        """The part that only the poses of every frame need."""
        return self.fcn_1

    def forward(
        self, pose_2d: Tensor, frames: Tensor | None = None, *, with_sequence: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Lift windows.

        Args:
            pose_2d: (B, T, J, 2), normalised screen coordinates. With `frames`: (S, L, J, 2), S
                versions of L frames that windows are cut from; in evaluation mode that gives the
                same result and embeds a frame that many windows share once.
            frames: (B, T) int64, the windows as frame numbers 0 .. L - 1, or None.
            with_sequence: False skips the per-frame head, which only training needs.

        Returns:
            The pose of the target frame, (B, 1, J, 3) metres relative to the root, and the poses of
            all frames, (B, T, J, 3), or None. With `frames`, S * B windows, version by version.
        """
        tokens = self.shared_layers_spatial(self.encoder2d(pose_2d))  # (B, T, D)
        if frames is not None:
            tokens = tokens[:, frames].flatten(0, 1)  # (S, L, D) -> (S, B, T, D) -> (S * B, T, D)
        tokens = self.shared_layers_temporal(tokens)
        target = self.fcn(self.Transformer_reduce(tokens)).unflatten(-1, (self.num_joints, -1))
        if not with_sequence:
            return target, None
        return target, self.fcn_1(tokens).unflatten(-1, (self.num_joints, -1))


class PoseRefiner(nn.Module):
    """Weighs, for every joint, the predicted x and y against the back-projected ones."""

    def __init__(self, *, num_joints: int) -> None:
        super().__init__()
        self.post_refine = nn.Sequential(
            nn.Linear(6 * num_joints, 1024),
            nn.ReLU(),
            Dropout(0.5),
            nn.Linear(1024, 2 * num_joints),
            nn.Sigmoid(),
        )

    def forward(self, predicted: Tensor, back_projected: Tensor) -> Tensor:
        """Refine target poses.

        Args:
            predicted: (B, 1, J, 3) root-relative metres, from the lifter.
            back_projected: (B, 1, J, 3) root-relative metres, from 2D and predicted depth.

        Returns:
            (B, 1, J, 3) root-relative metres; z is the predicted one.
        """
        both = torch.cat([predicted, back_projected], dim=-1)  # (B, 1, J, 6)
        weight = self.post_refine(both.flatten(-2)).unflatten(-1, (-1, 2))  # (B, 1, J, 2)
        xy = weight * predicted[..., :2] + (1 - weight) * back_projected[..., :2]
        return torch.cat([xy, predicted[..., 2:]], dim=-1)
