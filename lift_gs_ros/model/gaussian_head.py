"""One Gaussian per point, regressed from its feature (LIFT-GS, section 3.4: |G| = |P|)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lift_gs_ros.splat.gaussians import SH_COEFFICIENTS, Gaussians
from lift_gs_ros.splat.spherical_harmonics import colors_to_sh

INITIAL_SCALE = 0.6  # voxels: 3 cm on a 5 cm map closes the surface without blurring it
SCALE_RANGE = 4.0  # a Gaussian is at most this much larger or smaller than it began
INITIAL_OPACITY = 0.9
_SPLIT = (3, 3, 4, 1, 3 * SH_COEFFICIENTS)  # offset, scale, rotation, opacity, harmonics


class GaussianHead(nn.Module):
    """An MLP whose last layer starts at zero: training begins with the input cloud itself.

    Every output is a bounded change of a sensible start: the Gaussian stays within one voxel of
    its point, and its colour starts as the point's colour.
    """

    def __init__(self, feature_dim: int, voxel_size: float) -> None:
        super().__init__()
        self.voxel_size = voxel_size
        last = nn.Linear(feature_dim, sum(_SPLIT))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(feature_dim, feature_dim), nn.ReLU(), last)

    def forward(
        self,
        features: Tensor,  # (P, F)
        positions: Tensor,  # (P, 3) metres
        colors: Tensor,  # (P, 3) in [0, 1]
    ) -> Gaussians:
        """Return P Gaussians in the frame of ``positions``, in float32."""
        raw = self.mlp(features).float()
        offset, scale, rotation, opacity, harmonics = raw.split(_SPLIT, dim=1)
        growth = math.log(SCALE_RANGE) * torch.tanh(scale)
        identity = raw.new_tensor([1.0, 0.0, 0.0, 0.0])
        return Gaussians(
            means=positions + self.voxel_size * torch.tanh(offset),
            quats=nn.functional.normalize(rotation + identity, dim=1),
            scales=INITIAL_SCALE * self.voxel_size * torch.exp(growth),
            opacities=torch.sigmoid(
                opacity[:, 0] + math.log(INITIAL_OPACITY / (1 - INITIAL_OPACITY))
            ),
            sh=colors_to_sh(colors) + harmonics.view(-1, SH_COEFFICIENTS, 3),
        )
