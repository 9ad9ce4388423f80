"""Encodings side by side, and which of their points a mask can reach.

The logits of a mask fall with the squared distance from its centre (``seeds.py``), and their
learnt part is a product that is at most the product of the two lengths. So for every mask and every
encoding there is an upper bound of the logits, and where it is negative no point has to be looked
at. On a map of many chunks that is almost everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lift_gs_ros.model.mask_decoder import mask_logits
from lift_gs_ros.model.scene import SceneEncoding
from lift_gs_ros.model.seeds import POSITION_CHANNELS

SLACK = 0.1  # logits; the position channels round so far, some tens of metres from the origin
MASKS_AT_ONCE = 64  # few enough for logits of a room to stay in a cache of a CPU


@dataclass(frozen=True)
class Inside:
    """Where masks are, within one tile: n pairs of a mask and a place."""

    tile: int
    masks: Tensor  # (n,) int64
    places: Tensor  # (n,) int64 rows of the tile's tokens or points
    probabilities: Tensor  # (n,)

    def select(self, pairs: Tensor) -> Inside:
        """Keep some pairs (n,) bool."""
        return Inside(self.tile, self.masks[pairs], self.places[pairs], self.probabilities[pairs])


def _parts(embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split mask embeddings (n, d): learnt, centres (n, 3), one over twice squared radii (n, 1)."""
    learnt, place = embeddings.split([embeddings.shape[1] - POSITION_CHANNELS, 5], dim=1)
    falloff = -place[:, 3:4]  # see ``Seeds.nearness``
    return learnt, place[:, :3] / (2 * falloff), falloff


def moved(embeddings: Tensor, offsets: Tensor) -> Tensor:
    """Mask embeddings (n, d) of the same masks for channels of positions minus offsets (n, 3)."""
    learnt, centers, falloff = _parts(embeddings)
    centers = centers - offsets
    square = centers.square().sum(dim=1, keepdim=True)
    return torch.cat([learnt, 2 * falloff * centers, -falloff, -falloff * square], dim=1)


