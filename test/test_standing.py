"""Standing queries, without a graph: which stay, which are answered again, and which go."""

import dataclasses

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from concurrent.futures import Future  # noqa: E402

import numpy as np  # noqa: E402
from test_answering import Bench, CountingGrounder  # noqa: E402

from lift_gs_ros.geometry import Box  # noqa: E402
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding  # noqa: E402
from lift_gs_ros.nodes.answering import Question  # noqa: E402
from lift_gs_ros.nodes.standing import StandingQueries, shown_instances  # noqa: E402


class HalvesGrounder(CountingGrounder):
    """Each query is about the chunks whose number has as many odd bits as its length: some."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def clear(self) -> None:
        super().clear()
        self.rounds: dict[int, int] = {}

    def encode(self, budget=None, between=None) -> bool:
        number = self.dirty[0][0]
        self.rounds[number] = self.rounds.get(number, 0) + 1
        return super().encode(budget)

    def ground_many(self, queries) -> list[Grounding]:
        self.batches.append(list(queries))
        if 'crash' in queries:
            raise RuntimeError('out of memory')
        return [Grounding(q, 0, 'map', basis=self.basis(q), map=self.map) for q in queries]

    def ground_again(self, answers) -> list[Grounding]:
        changed = [a.query for a in answers if a.basis != self.basis(a.query)]
        new = dict(zip(changed, self.ground_many(changed))) if changed else {}
        return [new.get(answer.query, answer) for answer in answers]

    def basis(self, query: str):
        return tuple((n, r) for n, r in sorted(self.rounds.items()) if n % 2 == len(query) % 2)


class StandingBench(Bench):
    def __init__(self, **changed) -> None:
        super().__init__(**{'query_mode': 'standing', **changed})
        self.grounder = HalvesGrounder()
        self.standing: list[str] = []

    def publish(self, news) -> None:
        self.answers += [(a.query, a.map.version, a.message) for a in news.answers]
        self.standing = news.standing.texts

    def ask(self, *texts: str) -> None:
        for text in texts:
            self.answering.ask(Question(text))
        self.step()

    def asked_last(self) -> list[str]:
        queries, self.answers = [answer[0] for answer in self.answers], []
        return queries


@pytest.fixture
def bench() -> StandingBench:
    bench = StandingBench()
    bench.put(0, version=1)
    bench.put(1, version=1)
    bench.step(3)
    return bench


def test_every_distinct_text_stands_and_the_same_text_stands_once(bench):
    bench.ask('the mug')
    bench.ask('a chair')
    bench.ask('the mug')
    assert bench.standing == ['a chair', 'the mug']
    assert bench.asked_last() == ['the mug', 'a chair', 'the mug']


def test_what_waits_is_answered_in_one_batch_topic_and_service_alike(bench):
    reply: Future = Future()
    bench.answering.ask(Question('the mug', reply))
    bench.ask('the mug', 'a chair')
    assert bench.grounder.batches[-1] == ['the mug', 'a chair']
    assert bench.standing == ['the mug', 'a chair']
    assert reply.result(0).query == 'the mug'


def test_of_many_that_ask_together_the_first_do_not_wait_for_the_last(bench):
    texts = [f'thing {letter}' for letter in 'abcdefghi']
    bench.ask(*texts)
    batches = bench.grounder.batches
    assert [text for batch in batches for text in batch] == texts
    assert 1 < max(map(len, batches)) < len(texts)


def test_only_queries_whose_chunks_changed_are_answered_again_with_the_version_of_the_map(bench):
    bench.ask('even', 'odd')  # about chunks 0 and 1
    bench.answers.clear()
    bench.put(1, version=5)
    bench.step(2)
    assert bench.answers == []  # the same chunk again, as for a new reader
    bench.put(3, version=6)
    bench.step(2)
    assert bench.answers == [('odd', 6, '')]
    bench.answers.clear()
    bench.put(2, version=7)
    bench.put(5, version=7)
    bench.step(3)
    assert {(query, version) for query, version, _ in bench.answers} == {('odd', 7), ('even', 7)}


def test_the_oldest_makes_room_and_is_said_to_have_gone():
    bench = StandingBench(max_standing_queries=2)
    bench.ask('a', 'b', 'c')
    assert bench.standing == ['b', 'c']
    gone = [message for query, _, message in bench.answers if query == 'a' and message]
    assert 'no longer standing: there are 2 newer queries' in gone[-1]
    assert bench.report.counts()['dropped_standing_queries'] == 1


def test_one_is_cancelled_or_all(bench):
    bench.ask('a', 'b', 'c')
    assert bench.answering.cancel('b') == (True, ['a', 'c'])
    assert bench.standing == ['a', 'c']
    assert bench.answering.cancel('b') == (False, ['a', 'c'])
    assert bench.answering.cancel('') == (True, [])
    assert bench.standing == []
    bench.asked_last()
    bench.put(7, version=9)
    bench.step(2)
    assert bench.answers == []


def test_an_empty_text_clears_and_later_ones_of_the_same_moment_stand(bench):
    bench.ask('a', '  ', 'b')
    assert bench.standing == ['b']
    bench.ask('')
    assert bench.standing == []
    assert bench.answers[-1][2] == 'empty query'


def test_a_refused_text_leaves_the_standing_ones_alone(bench):
    bench.ask('a')
    bench.ask('b' * 5000)
    assert bench.standing == ['a']
    assert 'expected at most' in bench.answers[-1][2]


def test_a_query_stands_though_queries_must_be_shorter_from_now_on(bench):
    bench.ask('the red chair')
    bench.answering._values['max_query_length'] = 5
    bench.asked_last()
    bench.put(0, version=1, map_id=2, chunk_size=0.1)  # refused: a map without chunks
    bench.step(2)
    assert bench.answers[-1] == ('the red chair', 0, 'no map yet')
    bench.put(0, version=1, map_id=2)
    bench.step(3)
    assert bench.answers[-1] == ('the red chair', 1, '')


def test_a_text_that_crashes_takes_no_other_along(bench):
    bench.ask('a', 'crash', 'b')
    messages = {query: message for query, _, message in bench.answers}
    assert messages == {'a': '', 'b': '', 'crash': 'failed: RuntimeError: out of memory'}


def test_the_latest_mode_keeps_the_last_text_only():
    bench = StandingBench(query_mode='latest')
    bench.put(0, version=1)
    bench.step(2)
    bench.ask('a', 'b')
    assert bench.standing == ['b']
    assert bench.asked_last() == ['a', 'b']
    bench.ask('c' * 5000)
    assert bench.standing == []


def test_a_changed_threshold_answers_again_what_stands(bench):
    bench.ask('a')
    bench.answering._values['score_threshold'] = 0.9
    bench.step(2)
    assert bench.grounder.settings.score_threshold == 0.9


def test_what_stands_is_answered_on_the_new_map_when_another_one_takes_the_place(bench):
    bench.ask('a', 'b')
    bench.asked_last()
    bench.put(0, version=1, map_id=2)
    bench.step(3)
    assert {(query, version) for query, version, _ in bench.answers} >= {('a', 1), ('b', 1)}


def instance(number: int, phrase: str, score: float, is_target: bool = True) -> GroundedInstance:
    points = np.zeros((1, 3), np.float32)
    box = Box.from_points(points)
    return GroundedInstance(number, phrase, (0, 1), is_target, score, box, points, points[:, 0])


def test_an_object_that_several_answers_name_is_shown_once_by_the_best_of_them():
    chair, mug = instance(1, 'the chair', 0.6), instance(2, 'mug', 0.7)
    red, mentioned = instance(1, 'the red chair', 0.9), instance(2, 'the mug', 0.95, False)
    answers = [
        Grounding('the chair', 0, 'map', [chair, mentioned]),
        Grounding('the red chair', 0, 'map', [red]),
        Grounding('mug', 0, 'map', [mug]),
    ]
    shown = shown_instances(answers)
    assert [[i.phrase for i in same] for same in shown] == [
        ['the red chair', 'the chair'],
        ['mug', 'the mug'],
    ]


def test_answers_that_did_not_change_are_no_news():
    standing = StandingQueries()
    old = Grounding('a', 0, 'map')
    standing.add(old, most=3)
    standing.add(Grounding('b', 0, 'map'), most=3)
    new = dataclasses.replace(standing.answers[1], stamp=5)
    assert standing.update([old, new]) == [new]
    assert standing.answers == [old, new]


def test_a_new_query_does_not_wait_until_all_that_stand_are_answered_again():
    bench = StandingBench()
    bench.put(0, version=1)
    bench.step(3)
    texts = ['a' * (2 * i) for i in range(1, 11)]  # all about chunk 0
    bench.ask(*texts)
    bench.step(3)
    bench.asked_last()
    bench.grounder.batches.clear()
    bench.put(0, version=2, grey=1)
    bench.step()  # encodes it, and answers the first of them again
    bench.ask('a new one!')
    assert bench.grounder.batches[1] == ['a new one!']
    assert len(bench.grounder.batches[0]) < len(texts)
    bench.step(5)
    again = [text for batch in bench.grounder.batches for text in batch]
    assert sorted(again) == sorted([*texts, 'a new one!'])
