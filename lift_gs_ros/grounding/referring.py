"""Among the proposals for a sentence's target, the one that stands as the sentence says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.proposals import MIN_LIKELIHOOD, Positions, Proposal
from lift_gs_ros.model.phrases import Phrase, is_place
from lift_gs_ros.model.relations import Reference, RelationHead, relation_features
from lift_gs_ros.model.tokens import LanguageTokens


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
    the other phrases the best proposal counts, but "the room" is none. A prompt that asks for
    several things is left as it is, and so is a target with a single candidate and nothing to
    compare it with. Where anything that stands so is asked for ("everything on the table"), each
    candidate is judged by itself.
    """
    targets = [i for i, phrase in enumerate(phrases) if phrase.is_target]
    if len(targets) != 1 or not proposals[targets[0]]:
        return list(proposals)
    own = proposals[targets[0]]
    mentioned = [
        (phrase, found)
        for phrase, found in zip(phrases, proposals)
        if not (phrase.is_target or is_place(tokens.text[phrase.begin : phrase.end]))
    ]
    anchors = [(phrase, found[0]) for phrase, found in mentioned if found]
    target = phrases[targets[0]]
    is_anything = target.open is not None
    scores = np.array([proposal.score for proposal in own])
    count = int((scores >= MIN_LIKELIHOOD * scores[0]).sum())
    if is_anything and mentioned and not anchors:
        return [[] if phrase is target else list(own) for phrase, own in zip(phrases, proposals)]
    if scores[0] <= 0 or not (anchors or (count >= 2 and not is_anything)):
        return list(proposals)

    def box(proposal: Proposal) -> Box:
        return Box.from_points(positions[proposal.point_indices])

    boxes = [box(proposal) for proposal in own[:count]]
    places = [box(proposal) for _, proposal in anchors]
    middle = middle_around((places or boxes)[0].center)  # of the anchor's room, if there is one
    reference = Reference.read(
        tokens, (target.begin, target.end), [(p.begin, p.end) for p, _ in anchors]
    )

    def judge(first: int, end: int) -> NDArray[np.floating]:
        likelihood = scores[first:end] / scores[first]
        features = relation_features(boxes[first:end], likelihood, places, middle)
        return head.probabilities(features, reference)

    factors = np.ones(len(own))
    if is_anything:
        factors[:count] = [judge(i, i + 1)[0] for i in range(count)]
        factors[count:] = 0.0
        factors *= anchors[0][1].score  # on what is not there stands nothing
    else:
        *probability, none = judge(0, count)
        factors[:count] = probability / max(probability)
        if anchors:
            factors *= 1 - none
    weighed = [replace(p, score=float(p.score * factor)) for p, factor in zip(own, factors)]
    resolved = list(proposals)
    resolved[targets[0]] = sorted(weighed, key=lambda proposal: -proposal.score)
    return resolved
