"""The proposals of a sentence on a map, put together from the parts of the map."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.encoded_map import EncodedMap
from lift_gs_ros.grounding.proposals import Members, box_around, without_strays
from lift_gs_ros.grounding.settings import GrounderSettings
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.model.lift_gs import LiftGS, span_log_prob
from lift_gs_ros.model.local_decoder import Outcome
from lift_gs_ros.model.tiles import Inside, moved
from lift_gs_ros.model.tokens import LanguageTokens

LINK_VOXELS = 2.5  # points of one thing are at most so many voxels apart


# Chunks that a mask goes on in beside the one that it began in, with the number of their encoding
# (None: they were not looked at); rows of the core points of each encoding; probabilities (n,);
# the box around the points.
_Mask = tuple[dict[ChunkKey, int | None], dict[int, NDArray[np.int64]], NDArray[np.float32], Box]


@dataclass(frozen=True)
class Part:
    """What the proposals that begin in a chunk, or in the whole map, came to."""

    outcome: Outcome  # mask embeddings for positions relative to ``origin``
    origin: Tensor  # (3,) metres
    home: int | None  # number of the chunk's encoding; None: the whole map
    masks: dict[int, _Mask] = field(default_factory=dict)  # those that were looked at

    @property
    def size(self) -> int:
        """How many proposals there are."""
        return self.outcome.features.shape[0]


class Finds:
    """All proposals of a sentence on the map as it is now."""

    def __init__(
        self,
        tokens: LanguageTokens,
        parts: Sequence[Part],
        chosen: Tensor,  # (K,) bool, the chunks that the sentence is asked on
        encoded_map: EncodedMap,
        settings: GrounderSettings,
        model: LiftGS,
    ) -> None:
        self.tokens = tokens
        self.features = torch.cat([part.outcome.features for part in parts])  # (m, F)
        self._correspondence = torch.cat([part.outcome.correspondence for part in parts])
        self._parts = parts
        self._ends = list(accumulate(part.size for part in parts))
        self._map, self._chosen = encoded_map, chosen
        self._is_chosen = dict(zip(encoded_map.keys, chosen.tolist()))
        self._settings, self._bias = settings, model.mask_bias.detach()
        self._link_distance = LINK_VOXELS * model.config.voxel_size

    def span_probability(self, tokens: ArrayLike | Tensor) -> Tensor:
        """Probability (m,) that each proposal answers to any of the given tokens (indices)."""
        return span_log_prob(self._correspondence, tokens).exp()

    def of(self, proposal: int) -> tuple[Members, Box]:
        """Return the map points in a proposal's mask, without what does not hang together."""
        number = bisect_right(self._ends, proposal)
        part, place = self._parts[number], proposal - (self._ends[number - 1] if number else 0)
        known = part.masks.get(place)
        if known is None or any(self._number(key) != number for key, number in known[0].items()):
            known = part.masks[place] = self._look(part, place)
        return (self._map.together(known[1]), known[2]), known[3]

    def _number(self, key: ChunkKey) -> int | None:
        """Return the number of a chunk's encoding, if it is looked at."""
        if not self._is_chosen.get(key):
            return None
        return self._map.chunks[self._map.place_of_key[key]].number

    @torch.inference_mode()
    def _look(self, part: Part, place: int) -> _Mask:
        tiles, threshold = self._map.tiles, self._settings.mask_threshold
        embedding = part.outcome.mask_embeddings[place : place + 1]
        [embedding] = moved(embedding, tiles.origin - part.origin)

        def look(where: Tensor) -> list[Inside]:
            return list(tiles.mask(embedding, self._bias, where, threshold))

        if part.home is None:
            entered, found = [], look(self._chosen)
        else:
            home = self._map.places[part.home]
            found = look(_only(self._chosen, [home]))
            entered = self._entered(home, found)
            found = sorted(found + look(_only(self._chosen, entered)), key=lambda own: own.tile)
        members = self._map.members(found)
        if self._settings.largest_component:
            members = without_strays(members, self._map.positions, self._link_distance)
        keys = [self._map.keys[tile] for tile in entered]
        others = {key: self._number(key) for key in keys}
        box = box_around(self._map.positions[members[0]])
        return others, self._map.by_chunk(members[0]), members[1], box

    def _entered(self, home: int, found: Sequence[Inside]) -> list[int]:
        """Say into which chunks a mask goes on: it is on those of their points that home knows."""
        points = torch.cat(
            [self._map.tiles.encodings[home].positions[own.places] for own in found]
            or [self._map.tiles.origins[:0]]
        )
        return [i for i in self._map.beside(home) if self._map.chunks[i].holds(points).any()]


def _only(chosen: Tensor, tiles: Sequence[int]) -> Tensor:
    """Leave some of the chosen chunks (K,) bool."""
    some = torch.zeros_like(chosen)
    some[list(tiles)] = True
    return some & chosen
