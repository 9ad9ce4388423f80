"""The voxels of one chunk: compact arrays that grow by doubling, and a hash index over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import FloatArray, PointCloud
from lift_gs_ros.mapping import kernels

SMALLEST_CAPACITY = 512


class ChunkStore:
    """Voxels of a cubic chunk of ``cells`` voxels an edge whose lowest corner is at ``corner``.

    Row i of ``codes`` (int32, the cell within the chunk) and of ``values`` (float32, the columns
    of ``kernels.VALUE_COLUMNS``) is one voxel. Positions are kept relative to the corner, so that
    float32 is as exact far from the origin as near it.
    """

    def __init__(self, corner: FloatArray, cells: int, voxel_size: float) -> None:
        self.corner = corner  # (3,) metres, world
        self.cells = cells
        self.voxel_size = voxel_size
        self.size = 0
        self.last_seen = 0  # number of the keyframe
        self._allocate(SMALLEST_CAPACITY)

    @property
    def codes(self) -> NDArray[np.int32]:
        """Cells (N,) of the voxels."""
        return self._codes[: self.size]

    @property
    def values(self) -> NDArray[np.float32]:
        """Values (N, 8) of the voxels."""
        return self._values[: self.size]

    def fill(self, codes: NDArray[np.int32], values: NDArray[np.float32]) -> None:
        """Replace all voxels."""
        self.size = 0
        self._reserve(len(codes))
        self.size = len(codes)
        self._codes[: self.size], self._values[: self.size] = codes, values
        kernels.rebuild_index(self._codes, self.size, self._table)

    def merge(
        self,
        codes: NDArray[np.int32],
        sums: FloatArray,
        order: NDArray[np.int64],
        max_weight: float,
        max_evidence: float,
        gain: float,
    ) -> None:
        """Merge the rows ``order`` of a frame's voxels into the running means."""
        self._reserve(self.size + len(order))
        self.size = kernels.merge(
            codes,
            sums,
            order,
            self.voxel_size,
            self.cells,
            max_weight,
            max_evidence,
            gain,
            self._table,
            self._codes,
            self._values,
            self.size,
        )

    def carve(
        self,
        camera_from_world: FloatArray,
        intrinsics: FloatArray,
        reach: tuple[float, float],
        margin: float,
        tiles: NDArray[np.float32],
    ) -> int:
        """Weaken the voxels that the camera sees through; return how many vanished.

        ``reach`` is the range of depths, ``margin`` how far behind a voxel all that shows must
        lie, both in metres; ``tiles`` comes from ``kernels.nearest_depth``.
        """
        camera_from_chunk = camera_from_world.copy()
        camera_from_chunk[:3, 3] += camera_from_world[:3, :3] @ self.corner
        before = self.size
        self.size = kernels.carve(
            camera_from_chunk,
            intrinsics,
            *reach,
            self.voxel_size,
            margin,
            tiles,
            self._codes,
            self._values,
            self.size,
        )
        if self.size < before:
            kernels.rebuild_index(self._codes, self.size, self._table)
        return before - self.size

    def to_point_cloud(self, min_support: float) -> PointCloud:
        """Return a copy of the mean positions (world) and colours of the supported voxels."""
        values = self.values
        if min_support > 0:
            arguments = (self._table, self.cells, min_support)
            values = values[kernels.supported(self._codes, self._values, self.size, *arguments)]
        positions = (self.corner + values[:, :3]).astype(np.float32)
        return PointCloud(positions, values[:, 3:6].copy())

    def _allocate(self, capacity: int) -> None:
        self._codes = np.empty(capacity, np.int32)
        self._values = np.empty((capacity, kernels.VALUE_COLUMNS), np.float32)
        self._table = np.full(2 * capacity, -1, np.int32)

    def _reserve(self, needed: int) -> None:
        capacity = len(self._codes)
        if needed <= capacity:
            return
        while capacity < needed:
            capacity *= 2
        codes, values = self.codes, self.values
        self._allocate(capacity)
        self._codes[: self.size], self._values[: self.size] = codes, values
        kernels.rebuild_index(self._codes, self.size, self._table)
