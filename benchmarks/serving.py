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
from lift_gs_ros.model.phrases import noun_phrases
from lift_gs_ros.simulation.expressions import make_expressions
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import DEFAULT_CAMERA, RoomSequence

ROW = 10  # rooms beside each other
KINDS = ('noun', 'colour_noun', 'attribute', 'several', 'none')


def furnish(rooms: int, frames: int) -> tuple[list[PointCloud], list[str], list[str], float]:
    """Map rooms: the middle chunk of each, what can be asked about them, and the chunk's size.

    What can be asked are things ("the red chair", "all lamps"), and things that stand somehow to
    others ("the chair closest to the door").
    """
    clouds, plain, compared = [], [], []
    for seed in range(rooms):
        room, voxel_map = make_room(seed), VoxelMap()
        for frame in RoomSequence(room, frames, DEFAULT_CAMERA.resized(160, 120)):
            voxel_map.integrate(frame)
        clouds.append(voxel_map.chunk((0, 0, 0)))
        things = [e.text for e in make_expressions(room, seed, KINDS)]
        plain.append([text for text in things if not mentions_others(text)])
        relations = [e.text for e in make_expressions(room, seed, ('relation', 'ordinal'))]
        compared.append([text for text in relations if mentions_others(text)])
    return clouds, mixed(plain), mixed(compared), voxel_map.chunk_size


def mixed(queries: list[list[str]]) -> list[str]:
    """Take the first query of each room, then the second of each, without any twice."""
    return list(dict.fromkeys(query for row in zip(*queries) for query in row))


def mentions_others(text: str) -> bool:
    """Say whether a sentence mentions something beside what it asks for."""
    return not all(phrase.is_target for phrase in noun_phrases(text))


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


def forget(grounder: Grounder) -> None:
    """Let the grounder forget what queries found, as another mask threshold does."""
    usual = grounder.settings
    grounder.settings = replace(usual, mask_threshold=0.9)
    grounder.ground('the chair')
    grounder.settings = usual


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU time of a call."""
    begin = time.process_time()
    work()
    return 1e3 * (time.process_time() - begin)


def measure_new(grounder: Grounder, queries: list[str], repeats: int, kind: str, size: str) -> None:
    """Time queries one by one and all at once."""
    grounder.ground_many(queries)  # warms the language encoder
    forget(grounder)
    alone = [cpu_ms(lambda query=query: grounder.ground(query)) for query in queries]
    together = []
    for _ in range(repeats):
        forget(grounder)
        together.append(cpu_ms(lambda: grounder.ground_many(queries)))
    one, many = statistics.median(alone), statistics.median(together)
    report(f'one query, {kind}', one, 'ms', (min(alone), max(alone)), size)
    name = f'{len(queries)} queries at once, {kind}'
    report(name, many, 'ms', (min(together), max(together)), f'{many / one:.1f} times one')


def keyframes(
    grounder: Grounder, clouds: list[PointCloud], queries: list[str], chunks: int, repeats: int
) -> tuple[list[float], float]:
    """Change a chunk, encode it and answer again: CPU times in ms, and the share answered again."""
    standing = grounder.ground_many(queries)
    times, answered = [], []
    for i in range(repeats):
        number = (7 * i) % chunks
        # Another colour each time, or it would be the same chunk as before.
        change(grounder, number, _brighter(clouds[number % len(clouds)], i + 10 * len(queries)))
        begin = time.process_time()
        grounder.encode()
        again = grounder.ground_again(standing)
        times.append(1e3 * (time.process_time() - begin))
        answered.append(sum(new is not old for new, old in zip(again, standing)) / len(queries))
        standing = again
    return times, statistics.mean(answered)


def measure_standing(
    grounder: Grounder,
    clouds: list[PointCloud],
    queries: list[str],
    chunks: int,
    repeats: int,
    kind: str,
) -> None:
    """Time what a changed chunk costs with one standing query, and with all."""
    medians = []
    for count in (1, len(queries)):
        times, share = keyframes(grounder, clouds, queries[:count], chunks, repeats)
        medians.append(statistics.median(times))
        note = f'one chunk encoded again; {100 * share:.0f}% of the answers rest on it'
        name = f'a keyframe with {count} standing, {kind}'
        report(name, medians[-1], 'ms', (min(times), max(times)), note)
    name = f'a keyframe with {len(queries)} standing against 1, {kind}'
    report(name, medians[1] / medians[0], 'x', None, 'goal: 3 at most')


def measure_growth(
    grounder: Grounder, clouds: list[PointCloud], queries: list[str], chunks: int, repeats: int
) -> None:
    """Compare what a changed chunk costs with a standing query in a large map and in a room."""
    large, _ = keyframes(grounder, clouds, queries, chunks, repeats)
    grounder.clear()
    fill(grounder, clouds, 1)
    room, _ = keyframes(grounder, clouds, queries, 1, repeats)
    name, alone = 'a keyframe with 1 standing in a map of 1 chunk', statistics.median(room)
    report(name, alone, 'ms', (min(room), max(room)))
    ratio = statistics.median(large) / alone
    report(f'a keyframe in {chunks} chunks against 1', ratio, 'x', None, 'goal: 1.2 at most')


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
    clouds, plain, compared, chunk_size = furnish(arguments.rooms, arguments.frames)
    grounder = Grounder.load('', 'cpu', GrounderSettings(chunk_size=chunk_size))
    fill(grounder, clouds, arguments.chunks)
    points = sum(len(clouds[i % len(clouds)]) for i in range(arguments.chunks))
    looked_at = min(grounder.settings.max_chunks, arguments.chunks)
    size = f'{points} points in {arguments.chunks} chunks, {looked_at} looked at for each thing'
    for kind, queries in (('plain', plain), ('with a relation', compared)):
        some = queries[: arguments.queries]
        measure_new(grounder, some, arguments.repeats, kind, size)
        measure_standing(grounder, clouds, some, arguments.chunks, arguments.repeats, kind)
    measure_growth(grounder, clouds, plain[:1], arguments.chunks, arguments.repeats)


if __name__ == '__main__':
    main()
