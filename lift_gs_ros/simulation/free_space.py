"""Where a person or a robot with a camera can walk in a room, on a grid of 10 cm."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import FloatArray
from lift_gs_ros.simulation.layout import distance_to_rectangle
from lift_gs_ros.simulation.room import Room

CELL = 0.1  # metres
_HEAD_HEIGHT = 1.7  # metres; nothing above it is in the way
_FLAT = 0.05  # metres; a rug is no obstacle

_Cell = tuple[int, int]
_STEPS = tuple(
    (dx, dy, float(np.hypot(dx, dy))) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy
)


def clearance(room: Room, points: FloatArray) -> FloatArray:
    """Distance (...) of floor points (..., 2) from the nearest wall or thing in the way.

    Negative outside the outer walls.
    """
    outline = room.outline
    free = np.minimum(points - outline.lower, outline.upper - points).min(axis=-1)
    obstacles = [
        o.footprint
        for o in room.objects
        if o.box.upper[2] > _FLAT and o.box.lower[2] < _HEAD_HEIGHT and o.kind != 'rug'
    ]
    if outline.notch is not None:
        obstacles.append(outline.notch)
    for rect in obstacles:
        free = np.minimum(free, distance_to_rectangle(points, rect))
    return free


class FreeSpace:
    """The largest connected piece of floor with enough room around it."""

    def __init__(self, room: Room) -> None:
        self._origin = room.outline.lower
        count = np.ceil((room.outline.upper - self._origin) / CELL).astype(int)
        indices = np.stack(np.meshgrid(*map(np.arange, count), indexing='ij'), axis=-1)
        margin = clearance(room, self._center(indices))
        # A crowded room is walked with less room to spare.
        for self.margin in (0.32, 0.25, 0.18):
            self._free = _largest_piece(margin > self.margin)
            if self._free.sum() * CELL**2 > 1.5:
                break
        self.cells = np.argwhere(self._free)

    def _center(self, cells: NDArray[np.int_]) -> FloatArray:
        return self._origin + (cells + 0.5) * CELL

    def points(self) -> FloatArray:
        """Centres (N, 2) of the free cells, metres."""
        return self._center(self.cells)

    def walk(self, start: FloatArray, end: FloatArray) -> FloatArray:
        """Shortest walk (N, 2) between two free points, both included (Dijkstra)."""
        first, last = self._cell(start), self._cell(end)
        best, parent, heap = {first: 0.0}, {first: first}, [(0.0, first)]
        while heap:
            cost, cell = heapq.heappop(heap)
            if cell == last:
                break
            if cost > best[cell]:
                continue
            for dx, dy, length in _STEPS:
                near = (cell[0] + dx, cell[1] + dy)
                if not self._is_free(near) or cost + length >= best.get(near, np.inf):
                    continue
                best[near], parent[near] = cost + length, cell
                heapq.heappush(heap, (cost + length, near))
        cells = [last]
        while cells[-1] != first:
            cells.append(parent[cells[-1]])
        return np.concatenate([start[None], self._center(np.array(cells[::-1])), end[None]])

    def _cell(self, point: FloatArray) -> _Cell:
        i, j = np.floor((point - self._origin) / CELL).astype(int)
        return int(i), int(j)

    def _is_free(self, cell: _Cell) -> bool:
        i, j = cell
        rows, columns = self._free.shape
        return 0 <= i < rows and 0 <= j < columns and bool(self._free[i, j])


def _largest_piece(free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest 4-connected piece of a grid."""
    left = free.copy()
    largest: list[_Cell] = []
    for start in map(tuple, np.argwhere(free)):
        if not left[start]:
            continue
        left[start] = False
        piece = [start]
        for i, j in piece:  # grows while it is walked through
            for near in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if 0 <= near[0] < free.shape[0] and 0 <= near[1] < free.shape[1] and left[near]:
                    left[near] = False
                    piece.append(near)
        largest = max(largest, piece, key=len)
    kept = np.zeros_like(free)
    if largest:
        kept[tuple(np.array(largest).T)] = True
    return kept
