"""Where furniture fits: the room's outline and oriented rectangles that must not overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lift_gs_ros.geometry import FloatArray

Rectangle = NDArray[np.float64]  # (4, 2) corners in order, metres


def rectangle(center: ArrayLike, half: ArrayLike, yaw: float) -> Rectangle:
    """Corners (4, 2) of a rectangle of half size (x, y) turned by ``yaw``."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.asarray(half, float)
    return signs @ np.array([[cos, sin], [-sin, cos]]) + np.asarray(center, float)


def overlap(a: Rectangle, b: Rectangle, gap: float = 0.0) -> bool:
    """Say whether two rectangles come closer than ``gap`` (separating axis theorem)."""
    for first, second in ((a, b), (b, a)):
        for i in range(2):
            edge = first[i + 1] - first[i]
            normal = np.array([-edge[1], edge[0]]) / math.hypot(*edge)
            p, q = first @ normal, second @ normal
            if p.max() + gap <= q.min() or q.max() + gap <= p.min():
                return False
    return True


def distance_to_rectangle(points: FloatArray, rect: Rectangle) -> FloatArray:
    """Distance (...) of points (..., 2) from a rectangle, 0 inside."""
    center, edges = rect.mean(axis=0), (rect[1] - rect[0], rect[3] - rect[0])
    outside = []
    for edge in edges:
        length = np.linalg.norm(edge)
        outside.append(np.clip(np.abs((points - center) @ (edge / length)) - length / 2, 0, None))
    return np.hypot(*outside)


def gap_between(a: Rectangle, b: Rectangle) -> float:
    """Distance in metres between two rectangles, 0 where they overlap."""
    if overlap(a, b):
        return 0.0
    return float(min(distance_to_rectangle(a, b).min(), distance_to_rectangle(b, a).min()))


def inside(rect: Rectangle, outer: Rectangle) -> bool:
    """Say whether all of ``rect`` lies in the rectangle ``outer``."""
    for i in range(4):
        edge = outer[(i + 1) % 4] - outer[i]
        if ((rect - outer[i]) @ np.array([-edge[1], edge[0]]) < -1e-9).any():
            return False
    return True


@dataclass(frozen=True)
class Wall:
    """A straight piece of the outline; the room is to the left on the way to ``end``."""

    start: NDArray[np.float64]  # (2,) metres
    end: NDArray[np.float64]  # (2,) metres

    @property
    def length(self) -> float:
        """Metres."""
        return float(np.linalg.norm(self.end - self.start))

    @property
    def inward(self) -> NDArray[np.float64]:
        """Unit normal (2,) that points into the room."""
        x, y = (self.end - self.start) / self.length
        return np.array([-y, x])

    @property
    def yaw(self) -> float:
        """Heading of the inward normal, radians."""
        return math.atan2(self.inward[1], self.inward[0])

    def point(self, along: float, away: float) -> NDArray[np.float64]:
        """Return the point (2,) at distances along the wall and away from it."""
        return self.start + (self.end - self.start) * (along / self.length) + self.inward * away


@dataclass(frozen=True)
class Outline:
    """A rectangle, or an L where one corner is cut out."""

    lower: NDArray[np.float64]  # (2,) metres
    upper: NDArray[np.float64]  # (2,) metres
    notch: Rectangle | None  # the rectangle that is missing
    polygon: NDArray[np.float64]  # (K, 2) counter-clockwise

    @property
    def walls(self) -> list[Wall]:
        """The walls in the polygon's order."""
        return [Wall(p, q) for p, q in zip(self.polygon, np.roll(self.polygon, -1, axis=0))]

    def contains(self, rect: Rectangle, margin: float = 0.0) -> bool:
        """Say whether a rectangle (or any corners (K, 2)) keeps ``margin`` from every wall."""
        if (rect < self.lower + margin - 1e-9).any() or (rect > self.upper - margin + 1e-9).any():
            return False
        return self.notch is None or not overlap(rect, self.notch, margin - 1e-9)


def draw_outline(rng: np.random.Generator) -> Outline:
    """Draw a room of 3.5 to 8 m, one in four with a corner cut out.

    All walls lie in the middle of the map's 5 cm voxels (at multiples of 5 cm), as the floor does:
    a wall on a border between voxels would fill both sides.
    """
    size = np.round(rng.uniform((3.6, 3.6), (7.6, 6.2)) / 0.05) * 0.05
    if rng.random() < 0.5:
        size = size[::-1].copy()
    shift = rng.integers(-8, 9, 2) * 0.05
    lower = np.round((shift - size / 2) / 0.05) * 0.05
    upper = lower + size
    if rng.random() > 0.3 or size.min() < 4.4:
        corners = [lower, (upper[0], lower[1]), upper, (lower[0], upper[1])]
        return Outline(lower, upper, None, np.array(corners))
    cut = np.round(rng.uniform(0.28, 0.42, 2) * size / 0.05) * 0.05
    # Build the cut at the upper right, then mirror it to one of the four corners.
    x, y = size - cut
    polygon = np.array([[0, 0], [size[0], 0], [size[0], y], [x, y], [x, size[1]], [0, size[1]]])
    notch = np.array([[x, y], [size[0], y], size, [x, size[1]]])
    for axis in range(2):
        if rng.random() < 0.5:
            polygon[:, axis] = size[axis] - polygon[:, axis]
            notch[:, axis] = size[axis] - notch[:, axis]
            polygon = polygon[::-1].copy()
    return Outline(lower, upper, notch + lower, polygon + lower)


@dataclass
class Occupancy:
    """What stands where already: oriented boxes with a range of heights."""

    outline: Outline
    _taken: list[tuple[Rectangle, float, float, int]] = field(default_factory=list)

    def take(self, rect: Rectangle, low: float, high: float, tag: int) -> None:
        """Mark an oriented box; ``tag`` is the object's id (0: keep free, for instance a door)."""
        self._taken.append((rect, low, high, tag))

    def fits(
        self,
        rect: Rectangle,
        low: float,
        high: float,
        gap: float,
        margin: float = 0.02,
        ignore: tuple[int, ...] = (),
    ) -> bool:
        """Say whether an oriented box is in the room and ``gap`` away from all that is taken."""
        if not self.outline.contains(rect, margin):
            return False
        return not any(
            tag not in ignore and low < top and high > bottom and overlap(rect, other, gap)
            for other, bottom, top, tag in self._taken
        )
