"""What grounding_node's worker does between two messages, step by step, without a graph."""

import time
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from lift_gs_ros.geometry import PointCloud  # noqa: E402
from lift_gs_ros.grounding.instances import Grounding, MapSummary  # noqa: E402
from lift_gs_ros.nodes.answering import Answering, Question  # noqa: E402
from lift_gs_ros.nodes.conversions import ChunkUpdate  # noqa: E402
from lift_gs_ros.nodes.map_intake import CHUNK_COST  # noqa: E402
from lift_gs_ros.nodes.parameters import GROUNDING  # noqa: E402
from lift_gs_ros.nodes.reporting import ERROR, Report  # noqa: E402


@dataclass(frozen=True)
class Settings:
    frame_id: str = 'map'
    chunk_size: float = 1.0
    score_threshold: float = 0.3
    mask_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.chunk_size < 0.6:
            raise ValueError(f'chunk_overlap is 0.6 m, expected 0 to {self.chunk_size} m')


class CountingGrounder:
    """Says in its answer's message which chunks are encoded."""

    weights, settings, device = 'stand-in', Settings(), 'cpu'

    def __init__(self) -> None:
        self.camera, self.asked_again = None, []
        self.clear()

    def clear(self) -> None:
        self.dirty: list = []
        self.encoded: set = set()

    def update(self, key, cloud) -> None:
        self.dirty.append(key)

    def encode(self, budget=None, between=lambda: None) -> bool:
        between()
        between()
        self.encoded.add(self.dirty.pop(0))
        return bool(self.dirty)

    def set_map(self, summary, stamp) -> None:
        self.map = summary

    def ground_many(self, queries) -> list[Grounding]:
        message = ' '.join(str(key[0]) for key in sorted(self.encoded))
        return [Grounding(query, 0, 'map', message=message) for query in queries]

    def ground_again(self, answers) -> list[Grounding]:
        self.asked_again.append([answer.query for answer in answers])
        return self.ground_many(self.asked_again[-1])


class Bench:
    def __init__(self, **changed) -> None:
        values = {parameter.name: parameter.default for parameter in GROUNDING}
        self.grounder, self.answers = CountingGrounder(), []
        self.told: list[str] = []
        self.report = Report(lambda text: None, self.told.append)
        self.answering = Answering(
            {**values, 'answer_rate': 1e9, **changed},
            lambda: self.grounder,
            self.publish,
            self.report,
        )

    def publish(self, news) -> None:
        self.answers += [answer.message for answer in news.answers]

    def put(
        self,
        number: int,
        version: int,
        chunk_size: float = 1.0,
        map_id: int = 1,
        grey: float = 0,
        points: int = 1,
    ) -> None:
        positions = np.tile([number, 0, 0], (points, 1))
        cloud = PointCloud(positions, np.full((points, 3), grey))
        key, summary = (number, 0, 0), MapSummary(version=version)
        update = ChunkUpdate(key, cloud, chunk_size, 0.05, summary, version, 'map', map_id)
        self.answering.put_chunk(update)

    def step(self, number: int = 1) -> None:
        for _ in range(number):
            self.answering.step()


def test_the_last_answer_knows_every_chunk_however_many_came_at_once():
    bench = Bench()
    for number in range(4):
        bench.put(number, version=1)
    bench.answering.ask(Question('the red mug'))
    bench.step(6)
    assert bench.answers[-1] == '0 1 2 3'
    count = len(bench.answers)
    bench.step(2)
    assert len(bench.answers) == count, 'nothing has changed'


def test_whoever_reads_the_log_sees_in_one_line_what_was_asked_and_answered():
    bench = Bench()
    bench.put(7, version=1)
    bench.answering.ask(Question('the red\nmug'))
    bench.step(2)
    assert bench.told == [r"'the red\nmug': 7"]


def test_a_query_does_not_wait_for_an_encoding_but_a_flood_does_not_hold_it_up():
    bench = Bench()
    bench.put(0, version=1)
    bench.step(2)
    encode = bench.grounder.encode

    def encode_while_asked(budget, between) -> bool:
        def ask() -> None:
            bench.answering.ask(Question('the red mug'))
            between()

        return encode(budget, ask)

    bench.grounder.encode = encode_while_asked
    bench.put(1, version=2)
    bench.step()
    assert bench.answers == ['0', '0 1'], 'one in between, and again with the new chunk'
    bench.step()
    assert bench.answers == ['0', '0 1', '0 1'], 'the second question had to wait'


def test_a_chunk_is_not_lost_for_an_answer_in_between_that_can_not_be_given():
    bench = Bench()
    bench.put(0, version=1)
    bench.step(2)
    bench.put(1, version=2)
    encode = bench.grounder.encode

    def encode_while_asked(budget, between) -> bool:
        answered: Future = Future()
        answered.set_result(None)
        bench.answering.ask(Question('the red mug', answered))
        return encode(budget, between)

    bench.grounder.encode = encode_while_asked
    bench.step()
    assert bench.report.counts()['errors'] == 1
    assert bench.grounder.encoded == {(0, 0, 0), (1, 0, 0)}
    assert 'failed_encodes' not in bench.report.counts()


