"""From a decoded sentence to the instances that its phrases name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from lift_gs_ros.model.phrases import Phrase
from lift_gs_ros.model.relations import RelationHead
from lift_gs_ros.model.tokens import LanguageTokens


class Selection:
    """Chooses the proposals of phrases, of each once, however many sentences name it."""

    def __init__(
        self,
        settings: GrounderSettings,
        naming: Naming | None,  # None: a phrase competes with nothing but what is asked with it
    ) -> None:
        self._settings, self._naming = settings, naming
        self._chosen: dict[tuple[Finds, tuple[int, int], str], list[Proposal]] = {}

    def of(self, own: Finds, span: tuple[int, int], name: str) -> list[Proposal]:
        """Return what answers the characters ``span`` of a text, best first."""
        key = own, span, name
        if key not in self._chosen:
            on_phrase = phrase_tokens(own.tokens.spans, span)
            probability = own.span_probability(on_phrase).float().cpu()
            if self._naming is not None:
                probability = probability * self._naming.probability(own.features, name)
            threshold = self._settings.score_threshold
            self._chosen[key] = select_proposals(own, probability.numpy(), threshold, name)
        return self._chosen[key]


def assemble(
    sentence: Sentence,
    tokens: LanguageTokens,  # of ``sentence.to_judge``
    found: Mapping[str, Finds],  # of each text that is asked for it
    nouns: Sequence[tuple[Sentence, Finds]] | None,  # for a target that names none
    encoded_map: EncodedMap,
    settings: GrounderSettings,
    selection: Selection,
    relations: RelationHead | None,  # None: what a sentence says beside its nouns is not read
    registry: InstanceRegistry,
) -> tuple[list[GroundedInstance], float]:
    """Return the instances, targets first and best first, and the score of there being none."""
    phrases, positions = sentence.phrases, encoded_map.positions
    proposals = [
        [] if text is None else selection.of(found[text], span, name)
        for text, span, name in zip(sentence.asked, sentence.spans, sentence.names)
    ]
    if nouns is not None:
        everything = best_of(
            [
                proposal
                for prompt, own in nouns
                for span, name in zip(prompt.spans, prompt.names)
                for proposal in selection.of(own, span, name)
            ]
        )
        proposals = [own if p.open is None else everything for own, p in zip(proposals, phrases)]
    if relations is not None:
        proposals = resolve_reference(
            relations,
            tokens,
            sentence.to_judge[1],
            proposals,
            encoded_map.middle_around,
            sentence.camera,
        )
    answers: list[tuple[Phrase, Proposal]] = []
    target_score = 0.0
    for phrase, own in zip(phrases, proposals):
        if phrase.is_target and own:
            target_score = max(target_score, own[0].score)
        kept = [p for p in own if p.score >= settings.score_threshold]
        answers += [(phrase, proposal) for proposal in kept[: settings.max_instances]]
    numbers = registry.identify([proposal.box for _, proposal in answers])
    instances = [
        GroundedInstance(
            instance_id=number,
            phrase=proposal.name,
            span=(phrase.begin, phrase.end),
            is_target=phrase.is_target,
            score=proposal.score,
            box=proposal.box,
            points=positions[proposal.point_indices],
            point_scores=proposal.point_scores,
        )
        for number, (phrase, proposal) in zip(numbers, answers)
    ]
    instances.sort(key=lambda instance: (not instance.is_target, -instance.score))
    return instances, 1.0 - target_score
