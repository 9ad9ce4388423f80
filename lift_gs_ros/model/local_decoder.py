"""Many sentences decoded together on many encodings, each proposal looking where its mask can be.

The same network as ``MaskDecoder.forward``, which training runs, and the same answers up to
rounding, but that an empty mask reads one encoding, as in training, and not all of them. That one
compares every proposal with every point of the scene; here a proposal costs in a large map what it
costs in a room, and all sentences share the products with weights and masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from lift_gs_ros.model.mask_decoder import DecoderLayer, MaskDecoder
from lift_gs_ros.model.proposal_geometry import ProposalGeometry, fourier_features
from lift_gs_ros.model.questions import Question, Reading
from lift_gs_ros.model.seeds import REACH
from lift_gs_ros.model.tiles import Inside, Tiles

WIDE = 1024  # tokens; proposals that read more (empty masks: all) are computed by themselves
ROWS_AT_ONCE = 32  # other proposals, near each other: the fewer, the fewer tokens they read


@dataclass(frozen=True)
class Outcome:
    """What m proposals of a question came to."""

    mask_embeddings: Tensor  # (m, d)
    correspondence: Tensor  # (m, T + 1) log-probabilities; the last column is "no object"
    features: Tensor  # (m, F) mean of the points under each mask


@dataclass(frozen=True)
class Sentences:
    """B sentences as the decoder reads them, padded to T tokens."""

    language: Tensor  # (B, T + 1, H) hidden states, the last one is that of "no word"
    features: Tensor  # (B, T, F) the tokens in the space of the features
    padded: Tensor  # (B, T) bool, True where there is no token
    lengths: tuple[int, ...]  # tokens of each

    @classmethod
    def of(cls, decoder: MaskDecoder, readings: Sequence[Reading]) -> Sentences:
        """Pad what was read."""
        lengths = tuple(len(reading.embeddings) for reading in readings)
        embeddings = [reading.embeddings for reading in readings]
        words = decoder.language_in(pad_sequence(embeddings, batch_first=True))
        places = torch.arange(words.shape[1], device=words.device)
        return cls(
            torch.cat([words, decoder.no_word.expand(len(words), 1, -1)], dim=1),
            pad_sequence([reading.features for reading in readings], batch_first=True),
            places >= torch.tensor(lengths, device=words.device)[:, None],
            lengths,
        )

    @property
    def readable(self) -> Tensor:
        """What attention may read: (B, 1, 1, T + 1) bool."""
        return functional.pad(~self.padded, (0, 1), value=True)[:, None, None]


@torch.inference_mode()
def decode_locally(
    decoder: MaskDecoder,
    tiles: Tiles,
    questions: Sequence[Question],
    mask_bias: Tensor,  # ()
) -> list[Outcome]:
    """Answer B questions, all of them with as many proposals."""
    sentences = Sentences.of(decoder, [question.reading for question in questions])
    pass_ = _Pass(decoder, tiles, questions)
    proposals, attended = pass_.first_proposals(), pass_.around_seeds()
    geometry = None
    layers: Any = decoder.layers
    for i, layer in enumerate(layers):
        proposals = proposals + pass_.read(i, layer, proposals, attended)
        proposals = layer.refine(proposals, sentences.language, geometry, sentences.readable)
        rows = decoder.norm(proposals)
        masks = pass_.masks(rows)
        is_last = i == len(layers) - 1
        inside = tiles.inside(masks, mask_bias, pass_.allowed, pass_.home, points=is_last)
        if not is_last:
            attended = list(inside)
            geometry = pass_.measure(attended)
    pooled = pass_.pool(inside)
    correspondence = decoder.correspondence(
        rows, sentences.language[:, :-1], pooled, sentences.features, sentences.padded
    )
    return [
        Outcome(own_masks, torch.cat([own[:, :length], own[:, -1:]], dim=1), features)
        for own_masks, own, length, features in zip(
            masks.unflatten(0, rows.shape[:2]), correspondence, sentences.lengths, pooled
        )
    ]


class _Pass:
    """What one decoding knows of its scene; proposals are (B, m, H), their masks (B m, d)."""

    def __init__(self, decoder: MaskDecoder, tiles: Tiles, questions: Sequence[Question]) -> None:
        self._decoder, self._tiles = decoder, tiles
        self._count = len(questions[0].places)
        self._origins = torch.stack([question.origin for question in questions])  # (B, 3)
        self._learnt = torch.stack([question.learnt for question in questions])
        self._places = torch.stack([question.places for question in questions])
        allowed = torch.stack([question.allowed for question in questions])
        self.allowed = allowed.repeat_interleave(self._count, dim=0)
        self._seeds = tiles.positions[self._places].flatten(0, 1)
        self.home = tiles.tile_of_token[self._places].flatten()

    def first_proposals(self) -> Tensor:
        """Return the learnt proposals with the content of their seeds."""
        return self._learnt + self._decoder.seeds.content(self._tiles.features(self._places))

    def around_seeds(self) -> list[Inside]:
        """Return what the first layer reads."""
        return list(self._tiles.near(self._seeds, self.allowed, REACH))

    def masks(self, rows: Tensor) -> Tensor:
        """Return the mask embeddings of normalised proposals."""
        rows = rows.flatten(0, 1)
        nearness = self._decoder.seeds.nearness(rows, self._seeds - self._tiles.origin)
        return torch.cat([self._decoder.mask_embedding(rows), nearness], dim=1)

    def read(
        self, layer_index: int, layer: DecoderLayer, proposals: Tensor, attended: list[Inside]
    ) -> Tensor:
        """Let every sentence's proposals read the scene's tokens inside their masks."""
        rows = torch.cat([inside.masks for inside in attended])
        tokens = torch.cat([self._tiles.starts[inside.tile] + inside.places for inside in attended])
        proposals, read = proposals.flatten(0, 1), torch.empty_like(proposals).flatten(0, 1)
        origin_of_row = self._origins.repeat_interleave(self._count, dim=0)
        for origin in self._origins.unique(dim=0):
            same = (origin_of_row == origin).all(dim=1)
            readers, number = same.nonzero()[:, 0], same.cumsum(dim=0) - 1
            used, columns = tokens[same[rows]].unique(return_inverse=True)
            inside = same.new_zeros(len(readers), len(used))
            inside[number[rows[same[rows]]], columns] = True
            keys, values = layer.placed(
                self._tiles.gather('keys', layer_index, used),
                self._tiles.gather('values', layer_index, used),
                fourier_features(
                    self._tiles.positions[used] - origin, self._decoder.config.position_bands
                ),
            )
            for group in self._groups(readers, inside):
                seen = inside[group].any(dim=0).nonzero()[:, 0]
                read[readers[group]] = layer.read_scene(
                    proposals[readers[group]], keys[seen], values[seen], inside[group][:, seen]
                )
        return read.unflatten(0, (-1, self._count))

    def _groups(self, rows: Tensor, inside: Tensor) -> list[Tensor]:
        """Group proposals (n,), of which each reads some tokens (n, V) bool: numbers in ``rows``.

        Tokens are in the order of their places, so that neighbours read much the same.
        """
        wide = inside.sum(dim=1) > WIDE
        by_place = self._places.flatten()[rows].argsort()
        parts = by_place[~wide[by_place]], wide.nonzero()[:, 0]
        return [group for part in parts for group in part.split(ROWS_AT_ONCE) if len(group)]

    def measure(self, attended: Iterable[Inside]) -> ProposalGeometry:
        """Measure where the masks are; a token counts as many times as it has points."""
        total = self._seeds.new_zeros(len(self._seeds), 7)
        for inside in attended:
            encoding = self._tiles.encodings[inside.tile]
            mean = self._origins[inside.masks // self._count]
            positions = encoding.token_positions[inside.places] - mean
            moments = torch.cat(
                [torch.ones_like(positions[:, :1]), positions, positions.square()], dim=1
            )
            weights = inside.probabilities * encoding.token_counts[inside.places]
            total.index_add_(0, inside.masks, weights[:, None] * moments)
        means = (total[:, 1:] / total[:, :1].clamp(min=1e-6)).unflatten(0, (-1, self._count))
        return ProposalGeometry.from_moments(means[..., :3], means[..., 3:])

    def pool(self, found: Iterable[Inside]) -> Tensor:
        """Return the mean features of the points under each mask: (B, m, F)."""
        pooled = self._seeds.new_zeros(len(self._seeds), self._decoder.config.feature_dim)
        total = pooled[:, :1].clone()
        for inside in found:
            features = self._tiles.encodings[inside.tile].features
            masks, counts = inside.masks.unique_consecutive(return_counts=True)
            # The weighted sum over each mask's points: other ways take several times as long.
            sums = functional.embedding_bag(
                inside.places,
                features,
                counts.cumsum(dim=0) - counts,
                mode='sum',
                per_sample_weights=inside.probabilities,
            )
            pooled.index_add_(0, masks, sums)
            total.index_add_(0, inside.masks, inside.probabilities[:, None])
        return (pooled / total.clamp(min=1e-6)).unflatten(0, (-1, self._count))