def test_a_chunk_that_changes_all_the_time_is_encoded_again_at_answer_rate_and_a_new_one_at_once():
    bench = Bench(answer_rate=4.0)
    rounds: list = []
    encode = bench.grounder.encode
    bench.grounder.encode = lambda **_: rounds.append(bench.grounder.dirty[0]) or encode()
    begin = time.monotonic()
    version = 0
    while time.monotonic() < begin + 0.9:  # changes much faster
        version += 1
        bench.put(0, version, grey=version % 2)
        bench.step()
    assert 2 <= len(rounds) <= 4
    bench.put(1, version)
    bench.step()
    assert rounds[-1] == (1, 0, 0)
    bench.put(0, version, map_id=2)  # another map does not wait either
    bench.step()
    assert rounds[-1] == (0, 0, 0)
    bench.put(0, version + 1, map_id=2, grey=1)
    assert bench.answering.encoding, 'answers do not know it yet'


def test_a_chunk_that_was_held_back_makes_no_answer_older():
    bench = Bench(answer_rate=10.0)
    bench.put(0, 1)
    bench.step()
    bench.put(0, 2, grey=1)  # waits
    bench.put(1, 3)
    bench.step()
    assert (bench.answering.summary.version, bench.answering.summary.chunks) == (3, 2)
    assert bench.answering.encoding
    while bench.answering.encoding:
        bench.step()
    assert bench.answering.summary.version == 3
    assert bench.grounder.map.version == 3


def test_what_was_held_back_of_a_past_map_is_no_second_mapper():
    bench = Bench(answer_rate=1.0)
    bench.put(0, 1)
    bench.step()
    bench.put(0, 2, grey=1)  # waits
    bench.put(1, 1, map_id=2)
    bench.step()
    bench.step()
    assert not bench.answering.encoding
    assert bench.report.counts() == {}
    bench.put(0, 3, map_id=1)
    bench.step()
    assert bench.report.counts() == {'chunks_of_past_maps': 1}


def test_latched_chunks_of_a_past_map_do_not_cost_those_of_the_map_after_a_break():
    bench = Bench()
    bench.put(0, 1)
    bench.step()
    bench.put(1, 1, map_id=2)
    bench.step()
    bench.answering.forget_map()  # as an inactive node
    bench.put(0, 1)
    bench.put(1, 1, map_id=2)
    bench.put(2, 2, map_id=2)
    bench.step(3)
    assert bench.grounder.encoded == {(1, 0, 0), (2, 0, 0)}
    assert bench.report.counts() == {}


def test_a_service_is_told_when_what_comes_before_its_answer_fails():
    bench, reply = Bench(), Future()

    def fail(*_) -> None:
        raise RuntimeError('the disk is on fire')

    bench.answering._intake.take_in = fail
    bench.answering.ask(Question('the red mug', reply))
    with pytest.raises(RuntimeError, match='on fire'):
        bench.step()
    assert reply.result(0).message == 'failed: RuntimeError: the disk is on fire'


def test_a_query_that_came_before_chunks_that_wait_is_answered_from_them():
    bench = Bench()
    bench.answering.ask(Question('the red mug'))
    bench.put(0, version=1)  # as while the model is being loaded
    bench.step()
    assert 'no map yet' not in bench.answers


def test_the_first_answer_on_a_large_map_waits_for_one_chunk_only():
    bench = Bench()
    for number in range(4):
        bench.put(number, version=1)
    bench.answering.ask(Question('the red mug'))
    bench.step()
    assert bench.answers[0] == '0'


def test_a_new_map_whose_chunks_arrive_together_with_the_last_of_the_old_one_is_kept_whole():
    bench = Bench()
    bench.put(0, version=99)
    bench.step()
    bench.put(1, version=100)
    bench.put(2, version=1, map_id=2)  # mapping_node was started again
    bench.put(3, version=2, map_id=2)
    bench.step(4)
    bench.put(4, version=3, map_id=2)
    bench.step(2)
    assert bench.grounder.encoded == {(2, 0, 0), (3, 0, 0), (4, 0, 0)}
    assert (bench.answering.summary.version, bench.answering.summary.chunks) == (3, 3)


def test_a_new_map_that_has_overtaken_the_old_ones_version_takes_nothing_over():
    bench = Bench()
    bench.put(0, version=2)
    bench.step()
    bench.put(1, version=9, map_id=2)
    bench.put(0, version=3)  # of the old map, and late: it does not come back
    bench.put(2, version=10, map_id=2)
    bench.step(3)
    assert bench.grounder.encoded == {(1, 0, 0), (2, 0, 0)}
    assert bench.report.counts() == {'chunks_of_past_maps': 1}


