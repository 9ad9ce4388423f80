"""Time many queries on a large map, on one thread: python -m benchmarks.serving.

The map is made of simulated rooms side by side, one to a chunk, encoded by the shipped network.
"queries at once" is one call with sentences that were not asked before; the language encoder is
warm. "a keyframe" is what a standing query is there for: one chunk has changed, is encoded again,
and every query whose part of the map that is, is answered again. The clock is the CPU time of the
process, so that what else the machine does counts little.

``--chunks 4 --queries 3 --rooms 1 --frames 3 --repeats 1`` is the short form that the tests run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks import report
from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.simulation.expressions import make_expressions
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import DEFAULT_CAMERA, RoomSequence

ROW = 10  # rooms beside each other


def furnish(rooms: int, frames: int) -> tuple[list[PointCloud], list[str], float]:
    """Map rooms: the middle chunk of each, what can be asked about them, and the chunk's size."""
    clouds, queries = [], []
    for seed in range(rooms):
        room, voxel_map = make_room(seed), VoxelMap()
        for frame in RoomSequence(room, frames, DEFAULT_CAMERA.resized(160, 120)):
            voxel_map.integrate(frame)
        clouds.append(voxel_map.chunk((0, 0, 0)))
        queries.append([expression.text for expression in make_expressions(room, seed)])
    mixed = [query for same_place in zip(*queries) for query in same_place]
    return clouds, list(dict.fromkeys(mixed)), voxel_map.chunk_size


def fill(grounder: Grounder, clouds: list[PointCloud], chunks: int) -> None:
    """Put one room into each chunk, and encode them all."""
    for i in range(chunks):
        key, cloud = (i % ROW, i // ROW, 0), clouds[i % len(clouds)]
        shift = np.float32(np.array(key) * grounder.settings.chunk_size)
        grounder.update(key, PointCloud(cloud.positions + shift, cloud.colors))
    grounder.encode()


def change(grounder: Grounder, number: int, cloud: PointCloud) -> None:
    """Repaint the middle of a chunk: no neighbour's context changes."""
    key = (number % ROW, number // ROW, 0)
    colors = cloud.colors.copy()
    inner = (np.abs(cloud.positions[:, :2]) < 1.0).all(axis=1)
    colors[inner] = np.clip(colors[inner] + 0.01 * (1 + number), 0, 1)
    shift = np.float32(np.array(key) * grounder.settings.chunk_size)
    grounder.update(key, PointCloud(cloud.positions + shift, colors))


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU time of a call."""
    begin = time.process_time()
    work()
    return 1e3 * (time.process_time() - begin)


def measure_new(grounder: Grounder, queries: list[str], repeats: int, size: str) -> None:
    """Time queries one by one and all at once."""
    grounder.ground_many(queries)  # warms the language encoder
    alone = [cpu_ms(lambda query=query: grounder.ground(query)) for query in queries]
    together = [cpu_ms(lambda: grounder.ground_many(queries)) for _ in range(repeats)]
    one, many = statistics.median(alone), statistics.median(together)
    report('one query', one, 'ms', (min(alone), max(alone)), size)
    report(f'{len(queries)} queries at once', many, 'ms', (min(together), max(together)))
    report(f'{len(queries)} queries at once against one', many / one, 'x', None, 'goal: 3')


def measure_standing(
    grounder: Grounder, clouds: list[PointCloud], queries: list[str], chunks: int, repeats: int
) -> None:
    """Time what a changed chunk costs with one standing query and with all of them."""
    costs: dict[int, list[float]] = {1: [], len(queries): []}
    answered = []
    for count, times in costs.items():
        standing = grounder.ground_many(queries[:count])
        for i in range(repeats):
            number = (7 * i) % chunks
            # Another colour each time, or it would be the same chunk as before.
            change(grounder, number, _brighter(clouds[number % len(clouds)], i + 10 * count))
            begin = time.process_time()
            grounder.encode()
            again = grounder.ground_again(standing)
            times.append(1e3 * (time.process_time() - begin))
            answered.append(sum(new is not old for new, old in zip(again, standing)) / count)
            standing = again
    medians = {count: statistics.median(times) for count, times in costs.items()}
    for count, times in costs.items():
        name = f'a keyframe with {count} standing'
        report(name, medians[count], 'ms', (min(times), max(times)), 'one chunk encoded again')
    share = f'goal: 3; {100 * statistics.mean(answered):.0f}% had to be answered again'
    ratio = medians[len(queries)] / medians[1]
    report(f'a keyframe with {len(queries)} standing against 1', ratio, 'x', None, share)


def _brighter(cloud: PointCloud, step: int) -> PointCloud:
    return replace(cloud, colors=np.clip(cloud.colors + 0.001 * step, 0, 1))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description='Time many queries on a large map.')
    parser.add_argument('--chunks', type=int, default=50)
    parser.add_argument('--queries', type=int, default=20)
    parser.add_argument('--rooms', type=int, default=4)
    parser.add_argument('--frames', type=int, default=60)
    parser.add_argument('--repeats', type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clouds, queries, chunk_size = furnish(arguments.rooms, arguments.frames)
    grounder = Grounder.load('', 'cpu', GrounderSettings(chunk_size=chunk_size))
    fill(grounder, clouds, arguments.chunks)
    queries = queries[: arguments.queries]
    points = sum(len(clouds[i % len(clouds)]) for i in range(arguments.chunks))
    looked_at = min(grounder.settings.max_chunks, arguments.chunks)
    size = f'{points} points in {arguments.chunks} chunks, {looked_at} looked at'
    measure_new(grounder, queries, arguments.repeats, size)
    measure_standing(grounder, clouds, queries, arguments.chunks, arguments.repeats)


if __name__ == '__main__':
    main()
