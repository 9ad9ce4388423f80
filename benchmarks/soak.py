"""Two hours of a robot's time through the real nodes: python -m benchmarks.soak.

mapping_node, grounding_node, overlay_node (with a reader of annotated_image) and viewer_node (with
no browser) run as processes. The camera's stamps advance by half a second from
one keyframe to the next, as fast as mapping_node fuses them: simulated time runs as fast as the
machine allows, and no frame is dropped for it. The robot walks forth and back through a simulated
room for ten minutes, is carried into the next one beside it (a jump), and so on; the map is
bounded, so that old rooms leave. Every ten seconds it is asked something new on the topic query.

Fails (exit status 1) where a keyframe or a query was lost, or the memory of a node grew by more
than 5% from the second quarter of the time to the last.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import String

from benchmarks import report
from benchmarks.graph import Robot, running, there_and_back, walk
from lift_gs_ros import msg
from lift_gs_ros.nodes.conversions import NANOSECONDS, stamp_to_ns
from lift_gs_ros.nodes.qos import LATCHED, latched
from lift_gs_ros.simulation.expressions import make_expressions
from lift_gs_ros.simulation.rooms import make_room

STEP = NANOSECONDS // 2  # from one keyframe to the next
ROOM_SECONDS, QUERY_SECONDS = 600, 10
ROOM_WIDTH = 2 * 6.45  # metres, two chunks
AHEAD = 5  # keyframes that may be on their way; the queue holds 10
NODES = 'mapping_node', 'grounding_node', 'overlay_node', 'viewer_node'


class Soak:
    """One run; what was published and what came back."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._newest = 0  # stamp of the newest keyframe that was fused
        self.lost_keyframes = 0
        self.asked: set[str] = set()
        self.memory: dict[str, list[int]] = {node: [] for node in NODES}
        self._words = [expression.text for expression in make_expressions(make_room(0), 0)]
        node = robot.node
        self._queries = node.create_publisher(String, 'query', 10)
        node.create_subscription(PoseStamped, 'keyframe_pose', self._on_pose, LATCHED)
        node.create_subscription(msg.Grounding, 'grounding', self._on_answer, latched(100))
        robot.wait_for(self._queries.get_subscription_count, 'a reader of query')

    def _on_pose(self, pose: PoseStamped) -> None:
        self._newest = stamp_to_ns(pose.header.stamp)

    def _on_answer(self, answer: msg.Grounding) -> None:
        if not answer.message:
            self.asked.discard(answer.query)

    def run(self, frames, seconds: int) -> int:
        """Let so many simulated seconds pass; returns how many queries were asked."""
        begin = stamp = time.time_ns()
        queries, path = 0, there_and_back(frames)
        while (elapsed := (stamp - begin) / NANOSECONDS) < seconds:
            offset = np.array([elapsed // ROOM_SECONDS * ROOM_WIDTH, 0, 0])
            self._robot.publish(next(path), stamp, offset)
            self._wait_for_keyframe(stamp - AHEAD * STEP, first=stamp == begin)
            if elapsed >= QUERY_SECONDS * (queries + 1):
                queries += 1
                self._ask(queries)
                self._note_memory()
            stamp += STEP
        self._wait_for_keyframe(stamp - STEP, first=False)
        self._robot.wait_for(lambda: not self.asked, f'answers to {self.asked}')
        return queries

    def _wait_for_keyframe(self, stamp: int, first: bool) -> None:
        """Wait until this keyframe is fused; give a lost one up, or the whole run would stop."""
        end = time.monotonic() + (120 if first else 30)
        while self._newest < stamp and time.monotonic() < end:
            time.sleep(0.001)
        self.lost_keyframes += self._newest < stamp

    def _ask(self, number: int) -> None:
        query = f'{self._words[number % len(self._words)]}, number {number}'
        # One at a time: where only the latest query counts, the next would take its place.
        self._robot.wait_for(lambda: not self.asked, f'an answer to {self.asked}')
        self.asked.add(query)
        self._queries.publish(String(data=query))

    def _note_memory(self) -> None:
        for node, values in self.memory.items():
            values.append(self._robot.count(node, 'memory MB'))


def growth(values: list[int]) -> tuple[float, float]:
    """Return the median of the second quarter, and of the last."""
    quarter = max(1, len(values) // 4)
    return statistics.median(values[quarter : 2 * quarter]), statistics.median(values[-quarter:])


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description='Run the graph for hours of simulated time.')
    parser.add_argument('--hours', type=float, default=2.0)
    parser.add_argument('--width', type=int, default=160)
    parser.add_argument('--height', type=int, default=120)
    parser.add_argument('--max-voxels', type=int, default=60_000)
    parser.add_argument('--allowed-growth', type=float, default=0.05, help='of memory: a share')
    arguments = parser.parse_args()
    frames = walk(60, arguments.width, arguments.height)
    camera = {'sensor_qos': 'reliable', 'pose_timeout': 10.0}  # the machine may be busy
    mapping = {
        **camera,
        'keyframe_translation': 0.0,  # every frame is a keyframe
        'max_voxels': arguments.max_voxels,
    }
    nodes = dict(zip(NODES, (mapping, {'device': 'cpu'}, camera, {'port': 0})))
    failed = False
    with running(**nodes) as robot:
        robot.wait_for_subscribers()
        soak, begin = Soak(robot), time.monotonic()
        seconds = int(3600 * arguments.hours)
        queries = soak.run(frames, seconds)
        took = time.monotonic() - begin
        note = f'{took:.0f} s on the wall'
        report('simulated time', seconds / 3600, 'hours', None, note)
        report('keyframes', seconds * NANOSECONDS // STEP, '')
        report('keyframes lost', soak.lost_keyframes, '', None, 'goal: 0')
        report('queries', queries, '')
        report('queries lost', len(soak.asked), '', None, 'goal: 0')
        failed |= bool(soak.lost_keyframes or soak.asked)
        for node in NODES:
            first, last = growth(soak.memory[node])
            failed |= last > (1 + arguments.allowed_growth) * first
            note = f'{first:.0f} to {last:.0f} MB, second quarter to last'
            report(f'{node}: growth of memory', last - first, 'MB', None, note)
            named = ', '.join(f'{k}: {n}' for k, n in robot.losses(node).items() if n) or 'none'
            report(f'{node}: problems', sum(robot.losses(node).values()), '', None, named)
    if failed:
        sys.exit('the soak failed: something was lost, or memory grew')


if __name__ == '__main__':
    main()
