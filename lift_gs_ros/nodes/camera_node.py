"""camera_node: plays a recorded sequence or a simulated room as the driver of a camera would."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from sensor_msgs.msg import CameraInfo, Image

from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.nodes.conversions import (
    image_from_color,
    image_from_depth,
    info_from_camera,
    make_header,
    pose_from_matrix,
    transform_from_matrix,
)
from lift_gs_ros.nodes.lifecycle import DEACTIVATE_SECONDS, ManagedNode
from lift_gs_ros.nodes.parameters import CAMERA
from lift_gs_ros.nodes.qos import RELIABLE
from lift_gs_ros.nodes.runner import run
from lift_gs_ros.nodes.worker import Worker
from lift_gs_ros.sequences import BagTopics, Sequence, open_sequence

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # optional: without it there is no /tf
    TFMessage = None


def open_source(values: dict[str, Any]) -> Sequence:
    """Open a bag or the folder of a recorded sequence, or a simulated room where there is none."""
    if values['sequence']:
        names = {field.name: values[f'bag_{field.name}'] for field in fields(BagTopics)}
        return open_sequence(Path(values['sequence']).expanduser(), BagTopics(**names))
    # The simulation casts rays with Open3D, which takes a while to import.
    from lift_gs_ros.simulation.rooms import make_room
    from lift_gs_ros.simulation.sequence import RoomSequence

    return RoomSequence(make_room(values['seed']))


class CameraNode(ManagedNode):
    """Publishes frame after frame in one thread, and finishes with the sequence.

    Made active again, it plays from the beginning.
    """

    def __init__(self, source: Sequence | None = None, **node_options: Any) -> None:
        super().__init__('camera_node', CAMERA, node_options)
        self._given_source = source
        self._worker = Worker('camera', self._play, self._on_error)

    def configure(self) -> None:
        """Open the sequence and advertise."""
        self._source = self._given_source or open_source(self.values)
        create = self.node.create_publisher
        # Reliable, as most drivers: who subscribes with best effort is served too.
        self._color = create(Image, 'rgb/image', RELIABLE)
        self._depth = create(Image, 'depth/image', RELIABLE)
        self._info = create(CameraInfo, 'rgb/camera_info', RELIABLE)
        self._odometry = create(Odometry, 'odometry', RELIABLE)
        self._tf = create(TFMessage, '/tf', 100) if self._has_tf() else None

    def activate(self) -> None:
        """Begin to play."""
        self._worker.start()

    def deactivate(self) -> None:
        """Stop after the current frame."""
        if not self._worker.stop(DEACTIVATE_SECONDS):
            raise RuntimeError(f'no frame within {DEACTIVATE_SECONDS:.0f} s')

    def cleanup(self) -> None:
        """Close the sequence."""
        del self._source

    def stop(self, timeout: float) -> bool:
        """Stop after the current frame."""
        return self._worker.stop(timeout)

    def _state(self) -> dict[str, object]:
        return {'sequence': self._source.name}

    def _has_tf(self) -> bool:
        if self.values['publish_tf'] and TFMessage is None:
            self.node.get_logger().info('tf2_msgs is not installed: poses on odometry only')
        return self.values['publish_tf'] and TFMessage is not None

    def _play(self) -> None:
        """Play the sequence once, or until the end of time."""
        self._wait_for_subscribers()
        rate = self.values['rate'] or self._source.rate
        self.node.get_logger().info(
            f'{self._source.name}: {len(self._source)} frames at {rate:g} Hz'
        )
        due = time.monotonic()
        for frame in self._source:
            if self._worker.stopped.wait(max(0.0, due - time.monotonic())):
                return
            self._publish(frame)
            # A source that is too slow for the rate is not caught up with in a burst.
            due = max(due + 1 / rate, time.monotonic())
        if not self.values['loop']:
            self._finish()

    def _finish(self) -> None:
        for publisher in (self._color, self._depth):
            publisher.wait_for_all_acked(Duration(seconds=1))
        self.node.get_logger().info(
            'the sequence is over: the map stays, and can be asked (loop: true plays it again)'
        )
        self._worker.stopped.set()
        self.finished.set()

    def _wait_for_subscribers(self) -> None:
        publishers = self._color, self._depth
        while self.values['wait_for_subscribers'] and not all(
            publisher.get_subscription_count() for publisher in publishers
        ):
            if self._worker.stopped.wait(0.1):
                return

    def _publish(self, frame: RgbdFrame) -> None:
        stamp = self.node.get_clock().now().nanoseconds
        image_header = make_header(stamp, self.values['camera_frame'])
        pose_header = make_header(stamp, self.values['map_frame'])
        pose = frame.world_from_camera
        odometry = Odometry(header=pose_header, child_frame_id=self.values['camera_frame'])
        odometry.pose.pose = pose_from_matrix(pose)
        self._odometry.publish(odometry)
        if self._tf is not None:
            transform = TransformStamped(header=pose_header, transform=transform_from_matrix(pose))
            transform.child_frame_id = self.values['camera_frame']
            self._tf.publish(TFMessage(transforms=[transform]))
        encoding = self.values['depth_encoding']
        self._info.publish(info_from_camera(frame.camera, image_header))
        self._color.publish(image_from_color(frame.color, image_header))
        self._depth.publish(image_from_depth(frame.depth, image_header, encoding))
        self.report.count('frames')

    def _on_error(self, error: Exception) -> None:
        self.failure = f'{self._source.name}: {type(error).__name__}: {error}'
        self._worker.stopped.set()
        self.finished.set()


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    run('camera_node', CameraNode, args)


if __name__ == '__main__':
    main()
