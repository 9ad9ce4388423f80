"""Doors, windows and pictures on the walls, rugs on the floor: one function per shape variant."""

from __future__ import annotations

import numpy as np

from lift_gs_ros.simulation.shapes import Paint, Surface, Variant
from lift_gs_ros.simulation.solids import Solids

Rng = np.random.Generator
_GLASS = (0.72, 0.82, 0.88)
_METAL = (0.66, 0.67, 0.69)


def _door(s: Solids, paint: Paint, half: float, height: float) -> None:
    s.block((0, -half, 0), (0.05, half, height), paint.main)
    for y in (-half - 0.06, half):
        s.block((0, y, 0), (0.07, y + 0.06, height), paint.dark)
    s.block((0, -half - 0.06, height), (0.07, half + 0.06, height + 0.06), paint.dark)


def _door_panel(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = rng.uniform(0.38, 0.46), rng.uniform(1.95, 2.05)
    _door(s, paint, half, height)
    for low in (0.15, 1.1):
        s.block((0.05, -half + 0.12, low), (0.06, half - 0.12, low + 0.75), paint.dark)
    s.block((0.05, half - 0.1, 1.0), (0.11, half - 0.07, 1.04), _METAL)
    return ()


def _door_glazed(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = rng.uniform(0.38, 0.46), rng.uniform(1.95, 2.05)
    _door(s, paint, half, height)
    s.block((0.05, -half + 0.2, 1.2), (0.056, half - 0.2, height - 0.2), _GLASS)
    s.block((0.05, half - 0.1, 1.0), (0.11, half - 0.07, 1.04), _METAL)
    return ()


def _door_double(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = rng.uniform(0.65, 0.8), rng.uniform(1.95, 2.1)
    _door(s, paint, half, height)
    s.block((0.05, -0.015, 0), (0.056, 0.015, height), paint.main * 0.4)
    for y in (-0.09, 0.06):
        s.block((0.05, y, 0.95), (0.11, y + 0.03, 1.1), _METAL)
    return ()


def _window_frame(s: Solids, rng: Rng, paint: Paint) -> tuple[float, float]:
    half, height = rng.uniform(0.5, 0.8), rng.uniform(0.95, 1.15)
    s.block((0, -half, 0), (0.02, half, height), _GLASS)
    for y in (-half, -0.03, half - 0.06):
        s.block((0, y, 0), (0.06, y + 0.06, height), paint.main)
    for z in (0, height - 0.06):
        s.block((0, -half, z), (0.06, half, z + 0.06), paint.main)
    return half, height


def _window_curtains(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = _window_frame(s, rng, paint)
    s.frustum(
        (0.1, -half - 0.2, height + 0.1),
        (0.1, half + 0.2, height + 0.1),
        (0.02,) * 2,
        paint.dark,
        6,
    )
    for side in (-1, 1):
        for i in range(3):
            y = side * (half + 0.13 - 0.17 * i)
            x = 0.11 if i % 2 else 0.08
            s.box((x, y, height / 2 - 0.02), (0.04, 0.18, height + 0.24), paint.main)
    return ()


def _window_shutters(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = _window_frame(s, rng, paint)
    for side in (-1, 1):
        s.box((0.075, side * (half * 0.68), height / 2), (0.03, half * 0.6, height), paint.main)
        for i in range(4):
            z = height * (0.14 + 0.24 * i)
            s.box((0.095, side * half * 0.68, z), (0.01, half * 0.5, 0.06), paint.dark)
    return ()


def _window_blind(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = _window_frame(s, rng, paint)
    drop = rng.uniform(0.6, 0.75) * height
    s.block((0.06, -half, height - drop), (0.08, half, height + 0.05), paint.main)
    s.frustum(
        (0.07, -half, height - drop), (0.07, half, height - drop), (0.025,) * 2, paint.dark, 6
    )
    return ()


def _picture(s: Solids, paint: Paint, half: tuple[float, float]) -> None:
    y, z = half
    s.block((0, -y, 0), (0.04, y, 2 * z), paint.dark)
    s.block((0.04, -y + 0.03, 0.03), (0.045, y - 0.03, 2 * z - 0.03), paint.main)
    s.block((0.045, -y * 0.3, z * 0.8), (0.047, y * 0.45, z * 1.3), paint.accent)


def _picture_wide(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    _picture(s, paint, (rng.uniform(0.35, 0.5), rng.uniform(0.2, 0.3)))
    return ()


def _picture_upright(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    _picture(s, paint, (rng.uniform(0.2, 0.27), rng.uniform(0.32, 0.42)))
    return ()


def _picture_round(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius = rng.uniform(0.22, 0.3)
    s.frustum((0, 0, 0), (0.04, 0, 0), (radius,) * 2, paint.dark, 20)
    s.frustum((0.04, 0, 0), (0.045, 0, 0), (radius - 0.03,) * 2, paint.main, 20)
    return ()


def _rug_rectangle(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    x, y = rng.uniform(0.7, 0.95), rng.uniform(1.0, 1.4)
    s.block((-x, -y, 0), (x, y, 0.012), paint.dark)
    s.block((-x + 0.08, -y + 0.08, 0.012), (x - 0.08, y - 0.08, 0.015), paint.main)
    return (Surface((-x, -y), (x, y), 0.015, 3.0),)


def _rug_round(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius = rng.uniform(0.75, 1.1)
    s.cylinder(0, 0, (0, 0.015), radius, paint.main, 28)
    side = radius * 0.7
    return (Surface((-side, -side), (side, side), 0.015, 3.0),)


def _rug_runner(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    x, y = rng.uniform(0.32, 0.42), rng.uniform(0.9, 1.3)
    s.block((-x, -y, 0), (x, y, 0.016), paint.main)
    for side in (-1, 1):
        s.box((0, side * (y - 0.1), 0.008), (2 * x, 0.06, 0.017), paint.accent)
    return (Surface((-x, -y), (x, y), 0.0165, 3.0),)


FITTINGS: dict[str, dict[str, Variant]] = {
    'door': {'panel': _door_panel, 'glazed': _door_glazed, 'double': _door_double},
    'window': {
        'curtains': _window_curtains,
        'shutters': _window_shutters,
        'blind': _window_blind,
    },
    'picture': {
        'wide': _picture_wide,
        'upright': _picture_upright,
        'round': _picture_round,
    },
    'rug': {'rectangle': _rug_rectangle, 'round': _rug_round, 'runner': _rug_runner},
}
