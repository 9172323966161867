"""The masked model: recovers hidden joints and frames of 2D and 3D motion, and lifts 2D to 3D."""

import torch
from torch import Tensor, nn

from model.encoders import PoseEmbedding, SpatialMLP, TemporalDecoder, TemporalEncoder
from model.layers import LayerNorm, learned_embedding, pose_head

PRE_TRAINING_DROPOUT = 0.1


class MaskedPoseModel(nn.Module):
    """One encoder for 2D and 3D motion with a decoder for each: arXiv 2306.17201.

    Hidden joints are replaced by a learned token before the stem; hidden frames do not go through
    the temporal encoder and stand as a learned token before the decoder. Masks are True where
    hidden; frames are given as the numbers of the visible ones, whose count the host knows, so that
    no step waits for the device.
    """

    def __init__(
        self,
        *,
        frames: int,
        num_joints: int,
        layers: int,
        decoder_depth: int,
        width: int = 256,
        hidden_width: int = 512,
    ) -> None:
        """Make a model.

        Args:
            frames: T.
            num_joints: J.
            layers: blocks of the temporal encoder.
            decoder_depth: blocks of each decoder: 1 when joints are hidden frame by frame, 2 when
                whole limbs are.
            width: D, token width; a multiple of 8.
            hidden_width: F, feed-forward width.
        """
        super().__init__()
        dropout = PRE_TRAINING_DROPOUT
        self.encoder2d = PoseEmbedding(2 * num_joints, 2 * width, dropout=dropout)
        self.encoder3d = PoseEmbedding(3 * num_joints, 2 * width, dropout=dropout)
        self.shared_layers_spatial = SpatialMLP(width, dropout=dropout)
        self.shared_layers_temporal = TemporalEncoder(frames, width, hidden_width, layers=layers)
        self.dec_pos_embedding = learned_embedding(1, frames, width)
        self.temporal_mask_token = learned_embedding(1, 1, width)
        self.spatial_mask_token3d = learned_embedding(1, 1, 3)
        self.spatial_mask_token2d = learned_embedding(1, 1, 2)
        self.encoder_LN = LayerNorm(width)
        self.decoder2d = TemporalDecoder(width, hidden_width, depth=decoder_depth)
        self.decoder3d = TemporalDecoder(width, hidden_width, depth=decoder_depth)
        self.fcn_dec2d = pose_head(width, 2 * num_joints)
        self.fcn_dec3d = pose_head(width, 3 * num_joints)
        self.num_joints = num_joints

    def forward(
        self,
        pose_2d: Tensor | None = None,
        joint_mask_2d: Tensor | None = None,
        visible_2d: Tensor | None = None,
        pose_3d: Tensor | None = None,
        joint_mask_3d: Tensor | None = None,
        visible_3d: Tensor | None = None,
        *,
        lift: bool = False,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Recover what is hidden.

        Args:
            pose_2d: (B, T, J, 2) normalised screen coordinates, or None.
            joint_mask_2d: (B, T, J) or (B, 1, J) bool, True = hidden.
            visible_2d: (V,) int64, the visible frames, the same for every sample, in order; None
                if all are.
            pose_3d: (B', T, J, 3) root-relative metres, or None; need not belong to `pose_2d`.
            joint_mask_3d: as for 2D.
            visible_3d: as for 2D.
            lift: decode the 2D input to 3D, too.

        Returns:
            Recovered 2D (B, T, J, 2), lifted 3D (B, T, J, 3), recovered 3D (B', T, J, 3); None for
            what was not asked for.
        """
        recovered_2d = lifted_3d = recovered_3d = None
        if pose_2d is not None:
            assert joint_mask_2d is not None
            pose_2d = torch.where(joint_mask_2d.unsqueeze(-1), self.spatial_mask_token2d, pose_2d)
            tokens = self._encode(self.encoder2d, pose_2d, visible_2d)
            recovered_2d = self._decode(self.decoder2d, self.fcn_dec2d, tokens)
            if lift:
                lifted_3d = self._decode(self.decoder3d, self.fcn_dec3d, tokens)
        if pose_3d is not None:
            assert joint_mask_3d is not None
            pose_3d = torch.where(joint_mask_3d.unsqueeze(-1), self.spatial_mask_token3d, pose_3d)
            tokens = self._encode(self.encoder3d, pose_3d, visible_3d)
            recovered_3d = self._decode(self.decoder3d, self.fcn_dec3d, tokens)
        return recovered_2d, lifted_3d, recovered_3d

    def _encode(self, stem: nn.Module, pose: Tensor, visible: Tensor | None) -> Tensor:
        """(B, T, J, C) poses -> (B, T, D) tokens for the decoders, mask tokens at hidden frames."""
        if visible is None:
            tokens = self.shared_layers_temporal(self.shared_layers_spatial(stem(pose)))
            return self.encoder_LN(tokens) + self.dec_pos_embedding
        if self.training:  # the statistics of batch norm count hidden frames, too
            tokens = self.shared_layers_spatial(stem(pose), visible)
        else:
            tokens = self.shared_layers_spatial(stem(pose[:, visible]))
        tokens = self.encoder_LN(self.shared_layers_temporal(tokens, visible))  # (B, V, D)
        everywhere = self.temporal_mask_token.expand(len(pose), pose.shape[1], -1).to(tokens.dtype)
        return everywhere.index_copy(1, visible, tokens) + self.dec_pos_embedding

    def _decode(self, decoder: nn.Module, head: nn.Module, tokens: Tensor) -> Tensor:
        """(B, T, D) tokens -> (B, T, J, C) poses."""
        return head(decoder(tokens)).unflatten(-1, (self.num_joints, -1))
