"""The topics that answers go out on."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from lift_gs_ros import msg
from lift_gs_ros.nodes import answers
from lift_gs_ros.nodes.answering import News
from lift_gs_ros.nodes.qos import LATCHED, latched
from lift_gs_ros.nodes.standing import shown_instances


class AnswerTopics:
    """Publishes every new answer, and what all current answers show together."""

    def __init__(self, node: Node, standing: int) -> None:
        """Advertise; a late reader of ``grounding`` gets the last ``standing`` answers."""
        create = node.create_publisher
        self._grounding = create(msg.Grounding, 'grounding', latched(standing))
        self._standing = create(msg.StandingQueries, 'standing_queries', LATCHED)
        self._markers = create(MarkerArray, 'markers', LATCHED)
        self._masks = create(PointCloud2, 'masks', LATCHED)
        self._detections: Any = None
        if answers.Detection3DArray is None:
            node.get_logger().info('vision_msgs is not installed: no topic detections')
        else:
            self._detections = create(answers.Detection3DArray, 'detections', LATCHED)
        self._writer = answers.MarkerWriter()
        self._header = Header()
        self._texts: list[str] | None = None
        self._publish_texts([])

    def publish(self, news: News, weights: str) -> None:
        """Publish what is new; the other topics show the newest answers of all standing queries."""
        for answer in news.answers:
            self._header = answers.answer_header(answer)
            self._grounding.publish(answers.grounding_to_message(answer, weights))
        objects = shown_instances(news.standing.answers)
        self._markers.publish(self._writer.write(objects, self._header))
        self._masks.publish(answers.masks_to_message(objects, self._header))
        if self._detections is not None:
            self._detections.publish(answers.detections_to_message(objects, self._header))
        self._publish_texts(news.standing.texts)

    def _publish_texts(self, texts: list[str]) -> None:
        if texts != self._texts:
            self._texts = texts
            self._standing.publish(msg.StandingQueries(queries=texts))
