"""Poses that come late, jump, stop, start again or are about another frame, in a real graph."""

import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped  # noqa: E402
from ros_graph import FakeCamera, wait_until  # noqa: E402
from test_nodes import make_mapping, map_good_frames, wait_for_count  # noqa: E402

from lift_gs_ros.geometry import look_at  # noqa: E402
from lift_gs_ros.nodes import conversions  # noqa: E402
from lift_gs_ros.nodes.qos import LATCHED  # noqa: E402


def catch_reasons(mapping) -> list[str]:
    reasons: list[str] = []
    mapping.report._warn, mapping.report._period = reasons.append, 0.0
    return reasons


def test_images_wait_for_poses_that_come_late(graph, camera):
    mapping = make_mapping(graph, camera, pose_timeout=10.0)
    late = []
    for _ in range(3):
        messages = camera.messages()
        camera.publish(**{**messages, 'odometry': None})
        late.append(messages['odometry'])
    time.sleep(1.0)
    assert 'keyframes' not in mapping.report.counts()
    for odometry in late:
        camera.odometry.publish(odometry)
    wait_for_count(mapping, 'keyframes', 3)
    assert 'frames_without_pose' not in mapping.report.counts()


@pytest.mark.parametrize(
    ('source', 'kind'), [('pose', PoseStamped), ('pose_with_covariance', PoseWithCovarianceStamped)]
)
def test_poses_come_from_a_pose_topic(graph, client, source, kind):
    camera = FakeCamera(client, odometry=False)
    publisher = client.create_publisher(kind, 'pose', 10)
    mapping = make_mapping(graph, camera, pose_source=source)
    wait_until(publisher.get_subscription_count, 'a subscriber of poses')

    def publish() -> None:
        messages = camera.messages()
        odometry = messages.pop('odometry')
        pose = odometry.pose if kind is PoseWithCovarianceStamped else odometry.pose.pose
        publisher.publish(kind(header=odometry.header, pose=pose))
        for name, message in messages.items():
            getattr(camera, name).publish(message)

    fused = mapping.report.counts
    wait_until(lambda: publish() or fused().get('keyframes', 0) >= 2, 'keyframes')


def test_frames_without_a_pose_are_lost_with_the_reason_and_mapping_goes_on(graph, camera):
    mapping = make_mapping(graph, camera, pose_timeout=0.05)
    reasons = catch_reasons(mapping)
    map_good_frames(mapping, camera, 2)
    for i in range(3):
        camera.publish(odometry=None)
        wait_for_count(mapping, 'frames_without_pose', i + 1)
    assert 's older than the image' in reasons[-1]
    map_good_frames(mapping, camera, 2)


def test_an_image_inside_a_jump_of_five_metres_is_refused(graph, camera):
    mapping = make_mapping(graph, camera, pose_timeout=0.5)
    reasons = catch_reasons(mapping)
    map_good_frames(mapping, camera, 2)
    between = camera.messages()
    camera.x += 5.0
    after = camera.messages()
    # No pose at the stamp of the image: one before and one after it.
    camera.publish(**{**between, 'odometry': after['odometry']})
    wait_for_count(mapping, 'frames_without_pose')
    assert 'the pose jumps by 5.40 m around the image' in reasons[-1]
    map_good_frames(mapping, camera, 2)


def test_frames_are_the_same_with_and_without_a_leading_slash(graph, camera):
    mapping = make_mapping(graph, camera, map_frame='/map')

    def fused() -> bool:
        messages = camera.messages()
        messages['odometry'].header.frame_id = '/map'
        messages['color'].header.frame_id = '/camera'
        camera.publish(**messages)
        return mapping.report.counts().get('keyframes', 0) >= 2

    wait_until(fused, 'keyframes')
    assert mapping._mapper.chunk_update((0, 0, 0)).frame_id.lstrip('/') == 'map'


