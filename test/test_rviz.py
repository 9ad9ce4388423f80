"""The configuration of RViz against what the real nodes publish. RViz itself is not run."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from rclpy.qos import (  # noqa: E402
    DurabilityPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from ros_graph import wait_until  # noqa: E402
from test_security import camera_node, grounding_node  # noqa: E402

from lift_gs_ros.nodes.mapping_node import MappingNode  # noqa: E402
from lift_gs_ros.nodes.overlay_node import OverlayNode  # noqa: E402

CONFIG = Path(__file__).parents[1] / 'config' / 'grounding.rviz'
TYPES = {
    'PointCloud2': 'sensor_msgs/msg/PointCloud2',
    'MarkerArray': 'visualization_msgs/msg/MarkerArray',
    'Image': 'sensor_msgs/msg/Image',
    'Odometry': 'nav_msgs/msg/Odometry',
    'Pose': 'geometry_msgs/msg/PoseStamped',
}
# What RViz can show, without map_update: the points of map once more.
SHOWN = {'map', 'masks', 'markers', 'odometry', 'keyframe_pose'}
SHOWN |= {'rgb/image', 'annotated_image', 'rendered_image'}


def displays() -> list[dict]:
    manager = yaml.safe_load(CONFIG.read_text())['Visualization Manager']
    assert manager['Global Options']['Fixed Frame'] == 'map'
    return manager['Displays']


def test_every_output_that_rviz_can_show_has_a_named_display_that_is_on():
    assert all(display['Enabled'] and display['Name'] for display in displays())
    names = [display['Name'] for display in displays()]
    assert len(set(names)) == len(names)
    assert {d['Topic']['Value'] for d in displays() if 'Topic' in d} == SHOWN


def qos_of(topic: dict) -> QoSProfile:
    transient = topic['Durability Policy'] == 'Transient Local'
    reliable = topic['Reliability Policy'] == 'Reliable'
    return QoSProfile(
        depth=topic['Depth'],
        liveliness=LivelinessPolicy.AUTOMATIC,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if transient else DurabilityPolicy.VOLATILE,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
    )


def test_every_display_hears_its_topic_with_its_type_and_what_is_latched_also_when_late(
    graph, client
):
    for make in (MappingNode, grounding_node, OverlayNode, camera_node):
        graph.add(make)
    for display in displays():
        if 'Topic' not in display:
            continue
        topic = display['Topic']['Value']

        def publishers(topic=topic) -> list:
            return client.get_publishers_info_by_topic(f'/{topic}')

        wait_until(publishers, f'a publisher of {topic}')
        [publisher] = publishers()
        assert publisher.topic_type == TYPES[display['Class'].rpartition('/')[2]]
        qos = qos_of(display['Topic'])
        compatibility, reason = qos_check_compatible(publisher.qos_profile, qos)
        assert compatibility == QoSCompatibility.OK, f'{topic}: {reason}'
        assert qos.durability == publisher.qos_profile.durability, topic
