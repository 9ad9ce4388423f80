"""The proposals of a sentence on a map, put together from the parts of the map."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lift_gs_ros.grounding.encoded_map import EncodedMap
from lift_gs_ros.grounding.proposals import Members, without_strays
from lift_gs_ros.grounding.settings import GrounderSettings
from lift_gs_ros.model.lift_gs import LiftGS, span_log_prob
from lift_gs_ros.model.local_decoder import Outcome
from lift_gs_ros.model.tiles import moved
from lift_gs_ros.model.tokens import LanguageTokens

LINK_VOXELS = 2.5  # points of one thing are at most so many voxels apart


@dataclass
class Part:
    """What the proposals that begin in a chunk, or in the whole map, came to."""

    outcome: Outcome  # mask embeddings for positions relative to ``origin``
    origin: Tensor  # (3,) metres
    terms: Hashable
    rests_on: frozenset[int]  # numbers of the encodings that it depends on
    # Of the masks that were looked at: rows of the encodings' core points, and probabilities.
    points: dict[int, tuple[dict[int, NDArray[np.int64]], NDArray[np.float32]]] = field(
        default_factory=dict
    )


class Finds:
    """All proposals of a sentence on the map as it is now."""

    def __init__(
        self,
        tokens: LanguageTokens,
        parts: Sequence[Part],
        encoded_map: EncodedMap,
        settings: GrounderSettings,
        model: LiftGS,
    ) -> None:
        self.tokens = tokens
        self.features = torch.cat([part.outcome.features for part in parts])  # (m, F)
        self._correspondence = torch.cat([part.outcome.correspondence for part in parts])
        self._places = [(part, i) for part in parts for i in range(len(part.outcome.features))]
        self._map, self._settings, self._bias = encoded_map, settings, model.mask_bias.detach()
        self._link_distance = LINK_VOXELS * model.config.voxel_size

    def span_probability(self, tokens: ArrayLike | Tensor) -> Tensor:
        """Probability (m,) that each proposal answers to any of the given tokens (indices)."""
        return span_log_prob(self._correspondence, tokens).exp()

    def of(self, proposal: int) -> Members:
        """Return the map points in a proposal's mask, without what does not hang together."""
        part, number = self._places[proposal]
        if number not in part.points:
            rows, scores = self._look(part, number)
            part.points[number] = self._map.by_chunk(rows), scores
        rows, scores = part.points[number]
        return self._map.together(rows), scores

    @torch.inference_mode()
    def _look(self, part: Part, number: int) -> Members:
        tiles = self._map.tiles
        embedding = part.outcome.mask_embeddings[number : number + 1]
        [embedding] = moved(embedding, tiles.origin - part.origin)
        where = self._map.among(part.rests_on)
        threshold = self._settings.mask_threshold
        members = self._map.members(tiles.mask(embedding, self._bias, where, threshold))
        if not self._settings.largest_component:
            return members
        return without_strays(members, self._map.positions, self._link_distance)
