"""Among the proposals for a sentence's target, the one that stands as the sentence says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.proposals import MIN_LIKELIHOOD, Proposal, is_same
from lift_gs_ros.model.phrases import (
    Phrase,
    bare_noun,
    is_negated,
    is_place,
    link_before,
    says_where,
)
from lift_gs_ros.model.relations import (
    MAX_ANCHORS,
    Reference,
    RelationHead,
    as_array,
    many_relation_features,
)
from lift_gs_ros.model.tokens import LanguageTokens

MOST_ANCHORS = 4  # proposals of a phrase that are tried
STANDS_BACK = 0.15  # metres that the camera counts as farther from everything
SURELY_THERE = 0.25  # score from which on the likeliest one is no reason to doubt an answer


def resolve_reference(
    head: RelationHead,
    tokens: LanguageTokens,
    phrases: Sequence[Phrase],
    proposals: Sequence[list[Proposal]],  # of each phrase, best first
    middle_around: Callable[[NDArray[np.floating]], NDArray[np.floating]],  # of a place's room (3,)
    camera: NDArray[np.floating] | None = None,  # (3,) where it is; None: not known
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
    each candidate is judged by itself. What is said of the camera ("closest to me") is said of a
    box in its place.
    """
    targets = [i for i, phrase in enumerate(phrases) if phrase.is_target]
    if len(targets) != 1 or not proposals[targets[0]]:
        return list(proposals)
    own, target = proposals[targets[0]], phrases[targets[0]]

    rivals = _likely(own)
    if len(rivals) < 2 and any(phrase.is_others for phrase in phrases):
        return list(proposals)

    def anchors_of(phrase: Phrase, found: list[Proposal]) -> list[_Anchor]:
        if phrase.is_camera:
            return [] if camera is None else [_Anchor(1.0, _around(camera))]
        if phrase.is_others:
            return [_Anchor(1.0, _amid(rivals))]
        return [_Anchor(p.score, p.box, p) for p in _likely(found)[:MOST_ANCHORS]]

    mentioned = [
        (phrase, anchors_of(phrase, found))
        for phrase, found in zip(phrases, proposals)
        if not (phrase.is_target or is_place(tokens.text[phrase.begin : phrase.end]))
    ]
    anchors = [(phrase, some) for phrase, some in mentioned if some]
    if target.each and mentioned and not anchors:
        return [[] if phrase is target else list(own) for phrase, own in zip(phrases, proposals)]
    if own[0].score <= 0 or not (anchors or (len(rivals) >= 2 and not target.each)):
        return list(proposals)
    links = [link_before(tokens.text, phrases, phrase) for phrase, _ in anchors]
    if any(is_negated(link) for link in links):
        return list(proposals)

    spans = [(phrase.begin, phrase.end) for phrase, _ in anchors]
    reference = Reference.read(tokens, (target.begin, target.end), spans)
    judge = _Judge(head, reference, rivals, [rival.box for rival in rivals], middle_around)
    kind = _kind(tokens.text, target)
    alike = [_kind(tokens.text, phrase) == kind for phrase, _ in anchors[:MAX_ANCHORS]]
    stands = [says_where(link) for link in links]
    trials = []
    for number, trial in enumerate(product(*(some for _, some in anchors[:MAX_ANCHORS]))):
        share = np.prod([anchor.score for anchor in trial])
        if number == 0 and not target.each:  # on what is not there stands nothing
            share = np.prod(
                [min(1.0, a.score / SURELY_THERE) for a, on in zip(trial, stands) if on]
            )
        itself = [a.thing for a, same in zip(trial, alike) if a.thing and (same or target.each)]
        some = [i for i, rival in enumerate(rivals) if not any(is_same(rival, a) for a in itself)]
        trials.append(_Trial(some, tuple(anchor.box for anchor in trial), float(share)))
    factors = np.zeros(len(own))
    if target.each:
        factors[: len(rivals)] = judge.each(trials)
    else:
        factors[: len(rivals)] = judge.best(trials)
        factors[len(rivals) :] = factors.max()
    weighed = [replace(p, score=float(p.score * factor)) for p, factor in zip(own, factors)]
    resolved = list(proposals)
    resolved[targets[0]] = sorted(weighed, key=lambda proposal: -proposal.score)
    return resolved


