"""Images in the forms that drivers send them, in a real graph."""

import io

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from PIL import Image as Pillow  # noqa: E402
from ros_graph import FakeCamera, wait_until  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage  # noqa: E402
from test_node_poses import Tf, catch_reasons  # noqa: E402
from test_nodes import make_mapping, map_good_frames, wait_for_count  # noqa: E402

from lift_gs_ros.geometry import Camera  # noqa: E402
from lift_gs_ros.nodes import conversions  # noqa: E402
from lift_gs_ros.nodes.mapping_node import MappingNode  # noqa: E402

DEPTH_CAMERA = Camera.from_focal(40.0, 40.0, 23.5, 17.5, 48, 36)


class CompressedCamera(FakeCamera):
    """The same wall, compressed."""

    def __init__(self, node) -> None:
        super().__init__(node)
        self.color = node.create_publisher(CompressedImage, 'rgb/image/compressed', 10)
        self.depth = node.create_publisher(CompressedImage, 'depth/image/compressedDepth', 10)

    def messages(self) -> dict:
        messages = super().messages()
        color, depth = messages['color'], messages['depth']
        messages['color'] = CompressedImage(
            header=color.header,
            format='rgb8; jpeg compressed bgr8',
            data=encode(conversions.color_from_image(color), 'JPEG'),
        )
        millimetres = (conversions.depth_from_image(depth) * 1000).astype(np.uint16)
        messages['depth'] = CompressedImage(
            header=depth.header,
            format='16UC1; compressedDepth png',
            data=bytes(12) + encode(millimetres, 'PNG'),
        )
        return messages


def encode(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, kind)
    return file.getvalue()


def test_compressed_images_become_the_same_map_and_damaged_ones_are_counted(graph, client):
    camera = CompressedCamera(client)
    mapping = make_mapping(
        graph, camera, rgb_transport='compressed', depth_transport='compressedDepth'
    )
    map_good_frames(mapping, camera, 2)
    cloud = mapping._mapper.map.to_point_cloud()
    np.testing.assert_allclose(cloud.positions[:, 0], 2.0, atol=0.05)
    np.testing.assert_allclose(cloud.colors, np.broadcast_to([1, 0, 0], (len(cloud), 3)), atol=0.02)
    damaged = camera.messages()
    damaged['color'].data = damaged['color'].data[:40]
    camera.publish(**damaged)
    wait_for_count(mapping, 'bad_frames')
    map_good_frames(mapping, camera, 2)


class TwoCameras(FakeCamera):
    """Depth comes from a camera 5 cm to the left of the one for colour, unregistered."""

    def __init__(self, node) -> None:
        super().__init__(node)
        self.depth_info = node.create_publisher(CameraInfo, 'depth/camera_info', 10)

    def messages(self) -> dict:
        messages = super().messages()
        header = conversions.make_header(self.stamp, 'depth_camera')
        messages['depth_info'] = conversions.info_from_camera(DEPTH_CAMERA, header)
        depth = np.full((36, 48), 2.0, np.float32)
        messages['depth'] = conversions.image_from_depth(depth, header)
        return messages


def test_depth_is_registered_with_the_extrinsic_of_a_parameter(graph, client):
    camera = TwoCameras(client)
    mapping = make_mapping(
        graph,
        camera,
        depth_registration='parameter',
        color_from_depth=[-0.05, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0],
    )
    map_good_frames(mapping, camera, 3)
    cloud = mapping._mapper.map.to_point_cloud()
    np.testing.assert_allclose(cloud.positions[:, 0], 2.5, atol=0.05)


def test_depth_is_registered_with_the_extrinsic_in_tf(graph, client):
    tf = Tf(client)
    camera = TwoCameras(client)
    mapping = make_mapping(graph, camera, depth_registration='tf')
    wait_until(tf.static.get_subscription_count, 'a subscriber of /tf_static')
    color_from_depth = np.eye(4)
    color_from_depth[2, 3] = 0.5
    tf.send(tf.static, 0, 'camera', 'depth_camera', color_from_depth)
    map_good_frames(mapping, camera, 3)
    cloud = mapping._mapper.map.to_point_cloud()
    np.testing.assert_allclose(cloud.positions[:, 0], 2.5, atol=0.05)


def test_depth_of_another_frame_or_without_its_calibration_is_told_what_to_set(graph, client):
    camera = TwoCameras(client)
    mapping = make_mapping(graph, camera)
    reasons = catch_reasons(mapping)
    camera.publish()
    wait_for_count(mapping, 'bad_frames')
    assert any("depth in 'depth_camera'" in reason for reason in reasons)
    graph.remove(mapping)
    mapping = make_mapping(graph, camera, depth_registration='parameter')
    reasons = catch_reasons(mapping)
    camera.publish(depth_info=None)
    wait_for_count(mapping, 'bad_frames')
    assert 'no depth/camera_info has come yet' in reasons[-1]
    map_good_frames(mapping, camera, 2)


def test_the_compressed_topic_follows_the_remapped_one(graph, client):
    graph.add(
        lambda **o: MappingNode(cli_args=['--ros-args', '-r', 'rgb/image:=/cam/color'], **o),
        rgb_transport='compressed',
    )
    wait_until(lambda: client.count_subscribers('/cam/color/compressed'), 'a subscriber')
