"""mapping_node: colour, depth and poses in, a voxel map and its changed chunks out."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.mapping.synchronizer import PairSynchronizer
from lift_gs_ros.msg import MapChunk
from lift_gs_ros.nodes.conversions import (
    NANOSECONDS,
    chunk_to_message,
    chunks_to_cloud_message,
    make_header,
    matrix_from_parameter,
    pose_from_matrix,
    stamp_to_ns,
)
from lift_gs_ros.nodes.depth_registration import DepthRegistration
from lift_gs_ros.nodes.inputs import Inputs, image_topic
from lift_gs_ros.nodes.jobs import Jobs
from lift_gs_ros.nodes.lifecycle import DEACTIVATE_SECONDS, ManagedNode
from lift_gs_ros.nodes.map_services import MapServices
from lift_gs_ros.nodes.mapper import ImagePair, Mapper
from lift_gs_ros.nodes.parameters import MAPPING
from lift_gs_ros.nodes.point_clouds import cloud_to_message
from lift_gs_ros.nodes.pose_input import PoseInput
from lift_gs_ros.nodes.qos import LATCHED, LATCHED_CHUNKS, RELIABLE, SENSOR_QOS
from lift_gs_ros.nodes.reporting import ERROR
from lift_gs_ros.nodes.runner import run
from lift_gs_ros.nodes.worker import BoundedQueue, Worker

CHUNKS_A_STEP = 16  # well below the depth of LATCHED_CHUNKS, so that a reader can follow
COLOR, DEPTH = 0, 1


class MappingNode(ManagedNode):
    """Callbacks pair and enqueue; one worker waits for the pose, fuses and publishes.

    The map stays while the node is inactive.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('mapping_node', MAPPING, node_options)
        self._worker = Worker('mapping', self._step, self._on_error)
        self._info: CameraInfo | None = None

    def configure(self) -> None:
        """Make an empty map and advertise; compiles what fusion needs (seconds, once)."""
        values = self.values
        self._queue: BoundedQueue[ImagePair] = BoundedQueue(values['queue_size'])
        self._pairs: PairSynchronizer[Image | CompressedImage] = PairSynchronizer(
            int(values['sync_slop'] * NANOSECONDS)
        )
        self._poses = PoseInput(values, needs_tf=values['depth_registration'] == 'tf')
        self._registration = self._make_registration()
        self._mapper = Mapper(
            values,
            self._poses,
            lambda: self._info,
            self.report,
            self._worker.stopped,
            self._registration,
        )
        self._resend, self._jobs = threading.Event(), Jobs()
        self._sent: dict[ChunkKey, float] = {}  # when each chunk was published last
        self._map_version, self._map_readers, self._map_due = 0, 0, 0.0
        self._mapper.warm_up()
        self._advertise()

    def activate(self) -> None:
        """Subscribe and map."""
        self._subscribe()
        self._worker.start()

    def deactivate(self) -> None:
        """Stop mapping; the map stays."""
        if not self._worker.stop(DEACTIVATE_SECONDS):
            raise RuntimeError(f'the worker is still busy after {DEACTIVATE_SECONDS:.0f} s')
        self._queue.take_all()
        self._jobs.close('the node is inactive')

    def cleanup(self) -> None:
        """Forget the map and the calibration."""
        del self._mapper, self._poses
        self._info = None

    def stop(self, timeout: float) -> bool:
        """End the worker; whoever waits for it is told."""
        ended = self._worker.stop(timeout)
        if self.state != 'unconfigured':
            self._jobs.close('the node is shutting down')
        return ended

    def _make_registration(self) -> DepthRegistration | None:
        if self.values['depth_registration'] == 'none':
            return None
        if self._poses.tf is not None and self.values['depth_registration'] == 'tf':
            return DepthRegistration(self._poses.tf.between)
        color_from_depth = matrix_from_parameter(self.values, 'color_from_depth')
        return DepthRegistration(lambda color_frame, depth_frame: color_from_depth)

    def _subscribe(self) -> None:
        values = self.values
        qos = SENSOR_QOS[values['sensor_qos']]
        hint = f'colour and depth are paired within sync_slop = {values["sync_slop"]} s'
        self._inputs = inputs = Inputs(self.node, self.report, hint)  # an image may come at once
        self._poses.subscribe(self.node, inputs, qos)
        self._subscribe_to_images(inputs, qos, 'rgb/image', COLOR, values['rgb_transport'])
        self._subscribe_to_images(inputs, qos, 'depth/image', DEPTH, values['depth_transport'])
        inputs.subscribe(CameraInfo, 'rgb/camera_info', self._on_info, qos)
        if self._registration is not None:
            inputs.subscribe(CameraInfo, 'depth/camera_info', self._on_depth_info, qos)

    def _subscribe_to_images(
        self, inputs: Inputs, qos: QoSProfile, topic: str, side: int, transport: str
    ) -> None:
        kind, topic = image_topic(self.node, topic, transport)
        inputs.subscribe(kind, topic, lambda image: self._on_image(side, image), qos)

    def _advertise(self) -> None:
        node = self.node
        self._map_publisher = node.create_publisher(PointCloud2, 'map', LATCHED)
        self._update_publisher = node.create_publisher(PointCloud2, 'map_update', RELIABLE)
        self._pose_publisher = node.create_publisher(PoseStamped, 'keyframe_pose', LATCHED)
        # A reader that comes (again) gets the whole map, however long ago it was made.
        matched = PublisherEventCallbacks(matched=self._on_chunk_reader)
        self._chunk_publisher = node.create_publisher(
            MapChunk, 'map_chunks', LATCHED_CHUNKS, event_callbacks=matched
        )
        MapServices(self, self.values['map_folder'], self._mapper, self._jobs, self._new_map)

    def _on_info(self, info: CameraInfo) -> None:
        self._info = info

    def _on_depth_info(self, info: CameraInfo) -> None:
        if self._registration is not None:
            self._registration.info = info

    def _on_image(self, side: int, image: Image | CompressedImage) -> None:
        pair = self._pairs.add(side, stamp_to_ns(image.header.stamp), image)
        if pair is None:
            return
        self._inputs.alive()
        self.report.count('pairs')
        dropped = self._queue.put(ImagePair(pair[COLOR], pair[DEPTH]))
        if dropped is not None:
            waiting = len(self._queue)
            self.report.problem('dropped_pairs', f'{waiting} (queue_size) were waiting to be fused')

    def _on_chunk_reader(self, event) -> None:
        if event.current_count_change > 0:
            self._resend.set()

    def _on_error(self, error: Exception) -> None:
        self.report.problem('errors', f'{type(error).__name__}: {error}', ERROR)

    def _step(self) -> None:
        self._jobs.run()
        pair = self._queue.get(timeout=0.1)
        if pair is not None:
            before = self._mapper.last_stamp
            self._mapper.fuse(pair)
            if self._mapper.last_stamp != before:
                self._publish_pose()
        if self._resend.is_set():
            self._resend.clear()
            self._mapper.send_all_again()
        self._publish_chunks()
        self._publish_map()

    def _new_map(self) -> None:
        self._queue.take_all()  # images of before belong to the old one
        self._mapper.reset()

    def _publish_pose(self) -> None:
        header = make_header(self._mapper.last_stamp, self.values['map_frame'])
        pose = pose_from_matrix(self._mapper.last_pose)
        self._pose_publisher.publish(PoseStamped(header=header, pose=pose))

    def _publish_chunks(self) -> None:
        now, updates = time.monotonic(), []
        before = now - 1 / self.values['chunk_rate']
        due = [key for key in self._mapper.pending if self._sent.get(key, -math.inf) <= before]
        for key in due[:CHUNKS_A_STEP]:
            del self._mapper.pending[key]
            updates.append(self._mapper.chunk_update(key))
            self._sent[key] = now
            if not len(updates[-1].cloud):
                del self._sent[key]
            self._chunk_publisher.publish(chunk_to_message(updates[-1]))
            self.report.count('chunks')
        if updates and self._update_publisher.get_subscription_count():
            self._update_publisher.publish(chunks_to_cloud_message(updates))

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
            'chunks that left a full map': self._mapper.map.evicted_chunks,
            'map version': summary.version,
            'queued pairs': len(self._queue),
            'colour images without depth': color,
            'depth images without colour': depth,
        }


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    run('mapping_node', MappingNode, args)


if __name__ == '__main__':
    main()
