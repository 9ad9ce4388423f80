"""Cabinets, wardrobes, bookshelves, kitchen counters and sinks: one function per variant."""

from __future__ import annotations

import numpy as np

from lift_gs_ros.simulation.shapes import Paint, Surface, Variant, four_legs, top_of
from lift_gs_ros.simulation.solids import Solids

Rng = np.random.Generator
_METAL = (0.66, 0.67, 0.69)


def _fronts(
    s: Solids, paint: Paint, half: tuple[float, float], z: tuple[float, float], doors: int
) -> None:
    """Put door leaves with handles on the front of a carcass, with dark gaps between them."""
    width = 2 * half[1] / doors
    for i in range(doors):
        y = -half[1] + width * (i + 0.5)
        s.box(
            (half[0] + 0.01, y, (z[0] + z[1]) / 2),
            (0.02, width - 0.025, z[1] - z[0] - 0.03),
            paint.main,
        )
        handle = y + (0.35 if i % 2 == 0 else -0.35) * width
        s.box((half[0] + 0.03, handle, (z[0] + z[1]) / 2), (0.03, 0.03, 0.16), paint.trim)


def _cabinet_doors(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (rng.uniform(0.2, 0.25), rng.uniform(0.38, 0.5)), rng.uniform(0.75, 1.05)
    four_legs(s, half, 0.12, 0.05, paint.trim)
    s.block((-half[0], -half[1], 0.1), (*half, height), paint.dark)
    _fronts(s, paint, half, (0.1, height), 2)
    s.block((-half[0], -half[1], height), (half[0] + 0.02, half[1], height + 0.03), paint.main)
    return (top_of(half, height + 0.03),)


def _cabinet_drawers(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (rng.uniform(0.2, 0.25), rng.uniform(0.22, 0.34)), rng.uniform(0.5, 0.8)
    s.block((-half[0], -half[1], 0), (*half, height), paint.main)
    for i in range(3):
        low = height * i / 3
        s.box(
            (half[0] + 0.01, 0, low + height / 6),
            (0.02, 2 * half[1] - 0.04, height / 3 - 0.03),
            paint.dark,
        )
        s.box((half[0] + 0.03, 0, low + height / 6), (0.03, 0.14, 0.025), paint.trim)
    return (top_of(half, height),)


def _cabinet_sideboard(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (rng.uniform(0.19, 0.23), rng.uniform(0.65, 0.85)), rng.uniform(0.6, 0.75)
    four_legs(s, half, 0.2, 0.05, paint.trim)
    s.block((-half[0], -half[1], 0.18), (*half, height), paint.main)
    _fronts(s, paint, half, (0.18, height), 3)
    return (top_of(half, height),)


def _cabinet_niche(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (rng.uniform(0.2, 0.25), rng.uniform(0.4, 0.5)), rng.uniform(0.95, 1.2)
    x, y = half
    s.block((-x, -y, 0), (x, y, height * 0.45), paint.main)
    s.block((-x, -y, height * 0.45), (-x + 0.04, y, height), paint.dark)
    for side in (-1, 1):
        s.box((0, side * (y - 0.02), height * 0.72), (2 * x, 0.04, height * 0.55), paint.main)
    s.block((-x, -y, height - 0.05), (x, y, height), paint.main)
    return (top_of(half, height),)


def _wardrobe(s: Solids, rng: Rng, paint: Paint, doors: int, base: float) -> tuple[Surface, ...]:
    half = (rng.uniform(0.27, 0.32), doors * rng.uniform(0.23, 0.28))
    height = rng.uniform(1.75, 2.1)
    s.block((-half[0], -half[1], base), (*half, height), paint.dark)
    _fronts(s, paint, half, (base, height), doors)
    if base:
        four_legs(s, half, base, 0.07, paint.trim)
        s.block(
            (-half[0] - 0.03, -half[1] - 0.04, height),
            (half[0] + 0.05, half[1] + 0.04, height + 0.08),
            paint.main,
        )
    return ()


def _wardrobe_two(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    return _wardrobe(s, rng, paint, 2, 0.0)


def _wardrobe_three(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    return _wardrobe(s, rng, paint, 3, 0.0)


def _wardrobe_cornice(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    return _wardrobe(s, rng, paint, 2, 0.16)


def _wardrobe_stepped(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    x, height = rng.uniform(0.27, 0.32), rng.uniform(1.8, 2.1)
    s.block((-x, -0.65, 0), (x, 0.0, height), paint.main)
    s.block((-x, 0.0, 0), (x, 0.6, height * 0.6), paint.main)
    for y in (-0.08, 0.08):
        s.box((x + 0.015, y, height * 0.4), (0.03, 0.03, 0.3), paint.trim)
    return ()


def _shelf(
    s: Solids, rng: Rng, paint: Paint, half: tuple[float, float], height: float, columns: int
) -> None:
    """Add an open shelf of boards with a few rows of books in it."""
    x, y = half
    rows = max(2, round(height / 0.38))
    s.block((-x, -y, 0), (-x + 0.03, y, height), paint.dark)
    for i in range(columns + 1):
        at = -y + 0.02 + (2 * y - 0.04) * i / columns
        s.box((0, at, height / 2), (2 * x, 0.04, height), paint.main)
    for row in range(rows + 1):
        z = 0.02 + (height - 0.04) * row / rows
        s.box((0, 0, z), (2 * x, 2 * y, 0.04), paint.main)
        if row < rows and rng.random() < 0.6:
            width, start = rng.uniform(0.15, 0.35) * y, rng.uniform(-0.85, 0.2) * y
            tint = paint.accent if row % 2 else paint.trim
            s.block((-x + 0.04, start, z), (x - 0.06, start + width, z + 0.24), tint)


def _bookshelf_tall(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half = (rng.uniform(0.14, 0.17), rng.uniform(0.38, 0.5))
    _shelf(s, rng, paint, half, rng.uniform(1.6, 2.0), 1)
    return ()


def _bookshelf_low(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (rng.uniform(0.15, 0.18), rng.uniform(0.4, 0.55)), rng.uniform(0.75, 0.95)
    _shelf(s, rng, paint, half, height, 1)
    return (top_of(half, height),)


def _bookshelf_grid(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (rng.uniform(0.17, 0.2), rng.uniform(0.6, 0.75)), rng.uniform(1.1, 1.3)
    _shelf(s, rng, paint, half, height, 3)
    return (top_of(half, height),)


def _bookshelf_ladder(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    y, height = rng.uniform(0.3, 0.38), rng.uniform(1.6, 1.9)
    for side in (-1, 1):
        s.frustum((0.2, side * y, 0), (-0.2, side * y, height), (0.03, 0.03), paint.main, 6)
        s.frustum((-0.2, side * y, 0), (-0.2, side * y, height), (0.03, 0.03), paint.main, 6)
    for row in range(4):
        z = height * (0.15 + 0.23 * row)
        s.block((-0.2, -y, z), (0.2 - 0.4 * z / height, y, z + 0.04), paint.main)
    return ()


def _counter_base(
    s: Solids, paint: Paint, half: tuple[float, float], height: float, doors: int
) -> None:
    x, y = half
    s.block((-x, -y, 0), (x - 0.04, y, 0.1), (0.2, 0.2, 0.2))
    s.block((-x, -y, 0.1), (x, y, height - 0.04), paint.main)
    _fronts(s, paint, half, (0.1, height - 0.04), doors)
    s.block((-x, -y, height - 0.04), (x + 0.04, y, height), paint.trim)


def _counter_sink(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (0.3, rng.uniform(0.8, 1.1)), rng.uniform(0.86, 0.94)
    _counter_base(s, paint, half, height, 3)
    s.block((-0.2, -0.1, height), (0.2, 0.42, height + 0.015), _METAL)
    s.block((-0.15, -0.05, height + 0.01), (0.15, 0.37, height + 0.02), (0.35, 0.36, 0.38))
    s.cylinder(-0.24, 0.16, (height, height + 0.28), 0.02, _METAL, 8)
    s.frustum((-0.24, 0.16, height + 0.27), (-0.06, 0.16, height + 0.24), (0.02, 0.02), _METAL, 8)
    return (
        Surface((-0.27, -half[1] + 0.03), (0.28, -0.16), height),
        Surface((-0.27, 0.46), (0.28, half[1] - 0.02), height),
    )


def _counter_tall(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (0.3, rng.uniform(0.6, 0.9)), rng.uniform(0.86, 0.94)
    _counter_base(s, paint, half, height, 2)
    s.block((-0.3, -half[1], 1.45), (0.05, half[1], 2.05), paint.main)
    s.block((-0.3, -half[1], height), (-0.28, half[1], 1.45), paint.dark)
    return (Surface((-0.25, -half[1] + 0.03), (0.28, half[1] - 0.03), height, 0.5),)


def _counter_hob(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (0.3, rng.uniform(0.6, 0.9)), rng.uniform(0.86, 0.94)
    _counter_base(s, paint, half, height, 2)
    s.block((-0.22, -0.28, height), (0.22, 0.28, height + 0.01), (0.08, 0.08, 0.09))
    for x in (-0.11, 0.11):
        for y in (-0.14, 0.14):
            s.cylinder(x, y, (height, height + 0.02), 0.08, (0.25, 0.1, 0.09))
    return (Surface((-0.27, 0.3), (0.28, half[1] - 0.02), height),)


def _counter_island(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    half, height = (0.42, rng.uniform(0.65, 0.85)), rng.uniform(0.86, 0.94)
    s.block((-0.3, -half[1] + 0.1, 0), (0.3, half[1] - 0.1, height - 0.06), paint.main)
    s.block((-half[0], -half[1], height - 0.06), (*half, height), paint.main)
    return (top_of(half, height),)


def _basin(s: Solids, paint: Paint, half: tuple[float, float], top: float) -> None:
    s.block((-half[0], -half[1], top - 0.16), (*half, top), paint.main)
    s.block(
        (-half[0] + 0.12, -half[1] + 0.05, top - 0.01),
        (half[0] - 0.05, half[1] - 0.05, top + 0.005),
        paint.dark,
    )
    s.cylinder(-half[0] + 0.06, 0, (top, top + 0.2), 0.02, _METAL, 8)
    s.frustum((-half[0] + 0.06, 0, top + 0.19), (-0.03, 0, top + 0.16), (0.02, 0.02), _METAL, 8)


def _sink_pedestal(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    top = rng.uniform(0.8, 0.9)
    s.frustum((0, 0, 0), (0, 0, top - 0.15), (0.13, 0.09), paint.main)
    _basin(s, paint, (0.23, rng.uniform(0.26, 0.33)), top)
    return ()


def _sink_vanity(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    top, half = rng.uniform(0.8, 0.9), (0.23, rng.uniform(0.3, 0.45))
    s.block((-half[0], -half[1], 0), (half[0] - 0.03, half[1], top - 0.16), paint.main)
    _basin(s, paint, half, top)
    return ()


def _sink_legs(s: Solids, rng: Rng, paint: Paint) -> tuple[Surface, ...]:
    top, half = rng.uniform(0.8, 0.9), (0.25, rng.uniform(0.35, 0.5))
    four_legs(s, half, top - 0.16, 0.05, _METAL)
    _basin(s, paint, half, top)
    return ()


STORAGE: dict[str, dict[str, Variant]] = {
    'cabinet': {
        'doors': _cabinet_doors,
        'drawers': _cabinet_drawers,
        'sideboard': _cabinet_sideboard,
        'niche': _cabinet_niche,
    },
    'wardrobe': {
        'two': _wardrobe_two,
        'three': _wardrobe_three,
        'cornice': _wardrobe_cornice,
        'stepped': _wardrobe_stepped,
    },
    'bookshelf': {
        'tall': _bookshelf_tall,
        'low': _bookshelf_low,
        'grid': _bookshelf_grid,
        'ladder': _bookshelf_ladder,
    },
    'counter': {
        'sink': _counter_sink,
        'tall': _counter_tall,
        'hob': _counter_hob,
        'island': _counter_island,
    },
    'sink': {'pedestal': _sink_pedestal, 'vanity': _sink_vanity, 'legs': _sink_legs},
}
