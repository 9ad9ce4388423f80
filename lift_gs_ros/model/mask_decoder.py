"""The mask decoder: proposals read a scene and a sentence, layer by layer (LIFT-GS, section 3.4).

A 3D variant of MaskFormer's decoder, with language as in MDETR. What cross-attention reads of the
scene is cached with the scene (``SceneEncoding.keys`` and ``values``); positions are added here,
relative to the mean of the attended tokens, through one small map per layer. So an encoding can be
used in any company, and the network does not know where the map's origin is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.proposal_geometry import (
    GeometryEmbedding,
    PairwiseBias,
    ProposalGeometry,
    fourier_dim,
    fourier_features,
    mask_weights,
    weighted_mean,
)
from lift_gs_ros.model.scene import SceneEncoding
from lift_gs_ros.model.seeds import POSITION_CHANNELS, REACH, Seeds

# Visual tokens that one set of proposals is seeded on. Crops in training have about 600; with 64
# seeds on the 6000 tokens of a room, few lie on any small object.
TOKENS_PER_SET = 1000


class Attention(nn.Module):
    """Multi-head attention, with keys and values that are projected apart from it."""

    def __init__(self, config: LiftGSConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.query = nn.Linear(config.hidden_dim, config.hidden_dim)
        self.key = nn.Linear(config.hidden_dim, config.hidden_dim)
        self.value = nn.Linear(config.hidden_dim, config.hidden_dim)
        self.out = nn.Linear(config.hidden_dim, config.hidden_dim)

    def _split(self, rows: Tensor) -> Tensor:
        return rows.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def forward(
        self,
        rows: Tensor,  # (m, H) the ones that attend; or (B, m, H), and so for all others
        keys: Tensor,  # (n, H) projected
        values: Tensor,  # (n, H) projected
        mask: Tensor | None = None,  # bool, True may be attended to, or float bias; to (h, m, n)
    ) -> Tensor:
        """Return what the rows read: (m, H)."""
        if rows.dim() == 2:  # torch's fast kernels want a batch
            mask = None if mask is None else mask[None]
            return self(rows[None], keys[None], values[None], mask)[0]
        read = functional.scaled_dot_product_attention(
            self._split(self.query(rows)),
            self._split(keys),
            self._split(values),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(read.transpose(-2, -3).flatten(-2))

    def read(self, rows: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend to a source (n, H) that is not projected yet."""
        return self(rows, self.key(source), self.value(source), mask)


