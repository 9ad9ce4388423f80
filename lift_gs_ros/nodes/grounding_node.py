"""grounding_node: chunks of a map, or any point cloud, and a sentence in; masks and boxes out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from lift_gs_ros import msg
from lift_gs_ros.grounding.instances import Grounding
from lift_gs_ros.nodes import answers
from lift_gs_ros.nodes.answering import Answering, Grounds, Question
from lift_gs_ros.nodes.cloud_input import CloudInput
from lift_gs_ros.nodes.conversions import chunk_from_message
from lift_gs_ros.nodes.parameters import GROUNDING, declare
from lift_gs_ros.nodes.qos import LATCHED, LATCHED_CHUNKS, RELIABLE
from lift_gs_ros.nodes.reporting import Diagnostics, Report
from lift_gs_ros.nodes.runner import run
from lift_gs_ros.nodes.worker import Worker
from lift_gs_ros.srv import Ground

SERVICE_SECONDS = 60.0  # a first answer on a CPU encodes the whole map before


def load_grounder(values: Mapping[str, Any]) -> Grounds:
    """Load the model that the parameters name. Takes seconds."""
    # Imports torch, which a node without a map does not need yet.
    from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings

    names = 'chunk_overlap', 'max_instances', 'max_chunks', 'largest_component'
    settings = GrounderSettings(
        frame_id=values['map_frame'], **{name: values[name] for name in names}
    )
    # No shell has looked at a parameter or at an argument of ros2 launch.
    checkpoint = os.path.expanduser(values['checkpoint'])
    return Grounder.load(checkpoint, values['device'], settings)


class GroundingNode:
    """Callbacks convert and enqueue; one worker owns the model and publishes."""

    def __init__(
        self, load: Callable[[Mapping[str, Any]], Grounds] = load_grounder, **node_options: Any
    ) -> None:
        self.node = Node('grounding_node', **node_options)
        self.finished, self.failure = threading.Event(), ''
        self.values = declare(self.node, GROUNDING)
        self.report = Report(self.node.get_logger().warning)
        self._load = load
        self._answering = Answering(self.values, self._load_or_fail, self._publish, self.report)
        self._worker = Worker('grounding', self._answering.step, self._on_error)
        self._markers = answers.MarkerWriter()
        self._advertise()
        self._subscribe()

    def _advertise(self) -> None:
        def latched(kind: type, topic: str):
            return self.node.create_publisher(kind, topic, LATCHED)

        self._grounding_publisher = latched(msg.Grounding, 'grounding')
        self._marker_publisher = latched(MarkerArray, 'markers')
        self._mask_publisher = latched(PointCloud2, 'masks')
        if answers.Detection3DArray is None:
            self._detection_publisher = None
            self.node.get_logger().info('vision_msgs is not installed: no topic detections')
        else:
            self._detection_publisher = latched(answers.Detection3DArray, 'detections')
        Diagnostics(self.node, self.report, self._state)

    def _subscribe(self) -> None:
        node = self.node
        self._cloud_input = None
        if topic := self.values['cloud_map']:
            put = self._answering.put_chunk
            self._cloud_input = CloudInput(node, topic, put, self.report)
        else:
            node.create_subscription(msg.MapChunk, 'map_chunks', self._on_chunk, LATCHED_CHUNKS)
        queries, services = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        node.create_subscription(String, 'query', self._on_query, RELIABLE, callback_group=queries)
        node.create_service(Ground, '~/ground', self._on_service, callback_group=services)

    def start(self) -> None:
        """Begin to work."""
        self._worker.start()
        if self._cloud_input is not None:
            self._cloud_input.start()

    def stop(self, timeout: float) -> bool:
        """End the worker; whoever waits for an answer is told."""
        ended = self._worker.stop(timeout)
        if self._cloud_input is not None:
            ended &= self._cloud_input.stop(timeout)
        self._answering.close()
        return ended

    def _on_chunk(self, message: msg.MapChunk) -> None:
        try:
            self._answering.put_chunk(chunk_from_message(message))
            self.report.count('chunks')
        except ValueError as error:
            self.report.problem('bad_chunks', error)

    def _on_query(self, message: String) -> None:
        self.report.count('queries')
        self._answering.ask(Question(message.data))

    def _on_service(self, request: Ground.Request, response: Ground.Response) -> Ground.Response:
        reply: Future = Future()
        self._answering.ask(Question(request.query, reply))
        try:
            grounding, weights = reply.result(SERVICE_SECONDS)
            response.grounding = answers.grounding_to_message(grounding, weights)
        except FutureTimeoutError:
            response.grounding.message = f'no answer within {SERVICE_SECONDS:.0f} s'
        return response

    def _load_or_fail(self) -> Grounds:
        logger = self.node.get_logger()
        logger.info('loading the model')
        try:
            grounder = self._load(self.values)
        except Exception as error:
            self.failure = f'cannot load the model: {error}'
            self._worker.stopped.set()
            self.finished.set()
            raise
        untrained = ' (random weights: its answers mean nothing)'
        note = untrained if grounder.weights == 'untrained' else ''
        logger.info(f"ready, weights '{grounder.weights}'{note}")
        return grounder

    def _publish(self, grounding: Grounding, weights: str) -> None:
        self._grounding_publisher.publish(answers.grounding_to_message(grounding, weights))
        self._marker_publisher.publish(self._markers.write(grounding))
        self._mask_publisher.publish(answers.masks_to_message(grounding))
        if self._detection_publisher is not None:
            self._detection_publisher.publish(answers.detections_to_message(grounding))

    def _on_error(self, error: Exception) -> None:
        self.report.problem('errors', f'{type(error).__name__}: {error}')

    def _state(self) -> dict[str, object]:
        summary = self._answering.summary
        return {
            'device': self.values['device'],
            'voxels': summary.voxels,
            'chunks in map': summary.chunks,
            'map version': summary.version,
            'encoding': self._answering.encoding,
            'last answer ms': round(self._answering.last_ms, 1),
        }


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    run('grounding_node', GroundingNode, args)


if __name__ == '__main__':
    main()
