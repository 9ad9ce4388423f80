"""The benchmark on simulated rooms: queries to a ``Grounder``, answers to numbers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lift_gs_ros.geometry import Box, PointCloud
from lift_gs_ros.grounding.grounder import GrounderSettings
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding
from lift_gs_ros.mapping.chunks import ChunkKey, split_into_chunks
from lift_gs_ros.simulation.expressions import Expression, make_expressions
from lift_gs_ros.simulation.rooms import is_held_out
from lift_gs_ros.simulation.vocabulary import KINDS
from training.evaluation.average_precision import SceneDetections, scannet_ap
from training.evaluation.categories import CATEGORY_GROUPS
from training.evaluation.grounding import (
    accuracy_at,
    auroc,
    best_iou,
    f1_at,
    false_answers_at_recall,
    mask_iou,
)
from training.evaluation.rooms import EvaluationRoom

REFERRING = ('attribute', 'relation', 'ordinal')
ANSWER_SCORE = 0.3  # a query for several is answered with all that reach it
MANY = 10_000  # instances of one phrase: as many as there are proposals
SENTENCES = 4  # of each kind, for each room of a map
KINDS_PER_PROMPT = 5  # categories are asked for several at a time, as in detection prompts


@dataclass
class Scores:
    """What the queries of all rooms came to; one list entry per query."""

    ious: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    mask_ious: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    # 'multiple_25' and 'multiple_50' of queries for several, 'zero' of those for what is absent
    f1: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    present: list[float] = field(default_factory=list)  # 1 - none_score
    absent: list[float] = field(default_factory=list)
    target_given_kind: list[float] = field(default_factory=list)
    chance_given_kind: list[float] = field(default_factory=list)
    detections: dict[str, list[SceneDetections]] = field(default_factory=lambda: defaultdict(list))
    encode_seconds: list[float] = field(default_factory=list)
    decode_seconds: list[float] = field(default_factory=list)

    def extend(self, other: Scores) -> None:
        """Add the queries of other rooms."""
        for name, values in vars(self).items():
            more = getattr(other, name)
            if isinstance(values, dict):
                for key in more:
                    values[key].extend(more[key])
            else:
                values.extend(more)

    def summary(self) -> dict:
        """Numbers in the layout of ``evaluate.json``, fractions from 0 to 1; NaN becomes None.

        Held-out colour-nouns are no 'colour_nouns'. Held-out nouns and referring expressions count
        among 'nouns' and 'referring' too; by themselves they are ``*_held_out``.
        """
        summary = {
            'colour_nouns': self._accuracy('colour_nouns'),
            'nouns': self._accuracy('nouns') | self._average_precision(),
            'held_out': self._accuracy('held_out'),
            'nouns_held_out': self._accuracy('nouns_held_out'),
            'referring': self._accuracy('referring', 0.25, 0.5, 0.75)
            | {
                'target_given_kind': _mean(self.target_given_kind),
                'chance_given_kind': _mean(self.chance_given_kind),
            },
            'referring_held_out': self._accuracy('referring_held_out', 0.25, 0.5, 0.75),
            'several': self._f1(),
            'absent': {
                'auroc': auroc(self.present, self.absent),
                'false_answers_at_90_recall': false_answers_at_recall(self.present, self.absent),
                'n': len(self.absent),
            },
            'seconds_per_room': {
                'encode': _mean(self.encode_seconds),
                'decode': _mean(self.decode_seconds),
            },
        }
        return {group: {k: _plain(v) for k, v in part.items()} for group, part in summary.items()}

    def _accuracy(self, group: str, *thresholds: float) -> dict[str, float]:
        ious = self.ious[group]
        named = {f'acc{100 * t:.0f}': accuracy_at(ious, t) for t in thresholds or (0.25, 0.5)}
        return {**named, 'miou': _mean(self.mask_ious[group]), 'n': len(ious)}

    def _average_precision(self) -> dict[str, float]:
        """AP over all categories, and AP25 of the head, common and tail ones."""
        named = scannet_ap(self.detections)
        for group, kinds in CATEGORY_GROUPS.items():
            own = {kind: self.detections[kind] for kind in kinds if kind in self.detections}
            named[f'AP25_{group}'] = scannet_ap(own)['AP25']
        return named

    def _f1(self) -> dict[str, float]:
        """Mean F1 over queries with several targets and with none together, and apart.

        Multi3DRefer also counts queries with one target; those have their own accuracies here.
        """
        zero, named = self.f1['zero'], {}
        for percent in (25, 50):
            multiple = self.f1[f'multiple_{percent}']
            named[f'f1_{percent}'] = _mean(multiple + zero)
            named[f'f1_{percent}_multiple'] = _mean(multiple)
        return {
            **named,
            'f1_zero': _mean(zero),
            'n': len(self.f1['multiple_50']) + len(zero),
            'n_zero': len(zero),
        }


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float('nan')


def _plain(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    return None if np.isnan(value) else round(float(value), 4)


class Answering(Protocol):
    """What the benchmark needs of a ``Grounder``, so that baselines can stand in its place."""

    settings: GrounderSettings

    def clear(self) -> None:
        """Forget the map."""

    def update(self, key: ChunkKey, cloud: PointCloud) -> None:
        """Replace the points of a chunk (map frame, metres)."""

    def encode(self) -> object:
        """Prepare for queries; the answers' latency says how long it took."""

    def ground(self, query: str) -> Grounding:
        """Answer a query."""


