"""Colours and kinds of the simulated rooms, and which of them only test rooms hold.

Nothing here draws random numbers but :func:`shade`. All orders are fixed tuples, never sets, so
that a seed gives the same room everywhere.
"""

from __future__ import annotations

import colorsys

import numpy as np

# Hue, saturation and value of each named colour, and how far a shade may be from them. The gaps
# between the ranges are wide enough that people agree on the name.
_HSV: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    'red': ((0.995, 0.85, 0.75), (0.012, 0.12, 0.12)),
    'orange': ((0.075, 0.90, 0.95), (0.012, 0.10, 0.05)),
    'yellow': ((0.150, 0.80, 0.93), (0.012, 0.15, 0.06)),
    'green': ((0.360, 0.65, 0.52), (0.045, 0.18, 0.14)),
    'blue': ((0.605, 0.75, 0.68), (0.025, 0.15, 0.18)),
    'purple': ((0.785, 0.60, 0.55), (0.022, 0.15, 0.12)),
    'brown': ((0.065, 0.62, 0.40), (0.012, 0.12, 0.08)),
    'black': ((0.600, 0.10, 0.10), (0.500, 0.10, 0.04)),
    'grey': ((0.600, 0.05, 0.50), (0.500, 0.05, 0.08)),
    'white': ((0.130, 0.03, 0.95), (0.100, 0.03, 0.04)),
}
COLORS: tuple[str, ...] = tuple(_HSV)

_ANY = COLORS
_SHELL = ('black', 'white', 'grey', 'blue', 'red')

# Kind -> colours that it comes in.
KINDS: dict[str, tuple[str, ...]] = {
    'chair': _ANY,
    'stool': _ANY,
    'table': ('brown', 'white', 'black', 'grey', 'red', 'yellow', 'green', 'blue'),
    'sofa': _ANY,
    'bed': _ANY,
    'cabinet': _ANY,
    'wardrobe': ('brown', 'white', 'black', 'grey', 'blue', 'green', 'red', 'yellow'),
    'bookshelf': ('brown', 'white', 'black', 'grey', 'red', 'blue', 'yellow', 'green'),
    'counter': ('white', 'grey', 'black', 'brown', 'red', 'blue', 'green', 'yellow'),
    'sink': ('white', 'grey', 'black', 'blue', 'green'),
    'lamp': _ANY,
    'plant': ('green',),
    'box': _ANY,
    'bin': _ANY,
    'ball': _ANY,
    'rug': _ANY,
    'door': ('brown', 'white', 'red', 'green', 'blue', 'grey', 'yellow'),
    'window': ('white', 'red', 'orange', 'green', 'blue', 'purple', 'yellow', 'grey'),
    'picture': _ANY,
    'mug': _ANY,
    'bottle': ('green', 'blue', 'brown', 'red', 'white', 'yellow', 'orange', 'purple'),
    'laptop': _SHELL,
    'monitor': _SHELL,
    'pillow': _ANY,
    'book': _ANY,
}

# Pairs that no train or val room holds. Common demo queries (red mug, red chair, red cabinet) are
# deliberately not among them.
HELD_OUT_PAIRS: frozenset[tuple[str, str]] = frozenset(
    {
        ('red', 'sofa'),
        ('red', 'box'),
        ('orange', 'chair'),
        ('orange', 'lamp'),
        ('yellow', 'bin'),
        ('yellow', 'table'),
        ('green', 'cabinet'),
        ('green', 'mug'),
        ('blue', 'stool'),
        ('blue', 'bookshelf'),
        ('blue', 'bottle'),
        ('purple', 'bed'),
        ('purple', 'pillow'),
        ('brown', 'bin'),
        ('black', 'box'),
        ('black', 'wardrobe'),
        ('grey', 'ball'),
        ('grey', 'cabinet'),
        ('white', 'chair'),
        ('white', 'picture'),
    }
)

# Shape variants (kind, variant) that no train or val room holds.
HELD_OUT_VARIANTS: frozenset[tuple[str, str]] = frozenset(
    {
        ('chair', 'sled'),
        ('stool', 'hourglass'),
        ('table', 'trestle'),
        ('sofa', 'armless'),
        ('bed', 'bunk'),
        ('cabinet', 'niche'),
        ('wardrobe', 'stepped'),
        ('bookshelf', 'ladder'),
        ('counter', 'island'),
        ('lamp', 'tripod'),
        ('plant', 'conifer'),
        ('box', 'open'),
        ('bin', 'tapered'),
        ('mug', 'tapered'),
        ('bottle', 'jug'),
        ('pillow', 'bolster'),
    }
)


def is_held_out_look(color_name: str, kind: str, variant: str) -> bool:
    """Say whether such an object only occurs in rooms of the test split."""
    return (color_name, kind) in HELD_OUT_PAIRS or (kind, variant) in HELD_OUT_VARIANTS


def shade(color_name: str, rng: np.random.Generator) -> np.ndarray:
    """Draw a shade of a named colour: (3,) float64 sRGB in [0, 1]."""
    center, spread = _HSV[color_name]
    hue, saturation, value = np.array(center) + rng.uniform(-1, 1, 3) * spread
    return np.array(
        colorsys.hsv_to_rgb(hue % 1.0, float(np.clip(saturation, 0, 1)), min(value, 1.0))
    )


def nearest_color(rgb: np.ndarray) -> str:
    """Name the colour (3,) in [0, 1] by the smallest distance to the colours' centres."""
    centers = np.array([colorsys.hsv_to_rgb(*center) for center, _ in _HSV.values()])
    return COLORS[int(np.argmin(np.linalg.norm(centers - rgb, axis=1)))]
