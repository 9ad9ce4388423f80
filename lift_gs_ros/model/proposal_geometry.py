"""Where things are, for the decoder: Fourier features, and the shape of a proposal's mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LONGEST_WAVELENGTH = 32.0  # metres


def fourier_features(positions: Tensor, bands: int) -> Tensor:
    """Sines and cosines of positions (..., 3) in metres, in octaves: (..., 6 bands + 3)."""
    octaves = 2.0 ** torch.arange(bands, device=positions.device, dtype=positions.dtype)
    angles = positions[..., None] * (2 * math.pi / LONGEST_WAVELENGTH) * octaves
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
    return torch.cat([positions / LONGEST_WAVELENGTH, waves], dim=-1)


def fourier_dim(bands: int) -> int:
    """Return the number of channels of ``fourier_features``."""
    return 6 * bands + 3


def mask_weights(logits: Tensor) -> Tensor:
    """Turn mask logits (N, m) into weights for pooling, in [0, 1], without gradients.

    Probabilities above one half count, so that the faint tail over a whole room does not outweigh
    a small object; a mask that reaches one half nowhere keeps its tail.
    """
    logits = logits.detach().float()
    inside = logits > 0
    return logits.sigmoid().mul_(inside | ~inside.any(dim=0))


def weighted_mean(weights: Tensor, rows: Tensor) -> Tensor:
    """Mean of rows (N, C) under each column of weights (N, m): (m, C)."""
    return (weights.T @ rows) / weights.sum(dim=0).clamp(min=1e-6)[:, None]


@dataclass(frozen=True)
class ProposalGeometry:
    """Where the current masks of m proposals (or B times m) are; without gradients."""

    centers: Tensor  # (m, 3) metres, relative to the decode origin
    extents: Tensor  # (m, 3) metres, two standard deviations to each side

    @classmethod
    def from_masks(cls, weights: Tensor, positions: Tensor) -> ProposalGeometry:
        """Measure masks with weights (V, m) on tokens at positions (V, 3).

        In full precision, also under autocast: the squares cancel.
        """
        with torch.autocast(positions.device.type, enabled=False):
            return cls.from_moments(
                weighted_mean(weights, positions), weighted_mean(weights, positions.square())
            )

    @classmethod
    def from_moments(cls, centers: Tensor, squares: Tensor) -> ProposalGeometry:
        """Take the means (..., m, 3) of the positions and of their squares."""
        variance = squares - centers.square()
        return cls(centers, 4 * variance.clamp(min=1e-4).sqrt())


class GeometryEmbedding(nn.Module):
    """Tells each proposal where its own mask is and how large."""

    def __init__(self, hidden_dim: int, bands: int) -> None:
        super().__init__()
        self.bands = bands
        self.mlp = nn.Sequential(
            nn.Linear(fourier_dim(bands) + 6, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
        )

    def forward(self, geometry: ProposalGeometry) -> Tensor:
        """Embed m masks: (m, hidden)."""
        waves = fourier_features(geometry.centers, self.bands)
        return self.mlp(torch.cat([waves, geometry.extents, geometry.extents.log()], dim=-1))


class PairwiseBias(nn.Module):
    """Attention bias between proposals from where their masks are: nearer, above, larger, ...

    Relations between objects ("next to the sink") are relations between masks; without this the
    proposals never learn where the others are (first trial; compare the spatial self-attention of
    3D-VisTA and ViL3DRel).
    """

    def __init__(self, heads: int, width: int = 32) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, heads))

    def forward(self, geometry: ProposalGeometry) -> Tensor:
        """Return biases (heads, m, m): row attends, column is attended to."""
        delta = geometry.centers[..., None, :, :] - geometry.centers[..., :, None, :]
        distance = delta.norm(dim=-1, keepdim=True)
        floor_distance = delta[..., :2].norm(dim=-1, keepdim=True)
        sizes = geometry.extents.log()
        parts = [
            delta,
            distance,
            floor_distance,
            torch.log(distance + 0.05),
            sizes[..., :, None, :].expand_as(delta),
            sizes[..., None, :, :].expand_as(delta),
        ]
        return self.mlp(torch.cat(parts, dim=-1)).movedim(-1, -3)
