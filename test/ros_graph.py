"""A small ROS graph for tests: its own domain, one executor a node, and a client that listens."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from functools import partial

import numpy as np
import rclpy
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from lift_gs_ros.geometry import Camera
from lift_gs_ros.nodes import conversions
from lift_gs_ros.nodes.runner import spin

CAMERA = Camera.from_focal(60.0, 60.0, 31.5, 23.5, 64, 48)
PATIENCE = 20.0  # seconds until something that should happen counts as missing


def domain_id() -> int:
    """Choose a domain (1 to 100) for this test process: parallel ones must not hear each other."""
    worker = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])
    return 1 + (os.getpid() * 7 + worker) % 100


def wait_until(condition, what: str, seconds: float = PATIENCE) -> None:
    """Wait until a condition holds; AssertionError that says what did not happen."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f'not within {seconds} s: {what}'
        time.sleep(0.01)


class Graph:
    """Nodes of this process in one domain, each spinning in a thread of its own."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain_id())
        self._running: list = []

    def client(self, name: str = 'client') -> Node:
        """Add a plain node."""
        node = Node(name, context=self.context)
        self._spin(node)
        return node

    def add(self, make, **parameters):
        """Add one of the package's nodes (a class that takes node options) and start it."""
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        adapter = make(context=self.context, parameter_overrides=overrides)
        self._spin(adapter.node, adapter)
        adapter.start()
        return adapter

    def remove(self, adapter) -> None:
        """Take a node down."""
        for entry in [entry for entry in self._running if entry[-1] is adapter]:
            self._running.remove(entry)
            self._stop(*entry)

    def close(self) -> None:
        """Take everything down."""
        with ExitStack() as stack:  # all of it, whatever fails
            stack.callback(rclpy.shutdown, context=self.context)
            for entry in reversed(self._running):
                stack.callback(self._stop, *entry)

    def _spin(self, node, adapter=None) -> None:
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(node)
        ending = threading.Event()
        target = executor.spin
        if adapter is not None:  # as the executables do
            target = partial(spin, executor, adapter.report, ending)
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        self._running.append((node, executor, thread, ending, adapter))

    @staticmethod
    def _stop(node, executor, thread, ending, adapter) -> None:
        ended = adapter is None or (adapter.stop(PATIENCE) and adapter.wait_for_calls(PATIENCE))
        ending.set()
        executor.shutdown()
        thread.join(PATIENCE)
        node.destroy_node()
        assert ended, 'the worker did not end'


class FakeCamera:
    """A camera that looks at a red wall two metres ahead, each of its messages open to change."""

    def __init__(self, node: Node, odometry: bool = True) -> None:
        def create(kind, topic):
            return node.create_publisher(kind, topic, 10)

        self.color, self.depth = create(Image, 'rgb/image'), create(Image, 'depth/image')
        self.info = create(CameraInfo, 'rgb/camera_info')
        self.odometry = create(Odometry, 'odometry') if odometry else None
        self.stamp = 1_000_000_000_000
        self.x = 0.0
        self.published = 0  # moments

    def wait_for_subscribers(self) -> None:
        """Wait until somebody listens to everything."""
        publishers = [self.color, self.depth, self.info, self.odometry]
        for publisher in filter(None, publishers):
            wait_until(publisher.get_subscription_count, f'a subscriber of {publisher.topic}')

    def messages(self) -> dict:
        """Move on by 0.2 m and 0.1 s and make the messages of one moment."""
        self.x += 0.2
        self.stamp += 100_000_000
        header = conversions.make_header(self.stamp, 'camera')
        color = np.zeros((48, 64, 3), np.uint8)
        color[..., 0] = 255
        pose = np.array([[0, 0, 1, 0], [-1, 0, 0, self.x], [0, -1, 0, 1], [0, 0, 0, 1]], float)
        odometry = Odometry(header=conversions.make_header(self.stamp, 'map'))
        odometry.pose.pose = conversions.pose_from_matrix(pose)
        return {
            'odometry': odometry,
            'info': conversions.info_from_camera(CAMERA, header),
            'color': conversions.image_from_color(color, header),
            'depth': conversions.image_from_depth(np.full((48, 64), 2.0, np.float32), header),
        }

    def publish(self, **changed) -> None:
        """Publish one moment; a message that is given replaces its own, None leaves it out."""
        self.published += 1
        for name, message in {**self.messages(), **changed}.items():
            if message is not None:
                getattr(self, name).publish(message)


SENSOR_DATA = qos_profile_sensor_data
