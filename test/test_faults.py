"""What goes wrong around a robot, in a real graph: after each fault the service is there again."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from urllib.request import urlopen

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import torch  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from ros_graph import FakeCamera, domain_id, wait_until  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from test_lifecycle import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, change  # noqa: E402
from test_nodes import (  # noqa: E402
    Robot,
    call,
    listen,
    make_mapping,
    map_good_frames,
    wait_for_count,
)
from test_processes import SECONDS, write_sequence  # noqa: E402

from lift_gs_ros import msg, srv  # noqa: E402
from lift_gs_ros.geometry import PointCloud  # noqa: E402
from lift_gs_ros.grounding.grounder import Grounder  # noqa: E402
from lift_gs_ros.grounding.instances import MapSummary  # noqa: E402
from lift_gs_ros.model.checkpoint import save_checkpoint  # noqa: E402
from lift_gs_ros.model.config import LiftGSConfig  # noqa: E402
from lift_gs_ros.model.language import load_language_encoder  # noqa: E402
from lift_gs_ros.model.lift_gs import LiftGS  # noqa: E402
from lift_gs_ros.nodes.conversions import ChunkUpdate  # noqa: E402
from lift_gs_ros.nodes.grounding_node import GroundingNode  # noqa: E402
from lift_gs_ros.nodes.qos import QUERIES, RELIABLE  # noqa: E402


@pytest.fixture
def robot(graph, client):
    return Robot(graph, client, answer_rate=20.0)


def test_a_mapping_node_that_was_killed_is_replaced_by_another_with_a_new_map(client, robot):
    camera = FakeCamera(client)
    command = [sys.executable, '-m', 'lift_gs_ros.nodes.mapping_node']
    command += ['--ros-args', '-p', 'sensor_qos:=reliable']
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain_id())}
    processes = []

    def start_and_map(keyframes: int) -> None:
        processes.append(subprocess.Popen(command, env=environment))
        wait_until(lambda: camera.color.get_subscription_count() == 1, 'a mapping_node', 60)

        def answered() -> bool:
            camera.publish()
            return bool(robot.answers) and robot.answers[-1].map_keyframes >= keyframes

        wait_until(answered, 'an answer on the map', 60)

    try:
        robot.ask('the red wall')
        start_and_map(20)
        processes[0].kill()
        assert processes[0].wait(20) == -signal.SIGKILL
        wait_until(lambda: not camera.color.get_subscription_count(), 'the loss of the node', 60)
        start_and_map(0)
        wait_until(lambda: camera.publish() or robot.answers[-1].map_keyframes < 20, 'a new map')
    finally:
        for process in processes:
            process.kill()
            process.wait(20)


def answers_of_grounding_node(client, folder):
    answers = listen(client, msg.Grounding, 'grounding')
    query = client.create_publisher(String, 'query', RELIABLE)
    return {'device': 'cpu'}, lambda: query.publish(String(data='a mug')) or len(answers)


def frames_of_camera_node(client, folder):
    write_sequence(folder / 'seq-01')
    frames = listen(client, Image, 'rgb/image', RELIABLE)
    listen(client, Image, 'depth/image', RELIABLE)
    return {'sequence': folder / 'seq-01', 'loop': 'true', 'rate': 20.0}, lambda: len(frames)


def pictures_of_overlay_node(client, folder):
    camera, pictures = FakeCamera(client), listen(client, Image, 'annotated_image', RELIABLE)
    parameters = {'sensor_qos': 'reliable', 'annotated_rate': 50.0}
    return parameters, lambda: camera.publish() or len(pictures)


def pages_of_viewer_node(client, folder):
    with socket.socket() as probe:  # the second one must get the same port
        probe.bind(('127.0.0.1', 0))
        port, pages = probe.getsockname()[1], []

    def load() -> int:
        with suppress(OSError), urlopen(f'http://127.0.0.1:{port}', timeout=20) as page:
            pages.append(page.status)
        return len(pages)

    return {'port': port}, load


@pytest.mark.parametrize(
    'service',
    [
        answers_of_grounding_node,
        frames_of_camera_node,
        pictures_of_overlay_node,
        pages_of_viewer_node,
    ],
)
def test_a_node_that_was_killed_serves_again_when_it_is_started_again(
    client, start, tmp_path, service
):
    node = service.__name__.partition('_of_')[2]
    parameters, served = service(client, tmp_path)
    process = start(node, **parameters)
    wait_until(lambda: served() > 2, 'the service', 2 * SECONDS)
    process.kill()
    assert process.wait(20) == -signal.SIGKILL
    before = served()
    start(node, **parameters)
    # More than may have been on their way when it was killed.
    wait_until(lambda: served() > before + 20, 'the service again', 2 * SECONDS)


def test_a_disk_that_is_full_at_save_map_is_said_and_counted_and_the_next_save_works(
    client, start, tmp_path
):
    camera, diagnostics = FakeCamera(client), listen(client, DiagnosticArray, '/diagnostics', 10)
    process = start('mapping_node', sensor_qos='reliable', map_folder=tmp_path)

    def count(name: str) -> int:
        rows = {row.key: row.value for row in diagnostics[-1].status[0].values}
        return int(rows.get(name, 0))

    def map_more(keyframes: int) -> None:
        before = count('keyframes')
        wait_until(
            lambda: camera.publish() or count('keyframes') >= before + keyframes, 'a map', SECONDS
        )

    def save() -> srv.SaveMap.Response:
        return call(client, srv.SaveMap, 'mapping_node/save_map', srv.SaveMap.Request(name='map'))

    wait_until(lambda: diagnostics, 'diagnostics', SECONDS)
    map_more(5)
    assert save().success
    content, limits = (tmp_path / 'map').read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (len(content) // 2, limits[1]))
    map_more(1)
    refused = save()
    assert (refused.success, 'File too large' in refused.message) == (False, True)
    assert (tmp_path / 'map').read_bytes() == content
    assert os.listdir(tmp_path) == ['map']
    wait_until(lambda: count('failed_saves') == 1, 'the failure on /diagnostics')
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
    assert save().success
    assert (tmp_path / 'map').read_bytes() != content


def test_a_checkpoint_that_is_swapped_while_running_counts_from_the_next_configuration(
    graph, client, tmp_path
):
    language = load_language_encoder('minilm')
    path, files = tmp_path / 'model.safetensors', []
    for seed in (1, 0):
        torch.manual_seed(seed)
        save_checkpoint(path, LiftGS(LiftGSConfig.tiny(language_dim=language.dim)), trained=True)
        files.append(path.read_bytes())
    path.write_bytes(files[0])
    node = graph.add(
        GroundingNode, checkpoint=str(path), device='cpu', score_threshold=0.0, mask_threshold=0.0
    )
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (400, 3))
    cloud = PointCloud(points, np.full((400, 3), 0.5))

    def scores() -> list[float]:
        node._answering.put_chunk(
            ChunkUpdate((0, 0, 0), cloud, 6.45, 0.05, MapSummary(version=1), 1, 'map', 1)
        )
        wait_until(lambda: node._answering.summary.chunks and not node._answering.encoding, 'a map')
        request = srv.Ground.Request(query='a red mug')
        answer = call(client, srv.Ground, 'grounding_node/ground', request, SECONDS).grounding
        assert answer.message == ''
        return [answer.none_score, *(instance.score for instance in answer.instances)]

    first = scores()
    path.write_bytes(files[1])  # in its place, under whoever may have it mapped
    assert scores() == first
    assert change(client, 'grounding_node', DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE)
    assert scores() != first
    path.write_bytes(files[0][: len(files[0]) // 2])
    assert change(client, 'grounding_node', DEACTIVATE, CLEANUP)
    assert not change(client, 'grounding_node', CONFIGURE)
    assert str(path) in str(node._error)
    path.write_bytes(files[0])
    assert change(client, 'grounding_node', CONFIGURE, ACTIVATE)
    assert scores() == first


@pytest.mark.parametrize('missing', ['color', 'depth', 'info', 'odometry'])
def test_an_input_may_be_missing_for_a_while(graph, client, missing):
    camera = FakeCamera(client)
    mapping = make_mapping(graph, camera, pose_timeout=0.02)
    map_good_frames(mapping, camera, 2)

    def lost() -> int:
        without_depth, without_color = mapping._pairs.unpaired
        without_pose = mapping.report.counts().get('frames_without_pose', 0)
        return {'color': without_color, 'depth': without_depth, 'odometry': without_pose}[missing]

    if missing == 'info':  # a calibration holds until there is another
        for _ in range(15):
            camera.publish(info=None)
    else:  # every other loss is counted
        before = lost()
        publish = partial(camera.publish, **{missing: None})
        wait_until(lambda: publish() or lost() > before, 'a loss that is counted')
    map_good_frames(mapping, camera, 2)


def test_images_without_a_stamp_or_from_the_far_future_do_not_stop_mapping(graph, client):
    camera = FakeCamera(client)
    mapping = make_mapping(graph, camera, pose_timeout=0.02)
    map_good_frames(mapping, camera, 2)
    for seconds in (0, 2**31 - 1):
        messages = camera.messages()
        for name in ('color', 'depth'):
            messages[name].header.stamp.sec = seconds
            messages[name].header.stamp.nanosec = 0
        camera.publish(**messages)
    wait_for_count(mapping, 'frames_without_pose', 2)
    map_good_frames(mapping, camera, 2)


def test_of_a_thousand_queries_at_once_each_is_answered_or_counted_and_the_last_is_answered(robot):
    robot.send_chunk()
    robot.ask('the red mug')
    flood = robot.client.create_publisher(String, 'query', QUERIES)
    wait_until(flood.get_subscription_count, 'a subscriber of query')
    all_have_come, ground_many = threading.Event(), robot.grounder.ground_many
    robot.grounder.ground_many = lambda texts: all_have_come.wait(60) and ground_many(texts)
    for i in range(1000):
        flood.publish(String(data=f'query {i}'))
    wait_for_count(robot.node, 'queries', 1001)  # not one was lost on the way, unseen
    assert len(robot.node._answering._questions) <= 10
    all_have_come.set()
    robot.wait_for_answer(lambda a: a.query == 'query 999', 'the last query')
    counts = robot.node.report.counts()
    assert counts['dropped_queries'] >= 900
    assert counts['dropped_queries'] + counts['answers'] >= counts['queries']


def test_a_query_of_a_megabyte_is_refused_and_counted_and_the_next_one_answered(robot):
    robot.send_chunk()
    robot.ask('')  # clears, and is no loss
    refused = robot.ask('a' * 1_000_000)
    assert refused.message == 'query of 1000000 characters, expected at most 2000'
    assert robot.node.report.counts()['refused_queries'] == 1
    assert robot.ask('the red mug').instances


def test_a_query_that_is_no_utf8_is_answered_as_far_as_it_can_be_read(robot):
    robot.send_chunk()
    robot.ask('the red mug')
    text = b'the \xff\xfe\xc3 mug\0'
    padding = bytes(-len(text) % 4)
    robot.query.publish(b'\x00\x01\x00\x00' + len(text).to_bytes(4, 'little') + text + padding)
    damaged = robot.wait_for_answer(lambda a: a.query != 'the red mug', 'an answer to it')
    assert (damaged.query[:4], damaged.query[-4:]) == ('the ', ' mug')
    assert damaged.instances
    assert robot.ask('the blue mug').instances


def test_memory_that_runs_out_is_said_and_the_query_answered_all_the_same(
    graph, client, monkeypatch
):
    torch.manual_seed(0)
    language = load_language_encoder('minilm')
    model = LiftGS(LiftGSConfig.tiny(language_dim=language.dim))
    monkeypatch.setattr('test_nodes.FakeGrounder', lambda: Grounder(model, language))
    robot = Robot(graph, client, score_threshold=0.0, answer_rate=20.0)
    encode, failures = model.encode, []

    def run_out_of_memory(clouds):
        if len(failures) < 2:
            failures.append(len(clouds[0][0]))
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')
        return encode(clouds)

    monkeypatch.setattr(model, 'encode', run_out_of_memory)
    robot.send_chunk(points=400)
    robot.ask('the red mug')
    robot.wait_for_answer(lambda a: a.map_voxels == 400, 'an answer from the map')
    wait_for_count(robot.node, 'out_of_memory', 3)
    assert 'failed_encodes' not in robot.node.report.counts()
    assert np.isfinite(robot.answers[-1].none_score)
