"""The floor and the walls of a room as meshes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lift_gs_ros.simulation.layout import Outline
from lift_gs_ros.simulation.room import FLOOR_ID, Structure
from lift_gs_ros.simulation.solids import Mesh

_FLOORS = ((0.62, 0.47, 0.31), (0.45, 0.32, 0.22), (0.60, 0.60, 0.58), (0.74, 0.66, 0.54))
_WALLS = (
    (0.88, 0.86, 0.80),
    (0.80, 0.84, 0.86),
    (0.86, 0.80, 0.74),
    (0.76, 0.83, 0.75),
    (0.85, 0.78, 0.80),
    (0.84, 0.82, 0.66),
)


def _quads(corners: list[ArrayLike], color: ArrayLike) -> Mesh:
    """Join quadrilaterals (4, 3) of one colour."""
    vertices = np.concatenate([np.asarray(quad, float) for quad in corners])
    base = 4 * np.arange(len(corners))[:, None, None]
    triangles = (base + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    return Mesh(
        np.round(vertices, 5).astype(np.float32),
        triangles.astype(np.int32),
        np.broadcast_to(np.asarray(color, np.float32), (len(triangles), 3)).copy(),
        np.repeat(np.arange(len(corners)), 2).astype(np.int32),
    )


def _floor_rectangles(outline: Outline) -> list[np.ndarray]:
    """Cover the outline with one rectangle, or an L with two: each (4, 2)."""
    (x0, y0), (x1, y1) = outline.lower, outline.upper
    pieces = [(x0, y0, x1, y1)]
    if outline.notch is not None:
        (nx0, ny0), (nx1, ny1) = outline.notch.min(axis=0), outline.notch.max(axis=0)
        beside = (x0, nx0) if abs(nx1 - x1) < 1e-6 else (nx1, x1)
        above = (y0, ny0) if abs(ny1 - y1) < 1e-6 else (ny1, y1)
        pieces = [(beside[0], y0, beside[1], y1), (nx0, above[0], nx1, above[1])]
    return [np.array([[a, b], [c, b], [c, d], [a, d]]) for a, b, c, d in pieces]


def build_structure(outline: Outline, height: float, rng: np.random.Generator) -> list[Structure]:
    """Build the floor and one wall per edge of the outline; one wall may have its own colour."""
    floor = np.array(_FLOORS[int(rng.integers(len(_FLOORS)))]) * rng.uniform(0.85, 1.1)
    quads: list[ArrayLike] = [np.pad(r, ((0, 0), (0, 1))) for r in _floor_rectangles(outline)]
    structure = [Structure(FLOOR_ID, 'floor', _quads(quads, np.clip(floor, 0, 1)))]
    colors = rng.permutation(len(_WALLS))[:2]
    tints = [np.clip(np.array(_WALLS[i]) * rng.uniform(0.9, 1.05), 0, 1) for i in colors]
    accent = int(rng.integers(2 * len(outline.walls)))  # half of all rooms have no accent wall
    for i, wall in enumerate(outline.walls):
        low, high = np.append(wall.start, 0), np.append(wall.end, 0)
        up = np.array([0, 0, height])
        quad = _quads([[high, low, low + up, high + up]], tints[1 if i == accent else 0])
        structure.append(Structure(FLOOR_ID - 1 - i, 'wall', quad))
    return structure
