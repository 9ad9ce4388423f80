"""Rooms beside each other in one map: what a query finds among many rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box, PointCloud
from lift_gs_ros.simulation.layout import Outline
from lift_gs_ros.simulation.room import RoomObject
from training.evaluation.rooms import EvaluationRoom

BETWEEN = 0.2  # metres from one room to the next, about a wall


def house_of(rooms: Sequence[EvaluationRoom]) -> EvaluationRoom:
    """Put rooms (at least one) into the map of one house, row by row.

    Objects are numbered through; what is said of them (``make_expressions``) is then unambiguous
    in the whole house, which makes it harder too: "the sofa" is seldom one of a kind, "the corner
    sofa" is. Nothing is fused or rendered anew.
    """
    objects: list[RoomObject] = []
    positions, instance_ids = [], []
    for room, shift in zip(rooms, _places([own.room.outline for own in rooms])):
        first, labels = len(objects), room.instance_ids
        objects += [_moved(thing, shift, first) for thing in room.room.objects]
        positions.append(room.cloud.positions + shift.astype(np.float32))
        instance_ids.append(np.where(labels > 0, labels + first, labels))
    cloud = PointCloud(
        np.concatenate(positions), np.concatenate([own.cloud.colors for own in rooms])
    )
    whole = replace(rooms[0].room, objects=tuple(objects), structure=())
    return EvaluationRoom(whole, cloud, np.concatenate(instance_ids), len(rooms))


def _places(outlines: Sequence[Outline]) -> list[NDArray[np.float64]]:
    """Return by how much (3,) each room moves: into about as many rows as a row has rooms."""
    in_row = int(np.ceil(np.sqrt(len(outlines))))
    places, corner = [], np.zeros(2)
    for first in range(0, len(outlines), in_row):
        row = outlines[first : first + in_row]
        corner[0] = 0.0
        for outline in row:
            places.append(np.append(corner - outline.lower, 0.0))
            corner[0] += (outline.upper - outline.lower)[0] + BETWEEN
        corner[1] += max((outline.upper - outline.lower)[1] for outline in row) + BETWEEN
    return places


def _moved(thing: RoomObject, shift: NDArray[np.float64], first: int) -> RoomObject:
    return replace(
        thing,
        instance_id=thing.instance_id + first,
        position=thing.position + shift,
        support=None if thing.support is None else thing.support + first,
        mesh=thing.mesh.placed(shift, 0.0),
        box=Box(thing.box.center + shift, thing.box.size),
    )
