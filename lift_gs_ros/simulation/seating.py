"""Chairs, stools, tables, sofas and beds: a function for every shape variant."""

from __future__ import annotations

import numpy as np

from lift_gs_ros.simulation.shapes import Paint, Surface, Variant, beneath, four_legs, top_of
from lift_gs_ros.simulation.solids import Solids

Rng = np.random.Generator


def _chair_legs(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, seat, back = rng.uniform(0.20, 0.26), rng.uniform(0.42, 0.48), rng.uniform(0.82, 1.05)
    four_legs(s, (half, half), seat, 0.05, paint.trim)
    s.block((-half, -half, seat), (half, half, seat + 0.06), paint.main)
    s.block((-half, -half, seat + 0.06), (-half + 0.05, half, back), paint.main)
    return ()


def _chair_swivel(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, seat, back = rng.uniform(0.23, 0.28), rng.uniform(0.44, 0.52), rng.uniform(0.90, 1.15)
    for turn in np.arange(5) * (2 * np.pi / 5):
        tip = (0.30 * np.cos(turn), 0.30 * np.sin(turn), 0.03)
        s.frustum((0, 0, 0.07), tip, (0.03, 0.03), paint.trim, 6)
    s.cylinder(0, 0, (0.05, seat), 0.03, paint.trim, 8)
    s.block((-half, -half, seat), (half, half, seat + 0.08), paint.main)
    s.box((-half, 0, (seat + 0.18 + back) / 2), (0.07, half * 1.8, back - seat - 0.18), paint.main)
    s.box((-half - 0.02, 0, seat + 0.15), (0.04, 0.06, 0.3), paint.trim)
    return ()


def _chair_arm(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, depth, back = rng.uniform(0.36, 0.44), rng.uniform(0.36, 0.42), rng.uniform(0.8, 0.95)
    s.block((-depth, -half, 0.05), (depth, half, 0.40), paint.main)
    s.block((-depth, -half, 0.40), (-depth + 0.18, half, back), paint.main)
    for side in (-1, 1):
        y = side * (half - 0.07)
        s.box((0.01, y, 0.50), (2 * depth + 0.02, 0.15, 0.24), paint.dark)
    return (Surface((-depth + 0.2, -half + 0.16), (depth, half - 0.16), 0.40, 0.5),)


def _chair_sled(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, seat, back = rng.uniform(0.22, 0.27), rng.uniform(0.42, 0.48), rng.uniform(0.75, 0.9)
    for side in (-1, 1):
        s.box((0, side * half, seat / 2 + 0.08), (2 * half, 0.04, seat + 0.16), paint.main)
    s.block((-half, -half, seat - 0.05), (half, half, seat), paint.main)
    s.box((-half - 0.04, 0, (seat + back) / 2), (0.05, 2 * half, back - seat), paint.main, 0.2)
    return ()


def _stool_round(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius, height = rng.uniform(0.16, 0.21), rng.uniform(0.42, 0.5)
    for turn in np.arange(4) * (np.pi / 2) + np.pi / 4:
        foot = np.array([np.cos(turn), np.sin(turn)]) * radius
        s.frustum((*foot, 0), (*(foot * 0.7), height - 0.05), (0.02, 0.025), paint.trim, 6)
    s.cylinder(0, 0, (height - 0.06, height), radius, paint.main, 16)
    return ()


def _stool_bar(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius, height = rng.uniform(0.17, 0.20), rng.uniform(0.65, 0.8)
    s.cylinder(0, 0, (0, 0.03), 0.15, paint.main, 16)
    s.cylinder(0, 0, (0.03, height - 0.08), 0.035, paint.trim, 8)
    s.cylinder(0, 0, (height - 0.1, height), radius, paint.main, 16)
    return ()


def _stool_pouf(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = rng.uniform(0.18, 0.25), rng.uniform(0.36, 0.46)
    s.block((-half, -half, 0), (half, half, height - 0.06), paint.dark)
    s.block((-half, -half, height - 0.06), (half, half, height), paint.main)
    return ()


def _stool_hourglass(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius, height = rng.uniform(0.17, 0.22), rng.uniform(0.42, 0.52)
    waist = radius * 0.45
    s.frustum((0, 0, 0), (0, 0, height / 2), (radius, waist), paint.main, 16)
    s.frustum((0, 0, height / 2), (0, 0, height), (waist, radius), paint.main, 16)
    return ()


def _table_size(rng: Rng) -> tuple[tuple[float, float], float]:
    return (rng.uniform(0.35, 0.45), rng.uniform(0.5, 0.85)), rng.uniform(0.70, 0.78)


def _table_legs(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = _table_size(rng)
    four_legs(s, half, height - 0.05, 0.07, paint.dark)
    s.block((-half[0], -half[1], height - 0.05), (*half, height), paint.main)
    inner = (half[0] - 0.1, half[1] - 0.1)
    return top_of(half, height), beneath(inner, height - 0.05)


def _table_round(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    radius, height = rng.uniform(0.45, 0.6), rng.uniform(0.70, 0.76)
    s.cylinder(0, 0, (0, 0.04), radius * 0.55, paint.dark, 16)
    s.cylinder(0, 0, (0.04, height - 0.05), 0.06, paint.dark, 8)
    s.cylinder(0, 0, (height - 0.05, height), radius, paint.main, 24)
    side = radius * 0.68
    return (top_of((side, side), height, 0),)


def _table_desk(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = _table_size(rng)
    s.block((-half[0], -half[1], height - 0.05), (*half, height), paint.main)
    s.block((-half[0], -half[1], 0), (half[0], -half[1] + 0.05, height - 0.05), paint.main)
    s.block((-half[0], half[1] - 0.4, 0), (half[0], half[1], height - 0.05), paint.main)
    for z in (0.18, 0.40, 0.60):
        s.box((half[0], half[1] - 0.2, z), (0.02, 0.14, 0.03), paint.trim)
    under = Surface((-half[0], -half[1] + 0.06), (half[0], half[1] - 0.41), 0, height - 0.05)
    return top_of(half, height), under


def _table_coffee(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (rng.uniform(0.28, 0.36), rng.uniform(0.42, 0.6)), rng.uniform(0.36, 0.46)
    four_legs(s, half, height - 0.06, 0.06, paint.trim)
    s.block((-half[0], -half[1], height - 0.06), (*half, height), paint.main)
    s.block(
        (-half[0] + 0.03, -half[1] + 0.03, 0.1), (half[0] - 0.03, half[1] - 0.03, 0.13), paint.dark
    )
    return (top_of(half, height),)


def _table_trestle(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = _table_size(rng)
    s.block((-half[0], -half[1], height - 0.05), (*half, height), paint.main)
    for side in (-1, 1):
        y = side * half[1] * 0.7
        for x in (-1, 1):
            foot, head = (x * half[0] * 0.9, y, 0), (x * 0.06, y, height - 0.04)
            s.frustum(foot, head, (0.03, 0.03), paint.dark, 6)
        s.box((0, y, 0.3), (half[0] * 1.2, 0.05, 0.05), paint.dark)
    inner = (half[0] * 0.8, half[1] * 0.6)
    return top_of(half, height), beneath(inner, height - 0.05)


def _sofa(
    s: Solids, paint: Paint, width: float, back: float, arm: float, arm_height: float
) -> tuple[Surface, ...]:
    depth, half, seat = 0.43, width / 2, 0.42
    s.block((-depth, -half, 0.06), (depth, half, seat - 0.1), paint.dark)
    inner, places = half - arm, 2 if width < 1.7 else 3
    for i in range(places):
        y = -inner + 2 * inner * i / places
        cushion = 2 * inner / places - 0.01
        s.block((-depth, y, seat - 0.1), (depth + 0.02, y + cushion, seat), paint.main)
    s.block((-depth, -half, seat - 0.1), (-depth + 0.22, half, back), paint.main)
    for side in (-1, 1) if arm else ():
        y = side * (half - arm / 2)
        s.box(
            (0.01, y, arm_height / 2 + 0.03),
            (2 * depth + 0.04, arm + 0.01, arm_height - 0.06),
            paint.main,
        )
    return (Surface((-depth + 0.24, -inner + 0.02), (depth, inner - 0.02), seat, 0.5),)


def _sofa_two(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    return _sofa(s, paint, rng.uniform(1.4, 1.65), rng.uniform(0.78, 0.9), 0.16, 0.62)


def _sofa_three(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    back = rng.uniform(0.7, 0.76)
    return _sofa(s, paint, rng.uniform(1.85, 2.2), back, 0.2, back)


def _sofa_corner(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    width = rng.uniform(2.0, 2.3)
    surfaces = _sofa(s, paint, width, rng.uniform(0.78, 0.86), 0.16, 0.6)
    s.block((0.43, width / 2 - 0.85, 0.06), (1.05, width / 2, 0.42), paint.main)
    return surfaces


def _sofa_armless(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    return _sofa(s, paint, rng.uniform(1.5, 1.9), rng.uniform(0.75, 0.85), 0.0, 0.0)


def _bed(
    s: Solids, rng: Rng, paint: Paint, base: tuple[float, float], head: float
) -> tuple[Surface, ...]:
    half, length, top = rng.uniform(0.5, 0.85), 1.0, base[1] + 0.18
    s.block((-length, -half, base[0]), (length, half, base[1]), paint.trim)
    s.block((-length, -half, base[1]), (-0.5, half, top), (0.92, 0.91, 0.88))
    s.block((-0.5, -half - 0.02, base[1] - 0.08), (length + 0.02, half + 0.02, top), paint.main)
    s.block((-length - 0.06, -half, 0), (-length, half, head), paint.main)
    return (Surface((-length + 0.03, -half + 0.03), (length, half - 0.03), top, 0.6),)


def _bed_headboard(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    return _bed(s, rng, paint, (0.05, 0.3), rng.uniform(0.85, 1.1))


def _bed_posts(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    surfaces = _bed(s, rng, paint, (0.25, 0.33), 0.7)
    y = surfaces[0].upper[1] + 0.07
    for x in (-1.03, 1.03):
        for side in (-1, 1):
            s.box((x, side * y, 0.75), (0.07, 0.07, 1.5), paint.main)
    return surfaces


def _bed_platform(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    surfaces = _bed(s, rng, paint, (0.08, 0.18), 0.5)
    y = surfaces[0].upper[1] + 0.2
    s.block((-1.06, -y, 0.0), (1.1, y, 0.1), paint.main)
    return surfaces


def _bed_bunk(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half = rng.uniform(0.45, 0.5)
    for low in (0.3, 1.25):
        s.block((-1, -half, low), (1, half, low + 0.1), paint.main)
        s.block((-0.98, -half + 0.02, low + 0.1), (0.98, half - 0.02, low + 0.24), paint.main)
    for x in (-1, 1):
        for side in (-1, 1):
            s.box((x, side * half, 0.85), (0.08, 0.08, 1.7), paint.main)
        s.box((x, 0, 1.6), (0.05, 2 * half, 0.12), paint.main)
    return (Surface((-0.9, -half + 0.06), (0.9, half - 0.06), 0.54, 0.6),)


SEATING: dict[str, dict[str, Variant]] = {
    'chair': {
        'legs': _chair_legs,
        'swivel': _chair_swivel,
        'arm': _chair_arm,
        'sled': _chair_sled,
    },
    'stool': {
        'round': _stool_round,
        'bar': _stool_bar,
        'pouf': _stool_pouf,
        'hourglass': _stool_hourglass,
    },
    'table': {
        'legs': _table_legs,
        'round': _table_round,
        'desk': _table_desk,
        'coffee': _table_coffee,
        'trestle': _table_trestle,
    },
    'sofa': {
        'two': _sofa_two,
        'three': _sofa_three,
        'corner': _sofa_corner,
        'armless': _sofa_armless,
    },
    'bed': {
        'headboard': _bed_headboard,
        'posts': _bed_posts,
        'platform': _bed_platform,
        'bunk': _bed_bunk,
    },
}