def test_odometry_about_a_base_without_a_mount_is_reported_once(graph, camera):
    mapping = make_mapping(graph, camera)
    reasons = catch_reasons(mapping)

    def warned() -> bool:
        messages = camera.messages()
        messages['odometry'].child_frame_id = 'base_link'
        camera.publish(**messages)
        return mapping.report.counts().get('keyframes', 0) >= 3

    wait_until(warned, 'keyframes')
    about = [reason for reason in reasons if 'base_from_camera is the identity' in reason]
    assert len(about) == 1
    assert "about 'base_link', the images are from 'camera'" in about[0]


class Tf:
    """Publishes a moving base and a camera mounted on it."""

    def __init__(self, client) -> None:
        tf2_msgs = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs is not installed')
        pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')
        self.kind = tf2_msgs.TFMessage
        self.dynamic = client.create_publisher(self.kind, '/tf', 10)
        self.static = client.create_publisher(self.kind, '/tf_static', LATCHED)
        self.send(self.static, 0, 'base', 'camera', look_at([0, 0, 0.5], [1, 0, 0.5]))

    def send(self, publisher, stamp, parent, child, matrix) -> None:
        from geometry_msgs.msg import TransformStamped

        transform = TransformStamped(header=conversions.make_header(stamp, parent))
        transform.child_frame_id = child
        transform.transform = conversions.transform_from_matrix(matrix)
        publisher.publish(self.kind(transforms=[transform]))

    def play_until(self, condition, camera) -> None:
        """Publish frames, and transforms a little later, until something is so."""

        def is_so() -> bool:
            moments = [(camera.x, camera.stamp)]
            messages = camera.messages()
            for name in ('info', 'color', 'depth'):
                getattr(camera, name).publish(messages[name])
            for x, stamp in [*moments, (camera.x, camera.stamp)]:
                base = np.eye(4)
                base[:3, 3] = [1, x, 0]
                self.send(self.dynamic, stamp, 'map', 'base', base)
            return condition()

        wait_until(is_so, 'what was waited for')


def test_poses_come_from_tf_at_the_stamp_and_after_a_restart_of_the_clock(graph, client, camera):
    tf = Tf(client)
    camera.odometry = None
    mapping = make_mapping(graph, camera, pose_source='tf', map_frame='/map')
    wait_until(tf.dynamic.get_subscription_count, 'a subscriber of /tf')
    count = lambda name: mapping.report.counts().get(name, 0)  # noqa: E731
    tf.play_until(lambda: count('keyframes') >= 3, camera)
    cloud = mapping._mapper.map.to_point_cloud()
    np.testing.assert_allclose(cloud.positions[:, 0], 3.0, atol=0.05)
    camera.stamp -= 500_000_000_000
    tf.play_until(lambda: count('clock_restarts') == 1, camera)
    before = count('keyframes')
    tf.play_until(lambda: count('keyframes') >= before + 3, camera)


def test_a_missing_transform_names_both_frames(graph, client, camera):
    Tf(client)
    camera.odometry = None
    mapping = make_mapping(graph, camera, pose_source='tf', pose_timeout=0.1, map_frame='nowhere')
    reasons = catch_reasons(mapping)
    camera.publish(odometry=None)
    wait_for_count(mapping, 'frames_without_pose')
    assert 'no transform nowhere <- camera' in reasons[-1]


def test_a_simulated_clock_that_starts_again_does_not_stop_mapping(graph, client, camera):
    from rosgraph_msgs.msg import Clock

    clock = client.create_publisher(Clock, '/clock', 10)
    mapping = make_mapping(graph, camera, use_sim_time=True)
    map_good_frames(mapping, camera, 2)
    camera.stamp -= 100_000_000_000

    def restarted() -> bool:
        clock.publish(Clock(clock=conversions.ns_to_stamp(camera.stamp)))
        camera.publish()
        return mapping.report.counts().get('clock_restarts', 0) == 1

    wait_until(restarted, 'a new map')
    map_good_frames(mapping, camera, 2)
