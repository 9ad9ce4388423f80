"""A map from somebody else: a topic of whole point clouds, as chunks."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import PointCloud2

from lift_gs_ros.grounding.instances import MapSummary
from lift_gs_ros.mapping.cloud_map import CloudMap
from lift_gs_ros.nodes.conversions import ChunkUpdate, frame_name, random_map_id, stamp_to_ns
from lift_gs_ros.nodes.inputs import nobody_publishes
from lift_gs_ros.nodes.point_clouds import cloud_from_message
from lift_gs_ros.nodes.reporting import ERROR, Report
from lift_gs_ros.nodes.worker import BoundedQueue, Worker

LOOK_SECONDS = 1.0  # how often to see whether, and how, somebody publishes
SILENCE = 5.0  # seconds without a publisher, after which that is an error
KIND = 'sensor_msgs/msg/PointCloud2'


class CloudInput:
    """Hands over the chunks of the newest cloud that differ from those of the cloud before.

    A worker of its own cuts the clouds up; those that it has no time for are left out. It listens
    as the topic is published: some SLAMs latch their map and publish it seldom, others do neither.
    """

    def __init__(
        self, node: Node, topic: str, put_chunk: Callable[[ChunkUpdate], bool], report: Report
    ) -> None:
        self._node, self._put_chunk, self._report = node, put_chunk, report
        self._topic = node.resolve_topic_name(topic)
        self._clouds: BoundedQueue[PointCloud2] = BoundedQueue(1)
        self._worker = Worker('cloud map', self._step, self._on_error)
        self._subscription: Subscription | None = None
        self._qos: tuple[ReliabilityPolicy, DurabilityPolicy] | None = None
        self._frame_id, self._has_map, self._began = '', False, time.monotonic()
        self._begin_map()
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(LOOK_SECONDS, self._subscribe, clock=clock)

    def start(self) -> None:
        """Begin to work."""
        self._worker.start()

    def stop(self, timeout: float) -> bool:
        """End the worker; True when it has ended."""
        return self._worker.stop(timeout)

    def _begin_map(self) -> None:
        self._map, self._map_id, self._version = CloudMap(), random_map_id(), 0

    def _subscribe(self) -> None:
        """Subscribe with the QoS of the publishers, which come and go."""
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        offered = [
            publisher.qos_profile for publisher in publishers if publisher.topic_type == KIND
        ]
        if not offered:
            self._miss()
            return
        reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
        latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
        qos = (
            ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        if qos == self._qos:
            return
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._qos = qos
        self._subscription = self._node.create_subscription(
            PointCloud2,
            self._topic,
            self._on_cloud,
            QoSProfile(depth=1, reliability=qos[0], durability=qos[1]),
        )

    def _miss(self) -> None:
        """Say that nobody publishes; after a map has come, that need not be wrong."""
        if self._has_map or time.monotonic() < self._began + SILENCE:
            return
        if missing := nobody_publishes(self._node, self._topic, KIND):
            text = f'{missing}: is that the name (cloud_map)?'
            self._report.problem('no_cloud_map', text, ERROR)

    def _on_cloud(self, message: PointCloud2) -> None:
        self._report.count('clouds')
        if self._clouds.put(message) is not None:
            self._report.count('dropped_clouds')

    def _step(self) -> None:
        message = self._clouds.get(timeout=0.1)
        if message is None:
            return
        try:
            self._update(message)
        except ValueError as error:
            self._report.problem('bad_clouds', error)

    def _update(self, message: PointCloud2) -> None:
        frame_id = frame_name(message.header.frame_id)
        if not frame_id:
            raise ValueError('the point cloud has an empty frame_id, expected that of the map')
        cloud = cloud_from_message(message)
        if frame_id != self._frame_id:
            self._frame_id = frame_id
            self._begin_map()
        chunks = self._map.replace(cloud)
        self._has_map = True
        self._version += bool(chunks)
        for key, chunk in chunks.items():
            update = ChunkUpdate(
                key=key,
                cloud=chunk,
                chunk_size=self._map.chunk_size,
                voxel_size=self._map.voxel_size,
                map=MapSummary(version=self._version),
                stamp=stamp_to_ns(message.header.stamp),
                frame_id=frame_id,
                map_id=self._map_id,
            )
            if not self._put_chunk(update):  # there may be room when the next cloud comes
                self._map.doubt(key)
        self._report.count('chunks', len(chunks))

    def _on_error(self, error: Exception) -> None:
        self._report.problem('errors', f'{type(error).__name__}: {error}')
