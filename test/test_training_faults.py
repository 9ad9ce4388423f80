"""Data that no room of the simulation is: NaN, other versions, nothing to see, far too much."""

import csv
import functools
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_shards import save
from training_rooms import all_in_memory, many_boxes, three_boxes, two_boxes

from lift_gs_ros.model.language import LanguageEncoder, load_language_encoder
from training import labelled_objective, objective
from training.config import load_settings
from training.data.labelled import save_scene
from training.data.labelled_sample import LabelledSampleSettings, make_labelled_sample
from training.data.queries import QueryMix
from training.data.room_cache import CachedRoom, load_room, save_room
from training.data.sample import make_sample
from training.data.shards import read_room
from training.data.storage import Storage
from training.engine import Batch, RunFolder
from training.finetune import FinetuneSettings, finetune
from training.losses.grounding import GroundingLoss, grounding_loss
from training.pretrain import PretrainSettings, draw_samples, pretrain
from training.trainer import build_model

CONFIGS = Path(__file__).parent.parent / 'config/train'


@pytest.fixture(autouse=True)
def language(monkeypatch) -> LanguageEncoder:
    monkeypatch.setattr('training.trainer.load_language_encoder', _language)
    return _language('minilm')


@functools.cache
def _language(name: str) -> LanguageEncoder:
    return load_language_encoder(name)


def _settings(rooms: Path, output: Path, *more: str) -> PretrainSettings:
    options = [
        f'rooms={rooms}', f'output={output}', 'accelerator=cpu', 'backend=torch', 'log_every=1',
        'picture_every=1000', 'warmup=2', 'sample.stride=1', 'sample.min_points=10', *more,
    ]  # fmt: skip
    return load_settings(PretrainSettings, CONFIGS / 'tiny.yaml', options)


def _rows(output: Path) -> list[dict[str, str]]:
    with open(output / 'log.csv', newline='') as file:
        return list(csv.DictReader(file))


def _assert_learned(output: Path, steps: int) -> None:
    state = RunFolder.read(output, {})
    assert (state['step'], state['skipped']) == (steps, 0)
    assert all(tensor.isfinite().all() for tensor in state['model'].values())
    assert all(np.isfinite(float(row['loss'])) for row in _rows(output))


def _with_nan(part: str) -> CachedRoom:
    room = two_boxes()
    values = room.positions if part == 'a position' else room.views[1].world_from_camera
    values[1, 2] = np.nan
    return room


@pytest.mark.parametrize('part', ['a position', 'the pose of view 1'])
@pytest.mark.parametrize('kind', ['npz', 'shard'])
def test_a_file_with_nan_is_left_out_and_counted_and_the_run_goes_on(
    kind, part, tmp_path, caplog, monkeypatch
):
    # What sorts points into chunks refuses NaN, so that another program wrote such a shard.
    monkeypatch.setattr('test_shards.split_into_chunks', lambda cloud, _: {(0, 0, 0): cloud})
    folder = tmp_path / 'rooms'
    folder.mkdir()
    for name, room in (('good', two_boxes()), ('bad', _with_nan(part))):
        if kind == 'npz':
            save_room(folder / f'{name}.npz', room)
        else:
            save(Storage(folder), name, room)
    with pytest.raises(ValueError, match=rf'bad\.\w+: {part}.* is nan, expected finite.*delete it'):
        load_room(folder / 'bad.npz') if kind == 'npz' else read_room(Storage(folder), 'bad')
    with caplog.at_level(logging.WARNING):
        pretrain(_settings(folder, tmp_path / 'run', 'steps=4'))
    assert 'bad' in caplog.text
    assert float(_rows(tmp_path / 'run')[-1]['unreadable']) == 1
    _assert_learned(tmp_path / 'run', 4)


def test_samples_that_are_drawn_again_are_counted_and_logged_once(tmp_path, caplog):
    broken = replace(two_boxes(), name='broken')
    broken.colors[:] = np.nan  # no file holds such colours
    stream = all_in_memory([broken, two_boxes()])
    settings = _settings(tmp_path, tmp_path, 'batch_size=20')
    with caplog.at_level(logging.WARNING):
        samples = draw_samples(stream, settings, 0.05, 0, np.random.default_rng(1))
    assert all(np.isfinite(sample.colors).all() for sample in samples)
    assert 5 <= stream.redrawn <= 60
    assert 1 <= caplog.text.count('broken') <= 2  # one for each of its views


def test_what_is_drawn_again_is_in_the_log(tmp_path, monkeypatch):
    save_room(tmp_path / 'room.npz', two_boxes())
    refused = []

    def is_finite(sample):
        refused.append(len(refused))
        return len(refused) > 3

    monkeypatch.setattr('training.pretrain.is_finite_sample', is_finite)
    pretrain(_settings(tmp_path, tmp_path / 'run', 'steps=1'))
    assert [float(row['redrawn']) for row in _rows(tmp_path / 'run')] == [3]


def _of_another_version(path: Path) -> None:
    if path.suffix == '.npz':
        np.savez(path, **{**np.load(path), 'version': 0})
        return
    path.write_text(json.dumps({**json.loads(path.read_text()), 'version': 0}))