def give_map(grounder: Answering, cloud: PointCloud) -> None:
    """Replace a grounder's map, and let it answer however unsure it is, and however often."""
    grounder.settings = replace(grounder.settings, score_threshold=0.0, max_instances=MANY)
    grounder.clear()
    for key, chunk in split_into_chunks(cloud, grounder.settings.chunk_size).items():
        grounder.update(key, chunk)
    grounder.encode()


def evaluate_room(grounder: Answering, room: EvaluationRoom, scores: Scores) -> None:
    """Give the grounder a room's map and ask it everything; ``scores`` grows.

    The grounder's own threshold would leave out weak answers; metrics of ranking need them all,
    and accuracy takes the best answer however weak, as ScanRefer's protocol has it.
    """
    give_map(grounder, room.cloud)
    decode_seconds = 0.0
    matcher = _Matcher(room)
    for number, expression in enumerate(_expressions(room)):
        answer = grounder.ground(expression.text)
        if number == 0:
            scores.encode_seconds.append(answer.latency.encode_ms / 1e3)
        decode_seconds += answer.latency.decode_ms / 1e3
        _score(expression, answer, room, matcher, scores)
    decode_seconds += _score_categories(grounder, room, matcher, scores)
    scores.decode_seconds.append(decode_seconds)


def _expressions(room: EvaluationRoom) -> list[Expression]:
    kinds = ('noun', 'colour_noun', *REFERRING, 'several', 'none')
    limit = SENTENCES * room.number
    return make_expressions(room.room, kinds=kinds, visible_ids=room.visible_ids, limit=limit)


def _score(
    expression: Expression,
    answer: Grounding,
    room: EvaluationRoom,
    matcher: _Matcher,
    scores: Scores,
) -> None:
    best = answer.targets[0] if answer.targets else None
    targets = [room.box(i) for i in expression.target_ids]
    answered = [i.box for i in answer.targets if i.score >= ANSWER_SCORE]
    if expression.kind == 'none':
        scores.absent.append(1 - answer.none_score)
        scores.f1['zero'].append(f1_at(answered, [], 0.5))
        return
    if expression.kind == 'several':
        scores.f1['multiple_25'].append(f1_at(answered, targets, 0.25))
        scores.f1['multiple_50'].append(f1_at(answered, targets, 0.5))
        return
    thing = room.room.object(expression.target_ids[0])
    group = {'noun': 'nouns', 'colour_noun': 'colour_nouns'}.get(expression.kind, 'referring')
    groups = [group]
    if is_held_out(thing):
        groups = ['held_out'] if group == 'colour_nouns' else [group, f'{group}_held_out']
    truth = room.mask(thing.instance_id)
    for name in groups:
        scores.ious[name].append(best_iou(best.box if best else None, targets))
        scores.mask_ious[name].append(mask_iou(matcher.mask(best), truth) if best else 0.0)
    if group == 'referring':
        _score_choice(expression, best.box if best else None, room, scores)
    else:
        scores.present.append(1 - answer.none_score)


def _score_choice(
    expression: Expression, answer: Box | None, room: EvaluationRoom, scores: Scores
) -> None:
    """Given that some object of the right kind was answered: was it the right one of them?"""
    target = room.room.object(expression.target_ids[0])
    same = [i for i in room.visible_ids if room.room.object(i).kind == target.kind]
    if len(same) < 2 or answer is None:
        return
    ious = {i: answer.iou(room.box(i)) for i in same}
    chosen = max(ious, key=lambda i: ious[i])
    if ious[chosen] >= 0.25:
        scores.target_given_kind.append(float(chosen == target.instance_id))
        scores.chance_given_kind.append(1 / len(same))


def _score_categories(
    grounder: Answering, room: EvaluationRoom, matcher: _Matcher, scores: Scores
) -> float:
    """Ask for every category, present or not, as in open-vocabulary instance segmentation.

    Returns the seconds that decoding took.
    """
    things = [room.room.object(i) for i in room.visible_ids]
    kinds, seconds = list(KINDS), 0.0
    for first in range(0, len(kinds), KINDS_PER_PROMPT):
        asked = kinds[first : first + KINDS_PER_PROMPT]
        answer = grounder.ground('. '.join(asked))
        seconds += answer.latency.decode_ms / 1e3
        for kind in asked:
            own = [instance for instance in answer.instances if instance.phrase == kind]
            truths = [room.mask(thing.instance_id) for thing in things if thing.kind == kind]
            ious = np.array([[mask_iou(matcher.mask(a), truth) for truth in truths] for a in own])
            scores.detections[kind].append(
                SceneDetections(
                    np.array([instance.score for instance in own]),
                    ious.reshape(len(own), len(truths)),
                )
            )
    return seconds


class _Matcher:
    """Finds an answer's points among the map's."""

    def __init__(self, room: EvaluationRoom) -> None:
        self._tree = cKDTree(room.cloud.positions)
        self._count = len(room.cloud)

    def mask(self, answer: GroundedInstance) -> NDArray[np.bool_]:
        mask = np.zeros(self._count, bool)
        mask[self._tree.query(answer.points)[1]] = True
        return mask
