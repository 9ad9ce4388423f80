"""What the furniture modules share: paint, the surfaces of a shape, legs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.simulation.solids import Color, Mesh, Solids
from lift_gs_ros.simulation.vocabulary import shade

_TRIMS = ((0.45, 0.30, 0.17), (0.72, 0.55, 0.36), (0.15, 0.15, 0.16), (0.62, 0.63, 0.65))


@dataclass(frozen=True)
class Paint:
    """Colours of one object, each (3,) sRGB in [0, 1]; the named colour is ``main``."""

    main: NDArray[np.float64]
    dark: NDArray[np.float64]  # the same colour in a darker shade, for seams and cushions
    trim: NDArray[np.float64]  # legs, handles: wood or metal
    accent: NDArray[np.float64]  # anything: books, blankets' hems

    @classmethod
    def draw(cls, color_name: str, rng: np.random.Generator) -> Paint:
        """Draw the paint of an object whose named colour is ``color_name``."""
        main = shade(color_name, rng)
        trim = np.array(_TRIMS[int(rng.integers(len(_TRIMS)))]) * rng.uniform(0.85, 1.1)
        return cls(main, main * 0.88, np.clip(trim, 0, 1), rng.uniform(0.1, 0.9, 3))


@dataclass(frozen=True)
class Surface:
    """A level rectangle in the object's frame on which (or, at z = 0, under which) things stand."""

    lower: tuple[float, float]  # (x, y) metres
    upper: tuple[float, float]  # (x, y) metres
    z: float  # metres; 0 for the free floor beneath a table
    clearance: float = 1.0  # metres of free height above it


@dataclass(frozen=True)
class Shape:
    """An object in its own frame: front along +x, base at z = 0, centred over the origin."""

    mesh: Mesh
    surfaces: tuple[Surface, ...]

    @property
    def half_extent(self) -> NDArray[np.float64]:
        """Half the footprint's size along x and y (2,), and the height (1,): (3,) metres."""
        vertices = self.mesh.vertices.astype(np.float64)
        return np.append(np.abs(vertices[:, :2]).max(axis=0), vertices[:, 2].max())


# Adds the solids of one variant and returns its surfaces.
Variant = Callable[[Solids, np.random.Generator, Paint], tuple[Surface, ...]]


def four_legs(
    solids: Solids,
    half: tuple[float, float],
    height: float,
    thickness: float,
    color: Color,
) -> None:
    """Stand four square legs in the corners of a rectangle of half size (x, y)."""
    inner = np.array(half) - thickness / 2
    for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        solids.box((x * inner[0], y * inner[1], height / 2), (thickness, thickness, height), color)


def top_of(half: tuple[float, float], z: float, margin: float = 0.03) -> Surface:
    """Return the surface of a rectangular top of half size (x, y), a margin kept free."""
    x, y = half[0] - margin, half[1] - margin
    return Surface((-x, -y), (x, y), z)


def beneath(half: tuple[float, float], height: float) -> Surface:
    """Return the floor beneath a top of half size (x, y) at ``height``."""
    return Surface((-half[0], -half[1]), half, 0.0, height)


def centered(solids: Solids, surfaces: tuple[Surface, ...]) -> Shape:
    """Centre the footprint over the origin, surfaces included, and give the shape."""
    mesh = solids.mesh()
    vertices = mesh.vertices.astype(np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    shift = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    moved = np.round(vertices - shift, 5).astype(np.float32)
    x, y, low_z = shift  # a slanted leg may reach a little below 0
    return Shape(
        Mesh(moved, mesh.triangles, mesh.colors, mesh.parts),
        tuple(
            Surface(
                (surface.lower[0] - x, surface.lower[1] - y),
                (surface.upper[0] - x, surface.upper[1] - y),
                surface.z - low_z if surface.z > 0 else 0.0,
                surface.clearance,
            )
            for surface in surfaces
        ),
    )
