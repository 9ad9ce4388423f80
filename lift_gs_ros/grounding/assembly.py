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
from lift_gs_ros.grounding.settings import GrounderSettings
from lift_gs_ros.model.naming import Naming
from lift_gs_ros.model.phrases import Phrase, noun_phrases
from lift_gs_ros.model.relations import RelationHead


def assemble(
    finds: Finds,
    prompts: Sequence[Finds] | None,  # of nouns, for a target that names none
    encoded_map: EncodedMap,
    settings: GrounderSettings,
    naming: Naming | None,  # None: a phrase is compared with nothing but its sentence
    relations: RelationHead | None,  # None: what a sentence says beside its nouns is not read
    registry: InstanceRegistry,
) -> tuple[list[GroundedInstance], float]:
    """Return the instances, targets first and best first, and the score of there being none."""
    tokens, positions = finds.tokens, encoded_map.positions

    def proposals_of(own: Finds, phrases: Sequence[Phrase]) -> list[list[Proposal]]:
        text, found = own.tokens.text, []
        for phrase in phrases:
            on_phrase = phrase_tokens(own.tokens.spans, (phrase.begin, phrase.end))
            probability = own.span_probability(on_phrase).float().cpu()
            name = text[phrase.begin : phrase.end]
            if naming is not None:
                probability = probability * naming.probability(own.features, name)
            threshold = settings.score_threshold
            found.append(select_proposals(own, probability.numpy(), threshold, name))
        return found

    phrases = noun_phrases(tokens.text)
    proposals = proposals_of(finds, phrases)
    if prompts is not None:
        named = [proposals_of(own, noun_phrases(own.tokens.text)) for own in prompts]
        everything = best_of([proposal for own in named for some in own for proposal in some])
        proposals = [own if p.open is None else everything for own, p in zip(proposals, phrases)]
    if relations is not None:
        proposals = resolve_reference(
            relations, tokens, phrases, proposals, positions, encoded_map.middle_around
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
