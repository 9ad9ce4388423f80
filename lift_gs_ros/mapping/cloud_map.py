"""A map that comes as one cloud, again and again: any SLAM's, cut into chunks as our own is."""

from __future__ import annotations

import numpy as np

from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.mapping.voxel_map import VoxelMap


def voxel_map_of(cloud: PointCloud) -> VoxelMap:
    """Put a cloud (map frame, metres) on the grid that the model is trained on.

    Whoever made the cloud has dropped the noise; nothing is left out here. Raises ValueError
    where points are too far from the origin.
    """
    voxel_map = VoxelMap(min_support=0.0, max_voxels=max(len(cloud), 1))
    voxel_map.insert(cloud)
    return voxel_map


class CloudMap:
    """Says which chunks of the newest cloud are not those of the cloud before."""

    def __init__(self) -> None:
        self._fingerprints: dict[ChunkKey, int | None] = {}
        empty = VoxelMap()
        self.chunk_size, self.voxel_size = empty.chunk_size, empty.voxel_size  # metres

    def replace(self, cloud: PointCloud) -> dict[ChunkKey, PointCloud]:
        """Take in the newest cloud; return the chunks that changed, empty those that are gone.

        The order of the cloud's points means nothing: a chunk's are sorted. Raises as
        ``voxel_map_of`` does, and what was known is kept.
        """
        voxel_map = voxel_map_of(cloud)
        chunks = {key: self._sorted(voxel_map.chunk(key)) for key in voxel_map.chunk_keys()}
        known = self._fingerprints
        self._fingerprints = {key: _fingerprint(chunk) for key, chunk in chunks.items()}
        gone = {key: PointCloud.empty() for key in known if key not in chunks}
        new = {key: c for key, c in chunks.items() if known.get(key) != self._fingerprints[key]}
        return {**gone, **new}

    def doubt(self, key: ChunkKey) -> None:
        """Take a chunk of the newest cloud for changed, or gone, when the next one comes."""
        self._fingerprints[key] = None

    def _sorted(self, chunk: PointCloud) -> PointCloud:
        """Sort by voxel, of which each holds one point."""
        cells = np.floor(chunk.positions / self.voxel_size + 0.5)
        return chunk[np.lexsort(cells.T)]


def _fingerprint(chunk: PointCloud) -> int:
    return hash((chunk.positions.tobytes(), chunk.colors.tobytes()))
