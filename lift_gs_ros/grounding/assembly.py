"""From a decoded sentence to the instances that its phrases name."""

from __future__ import annotations

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.encoded_map import EncodedMap
from lift_gs_ros.grounding.identity import InstanceRegistry
from lift_gs_ros.grounding.instances import GroundedInstance
from lift_gs_ros.grounding.proposals import (
    MaskPoints,
    Proposal,
    phrase_tokens,
    select_proposals,
)
from lift_gs_ros.grounding.referring import resolve_reference
from lift_gs_ros.grounding.settings import GrounderSettings
from lift_gs_ros.model.lift_gs import LocallyDecoded
from lift_gs_ros.model.phrases import Phrase, noun_phrases
from lift_gs_ros.model.relations import RelationHead

LINK_VOXELS = 2.5  # points of one thing are at most so many voxels apart


def assemble(
    decoded: LocallyDecoded,
    encoded_map: EncodedMap,
    settings: GrounderSettings,
    voxel_size: float,
    relations: RelationHead | None,  # None: what a sentence says beside its nouns is not read
    registry: InstanceRegistry,
) -> tuple[list[GroundedInstance], float]:
    """Return the instances, targets first and best first, and the score of there being none."""
    tokens, positions = decoded.reading.tokens, encoded_map.positions
    masks = MaskPoints(
        lambda mask: encoded_map.members(decoded.mask(mask, settings.mask_threshold)),
        positions,
        LINK_VOXELS * voxel_size if settings.largest_component else None,
    )
    instances: list[GroundedInstance] = []
    target_score = 0.0
    phrases, found = noun_phrases(tokens.text), []
    for phrase in phrases:
        on_phrase = phrase_tokens(tokens.spans, (phrase.begin, phrase.end))
        probability = decoded.span_probability(on_phrase).float().cpu().numpy()
        found.append(select_proposals(masks, probability, settings.score_threshold))
    if relations is not None:
        found = resolve_reference(relations, tokens, phrases, found, positions)
    for phrase, proposals in zip(phrases, found):
        if phrase.is_target and proposals:
            target_score = max(target_score, proposals[0].score)
        kept = [p for p in proposals if p.score >= settings.score_threshold]
        for proposal in kept[: settings.max_instances]:
            points = positions[proposal.point_indices]
            box = Box.from_points(points)
            # One answer has no number twice.
            number = registry.identify(box, {instance.instance_id for instance in instances})
            instances.append(_instance(tokens.text, phrase, proposal, points, box, number))
    instances.sort(key=lambda instance: (not instance.is_target, -instance.score))
    return instances, 1.0 - target_score


def _instance(
    query: str, phrase: Phrase, proposal: Proposal, points, box: Box, number: int
) -> GroundedInstance:
    return GroundedInstance(
        instance_id=number,
        phrase=query[phrase.begin : phrase.end],
        span=(phrase.begin, phrase.end),
        is_target=phrase.is_target,
        score=proposal.score,
        box=box,
        points=points,
        point_scores=proposal.point_scores,
    )
