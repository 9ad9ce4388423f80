"""The topics of a real grounding_node that need an optional package."""

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from ros_graph import wait_until  # noqa: E402
from test_nodes import Robot, listen  # noqa: E402


def test_detections_follow_every_answer_where_vision_msgs_is_installed(graph, client):
    vision_msgs = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    robot = Robot(graph, client, answer_rate=20.0)
    arrays = listen(client, vision_msgs.Detection3DArray, 'detections')
    robot.send_chunk()
    robot.ask('the red mug')
    wait_until(lambda: arrays and arrays[-1].detections, 'a detection')
    answer, array = robot.wait_for_answer(lambda a: a.instances, 'an answer'), arrays[-1]
    [instance], [detection] = answer.instances, array.detections
    assert array.header == detection.header == answer.header
    assert detection.id == str(instance.id)
    [result] = detection.results
    assert result.hypothesis.class_id == 'the red mug'
    assert result.hypothesis.score == pytest.approx(instance.score)
    robot.ask('nothing')
    wait_until(lambda: not arrays[-1].detections, 'an array without detections')


def test_without_vision_msgs_there_is_no_topic_detections(graph, client, monkeypatch):
    monkeypatch.setattr('lift_gs_ros.nodes.answers.Detection3DArray', None)
    robot = Robot(graph, client, answer_rate=20.0)
    robot.send_chunk()
    assert robot.ask('the red mug').instances  # everything else goes on
    assert 'detections' not in {p.topic_name.lstrip('/') for p in robot.node.node.publishers}
