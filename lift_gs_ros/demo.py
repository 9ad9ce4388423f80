"""The whole system on one machine: a camera, the map, the model and a client that asks.

Starts camera_node, mapping_node and grounding_node as processes of a real ROS 2 graph, publishes
queries as std_msgs/String, collects the answers, and writes answers.json and pictures.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import rclpy
from PIL import Image
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String

from lift_gs_ros import drawing, output
from lift_gs_ros.geometry import Box, PointCloud
from lift_gs_ros.grounding.instances import Grounding
from lift_gs_ros.msg import Grounding as GroundingMessage
from lift_gs_ros.nodes.answers import grounding_from_messages
from lift_gs_ros.nodes.point_clouds import cloud_from_message
from lift_gs_ros.nodes.qos import LATCHED
from lift_gs_ros.sequences import BagTopics, Sequence, open_sequence

SHUTDOWN_SECONDS = 10
SETTLED_SECONDS = 3.0  # no news for so long: the map has stopped growing
MAP_SECONDS = 60.0  # for the first map after the last frame: the first fusion compiles kernels
PICTURE_SIZE = (640, 480)
VOXEL_SIZE = 0.05  # metres, the default of mapping_node


@dataclass(frozen=True)
class DemoQuery:
    """A query and, where the truth is known, what a right answer is."""

    text: str
    truth: tuple[Box, ...] | None = None  # None: unknown; empty: nothing of the kind is there

    def verdict(self, answer: Grounding) -> str:
        """Compare the best target with the truth; IoU is that of axis-aligned boxes."""
        if self.truth is None:
            return ''
        if not self.truth:
            return 'wrong: it is absent' if answer.targets else 'right: it is absent'
        if not answer.targets:
            return 'missed'
        iou = max(answer.targets[0].box.iou(box) for box in self.truth)
        return f'{"right" if iou >= 0.25 else "wrong"}: IoU {iou:.2f}'


class DemoClient:
    """The other end of the graph: asks on /query and keeps what comes back."""

    def __init__(self, check: Callable[[], None]) -> None:
        """Join the graph; ``check`` is called while waiting and raises when that is in vain."""
        rclpy.init()
        self.node = Node('demo_client')
        self._check = check
        self._queries = self.node.create_publisher(String, 'query', 10)
        self.answers: list[GroundingMessage] = []
        self.masks = PointCloud2()
        self.map = PointCloud2()
        self.num_maps = 0
        subscribe = self.node.create_subscription
        subscribe(GroundingMessage, 'grounding', self.answers.append, LATCHED)
        subscribe(PointCloud2, 'masks', lambda cloud: setattr(self, 'masks', cloud), LATCHED)
        subscribe(PointCloud2, 'map', self._on_map, LATCHED)

    def _on_map(self, cloud: PointCloud2) -> None:
        self.map = cloud
        self.num_maps += 1

    def close(self) -> None:
        """Leave the graph."""
        self.node.destroy_node()
        rclpy.shutdown()

    def spin_until(self, done: Callable[[], bool], seconds: float, waiting_for: str) -> None:
        """Take in messages until ``done``; TimeoutError that names what did not come."""
        end = time.monotonic() + seconds
        while not done():
            self._check()
            if time.monotonic() > end:
                raise TimeoutError(f'no {waiting_for} within {seconds:.0f} s')
            rclpy.spin_once(self.node, timeout_sec=0.1)

    def spin(self, seconds: float) -> None:
        """Take in messages for a while."""
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            rclpy.spin_once(self.node, timeout_sec=rest)

    def publish(self, text: str) -> None:
        """Ask on the topic, once somebody listens."""
        listening = self._queries.get_subscription_count
        self.spin_until(lambda: listening() > 0, 60, 'subscriber of the topic query')
        self._queries.publish(String(data=text))

    def settle(self) -> None:
        """Wait for a map, and until no more maps and answers come: it has stopped growing."""
        self.spin_until(lambda: self.map.width > 0, MAP_SECONDS, 'frame became part of a map')
        seen = 0
        while len(self.answers) + self.num_maps > seen:
            seen = len(self.answers) + self.num_maps
            self.spin(SETTLED_SECONDS)

    def ask(self, text: str) -> Grounding:
        """Publish a query and return the answer to it."""
        before = len(self.answers)
        self.publish(text)
        answered: list[GroundingMessage] = []

        def is_answered() -> bool:
            answered[:] = [answer for answer in self.answers[before:] if answer.query == text]
            return bool(answered)

        self.spin_until(is_answered, 60, f'answer to "{text}"')
        answer = answered[-1]
        num_points = sum(instance.num_points for instance in answer.instances)
        # The masks are a message of their own, which comes a little later.
        self.spin_until(lambda: self.masks.width == num_points, 10, f'masks of "{text}"')
        return grounding_from_messages(answer, self.masks)


def check_processes(processes: dict[str, subprocess.Popen], logs: Path) -> None:
    """ChildProcessError with the last words of a process that has failed."""
    for name, process in processes.items():
        if process.poll() not in (None, 0):
            log = logs / f'{name}.log'
            words = log.read_text(errors='replace').strip().splitlines()[-1:]
            raise ChildProcessError(
                f'{name} ended with status {process.returncode}: {"".join(words)} (see {log})'
            )


@contextmanager
def running(commands: dict[str, list[str]], logs: Path) -> Iterator[dict[str, subprocess.Popen]]:
    """Start a process for each command, their output in log files; interrupt them at the end.

    Told to end (SIGTERM) or left by its terminal (SIGHUP), this process ends them too.
    """
    processes: dict[str, subprocess.Popen] = {}
    logs.mkdir(parents=True, exist_ok=True)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        for name, command in commands.items():
            with open(logs / f'{name}.log', 'wb') as file:
                processes[name] = subprocess.Popen(command, stdout=file, stderr=file)
        yield processes
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in processes.values():
            try:
                process.wait(SHUTDOWN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def node_command(node: str, **parameters: object) -> list[str]:
    """Command line of one of the package's nodes."""
    command = [sys.executable, '-m', f'lift_gs_ros.nodes.{node}', '--ros-args']
    for name, value in parameters.items():
        if value != '':
            command += ['-p', f'{name}:={json.dumps(value)}']
    return command


