"""The benchmark's numbers in a room of five things, counted by hand from answers made up for it."""

import numpy as np
import pytest

from lift_gs_ros.geometry import Box, PointCloud
from lift_gs_ros.grounding.grounder import GrounderSettings
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding, Latency
from lift_gs_ros.simulation.expressions import Expression
from lift_gs_ros.simulation.room import Room, RoomObject
from lift_gs_ros.simulation.vocabulary import KINDS
from training.evaluation import benchmark
from training.evaluation.benchmark import Scores, evaluate_room
from training.evaluation.rooms import EvaluationRoom

THINGS = [  # of colours and shapes that no training room holds: the orange chair, the armless sofa
    ('brown', 'chair', 'plain'), ('orange', 'chair', 'plain'), ('brown', 'chair', 'plain'),
    ('green', 'plant', 'bush'), ('brown', 'sofa', 'armless'),
]  # fmt: skip
ASKED = {  # text: kind of the expression, its target, what is answered
    'the plant': ('noun', 4, [4]),
    'the sofa': ('noun', 5, []),
    'the green plant': ('colour_noun', 4, [4]),
    'the orange chair': ('colour_noun', 2, [1]),
    'the chair by the door': ('relation', 1, [1]),
    'the last chair': ('ordinal', 2, [3]),  # a wrong one
    'the tall chair': ('attribute', 2, [2]),
    'the chair by the plant': ('relation', 3, [4]),  # no chair at all: no choice among chairs
    'the plant by the sofa': ('relation', 4, [4]),  # one of a kind: no choice either
}
FOUND = {'chair': [2], 'plant': [4], 'sofa': [3]}  # when asked for categories
DECODE_MS = 100.0


def _room() -> EvaluationRoom:
    block = 0.1 * np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)
    parts = [block + [2.0 * number, 0, 0] for number in range(len(THINGS))]
    objects = tuple(
        RoomObject(i, kind, variant, color, part[0], 0.0, None, None, Box.from_points(part))
        for i, ((color, kind, variant), part) in enumerate(zip(THINGS, parts), 1)
    )
    cloud = PointCloud(np.concatenate(parts).astype(np.float32), np.zeros((320, 3), np.float32))
    ids = np.repeat(np.arange(1, 6), 64).astype(np.int32)
    return EvaluationRoom(Room(0, 'test', objects, (), None, 2.5), cloud, ids)


class _Answers:
    """Says what the tables above say."""

    def __init__(self, room: EvaluationRoom) -> None:
        self.settings = GrounderSettings()
        self._room = room

    def clear(self) -> None:
        pass

    def update(self, key, cloud) -> None:
        pass

    def encode(self) -> None:
        pass

    def ground(self, query: str) -> Grounding:
        if query in ASKED:
            found = [(i, query) for i in ASKED[query][2]]
        else:
            found = [(i, kind) for kind in query.split('. ') for i in FOUND.get(kind, [])]
        instances = [self._instance(i, phrase) for i, phrase in found]
        return Grounding(query, 0, 'map', instances, latency=Latency(decode_ms=DECODE_MS))

    def _instance(self, number: int, phrase: str) -> GroundedInstance:
        points = self._room.cloud.positions[self._room.mask(number)]
        scores = np.ones(len(points), np.float32)
        box = Box.from_points(points)
        return GroundedInstance(number, phrase, (0, 1), True, 1.0, box, points, scores)


@pytest.fixture
def summary(monkeypatch) -> dict:
    expressions = [
        Expression(text, kind, (target,), (0, 1), ()) for text, (kind, target, _) in ASKED.items()
    ]
    monkeypatch.setattr(benchmark, '_expressions', lambda _: expressions)
    room, scores = _room(), Scores()
    evaluate_room(_Answers(room), room, scores)
    return scores.summary()


def _accuracy(summary: dict, group: str) -> tuple:
    own = summary[group]
    assert own['acc25'] == own['acc50'] == own['miou']  # all or nothing here
    return own['n'], own['acc25']


def test_held_out_colour_nouns_are_counted_apart(summary):
    assert _accuracy(summary, 'colour_nouns') == (1, 1)
    assert _accuracy(summary, 'held_out') == (1, 0)


def test_held_out_nouns_and_referring_expressions_are_counted_with_the_others_and_apart(summary):
    assert _accuracy(summary, 'nouns') == (2, 0.5)
    assert _accuracy(summary, 'nouns_held_out') == (1, 0)
    assert _accuracy(summary, 'referring') == (5, 0.6)
    assert _accuracy(summary, 'referring_held_out') == (2, 0.5)


def test_a_choice_is_one_among_several_of_the_kind_that_was_answered_with(summary):
    # The chair by the door and the tall one are right, the last one is not; each of three chairs.
    assert summary['referring']['target_given_kind'] == pytest.approx(2 / 3, abs=1e-4)
    assert summary['referring']['chance_given_kind'] == pytest.approx(1 / 3, abs=1e-4)


def test_average_precision_is_of_head_common_and_tail_categories(summary):
    nouns = summary['nouns']
    assert nouns['AP25_head'] == pytest.approx(1 / 3, abs=1e-4)  # one of three chairs
    assert nouns['AP25_common'] == 1  # the plant
    assert nouns['AP25_tail'] == 0  # a chair for the sofa
    assert nouns['AP25'] == pytest.approx(4 / 9, abs=1e-4)


def test_the_time_of_decoding_holds_the_categories_too(summary):
    prompts = -(-len(KINDS) // benchmark.KINDS_PER_PROMPT)
    expected = (len(ASKED) + prompts) * DECODE_MS / 1e3
    assert summary['seconds_per_room']['decode'] == pytest.approx(expected)