class Tiles:
    """Encodings of one map frame as one scene; nothing large is copied.

    Tokens of all tiles are numbered one tile after the other.
    """

    def __init__(self, encodings: Sequence[SceneEncoding]) -> None:
        if not encodings:
            raise ValueError('got no encodings, expected at least one')
        self.encodings = list(encodings)
        self.positions = torch.cat([e.token_positions for e in encodings])  # (V, 3) metres
        self.counts = [len(e.token_positions) for e in encodings]
        self.starts = [sum(self.counts[:i]) for i in range(len(encodings))]
        sizes = torch.tensor(self.counts, device=self.positions.device)
        self.sizes = sizes  # (K,) tokens of each tile
        self.tile_of_token = torch.arange(len(encodings)).to(sizes).repeat_interleave(sizes)
        self.origins = torch.stack([e.origin for e in encodings])  # (K, 3) metres
        self.origin = self.origins.mean(dim=0)  # (3,) that of the mask embeddings
        lower, upper, length = zip(*(encoding.bounds for encoding in encodings))
        self.lower, self.upper = torch.stack(lower), torch.stack(upper)  # (K, 3) metres
        self.length = torch.stack(length)  # (K,)

    def cosines(self, text_features: Tensor, tile: int) -> Tensor:
        """Compare the tokens of a tile with the words (T, F) of a sentence: (V, T)."""
        return self.encodings[tile].directions @ functional.normalize(text_features, dim=1).T

    def features(self, tokens: Tensor) -> Tensor:
        """Read the features (..., F) of some tokens (...), in any order."""
        rows = tokens.flatten()
        tile_of_row = self.tile_of_token[rows]
        like = self.encodings[0].token_features
        found = like.new_empty(len(rows), like.shape[1])
        for tile in tile_of_row.unique().tolist():
            own = tile_of_row == tile
            found[own] = self.encodings[tile].token_features[rows[own] - self.starts[tile]]
        return found.unflatten(0, tokens.shape)

    def squared_distance(self, places: Tensor) -> Tensor:
        """Squared distances (n, K) of places (n, 3) from the boxes around the tiles' points."""
        below = (self.lower - places[:, None]).clamp(min=0)
        above = (places[:, None] - self.upper).clamp(min=0)
        return (below + above).square().sum(dim=-1)

    def reached(self, embeddings: Tensor, bias: Tensor, logit: float = 0.0) -> Tensor:
        """Say which tiles may hold points with ``logit`` or more: (n, K) bool.

        embeddings: (n, d) of masks; bias: () of their logits. What is not said to be reached holds
        none.
        """
        learnt, centers, falloff = _parts(embeddings)
        distance = self.squared_distance(centers + self.origin)
        most = learnt.norm(dim=1, keepdim=True) * self.length * learnt.shape[1] ** -0.5
        return most + bias - falloff * distance >= logit - SLACK

    def logits(self, embeddings: Tensor, bias: Tensor, tile: int, points: bool) -> Tensor:
        """Mask logits (P, n) of a tile's points, or else of its tokens."""
        own = moved(embeddings, self.origins[tile] - self.origin)  # as the tile counts
        encoding = self.encodings[tile]
        features = encoding.mask_features if points else encoding.token_mask_features
        return mask_logits(features, own, bias)

    def inside(
        self,
        embeddings: Tensor,  # (n, d) of masks
        bias: Tensor,  # ()
        allowed: Tensor,  # (n, K) bool, the tiles that each mask may lie in
        home: Tensor,  # (n,) the tile that each mask began in
        points: bool,  # of points, else of tokens
    ) -> Iterator[Inside]:
        """Find where the masks' probability is above one half, tile by tile.

        A mask that reaches it nowhere is everywhere in the tile that it began in, with its faint
        tail (``mask_weights``). Training knows one tile at a time.
        """
        empty = torch.ones(len(embeddings), dtype=torch.bool, device=embeddings.device)
        reached = self.reached(embeddings, bias) & allowed
        for found in self._search(embeddings, bias, reached, points):
            empty[found.masks] = False
            yield found
        at_home = functional.one_hot(home, len(self.encodings)).bool() & empty[:, None]
        yield from self._search(embeddings, bias, at_home, points, -torch.inf)

    def _search(
        self, embeddings: Tensor, bias: Tensor, where: Tensor, points: bool, above: float = 0.0
    ) -> Iterator[Inside]:
        for tile in where.any(dim=0).nonzero()[:, 0].tolist():
            for masks in where[:, tile].nonzero()[:, 0].split(MASKS_AT_ONCE):
                logits = self.logits(embeddings[masks], bias, tile, points).T
                rows, places = (logits > above).nonzero(as_tuple=True)
                yield Inside(tile, masks[rows], places, logits[rows, places].sigmoid())

    def mask(
        self, embedding: Tensor, bias: Tensor, allowed: Tensor, threshold: float
    ) -> Iterator[Inside]:
        """Find the points where one mask (d,) has at least this probability.

        allowed: (K,) bool, the tiles that it may lie in.
        """
        # Rounded down: what is just at the threshold is found, and judged by its probability.
        logit = torch.tensor(threshold, dtype=torch.float64).logit().clamp(max=10).item() - 1e-4
        where = allowed & self.reached(embedding[None], bias, logit)
        for inside in self._search(embedding[None], bias, where, True, logit):
            yield inside.select(inside.probabilities >= threshold)

    def near(self, centers: Tensor, allowed: Tensor, radius: float) -> Iterator[Inside]:
        """Find the tokens within ``radius`` metres of centres (n, 3)."""
        where = allowed & (self.squared_distance(centers) < radius**2)
        for tile in where.any(dim=0).nonzero()[:, 0].tolist():
            masks = where[:, tile].nonzero()[:, 0]
            # From the tile's own origin: cdist squares and subtracts.
            origin, places = self.origins[tile], self.encodings[tile].token_positions
            distance = torch.cdist(centers[masks] - origin, places - origin)
            rows, places = (distance < radius).nonzero(as_tuple=True)
            yield Inside(tile, masks[rows], places, torch.ones_like(distance[rows, places]))

    def gather(self, name: str, layer: int, tokens: Tensor) -> Tensor:
        """Read the ``keys`` or ``values`` (n, H) of a layer for ascending tokens (n,)."""
        ends = torch.tensor(self.starts[1:], device=tokens.device)
        counts = torch.searchsorted(tokens, ends).diff(
            prepend=tokens.new_zeros(1), append=tokens.new_tensor([len(tokens)])
        )
        parts = [
            getattr(encoding, name)[layer, own - start]
            for encoding, start, own in zip(
                self.encodings, self.starts, tokens.split(counts.tolist())
            )
            if len(own)
        ]
        return torch.cat(parts)
