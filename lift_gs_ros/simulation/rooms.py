"""Furnished rooms from a seed: the same seed and split give the same room everywhere.

World frame: z up, floor at z = 0, origin near the middle of the room. Splits never share a room
(the split is part of the random stream), and only test rooms hold the looks listed in
:mod:`lift_gs_ros.simulation.vocabulary`; about a quarter of their objects are such.
"""

from __future__ import annotations

import numpy as np

from lift_gs_ros.simulation.furnishing import Furnisher
from lift_gs_ros.simulation.room import Room, RoomObject, is_held_out
from lift_gs_ros.simulation.structure import build_structure

__all__ = ['SPLITS', 'Room', 'RoomObject', 'is_held_out', 'make_room']

SPLITS = ('train', 'val', 'test')
MIN_OBJECTS = 8


def make_room(seed: int, split: str = 'test') -> Room:
    """Furnish a room of 8 to 16 objects.

    Raises ValueError where ``split`` is not 'train', 'val' or 'test' or ``seed`` is negative.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of 'train', 'val', 'test'")
    if seed < 0:
        raise ValueError(f'seed is {seed}, expected 0 or more')
    for attempt in range(100):
        # The stream of each split and attempt is its own: SeedSequence mixes all words.
        rng = np.random.default_rng([seed, SPLITS.index(split), attempt])
        furnisher = Furnisher(rng, held_out_share=0.25 if split == 'test' else 0.0)
        objects = furnisher.furnish()
        if len(objects) >= MIN_OBJECTS:
            return Room(
                seed,
                split,
                tuple(objects),
                tuple(build_structure(furnisher.outline, furnisher.height, rng)),
                furnisher.outline,
                furnisher.height,
            )
    raise RuntimeError(f'room {seed} of {split} found no place for {MIN_OBJECTS} objects')
