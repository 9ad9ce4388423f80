"""What a furnished room is made of: objects, floor and walls, in the world frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box
from lift_gs_ros.simulation.layout import Outline, Rectangle, rectangle
from lift_gs_ros.simulation.solids import Mesh, rotation_z
from lift_gs_ros.simulation.vocabulary import is_held_out_look

FLOOR_ID = -1  # instance id of the floor; walls are -2, -3, ... in the outline's order


@dataclass(frozen=True)
class RoomObject:
    """One object of a room, in the world frame."""

    instance_id: int  # 1, 2, ... in the room
    kind: str  # a key of vocabulary.KINDS
    variant: str  # a key of furniture.VARIANTS[kind]
    color_name: str  # one of vocabulary.COLORS
    position: NDArray[np.float64]  # (3,) middle of the footprint, at the object's lowest height
    yaw: float  # radians, heading of the object's front
    support: int | None  # id of the object that it stands on; None: the floor or a wall
    mesh: Mesh
    box: Box  # through the mesh's extreme corners

    @property
    def front(self) -> NDArray[np.float64]:
        """Unit vector (2,) in the floor plane towards which the object faces."""
        return np.array([np.cos(self.yaw), np.sin(self.yaw)])

    @cached_property
    def footprint(self) -> Rectangle:
        """Corners (4, 2) of the oriented rectangle around the object, metres."""
        local = (self.mesh.vertices - self.position) @ rotation_z(self.yaw)
        return rectangle(self.position[:2], np.abs(local[:, :2]).max(axis=0), self.yaw)


@dataclass(frozen=True)
class Structure:
    """The floor or a wall."""

    structure_id: int  # FLOOR_ID or below it; what instance images hold for it
    name: str  # 'floor' or 'wall'
    mesh: Mesh


@dataclass(frozen=True)
class Room:
    """A furnished room. Its walls are seen from inside only; there is no ceiling."""

    seed: int
    split: str
    objects: tuple[RoomObject, ...]
    structure: tuple[Structure, ...]
    outline: Outline
    height: float  # of the walls, metres

    def object(self, instance_id: int) -> RoomObject:
        """Return the object of that id."""
        return self.objects[instance_id - 1]


def is_held_out(room_object: RoomObject) -> bool:
    """Say whether the object's colour-kind pair or shape variant occurs in test rooms only."""
    return is_held_out_look(room_object.color_name, room_object.kind, room_object.variant)
