"""Encoded chunks as queries see them: one scene, and which of its points belong to the map."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lift_gs_ros.grounding.proposals import Members
from lift_gs_ros.mapping.chunks import ChunkKey, neighbours
from lift_gs_ros.model.scene import SceneEncoding
from lift_gs_ros.model.tiles import Inside, Tiles

SURROUNDINGS = 8.0  # metres; about a room and what is next to it


@dataclass(frozen=True)
class EncodedChunk:
    """A chunk with its halo, encoded."""

    encoding: SceneEncoding
    num_core: int  # the first points, which this chunk owns; the others are its halo
    number: int  # counts encodings: another one is another state of the chunk
    fingerprint: str = ''  # of what was encoded (``encoding_file.py``)

    @cached_property
    def core(self) -> NDArray[np.float32]:
        """Positions (n, 3) of the chunk's own points, metres."""
        return self.encoding.positions[: self.num_core].cpu().numpy()

    @cached_property
    def core_sum(self) -> NDArray[np.float64]:
        """Sum (3,) of these positions."""
        return self.core.sum(axis=0, dtype=np.float64)

    @cached_property
    def owned(self) -> Tensor:
        """Which tokens (V,) bool lie among the chunk's own points, not in its halo."""
        return self.holds(self.encoding.token_positions)

    def holds(self, positions: Tensor) -> Tensor:
        """Say which positions (n, 3) lie in the box around the chunk's own points: (n,) bool."""
        if not self.num_core:
            return torch.zeros(len(positions), dtype=torch.bool, device=positions.device)
        lower, upper = self._core_box
        return ((positions >= lower) & (positions <= upper)).all(dim=1)

    @cached_property
    def _core_box(self) -> tuple[Tensor, Tensor]:
        core = self.encoding.positions[: self.num_core]
        return core.amin(dim=0), core.amax(dim=0)


class CorePoints:
    """The chunks' own points one after the other, (P, 3) metres, copied when they are read."""

    def __init__(self, chunks: Sequence[EncodedChunk], starts: NDArray[np.int64]) -> None:
        self._chunks, self._starts = chunks, starts

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read ascending rows (n,)."""
        ends = np.searchsorted(rows, self._starts)
        found = [
            chunk.core[rows[begin:end] - start]
            for chunk, start, begin, end in zip(self._chunks, self._starts, ends, ends[1:])
            if end > begin
        ]
        return np.concatenate(found) if found else np.zeros((0, 3), np.float32)


class EncodedMap:
    """All encoded chunks as queries see them; made again when one of them is encoded again."""

    def __init__(self, chunks: Mapping[ChunkKey, EncodedChunk]) -> None:
        self.keys = sorted(chunks)
        self.chunks = [chunks[key] for key in self.keys]
        self.tiles = Tiles([chunk.encoding for chunk in self.chunks])
        self.owned = torch.cat([chunk.owned for chunk in self.chunks])  # (V,) tokens
        self._num_core = [chunk.num_core for chunk in self.chunks]
        self._starts = np.cumsum([0, *self._num_core])
        self.positions = CorePoints(self.chunks, self._starts)
        self._sums = np.stack([chunk.core_sum for chunk in self.chunks])  # (K, 3)
        self._means = self._sums / np.maximum(self._num_core, 1)[:, None]
        self.places = {chunk.number: i for i, chunk in enumerate(self.chunks)}
        self.place_of_key = {key: i for i, key in enumerate(self.keys)}

    def beside(self, place: int) -> list[int]:
        """Return which chunks share a face, an edge or a corner with one."""
        near = neighbours(self.keys[place])
        return [self.place_of_key[key] for key in near if key in self.place_of_key]

    def by_chunk(self, rows: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
        """Turn ascending rows of ``positions`` into those of each encoding's core points."""
        ends = np.searchsorted(rows, self._starts)
        return {
            chunk.number: rows[ends[i] : ends[i + 1]] - self._starts[i]
            for i, chunk in enumerate(self.chunks)
            if ends[i + 1] > ends[i]
        }

    def together(self, rows: Mapping[int, NDArray[np.int64]]) -> NDArray[np.int64]:
        """Turn rows of encodings' core points, in the order of the chunks, back into our own."""
        found = [own + self._starts[self.places[number]] for number, own in rows.items()]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def members(self, found: Iterable[Inside]) -> Members:
        """Return the core points in a mask: rows of ``positions``, ascending, and probabilities."""
        indices, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for inside in found:
            own = inside.select(inside.places < self._num_core[inside.tile])
            indices.append(own.places.cpu().numpy() + self._starts[inside.tile])
            scores.append(own.probabilities.float().cpu().numpy())
        return np.concatenate(indices), np.concatenate(scores)

    def nearest(self, place: NDArray[np.floating], number: int) -> list[int]:
        """Return the chunks whose points' mean is nearest to a place (3,), ``number`` at most."""
        return np.argsort(np.linalg.norm(self._means - place, axis=1))[:number].tolist()

    def middle_around(self, place: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the mean point (3,) of the chunks around a place (3,): of its room, or nearly."""
        counts = np.array(self._num_core)
        distance = np.where(counts > 0, np.linalg.norm(self._means - place, axis=1), np.inf)
        near = distance <= max(SURROUNDINGS, distance.min())
        return self._sums[near].sum(axis=0) / max(counts[near].sum(), 1)

    def basis(self, chosen: Tensor, settings: Hashable) -> Hashable:
        """Return what an answer on some chunks (K,) bool rests on: on the same it is the same."""
        places = chosen.nonzero()[:, 0].tolist()
        return settings, tuple((self.keys[i], self.chunks[i].number) for i in places)