@pytest.mark.parametrize('kind', ['npz', 'json'])
def test_files_of_another_version_are_left_out_and_nothing_else_is_an_error(kind, tmp_path):
    folder = tmp_path / 'rooms'
    folder.mkdir()
    for name in ('new', 'old'):
        if kind == 'npz':
            save_room(folder / f'{name}.npz', two_boxes())
        else:
            save(Storage(folder), name)
    _of_another_version(folder / f'old.{kind}')
    pretrain(_settings(folder, tmp_path / 'run', 'steps=4'))
    assert float(_rows(tmp_path / 'run')[-1]['unreadable']) == 1
    _assert_learned(tmp_path / 'run', 4)
    _of_another_version(folder / f'new.{kind}')
    with pytest.raises(ValueError, match='can be trained on, one of them because: .*version'):
        pretrain(_settings(folder, tmp_path / 'none', 'steps=4'))
    assert not (tmp_path / 'none' / 'state.pt').exists()
    assert not (tmp_path / 'none' / 'log.csv').read_text()


def test_rooms_without_a_visible_mask_teach_what_is_not_there_and_leave_finite_weights(tmp_path):
    room = two_boxes()
    for view in room.views:
        view.semantics[:] = -1
        view.captions.clear()
    (tmp_path / 'rooms').mkdir()
    save_room(tmp_path / 'rooms' / 'blind.npz', room)
    pretrain(_settings(tmp_path / 'rooms', tmp_path / 'run', 'steps=3'))
    _assert_learned(tmp_path / 'run', 3)
    for row in _rows(tmp_path / 'run'):
        assert float(row['mask']) == float(row['dice']) == float(row['feature']) == 0
        assert float(row['correspondence']) > 0


def _noted(monkeypatch, module) -> list[tuple[GroundingLoss, int]]:
    """Keep what each grounding loss came to, with the number of proposals."""
    noted = []

    def loss(views, log_probability, *more):
        noted.append((grounding_loss(views, log_probability, *more), len(log_probability)))
        return noted[-1][0]

    monkeypatch.setattr(module, 'grounding_loss', loss)
    return noted


def test_of_more_masks_than_proposals_as_many_are_drawn_and_none_is_called_background(
    tmp_path, monkeypatch, language
):
    save_room(tmp_path / 'many.npz', many_boxes())
    pretrain(_settings(tmp_path, tmp_path / 'run', 'steps=2', 'sample.whole_room=1'))
    _assert_learned(tmp_path / 'run', 2)
    settings = _settings(tmp_path, tmp_path, 'sample.whole_room=1', 'sample.query.no_color=0')
    rng, noted = np.random.default_rng(0), _noted(monkeypatch, objective)
    for _ in range(20):
        sample = make_sample(many_boxes(), settings.sample, 0.05, rng)
        if len(sample.views[0].instances) > 24:
            break
    else:
        raise AssertionError('no sample with more masks than proposals')
    before = rng.bit_generator.state
    learned = objective.PretrainObjective(build_model(settings), language, settings.loss)
    learned(Batch([sample], rng))
    assert rng.bit_generator.state != before
    for loss, proposals in noted:
        assert proposals == 24
        assert sorted(loss.proposals[0].tolist()) == list(range(24))


def test_a_view_of_few_masks_is_asked_for_all_of_them_with_no_draw(tmp_path):
    settings = _settings(tmp_path, tmp_path, 'sample.whole_room=1')
    target = make_sample(two_boxes(), settings.sample, 0.05, np.random.default_rng(0)).views[0]
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert objective.sampled_instances(target, len(target.instances), rng) is target
    assert rng.bit_generator.state == before


def test_of_more_labelled_things_than_proposals_as_many_are_drawn(tmp_path, monkeypatch):
    scene = three_boxes()
    ids = np.zeros_like(scene.instance_ids)
    red = np.flatnonzero(scene.instance_ids == 1)
    ids[red] = 1 + np.arange(len(red)) % 30
    crowd = replace(
        scene, instance_ids=ids, captions=dict.fromkeys(range(1, 31), 'red box'), sentences=[]
    )
    save_scene(tmp_path / 'crowd.npz', crowd)
    noted = _noted(monkeypatch, labelled_objective)
    options = [
        f'scenes={tmp_path}', f'output={tmp_path / "run"}', 'model=tiny', 'start_from=',
        'accelerator=cpu', 'backend=torch', 'steps=1', 'log_every=1', 'sample.whole_scene=1',
        'sample.query.absent=0',
    ]  # fmt: skip
    finetune(load_settings(FinetuneSettings, CONFIGS / 'finetune.yaml', options))
    _assert_learned(tmp_path / 'run', 1)
    settings = LabelledSampleSettings(whole_scene=1.0, query=QueryMix(absent=0.0))
    sample = make_labelled_sample(crowd, settings, 0.05, np.random.default_rng(0))
    assert any(len(asked.instances) > 24 for asked in sample.queries)
    matched = [sorted(loss.proposals[0].tolist()) for loss, _ in noted]
    assert list(range(24)) in matched
    assert all(len(own) <= 24 for own in matched)
