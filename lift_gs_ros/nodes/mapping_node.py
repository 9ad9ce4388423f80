"""mapping_node: colour, depth and poses in, a voxel map and its changed chunks out."""

from __future__ import annotations

import threading
import time
from typing import Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import Trigger

from lift_gs_ros.msg import MapChunk
from lift_gs_ros.nodes.conversions import (
    NANOSECONDS,
    chunk_to_message,
    frame_name,
    make_header,
    matrix_from_pose,
    matrix_from_values,
    pose_from_matrix,
    stamp_to_ns,
)
from lift_gs_ros.nodes.inputs import Inputs
from lift_gs_ros.nodes.mapper import ImagePair, Mapper
from lift_gs_ros.nodes.parameters import MAPPING, declare
from lift_gs_ros.nodes.point_clouds import cloud_to_message
from lift_gs_ros.nodes.poses import PoseBuffer, PoseSource, TfPoses
from lift_gs_ros.nodes.qos import LATCHED, LATCHED_CHUNKS, SENSOR_QOS
from lift_gs_ros.nodes.reporting import Diagnostics, Report
from lift_gs_ros.nodes.runner import run
from lift_gs_ros.nodes.synchronizer import PairSynchronizer
from lift_gs_ros.nodes.worker import BoundedQueue, Worker

CHUNKS_A_STEP = 16  # well below the depth of LATCHED_CHUNKS, so that a reader can follow
COLOR, DEPTH = 0, 1


