"""The three kinds of quality of service that the nodes use, and the words for them."""

from __future__ import annotations

from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)

# What a late RViz must still see.
LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# Every chunk of a room is kept for a grounding_node that comes late.
LATCHED_CHUNKS = QoSProfile(
    depth=64,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
# By the value of the parameter sensor_qos.
SENSOR_QOS = {'sensor_data': qos_profile_sensor_data, 'reliable': RELIABLE}


def describe(profile: QoSProfile) -> str:
    """Say in words what matters for whether two sides match."""
    return f'{profile.reliability.name.lower()}, {profile.durability.name.lower()}'
