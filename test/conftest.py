"""The ROS graph of a test, on a domain of its own."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def graph():
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    from ros_graph import Graph

    graph = Graph()
    yield graph
    graph.close()


@pytest.fixture
def client(graph):
    """Return a node that stands for the rest of the robot."""
    return graph.client()


@pytest.fixture
def camera(client):
    from ros_graph import FakeCamera

    return FakeCamera(client)


@pytest.fixture
def start():
    """Start one of the executables, as a process of its own in the domain of the test."""
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    from ros_graph import domain_id

    processes: list[subprocess.Popen] = []

    def start(node: str, **parameters) -> subprocess.Popen:
        command = [sys.executable, '-m', f'lift_gs_ros.nodes.{node}', '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain_id())}
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()
