"""What an answer's readers know: the objects of all current answers, put together from topics."""

from __future__ import annotations

import threading

import numpy as np
from sensor_msgs.msg import PointCloud2

from lift_gs_ros import msg
from lift_gs_ros.annotation import Shown
from lift_gs_ros.colors import confidence_color
from lift_gs_ros.nodes.point_clouds import columns_from_message


class CurrentAnswers:
    """Follows ``grounding``, ``standing_queries`` and ``masks``. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._standing: list[str] = []
        self._answers: dict[str, msg.Grounding] = {}
        self._points: dict[int, np.ndarray] = {}  # (N, 3) of each object

    def on_grounding(self, answer: msg.Grounding) -> None:
        """Take in an answer; that of the same query before is out of date."""
        with self._lock:
            self._answers[answer.query] = answer
            for text in [text for text in self._answers if text not in self._standing]:
                if text != answer.query:  # it may come before the list that has it
                    del self._answers[text]

    def on_standing_queries(self, message: msg.StandingQueries) -> None:
        """Take in which queries stand."""
        with self._lock:
            self._standing = list(message.queries)

    def on_masks(self, message: PointCloud2) -> None:
        """Take in the points of all objects."""
        columns = columns_from_message(message, ('x', 'y', 'z', 'instance_id'))
        points = np.stack([columns[name] for name in 'xyz'], axis=-1)
        order = np.argsort(columns['instance_id'], kind='stable')
        names, begins = np.unique(columns['instance_id'][order], return_index=True)
        with self._lock:
            self._points = dict(zip(names.tolist(), np.split(points[order], begins[1:])))

    def shown(self) -> list[Shown]:
        """Return the objects to draw, the surest last, on top of the others."""
        with self._lock:
            instances = [
                instance
                for text, answer in self._answers.items()
                if text in self._standing
                for instance in answer.instances
                if instance.id in self._points
            ]
            best = {i.id: i for i in sorted(instances, key=lambda i: (i.is_target, i.score))}
            return [_shown(instance, self._points[instance.id]) for instance in best.values()]


def _shown(instance: msg.GroundedInstance, points: np.ndarray) -> Shown:
    red, green, blue = (round(255 * channel) for channel in confidence_color(instance.score))
    return Shown(points, (red, green, blue), f'{instance.phrase} {instance.score:.2f}')
