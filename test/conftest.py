"""The ROS graph of a test, on a domain of its own."""

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
