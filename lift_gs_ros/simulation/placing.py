"""Finds places for objects: on floors, walls, tables, rugs, and beside other furniture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lift_gs_ros.geometry import Box
from lift_gs_ros.simulation.layout import (
    Occupancy,
    Outline,
    Rectangle,
    Wall,
    inside,
    rectangle,
)
from lift_gs_ros.simulation.room import RoomObject
from lift_gs_ros.simulation.room_types import AGAINST_WALL, MOUNTED, NEAR_WALL, SUPPORTS
from lift_gs_ros.simulation.shapes import Shape, Surface

_TRIES = 40
_GAP = 0.06  # metres between neighbours on the floor: more than a voxel of 5 cm
_NO_SUPPORT = 0

Look = tuple[str, str, str]  # kind, variant, colour name


class Placer:
    """Keeps the objects of one room apart; every method that places says whether it could."""

    def __init__(self, rng: np.random.Generator, outline: Outline) -> None:
        self._rng = rng
        self._outline = outline
        self._occupancy = Occupancy(outline)
        self._shapes: list[Shape] = []
        self.objects: list[RoomObject] = []

    def place_anywhere(self, look: Look, shape: Shape) -> bool:
        """Place an object on a wall, along a wall or on the floor, as its kind wants it."""
        return any(self._try_floor(look, shape) for _ in range(_TRIES))

    def _try_floor(self, look: Look, shape: Shape) -> bool:
        kind, half, rng = look[0], shape.half_extent, self._rng
        if kind in MOUNTED or kind in AGAINST_WALL:
            wall, along = self._random_wall(half[1])
            if wall is None:
                return False
            away = half[0] + (0.001 if kind in MOUNTED else rng.uniform(0.02, 0.05))
            base = {'window': rng.uniform(0.85, 1.0), 'picture': rng.uniform(1.1, 1.4)}
            z = base.get(kind, 0.0)
            return self._commit(look, shape, wall.point(along, away), wall.yaw, z)
        if kind in NEAR_WALL:
            wall, along = self._random_wall(max(half[:2]))
            if wall is None:
                return False
            away = math.hypot(half[0], half[1]) + rng.uniform(0.03, 0.2)
            return self._commit(look, shape, wall.point(along, away), rng.uniform(-3.1, 3.1))
        position = rng.uniform(self._outline.lower, self._outline.upper)
        yaw = rng.uniform(-math.pi, math.pi)
        if kind in ('table', 'rug') and rng.random() < 0.6:
            yaw = float(rng.integers(4)) * math.pi / 2
        return self._commit(look, shape, position, yaw)

    def _random_wall(self, half_width: float) -> tuple[Wall | None, float]:
        """Draw a wall, long ones more often, and a place along it for something that wide."""
        walls = self._outline.walls
        lengths = np.array([wall.length for wall in walls])
        wall = walls[int(self._rng.choice(len(walls), p=lengths / lengths.sum()))]
        low, high = half_width + 0.05, wall.length - half_width - 0.05
        return (wall, float(self._rng.uniform(low, high))) if high > low else (None, 0.0)

    def place_at_table(self, look: Look, shape: Shape) -> bool:
        """Put a chair at a table's side, facing it."""
        tables = [o for o in self.objects if o.kind == 'table']
        if not tables:
            return False
        for _ in range(12):
            table = tables[int(self._rng.integers(len(tables)))]
            half = self._shapes[table.instance_id - 1].half_extent
            side = int(self._rng.integers(4))
            reach = half[side % 2] + shape.half_extent[0] + self._rng.uniform(0.03, 0.15)
            slide = self._rng.uniform(-0.6, 0.6) * half[1 - side % 2]
            yaw = table.yaw + side * math.pi / 2
            away = np.array([math.cos(yaw), math.sin(yaw)])
            position = table.position[:2] + away * reach + np.array([-away[1], away[0]]) * slide
            if self._commit(look, shape, position, yaw + math.pi, gap=0.02):
                return True
        return False

    def place_beside(self, look: Look, shape: Shape, hosts: tuple[str, ...]) -> bool:
        """Put something in front of a piece of furniture that stands at a wall, or next to it."""
        found = [o for o in self.objects if o.kind in hosts]
        half, rng = shape.half_extent, self._rng
        for _ in range(8 if found else 0):
            host = found[int(rng.integers(len(found)))]
            host_half = self._shapes[host.instance_id - 1].half_extent
            yaw = host.yaw + (0.0 if look[0] == 'table' else rng.uniform(-math.pi, math.pi))
            reach = half[0] if look[0] == 'table' else math.hypot(half[0], half[1])
            if look[0] == 'table' or rng.random() < 0.5:
                ahead = host_half[0] + reach + rng.uniform(0.25, 0.6)
                local = np.array([ahead, rng.uniform(-0.5, 0.5) * host_half[1]])
            else:
                aside = host_half[1] + reach + rng.uniform(0.07, 0.2)
                local = np.array([rng.uniform(-0.05, 0.15), aside * rng.choice((-1, 1))])
            position = host.position[:2] + _turned(local, host.yaw)
            if self._commit(look, shape, position, yaw):
                return True
        return False

    def place_on_rug(self, look: Look, shape: Shape) -> bool:
        """Place something on a rug, all of it."""
        rugs = [o for o in self.objects if o.kind == 'rug']
        return any(
            self._try_surface(look, shape, rug, self._shapes[rug.instance_id - 1].surfaces[0])
            for rug in rugs
            for _ in range(8)
        )

    def place_under(self, look: Look, shape: Shape) -> bool:
        """Place something on the free floor beneath a table."""
        for table in [o for o in self.objects if o.kind == 'table']:
            floors = [s for s in self._shapes[table.instance_id - 1].surfaces if s.z == 0]
            for _ in range(8 if floors else 0):
                if self._try_surface(look, shape, table, floors[0]):
                    return True
        return False

    def place_on_support(self, look: Look, shape: Shape) -> bool:
        """Place something on a piece of furniture of a kind that carries such things."""
        pairs = [
            (o, surface)
            for o in self.objects
            if o.kind in SUPPORTS[look[0]]
            for surface in self._shapes[o.instance_id - 1].surfaces
            if surface.z > 0
        ]
        for _ in range(_TRIES if pairs else 0):
            support, surface = pairs[int(self._rng.integers(len(pairs)))]
            if self._try_surface(look, shape, support, surface):
                return True
        return False

    def _try_surface(self, look: Look, shape: Shape, support: RoomObject, surface: Surface) -> bool:
        """Try one random place on a surface (or beneath a table, where its z is 0)."""
        if shape.half_extent[2] > surface.clearance - 0.02:
            return False
        lower, upper = np.array(surface.lower), np.array(surface.upper)
        local = self._rng.uniform(lower, upper)
        facing = look[0] in ('laptop', 'monitor')
        yaw = support.yaw + self._rng.uniform(-0.4, 0.4) if facing else self._rng.uniform(-3.1, 3.1)
        position = _turned(local, support.yaw) + support.position[:2]
        center = _turned((lower + upper) / 2, support.yaw) + support.position[:2]
        allowed = rectangle(center, (upper - lower) / 2, support.yaw)
        if not inside(rectangle(position, shape.half_extent[:2], yaw), allowed):
            return False
        beneath = surface.z == 0
        z = 0.0 if beneath else support.position[2] + surface.z
        return self._commit(
            look,
            shape,
            position,
            yaw,
            z,
            gap=0.02 if not beneath else 0.0,
            ignore=(support.instance_id,),
            support=None if beneath else support.instance_id,
        )

    def _commit(
        self,
        look: Look,
        shape: Shape,
        position: ArrayLike,
        yaw: float,
        z: float = 0.0,
        gap: float = _GAP,
        ignore: tuple[int, ...] = (),
        support: int | None = None,
    ) -> bool:
        """Place the object there if it fits."""
        half = shape.half_extent
        rect = rectangle(position, half[:2], yaw)
        if support is None and z == 0 and look[0] != 'rug':
            rug = self._rug_beneath(rect)
            if rug != _NO_SUPPORT:
                support, ignore = rug, (*ignore, rug)
                z = float(self.objects[rug - 1].box.upper[2])
        margin = 0.0 if look[0] in MOUNTED else 0.02
        if not self._occupancy.fits(rect, z, z + half[2], gap, margin, ignore):
            return False
        self._add(look, shape, np.append(position, z), yaw, support, rect)
        return True

    def _rug_beneath(self, rect: Rectangle) -> int:
        """Id of the rug that all of the rectangle lies on, or _NO_SUPPORT."""
        for o in self.objects:
            if o.kind != 'rug':
                continue
            surface = self._shapes[o.instance_id - 1].surfaces[0]
            half = np.array(surface.upper)
            if inside(rect, rectangle(o.position[:2], half, o.yaw)):
                return o.instance_id
        return _NO_SUPPORT

    def _add(
        self,
        look: Look,
        shape: Shape,
        position: NDArray[np.float64],
        yaw: float,
        support: int | None,
        rect: Rectangle,
    ) -> None:
        kind, variant, color_name = look
        instance_id = len(self.objects) + 1
        # Poses are rounded before the mesh is placed, so that they reproduce it exactly.
        position, yaw = np.round(position, 5), round(math.remainder(yaw, math.tau), 6)
        mesh = shape.mesh.placed(position, yaw)
        self.objects.append(
            RoomObject(
                instance_id,
                kind,
                variant,
                color_name,
                position,
                yaw,
                support,
                mesh,
                Box.from_points(mesh.vertices),
            )
        )
        self._shapes.append(shape)
        low, high = position[2], position[2] + shape.half_extent[2]
        self._occupancy.take(rect, low, high, instance_id)
        if kind == 'door':  # room to walk through it
            center = position[:2] + 0.45 * np.array([math.cos(yaw), math.sin(yaw)])
            self._occupancy.take(rectangle(center, (0.4, 0.45), yaw), 0.05, 2.0, _NO_SUPPORT)


def _turned(vector: NDArray[np.float64], yaw: float) -> NDArray[np.float64]:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, -sin], [sin, cos]]) @ vector
