"""The kinds of quality of service that the nodes use, and the words for them."""

from __future__ import annotations

from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)


def latched(depth: int) -> QoSProfile:
    """Return the QoS of what who comes late must still get: the last ``depth`` messages."""
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


LATCHED = latched(1)
LATCHED_CHUNKS = latched(64)  # every chunk of a room
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
# Deep, so that whatever is too much is dropped, and counted, by the node and not by DDS unseen: a
# second of a flood fits.
QUERIES = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
# By the value of the parameter sensor_qos.
SENSOR_QOS = {'sensor_data': qos_profile_sensor_data, 'reliable': RELIABLE}


def pose_qos(cloud_map: str) -> QoSProfile:
    """Return that of keyframe_pose, which mapping_node latches, and another SLAM may not."""
    return SENSOR_QOS['sensor_data'] if cloud_map else LATCHED


def describe(profile: QoSProfile) -> str:
    """Say in words what matters for whether two sides match."""
    return f'{profile.reliability.name.lower()}, {profile.durability.name.lower()}'
