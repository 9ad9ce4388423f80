"""A fisheye lens that can be rendered through: rays from pixels, the other way than the readers.

Written from the model's definition (OpenCV's fisheye, Project Aria's Fisheye624), not from
``lift_gs_ros.sequences.fisheye``, so that the one tests the other.
"""

from __future__ import annotations

import numpy as np

from lift_gs_ros.geometry import Camera, FloatArray

LARGEST_ANGLE = 1.0  # radians from the axis; beyond, polynomials of degree 13 run wild


class Lens(Camera):
    """A camera whose ``unproject`` follows the lens; it has no other use."""

    def __init__(
        self,
        intrinsics: FloatArray,
        width: int,
        height: int,
        radial: tuple[float, ...],
        tangential: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        super().__init__(intrinsics, width, height)
        v, u = np.indices((height, width), dtype=np.float64)
        x = (u - intrinsics[0, 2]) / intrinsics[0, 0]
        y = (v - intrinsics[1, 2]) / intrinsics[1, 1]
        x, y = _without_tangential(x, y, *tangential)
        radius = np.hypot(x, y)
        angle = _angle_of(radius, radial)
        flat = np.tan(np.minimum(angle, LARGEST_ANGLE)) / np.maximum(radius, 1e-12)
        rays = np.stack([x * flat, y * flat, np.ones_like(x)], axis=-1)
        object.__setattr__(self, 'rays', rays)
        object.__setattr__(self, 'seen', angle < LARGEST_ANGLE)
        object.__setattr__(self, 'ray_length', np.linalg.norm(rays, axis=-1))

    def unproject(self, depth: FloatArray) -> FloatArray:
        """Lift depth along the axis (H, W) to points (H, W, 3)."""
        return self.rays * np.asarray(depth)[..., None]


def _without_tangential(
    x: FloatArray, y: FloatArray, p0: float, p1: float
) -> tuple[FloatArray, FloatArray]:
    """Undo the tangential shift by fixed-point iteration: it is a thousandth."""
    a, b = x, y
    for _ in range(10):
        square = a * a + b * b
        shift_x = (2 * a * a + square) * p0 + 2 * a * b * p1
        shift_y = (2 * b * b + square) * p1 + 2 * a * b * p0
        a, b = x - shift_x, y - shift_y
    return a, b


def _angle_of(radius: FloatArray, radial: tuple[float, ...]) -> FloatArray:
    """Angle whose polynomial is a radius, from a table of both up to LARGEST_ANGLE."""
    angles = np.linspace(0, LARGEST_ANGLE, 100_001)
    powers = [k * angles ** (3 + 2 * i) for i, k in enumerate(radial)]
    return np.interp(radius, angles + np.sum(powers, axis=0), angles)
