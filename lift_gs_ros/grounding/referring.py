"""Among the proposals for a sentence's target, the one that stands as the sentence says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.proposals import MIN_LIKELIHOOD, Positions, Proposal, is_same
from lift_gs_ros.model.phrases import Phrase, bare_noun, is_negated, is_place, says_where
from lift_gs_ros.model.relations import (
    MAX_ANCHORS,
    Reference,
    RelationHead,
    relation_features,
)
from lift_gs_ros.model.tokens import LanguageTokens

MOST_ANCHORS = 4  # proposals of a phrase that are tried
SURELY_THERE = 0.25  # score from which on the likeliest one is no reason to doubt an answer


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
    target stands to something else, all lose by how likely it is that none of them stands so. Of
    the other phrases the best proposal counts, and further ones as far as nothing stands so to the
    best and as they are what the phrase names ("the mug on the table", of two tables). On what is
    hardly there ("on the piano") stands nothing. "The room" is no anchor, and no chair is the one
    that it stands beside. A prompt that asks for several things is left as it is, and so is a
    target with a single candidate and nothing to compare it with, and what is denied ("not on the
    table"). Where all that stands so is asked for ("everything on the table", ``Phrase.each``),
    each candidate is judged by itself.
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
    rivals = _likely(own)
    if target.each and mentioned and not anchors:
        return [[] if phrase is target else list(own) for phrase, own in zip(phrases, proposals)]
    if own[0].score <= 0 or not (anchors or (len(rivals) >= 2 and not target.each)):
        return list(proposals)
    links = [_link(tokens.text, phrases, phrase) for phrase, _ in anchors]
    if any(is_negated(link) for link in links):
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

    kind = _kind(tokens.text, target)
    alike = [_kind(tokens.text, phrase) == kind for phrase, _ in anchors[:MAX_ANCHORS]]
    stands = [says_where(link) for link in links]
    tried = [[(anchor, box(anchor)) for anchor in found] for _, found in anchors[:MAX_ANCHORS]]
    trials = list(product(*tried))
    factors = np.zeros(len(own))
    need = 1.0  # for less likely anchors: that nothing stands so to the likeliest, tried first
    for number, trial in enumerate(trials):
        places = [place for _, place in trial]
        itself = [anchor for (anchor, _), same in zip(trial, alike) if same or target.each]
        some = [i for i, rival in enumerate(rivals) if not any(is_same(rival, a) for a in itself)]
        if not some:
            continue
        # On what is not there stands nothing.
        share = np.prod([anchor.score for anchor, _ in trial])
        if number == 0 and not target.each:
            share = np.prod(
                [min(1.0, a.score / SURELY_THERE) for (a, _), on in zip(trial, stands) if on]
            )
        if target.each:
            judged = np.array([judge([i], places)[0] for i in some])
        else:
            *probability, none = judge(some, places)
            best = max(*probability, 1e-30)  # a candidate a mile away has none at all
            judged = need * np.array(probability) / best * (1 - none if places else 1)
        factors[some] = np.maximum(factors[some], share * judged)
        if number == 0 and len(trials) > 1 and not target.each:
            # Of one candidate at a time the head is surer than of all together.
            need = min(judge([i], places)[-1] for i in some)
    if not target.each:
        factors[len(rivals) :] = factors.max()
    weighed = [replace(p, score=float(p.score * factor)) for p, factor in zip(own, factors)]
    resolved = list(proposals)
    resolved[targets[0]] = sorted(weighed, key=lambda proposal: -proposal.score)
    return resolved


def _likely(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Keep those, best first, that are rivals of the best one."""
    return [p for p in proposals if p.score >= MIN_LIKELIHOOD * proposals[0].score]


def _kind(text: str, phrase: Phrase) -> str:
    return bare_noun(text[phrase.begin : phrase.end]).lower().split()[-1]


def _link(text: str, phrases: Sequence[Phrase], phrase: Phrase) -> str:
    """Return what is said between a phrase and the one before it."""
    before = max((p.end for p in phrases if p.end <= phrase.begin), default=0)
    return text[before : phrase.begin]
