"""Counters, log lines that do not flood, levels and latencies; and /diagnostics in a real graph."""

import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from ros_graph import FakeCamera, wait_until  # noqa: E402
from test_nodes import Robot, listen, make_mapping, map_good_frames, wait_for_count  # noqa: E402

from lift_gs_ros.nodes import reporting  # noqa: E402
from lift_gs_ros.nodes.conversions import stamp_to_ns  # noqa: E402
from lift_gs_ros.nodes.qos import RELIABLE  # noqa: E402
from lift_gs_ros.nodes.reporting import ERROR, OK, WARN, Report  # noqa: E402


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(reporting.time, 'monotonic', lambda: Clock.now)
    return Clock


def test_a_problem_that_lasts_is_logged_ever_less_often_and_a_new_one_at_once(clock):
    lines: list[str] = []
    report = Report(lines.append)
    logged_after = []
    for second in range(1200):
        report.problem('no_data', 'no camera')
        if len(lines) > len(logged_after):
            logged_after.append(second)
        clock.now += 1
    assert logged_after[:6] == [0, 5, 15, 35, 75, 155]
    assert np.diff(logged_after).max() <= 301
    assert report.counts() == {'no_data': 1200}
    report.clear('no_data')
    report.problem('no_data', 'again')
    assert lines[-1] == 'no data (1201 so far): again'
    clock.now += 100
    report.problem('no_data', 'after a while')
    assert lines[-1].endswith('after a while')


def test_debug_hears_of_every_problem_and_every_step_but_not_of_every_callback():
    warned: list[str] = []
    said: list[str] = []
    report = Report(warned.append, debug=said.append)
    report.problem('no_data', 'no camera\nof any kind')
    report.problem('no_data', 'no camera\nof any kind')
    report.time('fuse', 0.0123)
    report.timed('callback', lambda: None)()
    assert warned == ['no data (1 so far): no camera\nof any kind']
    assert said == ['no data (2 so far): no camera', 'fuse: 12.3 ms']
    assert set(report.latencies()) == {'fuse', 'callback'}


def test_of_many_things_done_in_a_second_one_is_told(clock):
    informed: list[str] = []
    debug: list[str] = []
    report = Report(lambda text: None, informed.append, debug.append)
    for number in range(30):
        report.done(str(number))
        clock.now += 0.1
    assert len(informed) == 3
    assert len(debug) == 27


def test_the_level_is_that_of_the_worst_problem_of_late(clock):
    report = Report(lambda text: None)
    assert report.health() == (OK, '')
    report.problem('dropped_pairs', 'too many')
    assert report.health() == (WARN, 'dropped pairs: too many')
    report.problem('no_data', 'no camera\n  /rgb', ERROR)
    assert report.health() == (ERROR, 'no data: no camera; dropped pairs: too many')
    assert report.clear('no_data')
    assert not report.clear('no_data')
    assert report.health()[0] == WARN
    clock.now += 11
    assert report.health() == (OK, '')
    report.problem('bad_images', ValueError())
    assert report.health() == (WARN, 'bad images: ')


def test_latencies_are_percentiles_of_the_last_minute(clock):
    report = Report(lambda text: None)
    report.time('fuse', 100.0)
    clock.now += 61
    for milliseconds in range(1, 101):
        report.time('fuse', milliseconds / 1000)
    assert report.latencies()['fuse'] == pytest.approx((50.5, 99.01))
    clock.now += 61
    assert report.latencies() == {}


class Board:
    """The newest status of a node on /diagnostics."""

    def __init__(self, client, name: str) -> None:
        self._name = name
        self._arrays = listen(client, DiagnosticArray, '/diagnostics', RELIABLE)

    @property
    def status(self):
        of_node = [a.status[0] for a in list(self._arrays) if a.status[0].name == self._name]
        return of_node[-1] if of_node else None

    def row(self, key: str) -> str:
        return {row.key: row.value for row in self.status.values}.get(key, '')

    def wait_for(self, level, text: str = '') -> None:
        wait_until(
            lambda: self.status and self.status.level == level and text in self.status.message,
            f'level {level} and {text!r}',
        )


def test_a_camera_that_goes_away_is_an_error_until_it_is_back(graph):
    client = graph.client()
    camera, board = FakeCamera(client), Board(client, 'mapping_node')
    mapping = make_mapping(graph, camera)
    map_good_frames(mapping, camera, 2)
    board.wait_for(OK, 'active')
    mapping._inputs._silence = 0.5
    board.wait_for(ERROR, 'no data: no complete input')
    mapping._inputs._silence = 5.0
    map_good_frames(mapping, camera, 2)
    board.wait_for(OK, 'active')
    for stage in ('queue', 'decode', 'pose', 'fuse', 'keyframe', 'callback'):
        p50, p99 = map(float, board.row(f'{stage} ms p50 / p99').split(' / '))
        assert 0 <= p50 <= p99
    assert int(board.row('memory MB')) > 50


def test_frames_that_are_lost_are_a_warning(graph):
    client = graph.client()
    camera, board = FakeCamera(client), Board(client, 'mapping_node')
    mapping = make_mapping(graph, camera, pose_timeout=0.01)
    camera.publish(odometry=None)
    wait_for_count(mapping, 'frames_without_pose')
    board.wait_for(WARN, 'frames without pose: no pose has come yet')


def test_a_full_queue_drops_the_oldest_pairs_counts_them_and_keeps_the_newest(graph):
    client = graph.client()
    camera, board = FakeCamera(client), Board(client, 'mapping_node')
    mapping = make_mapping(graph, camera, queue_size=2, pose_timeout=10.0)
    held = []
    for _ in range(8):
        messages = camera.messages()
        held.append(messages['odometry'])
        camera.publish(**{**messages, 'odometry': None})
        time.sleep(0.02)
    wait_for_count(mapping, 'dropped_pairs', 5)
    board.wait_for(WARN, 'dropped pairs')
    for odometry in held:
        camera.odometry.publish(odometry)
    newest = stamp_to_ns(held[-1].header.stamp)
    wait_until(lambda: mapping._mapper.last_stamp == newest, 'the newest pair')


def test_grounding_node_says_how_long_encoding_and_answers_take(graph):
    client = graph.client()
    board = Board(client, 'grounding_node')
    robot = Robot(graph, client)
    robot.send_chunk()
    robot.ask('the red mug')
    board.wait_for(OK, 'active')
    wait_until(lambda: board.row('answer ms p50 / p99'), 'a latency')
    assert board.row('encode ms p50 / p99')
    assert board.row('device') == 'auto'
