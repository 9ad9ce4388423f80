import errno
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image
from recorded_scene import RECORDING
from test_learning_from_a_recording import record
from test_sequences import POSES, write_seven_scenes
from training_rooms import read_rooms

from benchmarks.layouts.cameras import write_matterport, write_sens
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import RoomSequence
from training.config import load_settings
from training.data.association import regions_of_points
from training.data.pseudo_labels import PseudoLabels
from training.data.shards import read_samples, shard_names
from training.data.storage import Storage
from training.data.view_files import decode_labels, decode_view
from training.labelling import scenes as scenes_module
from training.labelling import steps
from training.labelling.job import run_job
from training.labelling.plan import LABELLED, Plan
from training.labelling.scenes import list_scenes
from training.labelling.settings import JobSettings
from training.labelling.workers import in_processes
from training.pretrain import PretrainSettings, pretrain
from training.pseudolabel import estimate, main, run_with, summary
from training.teachers.load import TeacherSpec

REPOSITORY = Path(__file__).parents[1]
ROOM = {'train_000003': 'simulated:train/3'}
SETTINGS = JobSettings(TeacherSpec('simulated'), every=2, width=80, shard_views=3, with_depth=True)
run = partial(in_processes, devices=['cpu'])


@pytest.fixture(autouse=True)
def small_rooms(monkeypatch):
    monkeypatch.setattr(scenes_module, 'SIMULATED_FRAMES', 10)
    monkeypatch.setattr(scenes_module, 'SIMULATED_SIZE', (160, 120))


