"""The nodes in a real graph of rclpy on its own domain; only the model is a stand-in here."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import yaml  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from rcl_interfaces.srv import DescribeParameters, SetParameters  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from ros_graph import CAMERA, PATIENCE, FakeCamera, domain_id, wait_until  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from visualization_msgs.msg import Marker, MarkerArray  # noqa: E402

from lift_gs_ros import msg, srv  # noqa: E402
from lift_gs_ros.geometry import Box, PointCloud, look_at  # noqa: E402
from lift_gs_ros.grounding.instances import (  # noqa: E402
    GroundedInstance,
    Grounding,
    MapSummary,
)
from lift_gs_ros.mapping.frame import RgbdFrame  # noqa: E402
from lift_gs_ros.nodes import conversions, parameters  # noqa: E402
from lift_gs_ros.nodes.camera_node import CameraNode  # noqa: E402
from lift_gs_ros.nodes.grounding_node import GroundingNode, load_grounder  # noqa: E402
from lift_gs_ros.nodes.mapping_node import MappingNode  # noqa: E402
from lift_gs_ros.nodes.overlay_node import OverlayNode  # noqa: E402
from lift_gs_ros.nodes.point_clouds import cloud_from_message, columns_from_message  # noqa: E402
from lift_gs_ros.nodes.qos import LATCHED, LATCHED_CHUNKS, RELIABLE, latched  # noqa: E402
from lift_gs_ros.nodes.reporting import ERROR, Report  # noqa: E402
from lift_gs_ros.nodes.runner import spin  # noqa: E402
from lift_gs_ros.nodes.viewer_node import ViewerNode  # noqa: E402

CONFIG = Path(__file__).parents[1] / 'config' / 'grounding.yaml'


def listen(node, kind, topic, qos=LATCHED) -> list:
    messages: list = []
    node.create_subscription(kind, topic, messages.append, qos)
    return messages


def call(node, kind, name, request, seconds=PATIENCE):
    client = node.create_client(kind, name)
    assert client.wait_for_service(20), name
    future = client.call_async(request)
    wait_until(future.done, f'an answer of {name}', seconds)
    return future.result()


@dataclass(frozen=True)
class FakeSettings:
    frame_id: str = 'map'
    chunk_size: float = 1.0
    score_threshold: float = 0.3
    mask_threshold: float = 0.5


class FakeGrounder:
    """Finds everything in the map, once: one instance through all points, id 1."""

    weights, device = 'stand-in', 'auto'

    def __init__(self):
        self.settings, self.camera = FakeSettings(), None
        self.slow = threading.Event()
        self.clear()

    def to(self, device):
        self.device = device

    def clear(self):
        self.clouds, self.dirty, self.map, self.stamp = {}, set(), MapSummary(), 0

    def update(self, key, cloud):
        self.clouds.pop(key, None)
        if len(cloud):
            self.clouds[key] = cloud
        self.dirty.add(key)

    def encode(self, budget=None, between=None):
        for _ in range(min(len(self.dirty), budget or len(self.dirty))):
            self.dirty.pop()
        return bool(self.dirty)

    def set_map(self, summary, stamp):
        self.map, self.stamp = summary, stamp

    def ground_many(self, queries):
        return [self.ground(query) for query in queries]

    def ground_again(self, answers):
        return self.ground_many([answer.query for answer in answers])

    def render(self, camera, world_from_camera):
        if camera.width > 1000:
            raise ValueError('too large')
        return np.full((camera.height, camera.width, 3), [1, 2, 3], np.uint8)

    def ground(self, query):
        if query == 'crash':
            raise RuntimeError('out of memory')
        if query == 'slow':
            self.slow.set()
            threading.Event().wait(1.0)
        points = PointCloud.concatenate(list(self.clouds.values())).positions
        found = GroundedInstance(
            1, query, (0, len(query)), True, 0.9, Box.from_points(points), points, points[:, 0]
        )
        instances = [] if query == 'nothing' else [found]
        return Grounding(query, self.stamp, self.settings.frame_id, instances, 0.1, map=self.map)


def make_mapping(graph, camera, **options) -> MappingNode:
    # Reliable: a test that publishes a bad message once must not lose it on a busy machine.
    mapping = graph.add(MappingNode, **{'sensor_qos': 'reliable', **options})
    camera.wait_for_subscribers()
    return mapping


def wait_for_count(node, name: str, number: int = 1) -> None:
    wait_until(
        lambda: node.report.counts().get(name, 0) >= number,
        f'{number} {name}; counted {node.report.counts()}',
    )


def map_good_frames(mapping, camera, number: int = 2, **options) -> None:
    """Publish good frames until so many more keyframes are fused.

    The next one follows when the one before is fused or refused (or a second late): a busy machine
    loses none, and none is on its way at the end.
    """
    before = mapping.report.counts().get('keyframes', 0)
    done, due = None, 0.0

    def fused() -> bool:
        nonlocal done, due
        counts, now = mapping.report.counts(), time.monotonic()
        if counts.get('keyframes', 0) >= before + number:
            return True
        handled = {name: n for name, n in counts.items() if name not in ('pairs', 'chunks')}
        if handled != done or now > due:
            done, due = handled, now + 1.0
            camera.publish(**options)
        return False

    wait_until(fused, f'keyframes; counted {mapping.report.counts()}')


# mapping_node


def test_frames_become_a_map_and_chunks_with_source_stamp_and_frame(graph, client, camera):
    mapping = make_mapping(graph, camera)
    maps = listen(client, PointCloud2, 'map')
    chunks = listen(client, msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)
    map_good_frames(mapping, camera, 3)
    wait_until(lambda: maps and chunks, 'a map and chunks')
    cloud = cloud_from_message(maps[-1])
    np.testing.assert_allclose(cloud.positions[:, 0], 2.0, atol=0.05)
    np.testing.assert_allclose(cloud.colors, np.broadcast_to([1, 0, 0], (len(cloud), 3)))
    for message in (maps[-1], chunks[-1]):
        assert message.header.frame_id == 'map'
        stamp = conversions.stamp_to_ns(message.header.stamp)
        assert 1_000_000_000_000 < stamp <= camera.stamp
    assert chunks[-1].voxel_size == pytest.approx(0.05)
    assert chunks[-1].keyframes >= 1


def test_a_late_reader_of_chunks_gets_the_whole_map(graph, client, camera):
    mapping = make_mapping(graph, camera, chunk_size=0.25)
    map_good_frames(mapping, camera, 5)
    wait_for_count(mapping, 'pairs', camera.published)  # the map is finished
    expected = mapping._mapper.map
    assert len(expected.chunk_keys()) > LATCHED_CHUNKS.depth
    chunks = listen(client, msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)

    def newest() -> dict:
        return {tuple(chunk.key): chunk.cloud.width for chunk in list(chunks)}

    wait_until(
        lambda: newest() == {key: len(expected.chunk(key)) for key in expected.chunk_keys()},
        'all chunks, as they are in the map',
    )


def test_a_chunk_that_changes_all_the_time_is_sent_at_chunk_rate_and_as_it_is_at_last(
    graph, client, camera
):
    mapping = make_mapping(graph, camera, chunk_rate=1.0)
    chunks = listen(client, msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)
    begin = time.monotonic()
    map_good_frames(mapping, camera, 12)
    took = time.monotonic() - begin

    def is_newest() -> bool:
        versions = {tuple(chunk.key): chunk.map_version for chunk in list(chunks)}
        return mapping._mapper.map.version in versions.values() and not mapping._mapper.pending

    wait_until(is_newest, 'the last change')
    keys = [tuple(chunk.key) for chunk in chunks]
    assert max(keys.count(key) for key in keys) <= 2 + took, 'once a second, and the last change'


def test_changed_chunks_are_a_plain_cloud_too_where_somebody_listens(graph, client, camera):
    mapping = make_mapping(graph, camera)
    map_good_frames(mapping, camera, 1)
    updates = listen(client, PointCloud2, 'map_update', RELIABLE)
    wait_until(lambda: mapping._update_publisher.get_subscription_count(), 'the reader')
    map_good_frames(mapping, camera, 2)
    wait_until(lambda: updates, 'an update')
    chunks = columns_from_message(updates[-1], ('chunk_x', 'chunk_y', 'chunk_z'))
    assert set(map(tuple, chunks.tolist())) <= set(mapping._mapper.map.chunk_keys())


def test_bad_frames_are_counted_with_the_reason_and_the_next_good_one_works(graph, client, camera):
    mapping = make_mapping(graph, camera)
    reasons: list[str] = []
    mapping.report._warn, mapping.report._period = reasons.append, 0.0
    color, depth = np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 2.0, np.float32)

    def refused(match: str, **changed) -> None:
        count = mapping.report.counts().get('bad_frames', 0)
        messages = {**camera.messages(), **changed}
        if messages['info'] is not None:  # the only one that is not looked up by its stamp
            camera.info.publish(messages['info'])
            wait_until(lambda: mapping._info == messages['info'], 'the camera_info')
        camera.publish(**messages)
        wait_for_count(mapping, 'bad_frames', count + 1)
        assert match in reasons[-1]

    def header():
        return conversions.make_header(camera.stamp + 100_000_000, 'camera')

    refused('no camera_info', info=None)
    wrong = conversions.image_from_color(color, header())
    wrong.encoding = 'yuv422'
    refused("'yuv422', expected one of rgb8", color=wrong)
    short = conversions.image_from_color(color, header())
    short.data = short.data[:100]
    refused('carries 100 bytes', color=short)
    refused('color is 64x40', color=conversions.image_from_color(color[:40], header()))
    refused('depth is (40, 64)', depth=conversions.image_from_depth(depth[:40], header()))
    refused('no valid pixel', depth=conversions.image_from_depth(depth * 0, header()))
    nan = conversions.image_from_depth(depth * np.nan, header(), '32FC1')
    refused('no valid pixel', depth=nan)
    uncalibrated = conversions.info_from_camera(CAMERA, header())
    uncalibrated.k = np.zeros(9)
    refused('calibrated', info=uncalibrated)
    map_good_frames(mapping, camera, 2)


def test_poses_that_are_missing_or_bad_leave_the_map_alone_and_good_ones_work(
    graph, client, camera
):
    mapping = make_mapping(graph, camera, pose_timeout=0.05)
    reasons: list[str] = []
    mapping.report._warn, mapping.report._period = reasons.append, 0.0
    camera.publish(odometry=None)
    wait_for_count(mapping, 'frames_without_pose', 1)
    assert 'no pose has come' in reasons[-1]
    for name, value in (('nan', np.nan), ('quaternion', 0.9)):
        bad = camera.messages()['odometry']
        target = bad.pose.pose.position if name == 'nan' else bad.pose.pose.orientation
        target.x = value
        before = mapping.report.counts().get('bad_messages_on_odometry', 0)
        camera.publish(odometry=bad)
        wait_for_count(mapping, 'bad_messages_on_odometry', before + 1)
    foreign = camera.messages()['odometry']
    foreign.header.frame_id = 'unknown'
    camera.publish(odometry=foreign)
    wait_for_count(mapping, 'bad_messages_on_odometry', 3)
    assert any("frame 'unknown', expected map_frame 'map'" in reason for reason in reasons)
    assert mapping._mapper.map.keyframes == 0
    map_good_frames(mapping, camera, 2)


def test_a_jump_of_the_pose_is_reported(graph, client, camera):
    mapping = make_mapping(graph, camera, jump_threshold=3.0)
    map_good_frames(mapping, camera, 2)
    assert 'pose_jumps' not in mapping.report.counts()
    camera.x += 5.0
    map_good_frames(mapping, camera, 1)
    wait_for_count(mapping, 'pose_jumps')


def test_stamps_that_run_backwards_are_refused_and_a_restarted_clock_is_a_new_map(
    graph, client, camera
):
    mapping = make_mapping(graph, camera)
    camera.stamp += 50_000_000_000
    map_good_frames(mapping, camera, 3)
    camera.stamp -= 400_000_000
    camera.publish()
    wait_for_count(mapping, 'bad_frames')
    assert mapping._mapper.map.keyframes >= 3
    camera.stamp -= 50_000_000_000
    map_good_frames(mapping, camera, 2)
    assert mapping.report.counts()['clock_restarts'] == 1


def test_colour_without_depth_is_named_silent(graph, client, camera):
    mapping = make_mapping(graph, camera, sensor_qos='sensor_data')
    reasons: list[str] = []
    mapping.report._warn, mapping.report._period = reasons.append, 0.0
    mapping._inputs._silence = 1.0

    def warned() -> bool:
        camera.publish(depth=None)
        # Where the machine pauses, the first warnings may find everything silent.
        return any(
            '/rgb/image [sensor_msgs/msg/Image] (best_effort, volatile): arriving' in reason
            for reason in reasons
        )

    wait_until(warned, 'a warning')
    text = next(reason for reason in reasons if 'arriving' in reason)
    assert 'sync_slop = 0.02' in text
    assert '/depth/image [sensor_msgs/msg/Image] (best_effort, volatile): SILENT' in text
    map_good_frames(mapping, camera, 2)


def test_an_incompatible_publisher_is_reported_with_the_way_out(graph, client):
    mapping = graph.add(MappingNode, sensor_qos='reliable')
    reasons: list[str] = []
    mapping.report._warn, mapping.report._period = reasons.append, 0.0
    from ros_graph import SENSOR_DATA
    from sensor_msgs.msg import Image

    bad = client.create_publisher(Image, 'rgb/image', SENSOR_DATA)
    wait_for_count(mapping, 'incompatible_publishers')
    assert '/rgb/image has an incompatible QoS (reliability)' in reasons[-1]
    assert 'sensor_qos' in reasons[-1]
    camera = FakeCamera(client)  # a good one, with that one still there
    camera.wait_for_subscribers()
    map_good_frames(mapping, camera, 2)
    client.destroy_publisher(bad)
    map_good_frames(mapping, camera, 2)


def test_reset_starts_a_new_map_and_tells_the_readers_of_chunks(graph, client, camera):
    mapping = make_mapping(graph, camera)
    chunks = listen(client, msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)
    map_good_frames(mapping, camera, 2)
    wait_for_count(mapping, 'pairs', camera.published)  # none comes after the reset
    wait_until(lambda: chunks, 'chunks')
    assert call(client, Trigger, 'mapping_node/reset', Trigger.Request()).success

    def all_gone() -> bool:
        newest = {tuple(chunk.key): chunk.cloud.width for chunk in chunks}
        return not any(newest.values())

    wait_until(all_gone, 'empty chunks')
    map_good_frames(mapping, camera, 2)


TABLES = {
    'mapping_node': parameters.MAPPING,
    'grounding_node': parameters.GROUNDING,
    'viewer_node': parameters.VIEWER,
    'camera_node': parameters.CAMERA,
    'overlay_node': parameters.OVERLAY,
}
NODES = {
    'mapping_node': MappingNode,
    'grounding_node': lambda **o: GroundingNode(lambda values: FakeGrounder(), **o),
    'viewer_node': ViewerNode,
    'camera_node': lambda **o: CameraNode(Walk(), **o),
    'overlay_node': OverlayNode,
}


@pytest.mark.parametrize('name', list(TABLES))
def test_every_parameter_is_described_with_its_range_and_only_live_ones_can_be_changed(
    graph, client, name
):
    graph.add(NODES[name], autostart=False)
    table = {parameter.name: parameter for parameter in TABLES[name]}
    request = DescribeParameters.Request(names=list(table))
    described = call(client, DescribeParameters, f'{name}/describe_parameters', request)
    for descriptor, parameter in zip(described.descriptors, table.values(), strict=True):
        assert len(descriptor.description) > 5, parameter.name
        assert descriptor.read_only == parameter.read_only
        ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
        if type(parameter.default) in (int, float):
            [bounds] = ranges
            assert (bounds.from_value, bounds.to_value) == parameter.bounds, parameter.name
            assert bounds.from_value <= parameter.default <= bounds.to_value
        for choice in parameter.choices:
            assert choice in descriptor.additional_constraints
    beyond = [
        Parameter(p.name, value=type(p.default)(2 * p.bounds[1] + 1))
        for p in table.values()
        if p.bounds
    ]
    request = SetParameters.Request(parameters=[one.to_parameter_msg() for one in beyond])
    refused = call(client, SetParameters, f'{name}/set_parameters', request).results
    assert len(refused) == len(beyond)
    assert not any(result.successful for result in refused)
    assert all(result.reason for result in refused)


def test_a_rate_that_is_changed_while_the_node_runs_has_an_effect(graph, client, camera):
    mapping = make_mapping(graph, camera, chunk_rate=0.01)

    def sent_with(keyframes: int) -> int:
        before = mapping.report.counts().get('chunks', 0)
        map_good_frames(mapping, camera, keyframes)
        return mapping.report.counts().get('chunks', 0) - before

    sent_with(2)  # every chunk once, as soon as it is there
    slowly = sent_with(10)
    parameter = Parameter('chunk_rate', value=100.0).to_parameter_msg()
    request = SetParameters.Request(parameters=[parameter])
    changed = call(client, SetParameters, 'mapping_node/set_parameters', request)
    assert changed.results[0].successful
    assert sent_with(10) >= 2 * slowly + 3


def test_the_parameter_tables_the_yaml_and_the_nodes_agree(graph, client):
    described = yaml.safe_load(CONFIG.read_text())
    assert set(described) == {f'/**/{name}' for name in TABLES}
    for name, table in TABLES.items():
        values = described[f'/**/{name}']['ros__parameters']
        assert values == {parameter.name: parameter.default for parameter in table}
        for parameter in table:
            assert type(values[parameter.name]) is type(parameter.default), parameter.name


def test_parameters_are_described_and_changes_work_or_are_refused(graph, client):
    mapping = graph.add(MappingNode)
    request = DescribeParameters.Request(names=['map_rate', 'voxel_size'])
    described = call(client, DescribeParameters, 'mapping_node/describe_parameters', request)
    map_rate, voxel_size = described.descriptors
    assert voxel_size.read_only
    assert not map_rate.read_only
    assert map_rate.description
    assert map_rate.floating_point_range[0].to_value == 100

    def change(name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        return call(client, SetParameters, 'mapping_node/set_parameters', request).results[0]

    assert change('map_rate', 5.0).successful
    assert mapping.values['map_rate'] == 5.0
    for name, value in (('map_rate', 1e6), ('voxel_size', 0.1), ('map_rate', 'fast')):
        refused = change(name, value)
        assert not refused.successful
        assert refused.reason
    assert mapping.values['map_rate'] == 5.0


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        (
            {'pose_source': 'gps'},
            "pose_source is 'gps', expected one of odometry, pose, pose_",
        ),
        ({'base_from_camera': [0.0] * 7}, 'parameter base_from_camera: .*length 0'),
        (
            {'depth_registration': 'parameter', 'color_from_depth': [0.0]},
            'parameter color_from_depth: .*expected 7',
        ),
        ({'chunk_size': 0.12}, 'chunk_size'),
    ],
)
def test_parameters_that_make_no_sense_are_refused_at_the_start(graph, options, match):
    with pytest.raises(ValueError, match=match):
        graph.add(MappingNode, **options)


def test_diagnostics_say_what_came_and_what_was_lost(graph, client, camera):
    statuses = listen(client, DiagnosticArray, '/diagnostics', RELIABLE)
    mapping = make_mapping(graph, camera)
    map_good_frames(mapping, camera, 1)

    def rows():
        return {row.key: row.value for row in statuses[-1].status[0].values} if statuses else {}

    wait_until(lambda: 'keyframes' in rows(), 'diagnostics')
    assert statuses[-1].status[0].name == 'mapping_node'
    assert int(rows()['voxels']) > 0
    assert 'pairs per second' in rows()


def test_chunks_that_wait_are_sent_though_others_keep_changing(graph):
    node = MappingNode(context=graph.context)
    node.node.trigger_configure()  # not active: the steps are taken here
    pending = node._mapper.pending
    pending.update(dict.fromkeys((i, 0, 0) for i in range(40)))
    for _ in range(3):
        node._publish_chunks()
        pending.update(dict.fromkeys((i, 0, 0) for i in range(20)))
    assert not {(i, 0, 0) for i in range(20, 40)} & set(pending)
    node.node.destroy_node()


def test_silence_is_reported_where_nobody_publishes_the_simulated_time(graph, client):
    statuses = listen(client, DiagnosticArray, '/diagnostics', RELIABLE)
    mapping = graph.add(MappingNode, use_sim_time=True)
    mapping._inputs._silence = 0.1
    wait_for_count(mapping, 'no_data')
    wait_until(lambda: statuses, 'diagnostics')


def test_a_callback_that_fails_is_an_error_leaves_a_node_its_ears_and_does_not_count_at_the_end(
    graph,
):
    node = Node('unlucky', context=graph.context)
    executor = SingleThreadedExecutor(context=graph.context)
    executor.add_node(node)
    calls: list[int] = []

    def fail() -> None:
        calls.append(len(calls))
        raise RuntimeError('a defect')

    node.create_timer(0.02, fail)
    ending = threading.Event()
    report = Report(lambda text: None)
    thread = threading.Thread(target=spin, args=(executor, report, ending), daemon=True)
    thread.start()
    wait_until(lambda: len(calls) >= 5, 'further calls')
    assert report.counts()['failed_callbacks'] >= 3
    assert report.health() == (ERROR, 'failed callbacks: RuntimeError: a defect')
    ending.set()  # as when a node is taken down under its callbacks
    counted = report.counts()['failed_callbacks']
    thread.join(5)
    assert not thread.is_alive()
    assert report.counts()['failed_callbacks'] <= counted + 1  # one may have been on its way
    executor.shutdown(timeout_sec=5)
    node.destroy_node()


# grounding_node


class Robot:
    """A client that asks, with a grounding_node on a stand-in for the model."""

    def __init__(self, graph, client, **options):
        self.grounder, self.client, self.version, self.map_id = FakeGrounder(), client, 0, 1
        self.node = graph.add(
            lambda **o: GroundingNode(lambda values: self.grounder, **o), **options
        )
        self.answers = listen(client, msg.Grounding, 'grounding', latched(20))
        self.markers = listen(client, MarkerArray, 'markers')
        self.masks = listen(client, PointCloud2, 'masks')
        self.query = client.create_publisher(String, 'query', 10)
        self.chunks = client.create_publisher(msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)
        wait_until(self.query.get_subscription_count, 'a subscriber of query')
        wait_until(self.chunks.get_subscription_count, 'a subscriber of map_chunks')

    def send_chunk(self, key=(0, 0, 0), points: int = 8) -> None:
        self.version += 1
        rng = np.random.default_rng(self.version)
        positions = rng.uniform(-0.5, 0.5, (points, 3)).astype(np.float32) + np.float32(key)
        update = conversions.ChunkUpdate(
            key,
            PointCloud(positions, np.zeros_like(positions)),
            1.0,
            0.05,
            MapSummary(version=self.version, keyframes=self.version),
            7_000_000_000,
            'odom',
            self.map_id,
        )
        self.chunks.publish(conversions.chunk_to_message(update))

    def ask(self, text: str) -> msg.Grounding:
        before = len(self.answers)
        self.query.publish(String(data=text))
        wait_until(lambda: len(self.answers) > before, f'an answer to {text[:40]!r}')
        return self.answers[-1]

    def wait_for_answer(self, condition, what: str) -> msg.Grounding:
        wait_until(lambda: self.answers and condition(self.answers[-1]), what)
        return self.answers[-1]


@pytest.fixture
def robot(graph, client):
    return Robot(graph, client, answer_rate=20.0)


def test_the_grounder_knows_where_the_camera_is(graph, client, camera, robot):
    mapping = make_mapping(graph, camera)
    map_good_frames(mapping, camera, 2)
    newest = lambda: mapping._mapper.last_pose[:3, 3]  # noqa: E731
    wait_until(lambda: np.array_equal(robot.grounder.camera, newest()), 'the camera')
    poses = client.create_publisher(PoseStamped, 'keyframe_pose', LATCHED)
    wait_until(lambda: poses.get_subscription_count() == 1, 'the reader')
    pose = conversions.pose_from_matrix(np.eye(4))
    pose.position.x = np.nan
    header = conversions.make_header(1, 'map')
    poses.publish(PoseStamped(header=header, pose=pose))
    wait_for_count(robot.node, 'bad_messages_on_keyframe_pose')
    np.testing.assert_array_equal(robot.grounder.camera, newest())
    pose.position.x = 5.0
    poses.publish(PoseStamped(header=header, pose=pose))
    wait_until(lambda: robot.grounder.camera[0] == 5.0, 'the other place')


def test_the_client_in_the_docs_gets_an_answer(graph, client):
    robot = Robot(graph, client)
    robot.send_chunk()
    wait_until(lambda: robot.ask('the wall').instances, 'the map')
    page = (Path(__file__).parents[1] / 'docs' / 'your_robot.md').read_text()
    program = page.partition('```python\n')[2].partition('```')[0]
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain_id())}
    command = [sys.executable, '-c', program]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith('odom 1 ')


def test_a_query_before_the_map_is_told_so_and_answered_when_there_is_one(robot):
    first = robot.ask('the red mug')
    assert (first.message, first.instances, first.none_score) == ('no map yet', [], 1.0)
    robot.send_chunk()
    answer = robot.wait_for_answer(lambda a: a.instances, 'an answer from the map')
    assert answer.query == 'the red mug'
    assert answer.header.frame_id == 'odom'
    assert conversions.stamp_to_ns(answer.header.stamp) == 7_000_000_000
    assert (answer.map_version, answer.map_chunks, answer.map_voxels) == (1, 1, 8)
    assert answer.weights == 'stand-in'


def test_the_current_query_is_answered_again_when_the_map_changes_and_only_then(robot):
    robot.send_chunk()
    wait_until(lambda: robot.node._answering.summary.version == 1, 'a map')
    assert robot.ask('the red mug').map_voxels == 8
    robot.send_chunk((1, 0, 0), points=5)
    robot.wait_for_answer(lambda a: a.map_voxels == 13, 'an answer from the larger map')
    count = len(robot.answers)
    robot.chunks.publish(conversions.chunk_to_message(last_update(robot)))
    robot.ask('the blue mug')
    assert len(robot.answers) == count + 1


def last_update(robot):
    """Build the newest chunk once more, as for a new reader."""
    rng = np.random.default_rng(robot.version)
    positions = rng.uniform(0, 1, (5, 3)).astype(np.float32) + np.float32((1, 0, 0))
    return conversions.ChunkUpdate(
        (1, 0, 0),
        PointCloud(positions, np.zeros_like(positions)),
        1.0,
        0.05,
        MapSummary(version=robot.version, keyframes=robot.version),
        7_000_000_000,
        'odom',
        robot.map_id,
    )


def test_masks_and_markers_follow_and_an_empty_query_clears_them(robot):
    robot.send_chunk()
    robot.ask('the red mug')
    robot.wait_for_answer(lambda a: a.instances, 'an instance')
    wait_until(lambda: robot.masks and robot.masks[-1].width == 8, 'a mask')
    wait_until(lambda: robot.markers and len(robot.markers[-1].markers) >= 3, 'markers')
    cleared = robot.ask('  ')
    assert (cleared.instances, cleared.message) == ([], 'empty query')
    wait_until(lambda: robot.masks[-1].width == 0, 'an empty mask')
    deleted = [m for m in robot.markers[-1].markers if m.action == Marker.DELETE]
    assert len(deleted) == len(robot.markers[-1].markers) == 3
    count = len(robot.answers)
    robot.send_chunk((1, 0, 0))
    wait_until(lambda: robot.node._answering.summary.chunks == 2, 'the chunk')
    assert len(robot.answers) == count


def test_nothing_found_is_published_as_empty_arrays(robot):
    robot.send_chunk()
    wait_until(lambda: robot.node._answering.summary.chunks == 1, 'the chunk')
    answer = robot.ask('nothing')
    assert (answer.instances, answer.message) == ([], '')
    wait_until(lambda: robot.masks and robot.masks[-1].width == 0, 'an empty mask')


def test_a_long_query_is_refused_and_one_in_any_script_is_answered(robot):
    robot.send_chunk()
    wait_until(lambda: robot.node._answering.summary.chunks == 1, 'the chunk')
    refused = robot.ask('a' * 100_000)
    assert refused.message == 'query of 100000 characters, expected at most 2000'
    assert len(refused.query) == 2000
    text = 'die rote Tässe neben der Spüle 赤いマグカップ 🍵'
    answer = robot.ask(text)
    assert answer.query == text
    assert answer.instances[0].span_end == len(text)


def test_a_query_that_fails_is_answered_with_the_reason_and_the_next_one_works(robot):
    robot.send_chunk()
    wait_until(lambda: robot.node._answering.summary.chunks == 1, 'the chunk')
    assert robot.ask('crash').message == 'failed: RuntimeError: out of memory'
    assert robot.ask('the red mug').instances


def test_the_service_answers_its_caller_and_leaves_the_current_query_alone(robot):
    robot.send_chunk()
    robot.ask('the red mug')
    response = call(
        robot.client, srv.Ground, 'grounding_node/ground', srv.Ground.Request(query='a lamp')
    )
    assert response.grounding.query == 'a lamp'
    assert response.grounding.instances
    robot.send_chunk((1, 0, 0))
    robot.wait_for_answer(lambda a: a.map_chunks == 2, 'an answer from the larger map')
    assert {answer.query for answer in robot.answers} == {'the red mug'}


def test_another_map_id_is_a_new_map(robot):
    robot.ask('the red mug')
    for i in range(3):
        robot.send_chunk((i, 0, 0))
    robot.wait_for_answer(lambda a: a.map_chunks == 3, 'three chunks')
    robot.map_id = 2
    robot.send_chunk((9, 0, 0))
    robot.wait_for_answer(lambda a: a.map_chunks == 1, 'the new map')
    assert set(robot.grounder.clouds) == {(9, 0, 0)}


def test_standing_queries_are_listed_answered_again_and_cancelled(graph, client):
    robot = Robot(graph, client, answer_rate=20.0, query_mode='standing', max_standing_queries=2)
    lists = listen(client, msg.StandingQueries, 'standing_queries')
    robot.send_chunk()
    wait_until(lambda: robot.node._answering.summary.chunks == 1, 'the chunk')
    for text in ('a lamp', 'the red mug', 'nothing'):
        robot.ask(text)
    wait_until(lambda: lists and lists[-1].queries == ['the red mug', 'nothing'], 'the list')
    robot.send_chunk((1, 0, 0))
    robot.wait_for_answer(
        lambda _: (
            {a.query for a in robot.answers if a.map_chunks == 2} == {'the red mug', 'nothing'}
        ),
        'both answered again',
    )
    assert {a.map_version for a in robot.answers if a.map_chunks == 2} == {2}

    def cancel(text: str):
        return call(client, srv.Cancel, 'grounding_node/cancel', srv.Cancel.Request(query=text))

    refused = cancel('a lamp')
    assert (refused.success, refused.message) == (False, "'a lamp' does not stand")
    assert cancel('the red mug').queries == ['nothing']
    wait_until(
        lambda: [m.action for m in robot.markers[-1].markers] == 3 * [Marker.DELETE],
        'the markers to be deleted',
    )
    assert cancel('').success
    wait_until(lambda: lists[-1].queries == [], 'an empty list')


def test_a_late_reader_gets_the_answers_of_all_standing_queries(graph, client):
    robot = Robot(graph, client, query_mode='standing')
    robot.send_chunk()
    wait_until(lambda: robot.node._answering.summary.chunks == 1, 'the chunk')
    for text in ('a lamp', 'the red mug'):
        robot.ask(text)
    late = listen(client, msg.Grounding, 'grounding', latched(20))
    wait_until(lambda: {answer.query for answer in late} == {'a lamp', 'the red mug'}, 'answers')


def test_topic_and_service_give_the_same_answer_with_the_real_network(graph, client):
    torch = pytest.importorskip('torch')
    from test_grounder import CHUNK_SIZE, slab

    from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
    from lift_gs_ros.mapping.chunks import split_into_chunks
    from lift_gs_ros.model.config import LiftGSConfig
    from lift_gs_ros.model.language import load_language_encoder
    from lift_gs_ros.model.lift_gs import LiftGS

    torch.manual_seed(0)
    language = load_language_encoder('minilm')
    model = LiftGS(LiftGSConfig.tiny(language_dim=language.dim))
    grounder = Grounder(model, language, GrounderSettings(chunk_overlap=0.4))
    node = graph.add(
        lambda **o: GroundingNode(lambda values: grounder, **o),
        score_threshold=0.0,
        mask_threshold=0.2,
        query_mode='standing',
        device='cpu',
    )
    answers = listen(client, msg.Grounding, 'grounding', latched(20))
    query = client.create_publisher(String, 'query', 10)
    wait_until(query.get_subscription_count, 'a subscriber of query')
    for key, cloud in split_into_chunks(slab(), CHUNK_SIZE).items():
        summary = MapSummary(version=4)
        node._answering.put_chunk(
            conversions.ChunkUpdate(key, cloud, CHUNK_SIZE, 0.05, summary, 7, 'map', 1)
        )
    wait_until(lambda: node._answering.summary.chunks == 4, 'the chunks')
    wait_until(lambda: not node._answering.encoding, 'the encodings')
    for text in ('the red mug', 'a chair next to the lamp'):
        query.publish(String(data=text))
        wait_until(lambda text=text: any(a.query == text for a in answers), f'an answer to {text}')
        request = srv.Ground.Request(query=text)
        by_service = call(client, srv.Ground, 'grounding_node/ground', request).grounding
        on_topic = next(a for a in answers if a.query == text)
        assert on_topic.instances
        for name in ('encode_ms', 'decode_ms', 'total_ms'):  # all but the time that it took
            setattr(by_service, name, getattr(on_topic, name))
        for one, other in zip(by_service.instances, on_topic.instances):
            assert one == other
        assert by_service == on_topic


def test_a_picture_of_the_map_is_drawn_on_request_or_refused_with_the_reason(robot):
    def ask(camera) -> srv.Render.Response:
        pose = conversions.pose_from_matrix(look_at((0, 0, 1), (1, 0, 1)))
        info = conversions.info_from_camera(camera, conversions.make_header(5, 'camera'))
        request = srv.Render.Request(pose=pose, camera_info=info)
        return call(robot.client, srv.Render, 'grounding_node/render', request)

    response = ask(CAMERA)
    assert (response.success, response.message) == (True, '')
    assert (response.image.width, response.image.height) == (CAMERA.width, CAMERA.height)
    assert conversions.color_from_image(response.image)[0, 0].tolist() == [1, 2, 3]
    assert response.image.header.frame_id == 'camera'
    refused = ask(CAMERA.resized(2000, 1000))
    assert (refused.success, refused.message) == (False, 'too large')


def test_an_empty_chunk_is_gone_and_a_damaged_one_is_counted(robot):
    robot.ask('the red mug')
    robot.send_chunk((0, 0, 0))
    robot.send_chunk((1, 0, 0))
    robot.wait_for_answer(lambda a: a.map_chunks == 2, 'two chunks')
    damaged = conversions.chunk_to_message(last_update(robot))
    damaged.cloud.width += 1
    robot.chunks.publish(damaged)
    wait_for_count(robot.node, 'bad_chunks')
    robot.send_chunk((0, 0, 0), points=0)
    robot.wait_for_answer(lambda a: a.map_chunks == 1, 'one chunk')
    robot.send_chunk((1, 0, 0), points=0)
    robot.wait_for_answer(lambda a: a.message == 'no map yet', 'no map')


def test_a_flood_of_queries_is_bounded_and_the_last_one_is_answered(robot):
    robot.send_chunk()
    robot.ask('slow')
    robot.query.publish(String(data='slow'))
    wait_until(robot.grounder.slow.is_set, 'a slow query')
    for i in range(200):
        robot.query.publish(String(data=f'query {i}'))
    robot.wait_for_answer(lambda a: a.query == 'query 199', 'the last query')
    assert len(robot.answers) < 200


def test_a_thresholds_change_reaches_the_grounder(robot):
    robot.send_chunk()
    robot.node.node.set_parameters([Parameter('score_threshold', value=0.8)])
    wait_until(lambda: robot.node._answering.summary.chunks == 1, 'the chunk')
    robot.ask('the red mug')
    assert robot.grounder.settings.score_threshold == 0.8


def test_a_checkpoint_in_the_home_folder_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    values = {parameter.name: parameter.default for parameter in parameters.GROUNDING}
    with pytest.raises(FileNotFoundError, match=f'no checkpoint at {tmp_path}/model.safetensors'):
        load_grounder({**values, 'checkpoint': '~/model.safetensors', 'device': 'cpu'})


def test_a_model_that_cannot_be_loaded_is_an_error_with_the_reason(graph):
    def load(values):
        raise FileNotFoundError(f'no checkpoint {values["checkpoint"]}')

    with pytest.raises(RuntimeError, match='^cannot load the model: no checkpoint missing'):
        graph.add(lambda **o: GroundingNode(load, **o), checkpoint='missing.safetensors')


# all of them


class Walk:
    """Ten frames of a corner of a red wall."""

    name, rate = 'walk', 30.0

    def __len__(self):
        return 10

    def __iter__(self):
        color = np.zeros((48, 64, 3), np.uint8)
        color[..., 0] = 255
        depth = np.full((48, 64), 2.0, np.float32)
        for i in range(10):
            yield RgbdFrame(0, color, depth, CAMERA, look_at([0, 0.2 * i, 1], [1, 0.2 * i, 1]))


@pytest.mark.parametrize('depth_encoding', ['16UC1', '32FC1'])
def test_from_camera_to_answer_through_all_three_nodes(graph, client, depth_encoding):
    robot = Robot(graph, client, answer_rate=20.0)
    robot.query.publish(String(data='the red wall'))
    graph.add(MappingNode, sensor_qos='reliable')
    camera = graph.add(
        lambda **o: CameraNode(Walk(), **o), rate=20.0, depth_encoding=depth_encoding
    )
    assert camera.finished.wait(30)
    answer = robot.wait_for_answer(lambda a: a.map_keyframes >= 8, 'an answer from the whole map')
    instance = answer.instances[0]
    assert instance.center.x == pytest.approx(2.0, abs=0.1)
    assert instance.num_points == answer.map_voxels
    assert robot.masks[-1].header.frame_id == 'map'


def test_a_grounding_node_that_is_started_again_catches_up(graph, client, camera):
    mapping = make_mapping(graph, camera)
    robot = Robot(graph, client, answer_rate=20.0)
    map_good_frames(mapping, camera, 3)
    robot.ask('the red wall')
    robot.wait_for_answer(lambda a: a.instances, 'an answer')
    graph.remove(robot.node)
    again = Robot(graph, client, answer_rate=20.0)
    again.ask('the red wall')
    points = len(mapping._mapper.map.to_point_cloud())
    again.wait_for_answer(
        lambda a: a.instances and a.map_voxels == points, 'an answer on the whole map'
    )


def test_a_mapping_node_that_is_started_again_at_once_leaves_nothing_of_its_old_map(
    graph, client, camera
):
    first = make_mapping(graph, camera)
    robot = Robot(graph, client, answer_rate=20.0)
    map_good_frames(first, camera, 2)
    wait_until(lambda: robot.grounder.clouds, 'the first map')
    old = set(robot.grounder.clouds)
    graph.remove(first)
    camera.x += 100.0
    again = make_mapping(graph, camera)
    map_good_frames(again, camera, 3 + first._mapper.map.version)  # newer by its version
    wait_until(
        lambda: set(robot.grounder.clouds) == set(again._mapper.map.chunk_keys()), 'the new map'
    )
    assert not old & set(robot.grounder.clouds)


def test_a_pose_source_of_tf_without_tf2_ros_names_the_package(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    with pytest.raises(ValueError, match='is tf, which needs the package tf2_ros'):
        graph.add(MappingNode, pose_source='tf')
