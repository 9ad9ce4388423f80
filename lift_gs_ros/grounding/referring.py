"""Among the proposals for a sentence's target, the one that stands as the sentence says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.proposals import MIN_LIKELIHOOD, Positions, Proposal, is_same
from lift_gs_ros.model.phrases import Phrase, is_place
from lift_gs_ros.model.relations import (
    MAX_ANCHORS,
    Reference,
    RelationHead,
    relation_features,
)
from lift_gs_ros.model.tokens import LanguageTokens

MOST_ANCHORS = 4  # proposals of a phrase that are tried


def resolve_reference(
    head: RelationHead,
    tokens: LanguageTokens,
    phrases: Sequence[Phrase],
    proposals: Sequence[list[Proposal]],  # of each phrase, best first
    positions: Positions,  # that the proposals' indices count
    middle_around: Callable[[NDArray[np.floating]], NDArray[np.floating]],  # of a place's room (3,)
) -> list[list[Proposal]]:
    """Weigh the candidates of the target by what the sentence says of it beside its noun.

    The likeliest keeps its score, the others lose in proportion; where the sentence says how the
    target stands to something else, all lose by how likely it is that none of them stands so. What
    the other phrases name is no more certain ("the mug on the table", of two tables): each of their
    likely proposals is tried, for as much as it is likely, and a candidate counts as in the trial
    that suits it best. Nothing stands in a relation to itself, and "the room" is no anchor. A
    prompt that asks for several things is left as it is, and so is a target with a single candidate
    and nothing to compare it with. Where anything that stands so is asked for ("everything on the
    table"), each candidate is judged by itself.
    """
    targets = [i for i, phrase in enumerate(phrases) if phrase.is_target]
    if len(targets) != 1 or not proposals[targets[0]]:
        return list(proposals)
    own, target = proposals[targets[0]], phrases[targets[0]]
    mentioned = [
        (phrase, found)
        for phrase, found in zip(phrases, proposals)
        if not (phrase.is_target or is_place(tokens.text[phrase.begin : phrase.end]))
    ]
    anchors = [(phrase, _likely(found)[:MOST_ANCHORS]) for phrase, found in mentioned if found]
    is_anything, rivals = target.open is not None, _likely(own)
    if is_anything and mentioned and not anchors:
        return [[] if phrase is target else list(own) for phrase, own in zip(phrases, proposals)]
    if own[0].score <= 0 or not (anchors or (len(rivals) >= 2 and not is_anything)):
        return list(proposals)

    def box(proposal: Proposal) -> Box:
        return Box.from_points(positions[proposal.point_indices])

    boxes = [box(rival) for rival in rivals]
    scores = np.array([rival.score for rival in rivals])
    spans = [(phrase.begin, phrase.end) for phrase, _ in anchors]
    reference = Reference.read(tokens, (target.begin, target.end), spans)

    def judge(some: list[int], places: list[Box]) -> NDArray[np.floating]:
        middle = middle_around((places or boxes)[0].center)  # of the anchor's room, if there is one
        likelihood = scores[some] / scores[some[0]]
        features = relation_features([boxes[i] for i in some], likelihood, places, middle)
        return head.probabilities(features, reference)

    tried = [[(anchor, box(anchor)) for anchor in found] for _, found in anchors[:MAX_ANCHORS]]
    factors = np.zeros(len(own))
    need = 1.0  # for less likely anchors: that nothing stands so to the likeliest, tried first
    trials = list(product(*tried))
    for number, trial in enumerate(trials):
        places = [place for _, place in trial]
        some = [i for i, r in enumerate(rivals) if not any(is_same(r, a) for a, _ in trial)]
        if not some:
            continue
        share = np.prod(
            [anchor.score / found[0][0].score for (anchor, _), found in zip(trial, tried)]
        )
        if is_anything:
            judged = np.array([judge([i], places)[0] for i in some])
        else:
            *probability, none = judge(some, places)
            judged = need * np.array(probability) / max(probability) * (1 - none if places else 1)
        factors[some] = np.maximum(factors[some], share * judged)
        if number == 0 and len(trials) > 1 and not is_anything:
            # Of one candidate at a time the head is surer than of all together.
            need = min(judge([i], places)[-1] for i in some)
    if is_anything:
        factors *= anchors[0][1][0].score  # on what is not there stands nothing
    else:
        factors[len(rivals) :] = factors.max()
    weighed = [replace(p, score=float(p.score * factor)) for p, factor in zip(own, factors)]
    resolved = list(proposals)
    resolved[targets[0]] = sorted(weighed, key=lambda proposal: -proposal.score)
    return resolved


def _likely(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Keep those, best first, that are rivals of the best one."""
    return [p for p in proposals if p.score >= MIN_LIKELIHOOD * proposals[0].score]
