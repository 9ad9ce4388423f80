"""Where in a map the proposals of a sentence begin, and what they may look at.

A room is asked as a whole, as in training. A map of several rooms is asked part by part: the best
places of the whole map are chosen, and each tile is decoded with those that lie in it, as training
decodes a crop. What is found then depends on that tile alone, with the context that was encoded
with it, and holds until it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lift_gs_ros.model.mask_decoder import MaskDecoder
from lift_gs_ros.model.seeds import SPACING, choose_seeds, resemblance
from lift_gs_ros.model.tiles import Tiles
from lift_gs_ros.model.tokens import LanguageTokens

# The proposals of a part come in such steps: it is not asked anew only because the best places of
# the map are shared out a little differently.
STEP = 32


@dataclass(frozen=True)
class Reading:
    """A sentence as the network reads it."""

    tokens: LanguageTokens
    embeddings: Tensor  # (T, D) of the language encoder
    features: Tensor  # (T, F) the tokens in the space of the features


@dataclass(frozen=True)
class Question:
    """A sentence, and the proposals with which it is asked on some of many tiles."""

    reading: Reading
    allowed: Tensor  # (K,) bool, the tiles that are looked at, at least one
    places: Tensor  # (m,) tokens of them, where the proposals begin
    learnt: Tensor  # (m, H) what they begin with beside the content of their places
    origin: Tensor  # (3,) metres, what positions are relative to


@dataclass(frozen=True)
class Glance:
    """What of a tile is most like a sentence."""

    places: Tensor  # (n,) rows of the tile's tokens, most similar first, ``SPACING`` apart
    similarity: Tensor  # (n,) of these


def ask_whole(
    decoder: MaskDecoder, tiles: Tiles, readings: Sequence[Reading], allowed: Tensor
) -> list[Question]:
    """Ask sentences on all the tiles (K,) bool that are allowed, together."""
    tokens = allowed[tiles.tile_of_token].nonzero()[:, 0]
    positions, learnt = tiles.positions[tokens], decoder.proposals_for(len(tokens))
    chosen_tiles = allowed.nonzero()[:, 0].tolist()
    similarity = torch.stack(
        [
            torch.cat([resemblance(tiles.cosines(own.features, tile)) for tile in chosen_tiles])
            for own in readings
        ]
    )
    places = positions.expand(len(similarity), -1, -1)
    chosen = tokens[choose_seeds(similarity, places, len(learnt))]
    origin = positions.mean(dim=0)
    return [Question(r, allowed, places, learnt, origin) for r, places in zip(readings, chosen)]


def ask_part(
    decoder: MaskDecoder, tiles: Tiles, reading: Reading, tile: int, places: Tensor
) -> Question:
    """Ask a sentence on one tile alone, from some of its places (n,) on, best first."""
    allowed = torch.zeros_like(tiles.sizes, dtype=torch.bool)
    allowed[tile] = True
    own = slice(tiles.starts[tile], tiles.starts[tile] + tiles.counts[tile])
    origin = tiles.positions[own].mean(dim=0)
    learnt = decoder.proposals[: len(places)]
    return Question(reading, allowed, tiles.starts[tile] + places, learnt, origin)


def best_cosine(tiles: Tiles, reading: Reading, tile: int) -> float:
    """Return the greatest cosine of one of a tile's tokens with a word of a sentence."""
    cosines = tiles.cosines(reading.features, tile)
    return float(cosines.amax()) if cosines.numel() else 0.0


def glances(
    decoder: MaskDecoder,
    tiles: Tiles,
    asked: Sequence[tuple[Reading, int]],  # sentences, each with the tile to look at
    owned: Tensor,  # (V,) bool, tokens that are no other tile's: where proposals may begin
) -> list[Glance]:
    """Look where tiles are like sentences."""
    if not asked:
        return []
    similarities, positions = [], []
    for reading, tile in asked:
        own = slice(tiles.starts[tile], tiles.starts[tile] + tiles.counts[tile])
        likeness = resemblance(tiles.cosines(reading.features, tile))
        similarities.append(likeness.masked_fill(~owned[own], -torch.inf))
        positions.append(tiles.positions[own])
    similarity = pad_sequence(similarities, batch_first=True, padding_value=-torch.inf)
    where = pad_sequence(positions, batch_first=True)
    places = choose_seeds(similarity, where, len(decoder.proposals))
    chosen, seeds = similarity.gather(1, places), where.take_along_dim(places[..., None], dim=1)
    # Where places run out, they are chosen again.
    close = (seeds[:, :, None] - seeds[:, None]).square().sum(dim=-1) < SPACING**2
    is_new = chosen.isfinite() & ~close.tril(diagonal=-1).any(dim=2)
    return [Glance(own[new], like[new]) for own, like, new in zip(places, chosen, is_new)]


def share_out(seen: Mapping[int, Glance], most: int) -> dict[int, Tensor]:
    """Give the best ``most`` places of several tiles, and a few more: some (n,) of each tile's.

    A tile with none of the best quarter of these is not asked.
    """
    similarity = torch.cat([own.similarity for own in seen.values()])
    if not len(similarity):
        return {}
    ranked = similarity.topk(min(most, len(similarity))).values
    good, least = ranked[(len(ranked) - 1) // 4], ranked[-1]
    counts = {
        tile: int((own.similarity >= least).sum())
        for tile, own in seen.items()
        if (own.similarity >= good).any()
    }
    return {tile: seen[tile].places[: STEP * -(-count // STEP)] for tile, count in counts.items()}
