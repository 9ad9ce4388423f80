"""Maps of other SLAMs: grounding_node on a topic of whole point clouds, in a real graph."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from geometry_msgs.msg import PoseStamped  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from ros_graph import Graph, wait_until  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from test_nodes import FakeGrounder, listen, wait_for_count  # noqa: E402

from lift_gs_ros import msg  # noqa: E402
from lift_gs_ros.geometry import PointCloud  # noqa: E402
from lift_gs_ros.nodes import cloud_input  # noqa: E402
from lift_gs_ros.nodes.conversions import make_header, pose_from_matrix  # noqa: E402
from lift_gs_ros.nodes.grounding_node import GroundingNode  # noqa: E402
from lift_gs_ros.nodes.point_clouds import cloud_to_message  # noqa: E402
from lift_gs_ros.nodes.qos import LATCHED, RELIABLE  # noqa: E402
from lift_gs_ros.nodes.reporting import ERROR  # noqa: E402

SECOND = 1_000_000_000


class Slam:
    """Publishes a cloud; around it a grounding_node that takes it for its map."""

    def __init__(self, graph: Graph, qos=LATCHED, **options) -> None:
        self.grounder, self.client = FakeGrounder(), graph.client()
        self.publisher = self.client.create_publisher(PointCloud2, 'slam/cloud', qos)
        self.node = graph.add(
            lambda **o: GroundingNode(lambda values: self.grounder, **o),
            cloud_map='slam/cloud',
            **options,
        )
        self.answers = listen(self.client, msg.Grounding, 'grounding')

    def publish(self, cloud: PointCloud, stamp: int = 1, frame: str = 'map') -> None:
        header = make_header(stamp * SECOND, frame)
        self.publisher.publish(cloud_to_message(cloud, header))

    def wait_for_chunks(self, *keys) -> None:
        wait_until(
            lambda: set(self.grounder.clouds) == set(keys), f'{keys}; {self.grounder.clouds}'
        )


def spots(*centers, seed: int = 0) -> PointCloud:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(center, 0.3, (50, 3)) for center in centers]
    return PointCloud(np.concatenate(parts), np.full((50 * len(parts), 3), 0.5))


@pytest.mark.parametrize(
    'qos', [LATCHED, RELIABLE, qos_profile_sensor_data], ids=['latched', 'reliable', 'sensor_data']
)
def test_a_cloud_is_a_map_however_it_is_published(graph, qos):
    slam = Slam(graph, qos)
    if qos is LATCHED:
        slam.publish(spots((0, 0, 0)))  # once, and before anybody listens
    else:
        wait_until(slam.publisher.get_subscription_count, 'a subscriber')
        slam.publish(spots((0, 0, 0)))
    slam.wait_for_chunks((0, 0, 0))
    assert slam.node.node.count_subscribers('map_chunks') == 0


@pytest.mark.parametrize('qos', [LATCHED, qos_profile_sensor_data], ids=['latched', 'sensor_data'])
def test_another_slam_says_where_the_camera_is_in_the_frame_of_its_cloud(graph, qos):
    slam = Slam(graph)
    poses = slam.client.create_publisher(PoseStamped, 'keyframe_pose', qos)
    wait_until(poses.get_subscription_count, 'a subscriber')
    pose = pose_from_matrix(np.eye(4))
    pose.position.x = 3.0
    poses.publish(PoseStamped(header=make_header(SECOND, 'slam_map'), pose=pose))
    slam.publish(spots((0, 0, 0)), frame='slam_map')
    wait_until(lambda: slam.grounder.camera is not None, 'the camera')
    assert slam.grounder.camera.tolist() == [3.0, 0.0, 0.0]
    assert 'incompatible_publishers' not in slam.node.report.counts()


def test_only_what_changes_is_encoded_again_and_a_new_frame_is_a_new_map(graph):
    slam = Slam(graph)
    slam.publish(spots((0, 0, 0), (20, 0, 0), (40, 0, 0)))
    slam.wait_for_chunks((0, 0, 0), (3, 0, 0), (6, 0, 0))
    wait_until(lambda: not slam.grounder.dirty, 'the encodings')
    updated: list = []
    update = slam.grounder.update
    slam.grounder.update = lambda key, cloud: (updated.append(key), update(key, cloud))
    slam.publish(spots((0, 0, 0), (20, 0, 0), (60, 0, 0)), stamp=2)
    slam.wait_for_chunks((0, 0, 0), (3, 0, 0), (9, 0, 0))
    assert sorted(updated) == [(6, 0, 0), (9, 0, 0)]
    wait_until(lambda: slam.grounder.stamp == 2 * SECOND, 'the stamp')
    slam.publish(spots((0, 0, 0)), stamp=3, frame='odom')
    slam.wait_for_chunks((0, 0, 0))
    assert slam.grounder.settings.frame_id == 'odom'


def test_a_bad_cloud_is_counted_and_the_map_is_kept(graph):
    slam = Slam(graph)
    slam.publish(spots((0, 0, 0)))
    slam.wait_for_chunks((0, 0, 0))
    damaged = cloud_to_message(spots((20, 0, 0)), make_header(SECOND, 'map'))
    damaged.data = damaged.data[:-7]
    slam.publisher.publish(damaged)
    wait_for_count(slam.node, 'bad_clouds', 1)
    slam.publish(spots((20, 0, 0)), frame='')
    wait_for_count(slam.node, 'bad_clouds', 2)
    assert set(slam.grounder.clouds) == {(0, 0, 0)}
    slam.publish(spots((20, 0, 0)), stamp=2)
    slam.wait_for_chunks((3, 0, 0))


def test_a_slam_that_comes_back_with_another_quality_of_service_is_heard(graph):
    slam = Slam(graph, LATCHED)
    slam.publish(spots((0, 0, 0)))
    slam.wait_for_chunks((0, 0, 0))
    slam.client.destroy_publisher(slam.publisher)
    slam.publisher = slam.client.create_publisher(
        PointCloud2, 'slam/cloud', qos_profile_sensor_data
    )
    wait_until(slam.publisher.get_subscription_count, 'a subscriber')
    slam.publish(spots((20, 0, 0)), stamp=2)
    slam.wait_for_chunks((3, 0, 0))


def test_of_a_cloud_that_is_too_large_a_part_is_kept_and_the_rest_comes_when_there_is_room(graph):
    slam = Slam(graph, max_voxels=400)
    slam.publish(spots((0, 0, 0), (20, 0, 0), (40, 0, 0), (60, 0, 0)))
    wait_for_count(slam.node, 'refused_chunks', 2)
    wait_until(lambda: len(slam.grounder.clouds) == 2, 'two chunks')
    slam.publish(spots((40, 0, 0), (60, 0, 0)), stamp=2)
    slam.wait_for_chunks((6, 0, 0), (9, 0, 0))
    assert slam.node.report.counts()['refused_chunks'] == 2


@pytest.mark.parametrize('kind', [None, String])
def test_a_map_that_nobody_publishes_is_an_error_that_names_topic_and_type(
    graph, kind, monkeypatch
):
    monkeypatch.setattr(cloud_input, 'SILENCE', 0.0)
    client = graph.client()
    if kind is not None:
        client.create_publisher(kind, 'cloud_map', 1)
        wait_until(lambda: client.count_publishers('cloud_map'), 'the publisher')
    node = graph.add(
        lambda **o: GroundingNode(lambda values: FakeGrounder(), **o), cloud_map='cloud_map'
    )
    wait_for_count(node, 'no_cloud_map')
    level, text = node.report.health()
    assert level == ERROR
    assert 'nobody publishes sensor_msgs/msg/PointCloud2 on /cloud_map' in text
    assert ('but std_msgs/msg/String' in text) == (kind is not None)
