"""What goes wrong around a robot, in a real graph: after each fault the service is there again."""

import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import torch  # noqa: E402
from ros_graph import FakeCamera, domain_id, wait_until  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from test_nodes import Robot, make_mapping, map_good_frames, wait_for_count  # noqa: E402

from lift_gs_ros.grounding.grounder import Grounder  # noqa: E402
from lift_gs_ros.model.config import LiftGSConfig  # noqa: E402
from lift_gs_ros.model.language import load_language_encoder  # noqa: E402
from lift_gs_ros.model.lift_gs import LiftGS  # noqa: E402


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


def test_a_thousand_queries_at_once_are_bounded_and_the_last_is_answered(robot):
    robot.send_chunk()
    robot.ask('the red mug')
    for i in range(1000):
        robot.query.publish(String(data=f'query {i}'))
    robot.wait_for_answer(lambda a: a.query == 'query 999', 'the last query')
    assert len(robot.node._answering._questions) <= 10


def test_a_query_of_a_megabyte_is_refused_and_the_next_one_answered(robot):
    robot.send_chunk()
    refused = robot.ask('a' * 1_000_000)
    assert refused.message == 'query of 1000000 characters, expected at most 2000'
    assert robot.ask('the red mug').instances


def test_a_query_that_is_no_utf8_does_not_make_the_node_deaf(robot):
    robot.send_chunk()
    robot.ask('the red mug')
    text = b'the \xff\xfe\xc3 mug\0'
    padding = bytes(-len(text) % 4)
    robot.query.publish(b'\x00\x01\x00\x00' + len(text).to_bytes(4, 'little') + text + padding)
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
