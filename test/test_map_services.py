"""Saving and loading maps through mapping_node, in a real graph."""

import os
import threading
import time

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from ros_graph import FakeCamera, wait_until  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from test_nodes import call, listen, make_mapping, map_good_frames  # noqa: E402

from lift_gs_ros import msg, srv  # noqa: E402
from lift_gs_ros.nodes.jobs import Jobs  # noqa: E402
from lift_gs_ros.nodes.map_services import map_path  # noqa: E402
from lift_gs_ros.nodes.qos import LATCHED_CHUNKS  # noqa: E402


class Robot:
    """A mapping_node that keeps its maps in a folder, and whoever asks it to."""

    def __init__(self, graph, folder) -> None:
        self.client = graph.client()
        self.camera = FakeCamera(self.client)
        self.mapping = make_mapping(graph, self.camera, map_folder=str(folder))
        self.chunks = listen(self.client, msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)

    def call(self, kind, name: str):
        service = {srv.SaveMap: 'save_map', srv.LoadMap: 'load_map'}[kind]
        return call(self.client, kind, f'mapping_node/{service}', kind.Request(name=name))

    def refuses(self, kind, name: str, words: str) -> None:
        answer = self.call(kind, name)
        assert not answer.success
        assert words in answer.message


def test_a_saved_map_is_there_again_after_a_reset_and_goes_on(graph, tmp_path):
    robot = Robot(graph, tmp_path / 'maps')
    map_good_frames(robot.mapping, robot.camera, 3)
    saved = robot.call(srv.SaveMap, 'flat')
    assert saved.success, saved.message
    path, content = saved.message.split(': ')
    assert path == f'{tmp_path}/maps/flat'
    voxels = int(content.split()[0])
    assert call(robot.client, Trigger, 'mapping_node/reset', Trigger.Request()).success
    assert robot.mapping._mapper.map.num_voxels < voxels  # frames may still have been on their way
    ids = {chunk.map_id for chunk in robot.chunks}
    del robot.chunks[:]
    loaded = robot.call(srv.LoadMap, 'flat')
    assert loaded.success, loaded.message
    assert loaded.message == saved.message
    assert robot.mapping._mapper.map.num_voxels >= voxels
    wait_until(lambda: sum(chunk.cloud.width for chunk in robot.chunks) > 0, 'chunks')
    assert not ids & {chunk.map_id for chunk in robot.chunks}
    map_good_frames(robot.mapping, robot.camera, 2)
    again = robot.call(srv.SaveMap, 'flat')
    assert again.message.endswith(' in the place of an older one')


def test_files_that_are_no_whole_map_are_refused_and_the_running_map_goes_on(graph, tmp_path):
    robot = Robot(graph, tmp_path)
    robot.refuses(srv.SaveMap, 'good', 'the map is empty: nothing was written to')
    map_good_frames(robot.mapping, robot.camera, 2)
    assert robot.call(srv.SaveMap, 'good').success
    content = (tmp_path / 'good').read_bytes()
    (tmp_path / 'half').write_bytes(content[: len(content) // 2])
    (tmp_path / 'notes').write_text('the map is in the other file')
    os.mkfifo(tmp_path / 'pipe')
    before = robot.mapping._mapper.map_id
    robot.refuses(srv.LoadMap, 'half', 'is damaged')
    robot.refuses(srv.LoadMap, 'notes', 'is no saved map')
    robot.refuses(srv.LoadMap, 'absent', 'there is no file')
    robot.refuses(srv.LoadMap, 'pipe', 'there is no file')
    (tmp_path / 'folder').mkdir()
    robot.refuses(srv.SaveMap, 'folder', 'Is a directory')
    robot.refuses(srv.SaveMap, 'x' * 300, 'File name too long')
    assert robot.mapping._mapper.map_id == before
    counts = robot.mapping.report.counts()
    assert (counts['failed_saves'], counts['failed_loads']) == (3, 4)
    map_good_frames(robot.mapping, robot.camera, 2)


@pytest.mark.parametrize('kind', [srv.SaveMap, srv.LoadMap])
def test_nothing_outside_the_folder_is_written_or_read(graph, tmp_path, kind):
    robot = Robot(graph, tmp_path / 'maps')
    map_good_frames(robot.mapping, robot.camera, 1)
    assert robot.call(srv.SaveMap, 'inside').success
    outside = tmp_path / 'outside'
    (tmp_path / 'maps' / 'inside').rename(outside)
    (tmp_path / 'maps' / 'link').symlink_to(outside)
    (tmp_path / 'maps' / 'dangling').symlink_to(tmp_path / 'made')
    (tmp_path / 'maps' / 'up').symlink_to(tmp_path)
    stamp = outside.stat().st_mtime_ns
    names = [str(outside), '../outside', 'up/outside', 'a/../../outside', '..', '.', '', '.hidden']
    for name in names:
        robot.refuses(kind, name, 'expected that of a file in')
    for name in ('link', 'dangling', 'up'):
        robot.refuses(kind, name, 'is a symbolic link')
    assert outside.stat().st_mtime_ns == stamp
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('name', ['a\x00b', 'a\nb', 'a/', '/', '~/map', '\u202emap'])
def test_odd_names_are_no_names_of_maps(tmp_path, name):
    with pytest.raises(ValueError, match='the name of a map is'):
        map_path(tmp_path, name)


def test_a_job_that_nobody_does_is_given_up_and_one_that_fails_says_why():
    jobs = Jobs()
    done: list[int] = []
    with pytest.raises(RuntimeError, match='busy for 0 s'):
        jobs.ask(lambda: done.append(1), timeout=0.0)
    jobs.run()
    assert not done, 'whoever asked was told that it was not done'


def test_who_waits_for_a_worker_that_has_ended_is_told_at_once():
    jobs, told = Jobs(), []

    def ask() -> None:
        with pytest.raises(RuntimeError, match='the node is inactive'):
            jobs.ask(lambda: told.append('done'), timeout=60.0)
        told.append('refused')

    thread = threading.Thread(target=ask)
    thread.start()
    while not len(jobs._waiting):
        time.sleep(0.01)
    jobs.close('the node is inactive')
    thread.join(10.0)
    jobs.run()
    assert told == ['refused']


def test_a_map_that_is_larger_than_the_bound_says_what_was_left_out(graph, tmp_path):
    robot = Robot(graph, tmp_path)
    map_good_frames(robot.mapping, robot.camera, 3)
    assert robot.call(srv.SaveMap, 'large').success
    robot.mapping._mapper.map.max_voxels = 10
    loaded = robot.call(srv.LoadMap, 'large')
    assert loaded.success
    assert 'were left out: the map holds max_voxels = 10' in loaded.message
    map_good_frames(robot.mapping, robot.camera, 1)
    assert robot.mapping.report.counts()['full_maps'] >= 1


def test_a_job_that_has_begun_in_time_is_waited_for():
    jobs, begun = Jobs(), threading.Event()

    def job() -> str:
        begun.set()
        time.sleep(0.3)
        return 'done'

    def work() -> None:
        while not begun.is_set():
            jobs.run()

    worker = threading.Thread(target=work)
    worker.start()
    assert jobs.ask(job, timeout=0.1) == 'done'
    worker.join()
