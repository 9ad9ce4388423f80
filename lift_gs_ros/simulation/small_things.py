"""Mugs, bottles, laptops, monitors, pillows and books: one function for every shape variant."""

from __future__ import annotations

import numpy as np

from lift_gs_ros.simulation.shapes import Paint, Surface, Variant
from lift_gs_ros.simulation.solids import Solids

Rng = np.random.Generator


def _mug(s: Solids, rng: Rng, paint: Paint, radii: tuple[float, float], height: float) -> None:
    s.frustum((0, 0, 0), (0, 0, height), radii, paint.main)
    s.cylinder(0, 0, (height - 0.001, height + 0.002), radii[1] * 0.8, (0.22, 0.13, 0.08))
    edge = (radii[0] + radii[1]) / 2
    s.block((-0.01, edge - 0.01, height * 0.2), (0.01, edge + 0.035, height * 0.35), paint.dark)
    s.block((-0.01, edge - 0.01, height * 0.7), (0.01, edge + 0.035, height * 0.85), paint.dark)
    s.block((-0.01, edge + 0.02, height * 0.2), (0.01, edge + 0.04, height * 0.85), paint.dark)


def _mug_straight(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius = rng.uniform(0.045, 0.055)
    _mug(s, rng, paint, (radius, radius), rng.uniform(0.1, 0.12))
    return ()


def _mug_tall(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius = rng.uniform(0.042, 0.05)
    _mug(s, rng, paint, (radius, radius), rng.uniform(0.14, 0.17))
    return ()


def _mug_wide(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius = rng.uniform(0.06, 0.075)
    _mug(s, rng, paint, (radius, radius), rng.uniform(0.08, 0.1))
    return ()


def _mug_tapered(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius = rng.uniform(0.058, 0.07)
    _mug(s, rng, paint, (radius * 0.6, radius), rng.uniform(0.11, 0.14))
    return ()


def _bottle(s: Solids, paint: Paint, radius: float, height: float, neck: float) -> None:
    shoulder = height * (1 - neck)
    s.cylinder(0, 0, (0, shoulder), radius, paint.main)
    s.frustum((0, 0, shoulder), (0, 0, shoulder + 0.06), (radius, 0.02), paint.main)
    s.cylinder(0, 0, (shoulder + 0.05, height), 0.02, paint.dark, 8)


def _bottle_wine(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    _bottle(s, paint, rng.uniform(0.04, 0.048), rng.uniform(0.29, 0.34), 0.42)
    return ()


def _bottle_water(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    _bottle(s, paint, rng.uniform(0.04, 0.05), rng.uniform(0.22, 0.28), 0.3)
    return ()


def _bottle_canister(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius, height = rng.uniform(0.06, 0.075), rng.uniform(0.26, 0.32)
    s.block((-radius * 0.7, -radius, 0), (radius * 0.7, radius, height * 0.8), paint.main)
    s.cylinder(0, 0, (height * 0.75, height), 0.03, paint.dark, 8)
    return ()


def _bottle_jug(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius, height = rng.uniform(0.08, 0.1), rng.uniform(0.26, 0.32)
    s.ellipsoid((0, 0, radius), (radius,) * 3, paint.main)
    s.cylinder(0, 0, (radius, height), 0.03, paint.main, 8)
    return ()


def _screen(paint: Paint) -> np.ndarray:
    return paint.main * 0.7


def _laptop_open(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    y = rng.uniform(0.16, 0.2)
    s.block((-0.12, -y, 0), (0.12, y, 0.025), paint.main)
    s.box((-0.15, 0, 0.13), (0.02, 2 * y, 0.23), paint.main, 0.25)
    s.box((-0.138, 0, 0.13), (0.004, 2 * y - 0.04, 0.19), _screen(paint), 0.25)
    return ()


def _laptop_flat(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    y = rng.uniform(0.16, 0.2)
    s.block((-0.12, -y, 0), (0.12, y, 0.035), paint.main)
    return ()


def _laptop_tent(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    y = rng.uniform(0.15, 0.18)
    for side in (-1, 1):
        s.box((side * 0.06, 0, 0.115), (0.02, 2 * y, 0.22), paint.main, side * 0.45)
    return ()


def _monitor(s: Solids, paint: Paint, half: float, z: tuple[float, float]) -> None:
    s.block((-0.02, -half, z[0]), (0.02, half, z[1]), paint.main)
    s.block((0.02, -half + 0.02, z[0] + 0.02), (0.024, half - 0.02, z[1] - 0.02), _screen(paint))


def _monitor_wide(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    s.block((-0.1, -0.13, 0), (0.1, 0.13, 0.02), paint.main)
    s.box((-0.03, 0, 0.12), (0.04, 0.06, 0.22), paint.main)
    _monitor(s, paint, rng.uniform(0.3, 0.38), (0.12, rng.uniform(0.45, 0.52)))
    return ()


def _monitor_square(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    s.cylinder(0, 0, (0, 0.02), 0.12, paint.main)
    s.box((-0.03, 0, 0.1), (0.04, 0.06, 0.18), paint.main)
    _monitor(s, paint, rng.uniform(0.19, 0.22), (0.1, rng.uniform(0.42, 0.48)))
    return ()


def _monitor_tube(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half = rng.uniform(0.18, 0.22)
    s.block((-0.17, -half * 0.7, 0.05), (0.0, half * 0.7, 2 * half - 0.05), paint.main)
    s.block((0, -half, 0), (0.12, half, 2 * half), paint.main)
    s.block((0.12, -half + 0.04, 0.04), (0.124, half - 0.04, 2 * half - 0.04), _screen(paint))
    return ()


def _pillow_puffy(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = rng.uniform(0.18, 0.24), rng.uniform(0.12, 0.16)
    s.ellipsoid((0, 0, height / 2), (half, half * 1.2, height / 2), paint.main)
    return ()


def _pillow_square(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = rng.uniform(0.17, 0.22), rng.uniform(0.09, 0.13)
    s.block((-half, -half, height * 0.25), (half, half, height * 0.75), paint.main)
    s.block((-half * 0.75, -half * 0.75, 0), (half * 0.75, half * 0.75, height), paint.dark)
    return ()


def _pillow_long(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    x, y, height = rng.uniform(0.15, 0.18), rng.uniform(0.27, 0.33), rng.uniform(0.1, 0.14)
    s.block((-x, -y, 0), (x, y, height), paint.main)
    return ()


def _pillow_bolster(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    y, radius = rng.uniform(0.22, 0.28), rng.uniform(0.08, 0.11)
    s.frustum((0, -y, radius), (0, y, radius), (radius, radius), paint.main)
    return ()


def _book(s: Solids, paint: Paint, y: float, z: float, thick: float, turn: float) -> None:
    s.block((-0.1 + turn, -y, z), (0.1 + turn, y, z + thick), paint.main)
    s.block(
        (-0.098 + turn, -y - 0.002, z + 0.006),
        (0.102 + turn, y - 0.01, z + thick - 0.006),
        (0.9, 0.88, 0.8),
    )


def _book_single(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    _book(s, paint, rng.uniform(0.13, 0.16), 0, rng.uniform(0.04, 0.06), 0)
    return ()


def _book_stack(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    thick = rng.uniform(0.035, 0.05)
    for i in range(3):
        _book(s, paint, rng.uniform(0.12, 0.16), i * thick, thick, rng.uniform(-0.02, 0.02))
    return ()


def _book_upright(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    height = rng.uniform(0.24, 0.3)
    s.block((-0.09, -0.035, 0), (0.09, 0.035, height), paint.main)
    s.block((-0.08, -0.025, height), (0.09, 0.025, height + 0.002), (0.9, 0.88, 0.8))
    return ()


SMALL_THINGS: dict[str, dict[str, Variant]] = {
    'mug': {
        'straight': _mug_straight,
        'tall': _mug_tall,
        'wide': _mug_wide,
        'tapered': _mug_tapered,
    },
    'bottle': {
        'wine': _bottle_wine,
        'water': _bottle_water,
        'canister': _bottle_canister,
        'jug': _bottle_jug,
    },
    'laptop': {'open': _laptop_open, 'flat': _laptop_flat, 'tent': _laptop_tent},
    'monitor': {'wide': _monitor_wide, 'square': _monitor_square, 'tube': _monitor_tube},
    'pillow': {
        'puffy': _pillow_puffy,
        'square': _pillow_square,
        'long': _pillow_long,
        'bolster': _pillow_bolster,
    },
    'book': {'single': _book_single, 'stack': _book_stack, 'upright': _book_upright},
}
