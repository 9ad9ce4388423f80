"""Which candidate a sentence means, if any: "the chair closest to the door", "the mug on the desk".

The decoder says what each noun phrase could be; telling candidates of one phrase apart takes
comparisons between boxes, which it learns very slowly (docs/design.md). Here a sentence's words
and the boxes of its phrases go in, and a probability for each candidate of the target comes out,
and one for none of them.
Comparing, ranking and measuring is done by ``relation_features``; what the words mean is learnt,
from sentences about the boxes of simulated rooms (``training.relations``). The idea of relations
between grounded boxes is that of ViL3DRel (Chen et al. 2022) and ZSVG3D (Yuan et al. 2024).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from lift_gs_ros.geometry import Box
from lift_gs_ros.model.checkpoint import read_header, write_tensors
from lift_gs_ros.model.tokens import LanguageTokens

Span = tuple[int, int]
Array = NDArray[np.float32]

FORMAT = 'lift_gs_ros/relations/3'  # 2: always one of the candidates
DEFAULT_WEIGHTS = Path(__file__).parent.parent / 'weights' / 'relations.safetensors'
MAX_ANCHORS = 2
RANKS = 4  # first, second, third, fourth; and last


@dataclass(frozen=True)
class Reference:
    """How a sentence singles out its target."""

    words: Array  # (T, D) all tokens
    target: Array  # (D,) mean of the target phrase's tokens
    links: Array  # (MAX_ANCHORS, D) mean of the words that lead to each anchor; zeros: no such one

    @classmethod
    def read(cls, tokens: LanguageTokens, target: Span, anchors: Sequence[Span]) -> Reference:
        """Take a sentence apart at its noun phrases (characters of ``tokens.text``)."""
        links = np.zeros((MAX_ANCHORS, tokens.embeddings.shape[1]), np.float32)
        for row, (begin, _) in enumerate(anchors[:MAX_ANCHORS]):
            before = max((end for _, end in (target, *anchors) if end <= begin), default=0)
            links[row] = _mean_between(tokens, before, begin)
        return cls(tokens.embeddings, _mean_between(tokens, *target), links)


def _mean_between(tokens: LanguageTokens, begin: int, end: int) -> Array:
    inside = (tokens.spans[:, 0] < end) & (tokens.spans[:, 1] > begin)
    count = max(int(inside.sum()), 1)
    return (tokens.embeddings[inside].sum(axis=0) / count).astype(np.float32)


def relation_features(
    candidates: Sequence[Box],
    likelihood: NDArray[np.floating],  # (n,) of each, relative to the likeliest, in (0, 1]
    anchors: Sequence[Box],  # of the other phrases, in the sentence's order; two at most count
    middle: NDArray[np.floating],  # (3,) of the scene: things face it rather than a wall
) -> Array:
    """Measure and rank candidates (n, C): sizes, ways to the anchors, sides of the anchors.

    Nothing depends on the heading of the map's axes but the extents of the boxes.
    """
    own, others = (as_array(boxes)[None] for boxes in (candidates, anchors))
    return many_relation_features(own, np.asarray(likelihood)[None], others, middle[None])[0]


def as_array(boxes: Sequence[Box]) -> NDArray[np.floating]:
    """Return centres and sizes of boxes: (n, 2, 3)."""
    return np.array([(box.center, box.size) for box in boxes]).reshape(-1, 2, 3)


def many_relation_features(
    candidates: NDArray[np.floating],  # (B, n, 2, 3) of ``as_array``
    likelihood: NDArray[np.floating],  # (B, n), 0 where there is no such candidate
    anchors: NDArray[np.floating],  # (B, a, 2, 3)
    middles: NDArray[np.floating],  # (B, 3)
) -> Array:
    """Do what ``relation_features`` does for many cases at once: (B, n, C)."""
    centers, sizes = candidates[..., 0, :], np.maximum(candidates[..., 1, :], 0.01)
    is_there = likelihood > 0
    count = np.minimum(is_there.sum(axis=1), 8) / 8
    parts = [
        np.log(np.sort(sizes[..., :2], axis=-1)),
        np.log(sizes[..., 2:]),
        np.log(np.where(is_there, likelihood, 1))[..., None],
        np.broadcast_to(count[:, None, None], (*likelihood.shape, 1)),
        _ranks(-sizes[..., 2], likelihood),
        _ranks(-sizes.prod(axis=-1), likelihood),
        _ranks(-centers[..., 2], likelihood),
    ]
    ways = [anchors[:, i, None] for i in range(min(anchors.shape[1], MAX_ANCHORS))]
    parts += [_to_anchor(centers, sizes, likelihood, way, middles[:, None]) for way in ways]
    parts += [np.zeros((*likelihood.shape, _ANCHOR_CHANNELS))] * (MAX_ANCHORS - len(ways))
    pairs = [(ways[0], ways[1]), (ways[1], ways[0])] if len(ways) == 2 else []
    parts += [_seen_from(centers, likelihood, viewer, anchor) for viewer, anchor in pairs]
    parts += [np.zeros((*likelihood.shape, _VIEW_CHANNELS))] * (2 - len(pairs))
    return np.concatenate(parts, axis=-1).astype(np.float32)


def _ranks(values: NDArray[np.floating], likelihood: NDArray[np.floating]) -> NDArray[np.floating]:
    """Turn the order of values (B, n), lowest first, into channels (B, n, RANKS + 2); ties share.

    A candidate counts as much as it is likely: one that hardly is what the noun says hardly makes
    the next one the second.
    """
    here, there = values[..., :, None], values[..., None, :]
    place = ((here > there) @ likelihood[..., None])[..., 0]
    behind = ((here < there) @ likelihood[..., None])[..., 0]
    columns = [np.maximum(1 - np.abs(place - rank), 0) for rank in range(RANKS)]
    columns += [np.maximum(1 - behind, 0), np.exp(-place)]
    return np.stack(columns, axis=-1).astype(float)


_ANCHOR_CHANNELS = 11 + RANKS + 2
_VIEW_CHANNELS = 6 + RANKS + 2


def _to_anchor(
    centers: NDArray[np.floating],  # (B, n, 3)
    sizes: NDArray[np.floating],
    likelihood: NDArray[np.floating],  # (B, n)
    anchor: NDArray[np.floating],  # (B, 1, 2, 3)
    middle: NDArray[np.floating],  # (B, 1, 3)
) -> NDArray[np.floating]:
    """How far from an anchor, above or below it, and on which side of it."""
    place, size = anchor[..., 0, :], anchor[..., 1, :]
    lower, upper = place - size / 2, place + size / 2
    offset = centers - place
    way = np.linalg.norm(offset[..., :2], axis=-1)
    apart = np.maximum(np.abs(offset) - (sizes + size) / 2, 0)
    gap = np.linalg.norm(apart[..., :2], axis=-1)
    inward = (middle - place)[..., :2]
    columns = [
        np.ones_like(way),
        way,
        np.linalg.norm(offset, axis=-1),
        gap,
        np.log(way + 0.05),
        np.log(gap + 0.05),
        offset[..., 2],
        centers[..., 2] - sizes[..., 2] / 2 - upper[..., 2],  # stands on it: 0
        centers[..., 2] + sizes[..., 2] / 2 - lower[..., 2],
        upper[..., 2] - centers[..., 2] - sizes[..., 2] / 2,  # lower than its top: positive
        # In front of it.
        (offset[..., :2] * inward).sum(axis=-1) / (np.linalg.norm(inward, axis=-1) + 0.1),
    ]
    ranks = _ranks(gap + 0.1 * way, likelihood)
    return np.concatenate([np.stack(columns, axis=-1), ranks], axis=-1)


def _seen_from(
    centers: NDArray[np.floating],  # (B, n, 3)
    likelihood: NDArray[np.floating],  # (B, n)
    viewer: NDArray[np.floating],  # (B, 1, 2, 3)
    anchor: NDArray[np.floating],
) -> NDArray[np.floating]:
    """Left or right of an anchor as seen from a viewer; between the two."""
    sight = (anchor - viewer)[..., 0, :2]
    length = np.linalg.norm(sight, axis=-1) + 1e-3
    offset, away = ((centers - box[..., 0, :])[..., :2] for box in (anchor, viewer))
    lateral = (sight[..., 0] * offset[..., 1] - sight[..., 1] * offset[..., 0]) / length
    ahead = (away * sight).sum(axis=-1)
    along = ahead / length**2
    turn = np.arctan2(sight[..., 0] * away[..., 1] - sight[..., 1] * away[..., 0], ahead)
    columns = [
        lateral,
        turn,
        along,
        (along > 0) & (along < 1),
        np.abs(lateral) / length,
        np.log(np.abs(lateral) + 0.05),
    ]
    return np.concatenate([np.stack(columns, axis=-1), _ranks(-lateral, likelihood)], axis=-1)


FEATURES = 5 + 3 * (RANKS + 2) + MAX_ANCHORS * _ANCHOR_CHANNELS + 2 * _VIEW_CHANNELS


class RelationHead(nn.Module):
    """Scores candidates: their features, modulated by what the words say (FiLM), all compared."""

    def __init__(self, language_dim: int, hidden: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.language_dim = language_dim
        self.attention = nn.Linear(language_dim, heads)
        self.value = nn.Linear(language_dim, 64)
        self.link = nn.Linear(language_dim, 32)
        self.target = nn.Linear(language_dim, 32)
        code = heads * 64 + MAX_ANCHORS * 32 + 32
        self.scale, self.shift = nn.Linear(code, hidden), nn.Linear(code, hidden)
        self.dropout = nn.Dropout(0.1)
        self.features = nn.Linear(FEATURES, hidden)
        self.hidden = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.score = nn.Sequential(nn.Linear(2 * hidden, 64), nn.ReLU(), nn.Linear(64, 1))
        self.none = nn.Sequential(nn.Linear(hidden, 64), nn.ReLU(), nn.Linear(64, 1))
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer('mean', torch.zeros(FEATURES))
        self.register_buffer('deviation', torch.ones(FEATURES))

    def forward(
        self,
        features: Tensor,  # (B, n, FEATURES)
        is_candidate: Tensor,  # (B, n) bool; others are padding
        words: Tensor,  # (B, T, D), or (1, T, D) for all, as what follows
        is_word: Tensor,  # (B, T) bool; others are padding
        target: Tensor,  # (B, D)
        links: Tensor,  # (B, MAX_ANCHORS, D)
    ) -> Tensor:
        """Return log-probabilities (B, n + 1) that a candidate is meant; the last one: none is."""
        weights = self.attention(words).masked_fill(~is_word[..., None], -1e4).softmax(dim=1)
        read = torch.einsum('bth,btc->bhc', weights, self.value(words)).flatten(1)
        code = torch.cat([read, self.link(links).flatten(1), self.target(target)], dim=1)
        code = self.dropout(code)
        rows = self.features((features - self.mean) / self.deviation)
        rows = rows * (1 + self.scale(code))[:, None] + self.shift(code)[:, None]
        rows = self.hidden(rows)
        others = rows.masked_fill(~is_candidate[..., None], -1e4).amax(dim=1, keepdim=True)
        scores = self.score(torch.cat([rows, others.expand_as(rows)], dim=2))[..., 0]
        scores = scores.masked_fill(~is_candidate, -1e4)
        return torch.cat([scores, self.none(others[:, 0])], dim=1).log_softmax(dim=1)

    @torch.inference_mode()
    def probabilities(
        self, features: Array, is_candidate: NDArray[np.bool_], reference: Reference
    ) -> Array:
        """Return probabilities (B, n + 1) of candidates (B, n), and of none, for one sentence.

        ``features`` are (B, n, C): the same words may be about many cases.
        """
        words = torch.from_numpy(reference.words)[None]
        log_probability = self(
            torch.from_numpy(features),
            torch.from_numpy(is_candidate),
            words,
            torch.ones(words.shape[:2], dtype=torch.bool),
            torch.from_numpy(reference.target)[None],
            torch.from_numpy(reference.links)[None],
        )
        return log_probability.exp().numpy()

    def save(self, path: str | Path, language: str, notes: dict) -> None:
        """Write the weights (float16) with the language encoder that they were trained with."""
        state = {name: value.half().contiguous() for name, value in self.state_dict().items()}
        metadata = {'format': FORMAT, 'language': language, 'notes': json.dumps(notes)}
        write_tensors(path, state, metadata)

    @classmethod
    def load(cls, language: str, path: str | Path = DEFAULT_WEIGHTS) -> RelationHead | None:
        """Load what ships for a language encoder, onto the CPU; None: nothing for that one.

        Raises FileNotFoundError, or CheckpointError with the reason.
        """
        if read_header(Path(path), FORMAT)['language'] != language:
            return None
        state = {name: tensor.float() for name, tensor in load_file(path).items()}
        head = cls(state['attention.weight'].shape[1])
        head.load_state_dict(state)
        return head.eval()
