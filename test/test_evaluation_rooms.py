"""The benchmark itself is measured with answers that are known to be right, and with silence."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.grounder import GrounderSettings
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding
from training.evaluate import evaluate
from training.evaluation import benchmark
from training.evaluation.benchmark import Scores, evaluate_room
from training.evaluation.houses import house_of
from training.evaluation.rooms import EvaluationRoom, evaluation_room


@pytest.fixture(scope='module')
def room() -> EvaluationRoom:
    return evaluation_room(3, 'test')


@pytest.fixture(scope='module')
def house(room) -> EvaluationRoom:
    return house_of([room, evaluation_room(4, 'test'), room])


class _KnowsAll:
    """Answers with the truth about a room, or with nothing, in the Grounder's place."""

    def __init__(self, room: EvaluationRoom, is_silent: bool = False) -> None:
        self.settings = GrounderSettings()
        self._room, self._is_silent = room, is_silent
        self._targets = {
            expression.text: expression.target_ids for expression in benchmark._expressions(room)
        }

    def clear(self) -> None:
        pass

    def encode(self) -> None:
        pass

    def update(self, key, cloud) -> None:
        assert len(cloud) > 0

    def ground(self, query: str) -> Grounding:
        answer = Grounding(query, 0, 'map')
        if self._is_silent:
            return answer
        if query in self._targets:
            instances = [self._instance(i, query) for i in self._targets[query]]
        else:
            instances = [
                self._instance(i, kind)
                for kind in query.split('. ')
                for i in self._room.visible_ids
                if self._room.room.object(i).kind == kind
            ]
        return replace(answer, instances=instances, none_score=float(not instances))

    def _instance(self, number: int, phrase: str) -> GroundedInstance:
        points = self._room.cloud.positions[self._room.mask(number)]
        box, scores = Box.from_points(points), np.ones(len(points), np.float32)
        return GroundedInstance(number, phrase, (0, 1), True, 1.0, box, points, scores)


def test_points_carry_the_instance_that_they_were_seen_on(room):
    assert len(room.visible_ids) >= 5
    inside = []
    for number in room.visible_ids:
        box = room.room.object(number).box
        grown = Box(box.center, box.size + 0.3)
        inside.append(grown.contains(room.cloud.positions[room.mask(number)]).mean())
    assert min(inside) > 0.9


def test_the_truth_scores_full_marks(room):
    scores = Scores()
    evaluate_room(_KnowsAll(room), room, scores)
    summary = scores.summary()
    for group in ('colour_nouns', 'nouns', 'referring'):
        assert summary[group]['n'] > 0
        assert summary[group]['acc25'] == summary[group]['acc50'] == 1
    assert summary['nouns']['AP'] == summary['nouns']['AP25'] == 1
    assert summary['referring']['acc75'] == 1
    assert summary['referring']['target_given_kind'] in (1, None)
    assert summary['absent'] == {
        'auroc': 1, 'false_answers_at_90_recall': 0, 'n': summary['absent']['n'],
    }  # fmt: skip
    assert summary['several']['f1_25'] == summary['several']['f1_50'] == 1
    for group in ('head', 'common', 'tail'):
        assert summary['nouns'][f'AP25_{group}'] in (1, None)
    json.dumps(summary, allow_nan=False)


def test_silence_scores_nothing(room):
    scores = Scores()
    evaluate_room(_KnowsAll(room, is_silent=True), room, scores)
    summary = scores.summary()
    assert summary['colour_nouns']['acc25'] == summary['nouns']['AP25'] == 0
    assert summary['absent']['auroc'] == 0.5
    assert summary['absent']['false_answers_at_90_recall'] == 1
    several = summary['several']
    assert several['f1_25_multiple'] in (0, None)
    assert several['f1_zero'] == 1
    assert several['n_zero'] == summary['absent']['n']
    assert several['f1_25'] == pytest.approx(several['n_zero'] / several['n'], abs=1e-4)


def test_a_house_holds_its_rooms_beside_each_other(room, house):
    last = len(house.room.objects) - len(room.room.objects)
    lower, upper = (
        np.stack([getattr(o.box, c) for o in house.room.objects]) for c in ('lower', 'upper')
    )
    for own in room.room.objects:
        for first in (0, last):
            assert house.mask(own.instance_id + first).sum() == room.mask(own.instance_id).sum()
        copy = house.room.object(own.instance_id + last)
        assert (copy.kind, copy.color_name) == (own.kind, own.color_name)
        assert copy.support == (None if own.support is None else own.support + last)
        others = slice(0, last)  # of the other rooms
        apart = (lower[others] > copy.box.upper) | (upper[others] < copy.box.lower)
        assert apart.any(axis=1).all()
        if own.instance_id in room.visible_ids:
            points = house.cloud.positions[house.mask(copy.instance_id)]
            assert Box(copy.box.center, copy.box.size + 0.3).contains(points).mean() > 0.9


def test_what_is_asked_in_a_house_is_one_of_its_kind_in_all_rooms(room, house):
    asked = [e for e in benchmark._expressions(house) if e.kind == 'colour_noun']
    alone = {room.room.object(i).instance_id for i in room.visible_ids}
    last = len(house.room.objects) - len(room.room.objects)
    twins = alone | {number + last for number in alone}
    assert asked
    assert not twins & {number for e in asked for number in e.target_ids}


def test_the_truth_scores_full_marks_in_a_house(house):
    scores = Scores()
    evaluate_room(_KnowsAll(house), house, scores)
    summary = scores.summary()
    for group in ('colour_nouns', 'nouns', 'referring'):
        assert summary[group]['acc50'] == 1
    assert summary['referring']['n'] > 3 * benchmark.SENTENCES


def test_lifting_is_for_single_rooms():
    with pytest.raises(ValueError, match='expected 1 room per map'):
        evaluate('', seed=1, rooms=2, baseline='lifting', rooms_per_map=2)


def test_evaluating_the_shipped_checkpoint_fills_the_layout(tmp_path):
    result = evaluate('', seed=1, rooms=1)
    assert {'acc25', 'acc50', 'n'} <= set(result['colour_nouns'])
    assert {'acc25', 'acc50', 'AP', 'AP50', 'AP25', 'n'} <= set(result['nouns'])
    assert {'acc25', 'acc50', 'n'} <= set(result['held_out'])
    assert {'acc25', 'acc50', 'acc75', 'target_given_kind', 'chance_given_kind', 'n'} <= set(
        result['referring']
    )
    assert {'auroc', 'false_answers_at_90_recall'} <= set(result['absent'])
    assert result['seconds_per_room']['encode'] > 0
    assert result['seconds_per_room']['decode'] > 0


def test_scores_of_several_processes_add_up(room):
    together, first, second = Scores(), Scores(), Scores()
    for scores, is_silent in ((first, False), (second, True)):
        evaluate_room(_KnowsAll(room, is_silent), room, scores)
        evaluate_room(_KnowsAll(room, is_silent), room, together)
    first.extend(second)
    assert first.summary() | {'seconds_per_room': 0} == together.summary() | {'seconds_per_room': 0}
