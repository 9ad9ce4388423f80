"""Among the proposals for a sentence's target, the one that stands as the sentence says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.proposals import Proposal
from lift_gs_ros.model.phrases import Phrase
from lift_gs_ros.model.relations import MAX_ANCHORS, Reference, RelationHead, relation_features
from lift_gs_ros.model.tokens import LanguageTokens

MIN_LIKELIHOOD = 0.15  # of the best proposal's score: what is less likely is not a candidate
ANCHORS = 3  # proposals of each other phrase that may be what it means
POWER = 2


def resolve_reference(
    head: RelationHead,
    tokens: LanguageTokens,
    phrases: Sequence[Phrase],
    proposals: Sequence[list[Proposal]],  # of each phrase, best first
    positions: NDArray[np.floating],  # (N, 3) that the proposals' indices count, metres
    middle_around: Callable[[NDArray[np.floating]], NDArray[np.floating]],  # of a place's room (3,)
) -> list[list[Proposal]]:
    """Weigh the candidates of the target by what the sentence says of it beside its noun.

    The likeliest keeps its score, the others lose in proportion; where the sentence says how the
    target stands to something else, all lose by how likely it is that none of them stands so. Of
    the other phrases the best few proposals count, each as much as it is likely. A prompt that asks
    for several things is left as it is, and so is a target with a single candidate and nothing to
    compare it with.
    """
    targets = [i for i, phrase in enumerate(phrases) if phrase.is_target]
    if len(targets) != 1 or not proposals[targets[0]]:
        return list(proposals)
    own = proposals[targets[0]]
    others = [(p, found) for p, found in zip(phrases, proposals) if found and not p.is_target]
    scores = np.array([proposal.score for proposal in own])
    count = int((scores >= MIN_LIKELIHOOD * scores[0]).sum())
    if (count < 2 and not others) or scores[0] <= 0:
        return list(proposals)

    def box(proposal: Proposal) -> Box:
        return Box.from_points(positions[proposal.point_indices])

    boxes = [box(proposal) for proposal in own[:count]]
    middle = middle_around(boxes[0].center)
    choices = list(product(*(found[:ANCHORS] for _, found in others[:MAX_ANCHORS])))
    features = [
        relation_features(boxes, scores[:count] / scores[0], [box(a) for a in anchors], middle)
        for anchors in choices
    ]
    target = phrases[targets[0]]
    reference = Reference.read(
        tokens, (target.begin, target.end), [(p.begin, p.end) for p, _ in others]
    )
    weights = np.array([np.prod([a.score for a in anchors]) ** POWER for anchors in choices])
    given = head.probabilities(np.stack(features), reference)
    *probability, none = weights @ given / weights.sum()
    factors = np.append(probability / max(probability), np.ones(len(own) - count))
    if others:
        factors *= 1 - none
    weighed = [replace(p, score=float(p.score * factor)) for p, factor in zip(own, factors)]
    resolved = list(proposals)
    resolved[targets[0]] = sorted(weighed, key=lambda proposal: -proposal.score)
    return resolved
