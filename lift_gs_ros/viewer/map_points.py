"""The map as point clouds in the browser: a node a chunk, sent again only when it changes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import viser
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box, PointCloud
from lift_gs_ros.mapping.chunks import ChunkKey

STOREY = 4.0  # metres; a map lower than this is a room, whose upper part stands in the way
CUT_OF_A_STOREY = 2.0  # metres above its floor


def voxel_cells(points: NDArray[np.float32], voxel_size: float) -> NDArray[np.int32]:
    """Return the voxels (n, 3) of points (n, 3), centred on multiples of their size."""
    return np.round(points / np.float32(voxel_size)).astype(np.int32)


def _names(cells: NDArray[np.int32]) -> NDArray[np.int64]:
    """One number (n,) for each cell (n, 3); those of cells within 50 km are different."""
    x, y, z = cells.astype(np.int64).T
    return (x << 42) + (y << 21) + z


def _are_same(a: PointCloud, b: PointCloud) -> bool:
    return np.array_equal(a.positions, b.positions) and np.array_equal(a.colors, b.colors)


@dataclass
class _Chunk:
    cloud: PointCloud
    center: NDArray[np.float64]  # (3,) metres; points are sent relative to it
    order: NDArray[np.intp]  # (N,) random, the same every time: the first n are a fair sample
    lower: NDArray[np.float32]  # (3,) metres, without the 1% that is farthest out
    upper: NDArray[np.float32]
    top: float  # metres, the highest point
    names: NDArray[np.int64]  # (N,) of the voxels
    hides: bool = False  # some of them now
    handle: viser.PointCloudHandle | None = None


class MapPoints:
    """Shows chunks of a map. Not thread-safe.

    At most ``max_points`` points are sent: in a larger map every chunk shows a half, a quarter, ...
    of its points, chosen at random, and draws them larger. What lies above ``cut`` (metres) is left
    out.
    """

    def __init__(self, scene: viser.SceneApi, max_points: int) -> None:
        if max_points < 1:
            raise ValueError(f'max_points is {max_points}, expected a positive number')
        self._scene, self._max_points = scene, max_points
        self._chunks: dict[ChunkKey, _Chunk] = {}
        self.num_points = 0  # of the map
        self._share = 1  # one of so many points is sent
        self._cut = math.inf
        self._scale = 1.0
        self._hidden = np.zeros(0, np.int64)  # voxels
        self.voxel_size = 0.05

    def __len__(self) -> int:
        return len(self._chunks)

    def facts(self) -> list[str]:
        """Describe the size of the map."""
        thinned = f' (1 of {self._share} shown)' if self._share > 1 else ''
        chunks = f'{len(self)} chunk' + ('s' if len(self) != 1 else '')
        return [f'{self.num_points:,} points{thinned}', chunks]

    def update(
        self, key: ChunkKey, cloud: PointCloud, chunk_size: float, voxel_size: float
    ) -> None:
        """Replace a chunk (map frame, metres); an empty cloud removes it."""
        old = self._chunks.get(key)
        if old is not None and _are_same(old.cloud, cloud):  # a new subscriber makes it come again
            return
        self._chunks.pop(key, None)
        self.num_points += len(cloud) - (len(old.cloud) if old else 0)
        self.voxel_size = voxel_size
        if len(cloud):
            lower, upper = np.quantile(cloud.positions, (0.01, 0.99), axis=0)
            chunk = _Chunk(
                cloud,
                center=np.array(key, np.float64) * chunk_size,
                order=np.random.default_rng(0).permutation(len(cloud)),
                lower=lower,
                upper=upper,
                top=float(cloud.positions[:, 2].max()),
                names=_names(voxel_cells(cloud.positions, voxel_size)),
                handle=old.handle if old else None,
            )
            self._chunks[key] = chunk
            self._send(key, chunk)
        elif old and old.handle:
            old.handle.remove()
        share = 1
        while self.num_points > share * self._max_points:
            share *= 2
        if share != self._share:
            self._share = share
            self._send_all()

    def clear(self) -> None:
        """Remove everything."""
        for chunk in self._chunks.values():
            if chunk.handle is not None:
                chunk.handle.remove()
        self._chunks.clear()
        self.num_points, self._share = 0, 1
        self._hidden = np.zeros(0, np.int64)

    @property
    def top(self) -> float:
        """Height of the highest point, metres."""
        return max(chunk.top for chunk in self._chunks.values())

    def bounds(self) -> Box | None:
        """Box around the map without its outliers; None where there is no map."""
        if not self._chunks:
            return None
        # Not those of a few stray points.
        enough = 0.05 * self.num_points / len(self._chunks)
        chunks = [chunk for chunk in self._chunks.values() if len(chunk.cloud) >= enough]
        lower = np.min([chunk.lower for chunk in chunks], axis=0)
        return Box.from_corners(lower, np.max([chunk.upper for chunk in chunks], axis=0))

    def shown(self) -> NDArray[np.float32]:
        """All points (N, 3) below the cut."""
        clouds = [chunk.cloud.positions for chunk in self._chunks.values()]
        positions = np.concatenate([np.zeros((0, 3), np.float32), *clouds])
        return positions[positions[:, 2] <= self._cut]

    def default_cut(self) -> float:
        """Height (metres) to cut at so that one looks into a room; above all in a higher map."""
        bounds = self.bounds()
        if bounds is None or bounds.size[2] >= STOREY:
            return math.inf
        return float(bounds.lower[2]) + CUT_OF_A_STOREY

    def cut(self, height: float) -> None:
        """Leave out what lies above ``height`` (metres)."""
        old, self._cut = self._cut, height
        if old == height:
            return
        for key, chunk in self._chunks.items():
            if chunk.top > min(old, height):
                self._send(key, chunk)

    def hide(self, points: NDArray[np.float32]) -> None:
        """Leave out the voxels of these points (n, 3), where something else is drawn."""
        self._hidden = _names(voxel_cells(points, self.voxel_size))
        for key, chunk in self._chunks.items():
            if chunk.hides or np.isin(chunk.names, self._hidden).any():
                self._send(key, chunk)

    def resize(self, scale: float) -> None:
        """Draw points ``scale`` times as large as a voxel."""
        self._scale = scale
        for chunk in self._chunks.values():
            if chunk.handle is not None:
                chunk.handle.point_size = self._point_size

    @property
    def _point_size(self) -> float:
        # A surface with one of n points has gaps sqrt(n) as wide.
        return self._scale * self.voxel_size * math.sqrt(self._share)

    def _send_all(self) -> None:
        for key, chunk in self._chunks.items():
            self._send(key, chunk)

    def _send(self, key: ChunkKey, chunk: _Chunk) -> None:
        chosen = chunk.order[: math.ceil(len(chunk.cloud) / self._share)]
        if chunk.top > self._cut:
            chosen = chosen[chunk.cloud.positions[chosen, 2] <= self._cut]
        hidden = np.isin(chunk.names[chosen], self._hidden)
        chunk.hides = bool(hidden.any())
        chosen = chosen[~hidden]
        cloud = chunk.cloud[chosen]
        # A name that is there already is replaced, in the browsers as in what a new one is sent.
        chunk.handle = self._scene.add_point_cloud(
            '/map/' + '_'.join(map(str, key)),
            cloud.positions - chunk.center,  # small numbers: float16 is exact to 2 mm at 4 m
            (255 * cloud.colors).astype(np.uint8),
            point_size=self._point_size,
            point_shape='square',
            point_shading='flat',
            position=chunk.center,
        )
