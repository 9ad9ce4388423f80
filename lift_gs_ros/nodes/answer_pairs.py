"""The two messages of an answer, grounding and masks, put together again."""

from __future__ import annotations

from collections import deque

import numpy as np
from sensor_msgs.msg import PointCloud2

from lift_gs_ros import msg
from lift_gs_ros.grounding.instances import Grounding
from lift_gs_ros.nodes.answers import grounding_from_messages
from lift_gs_ros.nodes.point_clouds import columns_from_message

CAPACITY = 10  # messages of each kind that wait for the other


class AnswerPairs:
    """Pairs by stamp and by how many points every instance has, whichever message comes first.

    The masks may hold those of other standing queries too. Where one of these found the same
    object and is surer of it, the masks have that one's points, and no others will come.
    """

    def __init__(self) -> None:
        self._groundings: deque[msg.Grounding] = deque(maxlen=CAPACITY)
        self._masks: deque[PointCloud2] = deque(maxlen=CAPACITY)

    def add_grounding(self, message: msg.Grounding) -> Grounding | None:
        """Take in one half; return the answer where the other is here."""
        self._groundings.append(message)
        return self._pair()

    def add_masks(self, message: PointCloud2) -> Grounding | None:
        """Take in one half; return the answer where the other is here.

        Raises ValueError for a cloud that is no masks.
        """
        columns_from_message(message, ('x', 'y', 'z', 'instance_id', 'score'))
        self._masks.append(message)
        pair = self._pair()
        return self._with_points_of_others(message) if pair is None else pair

    def _pair(self) -> Grounding | None:
        for i, grounding in reversed([*enumerate(self._groundings)]):
            for j, masks in reversed([*enumerate(self._masks)]):
                counts = _points_of(grounding, masks)
                if counts == [instance.num_points for instance in grounding.instances]:
                    _drop(self._groundings, i + 1)
                    _drop(self._masks, j + 1)
                    return grounding_from_messages(grounding, masks)
        return None

    def _with_points_of_others(self, masks: PointCloud2) -> Grounding | None:
        """Return the newest answer whose objects all are in these masks, which are kept."""
        for i, grounding in reversed([*enumerate(self._groundings)]):
            counts = _points_of(grounding, masks)
            if counts is not None and all(counts):
                _drop(self._groundings, i + 1)
                return grounding_from_messages(grounding, masks)
        return None


def _drop(messages: deque, number: int) -> None:
    """Drop the oldest ones: what is published is the newest answer."""
    for _ in range(number):
        messages.popleft()


def _points_of(grounding: msg.Grounding, masks: PointCloud2) -> list[int] | None:
    """Count the points of every instance in the masks; None where those are of another time."""
    if grounding.header.stamp != masks.header.stamp:
        return None
    ids = columns_from_message(masks, ('instance_id',))['instance_id'].astype(int)
    found = dict(zip(*map(np.ndarray.tolist, np.unique(ids, return_counts=True))))
    return [found.get(instance.id, 0) for instance in grounding.instances]
