"""The three executables as processes of their own, with the real model, and signals in mid-work."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from PIL import Image  # noqa: E402
from ros_graph import Graph, wait_until  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from lift_gs_ros import msg  # noqa: E402
from lift_gs_ros.geometry import look_at  # noqa: E402
from lift_gs_ros.nodes.answers import grounding_from_messages  # noqa: E402
from lift_gs_ros.nodes.qos import LATCHED  # noqa: E402

SECONDS = 200.0  # to import torch and load a model on a busy machine


def write_sequence(folder, frames: int = 12) -> None:
    """Write a recording in the layout of 7-Scenes: a wall with a red patch, two metres away."""
    folder.mkdir(parents=True)
    color = np.full((480, 640, 3), 180, np.uint8)
    color[180:300, 240:400] = (200, 20, 20)
    for i in range(frames):
        name = folder / f'frame-{i:06d}'
        Image.fromarray(color).save(f'{name}.color.png')
        Image.fromarray(np.full((480, 640), 2000, np.uint16)).save(f'{name}.depth.png')
        pose = look_at([0, 0.15 * i, 1], [1, 0.15 * i, 1])
        np.savetxt(f'{name}.pose.txt', pose)


def test_camera_map_and_real_model_answer_and_leave_cleanly_on_a_signal(start, tmp_path):
    write_sequence(tmp_path / 'seq-01')
    graph = Graph()
    try:
        client = graph.client()
        answers, masks = [], []
        client.create_subscription(msg.Grounding, 'grounding', answers.append, LATCHED)
        client.create_subscription(PointCloud2, 'masks', masks.append, LATCHED)
        query = client.create_publisher(String, 'query', 10)
        processes = {
            'grounding': start('grounding_node', device='cpu', score_threshold=0.0),
            'mapping': start('mapping_node', sensor_qos='reliable'),
            'camera': start('camera_node', sequence=tmp_path / 'seq-01', loop='true', rate=10.0),
        }
        wait_until(query.get_subscription_count, 'a subscriber of query', SECONDS)
        query.publish(String(data='the red patch'))
        wait_until(lambda: answers and answers[-1].map_keyframes > 5, 'an answer', SECONDS)
        for name, process in processes.items():
            assert process.poll() is None, f'{name} has ended: {process.stderr.read()}'
        assert answers[-1].query == 'the red patch'
        assert answers[-1].map_voxels > 100
        assert answers[-1].header.frame_id == 'map'
        assert answers[-1].weights
        wait_until(lambda: masks, 'masks')
        grounding = grounding_from_messages(answers[-1], masks[-1])
        assert len(grounding.instances) == len(answers[-1].instances)
        # In mid-work: the camera plays on, frames are fused, chunks encoded.
        for name, number in (('mapping', 'SIGINT'), ('grounding', 'SIGTERM'), ('camera', 'SIGINT')):
            processes[name].send_signal(getattr(signal, number))
            code = processes[name].wait(30)
            assert code == 0, f'{name}: {code}: {processes[name].stderr.read()}'
    finally:
        graph.close()


@pytest.mark.parametrize(
    ('node', 'parameters', 'reason'),
    [
        ('camera_node', {'sequence': '/no/such/folder'}, 'there is no /no/such/folder'),
        (
            'mapping_node',
            {'pose_source': 'gps'},
            "'gps', expected one of odometry, pose, pose_",
        ),
        ('grounding_node', {'checkpoint': '/no/such.safetensors'}, '/no/such.safetensors'),
    ],
)
def test_a_node_that_cannot_work_says_why_and_ends_with_one(start, node, parameters, reason):
    process = start(node, **parameters)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert reason in errors.decode()
    assert 'Traceback' not in errors.decode()


def test_threads_of_the_model_do_not_spin_while_they_wait_for_each_other():
    """Where other nodes want the processor too, they kept it from those that they waited for."""
    make = "print(os.environ['OMP_WAIT_POLICY']) or 1 / 0"
    code = f'import os; from lift_gs_ros.nodes import runner; runner.run("x", lambda: {make})'
    environment = {k: v for k, v in os.environ.items() if not k.startswith('OMP_')}
    done = subprocess.run(
        [sys.executable, '-c', code], env=environment, capture_output=True, timeout=SECONDS
    )
    assert done.stdout.decode().split() == ['PASSIVE']
