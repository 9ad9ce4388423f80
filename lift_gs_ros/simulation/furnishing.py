"""Draws a room's objects one after the other and finds a place for each."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lift_gs_ros.geometry import Box
from lift_gs_ros.simulation.furniture import VARIANTS, build_shape
from lift_gs_ros.simulation.layout import (
    Occupancy,
    Rectangle,
    Wall,
    draw_outline,
    inside,
    rectangle,
)
from lift_gs_ros.simulation.room import RoomObject
from lift_gs_ros.simulation.room_types import (
    AGAINST_WALL,
    MOUNTED,
    NEAR_WALL,
    ON_FLOOR_IF_NEEDED,
    ON_RUGS,
    ROOM_TYPES,
    SUPPORTS,
    TABLETOP_VARIANTS,
    UNDER_TABLES,
)
from lift_gs_ros.simulation.shapes import Shape, Surface
from lift_gs_ros.simulation.vocabulary import KINDS, is_held_out_look

_TRIES = 40
_GAP = 0.06  # metres between neighbours on the floor: more than a voxel of 5 cm
_NO_SUPPORT = 0

Look = tuple[str, str, str]  # kind, variant, colour name


class Furnisher:
    """Furnishes one room; all randomness comes from ``rng``."""

    def __init__(self, rng: np.random.Generator, held_out_share: float) -> None:
        self._rng = rng
        self._held_out_share = held_out_share
        self.outline = draw_outline(rng)
        self.height = float(np.round(rng.uniform(2.4, 2.8), 2))
        self._occupancy = Occupancy(self.outline)
        self._objects: list[RoomObject] = []
        self._shapes: list[Shape] = []

    def furnish(self) -> list[RoomObject]:
        """Place a door and up to 15 objects of one type of room, as far as they fit."""
        count = int(self._rng.integers(10, 17))
        for kind in self._wanted(count):
            if len(self._objects) >= count:
                break
            self._place(self._draw_look(kind))
        return self._objects

    def _wanted(self, count: int) -> list[str]:
        """Draw the kinds to place, the door first, large things before what stands on them."""
        types = tuple(ROOM_TYPES)
        kinds: list[str] = []
        more = [str(kind) for kind in self._rng.permutation(tuple(KINDS))[:3]]
        for kind, fewest, most in ROOM_TYPES[types[int(self._rng.integers(len(types)))]]:
            kinds += [kind] * fewest
            more += [kind] * int(self._rng.integers(most - fewest + 1))
        kinds += [more[i] for i in self._rng.permutation(len(more)) if more[i] != 'door']
        last = [kind for kind in kinds if kind in SUPPORTS and kind not in ('lamp', 'box')]
        if 'rug' in kinds:  # under everything else
            kinds.remove('rug')
            kinds.insert(0, 'rug')
        first = [kind for kind in kinds if kind not in last]
        # Keep a third of the places for small things; the door is always object 1.
        large = round(0.62 * count)
        return ['door', *first[:large], *last, *first[large:]]

    def _draw_look(self, kind: str) -> Look:
        """Draw variant and colour; a kind's second object often looks like its first."""
        looks = [(kind, v, c) for v in VARIANTS[kind] for c in KINDS[kind]]
        held_out = [look for look in looks if is_held_out_look(look[2], kind, look[1])]
        seen = [look for look in looks if look not in held_out]
        if held_out and self._rng.random() < self._held_out_share:
            return held_out[int(self._rng.integers(len(held_out)))]
        twins = [o for o in self._objects if o.kind == kind]
        if twins and self._rng.random() < 0.5:
            same_variant = [look for look in seen if look[1] == twins[0].variant]
            same = [look for look in same_variant if look[2] == twins[0].color_name]
            seen = (same if self._rng.random() < 0.4 else same_variant) or seen
        return seen[int(self._rng.integers(len(seen)))]

    def _place(self, look: Look) -> bool:
        """Find a place for an object of this look; False where there is none."""
        kind, variant, color_name = look
        shape = build_shape(kind, variant, color_name, self._rng)
        tabletop = (kind, variant) in TABLETOP_VARIANTS
        if kind in SUPPORTS and (tabletop or kind not in ('lamp', 'box')):
            if self._place_on_support(look, shape):
                return True
            if kind not in ON_FLOOR_IF_NEEDED:
                return False
        if kind in UNDER_TABLES and self._rng.random() < 0.4 and self._place_under(look, shape):
            return True
        if kind in ON_RUGS and self._rng.random() < 0.4 and self._place_on_rug(look, shape):
            return True
        if kind == 'chair' and self._rng.random() < 0.75 and self._place_at_table(look, shape):
            return True
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
        position = rng.uniform(self.outline.lower, self.outline.upper)
        yaw = rng.uniform(-math.pi, math.pi)
        if kind in ('table', 'rug') and rng.random() < 0.6:
            yaw = float(rng.integers(4)) * math.pi / 2
        return self._commit(look, shape, position, yaw)

    def _random_wall(self, half_width: float) -> tuple[Wall | None, float]:
        """Draw a wall, long ones more often, and a place along it for something that wide."""
        walls = self.outline.walls
        lengths = np.array([wall.length for wall in walls])
        wall = walls[int(self._rng.choice(len(walls), p=lengths / lengths.sum()))]
        low, high = half_width + 0.05, wall.length - half_width - 0.05
        return (wall, float(self._rng.uniform(low, high))) if high > low else (None, 0.0)

    def _place_at_table(self, look: Look, shape: Shape) -> bool:
        """Put a chair at a table's side, facing it."""
        tables = [o for o in self._objects if o.kind == 'table']
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

    def _place_on_rug(self, look: Look, shape: Shape) -> bool:
        rugs = [o for o in self._objects if o.kind == 'rug']
        return any(
            self._try_surface(look, shape, rug, self._shapes[rug.instance_id - 1].surfaces[0])
            for rug in rugs
            for _ in range(8)
        )

    def _place_under(self, look: Look, shape: Shape) -> bool:
        for table in [o for o in self._objects if o.kind == 'table']:
            floors = [s for s in self._shapes[table.instance_id - 1].surfaces if s.z == 0]
            for _ in range(8 if floors else 0):
                if self._try_surface(look, shape, table, floors[0]):
                    return True
        return False

    def _place_on_support(self, look: Look, shape: Shape) -> bool:
        pairs = [
            (o, surface)
            for o in self._objects
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
                z = float(self._objects[rug - 1].box.upper[2])
        margin = 0.0 if look[0] in MOUNTED else 0.02
        if not self._occupancy.fits(rect, z, z + half[2], gap, margin, ignore):
            return False
        self._add(look, shape, np.append(position, z), yaw, support, rect)
        return True

    def _rug_beneath(self, rect: Rectangle) -> int:
        """Id of the rug that all of the rectangle lies on, or _NO_SUPPORT."""
        for o in self._objects:
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
        instance_id = len(self._objects) + 1
        # Poses are rounded before the mesh is placed, so that they reproduce it exactly.
        position, yaw = np.round(position, 5), round(math.remainder(yaw, math.tau), 6)
        mesh = shape.mesh.placed(position, yaw)
        self._objects.append(
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
