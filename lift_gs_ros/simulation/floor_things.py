"""Lamps, plants, boxes, bins and balls: one function for every shape variant."""

from __future__ import annotations

import numpy as np

from lift_gs_ros.simulation.shapes import Paint, Surface, Variant
from lift_gs_ros.simulation.solids import Solids

Rng = np.random.Generator


def _lamp_cone(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    height = rng.uniform(1.4, 1.75)
    s.cylinder(0, 0, (0, 0.04), 0.16, paint.dark)
    s.cylinder(0, 0, (0.04, height - 0.3), 0.025, paint.dark, 8)
    s.frustum((0, 0, height - 0.36), (0, 0, height), (0.24, 0.13), paint.main, 16)
    return ()


def _lamp_globe(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    height, radius = rng.uniform(1.2, 1.6), rng.uniform(0.16, 0.2)
    s.block((-0.12, -0.12, 0), (0.12, 0.12, 0.05), paint.dark)
    s.cylinder(0, 0, (0.05, height - radius), 0.025, paint.dark, 8)
    s.ellipsoid((0, 0, height - radius), (radius,) * 3, paint.main)
    return ()


def _lamp_column(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    height, half = rng.uniform(0.9, 1.3), rng.uniform(0.09, 0.13)
    s.block((-half - 0.03, -half - 0.03, 0), (half + 0.03, half + 0.03, 0.05), paint.dark)
    s.block((-half, -half, 0.05), (half, half, height), paint.main)
    return ()


def _lamp_tripod(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    height = rng.uniform(1.3, 1.6)
    for turn in np.arange(3) * (2 * np.pi / 3):
        foot = (0.26 * np.cos(turn), 0.26 * np.sin(turn), 0)
        s.frustum(foot, (0, 0, height - 0.28), (0.025, 0.02), paint.dark, 6)
    s.cylinder(0, 0, (height - 0.32, height), 0.21, paint.main, 16)
    return ()


def _lamp_table(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    height = rng.uniform(0.36, 0.48)
    s.cylinder(0, 0, (0, 0.03), 0.08, paint.dark)
    s.cylinder(0, 0, (0.03, height * 0.6), 0.02, paint.dark, 8)
    s.frustum((0, 0, height * 0.5), (0, 0, height), (0.14, 0.08), paint.main)
    return ()


def _pot(s: Solids, paint: Paint, height: float, radius: float) -> None:
    s.frustum((0, 0, 0), (0, 0, height), (radius * 0.75, radius), paint.trim)


def _plant_bush(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    height, radius = rng.uniform(0.7, 1.1), rng.uniform(0.2, 0.28)
    _pot(s, paint, 0.25, 0.15)
    for turn in rng.uniform(0, 2 * np.pi, 4):
        x, y = 0.5 * radius * np.cos(turn), 0.5 * radius * np.sin(turn)
        z = rng.uniform(0.35, height - radius)
        s.ellipsoid((x, y, z), (radius * 0.8, radius * 0.8, radius * 0.7), paint.main, 8)
    s.ellipsoid((0, 0, height - radius * 0.8), (radius, radius, radius * 0.8), paint.dark, 8)
    return ()


def _plant_palm(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    height, reach = rng.uniform(1.2, 1.7), rng.uniform(0.32, 0.42)
    _pot(s, paint, 0.3, 0.17)
    s.cylinder(0, 0, (0.25, height - 0.15), 0.035, (0.36, 0.27, 0.15), 8)
    for turn in np.arange(7) * (2 * np.pi / 7):
        cos, sin = np.cos(turn), np.sin(turn)
        middle = (reach * 0.6 * cos, reach * 0.6 * sin, height)
        s.frustum((0, 0, height - 0.2), middle, (0.03, 0.08), paint.main, 6)
        tip = (reach * cos, reach * sin, height - 0.25)
        s.frustum(middle, tip, (0.08, 0.02), paint.main, 6)
    return ()


def _plant_cactus(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    height = rng.uniform(0.7, 1.2)
    _pot(s, paint, 0.22, 0.16)
    s.cylinder(0, 0, (0.2, height), 0.09, paint.main, 10)
    s.ellipsoid((0, 0, height), (0.09, 0.09, 0.07), paint.main, 10)
    for side in (-1, 1):
        elbow = height * (0.55 if side < 0 else 0.68)
        s.frustum((0, 0, elbow), (0, side * 0.2, elbow), (0.05, 0.05), paint.main, 8)
        s.cylinder(0, side * 0.2, (elbow - 0.05, elbow + 0.22), 0.055, paint.main, 8)
    return ()


def _plant_conifer(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    height, radius = rng.uniform(0.9, 1.5), rng.uniform(0.26, 0.34)
    _pot(s, paint, 0.2, 0.14)
    for i in range(3):
        low = 0.25 + (height - 0.25) * i * 0.28
        base = radius * (1 - 0.25 * i)
        s.frustum((0, 0, low), (0, 0, min(low + 0.5 * height, height)), (base, 0.02), paint.main)
    return ()


def _boxes(s: Solids, paint: Paint, half: tuple[float, float], height: float) -> None:
    s.block((-half[0], -half[1], 0), (*half, height), paint.main)
    s.block((-half[0] - 0.002, -0.025, 0.01), (half[0] + 0.002, 0.025, height + 0.003), paint.dark)


def _box_cube(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half = rng.uniform(0.13, 0.25)
    _boxes(s, paint, (half, half), 2 * half)
    return ()


def _box_flat(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    _boxes(s, paint, (rng.uniform(0.16, 0.24), rng.uniform(0.24, 0.35)), rng.uniform(0.14, 0.2))
    return ()


def _box_tall(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half = rng.uniform(0.14, 0.19)
    _boxes(s, paint, (half, half * 1.1), rng.uniform(0.45, 0.65))
    return ()


def _box_open(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = rng.uniform(0.17, 0.25), rng.uniform(0.25, 0.38)
    s.block((-half, -half, 0), (half, half, 0.03), paint.dark)
    for side in (-1, 1):
        s.box((side * half, 0, height / 2), (0.03, 2 * half, height), paint.main)
        s.box((0, side * half, height / 2), (2 * half, 0.03, height), paint.main)
        s.box((side * (half + 0.05), 0, height), (0.16, 2 * half, 0.02), paint.main, side * 0.5)
    return ()


def _box_parcel(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half = (rng.uniform(0.08, 0.12), rng.uniform(0.11, 0.16))
    _boxes(s, paint, half, rng.uniform(0.1, 0.18))
    return ()


def _bin_cylinder(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius, height = rng.uniform(0.14, 0.18), rng.uniform(0.35, 0.5)
    s.cylinder(0, 0, (0, height), radius, paint.main, 16)
    s.cylinder(0, 0, (height, height + 0.004), radius * 0.9, paint.main * 0.4, 16)
    return ()


def _bin_pedal(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius, height = rng.uniform(0.15, 0.19), rng.uniform(0.5, 0.65)
    s.cylinder(0, 0, (0, height), radius, paint.main, 16)
    s.ellipsoid((0, 0, height), (radius, radius, 0.1), paint.dark)
    s.block((radius - 0.02, -0.05, 0.01), (radius + 0.07, 0.05, 0.04), paint.trim)
    return ()


def _bin_swing(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = rng.uniform(0.16, 0.2), rng.uniform(0.5, 0.65)
    s.block((-half * 0.8, -half, 0), (half * 0.8, half, height), paint.main)
    for side in (-1, 1):
        s.box(
            (side * half * 0.4, 0, height + 0.05), (half, 2 * half, 0.03), paint.dark, -side * 0.6
        )
    return ()


def _bin_tapered(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius, height = rng.uniform(0.2, 0.25), rng.uniform(0.32, 0.42)
    s.frustum((0, 0, 0), (0, 0, height), (radius * 0.5, radius), paint.main, 4)
    s.frustum((0, 0, height), (0, 0, height + 0.004), (radius * 0.85,) * 2, paint.main * 0.4, 4)
    return ()


def _ball_plain(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius = rng.uniform(0.11, 0.17)
    s.ellipsoid((0, 0, radius), (radius,) * 3, paint.main, 16)
    return ()


def _ball_gym(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius = rng.uniform(0.27, 0.34)
    s.ellipsoid((0, 0, radius), (radius,) * 3, paint.main, 16)
    return ()


def _ball_striped(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius = rng.uniform(0.13, 0.19)
    s.ellipsoid((0, 0, radius), (radius,) * 3, paint.main, 16)
    s.cylinder(0, 0, (radius * 0.85, radius * 1.15), radius * 1.002, paint.accent, 16)
    return ()


FLOOR_THINGS: dict[str, dict[str, Variant]] = {
    'lamp': {
        'cone': _lamp_cone,
        'globe': _lamp_globe,
        'column': _lamp_column,
        'tripod': _lamp_tripod,
        'table': _lamp_table,
    },
    'plant': {
        'bush': _plant_bush,
        'palm': _plant_palm,
        'cactus': _plant_cactus,
        'conifer': _plant_conifer,
    },
    'box': {
        'cube': _box_cube,
        'flat': _box_flat,
        'tall': _box_tall,
        'open': _box_open,
        'parcel': _box_parcel,
    },
    'bin': {
        'cylinder': _bin_cylinder,
        'pedal': _bin_pedal,
        'swing': _bin_swing,
        'tapered': _bin_tapered,
    },
    'ball': {'plain': _ball_plain, 'gym': _ball_gym, 'striped': _ball_striped},
}