class MappingNode:
    """Callbacks pair and enqueue; one worker waits for the pose, fuses and publishes."""

    def __init__(self, **node_options: Any) -> None:
        self.node = Node('mapping_node', **node_options)
        self.finished, self.failure = threading.Event(), ''
        self.values = declare(self.node, MAPPING)
        self.report = Report(self.node.get_logger().warning)
        self._worker = Worker('mapping', self._step, self._on_error)
        self._queue: BoundedQueue[ImagePair] = BoundedQueue(self.values['queue_size'])
        self._pairs: PairSynchronizer[Image] = PairSynchronizer(
            int(self.values['sync_slop'] * NANOSECONDS)
        )
        self._info: CameraInfo | None = None
        self._inputs = self._subscribe()
        self._mapper = Mapper(
            self.values, self._poses, lambda: self._info, self.report, self._worker.stopped
        )
        self._resend, self._reset = threading.Event(), threading.Event()
        self._map_version, self._map_readers, self._map_due = 0, 0, 0.0
        self._advertise()

    def _subscribe(self) -> Inputs:
        values = self.values
        qos = SENSOR_QOS[values['sensor_qos']]
        hint = f'colour and depth are paired within sync_slop = {values["sync_slop"]} s'
        inputs = Inputs(self.node, self.report, hint)
        self._subscribe_to_poses(inputs, qos)
        inputs.subscribe(Image, 'rgb/image', lambda image: self._on_image(COLOR, image), qos)
        inputs.subscribe(Image, 'depth/image', lambda image: self._on_image(DEPTH, image), qos)
        inputs.subscribe(CameraInfo, 'rgb/camera_info', self._on_info, qos)
        return inputs

    def _subscribe_to_poses(self, inputs: Inputs, qos: QoSProfile) -> None:
        values = self.values
        self._poses: PoseSource
        if values['pose_source'] == 'tf':
            self._poses = TfPoses(self.node, values['map_frame'])
            return
        extrinsic = matrix_from_values(values['base_from_camera'])
        self._poses = self._buffer = PoseBuffer(extrinsic, values['pose_max_gap'])
        # A group of their own: poses must not queue behind images, which wait for them.
        group = MutuallyExclusiveCallbackGroup()
        if values['pose_source'] == 'odometry':
            inputs.subscribe(
                Odometry, 'odometry', lambda m: self._on_pose(m.header, m.pose.pose), qos, group
            )
        else:
            inputs.subscribe(
                PoseStamped, 'pose', lambda m: self._on_pose(m.header, m.pose), qos, group
            )

    def _advertise(self) -> None:
        node = self.node
        self._map_publisher = node.create_publisher(PointCloud2, 'map', LATCHED)
        self._pose_publisher = node.create_publisher(PoseStamped, 'keyframe_pose', LATCHED)
        # A reader that comes (again) gets the whole map, however long ago it was made.
        matched = PublisherEventCallbacks(matched=self._on_chunk_reader)
        self._chunk_publisher = node.create_publisher(
            MapChunk, 'map_chunks', LATCHED_CHUNKS, event_callbacks=matched
        )
        group = MutuallyExclusiveCallbackGroup()
        node.create_service(Trigger, '~/reset', self._on_reset, callback_group=group)
        Diagnostics(node, self.report, self._state)

    def start(self) -> None:
        """Begin to work."""
        self._mapper.warm_up()
        self._worker.start()

    def stop(self, timeout: float) -> bool:
        """End the worker."""
        return self._worker.stop(timeout)

    def _on_info(self, info: CameraInfo) -> None:
        self._info = info

    def _on_pose(self, header, pose) -> None:
        frame, map_frame = frame_name(header.frame_id), frame_name(self.values['map_frame'])
        if frame != map_frame:
            raise ValueError(
                f"pose is in frame '{frame}', expected map_frame '{map_frame}': set map_frame to "
                f"'{frame}', or pose_source to tf"
            )
        self._buffer.add(stamp_to_ns(header.stamp), matrix_from_pose(pose))

    def _on_image(self, side: int, image: Image) -> None:
        pair = self._pairs.add(side, stamp_to_ns(image.header.stamp), image)
        if pair is None:
            return
        self._inputs.alive()
        self.report.count('pairs')
        dropped = self._queue.put(ImagePair(pair[COLOR], pair[DEPTH]))
        if dropped is not None:
            self.report.count('dropped_pairs')

    def _on_chunk_reader(self, event) -> None:
        if event.current_count_change > 0:
            self._resend.set()

    def _on_reset(self, _request, response: Trigger.Response) -> Trigger.Response:
        self._reset.set()
        deadline = time.monotonic() + 5.0
        while self._reset.is_set() and time.monotonic() < deadline:
            self._worker.stopped.wait(0.01)
        response.success = not self._reset.is_set()
        response.message = 'new map' if response.success else 'the worker is busy; it will follow'
        return response

    def _on_error(self, error: Exception) -> None:
        self.report.problem('errors', f'{type(error).__name__}: {error}')

    def _step(self) -> None:
        pair = self._queue.get(timeout=0.1)
        if self._reset.is_set():
            self._queue.take_all()
            self._mapper.reset()
            self._reset.clear()
        elif pair is not None:
            before = self._mapper.last_stamp
            self._mapper.fuse(pair)
            if self._mapper.last_stamp != before:
                self._publish_pose()
        if self._resend.is_set():
            self._resend.clear()
            self._mapper.send_all_again()
        self._publish_chunks()
        self._publish_map()

    def _publish_pose(self) -> None:
        header = make_header(self._mapper.last_stamp, self.values['map_frame'])
        pose = pose_from_matrix(self._mapper.last_pose)
        self._pose_publisher.publish(PoseStamped(header=header, pose=pose))

    def _publish_chunks(self) -> None:
        for key in list(self._mapper.pending)[:CHUNKS_A_STEP]:
            del self._mapper.pending[key]
            self._chunk_publisher.publish(chunk_to_message(self._mapper.chunk_update(key)))
            self.report.count('chunks')

    def _publish_map(self) -> None:
        """Publish the whole map: not too often, and only to somebody who does not have it."""
        readers, version = self._map_publisher.get_subscription_count(), self._mapper.map.version
        news = version != self._map_version or readers > self._map_readers
        self._map_readers = min(readers, self._map_readers)
        if not readers or not version or not news or time.monotonic() < self._map_due:
            return
        self._map_due = time.monotonic() + 1 / self.values['map_rate']
        self._map_readers, self._map_version = readers, version
        header = make_header(self._mapper.last_stamp, self.values['map_frame'])
        self._map_publisher.publish(cloud_to_message(self._mapper.map.to_point_cloud(), header))

    def _state(self) -> dict[str, object]:
        summary = self._mapper.summary
        color, depth = self._pairs.unpaired
        return {
            'voxels': summary.voxels,
            'chunks in map': summary.chunks,
            'map version': summary.version,
            'queued pairs': len(self._queue),
            'colour images without depth': color,
            'depth images without colour': depth,
            'last keyframe ms': round(self._mapper.last_ms, 1),
        }


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    run('mapping_node', MappingNode, args)


if __name__ == '__main__':
    main()
