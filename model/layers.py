"""Transformer and convolution blocks shared by the lifter and the masked model.

Tokens are laid out (B, T, D) throughout, so that every kernel-1 convolution is one matrix product
without a transpose. Attribute names are those of the released checkpoints.
"""

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NUM_HEADS = 8
TRANSFORMER_DROPOUT = 0.1
LEAKY_SLOPE = 0.2


class LayerNorm(nn.Module):
    """a_2 * (x - mean) / (std + 1e-6) + b_2 with the unbiased standard deviation.

    Computed by the fused kernel: the unbiased deviation is sqrt(n / (n - 1)) times the biased one,
    so the gain is scaled by sqrt((n - 1) / n). Only the place of epsilon differs.
    """

    def __init__(self, width: int, *, applied: bool = True) -> None:
        """Make a norm over the last axis.

        Args:
            width: D, length of the normalised axis.
            applied: False for the final norms that checkpoints store and no forward pass uses;
                they are not trained.
        """
        super().__init__()
        self.a_2 = nn.Parameter(torch.ones(width), requires_grad=applied)
        self.b_2 = nn.Parameter(torch.zeros(width), requires_grad=applied)
        self.width = width
        self.gain_scale = math.sqrt((width - 1) / width)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., D) over its last axis."""
        gain = self.a_2 * self.gain_scale
        return F.layer_norm(x, (self.width,), gain, self.b_2, eps=1e-12)


class PointwiseConv(nn.Conv1d):
    """A kernel-1 convolution over (B, T, C_in) -> (B, T, C_out), computed as a matrix product."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__(in_width, out_width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C_in) to (..., C_out)."""
        return F.linear(x, self.weight.squeeze(-1), self.bias)


class StridedConv(nn.Conv1d):
    """A kernel-3 convolution with padding 1 over (B, T, C_in) -> (B, ceil(T / stride), C_out)."""

    def __init__(self, in_width: int, out_width: int, *, stride: int) -> None:
        super().__init__(in_width, out_width, kernel_size=3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, T, C_in) along T as one matrix product over the gathered taps."""
        if torch.onnx.is_in_onnx_export():  # which has convolutions, but no views such as these
            return super().forward(x.transpose(1, 2)).transpose(1, 2)
        taps = F.pad(x, (0, 0, 1, 1)).unfold(1, 3, self.stride[0])  # (B, L, C_in, 3)
        taps = taps.transpose(2, 3).flatten(2)  # (B, L, 3 * C_in): contiguous rows, a view at times
        return F.linear(taps, self.weight.transpose(1, 2).flatten(1), self.bias)


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch norm over the last axis of (B, T, C): statistics over batch and time."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., C) per channel."""
        return super().forward(x.reshape(-1, x.shape[-1])).view_as(x)


