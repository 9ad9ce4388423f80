"""overlay_node in a real graph: what it draws, and that it does nothing for nobody."""

from concurrent.futures import Future

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from ros_graph import FakeCamera, wait_until  # noqa: E402
from sensor_msgs.msg import Image, PointCloud2  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from test_lifecycle import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, change  # noqa: E402

from lift_gs_ros import msg, srv  # noqa: E402
from lift_gs_ros.colors import confidence_color  # noqa: E402
from lift_gs_ros.geometry import Box, Camera  # noqa: E402
from lift_gs_ros.grounding import picture  # noqa: E402
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding  # noqa: E402
from lift_gs_ros.nodes import answers, conversions  # noqa: E402
from lift_gs_ros.nodes.overlay_node import OverlayNode, _shrunk  # noqa: E402
from lift_gs_ros.nodes.qos import LATCHED, RELIABLE, latched  # noqa: E402
from lift_gs_ros.nodes.standing import shown_instances  # noqa: E402


class Scene:
    """A camera in front of a red wall, an overlay_node, and somebody who publishes answers."""

    def __init__(self, graph) -> None:
        self.client = graph.client()
        self.camera = FakeCamera(self.client)
        self.node = graph.add(
            OverlayNode, sensor_qos='reliable', annotated_rate=50.0, rendered_rate=50.0
        )
        create = self.client.create_publisher
        self.grounding = create(msg.Grounding, 'grounding', latched(9))
        self.standing = create(msg.StandingQueries, 'standing_queries', LATCHED)
        self.masks = create(PointCloud2, 'masks', LATCHED)

    def answer(self, *groundings: Grounding) -> None:
        self.standing.publish(msg.StandingQueries(queries=[g.query for g in groundings]))
        header = conversions.make_header(1, 'map')
        self.masks.publish(answers.masks_to_message(shown_instances(groundings), header))
        for grounding in groundings:
            self.grounding.publish(answers.grounding_to_message(grounding, 'stand-in'))

    def listen(self, topic: str) -> list:
        images: list = []
        self.client.create_subscription(Image, topic, images.append, RELIABLE)
        return images

    def wait_for(self, condition, what: str) -> None:
        def holds() -> bool:
            self.camera.x = 0.0  # it stands still
            self.camera.publish()
            return condition()

        wait_until(holds, f'{what}; counted {self.node.report.counts()}')


def found(number: int, query: str, y: float, score: float) -> Grounding:
    """A thing of 20 cm on the wall, ``y`` metres to the left of where the camera starts."""
    side = np.linspace(-0.1, 0.1, 9)
    grid = np.stack(np.meshgrid([2.0], y + side, 1 + side), axis=-1).reshape(-1, 3)
    points = grid.astype(np.float32)
    box = Box.from_points(points)
    return Grounding(
        query,
        1,
        'map',
        [GroundedInstance(number, query, (0, len(query)), True, score, box, points, points[:, 0])],
    )


def covered(image: Image, score: float) -> np.ndarray:
    """Columns of pixels where a mask of this score lies on the red wall."""
    color = np.array([round(255 * channel) for channel in confidence_color(score)])
    mixed = np.array([255, 0, 0]) // 2 + color // 2
    pixels = conversions.color_from_image(image).astype(int)
    return np.flatnonzero((np.abs(pixels - mixed).max(axis=2) <= 1).any(axis=0))


def test_current_answers_are_drawn_into_the_live_image_where_the_camera_sees_them(graph):
    scene = Scene(graph)
    images = scene.listen('annotated_image')
    # 0.2 m of x a message: the camera stands at y = 0.2, and 30 pixels are a metre at 2 m.
    scene.answer(found(1, 'left', 0.7, 0.9), found(2, 'right', -0.3, 0.3))
    scene.wait_for(lambda: images and len(covered(images[-1], 0.9)), 'a mask')
    scene.wait_for(lambda: len(covered(images[-1], 0.3)), 'the other mask')
    image = images[-1]
    assert covered(image, 0.9).mean() == pytest.approx(31.5 - 15, abs=2)
    assert covered(image, 0.3).mean() == pytest.approx(31.5 + 15, abs=2)
    assert image.header.frame_id == 'camera'
    assert image.encoding == 'rgb8'
    scene.answer(found(2, 'right', -0.3, 0.3))  # the other one was cancelled
    scene.wait_for(lambda: not len(covered(images[-1], 0.9)), 'the mask to go')
    assert len(covered(images[-1], 0.3))