class DecoderLayer(nn.Module):
    """Scene, own geometry, other proposals, language, feed-forward; normalised before each.

    The first layer comes before the first masks: it looks around each proposal's seed.
    """

    def __init__(self, config: LiftGSConfig, is_first: bool) -> None:
        super().__init__()
        hidden, waves = config.hidden_dim, fourier_dim(config.position_bands)
        self.scene_attention = Attention(config)
        self.position_key = nn.Linear(waves, hidden, bias=False)
        self.position_value = nn.Linear(waves, hidden, bias=False)
        self.self_attention = Attention(config)
        if not is_first:
            self.pairwise_bias = PairwiseBias(config.heads)
            self.geometry = GeometryEmbedding(hidden, config.position_bands)
        self.language_attention = Attention(config)
        self.feedforward = nn.Sequential(
            nn.Linear(hidden, config.feedforward_dim),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward_dim, hidden),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(4))
        self.dropout = nn.Dropout(config.dropout)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Project visual tokens (V, H) to this layer's keys and values (V, H)."""
        return self.scene_attention.key(tokens), self.scene_attention.value(tokens)

    def forward(
        self,
        proposals: Tensor,  # (m, H)
        keys: Tensor,  # (V, H) content of the visual tokens
        values: Tensor,  # (V, H)
        waves: Tensor,  # (V, fourier) positions of the visual tokens
        language: Tensor,  # (T + 1, H)
        attended: Tensor | None,  # (m, V) bool, tokens of the current masks; None: all tokens
        geometry: ProposalGeometry | None,  # of the current masks; None before the first
    ) -> Tensor:
        """Return the refined proposals (m, H)."""
        read = self.read_scene(proposals, *self.placed(keys, values, waves), attended)
        return self.refine(proposals + self.dropout(read), language, geometry)

    def placed(self, keys: Tensor, values: Tensor, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Add their places (V, fourier) to keys and values (V, H) of the scene."""
        return keys + self.position_key(waves), values + self.position_value(waves)

    def read_scene(
        self,
        proposals: Tensor,  # (m, H)
        keys: Tensor,  # (V, H) placed
        values: Tensor,  # (V, H) placed
        attended: Tensor | None,  # (m, V)
    ) -> Tensor:
        """Return what the proposals read in the scene: (m, H)."""
        return self.scene_attention(self.norms[0](proposals), keys, values, attended)

    def refine(
        self,
        proposals: Tensor,  # (m, H) or (B, m, H), and so for all others
        language: Tensor,  # (T + 1, H)
        geometry: ProposalGeometry | None,
        words: Tensor | None = None,  # bool, to (h, m, T + 1): False where a sentence is padded
    ) -> Tensor:
        """Return the proposals (m, H) after all that comes behind reading the scene."""
        bias = None
        if geometry is not None:
            proposals = proposals + self.dropout(self.geometry(geometry))
            bias = self.pairwise_bias(geometry)
        rows = self.norms[1](proposals)
        read = self.self_attention.read(rows, rows, bias)
        proposals = proposals + self.dropout(read)
        read = self.language_attention.read(self.norms[2](proposals), language, words)
        proposals = proposals + self.dropout(read)
        return proposals + self.dropout(self.feedforward(self.norms[3](proposals)))


@dataclass(frozen=True)
class LayerOutput:
    """What one decoder layer answers; all layers are supervised (deep supervision)."""

    mask_embeddings: Tensor  # (m, d), the last ones for positions relative to the scene's origin
    correspondence: Tensor  # (m, T + 1) log-probabilities, the last column is "no object"


class Correspondence(nn.Module):
    """Which words a proposal answers to (LIFT-GS, section 3.1; soft tokens of MDETR).

    Two terms: a learnt product of proposal and token, and the cosine between the token and the
    features F under the proposal's mask. The second lives in the space that the feature loss
    trains; without it the first never leaves chance in a short training (first trial).
    """

    def __init__(self, config: LiftGSConfig) -> None:
        super().__init__()
        hidden = config.hidden_dim
        self.proposal = nn.Linear(hidden, hidden)
        self.token = nn.Linear(hidden, hidden)
        self.no_object = nn.Linear(hidden, 1)
        self.cosine_scale = nn.Parameter(torch.tensor(10.0))

    def forward(
        self,
        proposals: Tensor,  # (m, H) or (B, m, H), and so for all others
        language: Tensor,  # (T, H) hidden states of the tokens
        pooled: Tensor,  # (m, F) features under each mask
        text_features: Tensor,  # (T, F) the tokens in the space of the features
        padded: Tensor | None = None,  # (..., T) bool, True where there is no token
    ) -> Tensor:
        """Return log-probabilities (m, T + 1)."""
        product = self.proposal(proposals) @ self.token(language).mT / proposals.shape[-1] ** 0.5
        pooled, text = (functional.normalize(x, dim=-1) for x in (pooled, text_features))
        words = product + self.cosine_scale * (pooled @ text.mT)
        if padded is not None:
            words = words.masked_fill(padded[..., None, :], -torch.inf)
        logits = torch.cat([words, self.no_object(proposals)], dim=-1)
        return logits.float().log_softmax(dim=-1)


class MaskDecoder(nn.Module):
    """Learnable proposals that become mask embeddings and correspondences."""

    def __init__(self, config: LiftGSConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_dim
        self.scene_in = nn.Sequential(
            nn.Linear(config.token_channels, hidden), nn.LayerNorm(hidden)
        )
        self.language_in = nn.Sequential(
            nn.LayerNorm(config.language_dim), nn.Linear(config.language_dim, hidden)
        )
        # Always there to be read, so that a sentence without a known word is no special case.
        self.no_word = nn.Parameter(torch.zeros(1, hidden))
        self.proposals = nn.Parameter(torch.randn(config.proposals, hidden))
        self.seeds = Seeds(config.feature_dim, hidden)
        self.layers: Any = nn.ModuleList(
            DecoderLayer(config, is_first=i == 0) for i in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.mask_embedding = unit_mlp(hidden, hidden, config.mask_dim)
        self.correspondence = Correspondence(config)

    def cache(self, token_features: Tensor) -> tuple[Tensor, Tensor]:
        """Project visual tokens (V, C) to the keys and values (L, V, H) of all layers."""
        tokens = self.scene_in(token_features)
        projected = [layer.project(tokens) for layer in self.layers]
        keys, values = zip(*projected)
        return torch.stack(keys), torch.stack(values)

    def proposals_for(self, num_tokens: int) -> Tensor:
        """Repeat the learnt proposals where the scene is larger than what one set covers."""
        most = self.config.max_proposals // self.config.proposals
        repeats = min(max(round(num_tokens / TOKENS_PER_SET), 1), most)
        return self.proposals.repeat_interleave(repeats, dim=0)

    def forward(
        self,
        scene: SceneEncoding,
        embeddings: Tensor,  # (T, D) of the language encoder
        text_features: Tensor,  # (T, F)
        mask_bias: Tensor,  # ()
    ) -> list[LayerOutput]:
        """Decode one scene for one sentence; returns the answer of every layer, last one best."""
        language = torch.cat([self.language_in(embeddings), self.no_word])
        positions = scene.token_positions - scene.token_positions.mean(dim=0)
        waves = fourier_features(positions, self.config.position_bands)
        learnt = self.proposals_for(len(positions))
        content, places = self.seeds(scene.token_features, text_features, positions, len(learnt))
        proposals, outputs = learnt + content, []
        seeds, geometry = scene.token_positions[places] - scene.origin, None
        attended = torch.cdist(positions[places], positions) < REACH
        for i, layer in enumerate(self.layers):
            proposals = layer(
                proposals, scene.keys[i], scene.values[i], waves, language, attended, geometry
            )
            rows = self.norm(proposals)
            nearness = self.seeds.nearness(rows, seeds)
            embedding = torch.cat([self.mask_embedding(rows), nearness], dim=1)
            logits = mask_logits(scene.token_mask_features, embedding, mask_bias)
            weights = mask_weights(logits) * scene.token_counts[:, None]
            attended = _attended(logits)
            geometry = ProposalGeometry.from_masks(weights, positions)
            is_last = i == len(self.layers) - 1
            # Small things share a token with their surroundings: the answer itself looks at points.
            pooled = (
                weighted_mean(
                    mask_weights(mask_logits(scene.mask_features, embedding, mask_bias)),
                    scene.features,
                )
                if is_last
                else weighted_mean(weights, scene.token_features)
            )
            outputs.append(
                LayerOutput(
                    embedding, self.correspondence(rows, language[:-1], pooled, text_features)
                )
            )
        return outputs


def unit_mlp(dim_in: int, hidden: int, dim_out: int) -> nn.Sequential:
    """Build an MLP that keeps the scale of its input, so that first masks differ from each other.

    With torch's default start all mask logits are within 0.01 of each other.
    """
    first, last = nn.Linear(dim_in, hidden), nn.Linear(hidden, dim_out)
    nn.init.kaiming_normal_(first.weight)
    nn.init.normal_(last.weight, std=hidden**-0.5)
    return nn.Sequential(first, nn.ReLU(), last)


def mask_logits(mask_features: Tensor, mask_embeddings: Tensor, bias: Tensor) -> Tensor:
    """Mask logits (..., m) of mask features (..., d), of points or of rendered pixels.

    In full precision, also under autocast: the position channels cancel.
    """
    learnt = mask_embeddings.shape[1] - POSITION_CHANNELS
    scale = torch.ones_like(mask_embeddings[0])
    scale[:learnt] = learnt**-0.5
    with torch.autocast(mask_features.device.type, enabled=False):
        return mask_features.float() @ (scale * mask_embeddings).float().T + bias


def _attended(logits: Tensor) -> Tensor:
    """Tokens (m, V) inside each current mask; all of them where a mask is empty (Mask2Former)."""
    inside = (logits.detach() > 0).T
    return inside | ~inside.any(dim=1, keepdim=True)
