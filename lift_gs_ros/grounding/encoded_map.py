"""Encoded chunks as queries see them: one scene, and which of its points belong to the map."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lift_gs_ros.grounding.proposals import Members
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.model.local_decoder import Reading
from lift_gs_ros.model.scene import SceneEncoding
from lift_gs_ros.model.tiles import Inside, Tiles

SURROUNDINGS = 8.0  # metres; about a room and what is next to it


@dataclass(frozen=True)
class EncodedChunk:
    """A chunk with its halo, encoded."""

    encoding: SceneEncoding
    num_core: int  # the first points, which this chunk owns; the others are its halo
    number: int  # counts encodings: another one is another state of the chunk


class EncodedMap:
    """All encoded chunks as queries see them; made again when one of them is encoded again."""

    def __init__(self, chunks: Mapping[ChunkKey, EncodedChunk]) -> None:
        self.keys = sorted(chunks)
        self.chunks = [chunks[key] for key in self.keys]
        self.tiles = Tiles([chunk.encoding for chunk in self.chunks])
        self._num_core = [chunk.num_core for chunk in self.chunks]
        self._starts = np.cumsum([0, *self._num_core])
        core = [chunk.encoding.positions[: chunk.num_core].cpu() for chunk in self.chunks]
        self.positions = torch.cat(core).numpy()  # (P, 3) of core points only
        self._sums = np.stack([own.double().sum(dim=0).numpy() for own in core])  # (K, 3)

    def members(self, found: Iterable[Inside]) -> Members:
        """Return the core points in a mask: rows of ``positions``, ascending, and probabilities."""
        indices, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for inside in found:
            own = inside.select(inside.places < self._num_core[inside.tile])
            indices.append(own.places.cpu().numpy() + self._starts[inside.tile])
            scores.append(own.probabilities.float().cpu().numpy())
        return np.concatenate(indices), np.concatenate(scores)

    def middle_around(self, place: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the mean point (3,) of the chunks around a place (3,): of its room, or nearly."""
        counts = np.array(self._num_core)
        means = self._sums / np.maximum(counts, 1)[:, None]
        distance = np.where(counts > 0, np.linalg.norm(means - place, axis=1), np.inf)
        near = distance <= max(SURROUNDINGS, distance.min())
        return self._sums[near].sum(axis=0) / max(counts[near].sum(), 1)

    def basis(self, reading: Reading, settings: Hashable) -> Hashable:
        """Return what an answer rests on: two that are equal give the same answer."""
        chosen = reading.allowed.nonzero()[:, 0].tolist()
        return settings, tuple((self.keys[i], self.chunks[i].number) for i in chosen)