class Dropout(nn.Dropout):
    """Dropout; on a CPU from 16 random bits an element, ten times faster than PyTorch's own."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of x, any shape, with probability p (on a CPU to within 2 ** -17)."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        return x * _keep_factors(x, self.p)


def _keep_factors(x: Tensor, p: float) -> Tensor:
    """Factors like x: 0 for elements to drop, 1 / (1 - p) for those to keep."""
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    threshold = round(p * 2**16)
    kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= threshold - 2**15
    return kept.to(x.dtype).mul_(2**16 / (2**16 - threshold))


class MultiHeadAttention(nn.Module):
    """Self-attention with 8 heads; scale 1 / sqrt(D / 8), dropout on the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Query, key, value and output start equal, as in the published network.
        self.linears = copies(nn.Linear(width, width), 4)
        self.dropout = Dropout(TRANSFORMER_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over T.

        Args:
            x: (B, T, D) tokens.

        Returns:
            (B, T, D) tokens.
        """
        query_key_value = [self.linears[i] for i in range(3)]
        weight = torch.cat([cast(Tensor, linear.weight) for linear in query_key_value])
        bias = torch.cat([cast(Tensor, linear.bias) for linear in query_key_value])
        projected = F.linear(x, weight, bias).unflatten(-1, (3, NUM_HEADS, -1))  # (B, T, 3, H, D/H)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each (B, H, T, D/H)
        dropout = self.dropout.p if self.training else 0.0
        if dropout and x.device.type == "cpu":
            # The fused kernel has no dropout on a CPU; PyTorch's fallback is slower than this.
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # (B, H, T, T)
            attended = self.dropout(scores.softmax(-1)) @ value
        else:
            attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.linears[3](attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """w_2(dropout(relu(w_1(x)))) on every token."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, hidden_width)
        self.w_2 = nn.Linear(hidden_width, width)
        self.dropout = Dropout(TRANSFORMER_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        return self.w_2(self.dropout(F.relu(self.w_1(x), inplace=True)))


class StridedFeedForward(nn.Module):
    """The feed-forward of a strided block: kernel 1, then kernel 3 with a stride."""

    def __init__(self, width: int, hidden_width: int, *, stride: int) -> None:
        super().__init__()
        self.w_1 = PointwiseConv(width, hidden_width)
        self.w_2 = StridedConv(hidden_width, width, stride=stride)
        self.dropout = Dropout(TRANSFORMER_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, ceil(T / stride), D)."""
        return self.w_2(self.dropout(F.relu(self.w_1(x), inplace=True)))


class Residual(nn.Module):
    """The norm before a sublayer and the dropout after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm(width)
        self.dropout = Dropout(TRANSFORMER_DROPOUT)

    def forward(self, x: Tensor, sublayer: nn.Module, *, keep_every: int = 1) -> Tensor:
        """x + dropout(sublayer(norm(x))), the residual path keeping every n-th token."""
        return x[:, ::keep_every] + self.dropout(sublayer(self.norm(x)))


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward; with a stride, the feed-forward shortens the window."""

    def __init__(
        self,
        width: int,
        hidden_width: int,
        *,
        stride: int | None = None,
        attention: MultiHeadAttention | None = None,
    ) -> None:
        """Make a block.

        Args:
            width: D, token width.
            hidden_width: F, feed-forward width.
            stride: None for a plain block, else the step of the strided feed-forward.
            attention: its attention; None for a new one.
        """
        super().__init__()
        self.self_attn = MultiHeadAttention(width) if attention is None else attention
        self.feed_forward = (
            FeedForward(width, hidden_width)
            if stride is None
            else StridedFeedForward(width, hidden_width, stride=stride)
        )
        self.sublayer = nn.ModuleList([Residual(width), Residual(width)])
        self.stride = stride or 1

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, ceil(T / stride), D)."""
        attention, feed_forward = self.sublayer
        x = attention(x, self.self_attn)
        return feed_forward(x, self.feed_forward, keep_every=self.stride)


class BlockStack(nn.Module):
    """Transformer blocks in a row, under the names that checkpoints use (`model.layers.N`)."""

    def __init__(self, blocks: nn.ModuleList, width: int) -> None:
        """Stack blocks.

        Args:
            blocks: `plain_blocks` or `strided_blocks`.
            width: D, token width.
        """
        super().__init__()
        self.layers = blocks
        # Stored in every checkpoint, applied nowhere.
        self.norm = LayerNorm(width, applied=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) through all blocks."""
        for layer in self.layers:
            x = layer(x)
        return x


def pose_head(width: int, out_width: int) -> nn.Sequential:
    """Batch norm and a kernel-1 convolution: (B, T, D) tokens -> (B, T, out_width) coordinates."""
    return nn.Sequential(TokenBatchNorm(width), PointwiseConv(width, out_width))


def copies(module: nn.Module, count: int) -> nn.ModuleList:
    """Modules that start equal and are trained apart."""
    return nn.ModuleList(copy.deepcopy(module) for _ in range(count))


def plain_blocks(width: int, hidden_width: int, *, depth: int) -> nn.ModuleList:
    """Blocks that start as copies of one another, as in the published network."""
    return copies(TransformerBlock(width, hidden_width), depth)


def strided_blocks(width: int, hidden_width: int, *, strides: Sequence[int]) -> nn.ModuleList:
    """Strided blocks whose attentions start as copies of one another, the rest does not."""
    attention = MultiHeadAttention(width)
    return nn.ModuleList(
        TransformerBlock(width, hidden_width, stride=stride, attention=copy.deepcopy(attention))
        for stride in strides
    )


def learned_embedding(*shape: int) -> nn.Parameter:
    """A learned embedding (position or mask token), drawn from the standard normal."""
    return nn.Parameter(torch.randn(shape))
