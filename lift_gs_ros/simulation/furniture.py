"""Every kind's shape variants in one table, and the function that builds one of them."""

from __future__ import annotations

import numpy as np

from lift_gs_ros.simulation.fittings import FITTINGS
from lift_gs_ros.simulation.floor_things import FLOOR_THINGS
from lift_gs_ros.simulation.seating import SEATING
from lift_gs_ros.simulation.shapes import Paint, Shape, Variant, centered
from lift_gs_ros.simulation.small_things import SMALL_THINGS
from lift_gs_ros.simulation.solids import Solids
from lift_gs_ros.simulation.storage import STORAGE

# Kind -> variant -> the function that adds its solids.
VARIANTS: dict[str, dict[str, Variant]] = {
    **SEATING,
    **STORAGE,
    **FLOOR_THINGS,
    **SMALL_THINGS,
    **FITTINGS,
}


def build_shape(kind: str, variant: str, color_name: str, rng: np.random.Generator) -> Shape:
    """Build one object of random size and shade in its own frame (metres, front along +x)."""
    solids = Solids()
    surfaces = VARIANTS[kind][variant](solids, rng, Paint.draw(color_name, rng))
    return centered(solids, surfaces)
