"""Triangle meshes put together from boxes, frustums (cylinders, cones) and ellipsoids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Color = ArrayLike  # (3,) sRGB in [0, 1]

_BOX_TRIANGLES = np.array(
    [
        [0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4],
        [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5],
    ]
)  # fmt: skip
_BOX_CORNERS = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]) - 0.5


@dataclass(frozen=True)
class Mesh:
    """Triangles with one colour each. Every solid that it is made of is convex and closed."""

    vertices: NDArray[np.float32]  # (V, 3) metres
    triangles: NDArray[np.int32]  # (T, 3) counter-clockwise seen from outside
    colors: NDArray[np.float32]  # (T, 3) sRGB in [0, 1]
    parts: NDArray[np.int32]  # (T,) which solid a triangle belongs to

    def placed(self, position: ArrayLike, yaw: float) -> Mesh:
        """Turn about z by ``yaw`` and move; rounded to 0.01 mm, so machines agree on the bytes."""
        rotation = rotation_z(yaw)
        moved = self.vertices.astype(np.float64) @ rotation.T + np.asarray(position)
        return Mesh(np.round(moved, 5).astype(np.float32), self.triangles, self.colors, self.parts)


def rotation_z(yaw: float) -> NDArray[np.float64]:
    """Rotation (3, 3) about z by ``yaw`` radians."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


class Solids:
    """Collects convex solids and joins them to a mesh. Lengths in metres, z up."""

    def __init__(self) -> None:
        self._vertices: list[np.ndarray] = []
        self._triangles: list[np.ndarray] = []
        self._colors: list[np.ndarray] = []

    def add(self, vertices: np.ndarray, triangles: np.ndarray, color: Color) -> None:
        """Add one convex solid: vertices (V, 3), triangles (T, 3), one colour."""
        self._vertices.append(vertices)
        self._triangles.append(triangles)
        self._colors.append(np.broadcast_to(np.asarray(color, float), (len(triangles), 3)))

    def box(self, center: ArrayLike, size: ArrayLike, color: Color, pitch: float = 0.0) -> None:
        """Add a box by its centre (3,) and size (3,), leaning back by ``pitch`` about y."""
        cos, sin = np.cos(pitch), np.sin(pitch)
        lean = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
        vertices = (_BOX_CORNERS * np.asarray(size)) @ lean.T + np.asarray(center)
        self.add(vertices, _BOX_TRIANGLES, color)

    def block(self, lower: ArrayLike, upper: ArrayLike, color: Color) -> None:
        """Add an upright box by its lowest and its highest corner."""
        lower, upper = np.asarray(lower, float), np.asarray(upper, float)
        self.box((lower + upper) / 2, upper - lower, color)

    def frustum(
        self,
        start: ArrayLike,
        end: ArrayLike,
        radii: tuple[float, float],
        color: Color,
        n: int = 12,
    ) -> None:
        """Add a round rod from ``start`` to ``end`` (3,) with its radius at either end."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        axis = (end - start) / np.linalg.norm(end - start)
        side = np.cross(axis, [0.0, 1.0, 0.0] if abs(axis[1]) < 0.9 else [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        angle = np.arange(n) * (2 * np.pi / n)
        ring = np.outer(np.cos(angle), side) + np.outer(np.sin(angle), np.cross(axis, side))
        vertices = np.concatenate(
            [start + ring * radii[0], end + ring * radii[1], start[None], end[None]]
        )
        i = np.arange(n)
        j = (i + 1) % n
        triangles = np.concatenate(
            [
                np.stack([i, j, n + i], 1),
                np.stack([j, n + j, n + i], 1),
                np.stack([np.full(n, 2 * n), j, i], 1),
                np.stack([np.full(n, 2 * n + 1), n + i, n + j], 1),
            ]
        )
        self.add(vertices, triangles, color)

    def cylinder(
        self, x: float, y: float, z: tuple[float, float], radius: float, color: Color, n: int = 12
    ) -> None:
        """Add an upright cylinder over (x, y) between two heights."""
        self.frustum((x, y, z[0]), (x, y, z[1]), (radius, radius), color, n)

    def ellipsoid(self, center: ArrayLike, radii: ArrayLike, color: Color, n: int = 12) -> None:
        """Add an ellipsoid with half axes ``radii`` (3,) along x, y, z."""
        rows = n // 2
        polar = np.arange(1, rows) * (np.pi / rows)
        angle = np.arange(n) * (2 * np.pi / n)
        ring = np.stack([np.cos(angle), np.sin(angle)], 1)
        body = [np.column_stack([ring * np.sin(p), np.full(n, np.cos(p))]) for p in polar]
        unit = np.concatenate([*body, [[0, 0, 1.0]], [[0, 0, -1.0]]])
        i = np.arange(n)
        j = (i + 1) % n
        top, bottom, last = len(unit) - 2, len(unit) - 1, (rows - 2) * n
        triangles = [np.stack([np.full(n, top), i, j], 1)]
        for r in range(rows - 2):
            upper, lower = r * n, (r + 1) * n
            triangles.append(np.stack([upper + i, lower + i, upper + j], 1))
            triangles.append(np.stack([upper + j, lower + i, lower + j], 1))
        triangles.append(np.stack([np.full(n, bottom), last + j, last + i], 1))
        self.add(
            unit * np.asarray(radii, float) + np.asarray(center, float),
            np.concatenate(triangles),
            color,
        )

    def mesh(self) -> Mesh:
        """Join all solids."""
        counts = [len(vertices) for vertices in self._vertices]
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]])
        triangles = [part + offset for part, offset in zip(self._triangles, offsets)]
        return Mesh(
            np.concatenate(self._vertices).astype(np.float32),
            np.concatenate(triangles).astype(np.int32),
            np.concatenate(self._colors).astype(np.float32),
            np.repeat(np.arange(len(counts)), [len(part) for part in triangles]).astype(np.int32),
        )
