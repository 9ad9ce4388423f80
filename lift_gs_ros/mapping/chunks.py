"""Cubic chunks of a point cloud: the unit in which the map is stored, sent and encoded.

Chunk ``(i, j, k)`` is the cube of edge ``chunk_size`` around ``(i, j, k) * chunk_size``, its lower
faces included: chunk (0, 0, 0) lies around the map's origin, where a robot often starts, and a room
is seldom cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import FloatArray, PointCloud

ChunkKey = tuple[int, int, int]


def chunk_corner(key: ChunkKey, chunk_size: float) -> FloatArray:
    """Return the lowest corner (3,) of a chunk, metres."""
    return (np.array(key, np.float64) - 0.5) * chunk_size


def split_into_chunks(cloud: PointCloud, chunk_size: float) -> dict[ChunkKey, PointCloud]:
    """Sort the points of a cloud into chunks; points keep their order within a chunk."""
    _check_chunk_size(chunk_size)
    if not len(cloud):
        return {}
    if not np.isfinite(cloud.positions).all():
        raise ValueError('the cloud holds NaN or inf: leave out such points before')
    cells = np.floor(cloud.positions.astype(np.float64) / chunk_size + 0.5).astype(np.int64)
    lower = cells.min(axis=0)
    flat = np.ravel_multi_index(tuple((cells - lower).T), tuple(cells.max(axis=0) - lower + 1))
    order = np.argsort(flat, kind='stable')
    starts = np.flatnonzero(np.diff(flat[order], prepend=-1))
    keys = cells[order[starts]].tolist()
    return {(x, y, z): cloud[rows] for (x, y, z), rows in zip(keys, np.split(order, starts[1:]))}


def neighbours(key: ChunkKey) -> list[ChunkKey]:
    """Return the 26 chunks that share a face, an edge or a corner with this one."""
    x, y, z = key
    steps = (step for step in product((-1, 0, 1), repeat=3) if any(step))
    return [(x + dx, y + dy, z + dz) for dx, dy, dz in steps]


def halo_points(cloud: PointCloud, key: ChunkKey, chunk_size: float, overlap: float) -> PointCloud:
    """Return the points of another chunk that lie within ``overlap`` metres of this one's cell."""
    lower = chunk_corner(key, chunk_size) - overlap
    upper = lower + chunk_size + 2 * overlap
    near = (cloud.positions >= lower) & (cloud.positions < upper)
    return cloud[np.flatnonzero(near.all(axis=1))]


def with_halo(
    chunks: Mapping[ChunkKey, PointCloud], key: ChunkKey, chunk_size: float, overlap: float = 0.6
) -> tuple[PointCloud, NDArray[np.bool_]]:
    """Return a chunk's points with those around it, so that objects on its border are whole.

    Args:
        chunks: the map's chunks; absent ones are empty.
        key: the chunk in question.
        chunk_size: edge of a chunk, metres.
        overlap: how far around the chunk's cell its neighbours' points are taken, metres.

    Returns:
        The points, those of the chunk itself first, and a mask (N,) of these.

    """
    _check_chunk_size(chunk_size)
    if not 0 <= overlap <= chunk_size:
        raise ValueError(
            f'overlap is {overlap} m, expected 0 to {chunk_size} m, the size of a chunk'
        )
    core = chunks.get(key, PointCloud.empty())
    others = (chunks.get(neighbour, PointCloud.empty()) for neighbour in neighbours(key))
    halo = [halo_points(other, key, chunk_size, overlap) for other in others]
    cloud = PointCloud.concatenate([core, *halo])
    return cloud, np.arange(len(cloud)) < len(core)


def _check_chunk_size(chunk_size: float) -> None:
    if not (np.isfinite(chunk_size) and chunk_size > 0):
        raise ValueError(f'chunk_size is {chunk_size}, expected a positive number of metres')