@pytest.fixture(scope='module')
def labels(tmp_path_factory):
    """A simulated room, labelled: five views in two shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes_module, 'SIMULATED_FRAMES', 10)
        patch.setattr(scenes_module, 'SIMULATED_SIZE', (160, 120))
        folder = tmp_path_factory.mktemp('labels')
        return folder, run_job(str(folder), ROOM, SETTINGS, run)


def test_a_sequence_becomes_shards_with_their_part_of_the_map(labels):
    folder, report = labels
    assert (report.labelled, report.views, report.bad_views) == (5, 5, {})
    storage = Storage(folder)
    assert shard_names(storage) == ['train_000003-0000', 'train_000003-0001']
    assert [info.views for info in report.shards] == [
        ['000000', '000002', '000004'], ['000006', '000008'],
    ]  # fmt: skip
    assert not (folder / 'work' / 'train_000003').exists()
    for room in read_rooms(folder):
        assert len(room.positions) > 1000
        for view in room.views:
            assert view.image.shape == (60, 80, 3)
            assert view.semantics.max() == len(view.captions) - 1
            rendered = np.asarray(view.weights @ room.colors)
            covered = np.asarray(view.weights.sum(axis=1)) > 0.8
            error = np.abs(rendered - view.image.reshape(-1, 3) / 255)[covered]
            assert covered.mean() > 0.5
            assert np.median(error) < 0.08  # the map, seen from there, looks like the image


def test_regions_are_found_again_on_the_map_by_depth(labels):
    folder, _ = labels
    storage = Storage(folder)
    room = read_rooms(folder)[0]
    found = 0
    for name, files in read_samples(storage, 'train_000003-0000').items():
        if not name.startswith('0'):
            continue
        view, about = decode_view(files), decode_labels(files)
        regions = regions_of_points(
            room.positions, view.camera, view.world_from_camera, view.depth, about.semantics
        )
        for index, caption in enumerate(about.captions):
            if caption == 'floor' and (regions == index).sum() > 50:
                found += 1
                assert np.median(room.positions[regions == index, 2]) < 0.05
    assert found


def test_the_report_says_what_a_frame_takes_beside_dense_maps(labels):
    folder, report = labels
    text = summary(report)
    assert '5 frames labelled now; in all 5 frames in 2 shards, 0 skipped' in text
    assert 'dense maps of 768 half-precision channels: 7 MB' in text  # 80 * 60 * 768 * 2 bytes
    size = sum(path.stat().st_size for path in folder.glob('*.tar'))
    assert f'{size / 5e3:.1f} kB a frame' in text


def test_a_dry_run_writes_nothing_and_says_about_what_it_costs(labels, tmp_path):
    folder, report = labels
    text = estimate(str(tmp_path / 'new'), ROOM, SETTINGS)
    assert '1 scenes, 10 frames, of which 5 are to be labelled; 0 of them are done' in text
    assert not (tmp_path / 'new').exists()
    guess = float(text.partition('about ')[2].split()[0])
    kinds = [info.bytes_of for info in report.shards]
    true = sum(size for part in kinds for kind, size in part.items() if kind != 'cloud.npz')
    assert 0.5 < guess / (true / 5e3) < 2
    assert '5 of them are done' in estimate(str(folder), ROOM, SETTINGS)
    # At work, frames are as large as they were recorded: here four times what is kept of them.
    preparer = steps.Preparer(str(tmp_path), SETTINGS, 'cpu')
    preparer({'scene': 'room', 'source': ROOM['train_000003'], 'views': ''})
    posed = sum(file.stat().st_size for file in tmp_path.glob('work/room/*.posed.tar'))
    guess = float(re.search(r'up to (\S+) GB more while', text)[1])
    assert 0.5 < 1e9 * guess / posed < 2


def test_a_dry_run_leaves_out_what_the_job_will(tmp_path):
    text = estimate(str(tmp_path), {**ROOM, 'gone': str(tmp_path / 'gone')}, SETTINGS)
    assert '2 scenes, 10 frames, of which 5 are to be labelled' in text
    assert f'gone will be left out: FileNotFoundError: there is no {tmp_path}/gone' in text


def test_weights_that_are_not_there_are_told_first_and_bind_no_folder(tmp_path, capsys):
    arguments = ['simulated:train/3', '--out', str(tmp_path / 'out'), '--masks']
    assert main([*arguments, f'sam:{tmp_path}']) == 2
    assert 'no usable weights of SAM' in capsys.readouterr().err
    assert main([*arguments, 'yolo:x']) == 2
    assert "pseudolabel: masks teacher is 'yolo:x', expected sam:WEIGHTS" in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_pretraining_reads_what_was_labelled(labels, tmp_path):
    options = [
        f'rooms={labels[0]}', f'output={tmp_path}', 'model=tiny', 'accelerator=cpu', 'steps=2',
        'backend=torch', 'sample.min_points=10', 'picture_every=10', 'log_every=1',
    ]  # fmt: skip
    tiny = REPOSITORY / 'config/train/tiny.yaml'
    checkpoint = pretrain(load_settings(PretrainSettings, tiny, options))
    assert checkpoint.exists()
    assert len((tmp_path / 'log.csv').read_text().splitlines()) == 3


def test_an_object_store_is_as_good_as_a_disk(labels):
    url = 'memory://labels'
    report = run_job(url, ROOM, SETTINGS, run)
    assert [info.sha256 for info in report.shards] == [info.sha256 for info in labels[1].shards]
    assert len(read_rooms(url)) == 2
    fsspec.filesystem('memory').rm(url, recursive=True)


def test_what_is_done_is_not_done_again_and_a_damaged_shard_is_made_anew(labels, monkeypatch):
    folder, before = labels
    seen = _watch(monkeypatch)
    assert run_job(str(folder), ROOM, SETTINGS, run).labelled == 0
    assert seen == []
    path = folder / 'train_000003-0001.tar'
    content = path.read_bytes()
    path.write_bytes(content[:-1000])
    report = run_job(str(folder), ROOM, SETTINGS, run)
    assert seen == ['000006', '000008']
    assert [info.sha256 for info in report.shards] == [info.sha256 for info in before.shards]
    path.write_bytes(content[:2000] + b'x' + content[2001:])
    with pytest.raises(ValueError, match='SHA-256 is not .*: delete it, and run the job'):
        read_rooms(folder)
    path.unlink()
    run_job(str(folder), ROOM, SETTINGS, run)
    assert path.read_bytes() == content


def _watch(monkeypatch):
    seen = []
    label = steps.Labeller._label

    def listen(self, teacher, scene, name):
        seen.append(name)
        label(self, teacher, scene, name)

    monkeypatch.setattr(steps.Labeller, '_label', listen)
    return seen


class Fickle:
    """A teacher that fails on one frame, finds nothing on another, and one mask on the others."""

    def label(self, view):
        if view.name == '000002':
            raise RuntimeError('out of memory\nor so')
        semantics = np.full(view.image.shape[:2], -1, np.int16)
        if view.name == '000004':
            return PseudoLabels(semantics, [])
        semantics[10:40] = 0
        return PseudoLabels(semantics, ['red box'])


def test_a_bad_frame_is_logged_and_skipped_and_one_with_nothing_on_it_is_kept(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(steps, 'load_teacher', lambda *_: Fickle())
    with caplog.at_level(logging.ERROR):
        report = run_job(str(tmp_path), ROOM, SETTINGS, run)
    assert 'train_000003/000002 is skipped: RuntimeError: out of memory or so' in caplog.text
    assert report.labelled == 4
    assert report.shards[0].views == ['000000', '000004']
    assert report.shards[0].skipped == {'000002': 'RuntimeError: out of memory or so'}
    views = read_rooms(tmp_path)[0].views
    assert [view.captions for view in views] == [['red box'], []]
    assert run_job(str(tmp_path), ROOM, SETTINGS, run).labelled == 0


class Broken:
    def __init__(self, error):
        self._error = error

    def label(self, view):
        raise self._error


def test_a_teacher_that_fails_on_every_frame_ends_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, 'load_teacher', lambda *_: Broken(RuntimeError('no kernel')))
    with pytest.raises(RuntimeError, match='every frame failed, the last one with .*no kernel'):
        run_job(str(tmp_path), ROOM, SETTINGS, run)
    assert shard_names(Storage(tmp_path)) == []


def test_a_full_disk_ends_the_job_and_blames_no_frame(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, 'load_teacher', lambda *_: Broken(OSError(28, 'No space left')))
    with pytest.raises(OSError, match='No space left'):
        run_job(str(tmp_path), ROOM, SETTINGS, run)


@pytest.mark.parametrize(
    ('nth', 'during'),
    [(2, 'prepare'), (7, 'prepare'), (8, 'prepare'), (9, 'label'), (12, 'label'), (13, 'label')],
)
def test_a_disk_that_is_full_at_any_write_ends_the_job_and_the_next_run_does_the_rest(
    nth, during, labels, tmp_path, monkeypatch
):
    # job.json, five views and the map and the plan, three labelled views, their shard, ...
    sync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, 'No space left on device')
        sync(descriptor)

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        run_job(str(tmp_path), ROOM, SETTINGS, run)
    assert not list(tmp_path.rglob('*.part'))
    planned, work = tmp_path / 'plans/train_000003.json', tmp_path / 'work/train_000003'
    assert planned.exists() == (during == 'label')
    assert work.exists() == (during == 'label')  # what no plan speaks of is taken away
    assert len(read_rooms(tmp_path) if shard_names(Storage(tmp_path)) else []) == 0
    report = run_job(str(tmp_path), ROOM, SETTINGS, run)
    assert [info.sha256 for info in report.shards] == [info.sha256 for info in labels[1].shards]
    assert report.bad_views == {}
    assert not work.exists()


def sens_cut_to(keep, folder):
    path = write_sens(folder, RECORDING)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    return path


def test_of_a_recording_that_breaks_off_what_was_whole_is_labelled(tmp_path, monkeypatch, caplog):
    path = sens_cut_to(0.9, tmp_path)
    monkeypatch.setattr(steps, 'load_teacher', lambda *_: Fickle())
    settings = JobSettings(TeacherSpec('sam:nowhere'), every=1)
    report = run_job(str(tmp_path / 'out'), {'scan': str(path)}, settings, run)
    assert (report.bad_scenes, report.views) == ({}, 2)
    assert re.search('scan breaks off after 2 frames.*ends in frame 2 of 3', caplog.text)
    assert not (tmp_path / 'out/work/scan').exists()
    assert Plan.read(Storage(tmp_path / 'out'), 'scan').frames == 2
    assert len(read_rooms(tmp_path / 'out')) == 1


def test_photos_are_labelled_all_and_of_a_video_every_so_many(tmp_path, monkeypatch):
    house = write_matterport(tmp_path / 'house', RECORDING)
    scan = write_sens(tmp_path, RECORDING)
    monkeypatch.setattr(steps, 'load_teacher', lambda *_: Fickle())
    scenes = {'house': str(house), 'scan': str(scan)}
    settings = JobSettings(TeacherSpec('sam:nowhere'), every=3)
    assert '6 frames, of which 4 are to be labelled' in estimate(str(tmp_path), scenes, settings)
    report = run_job(str(tmp_path / 'out'), scenes, settings, run)
    assert [len(info.views) + len(info.skipped) for info in report.shards] == [3, 1]


def test_a_scene_that_is_left_out_leaves_nothing_behind(tmp_path, monkeypatch):
    settings = JobSettings(TeacherSpec('sam:nowhere'), every=1)
    monkeypatch.setattr(steps, 'load_teacher', lambda *_: Fickle())
    scenes = {'empty': str(sens_cut_to(0.1, tmp_path)), 'strange': 'simulated:train/3'}
    monkeypatch.setattr(steps.VoxelMap, 'chunk', lambda *_: 1 / 0)  # when all views are set aside
    report = run_job(str(tmp_path / 'out'), scenes, settings, run)
    assert 'ends in frame 0 of 3' in report.bad_scenes['empty']
    assert 'ZeroDivisionError' in report.bad_scenes['strange']
    assert {file.name for file in (tmp_path / 'out').rglob('*') if file.is_file()} == {
        'job.json', '.lock',
    }  # fmt: skip


def test_other_settings_or_another_source_of_the_same_name_are_refused(labels, tmp_path):
    folder, _ = labels
    with pytest.raises(ValueError, match='made with every = 2, this job has 5'):
        run_job(str(folder), ROOM, JobSettings(SETTINGS.teachers, every=5), run)
    for content in (b'{"every": 2', b'[2]'):
        Storage(tmp_path).write('job.json', content)
        with pytest.raises(ValueError, match=r'job\.json is damaged .*another folder'):
            run_job(str(tmp_path), ROOM, SETTINGS, run)
    with pytest.raises(ValueError, match='was made from simulated:train/3, not from'):
        run_job(str(folder), {'train_000003': 'elsewhere'}, SETTINGS, run)


def test_recordings_with_bad_frames_and_missing_ones_leave_the_others_alone(tmp_path, monkeypatch):
    recording = tmp_path / 'kitchen'
    write_seven_scenes(recording)
    (recording / 'frame-000001.color.png').write_bytes(b'\x89PNG\r\n cut off')
    far = POSES[0].copy()
    far[:3, 3] = 1e9
    for number, pose in ((3, POSES[0]), (4, np.full((4, 4), -np.inf)), (5, far)):
        for kind in ('color', 'depth'):
            copy = recording / f'frame-{number:06d}.{kind}.png'
            shutil.copy(recording / f'frame-000000.{kind}.png', copy)
        np.savetxt(recording / f'frame-{number:06d}.pose.txt', pose)
    nothing = np.zeros((480, 640), np.uint16)
    Image.fromarray(nothing).save(recording / 'frame-000003.depth.png')
    monkeypatch.setattr(steps, 'load_teacher', lambda *_: Fickle())
    settings = JobSettings(TeacherSpec('sam:nowhere'), every=1)
    scenes = list_scenes([str(recording), f'gone={tmp_path / "gone"}'])
    report = run_job(str(tmp_path / 'out'), scenes, settings, run)
    assert list(report.bad_scenes) == ['gone']
    assert 'expected a bag or the folder of a sequence' in report.bad_scenes['gone']
    plan = Plan.read(Storage(tmp_path / 'out'), 'kitchen')
    # One cut off and one with an infinite pose; one without depth and one far outside any map.
    assert (plan.frames, plan.unreadable, plan.shards) == (4, 2, [['000000', '000001']])
    assert report.views == 2


def test_sequences_are_named_and_no_two_the_same(tmp_path):
    assert list_scenes(['simulated:val/7-8', 'my_lab=/data/x', f'{tmp_path}/take 1.bag']) == {
        'val_000007': 'simulated:val/7', 'val_000008': 'simulated:val/8', 'my_lab': '/data/x',
        'take_1': f'{tmp_path}/take 1.bag',
    }  # fmt: skip
    with pytest.raises(ValueError, match="called 'seq-01'.*as in other_name=.*b/seq-01"):
        list_scenes(['a/seq-01', 'b/seq-01'])


def _command(folder, *options):
    return [
        sys.executable, '-m', 'training.pseudolabel', 'simulated:train/3', '--out', str(folder),
        '--masks', 'simulated', '--width', '80', *options,
    ]  # fmt: skip


@pytest.mark.timeout(600)
def test_a_killed_job_goes_on_where_it_was_and_leaves_no_worker_behind(tmp_path, monkeypatch):
    process = subprocess.Popen(
        _command(tmp_path, '--workers', '2', '--every', '3'), cwd=REPOSITORY, stderr=subprocess.PIPE
    )
    work = tmp_path / 'work' / 'train_000003'
    deadline = time.monotonic() + 400
    while len(done := sorted(work.glob(f'*{LABELLED}'))) < 2:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The pipe ends when the last process that holds it has ended.
    process.stderr.read()
    done = {path.name.removesuffix(LABELLED) for path in work.glob(f'*{LABELLED}')}
    assert 2 <= len(done) < 20
    assert not list(tmp_path.glob('*.tar'))
    seen = _watch(monkeypatch)
    settings = JobSettings(TeacherSpec('simulated'), every=3, width=80)
    report = run_job(str(tmp_path), ROOM, settings, run)
    assert set(seen) | done == {f'{number:06d}' for number in range(0, 60, 3)}
    assert not set(seen) & done
    assert report.views == 20
    assert len(read_rooms(tmp_path)) == 1
    assert json.loads((tmp_path / 'job.json').read_text())['every'] == 3
    assert not [name for name in os.listdir(tmp_path) if name.endswith('.part')]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_ray_cluster_of_two_workers_labels_a_scene(tmp_path):
    ray = pytest.importorskip('ray')
    # Workers are other processes, where no patch makes rooms small: they get a short recording.
    record(tmp_path / 'walk', RoomSequence(make_room(3, 'train'), 3, seed=3))
    settings = JobSettings(TeacherSpec('simulated:train/3'), every=1, width=80)
    scenes = list_scenes([str(tmp_path / 'walk')])
    try:
        report = run_job(str(tmp_path / 'ray'), scenes, settings, run_with('local', 2))
    finally:
        ray.shutdown()
    assert (report.labelled, report.bad_views, report.bad_scenes) == (3, {}, {})
    assert len(read_rooms(tmp_path / 'ray')) == 1
