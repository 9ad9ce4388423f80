"""Poses as the parameters pose_source, base_from_camera and map_frame say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile

from lift_gs_ros.nodes.conversions import (
    frame_name,
    matrix_from_parameter,
    matrix_from_pose,
    stamp_to_ns,
)
from lift_gs_ros.nodes.inputs import Inputs
from lift_gs_ros.nodes.poses import PoseBuffer, PoseSource, TfPoses


class PoseInput:
    """Subscribes to odometry, pose messages or TF; ``source`` is asked for a pose at a stamp."""

    def __init__(self, values: Mapping[str, Any], needs_tf: bool = False) -> None:
        """Make ready; ``needs_tf``: TF is also asked for something else than poses."""
        self._values = values
        from_tf = values['pose_source'] == 'tf'
        self.tf = TfPoses(values['map_frame']) if from_tf or needs_tf else None
        extrinsic = matrix_from_parameter(values, 'base_from_camera')
        self._buffer = PoseBuffer(
            extrinsic, values['pose_max_gap'], lambda: values['jump_threshold']
        )
        self.source: PoseSource = self.tf if from_tf and self.tf else self._buffer
        self.child_frame = ''  # that odometry says it is about

    def subscribe(self, node: Node, inputs: Inputs, qos: QoSProfile) -> None:
        """Listen to what the poses come from."""
        if self.tf is not None:
            self.tf.listen(node)
        kinds: dict[str, tuple[type, str, Callable]] = {
            'odometry': (Odometry, 'odometry', self._on_odometry),
            'pose': (PoseStamped, 'pose', lambda m: self._on_pose(m.header, m.pose)),
            'pose_with_covariance': (
                PoseWithCovarianceStamped,
                'pose',
                lambda m: self._on_pose(m.header, m.pose.pose),
            ),
        }
        if self._values['pose_source'] in kinds:
            inputs.subscribe(*kinds[self._values['pose_source']], qos)

    def _on_odometry(self, message: Odometry) -> None:
        self.child_frame = frame_name(message.child_frame_id)
        self._on_pose(message.header, message.pose.pose)

    def _on_pose(self, header, pose) -> None:
        frame, map_frame = frame_name(header.frame_id), frame_name(self._values['map_frame'])
        if frame != map_frame:
            raise ValueError(
                f"pose is in frame '{frame}', expected map_frame '{map_frame}': set map_frame to "
                f"'{frame}', or pose_source to tf"
            )
        self._buffer.add(stamp_to_ns(header.stamp), matrix_from_pose(pose))
