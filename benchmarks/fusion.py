"""Fusion of RGB-D frames into a 5 cm map on one core, beside Open3D: python -m benchmarks.fusion.

The same frames, decoded and in memory before any clock runs, go through

* ``VoxelMap.integrate``: the mean point cloud that LIFT-GS takes in, with carving;
* Open3D's tensor point clouds: ``PointCloud.create_from_rgbd_image`` (with the pose),
  ``voxel_down_sample(0.05)``, append to the map, ``voxel_down_sample(0.05)`` of the map;
* Open3D's ``VoxelBlockGrid``: ``compute_unique_block_coordinates`` and ``integrate`` at 5 cm, in
  blocks of 8 and of 16 voxels an edge, its defaults otherwise. It makes a TSDF: extracting points
  from it is not counted.

The clock is the CPU time of the process, all its threads, so that what else the machine does
counts little; the routes take turns, so that it counts for all alike. Each repetition fuses all
the frames into a fresh map. Then: what a keyframe costs in a map of 1 and of 100 chunks, and how
well surfaces of neighbouring frames agree.

The frames are those of 7-Scenes where ``../shared/data`` has them, else of a simulated room;
``--sequence`` takes any folder that ``open_sequence`` reads.
"""

# One core, decided before numerical libraries start their threads.
# ruff: noqa: E402
from __future__ import annotations

import os

os.environ['OMP_NUM_THREADS'] = '1'
if hasattr(os, 'sched_setaffinity'):  # Linux
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import argparse
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import open3d as o3d
from scipy.spatial import KDTree

from benchmarks import report
from lift_gs_ros.geometry import PointCloud, invert_transform, transform_points
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.sequences import open_sequence

VOXEL, MAX_DEPTH = 0.05, 5.0
KITCHEN = Path(__file__).parents[2] / 'shared' / 'data' / '7scenes_redkitchen'
Tensor = o3d.core.Tensor


class Open3dFrames:
    """The frames as Open3D takes them, converted before any clock runs (uint16, uint8)."""

    def __init__(self, frames: list[RgbdFrame]) -> None:
        image = o3d.t.geometry.Image
        self.depths = [image(Tensor((f.depth * 1000).round().astype(np.uint16))) for f in frames]
        self.colors = [image(Tensor(np.ascontiguousarray(f.color))) for f in frames]
        self.extrinsics = [Tensor(invert_transform(f.world_from_camera)) for f in frames]
        self.intrinsics = Tensor(frames[0].camera.intrinsics)

    def fuse_point_clouds(self) -> int:
        """Accumulate downsampled clouds; return the number of points."""
        fused = None
        for depth, color, extrinsic in zip(self.depths, self.colors, self.extrinsics):
            cloud = o3d.t.geometry.PointCloud.create_from_rgbd_image(
                o3d.t.geometry.RGBDImage(color, depth),
                self.intrinsics,
                extrinsic,
                depth_scale=1000.0,
                depth_max=MAX_DEPTH,
            ).voxel_down_sample(VOXEL)
            fused = cloud if fused is None else fused.append(cloud).voxel_down_sample(VOXEL)
        return len(fused.point.positions)

    def fuse_voxel_blocks(self, resolution: int) -> int:
        """Integrate into a TSDF; return the number of voxels in its blocks."""
        float32 = o3d.core.float32
        grid = o3d.t.geometry.VoxelBlockGrid(
            ('tsdf', 'weight', 'color'),
            (float32, float32, float32),
            (1, 1, 3),
            VOXEL,
            resolution,
            10_000,
        )
        for depth, color, extrinsic in zip(self.depths, self.colors, self.extrinsics):
            blocks = grid.compute_unique_block_coordinates(
                depth, self.intrinsics, extrinsic, 1000.0, MAX_DEPTH
            )
            grid.integrate(blocks, depth, color, self.intrinsics, extrinsic, 1000.0, MAX_DEPTH)
        return int(grid.hashmap().size()) * resolution**3


def fuse(frames: list[RgbdFrame]) -> int:
    """Fuse into a VoxelMap; return the number of voxels."""
    voxel_map = VoxelMap(VOXEL, max_depth=MAX_DEPTH)
    for frame in frames:
        voxel_map.integrate(frame)
    return voxel_map.num_voxels


def compare_routes(frames: list[RgbdFrame], repeats: int) -> None:
    """Frames per second of every route, and how many times the fastest of Open3D's ours is."""
    open3d = Open3dFrames(frames)
    routes: dict[str, Callable[[], int]] = {
        'VoxelMap': lambda: fuse(frames),
        'Open3D point clouds': open3d.fuse_point_clouds,
        'Open3D VoxelBlockGrid, blocks of 8': lambda: open3d.fuse_voxel_blocks(8),
        'Open3D VoxelBlockGrid, blocks of 16': lambda: open3d.fuse_voxel_blocks(16),
    }
    sizes = {name: route() for name, route in routes.items()}  # compiles and warms up
    rates: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(repeats):
        for name, route in routes.items():
            start = time.process_time()
            route()
            rates[name].append(len(frames) / (time.process_time() - start))
    medians = {name: float(np.median(rates[name])) for name in routes}
    for name in routes:
        output = 'points' if 'clouds' in name or name == 'VoxelMap' else 'TSDF voxels'
        spread = min(rates[name]), max(rates[name])
        report(f'fusion, {name}', medians[name], 'frames/CPU s', spread, f'{sizes[name]} {output}')
    ours = medians.pop('VoxelMap')
    fastest = max(medians, key=lambda name: medians[name])
    ratios = np.array(rates['VoxelMap']) / np.array(rates[fastest])
    spread = float(ratios.min()), float(ratios.max())
    report('fusion, VoxelMap against the fastest', ours / medians[fastest], 'x', spread, 'goal: 2')


