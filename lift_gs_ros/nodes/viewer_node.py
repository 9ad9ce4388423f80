"""viewer_node: map and answers on a web page, and what is typed there on the topic query."""

from __future__ import annotations

import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import String

from lift_gs_ros import msg
from lift_gs_ros.grounding.instances import Grounding
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.nodes.answer_pairs import AnswerPairs
from lift_gs_ros.nodes.cloud_input import CloudInput
from lift_gs_ros.nodes.conversions import (
    ChunkUpdate,
    camera_from_info,
    chunk_from_message,
    matrix_from_pose,
    read_color,
)
from lift_gs_ros.nodes.inputs import Inputs, image_topic
from lift_gs_ros.nodes.lifecycle import DEACTIVATE_SECONDS, ManagedNode
from lift_gs_ros.nodes.map_intake import cost_with, report_refused
from lift_gs_ros.nodes.parameters import VIEWER
from lift_gs_ros.nodes.qos import LATCHED, LATCHED_CHUNKS, RELIABLE, SENSOR_QOS, latched, pose_qos
from lift_gs_ros.nodes.reporting import ERROR
from lift_gs_ros.nodes.runner import run
from lift_gs_ros.nodes.worker import BoundedQueue, Worker
from lift_gs_ros.viewer.address import is_local
from lift_gs_ros.viewer.viewer import Viewer


