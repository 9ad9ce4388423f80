"""The command ``python -m training.pseudolabel``: what it refuses, how it ends, which topics."""

import pydoc
import re
import signal
from dataclasses import replace

import numpy as np
import pytest
from recorded_scene import views
from test_pseudolabel import Broken
from training_rooms import read_rooms

from benchmarks.layouts.bag_files import play, written
from lift_gs_ros.sequences import BagTopics, open_sequence
from training.data.storage import Storage
from training.labelling import scenes as scenes_module
from training.labelling import steps
from training.labelling.job import run_job
from training.labelling.scenes import list_scenes
from training.labelling.settings import JobSettings
from training.labelling.workers import in_processes
from training.pseudolabel import main, run_with
from training.teachers.load import TeacherSpec

REAR = '/rear/color/image_raw'


@pytest.fixture(autouse=True)
def small_rooms(monkeypatch):
    monkeypatch.setattr(scenes_module, 'SIMULATED_FRAMES', 4)
    monkeypatch.setattr(scenes_module, 'SIMULATED_SIZE', (64, 48))


def test_teachers_that_give_nothing_to_ask_by_are_refused_before_anything_is_read(tmp_path, capsys):
    arguments = ['simulated:train/3', '--out', str(tmp_path / 'out'), '--masks', 'sam:weights/sam']
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "pretraining asks by captions, and 'sam:weights/sam' gives masks without" in said
    assert 'give --captions vlm:WEIGHTS, or clip:WEIGHTS' in said
    assert main([*arguments, '--queries', 'embeddings']) == 2
    assert 'no teacher gives any: --embeddings clip:WEIGHTS' in capsys.readouterr().err
    for enough in (
        ['--captions', 'clip:weights/clip'],
        ['--queries', 'embeddings', '--embeddings', 'clip:weights/clip'],
    ):
        assert main([*arguments, *enough]) == 2
        assert 'no usable weights of SAM' in capsys.readouterr().err  # the next that is missing
    assert not (tmp_path / 'out').exists()


def test_what_ends_a_job_is_said_in_a_sentence(tmp_path, monkeypatch, capsys):
    arguments = ['simulated:train/3', '--out', str(tmp_path), '--masks', 'simulated']
    with Storage(tmp_path).lock():
        assert main(arguments) == 2
    assert capsys.readouterr().err.startswith('pseudolabel: another job is writing to')
    monkeypatch.setattr(steps, 'load_teacher', lambda *_: Broken(RuntimeError('no kernel')))
    assert main([*arguments, '--workers', '1']) == 2
    said = capsys.readouterr().err
    assert re.search(
        r'^pseudolabel: every frame failed, the last one with .*no kernel$', said, re.M
    )
    assert 'Traceback' not in said


def test_a_worker_that_is_killed_ends_the_job_with_what_to_do():
    make, kill = pydoc.locate, 'signal.raise_signal'  # any function by its name, from a "device"
    with pytest.raises(RuntimeError, match='worker process ended .* with fewer --workers'):
        list(in_processes(make, [signal.SIGKILL] * 2, [kill] * 2))


def test_a_cluster_that_does_not_start_is_said_too(tmp_path, monkeypatch, capsys):
    ray = pytest.importorskip('ray')

    def slow(**options):
        raise Exception('The current node timed out during startup.')  # as Ray does

    monkeypatch.setattr(ray, 'init', slow)
    options = ['--out', str(tmp_path), '--masks', 'simulated', '--ray', 'local']
    assert main(['simulated:train/3', *options]) == 2
    said = capsys.readouterr().err
    assert "pseudolabel: there is no Ray cluster at 'local': The current node timed out" in said


def test_sequences_that_are_left_out_are_told_from_a_job_that_did_nothing(tmp_path, capsys):
    gone = str(tmp_path / 'gone')
    options = ['--out', str(tmp_path / 'out'), '--masks', 'simulated:train/3', '--workers', '1']
    assert main([gone, *options]) == 2
    assert 'pseudolabel: there is no labelled frame in' in capsys.readouterr().err
    assert main([gone, 'simulated:train/3', *options]) == 3
    assert 'gone is left out: FileNotFoundError' in capsys.readouterr().out
    assert main(['simulated:train/3', *options]) == 0


def write_two_cameras(folder):
    """Write a bag of two cameras; what is bright for the one in front is dark for the other."""
    frames = [replace(frame, stamp=10**9 + i * 10**8) for i, frame in enumerate(views())]
    with written(folder, 'sqlite3') as bag:
        play(bag, frames, '/front')
        play(bag, (replace(frame, color=255 - frame.color) for frame in frames), '/rear')


def test_topics_of_a_bag_that_cannot_be_told_apart_are_named_and_stay_so(tmp_path, capsys, caplog):
    walk = tmp_path / 'walk'
    write_two_cameras(walk)
    options = ['--out', str(tmp_path / 'out'), '--masks', 'simulated:train/3', '--every', '1']
    arguments = [str(walk), *options, '--workers', '1']
    assert main(arguments) == 2
    assert 'say which with --rgb' in caplog.text
    assert main([*arguments, '--rgb', REAR, '--dry-run']) == 0
    assert '1 scenes, 3 frames, of which 3 are to be labelled' in capsys.readouterr().out
    assert main([*arguments, '--rgb', REAR]) == 0
    seen = read_rooms(tmp_path / 'out')[0].views[0].image.astype(int)
    rear = next(iter(open_sequence(walk, BagTopics(rgb=REAR)))).color
    assert np.abs(seen - rear).mean() < 10
    capsys.readouterr()
    assert main([*arguments, '--rgb', '/front/color/image_raw']) == 2
    said = capsys.readouterr().err
    assert f'made from {walk} --rgb {REAR}, not from {walk} --rgb /front/color/image_raw' in said
    assert main([*arguments, '--rgb', REAR]) == 0


def test_topics_of_what_is_no_bag_are_refused(tmp_path, capsys):
    options = ['--out', str(tmp_path / 'out'), '--masks', 'simulated', '--pose', '/odom']
    assert main(['simulated:train/3', *options]) == 2
    assert 'there is no labelled frame' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_ray_cluster_of_two_workers_labels_a_scene(tmp_path):
    ray = pytest.importorskip('ray')
    # Workers are other processes, where no patch makes rooms small: they get a short recording.
    write_two_cameras(tmp_path / 'walk')
    settings = JobSettings(TeacherSpec('simulated:train/3'), every=1, width=80)
    scenes = list_scenes([str(tmp_path / 'walk')])
    try:
        report = run_job(
            str(tmp_path / 'ray'), scenes, settings, run_with('local', 2), BagTopics(rgb=REAR)
        )
    finally:
        ray.shutdown()
    assert (report.labelled, report.bad_views, report.bad_scenes) == (3, {}, {})
    assert len(read_rooms(tmp_path / 'ray')) == 1
