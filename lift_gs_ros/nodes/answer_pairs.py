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

    The masks may hold those of other standing queries too.
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
        return self._pair()

    def _pair(self) -> Grounding | None:
        for grounding in reversed(self._groundings):
            for masks in reversed(self._masks):
                if _belong_together(grounding, masks):
                    # Older ones are out of date: what is published is the newest answer.
                    self._groundings.clear()
                    self._masks.clear()
                    return grounding_from_messages(grounding, masks)
        return None


def _belong_together(grounding: msg.Grounding, masks: PointCloud2) -> bool:
    if grounding.header.stamp != masks.header.stamp:
        return False
    ids = columns_from_message(masks, ('instance_id',))['instance_id'].astype(int)
    found = dict(zip(*map(np.ndarray.tolist, np.unique(ids, return_counts=True))))
    return all(found.get(i.id, 0) == i.num_points for i in grounding.instances)