def test_images_are_not_even_taken_in_while_nobody_listens(graph):
    scene = Scene(graph)
    scene.wait_for(lambda: scene.node._info is not None, 'a camera_info')
    assert scene.node._image_input is None
    assert scene.camera.color.get_subscription_count() == 0
    subscription = scene.client.create_subscription(
        Image, 'annotated_image', lambda image: None, RELIABLE
    )
    wait_until(scene.camera.color.get_subscription_count, 'a subscriber of the image')
    scene.client.destroy_subscription(subscription)
    wait_until(lambda: not scene.camera.color.get_subscription_count(), 'it to leave')


def test_the_map_is_drawn_from_the_cameras_view_by_whoever_has_it(graph):
    scene = Scene(graph)
    requests: list = []

    def render(request, response):
        requests.append(request)
        if len(requests) == 1:
            response.message = 'no map yet'
            return response
        camera = conversions.camera_from_info(request.camera_info)
        picture = np.full((camera.height, camera.width, 3), 7, np.uint8)
        response.image = conversions.image_from_color(picture, request.camera_info.header)
        response.success = True
        return response

    scene.client.create_service(srv.Render, 'grounding_node/render', render)
    images = scene.listen('rendered_image')
    scene.wait_for(lambda: images, 'a picture')
    assert scene.node.report.counts()['no_pictures'] == 1
    pose = conversions.matrix_from_pose(requests[-1].pose)
    np.testing.assert_allclose(pose[:3, 3], [0, 0.2, 1], atol=1e-6)
    assert (images[-1].width, images[-1].height) == (64, 48)
    assert images[-1].header.frame_id == 'camera'


def test_an_image_without_a_pose_is_counted_and_the_next_one_is_drawn(graph):
    scene = Scene(graph)
    scene.node.values['pose_timeout'] = 0.05
    images = scene.listen('annotated_image')

    def refused() -> bool:
        scene.camera.publish(odometry=None)
        return scene.node.report.counts().get('images_without_pose', 0) > 0

    wait_until(refused, 'a problem')
    scene.wait_for(lambda: images, 'an image')


def test_an_overlay_that_was_taken_down_leaves_nothing_and_draws_again(graph):
    scene = Scene(graph)
    images = scene.listen('annotated_image')
    for down, up in (((DEACTIVATE,), (ACTIVATE,)), ((DEACTIVATE, CLEANUP), (CONFIGURE, ACTIVATE))):
        scene.wait_for(lambda: images, 'an image')
        assert change(scene.client, 'overlay_node', *down)
        wait_until(lambda: not scene.camera.info.get_subscription_count(), 'no subscriber')
        assert change(scene.client, 'overlay_node', *up)
        del images[:]
    scene.wait_for(lambda: images, 'an image')
    assert 'errors' not in scene.node.report.counts()
    assert change(scene.client, 'overlay_node', DEACTIVATE, CLEANUP)
    wait_until(lambda: not scene.client.count_publishers('annotated_image'), 'the topic to go')
    assert not list(scene.node.node.clients)


@pytest.mark.parametrize('down', [(DEACTIVATE,), (DEACTIVATE, CLEANUP)])
def test_a_picture_that_comes_when_the_overlay_has_been_taken_down_is_left_out(graph, down):
    scene = Scene(graph)
    images = scene.listen('rendered_image')
    assert change(scene.client, 'overlay_node', *down)
    future: Future = Future()
    future.set_result(srv.Render.Response(success=True))
    scene.node._on_picture(future)  # which the executor was about to call

    def render(request, response):
        response.image = conversions.image_from_color(np.zeros((2, 3, 3), np.uint8), Header())
        response.success = True
        return response

    scene.client.create_service(srv.Render, 'grounding_node/render', render)
    assert change(scene.client, 'overlay_node', *(CONFIGURE, ACTIVATE)[-len(down) :])
    scene.wait_for(lambda: images, 'a picture')
    assert images[0].width == 3


@pytest.mark.parametrize('size', [(640, 480), (1280, 1024), (480, 640), (3000, 1), (64, 48)])
def test_a_picture_is_never_asked_for_that_is_too_large_to_be_drawn(size):
    camera = _shrunk(Camera.from_focal(500.0, 500.0, 10.0, 10.0, *size), 640)
    assert camera.width <= min(640, size[0])
    assert camera.width * camera.height <= picture.MAX_PIXELS
    assert camera.width >= 0.9 * min(640, size[0], (picture.MAX_PIXELS * size[0] / size[1]) ** 0.5)
