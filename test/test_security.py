"""The SROS2 policy allows what the real nodes do, name by name, and nothing else."""

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from rclpy.node import Node  # noqa: E402
from ros_graph import CAMERA, wait_until  # noqa: E402
from sensor_msgs.msg import Image, PointCloud2  # noqa: E402
from test_nodes import FakeGrounder  # noqa: E402

from lift_gs_ros.mapping.frame import RgbdFrame  # noqa: E402
from lift_gs_ros.nodes.camera_node import CameraNode  # noqa: E402
from lift_gs_ros.nodes.grounding_node import GroundingNode  # noqa: E402
from lift_gs_ros.nodes.mapping_node import MappingNode  # noqa: E402
from lift_gs_ros.nodes.overlay_node import OverlayNode  # noqa: E402
from lift_gs_ros.nodes.qos import LATCHED  # noqa: E402
from lift_gs_ros.nodes.viewer_node import ViewerNode  # noqa: E402

POLICY = Path(__file__).parents[1] / 'config' / 'sros2' / 'policy.xml'
# The query's topic is absolute, as the launch file makes it.
QUERY = ['--ros-args', '-r', 'query:=/query']
WITHOUT_PACKAGE = {  # what a node does only where an optional package is installed
    'tf2_ros': {('subscribe', '/tf'), ('subscribe', '/tf_static')},
    'tf2_msgs': {('publish', '/tf')},
    'vision_msgs': {('publish', '/detections')},
}
HAS_TF = importlib.util.find_spec('tf2_ros') is not None
TF = {'pose_source': 'tf'} if HAS_TF else {}

Rights = set[tuple[str, str]]  # what may be done (an attribute of the policy), with which name


class Wall:
    """A sequence of one frame for camera_node."""

    name, rate = 'a wall', 10.0

    def __len__(self) -> int:
        return 1

    def __iter__(self):
        color, depth = np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 2.0, np.float32)
        return iter([RgbdFrame(0, color, depth, CAMERA, np.eye(4))])


def grounding_node(**options) -> GroundingNode:
    return GroundingNode(lambda values: FakeGrounder(), **options)


def camera_node(**options) -> CameraNode:
    return CameraNode(Wall(), **options)


# Every node in each of the ways that change what it listens to.
WAYS = {
    'mapping_node': (
        MappingNode,
        {},
        {'pose_source': 'pose', 'rgb_transport': 'compressed'},
        {'depth_transport': 'compressedDepth', 'depth_registration': 'parameter', **TF},
        {'use_sim_time': True},
    ),
    'grounding_node': (grounding_node, {}, {'use_sim_time': True}),
    'overlay_node': (
        OverlayNode,
        {},
        {'pose_source': 'pose', 'rgb_transport': 'compressed'},
        {**TF, 'use_sim_time': True},
    ),
    'camera_node': (camera_node, {}, {'use_sim_time': True}),
    'viewer_node': (
        ViewerNode,
        {'port': 0},
        {'port': 0, 'rgb_transport': 'compressed', 'use_sim_time': True},
    ),
}


def policy() -> dict[str, Rights]:
    """Rights by node, names resolved as sros2 does it; one enclave a node."""
    rights = {}
    for enclave in ElementTree.parse(POLICY).getroot().iter('enclave'):
        [profile] = enclave.iter('profile')
        node = profile.get('node', '')
        assert enclave.get('path') == f'/lift_gs_ros/{node}'
        rights[node] = {
            (right, _resolve(element.text or '', node))
            for group in profile
            for right, rule in group.items()
            for element in group
            if rule == 'ALLOW'
        }
    return rights


def _resolve(name: str, node: str) -> str:
    if name.startswith('~'):
        return f'/{node}{name[1:]}'
    return name if name.startswith('/') else f'/{name}'


def seen(client: Node, node: str, namespace: str) -> Rights:
    """What the graph says that a node does, names as if it had no namespace."""
    found = {
        'publish': client.get_publisher_names_and_types_by_node,
        'subscribe': client.get_subscriber_names_and_types_by_node,
        'reply': client.get_service_names_and_types_by_node,
        'request': client.get_client_names_and_types_by_node,
    }
    return {
        (right, name.removeprefix(namespace))
        for right, names in found.items()
        for name, _ in names(node, namespace)
    }


def done_by(graph, client: Node, name: str, *only: dict, topic: str = '') -> Rights:
    """What a node does, in all ways together, or in some; in each it must use the ``topic``."""
    make, *ways = WAYS[name]
    ways, rights = list(only) or ways, set()
    for i, parameters in enumerate(ways):
        namespace = f'/way{i}'
        arguments = [*QUERY, '-r', f'__ns:={namespace}']
        adapter = graph.add(
            lambda arguments=arguments, **options: make(cli_args=arguments, **options), **parameters
        )
        if name == 'overlay_node':  # it takes images in only where somebody looks
            client.create_subscription(Image, f'{namespace}/annotated_image', print, 10)
            wait_until(lambda adapter=adapter: adapter._image_input, 'a subscription of images')
        if topic:
            wait_until(lambda adapter=adapter: topic in _topics(adapter.node), topic)
        own = {entity.removeprefix(namespace) for entity in _topics(adapter.node)}

        def is_known(own=own, namespace=namespace) -> bool:
            return own <= {topic for _, topic in seen(client, name, namespace)}

        wait_until(is_known, f'{own} of {name} in the graph')
        rights |= seen(client, name, namespace)
    return rights


def _topics(node: Node) -> set[str]:
    return {entity.topic_name for entity in [*node.publishers, *node.subscriptions]}


@pytest.mark.parametrize('node', WAYS)
def test_the_policy_allows_what_a_node_does_and_nothing_else(graph, client, node):
    allowed, done = policy()[node], done_by(graph, client, node)
    absent: Rights = set()
    for package, rights in WITHOUT_PACKAGE.items():
        if importlib.util.find_spec(package) is None:
            absent |= rights
    assert done - allowed == set(), 'not allowed'
    assert allowed - done - absent == set(), 'allowed for nothing'


@pytest.mark.parametrize('node', ['grounding_node', 'viewer_node'])
def test_a_map_of_another_slam_needs_the_one_change_that_the_page_names(graph, client, node):
    # Subscribed to only where somebody publishes it.
    client.create_publisher(PointCloud2, '/slam/cloud', LATCHED)
    _, usual, *_ = WAYS[node]
    way = {**usual, 'cloud_map': '/slam/cloud'}
    allowed = policy()[node]
    done = done_by(graph, client, node, way, topic='/slam/cloud')
    assert done - allowed == {('subscribe', '/slam/cloud')}
    assert ('subscribe', '/map_chunks') in allowed - done
    page = (POLICY.parents[2] / 'docs' / 'security.md').read_text()
    assert 'that name in place of `map_chunks` for `grounding_node` and `viewer_node`' in page


def test_the_operator_may_ask_and_see_what_the_nodes_offer_and_nothing_else():
    rights = policy()
    operator = rights.pop('operator')
    assert set(rights) == set(WAYS)
    offered: Rights = set().union(*rights.values())
    counterpart = {'subscribe': 'publish', 'publish': 'subscribe', 'request': 'reply'}
    for right, name in operator:
        assert (counterpart[right], name) in offered or name in ('/rosout', '/parameter_events')
    assert ('publish', '/query') in operator
    assert not any(name.endswith(('/set_parameters', '/change_state')) for _, name in operator)
