"""From the decoder's mask proposals to the few that answer a phrase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

MIN_POINTS = 5  # a smaller mask is noise on a 5 cm map
DUPLICATE_IOU = 0.5  # of two masks that overlap more than this, the better one stays
MIN_PROBABILITY = 0.01  # proposals below are not looked at: they can not win anything


@dataclass(frozen=True)
class Proposal:
    """A mask that answers a phrase."""

    score: float  # correspondence x mean mask probability, in [0, 1]
    point_indices: NDArray[np.int64]  # (n,) ascending
    point_scores: NDArray[np.float32]  # (n,) mask probability of each point


def phrase_tokens(spans: NDArray[np.integer], phrase: tuple[int, int]) -> NDArray[np.int64]:
    """Return the indices of the tokens whose characters (T, 2) overlap those of a phrase."""
    spans = np.asarray(spans).reshape(-1, 2)
    return np.flatnonzero((spans[:, 0] < phrase[1]) & (spans[:, 1] > phrase[0]))


def largest_component(
    points: NDArray[np.float32], weights: NDArray[np.float32], distance: float
) -> NDArray[np.int64]:
    """Return the indices of the heaviest set of points (N, 3) linked by steps of ``distance``."""
    pairs = cKDTree(points).query_pairs(distance, output_type='ndarray')
    ones = np.ones(len(pairs), bool)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points)))
    _, labels = connected_components(graph, directed=False)
    return np.flatnonzero(labels == np.bincount(labels, weights=weights).argmax())


def select_proposals(
    masks: NDArray[np.float32],  # (P, m) probabilities
    probability: NDArray[np.float32],  # (m,) that a proposal corresponds to the phrase
    positions: NDArray[np.float32],  # (P, 3) metres
    mask_threshold: float,
    link_distance: float | None,  # metres; None keeps stray points
) -> list[Proposal]:
    """Rank the proposals of one phrase, best first, without empty ones and duplicates."""
    chosen: list[Proposal] = []
    for i in np.argsort(-probability, kind='stable'):
        if probability[i] < MIN_PROBABILITY:
            break
        indices = np.flatnonzero(masks[:, i] >= mask_threshold)
        if link_distance is not None and len(indices):
            kept = largest_component(positions[indices], masks[indices, i], link_distance)
            indices = indices[kept]
        if len(indices) < MIN_POINTS:
            continue
        scores = masks[indices, i]
        chosen.append(Proposal(float(probability[i] * scores.mean()), indices, scores))
    chosen.sort(key=lambda proposal: -proposal.score)
    return _without_duplicates(chosen, len(masks))


def _without_duplicates(proposals: list[Proposal], num_points: int) -> list[Proposal]:
    kept: list[Proposal] = []
    inside = np.zeros((len(proposals), num_points), bool)
    for proposal in proposals:
        mask = np.zeros(num_points, bool)
        mask[proposal.point_indices] = True
        others = inside[: len(kept)]
        intersection = (others & mask).sum(axis=1)
        union = (others | mask).sum(axis=1)
        if (intersection <= DUPLICATE_IOU * union).all():
            inside[len(kept)] = mask
            kept.append(proposal)
    return kept
