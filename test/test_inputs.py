"""What the nodes say of topics that stay silent, are misnamed, or do not match, in a real graph."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from ros_graph import FakeCamera, wait_until  # noqa: E402
from sensor_msgs.msg import Image, PointCloud2  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from test_nodes import FakeGrounder, listen, wait_for_count  # noqa: E402

from lift_gs_ros import msg  # noqa: E402
from lift_gs_ros.geometry import PointCloud  # noqa: E402
from lift_gs_ros.grounding.instances import MapSummary  # noqa: E402
from lift_gs_ros.nodes import conversions  # noqa: E402
from lift_gs_ros.nodes.grounding_node import GroundingNode  # noqa: E402
from lift_gs_ros.nodes.overlay_node import OverlayNode  # noqa: E402
from lift_gs_ros.nodes.qos import LATCHED_CHUNKS, RELIABLE  # noqa: E402
from lift_gs_ros.nodes.reporting import ERROR, OK, WARN  # noqa: E402
from lift_gs_ros.nodes.viewer_node import ViewerNode  # noqa: E402

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
NOBODY = 'nobody publishes lift_gs_ros/msg/MapChunk on /map_chunks'


def add(graph, name: str):
    if name == 'grounding':
        return graph.add(lambda **o: GroundingNode(lambda values: FakeGrounder(), **o))
    if name == 'viewer':
        return graph.add(ViewerNode, port=0, update_rate=20.0)
    return graph.add(OverlayNode, sensor_qos='reliable')


def chunk() -> msg.MapChunk:
    cloud = PointCloud(np.zeros((1, 3)), np.zeros((1, 3)))
    update = conversions.ChunkUpdate((0, 0, 0), cloud, 6.45, 0.05, MapSummary(1), 1, 'map', 1)
    return conversions.chunk_to_message(update)


@pytest.mark.parametrize('name', ['grounding', 'viewer'])
def test_a_map_that_nobody_publishes_is_a_fault_and_one_that_is_finished_is_none(
    graph, client, name
):
    node = add(graph, name)
    node._inputs._silence = 0.1

    def says(level: bytes, text: str) -> bool:
        health = node.report.health()
        return health[0] == level and text in health[1]

    wait_until(lambda: says(ERROR, f'{NOBODY}: is that its name'), 'error')
    publisher = client.create_publisher(msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)
    wait_until(lambda: says(OK, ''), 'no error: there is a publisher, if no map yet')
    publisher.publish(chunk())
    wait_until(lambda: node._inputs._inputs[0].count, 'a chunk')
    client.destroy_publisher(publisher)
    wait_until(lambda: says(WARN, f'{NOBODY} any more; what came is kept'), 'a warning')
    counted = node.report.counts()['no_publisher']
    publisher = client.create_publisher(msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)
    wait_until(lambda: says(OK, ''), 'no warning')
    wait_for_count(node, 'no_publisher', counted)
    assert 'no_data' not in node.report.counts()


@pytest.mark.parametrize(
    ('name', 'kind', 'topic', 'qos'),
    [
        ('grounding', String, 'query', BEST_EFFORT),
        ('grounding', msg.MapChunk, 'map_chunks', RELIABLE),  # not latched
        ('viewer', msg.MapChunk, 'map_chunks', RELIABLE),
        ('viewer', msg.Grounding, 'grounding', RELIABLE),
        ('overlay', PointCloud2, 'masks', RELIABLE),
        ('overlay', Image, 'rgb/image', BEST_EFFORT),
    ],
)
def test_a_publisher_that_does_not_match_is_counted_whatever_the_topic(
    graph, client, name, kind, topic, qos
):
    node = add(graph, name)
    listen(client, Image, 'annotated_image', RELIABLE)  # overlay_node takes images for a reader
    client.create_publisher(kind, topic, qos)
    wait_for_count(node, 'incompatible_publishers')
    assert f'a publisher on /{topic} has an incompatible QoS' in node.report.health()[1]


@pytest.mark.parametrize('missing', ['color', 'odometry'])
def test_overlay_node_names_images_and_poses_that_are_silent(graph, client, missing):
    camera = FakeCamera(client)
    node = add(graph, 'overlay')
    images = listen(client, Image, 'annotated_image', RELIABLE)
    wait_until(lambda: camera.publish() or images, 'an image')
    reasons: list[str] = []
    node.report._warn, node.report._period = reasons.append, 0.0
    node._inputs._silence = 1.5
    topic = {'color': '/rgb/image', 'odometry': '/odometry'}[missing]

    def named() -> bool:
        camera.publish(**{missing: None})
        return any(f'{topic} [' in line and 'SILENT' in line for line in lines())

    def lines() -> list[str]:
        return [line for reason in reasons for line in reason.splitlines() if 'images' in reason]

    wait_until(named, 'a warning')
    wait_until(lambda: camera.publish() or 'no_data' not in node.report._problems, 'data again')


def test_a_calibration_that_comes_once_is_not_silent(graph, client):
    camera = FakeCamera(client)
    node = add(graph, 'overlay')
    wait_until(lambda: camera.publish() or node._info, 'a camera_info')
    [info] = [entry for entry in node._inputs._inputs if entry.topic == '/rgb/camera_info']

    def is_fine() -> bool:
        camera.publish(info=None)
        info.last -= 100.0
        node._inputs._watch()
        return node.report.health()[0] == OK

    wait_until(is_fine, 'no fault')
