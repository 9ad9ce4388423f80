"""Occupied voxels, and which of them meet in a sparse convolution."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

# Which input row meets which output row at one kernel offset; None: every row meets itself.
Pairs = list[tuple[Tensor, Tensor] | None]

_AXIS_BITS = 16
_MARGIN = 2  # half of the largest kernel: a neighbour's key never reaches into the next row
MAX_EXTENT = 2**_AXIS_BITS - 2 * _MARGIN


def pack(indices: Tensor) -> Tensor:
    """Pack (N, 4) indices (cloud, x, y, z), each in [0, 65532), into one int64 key each."""
    cloud, x, y, z = indices.long().unbind(dim=1)
    return ((cloud << _AXIS_BITS | x) << _AXIS_BITS | y) << _AXIS_BITS | z


def unpack(keys: Tensor) -> Tensor:
    """Invert ``pack``: int64 keys (N,) to indices (N, 4)."""
    mask = 2**_AXIS_BITS - 1
    shifts = (3 * _AXIS_BITS, 2 * _AXIS_BITS, _AXIS_BITS, 0)
    return torch.stack([keys >> shift & mask for shift in shifts], dim=1)


class VoxelGrid:
    """Occupied voxels of one resolution; remembers the index maps that its layers share."""

    def __init__(self, keys: Tensor, finer: VoxelGrid | None = None) -> None:
        self.keys = keys  # (N,) int64, sorted, unique
        self.finer = finer
        self._coarser: VoxelGrid | None = None
        self._neighbours: dict[int, Pairs] = {}
        self._children: Pairs = []

    @property
    def coarser(self) -> VoxelGrid:
        """The grid of twice the voxel size; its ``finer`` is this one."""
        if self._coarser is None:
            indices = unpack(self.keys)
            indices[:, 1:] //= 2
            keys, parents = torch.unique(pack(indices), return_inverse=True)
            self._coarser = VoxelGrid(keys, finer=self)
            self._coarser._children = self._pairs_with(parents)
        return self._coarser

    def _pairs_with(self, parents: Tensor) -> Pairs:
        low_bits = unpack(self.keys)[:, 1:] & 1
        corner = low_bits[:, 0] * 4 + low_bits[:, 1] * 2 + low_bits[:, 2]
        rows = [(corner == i).nonzero()[:, 0] for i in range(8)]
        return [(row, parents[row]) for row in rows]

    def children(self) -> Pairs:
        """Pairs (row of ``finer``, row of this grid) for the eight corners of a voxel."""
        return self._children

    def neighbours(self, kernel: int) -> Pairs:
        """Pairs (row of the neighbour, row of the voxel) for each offset of an odd kernel."""
        if kernel not in self._neighbours:
            self._neighbours[kernel] = self._find_neighbours(kernel)
        return self._neighbours[kernel]

    def _find_neighbours(self, kernel: int) -> Pairs:
        reach = range(-(kernel // 2), kernel // 2 + 1)
        offsets = list(product(reach, reach, reach))
        half = len(offsets) // 2
        first: Pairs = []
        for x, y, z in offsets[:half]:
            wanted = self.keys + ((x << _AXIS_BITS) + y << _AXIS_BITS) + z
            found = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
            rows = (self.keys[found] == wanted).nonzero()[:, 0]
            first.append((found[rows], rows))
        # My neighbour at an offset has me at the opposite one.
        mirrored: Pairs = [pair and (pair[1], pair[0]) for pair in reversed(first)]
        return [*first, None, *mirrored]