def set_environment() -> None:
    """Choose where this process and its children talk, unless somebody has chosen already."""
    os.environ.setdefault('ROS_DOMAIN_ID', '77')  # never talk to a robot on the same network
    # Fast DDS's shared memory lets poses wait behind images by a second on a busy machine.
    os.environ.setdefault('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')


def simulated_room(seed: int) -> tuple[Sequence, list[DemoQuery]]:
    """Make a room and a few expressions about it, of different kinds, with the right answers."""
    # Not for a recorded sequence: the simulation casts rays with Open3D, slow to import.
    from lift_gs_ros.simulation.expressions import make_expressions
    from lift_gs_ros.simulation.rooms import make_room
    from lift_gs_ros.simulation.sequence import RoomSequence

    room = make_room(seed)
    queries: dict[str, list[DemoQuery]] = {}
    for expression in make_expressions(room, seed):
        truth = tuple(room.object(target).box for target in expression.target_ids)
        queries.setdefault(expression.kind, []).append(DemoQuery(expression.text, truth))
    wanted = {'colour_noun': 3, 'relation': 1, 'several': 1, 'none': 1}
    chosen = [query for kind, count in wanted.items() for query in queries.get(kind, [])[:count]]
    return RoomSequence(room), chosen


def run_demo(
    sequence: str,
    queries: list[str],
    out: Path,
    checkpoint: str,
    device: str,
    seed: int,
    rate: float,
    topics: BagTopics | None = None,
    viewer_port: int | None = None,
) -> int:
    """Run the graph on a recording ('' = a simulated room); return the exit status.

    With a ``viewer_port`` the web viewer is started too, and the graph runs on until Ctrl-C.
    """
    asked = [DemoQuery(text) for text in queries]
    if sequence and not asked:
        raise ValueError('a recorded sequence needs a query, for example QUERY="the red cabinet"')
    source: Sequence
    if sequence:
        source = open_sequence(sequence, topics)
    else:
        source, about_the_room = simulated_room(seed)
        asked = asked or about_the_room
    print(f'{source.name}: {len(source)} frames', flush=True)
    set_environment()
    commands = {
        'grounding_node': node_command('grounding_node', checkpoint=checkpoint, device=device),
        # Reliable: two cores that run everything at once must not cost frames.
        'mapping_node': node_command('mapping_node', sensor_qos='reliable'),
        'camera_node': node_command(
            'camera_node',
            sequence=sequence,
            seed=seed,
            rate=rate,
            loop=False,
            **{f'bag_{name}': topic for name, topic in asdict(topics or BagTopics()).items()},
        ),
    }
    commands |= viewer_command(viewer_port)
    out.mkdir(parents=True, exist_ok=True)
    with running(commands, out / 'logs') as processes:
        client = DemoClient(lambda: check_processes(processes, out / 'logs'))
        try:
            answers = _converse(client, processes, asked)
            cloud = cloud_from_message(client.map)
        except TimeoutError as error:
            raise TimeoutError(f'{error}: see {out / "logs"}') from error
        finally:
            client.close()
        _write(out, source, cloud, answers, asked, client.answers[-1].weights)
        if viewer_port is not None:
            wait_for_interrupt(processes, out / 'logs')
    return 0


