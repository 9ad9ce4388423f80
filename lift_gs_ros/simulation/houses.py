"""Rooms beside each other: the objects of a house."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box
from lift_gs_ros.simulation.layout import Outline
from lift_gs_ros.simulation.room import Room, RoomObject

BETWEEN = 0.2  # metres from one room to the next, about a wall


def join_rooms(rooms: Sequence[Room]) -> tuple[Room, list[NDArray[np.float64]]]:
    """Put rooms (at least one) into one house, row by row; also return how far (3,) each moves.

    Objects are numbered through; what is said of them (``make_expressions``) is then unambiguous
    in the whole house. Outline and height are those of the first room; floor and walls are left
    out.
    """
    objects: list[RoomObject] = []
    shifts = _places([room.outline for room in rooms])
    for room, shift in zip(rooms, shifts):
        first = len(objects)
        objects += [_moved(thing, shift, first) for thing in room.objects]
    return replace(rooms[0], objects=tuple(objects), structure=()), shifts


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