class ViewerNode(ManagedNode):
    """Callbacks keep the newest of everything; one worker hands it to the page now and then."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('viewer_node', VIEWER, node_options)
        self._worker = Worker('viewer', self._step, self._on_error)
        self._lock = threading.Lock()
        self._chunks: dict[ChunkKey, ChunkUpdate] = {}  # that the page does not have yet
        self._sizes: dict[ChunkKey, int] = {}  # voxels of those that it has
        self._cloud_input: CloudInput | None = None

    def configure(self) -> None:
        """Open the page."""
        self._queries = self.node.create_publisher(String, 'query', RELIABLE)
        host, port = self.values['host'], self.values['port']
        self.viewer = Viewer(self._on_query, host, port, self.values['max_points'])
        self._announce(host)

    def activate(self) -> None:
        """Subscribe and show."""
        self._map_id: int | None = None
        self._answers, self._due = AnswerPairs(), 0.0
        self._to_show: BoundedQueue[Grounding] = BoundedQueue(100)
        self._pose: PoseStamped | None = None
        self._image: Image | CompressedImage | None = None
        self._info: CameraInfo | None = None
        self._subscribe()
        self._worker.start()

    def deactivate(self) -> None:
        """Show nothing; the page stays open. The map is sent again to whoever subscribes."""
        if not self._stop_workers(DEACTIVATE_SECONDS):
            raise RuntimeError(f'a worker is still busy after {DEACTIVATE_SECONDS:.0f} s')
        self._chunks.clear()
        self._sizes.clear()
        self.viewer.clear_map()
        self.viewer.note('viewer_node is inactive.')

    def cleanup(self) -> None:
        """Close the page."""
        self.viewer.close()
        del self.viewer

    def stop(self, timeout: float) -> bool:
        """End the workers and the page."""
        ended = self._stop_workers(timeout)
        if self.state != 'unconfigured':
            self.viewer.close()
        return ended

    def _stop_workers(self, timeout: float) -> bool:
        ended = self._cloud_input is None or self._cloud_input.stop(timeout)
        return self._worker.stop(timeout) and ended

    def _announce(self, host: str) -> None:
        logger = self.node.get_logger()
        logger.info(f'open {self.viewer.url} in a browser')
        if not is_local(host):
            logger.warning(
                f'the viewer is open to the network (host is {host}) and has no password: whoever '
                "reaches it sees the map and the camera's image, and may ask"
            )

    def _subscribe(self) -> None:
        self._inputs = Inputs(self.node, self.report, expected='nothing')
        subscribe = self._inputs.subscribe
        if topic := self.values['cloud_map']:
            self._cloud_input = CloudInput(self.node, topic, self._put_chunk, self.report)
            self._cloud_input.start()
        else:
            qos = LATCHED_CHUNKS
            subscribe(msg.MapChunk, 'map_chunks', self._on_chunk, qos, expected='publisher')
        subscribe(msg.Grounding, 'grounding', self._on_grounding, latched(100))
        subscribe(PointCloud2, 'masks', self._on_masks, LATCHED)
        subscribe(PoseStamped, 'keyframe_pose', self._on_pose, pose_qos(topic))
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        if self.values['camera_image']:
            qos = SENSOR_QOS['sensor_data']
            kind, topic = image_topic(self.node, 'rgb/image', self.values['rgb_transport'])
            subscribe(kind, topic, self._on_image, qos)
            subscribe(CameraInfo, 'rgb/camera_info', self._on_info, qos)

    def _on_query(self, text: str) -> None:
        if self.state != 'active':
            self.viewer.note('viewer_node is inactive.')
            return
        if not self._queries.get_subscription_count():
            self.viewer.note(
                f'Nobody listens on {self._queries.topic_name}: is grounding_node running?'
            )
        self._queries.publish(String(data=text))

    def _on_chunk(self, message: msg.MapChunk) -> None:
        try:
            self._put_chunk(chunk_from_message(message))
        except ValueError as error:
            self.report.problem('bad_chunks', error)

    def _put_chunk(self, update: ChunkUpdate) -> bool:
        with self._lock:
            known = self._sizes if update.map_id == self._map_id else {}  # another map goes
            fits = cost_with(update, self._chunks, known) <= self.values['max_voxels']
            if fits:
                self._chunks.pop(update.key, None)
                self._chunks[update.key] = update
        if not fits:
            report_refused(self.report, update, self.values['max_voxels'])
        return fits

    def _on_grounding(self, message: msg.Grounding) -> None:
        self.viewer.set_facts(weights=f'weights {message.weights}' if message.weights else '')
        self._show(self._answers.add_grounding(message))

    def _on_masks(self, message: PointCloud2) -> None:
        try:
            self._show(self._answers.add_masks(message))
        except ValueError as error:
            self.report.problem('bad_masks', error)

    def _show(self, grounding: Grounding | None) -> None:
        if grounding is not None:
            self._to_show.put(grounding)

    def _on_pose(self, pose: PoseStamped) -> None:
        self._pose = pose

    def _on_image(self, image: Image | CompressedImage) -> None:
        self._image = image

    def _on_info(self, info: CameraInfo) -> None:
        self._info = info

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        wanted = f'{self.node.get_namespace().strip("/")}/grounding_node'.lstrip('/')
        for status in message.status:
            if status.name == wanted:
                values = {row.key: row.value for row in status.values}
                self.viewer.set_facts(device=values.get('device', ''))

    def _step(self) -> None:
        grounding = self._to_show.get(timeout=0.1)
        if grounding is not None:
            self.viewer.show(grounding)
            self.report.count('answers')
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + 1 / self.values['update_rate']
        with self._lock:
            updates, self._chunks = list(self._chunks.values()), {}
        for update in updates:
            self._apply(update)
        if self.viewer.num_browsers:
            self._show_camera()

    def _apply(self, update: ChunkUpdate) -> None:
        if update.map_id != self._map_id:
            if self._map_id is not None:
                self.viewer.clear_map()
            with self._lock:
                self._map_id, self._sizes = update.map_id, {}
        with self._lock:
            self._sizes.pop(update.key, None)
            if len(update.cloud):
                self._sizes[update.key] = len(update.cloud)
        self.viewer.update_chunk(update.key, update.cloud, update.chunk_size, update.voxel_size)
        keyframes = f'{update.map.keyframes} keyframes' if update.map.keyframes else ''
        self.viewer.set_facts(keyframes=keyframes, version=f'map version {update.map.version}')

    def _show_camera(self) -> None:
        pose, image, info = self._pose, self._image, self._info
        if pose is None:
            return
        self._image = None  # is sent once
        try:
            self.viewer.set_camera(
                matrix_from_pose(pose.pose),
                camera_from_info(info) if info else None,
                read_color(image) if image else None,
            )
        except ValueError as error:
            self.report.problem('bad_camera_messages', error)

    def _on_error(self, error: Exception) -> None:
        self.report.problem('errors', f'{type(error).__name__}: {error}', ERROR)

    def _state(self) -> dict[str, object]:
        return {'url': self.viewer.url, 'browsers': self.viewer.num_browsers}


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    run('viewer_node', ViewerNode, args)


if __name__ == '__main__':
    main()
