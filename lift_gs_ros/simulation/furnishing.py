"""Draws a room's objects one after the other: what they are, how they look, how they stand."""

from __future__ import annotations

import numpy as np

from lift_gs_ros.simulation.furniture import VARIANTS, build_shape
from lift_gs_ros.simulation.layout import draw_outline
from lift_gs_ros.simulation.placing import Look, Placer
from lift_gs_ros.simulation.room import RoomObject
from lift_gs_ros.simulation.room_types import (
    AGAINST_WALL,
    BESIDE_FURNITURE,
    ON_FLOOR_IF_NEEDED,
    ON_RUGS,
    ROOM_TYPES,
    SUPPORTS,
    TABLETOP_VARIANTS,
    TYPE_SHARES,
    UNDER_TABLES,
)
from lift_gs_ros.simulation.vocabulary import KINDS, is_held_out_look


class Furnisher:
    """Furnishes one room; all randomness comes from ``rng``."""

    def __init__(self, rng: np.random.Generator, held_out_share: float) -> None:
        self._rng = rng
        self._held_out_share = held_out_share
        self.outline = draw_outline(rng)
        self.height = float(np.round(rng.uniform(2.4, 2.8), 2))
        self._placer = Placer(rng, self.outline)

    def furnish(self) -> list[RoomObject]:
        """Place a door and up to 15 objects of one type of room, as far as they fit."""
        count = int(self._rng.integers(10, 17))
        for kind in self._wanted(count):
            if len(self._placer.objects) >= count:
                break
            self._place(self._draw_look(kind))
        return self._placer.objects

    def _wanted(self, count: int) -> list[str]:
        """Draw the kinds to place, the door first, large things before what stands on them."""
        room_type = tuple(ROOM_TYPES)[int(self._rng.choice(len(ROOM_TYPES), p=TYPE_SHARES))]
        kinds: list[str] = []
        more = [str(kind) for kind in self._rng.permutation(tuple(KINDS))[:3]]
        for kind, fewest, most in ROOM_TYPES[room_type]:
            kinds += [kind] * fewest
            more += [kind] * int(self._rng.integers(most - fewest + 1))
        kinds += [more[i] for i in self._rng.permutation(len(more)) if more[i] != 'door']
        last = [kind for kind in kinds if kind in SUPPORTS and kind not in ('lamp', 'box')]
        if 'rug' in kinds:  # under everything else
            kinds.remove('rug')
            kinds.insert(0, 'rug')
        first = [kind for kind in kinds if kind not in last]
        # Keep a third of the places for small things; the door is always object 1.
        large = round(0.62 * count)
        return ['door', *first[:large], *last, *first[large:]]

    def _draw_look(self, kind: str) -> Look:
        """Draw variant and colour; a kind's second object often looks like its first."""
        looks = [(kind, v, c) for v in VARIANTS[kind] for c in KINDS[kind]]
        held_out = [look for look in looks if is_held_out_look(look[2], kind, look[1])]
        seen = [look for look in looks if look not in held_out]
        if held_out and self._rng.random() < self._held_out_share:
            return held_out[int(self._rng.integers(len(held_out)))]
        twins = [o for o in self._placer.objects if o.kind == kind]
        if twins and self._rng.random() < 0.5:
            same_variant = [look for look in seen if look[1] == twins[0].variant]
            same = [look for look in same_variant if look[2] == twins[0].color_name]
            seen = (same if self._rng.random() < 0.4 else same_variant) or seen
        return seen[int(self._rng.integers(len(seen)))]

    def _place(self, look: Look) -> bool:
        """Find a place for an object of this look; False where there is none."""
        kind, variant, color_name = look
        shape = build_shape(kind, variant, color_name, self._rng)
        placer = self._placer
        if kind in SUPPORTS and (
            (kind, variant) in TABLETOP_VARIANTS or kind not in ('lamp', 'box')
        ):
            if placer.place_on_support(look, shape):
                return True
            if kind not in ON_FLOOR_IF_NEEDED:
                return False
        chance = self._rng.random
        return (
            (kind in UNDER_TABLES and chance() < 0.4 and placer.place_under(look, shape))
            or (variant == 'coffee' and chance() < 0.7 and placer.place_beside(look, shape, _SOFAS))
            or (kind in ON_RUGS and chance() < 0.4 and placer.place_on_rug(look, shape))
            or (kind == 'chair' and chance() < 0.7 and placer.place_at_table(look, shape))
            or (
                kind in BESIDE_FURNITURE
                and chance() < 0.35
                and placer.place_beside(look, shape, AGAINST_WALL)
            )
            or placer.place_anywhere(look, shape)
        )


_SOFAS = ('sofa',)
