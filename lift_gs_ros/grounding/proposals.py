"""From the decoder's mask proposals to the few that answer a phrase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.components import largest_component

MIN_POINTS = 5  # a smaller mask is noise on a 5 cm map
DUPLICATE = 0.6  # of two masks, one of which is by so much within the other, the better one stays
SAME_THING = 0.5  # IoU from which on this holds for masks of different names too
MIN_PROBABILITY = 0.01  # proposals below are not looked at: they can not win anything
MIN_LIKELIHOOD = 0.15  # of the best score: what is less likely is no rival of the best one


@dataclass(frozen=True)
class Proposal:
    """A mask that answers a phrase."""

    score: float  # probability of the phrase x mean mask probability, in [0, 1]
    point_indices: NDArray[np.int64]  # (n,) ascending
    point_scores: NDArray[np.float32]  # (n,) mask probability of each point
    box: Box  # around these points
    name: str = ''  # the phrase


def phrase_tokens(spans: NDArray[np.integer], phrase: tuple[int, int]) -> NDArray[np.int64]:
    """Return the indices of the tokens whose characters (T, 2) overlap those of a phrase."""
    spans = np.asarray(spans).reshape(-1, 2)
    return np.flatnonzero((spans[:, 0] < phrase[1]) & (spans[:, 1] > phrase[0]))


# Points (n,) of a mask, ascending indices into all points, and their probabilities (n,).
Members = tuple[NDArray[np.int64], NDArray[np.float32]]


def box_around(points: NDArray[np.floating]) -> Box:
    """Return the box around points (n, 3), one of no size where there are none."""
    return Box.from_points(points) if len(points) else Box(np.zeros(3), np.zeros(3))


class Positions(Protocol):
    """All points of a map, (P, 3) metres: an array, or what is read like one."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        """Read ascending rows (n,)."""


class MaskPoints(Protocol):
    """Finds the points of masks."""

    def of(self, proposal: int) -> tuple[Members, Box]:
        """Return the points of a proposal's mask, and the box around them."""


def without_strays(members: Members, positions: Positions, link_distance: float) -> Members:
    """Drop the points that do not hang together with the rest, in steps of ``link_distance``."""
    indices, scores = members
    if not len(indices):
        return members
    kept = largest_component(positions[indices], scores, link_distance)
    return indices[kept], scores[kept]


def select_proposals(
    masks: MaskPoints,
    probability: NDArray[np.float32],  # (m,) that a proposal corresponds to the phrase
    score_threshold: float = 0.0,
    name: str = '',
) -> list[Proposal]:
    """Rank the proposals of one phrase, best first, without empty ones and duplicates.

    All that reach ``score_threshold`` or ``MIN_LIKELIHOOD`` of the best one are there, whichever
    is less: what is reported must not decide between which candidates a sentence chooses. Of the
    others only those that were looked at on the way.
    """
    chosen: list[Proposal] = []
    best = 0.0
    for i in np.argsort(-probability, kind='stable').tolist():
        # A score is at most the probability: the rest can neither be reported nor be rivals.
        if probability[i] < max(min(MIN_LIKELIHOOD * best, score_threshold), MIN_PROBABILITY):
            break
        (indices, scores), box = masks.of(i)
        if len(indices) < MIN_POINTS:
            continue
        chosen.append(Proposal(float(probability[i] * scores.mean()), indices, scores, box, name))
        best = max(best, chosen[-1].score)
    return best_of(chosen)


def is_same(one: Proposal, other: Proposal) -> bool:
    """Say whether two masks are the same thing: their IoU."""
    a, b = one.point_indices, other.point_indices
    if a[-1] < b[0] or b[-1] < a[0]:
        return False
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared > SAME_THING * (len(a) + len(b) - shared)


def best_of(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Sort proposals, best first, and keep the best of those that overlap much.

    The overlap is counted in shares of the smaller mask (Szymkiewicz-Simpson), so that a thing is
    not answered once more as its top or its back. Of different names, the smaller one may be
    another thing: the cushion on the sofa. There both must be the same (IoU).
    """
    if not proposals:
        return []
    proposals = sorted(proposals, key=lambda proposal: -proposal.score)
    sizes = np.array([len(proposal.point_indices) for proposal in proposals])
    rows = np.concatenate([proposal.point_indices for proposal in proposals])
    # Of a large map's points few are in any of the masks: number those, without sorting them.
    numbers = np.zeros(rows.max() + 1, np.int64)
    numbers[rows] = np.arange(len(rows))
    ends = np.concatenate([[0], np.cumsum(sizes)])
    members = csr_matrix((np.ones(len(rows)), numbers[rows], ends), (len(sizes), len(rows)))
    intersection = (members @ members.T).toarray()
    of_smaller = intersection > DUPLICATE * np.minimum(sizes[:, None], sizes)
    of_both = intersection > SAME_THING * (sizes[:, None] + sizes - intersection)
    names = np.array([proposal.name for proposal in proposals])
    overlaps = np.where(names[:, None] == names, of_smaller, of_both)
    kept: list[int] = []
    for i in range(len(proposals)):
        if not overlaps[i, kept].any():
            kept.append(i)
    return [proposals[i] for i in kept]
