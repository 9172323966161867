"""The baseline of the benchmark: what a careful reading of the paper gives, written straight down.

Eager modules on (B, C, T) with unfused attention and a hand-written layer norm, one `__getitem__`
per sample, mirrored test passes one after the other, every head always, protocol 2 pose by pose.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from common.data.pose_ops import mirror_pose, with_zero_root
from common.data.pose_store import PoseStore
from common.data.skeleton import H36M_17
from common.tasks.losses import mpjpe
from model.encoders import STRIDES_BY_FRAMES

JOINTS = 17


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
    """One window per call, cut and padded from lists of sequences; every second one mirrored."""

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
        mirrored, _ = model(mirror_pose(pose_2d, H36M_17))
        predicted = with_zero_root((plain + mirror_pose(mirrored, H36M_17)) / 2)[:, 0]
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
