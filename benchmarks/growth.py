"""What a keyframe costs, and what the map holds, while it grows: python -m benchmarks.growth.

One simulated room is mapped again and again, each time beside the last, so that all keyframes are
alike and only the map around them grows: "rooms side by side". A keyframe is what mapping_node does
with it: fuse, and write the chunks that changed as messages. The clock is CPU time.

First a map of 100 rooms without a bound; then 10 000 keyframes with a bound of ten rooms, where the
room seen longest ago has to leave for the next one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import numpy as np

from benchmarks import report
from lift_gs_ros.grounding.instances import MapSummary
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.nodes.conversions import ChunkUpdate, chunk_to_message
from lift_gs_ros.nodes.reporting import memory_rows
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import DEFAULT_CAMERA, RoomSequence

ROW = 10  # rooms beside each other
CHUNKS_A_ROOM = 2  # in x and in y: a room and some space


def rooms(frames: list[RgbdFrame], chunk_size: float) -> Iterator[list[RgbdFrame]]:
    """Yield the same room again and again, each time somewhere else."""
    number = 0
    while True:
        place = np.array([number % ROW, number // ROW, 0]) * CHUNKS_A_ROOM * chunk_size
        yield [moved(frame, place) for frame in frames]
        number += 1


def moved(frame: RgbdFrame, offset: np.ndarray) -> RgbdFrame:
    """Return a frame whose camera stands elsewhere."""
    pose = frame.world_from_camera.copy()
    pose[:3, 3] += offset
    return RgbdFrame(frame.stamp, frame.color, frame.depth, frame.camera, pose)


def work(voxel_map: VoxelMap, frame: RgbdFrame) -> float:
    """Do what a keyframe asks for; returns milliseconds of CPU time."""
    begin = time.process_time()
    for key in voxel_map.integrate(frame):
        cloud = voxel_map.chunk(key)
        sizes = voxel_map.chunk_size, voxel_map.voxel_size
        chunk_to_message(ChunkUpdate(key, cloud, *sizes, MapSummary(), frame.stamp, 'map'))
    return 1e3 * (time.process_time() - begin)


def measure_work(frames: list[RgbdFrame], count: int) -> None:
    """Report what a keyframe costs in the first room and in the last one."""
    scratch = VoxelMap()
    for frame in frames:
        work(scratch, frame)  # compiles
    voxel_map = VoxelMap(max_voxels=10**9)
    some_rooms = zip(rooms(frames, voxel_map.chunk_size), range(count))
    times = [[work(voxel_map, frame) for frame in room] for room, _ in some_rooms]
    size = f'{voxel_map.num_voxels} voxels in {len(voxel_map.chunk_keys())} chunks'
    for name, some, note in (('first', times[0], ''), (f'{count}th', times[-1], size)):
        spread = tuple(float(p) for p in np.percentile(some, [10, 90]))
        report(f'keyframe in the {name} room', statistics.median(some), 'CPU ms', spread, note)
    ratio = statistics.median(last / first for first, last in zip(times[0], times[-1]))
    report('the same keyframe, last room against first', ratio, 'x', None, 'goal: 1.2 at most')


def measure_memory(frames: list[RgbdFrame], keyframes: int) -> None:
    """Report the most voxels, and how memory grows, over many keyframes of a bounded map."""
    one = VoxelMap()
    for frame in frames:
        one.integrate(frame)
    voxel_map = VoxelMap(max_voxels=10 * one.num_voxels)
    most, memory = 0, []
    walk = (frame for room in rooms(frames, voxel_map.chunk_size) for frame in room)
    for i, frame in zip(range(keyframes), walk):
        work(voxel_map, frame)
        most = max(most, voxel_map.num_voxels)
        if (i + 1) % max(1, keyframes // 40) == 0:
            memory.append(int(memory_rows().get('memory MB', 0)))  # type: ignore[call-overload]
    note = f'max_voxels: {voxel_map.max_voxels}; {voxel_map.evicted_chunks} chunks left'
    report('voxels, at most', most, '', None, note)
    quarter = max(1, len(memory) // 4)
    begin = statistics.median(memory[quarter : 2 * quarter])
    end = statistics.median(memory[-quarter:])
    note = f'{begin:.0f} to {end:.0f} MB, second quarter to last, {keyframes} keyframes'
    report('memory, growth', end - begin, 'MB', None, note)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description='Time keyframes while a map grows.')
    parser.add_argument('--frames', type=int, default=30, help='of each room')
    parser.add_argument('--rooms', type=int, default=100)
    parser.add_argument('--keyframes', type=int, default=10_000)
    arguments = parser.parse_args()
    sequence = RoomSequence(make_room(0), arguments.frames, DEFAULT_CAMERA.resized(320, 240))
    frames = list(sequence)
    measure_work(frames, arguments.rooms)
    measure_memory(frames, arguments.keyframes)


if __name__ == '__main__':
    main()