def test_a_chunk_that_waited_when_the_map_was_forgotten_does_not_come_back():
    bench = Bench()
    bench.put(0, version=1)
    bench.step(2)
    bench.put(1, version=2)
    bench.answering.forget_map()  # as an inactive node; chunk 1 is carved away meanwhile
    bench.put(0, version=3)
    bench.step(3)
    assert bench.grounder.encoded == {(0, 0, 0)}


def test_chunks_of_one_map_may_come_in_any_order():
    bench = Bench()
    for number, version in enumerate((5, 3, 4)):
        bench.put(number, version)
    bench.step(4)
    assert bench.grounder.encoded == {(0, 0, 0), (1, 0, 0), (2, 0, 0)}


def test_a_chunk_that_is_refused_does_not_take_the_others_along():
    bench = Bench()
    bench.put(0, version=1, chunk_size=0.5)
    bench.put(1, version=1)
    bench.step(3)
    assert bench.report.counts() == {'bad_chunks': 1}
    assert bench.grounder.encoded == {(1, 0, 0)}


def test_a_chunk_that_cannot_be_encoded_is_an_error_and_the_others_follow():
    bench = Bench()
    bench.put(0, version=1)
    bench.put(1, version=1)
    encode, failures = bench.grounder.encode, []

    def fail_once(budget, between):
        if not failures:
            failures.append(bench.grounder.dirty.pop(0))
            raise RuntimeError('no kernel')
        return encode(budget)

    bench.grounder.encode = fail_once
    bench.step(3)
    assert bench.grounder.encoded == {(1, 0, 0)}
    assert bench.report.health() == (ERROR, 'failed encodes: RuntimeError: no kernel')


THREE_CHUNKS = 3 * (1 + CHUNK_COST)


def test_a_map_stays_where_new_chunks_would_make_it_too_large_and_each_is_counted():
    bench = Bench(max_voxels=THREE_CHUNKS)
    for number in range(3):
        bench.put(number, 1)
    bench.step(3)
    for number in range(3, 200):  # ever new ones, taken in meanwhile or not
        bench.put(number, 2)
    bench.step()
    assert bench.answering.summary.chunks == 3
    assert bench.grounder.encoded == {(i, 0, 0) for i in range(3)}
    assert bench.report.counts()['refused_chunks'] == 197
    assert 'larger than max_voxels = 303: raise that' in bench.report.health()[1]
    bench.put(1, 3, grey=0.5)  # those that are there may change,
    bench.put(1, 4, points=2)  # but not grow,
    bench.step()
    assert bench.report.counts()['refused_chunks'] == 198
    assert bench.answering.summary.version == 3
    bench.put(7, 5, map_id=2)  # and another map may take their place
    bench.step()
    assert bench.answering.summary.chunks == 1


def test_chunks_that_wait_are_bounded_too_of_however_many_maps_they_are():
    bench = Bench(max_voxels=THREE_CHUNKS)
    for number in range(200):
        bench.put(number, 1, map_id=number, points=number % 2)
    assert bench.report.counts()['refused_chunks'] == 197


def test_a_chunk_that_goes_makes_room_though_it_is_held_back():
    bench = Bench(max_voxels=THREE_CHUNKS, answer_rate=0.01)
    for number in range(3):
        bench.put(number, 1)
    bench.step(3)
    for number in range(2):
        bench.put(number, 2, points=0)
    bench.put(3, 2)
    bench.step(2)
    assert bench.answering.encoding, 'the empty ones were not held back'
    assert (3, 0, 0) in bench.grounder.encoded
    assert 'refused_chunks' not in bench.report.counts()


def test_standing_queries_are_looked_at_again_when_the_camera_has_moved():
    bench = Bench()
    bench.answering.put_camera(np.array([0.0, 0, 0]), 'map')
    bench.step()
    bench.put(0, version=1)
    bench.answering.ask(Question('the nearest mug'))
    bench.step(3)
    assert bench.grounder.camera[0] == 0.0, 'it came before the map'
    count = len(bench.grounder.asked_again)
    for x, known in ((0.2, 0.0), (0.3, 0.3), (0.4, 0.3), (2.0, 2.0)):
        bench.answering.put_camera(np.array([x, 0, 0]), 'map')
        bench.step(2)
        assert bench.grounder.camera[0] == known
    assert bench.grounder.asked_again[count:] == [['the nearest mug']] * 2


def test_a_camera_in_another_frame_is_not_where_it_says():
    bench = Bench()
    bench.put(0, version=1)
    bench.answering.put_camera(np.zeros(3), 'map')
    bench.step(2)
    assert bench.grounder.camera is not None
    bench.answering.put_camera(np.zeros(3), 'odom')
    bench.step(3)
    assert bench.grounder.camera is None
    assert bench.report.counts()['cameras_in_other_frames'] == 1
    bench.answering.put_camera(np.zeros(3), 'map')
    bench.step()
    bench.answering.forget_map()
    assert bench.grounder.camera is None, 'it may be elsewhere when it is looked for again'