@dataclass(frozen=True)
class _Anchor:
    """What a target may stand to."""

    score: float
    box: Box
    thing: Proposal | None = None  # None: it is where the camera is, or amid the candidates


@dataclass(frozen=True)
class _Trial:
    """One proposal for each anchor, and the candidates that are none of them."""

    some: list[int]  # of the rivals, the best first
    places: tuple[Box, ...]
    share: float  # how likely the anchors are what the sentence names


@dataclass(frozen=True)
class _Judge:
    """Asks the relation head about all trials at once."""

    head: RelationHead
    reference: Reference
    rivals: Sequence[Proposal]
    boxes: Sequence[Box]  # of the rivals
    middle_around: Callable[[NDArray[np.floating]], NDArray[np.floating]]

    def best(self, trials: Sequence[_Trial]) -> NDArray[np.floating]:
        """Return how well each rival (n,) fits beside the others, in its best trial."""
        factors = np.zeros(len(self.rivals))
        asked = [trial for trial in trials if trial.some]
        if not asked:
            return factors
        probabilities = self._ask(asked)
        first, need = trials[0], 1.0
        if len(trials) > 1 and first.some:
            # Less likely anchors need that nothing stands so to the likeliest, which is tried
            # first. Of one candidate at a time the head is surer than of all together.
            need = self._ask(_one_by_one(first))[:, -1].min()
        for trial, (*probability, none) in zip(asked, probabilities):
            # A candidate a mile away has none at all.
            fit = np.array(probability[: len(trial.some)]) / max(*probability, 1e-30)
            share = trial.share * (1.0 if trial is first else need)
            stands = 1 - none if trial.places else 1.0
            factors[trial.some] = np.maximum(factors[trial.some], share * stands * fit)
        return factors

    def each(self, trials: Sequence[_Trial]) -> NDArray[np.floating]:
        """Return how well each rival (n,) fits by itself, in its best trial."""
        factors = np.zeros(len(self.rivals))
        asked = [one for trial in trials for one in _one_by_one(trial)]
        if asked:
            fits = [one.share for one in asked] * self._ask(asked)[:, 0]
            np.maximum.at(factors, [one.some[0] for one in asked], fits)
        return factors

    def _ask(self, trials: Sequence[_Trial]) -> NDArray[np.floating]:
        """Return probabilities (B, n + 1) of the first of ``some`` on, and of none of them."""
        own, scores = as_array(self.boxes), np.array([rival.score for rival in self.rivals])
        shape = len(trials), max(len(trial.some) for trial in trials)
        which, likelihood = np.zeros(shape, int), np.zeros(shape)
        for row, trial in enumerate(trials):
            which[row, : len(trial.some)] = trial.some
            likelihood[row, : len(trial.some)] = scores[trial.some] / scores[trial.some[0]]
        places = np.stack([as_array(trial.places) for trial in trials])
        # Of the anchor's room, if there is an anchor.
        around = [(trial.places or self.boxes)[0] for trial in trials]
        middles = {
            number: self.middle_around(box.center)
            for number, box in {id(box): box for box in around}.items()
        }
        features = many_relation_features(
            own[which], likelihood, places, np.stack([middles[id(box)] for box in around])
        )
        return self.head.probabilities(features, likelihood > 0, self.reference)


def _one_by_one(trial: _Trial) -> list[_Trial]:
    return [replace(trial, some=[candidate]) for candidate in trial.some]


def _around(camera: NDArray[np.floating]) -> Box:
    """Return a camera as a box turned inside out: it touches nothing that it is held over.

    How far something is that the anchor touches, no sentence of the training says.
    """
    return Box(camera, np.array([-2 * STANDS_BACK, -2 * STANDS_BACK, 2 * STANDS_BACK]))


def _amid(proposals: Sequence[Proposal]) -> Box:
    """Return a small box in the middle of proposals, of which each counts as it is likely."""
    centers = [proposal.box.center for proposal in proposals]
    weights = [proposal.score for proposal in proposals]
    return Box(np.average(centers, axis=0, weights=weights), np.full(3, 0.1))


def _likely(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Keep those, best first, that are rivals of the best one."""
    return [p for p in proposals if p.score >= MIN_LIKELIHOOD * proposals[0].score]


def _kind(text: str, phrase: Phrase) -> str:
    return bare_noun(text[phrase.begin : phrase.end]).lower().split()[-1]
