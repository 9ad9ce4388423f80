"""Rooms beside each other in one map: what a query finds among many rooms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.simulation.houses import join_rooms
from training.evaluation.rooms import EvaluationRoom


def house_of(rooms: Sequence[EvaluationRoom]) -> EvaluationRoom:
    """Put rooms (at least one) into the map of one house.

    What is said of their objects is unambiguous in the whole house, which makes it harder: "the
    sofa" is seldom one of a kind, "the corner sofa" is. Nothing is fused or rendered anew.
    """
    house, shifts = join_rooms([room.room for room in rooms])
    positions, instance_ids, first = [], [], 0
    for room, shift in zip(rooms, shifts):
        labels = room.instance_ids
        positions.append(room.cloud.positions + shift.astype(np.float32))
        instance_ids.append(np.where(labels > 0, labels + first, labels))
        first += len(room.room.objects)
    cloud = PointCloud(
        np.concatenate(positions), np.concatenate([own.cloud.colors for own in rooms])
    )
    return EvaluationRoom(house, cloud, np.concatenate(instance_ids), len(rooms))
