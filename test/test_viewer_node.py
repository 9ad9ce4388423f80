"""viewer_node in a real graph: from topics to the page, and from the page to the topic query."""

import socket
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import torch  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from ros_graph import FakeCamera, wait_until  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from test_node_images import CompressedCamera  # noqa: E402

from lift_gs_ros import msg  # noqa: E402
from lift_gs_ros.geometry import Box, PointCloud  # noqa: E402
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings  # noqa: E402
from lift_gs_ros.grounding.instances import (  # noqa: E402
    GroundedInstance,
    Grounding,
    MapSummary,
)
from lift_gs_ros.model.config import LiftGSConfig  # noqa: E402
from lift_gs_ros.model.language import load_language_encoder  # noqa: E402
from lift_gs_ros.model.lift_gs import LiftGS  # noqa: E402
from lift_gs_ros.nodes import answers, conversions  # noqa: E402
from lift_gs_ros.nodes.answer_pairs import AnswerPairs  # noqa: E402
from lift_gs_ros.nodes.grounding_node import GroundingNode  # noqa: E402
from lift_gs_ros.nodes.map_intake import CHUNK_COST  # noqa: E402
from lift_gs_ros.nodes.mapping_node import MappingNode  # noqa: E402
from lift_gs_ros.nodes.qos import LATCHED, LATCHED_CHUNKS, RELIABLE  # noqa: E402
from lift_gs_ros.nodes.standing import shown_instances  # noqa: E402
from lift_gs_ros.nodes.viewer_node import ViewerNode  # noqa: E402


def add_viewer(graph, **parameters) -> ViewerNode:
    return graph.add(ViewerNode, port=0, update_rate=20.0, **parameters)


def chunk_message(map_id: int, count: int = 100, key=(0, 0, 0)) -> msg.MapChunk:
    points = np.random.default_rng(0).uniform(-1, 1, (count, 3))
    update = conversions.ChunkUpdate(
        key=key,
        cloud=PointCloud(points, np.full((count, 3), 0.5)),
        chunk_size=6.45,
        voxel_size=0.05,
        map=MapSummary(version=5, keyframes=3),
        map_id=map_id,
        stamp=1_000_000_000,
        frame_id='map',
    )
    return conversions.chunk_to_message(update)


def answer(*counts: int, stamp: int = 5) -> Grounding:
    """Build an answer with one instance of so many points for each count."""
    box = Box(np.zeros(3), np.ones(3))
    instances = [
        GroundedInstance(
            i, 'chair', (0, 5), True, 0.9, box, np.full((n, 3), i, np.float32), np.ones(n)
        )
        for i, n in enumerate(counts)
    ]
    return Grounding('chair', stamp, 'map', instances, 0.1)


def masks_of(*groundings: Grounding) -> PointCloud2:
    header = answers.answer_header(groundings[0])
    return answers.masks_to_message(shown_instances(groundings), header)


def test_the_two_messages_of_an_answer_meet_in_either_order_and_only_each_other():
    def messages(grounding):
        return answers.grounding_to_message(grounding, 'w'), masks_of(grounding)

    pairs = AnswerPairs()
    other, other_masks = messages(answer(2, 3))
    later, later_masks = messages(answer(3, 2))
    nothing, no_masks = messages(answer())
    assert pairs.add_grounding(other) is None
    assert pairs.add_grounding(later) is None
    found = pairs.add_masks(later_masks)
    assert [len(instance.points) for instance in found.instances] == [3, 2]
    assert pairs.add_masks(other_masks) is None, 'an older answer came back'
    assert pairs.add_masks(no_masks) is None
    assert pairs.add_grounding(nothing).instances == []
    of_another_time = messages(answer(stamp=6))[1]
    assert pairs.add_masks(of_another_time) is None
    assert pairs.add_grounding(nothing) is None
    with pytest.raises(ValueError, match='instance_id'):
        pairs.add_masks(chunk_message(1).cloud)


