"""Parts of the models: pose embedding, spatial MLP, temporal encoders, temporal decoder."""

from torch import Tensor, nn
from torch.nn import functional as F

from model.layers import (
    LEAKY_SLOPE,
    BlockStack,
    Dropout,
    PointwiseConv,
    TokenBatchNorm,
    learned_embedding,
    plain_blocks,
    strided_blocks,
)

STRIDES_BY_FRAMES: dict[int, list[int]] = {
    1: [1],
    9: [1, 3, 3],
    27: [3, 3, 3],
    81: [3, 3, 3, 3],
    243: [3, 3, 3, 3, 3],
    351: [3, 9, 13],
}


class PoseEmbedding(nn.Module):
    """The stem of one modality: the coordinates of a frame to one token of width 2 D."""

    def __init__(self, pose_width: int, width: int, *, dropout: float) -> None:
        """Make a stem.

        Args:
            pose_width: C * J, coordinates of one frame.
            width: 2 D, width of the tokens it makes.
            dropout: 0.2 when fine-tuning, 0.1 when pre-training.
        """
        super().__init__()
        self.fc_1 = PointwiseConv(pose_width, width)
        self.bn_1 = TokenBatchNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, pose: Tensor) -> Tensor:
        """Embed poses frame by frame.

        Args:
            pose: (B, T, J, C), any unit; flattened joint-major.

        Returns:
            (B, T, 2 D) tokens.
        """
        x = self.bn_1(self.fc_1(pose.flatten(2)))
        return self.dropout(F.leaky_relu(x, LEAKY_SLOPE))


class SpatialResidual(nn.Module):
    """Two rounds of [pointwise, batch norm, LeakyReLU, dropout], then the input added."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.w1 = PointwiseConv(width, width)
        self.batch_norm1 = TokenBatchNorm(width)
        self.w2 = PointwiseConv(width, width)
        self.batch_norm2 = TokenBatchNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, 2 D) to (B, T, 2 D)."""
        y = self.dropout(F.leaky_relu(self.batch_norm1(self.w1(x)), LEAKY_SLOPE))
        y = self.dropout(F.leaky_relu(self.batch_norm2(self.w2(y)), LEAKY_SLOPE))
        return x + y


class SpatialMLP(nn.Module):
    """Mixes the joints of a frame: one residual block of width 2 D, then down to width D."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        residual = SpatialResidual(2 * width, dropout=dropout)
        self.fc_2 = PointwiseConv(2 * width, width)
        self.layers = nn.ModuleList([residual])

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Mix the joints of each frame.

        Args:
            x: (B, T, 2 D) tokens.
            frames: (V,) int64, the frames wanted, or None for all; batch norm sees all of them.

        Returns:
            (B, T, D) or (B, V, D) tokens.
        """
        for layer in self.layers:
            x = layer(x)
        return self.fc_2(x if frames is None else x[:, frames])


class TemporalEncoder(nn.Module):
    """Learned positions and plain transformer blocks over the frames of a window."""

    def __init__(self, frames: int, width: int, hidden_width: int, *, layers: int) -> None:
        super().__init__()
        self.pos_embedding = learned_embedding(1, frames, width)
        self.model = BlockStack(plain_blocks(width, hidden_width, depth=layers), width)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Encode the frames of windows, or some of them.

        Args:
            x: (B, V, D) tokens.
            frames: (V,) int64, which frames of the window these are; None if all T.

        Returns:
            (B, V, D) tokens.
        """
        positions = self.pos_embedding if frames is None else self.pos_embedding[:, frames]
        return self.model(x + positions)


class TemporalDecoder(nn.Module):
    """Plain transformer blocks without positions of their own."""

    def __init__(self, width: int, hidden_width: int, *, depth: int) -> None:
        super().__init__()
        self.model = BlockStack(plain_blocks(width, hidden_width, depth=depth), width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        return self.model(x)


class StridedBlockStack(BlockStack):
    """Strided blocks; before each of the first three, learned positions are added."""

    def __init__(self, frames: int, width: int, hidden_width: int) -> None:
        strides = STRIDES_BY_FRAMES[frames]
        super().__init__(strided_blocks(width, hidden_width, strides=strides), width)
        self.pos_embedding_1 = learned_embedding(1, frames, width)
        self.pos_embedding_2 = learned_embedding(1, frames, width)
        self.pos_embedding_3 = learned_embedding(1, frames, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, 1, D)."""
        positions = (self.pos_embedding_1, self.pos_embedding_2, self.pos_embedding_3)
        for i, layer in enumerate(self.layers):
            if i < len(positions):
                x = x + positions[i][:, : x.shape[1]]
            x = layer(x)
        return x


class StridedTemporalEncoder(nn.Module):
    """Shortens a window of T frames step by step to the one token of its target frame."""

    def __init__(self, frames: int, width: int, hidden_width: int) -> None:
        super().__init__()
        self.model = StridedBlockStack(frames, width, hidden_width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, 1, D)."""
        return self.model(x)
