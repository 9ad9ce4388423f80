"""overlay_node: the current answers drawn into the live image, and the map from the same view.

Apart from the others because it needs images at the camera's rate and answers at once: nothing
that maps or answers waits for pictures that are for people. Without readers it does nothing.
"""

from __future__ import annotations

import math
import time
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from lift_gs_ros import msg
from lift_gs_ros.annotation import draw_objects
from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.nodes.conversions import (
    camera_from_info,
    image_from_color,
    info_from_camera,
    pose_from_matrix,
    read_color,
    stamp_to_ns,
)
from lift_gs_ros.nodes.inputs import Inputs, image_topic
from lift_gs_ros.nodes.lifecycle import DEACTIVATE_SECONDS, ManagedNode
from lift_gs_ros.nodes.parameters import OVERLAY
from lift_gs_ros.nodes.pose_input import PoseInput
from lift_gs_ros.nodes.poses import PoseUnavailableError, wait_for_pose
from lift_gs_ros.nodes.qos import LATCHED, RELIABLE, SENSOR_QOS, latched
from lift_gs_ros.nodes.reporting import ERROR
from lift_gs_ros.nodes.runner import run
from lift_gs_ros.nodes.shown import CurrentAnswers
from lift_gs_ros.nodes.worker import BoundedQueue, Worker
from lift_gs_ros.srv import Render

LOOK_SECONDS = 0.5  # how often to see whether somebody listens
PICTURE_PIXELS = 640 * 480  # grounding_node draws no larger picture


