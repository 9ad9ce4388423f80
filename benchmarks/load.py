"""A camera at 30 Hz into the whole graph, and queries meanwhile: python -m benchmarks.load.

mapping_node, grounding_node and overlay_node run as processes of their own. This process plays
frames of a walk through a simulated room, rendered before, forth and back, looks at
annotated_image, and asks by the service ~/ground: first with the map made and the camera off, then
with it on. No query is current: none is answered unasked, and none drawn into the image.
viewer_node does not run; what it costs depends on who looks (benchmarks.viewer).

Parameters are the defaults, or those of ``--preset``, but for three things: images are sent
reliably (sensor_qos), the device is the CPU, and Fast DDS talks by UDP, as make demo has it.

What the nodes measure (queue, losses, callbacks) is what they publish on /diagnostics. Times here
are those of the clock on the wall: the machine must have nothing else to do.
"""

from __future__ import annotations

import argparse
import threading
import time

import numpy as np
from lift_gs_ros.srv import Ground
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.graph import Robot, running, there_and_back, walk
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.simulation.expressions import make_expressions
from lift_gs_ros.simulation.rooms import make_room

RATE = 30.0  # Hz, of the camera
MAPPING, GROUNDING, OVERLAY = NODES = 'mapping_node', 'grounding_node', 'overlay_node'


class Camera:
    """Publishes frames at a rate, in a thread, while it is on."""

    def __init__(self, robot: Robot, frames: list[RgbdFrame], rate: float) -> None:
        self.published = 0
        self._robot, self._frames, self._rate = robot, there_and_back(frames), rate
        self._stop = threading.Event()

    def __enter__(self) -> Camera:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self._robot.publish(next(self._frames), time.time_ns(), np.zeros(3))
            self.published += 1
            due = max(due + 1 / self._rate, time.monotonic())


class Asker:
    """Asks one query after the other."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._client = robot.node.create_client(Ground, f'{GROUNDING}/ground')
        self._rng = np.random.default_rng(0)
        self._queries = [expression.text for expression in make_expressions(make_room(0), 0)]
        robot.wait_for(self._client.service_is_ready, 'the service ground')

    def ask(self, count: int, pause: float) -> NDArray[np.float64]:
        """Ask so often, at times that nothing else keeps; ``pause`` seconds apart on average.

        Returns milliseconds (count, 2): from question to answer, and of decoding.
        """
        times = []
        for i in range(count):
            query = self._queries[i % len(self._queries)]
            begin = time.monotonic()
            future = self._client.call_async(Ground.Request(query=query))
            self._robot.wait_for(future.done, f"an answer to '{query}'")
            took, grounding = time.monotonic() - begin, future.result().grounding
            if grounding.message:
                raise RuntimeError(f"'{query}': {grounding.message}")
            times.append((1e3 * took, grounding.decode_ms))
            time.sleep(self._rng.uniform(0, 2 * pause))
        return np.array(times)


def measure(robot: Robot, frames: list[RgbdFrame], queries: int, seconds: float) -> None:
    """Map, ask without load, ask under load."""
    robot.wait_for_subscribers()
    asker, camera = Asker(robot), Camera(robot, frames, RATE)
    with camera:
        robot.wait_for(lambda: camera.published >= 2 * len(frames), 'the map')
        robot.wait_for(lambda: robot.count(GROUNDING, 'chunks'), 'chunks')
    robot.wait_for(lambda: robot.value(GROUNDING, 'encoding') == 'False', 'encodings')
    asker.ask(3, 0.0)  # warms up
    alone = asker.ask(queries, 0.1)
    before = {node: robot.losses(node) for node in NODES}
    cpu = {node: robot.cpu_seconds(node) for node in NODES}
    robot.queued, published, own = 0, camera.published, time.process_time()
    pictures = robot.pictures
    with camera:
        begin, keyframes = time.monotonic(), robot.count(MAPPING, 'keyframes')
        loaded = asker.ask(queries, max(seconds / queries - 0.1, 0.0))
        time.sleep(max(0.0, begin + seconds - time.monotonic()))
        took = time.monotonic() - begin
        fused = robot.count(MAPPING, 'keyframes') - keyframes
        sent = camera.published - published
        own = time.process_time() - own
        used = {node: robot.cpu_seconds(node) - cpu[node] for node in cpu}
    report('camera', sent / took, 'Hz', None, f'wanted: {RATE:.0f}')
    note = f'of {sent / took:.1f} frames; goal: 5 at least'
    report('keyframes fused', fused / took, 'a second', None, note)
    report('annotated images', (robot.pictures - pictures) / took, 'a second')
    report('image pairs waiting, at most', robot.queued, '', None, 'queue_size: 10')
    for name, seconds_used in {'camera': own, **used}.items():
        share = 100 * seconds_used / took
        note = f'{1e3 * seconds_used / sent:.1f} ms a frame of the camera'
        report(f'{name}: processor', share, '% of a core', None, note)
    for node in NODES:
        report_node(robot, node, before[node])
    for name, times in (('off', alone), ('on', loaded)):
        median, decoding = np.median(times, axis=0)
        spread = times[:, 0].min(), times[:, 0].max()
        note = f'service call to answer; {decoding:.0f} ms of it decoding'
        report(f'query, camera {name}', median, 'ms', spread, note)
    # Of each query by itself: some take five times as long as others.
    low, ratio, high = np.quantile(loaded[:, 0] / alone[:, 0], [0.25, 0.5, 0.75])
    note = 'each query against itself, and quartiles; goal: 1.5 at most'
    report('query, camera on against off', ratio, 'x', (low, high), note)


def report_node(robot: Robot, node: str, before: dict[str, int]) -> None:
    """Report losses since before, callbacks and memory of a node."""
    losses = {k: n - before.get(k, 0) for k, n in robot.losses(node).items()}
    named = ', '.join(f'{name}: {n}' for name, n in losses.items() if n) or 'none'
    report(f'{node}: lost or refused', sum(losses.values()), '', None, named)
    p50, p99 = map(float, robot.value(node, 'callback ms p50 / p99', '0 / 0').split(' / '))
    report(f'{node}: callback, p99', p99, 'ms', None, f'p50: {p50} ms; goal: 20 at most')
    report(f'{node}: memory', robot.count(node, 'memory MB'), 'MB')


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description='Load the graph with a camera and ask meanwhile.')
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument('--height', type=int, default=480)
    parser.add_argument('--frames', type=int, default=300, help='of a lap through a room')
    parser.add_argument('--queries', type=int, default=60)
    parser.add_argument('--seconds', type=float, default=60.0)
    parser.add_argument('--preset', default='', help='of config/presets, such as cpu')
    arguments = parser.parse_args()
    frames = walk(arguments.frames, arguments.width, arguments.height)
    reliable = {'sensor_qos': 'reliable'}  # best effort loses large images on loopback
    nodes = {MAPPING: reliable, GROUNDING: {'device': 'cpu'}, OVERLAY: reliable}
    with running(arguments.preset, **nodes) as robot:
        measure(robot, frames, arguments.queries, arguments.seconds)


if __name__ == '__main__':
    main()