def test_an_answer_meets_its_masks_though_a_newer_one_has_overtaken_them():
    first, second = answer(30), replace(answer(20), query='the red chair')
    messages = [(answers.grounding_to_message(one, 'w'), masks_of(one)) for one in (first, second)]
    pairs = AnswerPairs()
    assert pairs.add_grounding(messages[0][0]) is None
    assert pairs.add_grounding(messages[1][0]) is None
    assert pairs.add_masks(messages[0][1]).query == 'chair'
    assert pairs.add_masks(messages[1][1]).query == 'the red chair'


def test_masks_that_overtake_their_answer_are_its_own_when_it_comes():
    before, newest = answer(2, 3), replace(answer(3, 2), query='the red chair')
    pairs = AnswerPairs()
    assert pairs.add_grounding(answers.grounding_to_message(before, 'w')) is None
    assert pairs.add_masks(masks_of(newest)).query == 'chair'  # of the same objects
    found = pairs.add_grounding(answers.grounding_to_message(newest, 'w'))
    assert found.query == 'the red chair'
    assert [len(instance.points) for instance in found.instances] == [3, 2]


def test_an_object_of_which_another_standing_query_is_surer_is_shown_with_that_ones_points():
    surer, other = answer(30), answer(20)
    other = replace(other, query='seat', instances=[replace(other.instances[0], score=0.6)])
    pairs = AnswerPairs()
    assert pairs.add_grounding(answers.grounding_to_message(surer, 'w')) is None
    assert pairs.add_masks(masks_of(surer)).query == 'chair'
    assert pairs.add_grounding(answers.grounding_to_message(other, 'w')) is None
    found = pairs.add_masks(masks_of(surer, other))
    assert (found.query, len(found.instances[0].points)) == ('seat', 30)


def test_chunks_reach_the_page_bad_ones_are_counted_and_a_new_map_clears_it(graph, client):
    publisher = client.create_publisher(msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)
    viewer = add_viewer(graph)
    points = viewer.viewer._map
    publisher.publish(chunk_message(3))
    publisher.publish(chunk_message(3, key=(1, 0, 0)))  # its points are in another place
    wait_until(lambda: points.num_points == 100, 'a chunk on the page')
    wait_until(lambda: viewer.report.counts().get('bad_chunks') == 1, 'a bad chunk counted')
    publisher.publish(chunk_message(3, 0))
    wait_until(lambda: points.num_points == 0, 'an empty chunk to go')
    publisher.publish(chunk_message(3))
    wait_until(lambda: points.num_points == 100, 'a chunk on the page')
    viewer.viewer.show(answer(2))
    publisher.publish(chunk_message(1, 50))
    wait_until(lambda: points.num_points == 50, 'the new map on the page')
    assert viewer.viewer._shown is None
    assert viewer.viewer._panel._history == []


def test_a_map_above_the_bound_is_not_shown_and_what_was_there_stays(graph, client):
    publisher = client.create_publisher(msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)
    viewer = add_viewer(graph, max_voxels=2 * (100 + CHUNK_COST))
    points, counts = viewer.viewer._map, viewer.report.counts
    publisher.publish(chunk_message(3))
    wait_until(lambda: points.num_points == 100, 'a chunk on the page')
    publisher.publish(chunk_message(3, 301))
    wait_until(lambda: counts().get('refused_chunks') == 1, 'a chunk refused')
    publisher.publish(chunk_message(3, 200))
    wait_until(lambda: points.num_points == 200, 'the chunk grown')
    publisher.publish(chunk_message(4, 300))  # another map, in whose place there is room
    wait_until(lambda: points.num_points == 300, 'another map on the page')
    assert counts()['refused_chunks'] == 1


