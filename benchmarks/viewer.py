"""What a large map costs the web viewer: CPU time of this process, and bytes that a browser gets.

A map of 300 chunks and a million points, the most that is sent unthinned; a chunk that changes, an
answer that is shown and the slider that cuts the map are timed in it.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import viser
from websockets.sync.client import connect

from benchmarks import report
from lift_gs_ros.geometry import Box, PointCloud
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding
from lift_gs_ros.viewer.viewer import Viewer

CHUNKS, POINTS, CHUNK_SIZE, VOXEL_SIZE = 300, 1_000_000, 6.45, 0.05
REPETITIONS = 5
SILENCE = 5.0  # seconds after which a browser has got all


def main() -> None:
    """Measure."""
    small = fill(1, POINTS // CHUNKS)
    measure('changed chunk in a map of 1 chunk', lambda n: change(small, n))
    small.close()
    begin = time.process_time()
    viewer = fill(CHUNKS, POINTS // CHUNKS)
    filled = 1e3 * (time.process_time() - begin)
    report(f'a map of {CHUNKS} chunks, all', filled, 'CPU ms', note=f'{POINTS} points')
    measure(f'changed chunk in a map of {CHUNKS} chunks', lambda n: change(viewer, n))
    measure('answer of 2000 points in it', lambda n: viewer.show(answer(n)))
    measure('cutting it at another height', lambda n: viewer._cut(1.0 + 0.1 * n))
    viewer._cut(10.0)
    report('a browser that opens it gets', received(viewer.url) / 1e6, 'MB')
    viewer.close()
    large = fill(CHUNKS, 4 * POINTS // CHUNKS)
    note = f'of {4 * POINTS} points'
    report('a browser gets of a larger map', received(large.url) / 1e6, 'MB', note=note)
    large.close()


def cloud_of(key: int, count: int, seed: int = 0) -> PointCloud:
    """Points of a chunk (key, 0, 0)."""
    rng = np.random.default_rng(seed)
    lower = np.array([(key - 0.5) * CHUNK_SIZE, -0.5 * CHUNK_SIZE, 0.0])
    positions = rng.uniform(lower, lower + [CHUNK_SIZE, CHUNK_SIZE, 2.5], (count, 3))
    return PointCloud(positions, rng.uniform(0, 1, (count, 3)))


def fill(chunks: int, points: int) -> Viewer:
    """Serve a map of so many chunks of so many points each."""
    viewer = Viewer(lambda text: None, port=0)
    for key in range(chunks):
        viewer.update_chunk((key, 0, 0), cloud_of(key, points), CHUNK_SIZE, VOXEL_SIZE)
    return viewer


def change(viewer: Viewer, number: int) -> None:
    """Replace one chunk."""
    cloud = cloud_of(0, POINTS // CHUNKS, number)
    viewer.update_chunk((0, 0, 0), cloud, CHUNK_SIZE, VOXEL_SIZE)


def answer(number: int) -> Grounding:
    """Build an answer with one instance in the first chunk."""
    points = cloud_of(0, POINTS // CHUNKS, REPETITIONS - 1).positions[:2000]
    scores = np.ones(len(points), np.float32)
    box = Box.from_points(points)
    found = GroundedInstance(1, 'chair', (0, 5), True, 0.9, box, points, scores)
    return Grounding(f'chair {number}', 0, 'map', [found], 0.1)


def measure(name: str, work) -> None:
    """Report the CPU time of ``work(n)``, n = 0, 1, ..."""
    times = []
    for number in range(REPETITIONS):
        begin = time.process_time()
        work(number)
        times.append(1e3 * (time.process_time() - begin))
    report(name, statistics.median(times), 'CPU ms', (min(times), max(times)))


def received(url: str) -> int:
    """Count the bytes that a browser gets when it opens the page, without the page itself."""
    address = url.replace('http', 'ws')
    protocol = f'viser-v{viser.__version__}'
    total = 0
    with connect(address, subprotocols=[protocol], max_size=None) as connection:  # type: ignore
        try:
            while True:
                total += len(connection.recv(timeout=SILENCE))
        except TimeoutError:
            return total


if __name__ == '__main__':
    main()