def viewer_command(port: int | None, **parameters: object) -> dict[str, list[str]]:
    """Command line of the web viewer by its name; nothing without a port."""
    if port is None:
        return {}
    print(f'viewer: http://127.0.0.1:{port}', flush=True)
    return {'viewer_node': node_command('viewer_node', port=port, **parameters)}


def wait_for_interrupt(processes: dict[str, subprocess.Popen], logs: Path) -> None:
    """Return on Ctrl-C or when the viewer has ended; ChildProcessError where a process failed."""
    with suppress(KeyboardInterrupt):
        print('\nthe graph runs on: ask in the browser; Ctrl-C ends', flush=True)
        while processes['viewer_node'].poll() is None:
            check_processes(processes, logs)
            time.sleep(0.5)


def _converse(
    client: DemoClient, processes: dict[str, subprocess.Popen], asked: list[DemoQuery]
) -> list[Grounding]:
    """Ask while the camera runs, and everything once the map stands."""
    client.publish(asked[0].text)
    begin = time.monotonic()

    camera = processes['camera_node']
    client.spin_until(lambda: camera.poll() == 0, 1200, 'end of the sequence')
    client.settle()
    live = [answer for answer in client.answers if answer.instances or not answer.message]
    print(
        f'"{asked[0].text}" was answered {len(live)} times while the map grew '
        f'({time.monotonic() - begin:.0f} s)\n'
    )
    return [client.ask(query.text) for query in asked]


def _write(
    out: Path,
    source: Sequence,
    cloud: PointCloud,
    answers: list[Grounding],
    asked: list[DemoQuery],
    weights: str,
) -> None:
    """Print the table; write answers.json, a picture of each answer and a sheet of all."""
    output.warn_of_untrained(weights)
    output.print_table(answers, [query.verdict(answer) for query, answer in zip(asked, answers)])
    output.write_answers(out / 'answers.json', answers, weights)
    best = [a.instances[0].points if a.instances else cloud.positions for a in answers]
    sheet: list[Image.Image] = []
    for i, frame in enumerate(drawing.best_views(source, best)):
        if frame is None:
            frame = next(iter(source))
        view = drawing.draw_answer(frame, answers[i]).resize(PICTURE_SIZE)
        overview = drawing.draw_map(cloud, answers[i], VOXEL_SIZE).resize(PICTURE_SIZE)
        view.save(out / f'{i:02d}_camera.png')
        overview.save(out / f'{i:02d}_map.png')
        sheet += [view, overview]
    drawing.tile(sheet).save(out / 'answers.png')
    print(f'\nwritten: {out / "answers.json"}, {out / "answers.png"} and a picture of each answer')
