"""From a decoded sentence to the instances that its phrases name."""

from __future__ import annotations

from collections.abc import Sequence

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.encoded_map import EncodedMap
from lift_gs_ros.grounding.finds import Finds
from lift_gs_ros.grounding.identity import InstanceRegistry
from lift_gs_ros.grounding.instances import GroundedInstance
from lift_gs_ros.grounding.proposals import (
    Proposal,
    best_of,
    phrase_tokens,
    select_proposals,
)
from lift_gs_ros.grounding.referring import resolve_reference
from lift_gs_ros.grounding.sentences import Sentence
from lift_gs_ros.grounding.settings import GrounderSettings
from lift_gs_ros.model.naming import Naming
from lift_gs_ros.model.phrases import Phrase, noun_phrases
from lift_gs_ros.model.relations import RelationHead


def assemble(
    sentence: Sentence,
    finds: Sequence[Finds],  # of each phrase
    prompts: Sequence[Finds] | None,  # of nouns, for a target that names none
    encoded_map: EncodedMap,
    settings: GrounderSettings,
    naming: Naming | None,  # None: a phrase competes with nothing but what is asked with it
    relations: RelationHead | None,  # None: what a sentence says beside its nouns is not read
    registry: InstanceRegistry,
) -> tuple[list[GroundedInstance], float]:
    """Return the instances, targets first and best first, and the score of there being none."""
    phrases, positions = sentence.phrases, encoded_map.positions

    def proposals_of(own: Finds, span: tuple[int, int], name: str) -> list[Proposal]:
        on_phrase = phrase_tokens(own.tokens.spans, span)
        probability = own.span_probability(on_phrase).float().cpu()
        if naming is not None:
            probability = probability * naming.probability(own.features, name)
        return select_proposals(own, probability.numpy(), settings.score_threshold, name)

    proposals = [
        proposals_of(own, span, name)
        for own, span, name in zip(finds, sentence.spans, sentence.names)
    ]
    if prompts is not None:
        everything = best_of(
            [
                proposal
                for own in prompts
                for span, name in _named(own.tokens.text)
                for proposal in proposals_of(own, span, name)
            ]
        )
        proposals = [own if p.open is None else everything for own, p in zip(proposals, phrases)]
    if relations is not None:
        proposals = resolve_reference(
            relations, sentence.tokens, phrases, proposals, positions, encoded_map.middle_around
        )
    found: list[tuple[Phrase, Proposal, Box]] = []
    target_score = 0.0
    for phrase, own in zip(phrases, proposals):
        if phrase.is_target and own:
            target_score = max(target_score, own[0].score)
        kept = [p for p in own if p.score >= settings.score_threshold]
        for proposal in kept[: settings.max_instances]:
            found.append((phrase, proposal, Box.from_points(positions[proposal.point_indices])))
    numbers = registry.identify([box for _, _, box in found])
    instances = [
        GroundedInstance(
            instance_id=number,
            phrase=proposal.name,
            span=(phrase.begin, phrase.end),
            is_target=phrase.is_target,
            score=proposal.score,
            box=box,
            points=positions[proposal.point_indices],
            point_scores=proposal.point_scores,
        )
        for number, (phrase, proposal, box) in zip(numbers, found)
    ]
    instances.sort(key=lambda instance: (not instance.is_target, -instance.score))
    return instances, 1.0 - target_score


def _named(text: str) -> list[tuple[tuple[int, int], str]]:
    """Return the characters [begin, end) of each noun phrase, and its words."""
    spans = [(phrase.begin, phrase.end) for phrase in noun_phrases(text)]
    return [((begin, end), text[begin:end]) for begin, end in spans]
