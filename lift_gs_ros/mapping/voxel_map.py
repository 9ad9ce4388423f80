"""Fusion of RGB-D frames and point clouds into a voxel map of bounded memory.

Every voxel keeps the running mean of the surface points and colours seen in it: what LIFT-GS takes
in, a coloured point cloud of one point per 5 cm voxel. Space that is seen to be empty is carved
after a few observations, clamped as in OctoMap (Hornung et al. 2013, eq. 4), so that an object
that was moved leaves the map. Voxels live in cubic chunks: a keyframe touches those that the
camera sees, however large the map has grown.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import FloatArray, PointCloud, invert_transform
from lift_gs_ros.mapping import kernels
from lift_gs_ros.mapping.chunk_store import ChunkStore
from lift_gs_ros.mapping.chunks import ChunkKey, chunk_corner
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.mapping.map_file import MapFile

CARVE_MARGIN = 2.0  # voxels between a voxel and the surface that shows it to be empty
WEIGHT_HALF_LIFE = 30  # keyframes; what was there before must not outweigh what is new for long
SMALLEST_SCRATCH = 1 << 13  # voxels of one frame; doubled as needed


class VoxelMap:
    """A coloured voxel map in one fixed frame (world), fused from RGB-D frames or point clouds.

    Args:
        voxel_size: edge of a voxel, metres.
        chunk_size: edge of a chunk, metres; an odd multiple of ``voxel_size``, at most 1023. So
            voxel and chunk alike are centred on the origin, and a floor at z = 0 is one layer.
        max_voxels: hard bound of the map's size. The chunks seen least recently leave whole.
        min_depth: depths below are not fused, metres.
        max_depth: depths above are not fused, metres (depth noise grows with its square).
        max_weight: what a voxel was counts at most as much as so many looks like the newest, so
            that after 2.3 times as many keyframes 90 % of a change of colour has arrived.
        carve_after: keyframes that must see through a voxel, often seen before, until it
            vanishes; a voxel seen less often goes sooner. 0 never carves.
        min_support: a voxel belongs to the cloud if it has this share of the pixels of each of its
            face neighbours. Depth noise puts some of a wall's pixels into the voxels before and
            behind it, where nothing can carve them. 0 keeps all.

    Not thread-safe: one thread owns a map.

    """

    def __init__(
        self,
        voxel_size: float = 0.05,
        chunk_size: float = 6.45,
        max_voxels: int = 2_000_000,
        min_depth: float = 0.1,
        max_depth: float = 5.0,
        max_weight: float = 10.0,
        carve_after: int = 4,
        min_support: float = 0.2,
    ) -> None:
        if not (np.isfinite(voxel_size) and voxel_size > 0):
            raise ValueError(f'voxel_size is {voxel_size}, expected a positive number of metres')
        cells = round(chunk_size / voxel_size) if np.isfinite(chunk_size) else 0
        is_whole = abs(chunk_size / voxel_size - cells) <= 1e-6 * cells
        if not (1 <= cells <= 1023 and is_whole and cells % 2 == 1):
            raise ValueError(
                f'chunk_size is {chunk_size} m, expected an odd number of voxels of '
                f'{voxel_size} m, at most 1023: {_odd_size(chunk_size, voxel_size):.6g} m, say'
            )
        if not 0 <= min_depth < max_depth < np.inf:
            raise ValueError(
                f'min_depth is {min_depth} and max_depth {max_depth}, '
                'expected 0 <= min_depth < max_depth'
            )
        for name, value in (('max_voxels', max_voxels), ('max_weight', max_weight)):
            if not value >= 1:
                raise ValueError(f'{name} is {value}, expected at least 1')
        if carve_after < 0:
            raise ValueError(f'carve_after is {carve_after}, expected 0 (never) or more')
        if not 0 <= min_support <= 1:
            raise ValueError(f'min_support is {min_support}, expected a share in [0, 1]')
        self.voxel_size = float(voxel_size)
        self.chunk_size = float(chunk_size)
        self.max_voxels = int(max_voxels)
        self.min_depth = float(min_depth)
        self.max_depth = float(max_depth)
        self.max_weight = float(max_weight)
        self.carve_after = int(carve_after)
        self.min_support = float(min_support)
        self.version = 0  # increases with every change
        self.last_stamp: int | None  # nanoseconds, of the newest observation fused
        self._cells = cells
        self._resize_scratch(SMALLEST_SCRATCH)
        self._clear()

    @property
    def num_voxels(self) -> int:
        """Voxels in the map, at most ``max_voxels``."""
        return sum(chunk.size for chunk in self._chunks.values())

    def integrate(self, frame: RgbdFrame) -> set[ChunkKey]:
        """Fuse a frame; return the chunks that changed or are gone.

        Raises ValueError where the camera is too far from the origin to address voxels.
        """
        camera, pose = frame.camera, frame.world_from_camera
        rays = pose[:3, :3] @ np.linalg.inv(camera.intrinsics) / self.voxel_size
        origin = pose[:3, 3] / self.voxel_size + self._cells / 2
        u, v = (0, camera.width), (0, camera.height)
        corners = np.array([[*corner, 1] for corner in product(u, v)]) @ rays.T
        self._check_range(origin + np.concatenate([-corners, corners]) * self.max_depth)
        changed = self._carve(frame) if self.carve_after else set()
        arguments = (frame.depth, frame.color, rays, origin, self.min_depth, self.max_depth)
        changed |= self._merge(self._accumulate(kernels.accumulate_frame, *arguments))
        return self._finish(changed, pose[:3, 3], frame.stamp)

    def insert(self, cloud: PointCloud, stamp: int | None = None) -> set[ChunkKey]:
        """Fuse points in the world frame, one observation each; return the chunks that changed.

        Points that hold NaN or inf are left out. There is no camera, hence no carving.
        """
        valid = np.isfinite(cloud.positions).all(axis=1) & np.isfinite(cloud.colors).all(axis=1)
        points = cloud.positions[valid].astype(np.float64) / self.voxel_size + self._cells / 2
        if not len(points):
            return set()
        self._check_range(points)
        colors = np.clip(cloud.colors[valid], 0, 1)
        changed = self._merge(self._accumulate(kernels.accumulate_points, points, colors))
        center = cloud.positions[valid].mean(axis=0, dtype=np.float64)
        return self._finish(changed, center, stamp)

    def chunk_keys(self) -> list[ChunkKey]:
        """Keys of the chunks that hold voxels, sorted; a key times ``chunk_size`` is a centre."""
        return sorted(self._chunks)

    def chunk(self, key: ChunkKey) -> PointCloud:
        """Return a copy of a chunk's points, empty where there is no such chunk (any more).

        One point per voxel with ``min_support``.
        """
        store = self._chunks.get(key)
        return store.to_point_cloud(self.min_support) if store else PointCloud.empty()

    def to_point_cloud(self) -> PointCloud:
        """Return a copy of the whole map, one point per voxel with ``min_support``."""
        return PointCloud.concatenate([self.chunk(key) for key in self.chunk_keys()])

    def reset(self) -> None:
        """Forget everything; only ``version`` goes on."""
        self._clear()
        self.version += 1

    def save(self, path: str | Path) -> None:
        """Write the map to a file, atomically: the path holds the old file or the new one."""
        self.snapshot().write(Path(path))

    def load(self, path: str | Path) -> set[ChunkKey]:
        """Replace the map by a saved one; raises as ``MapFile.read`` and ``restore`` do."""
        return self.restore(MapFile.read(Path(path)))

    def snapshot(self) -> MapFile:
        """Return a copy of the map, to be written whenever there is time."""
        keys = self.chunk_keys()
        stores = [self._chunks[key] for key in keys]
        return MapFile(
            voxel_size=self.voxel_size,
            chunk_size=self.chunk_size,
            keyframes=self.keyframes,
            last_stamp=self.last_stamp,
            keys=np.array(keys, np.int64).reshape(-1, 3),
            sizes=np.array([store.size for store in stores], np.int64),
            last_seen=np.array([store.last_seen for store in stores], np.int64),
            codes=np.concatenate([np.empty(0, np.int32), *(store.codes for store in stores)]),
            values=np.concatenate(
                [np.empty((0, kernels.VALUE_COLUMNS), np.float32), *(s.values for s in stores)]
            ),
        )

    def restore(self, saved: MapFile) -> set[ChunkKey]:
        """Replace the map by a saved one; return the chunks that changed, the replaced included.

        Raises ValueError where that has other voxels or chunks; the map is then what it was.
        """
        ours = self.voxel_size, self.chunk_size
        if not np.allclose([saved.voxel_size, saved.chunk_size], ours, rtol=1e-9):
            raise ValueError(
                f'the saved map has voxels of {saved.voxel_size} m in chunks of '
                f'{saved.chunk_size} m, expected {ours[0]} m and {ours[1]} m: '
                'set voxel_size and chunk_size to those of the file'
            )
        if saved.codes.size and not 0 <= saved.codes.min() <= saved.codes.max() < self._cells**3:
            raise ValueError('the saved map holds voxels outside their chunk: no map wrote it')
        changed = set(self._chunks)
        self._clear()
        ends = np.cumsum(saved.sizes)
        for key, size, end, seen in zip(saved.keys, saved.sizes, ends, saved.last_seen):
            store = self._add_chunk((int(key[0]), int(key[1]), int(key[2])))
            store.fill(saved.codes[end - size : end], saved.values[end - size : end])
            store.last_seen = int(seen)
        self.keyframes, self.last_stamp = saved.keyframes, saved.last_stamp
        self.version += 1
        changed |= set(self._chunks)
        self._evict(np.zeros(3))
        return changed

    def _clear(self) -> None:
        self._chunks: dict[ChunkKey, ChunkStore] = {}
        self.keyframes = 0  # frames and clouds fused
        self.evicted_chunks = 0  # chunks that left because of max_voxels
        self.last_stamp = None

    def _add_chunk(self, key: ChunkKey) -> ChunkStore:
        corner = chunk_corner(key, self.chunk_size)
        store = self._chunks[key] = ChunkStore(corner, self._cells, self.voxel_size)
        return store

    def _check_range(self, voxels: FloatArray) -> None:
        reach = np.abs(voxels).max()
        if not reach < kernels.AXIS_LIMIT - 1:
            raise ValueError(
                f'points reach {reach * self.voxel_size:.3g} m from the origin, expected at most '
                f'{kernels.AXIS_LIMIT * self.voxel_size:.3g} m with voxels of {self.voxel_size} m: '
                'choose a map frame nearer to the robot'
            )

    def _resize_scratch(self, capacity: int) -> None:
        self._keys = np.empty(capacity, np.int64)
        self._sums = np.empty((capacity, kernels.SUM_COLUMNS), np.float64)
        self._table = np.empty(2 * capacity, np.int32)

    def _accumulate(self, kernel, *arguments) -> int:
        while True:
            self._table.fill(-1)
            count = kernel(*arguments, self._table, self._keys, self._sums)
            if count >= 0:
                return count
            self._resize_scratch(2 * len(self._keys))

    def _merge(self, count: int) -> set[ChunkKey]:
        """Merge the voxels in the scratch table into their chunks; return these."""
        chunks, starts, order, codes = kernels.group_by_chunk(self._keys, count, self._cells)
        keys: list[ChunkKey] = [(x, y, z) for x, y, z in chunks.tolist()]
        gain = self.keyframes / WEIGHT_HALF_LIFE
        for key, start, end in zip(keys, starts, starts[1:]):
            store = self._chunks.get(key) or self._add_chunk(key)
            evidence = max(self.carve_after, 1)
            store.merge(codes, self._sums, order[start:end], self.max_weight, evidence, gain)
            store.last_seen = self.keyframes + 1
        return set(keys)

    def _carve(self, frame: RgbdFrame) -> set[ChunkKey]:
        """Weaken what the frame sees through; return the chunks that lost voxels."""
        tiles = np.empty([side // kernels.TILE for side in frame.depth.shape], np.float32)
        largest = kernels.nearest_depth(frame.depth, tiles)
        margin = CARVE_MARGIN * self.voxel_size
        reach = (max(self.min_depth, self.voxel_size), min(self.max_depth, largest - margin))
        changed = set()
        camera_from_world = invert_transform(frame.world_from_camera)
        for key in self._visible_chunks(frame, reach[1]):
            arguments = (camera_from_world, frame.camera.intrinsics, reach, margin, tiles)
            if self._chunks[key].carve(*arguments):
                changed.add(key)
                if not self._chunks[key].size:
                    del self._chunks[key]
        return changed

    def _visible_chunks(self, frame: RgbdFrame, far: float) -> list[ChunkKey]:
        """Chunks that meet the box around what the camera sees up to depth ``far``."""
        camera, pose = frame.camera, frame.world_from_camera
        pixels = np.array(list(product((0, camera.width), (0, camera.height), (1,))))
        corners = pixels @ np.linalg.inv(camera.intrinsics).T * max(far, 0.0)
        corners = np.concatenate([np.zeros((1, 3)), corners]) @ pose[:3, :3].T + pose[:3, 3]
        lower = np.floor(corners.min(axis=0) / self.chunk_size + 0.5).astype(int)
        upper = np.floor(corners.max(axis=0) / self.chunk_size + 0.5).astype(int)
        if np.prod(upper - lower + 1) > len(self._chunks):
            keys = np.array(list(self._chunks), int).reshape(-1, 3)
            inside = ((keys >= lower) & (keys <= upper)).all(axis=1)
            return [key for key, is_inside in zip(list(self._chunks), inside) if is_inside]
        box = product(*(range(low, high + 1) for low, high in zip(lower, upper)))
        return [key for key in box if key in self._chunks]

    def _finish(self, changed: set[ChunkKey], center: NDArray, stamp: int | None) -> set[ChunkKey]:
        """Count an observation that changed something, and keep the map within its bound."""
        if not changed:
            return changed
        self.keyframes += 1
        self.version += 1
        self.last_stamp = self.last_stamp if stamp is None else stamp
        return changed | self._evict(center)

    def _evict(self, center: NDArray) -> set[ChunkKey]:
        """Drop the chunks seen least recently, of these the farthest, until the map fits."""
        excess = self.num_voxels - self.max_voxels
        if excess <= 0:
            return set()
        half = self.chunk_size / 2

        def order(key: ChunkKey) -> tuple[int, float]:
            store = self._chunks[key]
            return store.last_seen, -float(np.linalg.norm(store.corner + half - center))

        evicted = set()
        for key in sorted(self._chunks, key=order):
            if excess <= 0:
                break
            excess -= self._chunks.pop(key).size
            evicted.add(key)
        self.evicted_chunks += len(evicted)
        return evicted


def _odd_size(chunk_size: float, voxel_size: float) -> float:
    """Return the size nearest to ``chunk_size`` that is an odd number of voxels, at most 1023."""
    cells = np.clip(np.nan_to_num(chunk_size / voxel_size, nan=129), 1, 1023)
    return (2 * int(cells / 2 + 1e-6) + 1) * voxel_size  # of two as near the larger one