class OverlayNode(ManagedNode):
    """Callbacks keep the newest of everything; one worker waits for the pose and draws."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('overlay_node', OVERLAY, node_options)
        self._worker = Worker('overlay', self._step, self._on_error)

    def configure(self) -> None:
        """Advertise."""
        create = self.node.create_publisher
        self._annotated = create(Image, 'annotated_image', RELIABLE)
        self._rendered = create(Image, 'rendered_image', RELIABLE)
        self._poses = PoseInput(self.values)
        self._answers = CurrentAnswers()
        self._images: BoundedQueue[Image | CompressedImage] = BoundedQueue(1)
        self._info: CameraInfo | None = None
        self._image_input: Subscription | None = None
        self._due = {'annotated': 0.0, 'rendered': 0.0}
        # Pictures on their way to the worker, the only one that publishes: it has ended before a
        # publisher is destroyed, an answer that comes late has not.
        self._pictures: BoundedQueue[Image] = BoundedQueue(1)
        self._client = self.node.create_client(Render, 'grounding_node/render')

    def activate(self) -> None:
        """Subscribe and draw."""
        node, qos = self.node, SENSOR_QOS[self.values['sensor_qos']]
        hint = 'overlay_node needs camera_info and poses and, while somebody looks, images'
        self._inputs = inputs = Inputs(node, self.report, hint, expected='always')
        self._pictures.take_all()  # one that was asked for before
        self._rendering_since: float | None = None
        self._poses.subscribe(node, inputs, qos)
        # A calibration holds until there is another.
        inputs.subscribe(CameraInfo, 'rgb/camera_info', self._on_info, qos, expected='once')
        answers = self._answers
        for kind, topic, callback, depth in (
            (msg.Grounding, 'grounding', answers.on_grounding, latched(100)),
            (msg.StandingQueries, 'standing_queries', answers.on_standing_queries, LATCHED),
            (PointCloud2, 'masks', answers.on_masks, LATCHED),
        ):
            inputs.subscribe(kind, topic, callback, depth, expected='nothing')
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(LOOK_SECONDS, self._follow_readers, clock=clock)
        self._worker.start()

    def deactivate(self) -> None:
        """Stop drawing."""
        if not self._worker.stop(DEACTIVATE_SECONDS):
            raise RuntimeError(f'the worker is still busy after {DEACTIVATE_SECONDS:.0f} s')
        self._image_input = None
        self._images.take_all()

    def cleanup(self) -> None:
        """Forget what was seen."""
        del self._poses, self._answers, self._info

    def stop(self, timeout: float) -> bool:
        """End the worker."""
        return self._worker.stop(timeout)

    def _follow_readers(self) -> None:
        """Take images in only while somebody reads annotated_image."""
        wanted = self._annotated.get_subscription_count() > 0
        if wanted and self._image_input is None:
            kind, topic = image_topic(self.node, 'rgb/image', self.values['rgb_transport'])
            qos = SENSOR_QOS[self.values['sensor_qos']]
            self._image_input = self._inputs.subscribe(kind, topic, self._images.put, qos)
        elif not wanted and self._image_input is not None:
            self._inputs.unsubscribe(self._image_input)
            self._image_input = None

    def _on_info(self, info: CameraInfo) -> None:
        self._info = info

    def _step(self) -> None:
        image = self._images.get(timeout=0.1)
        try:
            for picture in self._pictures.take_all():
                self._rendered.publish(picture)
                self.report.count('rendered')
            if image is not None and self._is_due('annotated', self._annotated):
                self._annotate(image)
            if self._is_due('rendered', self._rendered):
                self._ask_for_picture()
        except PoseUnavailableError as error:
            if not self._worker.stopped.is_set():
                self.report.problem('images_without_pose', error)
        except ValueError as error:
            self.report.problem('bad_images', error)

    def _is_due(self, name: str, publisher) -> bool:
        """Say whether a picture is wanted now; where it is, the next one is due a period later."""
        now = time.monotonic()
        if now < self._due[name] or self._info is None or not publisher.get_subscription_count():
            return False
        self._due[name] = now + 1 / self.values[f'{name}_rate']
        return True

    def _view(self, header, info: CameraInfo) -> tuple[Camera, FloatArray]:
        deadline = time.monotonic() + self.values['pose_timeout']
        stamp = stamp_to_ns(header.stamp)
        pose = wait_for_pose(
            self._poses.source, stamp, header.frame_id, deadline, self._worker.stopped
        )
        return camera_from_info(info), pose

    def _annotate(self, image: Image | CompressedImage) -> None:
        assert self._info is not None
        begin = time.monotonic()
        color = read_color(image)
        camera, pose = self._view(image.header, self._info)
        if color.shape[:2] != (camera.height, camera.width):
            raise ValueError(
                f'the image is {color.shape[1]}x{color.shape[0]}, '
                f'camera_info says {camera.width}x{camera.height}'
            )
        drawn = draw_objects(color, camera, pose, self._answers.shown())
        self._annotated.publish(image_from_color(drawn, image.header))
        self.report.count('annotated')
        self.report.time('annotate', time.monotonic() - begin)

    def _ask_for_picture(self) -> None:
        """Ask grounding_node for the view of the newest camera_info, one picture at a time."""
        assert self._info is not None
        now = time.monotonic()
        if self._rendering_since is not None and now - self._rendering_since < 30.0:
            return
        if not self._client.service_is_ready():
            self.report.problem('no_renderer', f'no service {self._client.srv_name} is there')
            return
        header = self._info.header
        camera, pose = self._view(header, self._info)
        info = info_from_camera(_shrunk(camera, self.values['rendered_width']), header)
        request = Render.Request(pose=pose_from_matrix(pose), camera_info=info)
        self._rendering_since = now
        self._client.call_async(request).add_done_callback(self._on_picture)

    def _on_picture(self, future) -> None:
        response, self._rendering_since = future.result(), None
        if response.success:
            self._pictures.put(response.image)
        else:
            self.report.problem('no_pictures', response.message)

    def _on_error(self, error: Exception) -> None:
        self.report.problem('errors', f'{type(error).__name__}: {error}', ERROR)


def _shrunk(camera: Camera, width: int) -> Camera:
    """Make the image at most so wide, and no larger than can be drawn."""
    fits = math.sqrt(PICTURE_PIXELS / (camera.width * camera.height))
    share = min(1.0, width / camera.width, fits)
    return camera.resized(*(max(1, int(share * side)) for side in (camera.width, camera.height)))


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    run('overlay_node', OverlayNode, args)


if __name__ == '__main__':
    main()
