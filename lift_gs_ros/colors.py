"""Colours that mean something: how sure an answer is, and which object is which."""

from __future__ import annotations

import colorsys

import numpy as np

Color = tuple[float, float, float]  # red, green, blue in [0, 1]

# Eleven samples of viridis (Smith, van der Walt and Firing, CC0), whose lightness grows evenly.
_VIRIDIS = np.array(
    [
        [0.267, 0.005, 0.329],
        [0.283, 0.141, 0.458],
        [0.254, 0.265, 0.530],
        [0.207, 0.372, 0.553],
        [0.164, 0.471, 0.558],
        [0.128, 0.567, 0.551],
        [0.135, 0.659, 0.518],
        [0.267, 0.749, 0.441],
        [0.478, 0.821, 0.318],
        [0.741, 0.873, 0.150],
        [0.993, 0.906, 0.144],
    ]
)


def confidence_color(score: float) -> Color:
    """Colour of a score in [0, 1]: dark violet is unsure, bright yellow is sure."""
    places = np.linspace(0, 1, len(_VIRIDIS))
    red, green, blue = (float(np.interp(score, places, channel)) for channel in _VIRIDIS.T)
    return red, green, blue


def instance_color(instance_id: int) -> Color:
    """Return a colour that stays with an id."""
    golden_ratio = 0.618034
    return colorsys.hsv_to_rgb(instance_id * golden_ratio % 1.0, 0.85, 1.0)
