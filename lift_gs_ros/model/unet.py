"""Residual sparse UNet: coloured points in, features per voxel out (LIFT-GS, section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lift_gs_ros.model.config import TOKEN_STRIDES, LiftGSConfig
from lift_gs_ros.model.sparse import Backend
from lift_gs_ros.model.voxel_grid import MAX_EXTENT, pack, unpack

INPUT_CHANNELS = 6  # colour, offset of the point within its voxel
_COARSEST = 16  # clouds start at a multiple of this many voxels, so that grids align in the map


@dataclass(frozen=True)
class Voxels:
    """Clouds on a grid; the grid is the map's, wherever a cloud was cut out of it."""

    features: Tensor  # (N, 6) mean of the voxel's points
    indices: Tensor  # (N, 4) int64 cloud, x, y, z; sorted
    voxel_of_point: Tensor  # (P,) int64 row of each point, clouds one after the other
    num_clouds: int


def voxelize(clouds: Sequence[tuple[Tensor, Tensor]], voxel_size: float) -> Voxels:
    """Put clouds of positions (P, 3) in metres and colours (P, 3) in [0, 1] on one grid.

    Voxels are centred on multiples of ``voxel_size``, as those of the map are.

    Absolute positions do not enter the features: the network gives the same answer wherever
    the map's origin is, up to whole (coarsest) voxels.
    """
    features, indices = [], []
    for number, (positions, colors) in enumerate(clouds):
        scaled = positions / voxel_size + 0.5
        floor = scaled.floor()
        features.append(torch.cat([2 * colors - 1, 2 * (scaled - floor) - 1], dim=1))
        cell = floor.long()
        cell = cell - cell.amin(dim=0).div(_COARSEST, rounding_mode='floor') * _COARSEST
        if int(cell.max()) >= MAX_EXTENT:
            raise ValueError(
                f'cloud {number} spans {int(cell.max()) * voxel_size:.0f} m, expected less than '
                f'{MAX_EXTENT * voxel_size:.0f} m: are there stray points?'
            )
        indices.append(nn.functional.pad(cell, (1, 0), value=number))
    keys, voxel_of_point = torch.unique(pack(torch.cat(indices)), return_inverse=True)
    return Voxels(
        mean_rows(torch.cat(features), voxel_of_point, len(keys)),
        unpack(keys),
        voxel_of_point,
        len(clouds),
    )


def mean_rows(rows: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """Mean of the rows (N, C) of each group (N,) int64 in [0, num_groups): (num_groups, C)."""
    total = rows.new_zeros(num_groups, rows.shape[1]).index_add(0, group, rows)
    return total / torch.bincount(group, minlength=num_groups).clamp(min=1)[:, None]


class VoxelNorm(nn.BatchNorm1d):
    """Batch normalisation over voxels; a single voxel is normalised by the running statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3, momentum=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features (N, C)."""
        if self.training and len(features) == 1:
            return nn.functional.batch_norm(
                features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(features)


class ConvNorm(nn.Module):
    """A sparse convolution, batch normalisation and, unless told otherwise, ReLU."""

    def __init__(self, convolution: nn.Module, channels: int, relu: bool = True) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = VoxelNorm(channels)
        self.relu = relu

    def forward(self, x: Any) -> Any:
        """Apply to a sparse tensor."""
        x = self.convolution(x)
        features = self.norm(x.features)
        return x.replace_feature(torch.relu(features) if self.relu else features)


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions around a shortcut (He et al. 2016)."""

    def __init__(self, backend: Backend, channels_in: int, channels_out: int, level: int) -> None:
        super().__init__()
        first = backend.submanifold(channels_in, channels_out, 3, level)
        second = backend.submanifold(channels_out, channels_out, 3, level)
        self.first = ConvNorm(first, channels_out)
        self.second = ConvNorm(second, channels_out, relu=False)
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Linear(channels_in, channels_out, bias=False), VoxelNorm(channels_out)
            )

    def forward(self, x: Any) -> Any:
        """Apply to a sparse tensor."""
        y = self.second(self.first(x))
        return y.replace_feature(torch.relu(y.features + self.shortcut(x.features)))


class SparseUNet(nn.Module):
    """Four stages down, four up, with skip connections.

    The shape of the network is that of the sparse UNet in Pointcept and PonderV2, which the paper
    uses; written anew. A stage is a change of resolution followed by residual blocks. Where the
    last one is as wide as the features (``base``), these are its ReLU's, so never negative; a
    linear map makes those of the smaller networks.
    """

    def __init__(self, config: LiftGSConfig, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.token_stage = 3 - TOKEN_STRIDES.index(config.token_stride)
        stem = config.stem_channels
        skips = [stem, *config.channels[:3]]
        self.stem = ConvNorm(backend.submanifold(INPUT_CHANNELS, stem, config.stem_kernel, 0), stem)
        self.down, self.encoder = nn.ModuleList(), nn.ModuleList()
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for i, channels in enumerate(config.channels[:4]):
            self.down.append(ConvNorm(backend.down(skips[i], channels, i + 1), channels))
            self.encoder.append(self._blocks(channels, channels, config.blocks[i], i + 1))
        below = config.channels[3]
        for i, channels in enumerate(config.channels[4:]):
            level = 3 - i
            self.up.append(ConvNorm(backend.up(below, channels, level + 1), channels))
            joined = channels + skips[level]
            self.decoder.append(self._blocks(joined, channels, config.blocks[4 + i], level))
            below = channels
        self.head: nn.Module = nn.Identity()
        if below != config.feature_dim:
            self.head = nn.Linear(below, config.feature_dim)

    def _blocks(self, channels_in: int, channels: int, number: int, level: int) -> nn.Sequential:
        widths = [channels_in] + [channels] * number
        return nn.Sequential(
            *(ResidualBlock(self.backend, i, o, level) for i, o in zip(widths, widths[1:]))
        )

    @contextmanager
    def calling(self, between: Callable[[], object]) -> Iterator[None]:
        """Call a function after each convolution, until the block ends."""

        def call(*_: object) -> None:
            between()

        layers = [module for module in self.modules() if isinstance(module, ConvNorm)]
        handles = [layer.register_forward_hook(call) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def forward(self, voxels: Voxels) -> tuple[Tensor, Tensor, Tensor]:
        """Compute features F per voxel and the coarser features that become visual tokens.

        Returns features (N, feature_dim) in the order of ``voxels``, token features
        (V, config.token_channels) and token indices (V, 4) int64, sorted, in units of tokens.
        """
        x = self.backend.tensor(voxels.features, voxels.indices, voxels.num_clouds)
        x = self.stem(x)
        skips = []
        for down, blocks in zip(self.down, self.encoder):
            skips.append(x)
            x = blocks(down(x))
        for i, (up, blocks) in enumerate(zip(self.up, self.decoder)):
            x = up(x)
            x = blocks(x.replace_feature(torch.cat([x.features, skips.pop().features], dim=1)))
            if i == self.token_stage:
                tokens = x
        order = pack(tokens.indices).argsort()
        return self.head(x.features), tokens.features[order], tokens.indices.long()[order]