def in_one_chunk(frame: RgbdFrame, chunk_size: float) -> RgbdFrame | None:
    """Shift a frame so that all it sees lies in chunk (0, 0, 0); None where it sees too far."""
    points = frame.to_point_cloud(MAX_DEPTH).positions
    lower, upper = points.min(axis=0), points.max(axis=0)
    if (upper - lower).max() > chunk_size - 2 * VOXEL:
        return None
    pose = frame.world_from_camera.copy()
    pose[:3, 3] -= (lower + upper) / 2
    return RgbdFrame(frame.stamp, frame.color, frame.depth, frame.camera, pose)


def compare_map_sizes(frames: list[RgbdFrame], repeats: int) -> None:
    """Milliseconds of a keyframe in a map of 1 and of 100 chunks as full as a real room's."""
    small = VoxelMap(VOXEL, max_depth=MAX_DEPTH)
    shifted = [in_one_chunk(frame, small.chunk_size) for frame in frames]
    seen = [frame for frame in shifted if frame is not None][:20]
    if not seen:
        print('no frame fits into one chunk: the cost against the size of the map is left out')
        return
    large = VoxelMap(VOXEL, max_voxels=100_000_000, max_depth=MAX_DEPTH)
    for frame in seen:
        small.integrate(frame)
        large.integrate(frame)
    room = small.to_point_cloud()
    for x in range(-5, 5):
        for y in range(-5, 5):
            if (x, y) != (0, 0):  # the cameras stand in the middle, all neighbours are full
                offset = np.array([x, y, 0]) * small.chunk_size
                large.insert(PointCloud(room.positions + offset, room.colors))
    times: dict[int, list[float]] = {}
    for _ in range(repeats):
        for frame in seen:
            for voxel_map in (small, large):
                start = time.process_time()
                voxel_map.integrate(frame)
                chunks = len(voxel_map.chunk_keys())
                times.setdefault(chunks, []).append(time.process_time() - start)
    for voxel_map in (small, large):
        chunks = len(voxel_map.chunk_keys())
        spread = tuple(1e3 * np.percentile(times[chunks], [10, 90]))
        note = f'{voxel_map.num_voxels} voxels; spread: 10th to 90th percentile'
        report(
            f'keyframe in a map of {chunks} chunks',
            1e3 * np.median(times[chunks]),
            'ms',
            spread,
            note,
        )
    first, last = (np.median(values) for values in times.values())
    report('keyframe, largest against smallest map', last / first, 'x', None, 'goal: 1.2 at most')


def compare_neighbours(frames: list[RgbdFrame]) -> None:
    """Median distance from the surface points of a frame to those of the frame before."""
    medians = []
    rng = np.random.default_rng(0)
    for first, second in zip(frames, frames[1:]):
        points = second.to_point_cloud(MAX_DEPTH).positions
        points = points[rng.integers(0, len(points), 4000)]
        tree = KDTree(first.to_point_cloud(MAX_DEPTH).positions)
        # Only what both see: the rest has no counterpart.
        camera = transform_points(invert_transform(first.world_from_camera), points)
        pixels, _ = first.camera.project(camera)
        size = np.array([first.camera.width, first.camera.height])
        common = ((pixels >= 0) & (pixels < size)).all(axis=1)
        if common.sum() > 400:
            medians.append(float(np.median(tree.query(points[common])[0])))
    spread = 100 * min(medians), 100 * max(medians)
    note = f'{len(medians)} pairs; goal on 7-Scenes: 1.2 at most'
    report('surfaces of neighbouring frames', 100 * float(np.median(medians)), 'cm', spread, note)


def load_frames(sequence: Path | None, count: int) -> list[RgbdFrame]:
    """Decode, or render, the frames."""
    if sequence is None:
        from lift_gs_ros.simulation.rooms import make_room
        from lift_gs_ros.simulation.sequence import RoomSequence

        frames = list(RoomSequence(make_room(0), num_frames=count))
        print(f'{len(frames)} frames of a simulated room')
    else:
        frames = list(islice(open_sequence(sequence), count))
        print(f'{len(frames)} frames of {sequence.name}')
    return frames


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description='Time the fusion of RGB-D frames.')
    parser.add_argument('--sequence', type=Path, default=KITCHEN if KITCHEN.exists() else None)
    parser.add_argument('--frames', type=int, default=100)
    parser.add_argument('--repeats', type=int, default=7)
    arguments = parser.parse_args()
    frames = load_frames(arguments.sequence, arguments.frames)
    compare_routes(frames, arguments.repeats)
    compare_map_sizes(frames, arguments.repeats)
    compare_neighbours(frames)


if __name__ == '__main__':
    main()
