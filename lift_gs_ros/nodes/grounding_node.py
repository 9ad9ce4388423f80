"""grounding_node: chunks of a map, or any point cloud, and a sentence in; masks and boxes out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from geometry_msgs.msg import PoseStamped
from std_msgs.msg import String

from lift_gs_ros import msg
from lift_gs_ros.nodes.answer_topics import AnswerTopics
from lift_gs_ros.nodes.answering import Answering, News, Question
from lift_gs_ros.nodes.answers import grounding_to_message
from lift_gs_ros.nodes.cloud_input import CloudInput
from lift_gs_ros.nodes.conversions import (
    camera_from_info,
    chunk_from_message,
    frame_name,
    image_from_color,
    make_header,
    matrix_from_pose,
    stamp_to_ns,
)
from lift_gs_ros.nodes.encoding_services import EncodingServices
from lift_gs_ros.nodes.inputs import Inputs
from lift_gs_ros.nodes.lifecycle import DEACTIVATE_SECONDS, ManagedNode
from lift_gs_ros.nodes.map_intake import Grounds
from lift_gs_ros.nodes.parameters import GROUNDING
from lift_gs_ros.nodes.qos import LATCHED_CHUNKS, QUERIES, pose_qos
from lift_gs_ros.nodes.reporting import ERROR, gpu_memory_rows
from lift_gs_ros.nodes.runner import run
from lift_gs_ros.nodes.worker import Worker
from lift_gs_ros.srv import Cancel, Ground, LoadMap, Render, SaveMap

SERVICE_SECONDS = 60.0  # a first answer on a CPU encodes the whole map before
JOB_SECONDS = 10.0  # a job waits for the answers and the encoding that the worker is at


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


class GroundingNode(ManagedNode):
    """Callbacks convert and enqueue; one worker owns the model and publishes.

    Inactive, it keeps the model in main memory and no map: mapping_node sends that again.
    """

    def __init__(
        self, load: Callable[[Mapping[str, Any]], Grounds] = load_grounder, **node_options: Any
    ) -> None:
        super().__init__('grounding_node', GROUNDING, node_options)
        self._load = load

    def configure(self) -> None:
        """Load the model and advertise."""
        logger = self.node.get_logger()
        logger.info('loading the model')
        try:
            self._grounder = self._load(self.values)
        except Exception as error:
            raise RuntimeError(f'cannot load the model: {error}') from error
        self._grounder.warn = lambda text: self.report.problem('out_of_memory', text)
        untrained = ' (random weights: its answers mean nothing)'
        note = untrained if self._grounder.weights == 'untrained' else ''
        logger.info(f"ready, weights '{self._grounder.weights}'{note}")
        self._cloud_input: CloudInput | None = None
        self._answering = Answering(self.values, lambda: self._grounder, self._publish, self.report)
        self._worker = Worker('grounding', self._answering.step, self._on_error)
        self._advertise()

    def activate(self) -> None:
        """Subscribe and answer."""
        self._grounder.to(self.values['device'])
        self._subscribe()
        self._worker.start()

    def deactivate(self) -> None:
        """Stop answering, forget the map and free the GPU; whoever waits for an answer is told."""
        if not self._worker.stop(DEACTIVATE_SECONDS):
            raise RuntimeError(f'the worker is still busy after {DEACTIVATE_SECONDS:.0f} s')
        self._stop_cloud_input(DEACTIVATE_SECONDS)
        self._answering.close('the node is inactive')
        self._answering.forget_map()
        self._grounder.to('cpu')

    def cleanup(self) -> None:
        """Forget the model."""
        del self._worker, self._answering, self._grounder, self._encodings

    def stop(self, timeout: float) -> bool:
        """End the worker; whoever waits for an answer is told."""
        if self.state == 'unconfigured':
            return True
        ended = self._worker.stop(timeout)
        ended &= self._stop_cloud_input(timeout)
        self._answering.close('the node is shutting down')
        return ended

    def _stop_cloud_input(self, timeout: float) -> bool:
        return self._cloud_input is None or self._cloud_input.stop(timeout)

    def _advertise(self) -> None:
        latest = self.values['query_mode'] == 'latest'
        self._topics = AnswerTopics(self.node, 1 if latest else self.values['max_standing_queries'])
        self._encodings = EncodingServices(
            self.values, self._grounder, self._answering, self._ask_worker
        )
        # Apart: who waits for an answer, a picture or a disk does not keep others waiting.
        self.serve((Ground, 'ground', self._on_ground))
        self.serve((Cancel, 'cancel', self._on_cancel))
        self.serve((Render, 'render', self._on_render))
        self.serve(
            (SaveMap, 'save_encodings', self._on_save),
            (LoadMap, 'load_encodings', self._on_load),
        )

    def _subscribe(self) -> None:
        self._inputs = inputs = Inputs(self.node, self.report, expected='nothing')
        self._cloud_input = None
        if topic := self.values['cloud_map']:
            put = self._answering.put_chunk
            self._cloud_input = CloudInput(self.node, topic, put, self.report)
            self._cloud_input.start()
        else:
            # A map that is finished no longer changes; that nobody publishes it is a fault.
            qos = LATCHED_CHUNKS
            inputs.subscribe(msg.MapChunk, 'map_chunks', self._on_chunk, qos, expected='publisher')
        inputs.subscribe(PoseStamped, 'keyframe_pose', self._on_pose, pose_qos(topic))
        inputs.subscribe(String, 'query', self._on_query, QUERIES)

    def _on_chunk(self, message: msg.MapChunk) -> None:
        try:
            self._answering.put_chunk(chunk_from_message(message))
            self.report.count('chunks')
        except ValueError as error:
            self.report.problem('bad_chunks', error)

    def _on_pose(self, message: PoseStamped) -> None:
        place = matrix_from_pose(message.pose)[:3, 3]
        self._answering.put_camera(place, frame_name(message.header.frame_id))

    def _on_query(self, message: String) -> None:
        self.report.count('queries')
        self._answering.ask(Question(message.data))

    def _on_ground(self, request: Ground.Request, response: Ground.Response) -> Ground.Response:
        if self.state != 'active':
            response.grounding.message = f'the node is {self.state}'
            return response
        reply: Future = Future()
        self._answering.ask(Question(request.query, reply))
        try:
            grounding = reply.result(SERVICE_SECONDS)
            response.grounding = grounding_to_message(grounding, self._grounder.weights)
        except FutureTimeoutError:
            response.grounding.message = f'no answer within {SERVICE_SECONDS:.0f} s'
        return response

    def _on_cancel(self, request: Cancel.Request, response: Cancel.Response) -> Cancel.Response:
        def serve() -> None:
            found, left = self._ask_worker(lambda: self._answering.cancel(request.query))
            response.success, response.queries = found, left
            if not found:
                response.message = f"'{request.query}' does not stand" if request.query else 'none'

        return self._served(response, serve)

    def _on_render(self, request: Render.Request, response: Render.Response) -> Render.Response:
        def serve() -> None:
            pose, camera = matrix_from_pose(request.pose), camera_from_info(request.camera_info)
            image = self._ask_worker(lambda: self._grounder.render(camera, pose))
            stamp = stamp_to_ns(request.camera_info.header.stamp)
            header = make_header(stamp, request.camera_info.header.frame_id)
            response.image, response.success = image_from_color(image, header), True

        return self._served(response, serve)

    def _on_save(self, request: SaveMap.Request, response: SaveMap.Response) -> SaveMap.Response:
        return self._said(response, lambda: self._encodings.save(request.name))

    def _on_load(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        return self._said(response, lambda: self._encodings.load(request.name))

    def _said(self, response, work: Callable[[], str]):
        def serve() -> None:
            if self.state != 'active':  # before a large file is read in vain
                raise RuntimeError(f'the node is {self.state}')
            response.message = work()
            response.success = True

        return self._served(response, serve)

    def _ask_worker(self, job: Callable[[], Any]) -> Any:
        if self.state != 'active':
            raise RuntimeError(f'the node is {self.state}')
        return self._answering.jobs.ask(job, JOB_SECONDS)

    def _served(self, response, serve: Callable[[], None]):
        try:
            serve()
        except Exception as error:  # for whoever asked
            response.message = str(error) or type(error).__name__
        return response

    def _publish(self, news: News) -> None:
        self._topics.publish(news, self._grounder.weights)

    def _on_error(self, error: Exception) -> None:
        self.report.problem('errors', f'{type(error).__name__}: {error}', ERROR)

    def _state(self) -> dict[str, object]:
        summary = self._answering.summary
        return {
            'device': self._grounder.device,
            'voxels': summary.voxels,
            'chunks in map': summary.chunks,
            'map version': summary.version,
            'encoding': self._answering.encoding,
            'standing queries': self._answering.num_standing,
            **gpu_memory_rows(),
        }


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    run('grounding_node', GroundingNode, args)


if __name__ == '__main__':
    main()
