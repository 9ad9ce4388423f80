"""The real nodes as processes, a camera that plays frames to them, and what they report."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.nodes import conversions
from lift_gs_ros.nodes.qos import RELIABLE
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import DEFAULT_CAMERA, RoomSequence

PRESETS = Path(__file__).parents[1] / 'config' / 'presets'
PATIENCE = 300.0  # seconds, for a model to be loaded on a busy machine
# All other counters are losses.
COUNTS = {'pairs', 'keyframes', 'chunks', 'queries', 'answers', 'annotated'}


def walk(frames: int, width: int, height: int) -> list[RgbdFrame]:
    """Render one lap through a simulated room."""
    camera = DEFAULT_CAMERA.resized(width, height)
    return list(RoomSequence(make_room(0), frames, camera, laps=1))


def preset_file(name: str) -> list[str]:
    """Arguments that give a preset of config/presets to a node; none for ''."""
    path = PRESETS / f'{name}.yaml'
    if name and not path.is_file():
        known = sorted(file.stem for file in PRESETS.glob('*.yaml'))
        raise ValueError(f"there is no preset '{name}', expected one of {', '.join(known)}")
    return ['--params-file', str(path)] if name else []


@contextmanager
def running(preset: str = '', **nodes: dict[str, object]) -> Iterator[Robot]:
    """Run nodes (name: parameters) in a domain of their own, until the end of the block.

    Parameters override those of the ``preset`` (config/presets).
    """
    from_preset = preset_file(preset)
    environment = {
        **os.environ,
        'ROS_DOMAIN_ID': os.environ.get('ROS_DOMAIN_ID', str(1 + os.getpid() % 100)),
        # As in make demo: shared memory lets poses wait behind images.
        'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4',
    }
    os.environ.update(environment)
    processes = []
    for name, parameters in nodes.items():
        command = [sys.executable, '-m', f'lift_gs_ros.nodes.{name}', '--ros-args']
        command += from_preset
        command += [word for key, value in parameters.items() for word in ('-p', f'{key}:={value}')]
        command += ['--log-level', 'error']
        processes.append(subprocess.Popen(command, env=environment))
    rclpy.init()
    robot = Robot({name: process.pid for name, process in zip(nodes, processes)})
    try:
        for name in nodes:
            robot.wait_for(lambda name=name: robot.value(name, 'state') == 'active', name)
        yield robot
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)
        robot.close()


class Robot:
    """The camera's side of the graph, and the newest diagnostics of every node."""

    def __init__(self, processes: dict[str, int]) -> None:
        self.node = Node('bench')
        self._processes = processes
        self._rows: dict[str, dict[str, str]] = {}
        self.queued = 0  # most image pairs that waited
        self.pictures = 0  # annotated images that came
        create = self.node.create_publisher
        self._color, self._depth = create(Image, 'rgb/image', 10), create(Image, 'depth/image', 10)
        self._info = create(CameraInfo, 'rgb/camera_info', 10)
        self._odometry = create(Odometry, 'odometry', 10)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_rows, RELIABLE)
        # overlay_node draws only where somebody looks.
        self.node.create_subscription(Image, 'annotated_image', self._on_picture, RELIABLE)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._thread.join(10)
        self.node.destroy_node()
        rclpy.shutdown()

    def _on_rows(self, message: DiagnosticArray) -> None:
        for status in message.status:
            rows = {pair.key: pair.value for pair in status.values}
            self._rows[status.name] = rows
            self.queued = max(self.queued, int(rows.get('queued pairs', 0)))

    def _on_picture(self, picture: Image) -> None:
        self.pictures += 1

    def value(self, node: str, key: str, default: str = '') -> str:
        """Return what a node said last under a key of its diagnostics."""
        return self._rows.get(node, {}).get(key, default)

    def count(self, node: str, key: str) -> int:
        """Return a counter."""
        return int(self.value(node, key, '0'))

    def cpu_seconds(self, node: str) -> float:
        """Return the CPU time that a node has used up (Linux)."""
        fields = Path(f'/proc/{self._processes[node]}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def losses(self, node: str) -> dict[str, int]:
        """Return what a node lost or refused, by cause."""
        rows = self._rows.get(node, {})
        names = {key.removesuffix(' per second') for key in rows if key.endswith(' per second')}
        return {name: self.count(node, name) for name in sorted(names - COUNTS)}

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait; RuntimeError that says for what."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f'waited {PATIENCE:.0f} s for {what}; {self._rows}')
            time.sleep(0.02)

    def wait_for_subscribers(self) -> None:
        """Wait until somebody listens to the camera."""
        for publisher in (self._color, self._depth, self._info, self._odometry):
            self.wait_for(publisher.get_subscription_count, f'a reader of {publisher.topic_name}')

    def publish(self, frame: RgbdFrame, stamp: int, offset: np.ndarray) -> None:
        """Publish one moment of the camera, moved by ``offset`` (3,) metres."""
        header = conversions.make_header(stamp, 'camera')
        pose = frame.world_from_camera.copy()
        pose[:3, 3] += offset
        odometry = Odometry(header=conversions.make_header(stamp, 'map'), child_frame_id='camera')
        odometry.pose.pose = conversions.pose_from_matrix(pose)
        self._odometry.publish(odometry)
        self._info.publish(conversions.info_from_camera(frame.camera, header))
        self._color.publish(conversions.image_from_color(frame.color, header))
        self._depth.publish(conversions.image_from_depth(frame.depth, header))


def there_and_back(frames: list[RgbdFrame]) -> Iterator[RgbdFrame]:
    """Walk forth and back without end: no jump."""
    while True:
        yield from frames
        yield from reversed(frames)