def test_a_map_of_another_slam_is_shown_too_and_an_inactive_viewer_shows_nothing(graph, client):
    publisher = client.create_publisher(PointCloud2, 'cloud_map', LATCHED)
    cloud = chunk_message(1).cloud
    cloud.header.frame_id = 'map'
    publisher.publish(cloud)
    viewer = add_viewer(graph, cloud_map='cloud_map')
    points = viewer.viewer._map
    wait_until(lambda: points.num_points > 50, 'the map on the page')
    viewer.node.trigger_deactivate()
    assert points.num_points == 0
    viewer.viewer._ask('a chair')  # whose answer would never come
    assert 'viewer_node is inactive' in viewer.viewer._panel._answer.content
    viewer.node.trigger_activate()
    wait_until(lambda: points.num_points > 50, 'the map on the page again')
    url = viewer.viewer.url
    viewer.node.trigger_deactivate()
    viewer.node.trigger_cleanup()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', int(url.rpartition(':')[2])))


def test_what_is_typed_goes_to_query_and_with_nobody_there_the_page_says_so(graph, client):
    viewer = add_viewer(graph)
    viewer.viewer._ask('a chair')
    assert 'Nobody listens on /query' in viewer.viewer._panel._answer.content
    queries: list[String] = []
    client.create_subscription(String, 'query', queries.append, RELIABLE)
    wait_until(viewer._queries.get_subscription_count, 'a subscriber of query')
    viewer.viewer._ask('a red  chair')
    wait_until(lambda: queries, 'a query')
    assert queries[0].data == 'a red chair'
    assert 'Looking for “a red chair”' in viewer.viewer._panel._answer.content


def test_compressed_images_are_shown_as_raw_ones(graph, client):
    camera = CompressedCamera(client)
    viewer = add_viewer(graph, rgb_transport='compressed')
    wait_until(camera.color.get_subscription_count, 'a subscriber of compressed images')
    assert not client.count_subscribers('rgb/image')
    camera.publish()
    wait_until(lambda: viewer._image, 'an image')
    viewer._on_pose(PoseStamped())
    viewer._show_camera()  # which otherwise waits for a browser
    red, green, blue = np.moveaxis(viewer.viewer._camera._handle.image, -1, 0)
    assert red.min() > 200 > 50 > max(green.max(), blue.max())


def tiny_grounder(values) -> Grounder:
    """The real model, random and small, with thresholds so low that it finds something."""
    torch.manual_seed(0)
    language = load_language_encoder('minilm')
    settings = GrounderSettings(score_threshold=0.0, mask_threshold=0.1)
    return Grounder(LiftGS(LiftGSConfig.tiny(language_dim=language.dim)), language, settings)


def test_camera_map_and_answer_of_the_whole_graph_are_seen_in_a_browser(graph, client):
    pytest.importorskip('playwright', reason='playwright is not installed')
    from browser import ViewerPage, chromium, find_chromium

    if not find_chromium():
        pytest.skip('no browser: apt-get install chromium (on Debian)')
    camera = FakeCamera(client)
    mapping = graph.add(MappingNode, sensor_qos='reliable')
    graph.add(
        lambda **o: GroundingNode(tiny_grounder, **o), score_threshold=0.0, mask_threshold=0.1
    )
    viewer = add_viewer(graph)
    camera.wait_for_subscribers()
    masks: list[PointCloud2] = []
    client.create_subscription(PointCloud2, 'masks', masks.append, LATCHED)

    def mapped() -> bool:
        camera.publish()
        return mapping.report.counts().get('keyframes', 0) >= 3

    wait_until(mapped, 'keyframes')
    with chromium() as browser:
        tab = ViewerPage(browser, viewer.viewer.url)
        tab.wait_for_node('/map/0_0_0')
        camera.publish()
        tab.wait_for_node('/camera')
        assert tab.props('/camera', 'm.props._image_data !== null')
        tab.ask('the red wall')
        tab.wait_for_node('/answer/0/box')
        tab.wait_for_node('/answer/0/mask')
        assert tab.props('/answer/0/label', 'm.props.text').startswith('the red wall')
        assert masks[-1].width > 0
        assert not tab.errors
