"""Pretraining on CLIP's image embeddings, and asking in words what comes of it."""

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_shards import save
from tiny_teachers import save_clip
from training_rooms import read_rooms, two_boxes

from benchmarks.layouts.bag_files import record
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.model.checkpoint import load_checkpoint
from lift_gs_ros.model.language import LanguageEncoder, PhraseVectors
from lift_gs_ros.sequences import open_sequence
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import RoomSequence
from training.config import load_settings
from training.contrast import EmbeddingContrast
from training.data.embeddings import make_embedding_query, mean_embedding
from training.data.load import open_rooms
from training.data.sample import SampleSettings, make_sample
from training.data.storage import Storage
from training.labelling.job import run_job
from training.labelling.scenes import list_scenes
from training.labelling.settings import JobSettings
from training.labelling.workers import in_processes
from training.pretrain import PretrainSettings, pretrain, queried
from training.teachers.load import TeacherSpec

REPOSITORY = Path(__file__).parents[1]
DIM = 16


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """A folder with a tiny CLIP of random parameters, and its text tower as an encoder."""
    open_clip = pytest.importorskip('open_clip')
    from lift_gs_ros.model.clip import OpenClip

    folder = save_clip(tmp_path_factory.mktemp('clip') / 'tiny', DIM)
    model = open_clip.create_model(f'local-dir:{folder}', require_pretrained=True)
    return folder, OpenClip(model, open_clip.get_tokenizer('ViT-L-14', context_length=8))


def test_masks_are_asked_for_by_their_own_embeddings_and_not_all_of_them():
    rng = np.random.default_rng(0)
    embeddings = [rng.normal(size=(6, DIM)).astype(np.float32) for _ in range(2)]
    in_crop = [np.array([1, 1, 1, 0, 1, 1], bool), np.array([1, 0, 1, 1, 1, 1], bool)]
    query = make_embedding_query(embeddings, in_crop, 4, rng)
    tokens, belongs = query.tokens(None)
    assert tokens.embeddings.shape == (4, DIM)
    assert np.array_equal(belongs, np.eye(4))
    for column in range(4):
        asked = [(view, mask) for view in (0, 1) for mask in range(6)
                 if query.satisfied[view][mask, column]]  # fmt: skip
        ((view, mask),) = asked
        assert in_crop[view][mask]
        assert np.array_equal(query.embeddings[column], embeddings[view][mask])
    nothing = make_embedding_query(embeddings, [shown & False for shown in in_crop], 4, rng)
    assert nothing.embeddings.shape == (0, DIM)


def test_embeddings_lie_around_their_mean_and_a_sample_holds_them(tmp_path):
    save(Storage(tmp_path), 'boxes-0000')
    save(Storage(tmp_path), 'boxes-0001')
    (tmp_path / 'boxes-0000.tar').write_bytes(b'cut off')  # its embeddings are not needed
    files = open_rooms(str(tmp_path))
    mean = mean_embedding(files)
    room = queried(files, 'embeddings').read('boxes-0001')
    rows = np.concatenate([view.embeddings for view in room.views])
    assert np.abs(rows.mean(axis=0)).max() < 1e-3 < np.abs(mean).max()
    settings = SampleSettings(
        queries='embeddings', stride=1, min_points=10, whole_room=1.0, max_instances=2
    )
    sample = make_sample(room, settings, 0.05, np.random.default_rng(0))
    assert sample.query.embeddings.shape == (2, 768)
    for view in sample.views:
        for instance, satisfied in zip(view.instances, view.satisfied):
            (column,) = np.flatnonzero(satisfied)
            assert np.array_equal(view.embeddings[instance], sample.query.embeddings[column])


def test_a_cache_without_embeddings_is_refused_with_what_to_do(tmp_path):
    from training.data.room_cache import save_room

    save_room(tmp_path / 'train_000000.npz', two_boxes())
    with pytest.raises(ValueError, match='holds no embeddings: label it with a teacher'):
        queried(open_rooms(str(tmp_path)), 'embeddings')


class _Identity:
    device = torch.device('cpu')
    text_to_feature = staticmethod(lambda embeddings: embeddings)


def test_a_feature_that_is_its_own_embedding_costs_least():
    contrast = EmbeddingContrast(_Identity(), temperature=0.1)
    embeddings, labels = [*np.eye(4, dtype=np.float32)], np.array([2, 0])
    right = contrast(torch.eye(4)[[2, 0]], labels, embeddings)
    assert float(right) == pytest.approx(np.log(1 + 3 * np.exp(-10)), abs=1e-6)
    assert float(contrast(torch.eye(4)[[1, 0]], labels, embeddings)) > float(right) + 4
    assert float(contrast(torch.zeros(0, 4), np.zeros(0, np.int64), [])) == 0


def test_each_noun_phrase_is_one_vector_where_it_stands(clip):
    words, phrases = LanguageEncoder(clip[1]), LanguageEncoder(PhraseVectors(clip[1]))
    text = 'the red mug next to the sink'
    tokens = phrases.encode(text)
    assert [text[begin:end].removeprefix('the ') for begin, end in tokens.spans] == [
        'red mug', 'sink',
    ]  # fmt: skip
    begin, end = tokens.spans[1]
    sink = words._backbone.tokens([text[begin:end]])[0].sentence
    assert np.allclose(tokens.embeddings[1], sink - phrases._token_mean, atol=1e-6)
    assert phrases.encode_prompt('chair. red table.').embeddings.shape == (2, DIM)


def test_from_a_recording_by_clip_to_weights_that_are_asked_in_words(clip, tmp_path, monkeypatch):
    folder, backbone = clip
    record(tmp_path / 'walk', RoomSequence(make_room(3, 'train'), 6, seed=3))
    teachers = TeacherSpec('simulated:train/3', embeddings=f'clip:{folder}')  # masks for SAM's
    settings = JobSettings(teachers, every=2, width=80)
    run = partial(in_processes, devices=['cpu'])
    report = run_job(str(tmp_path / 'labels'), list_scenes([str(tmp_path / 'walk')]), settings, run)
    assert report.views == 3
    view = read_rooms(tmp_path / 'labels')[0].views[0]
    assert view.embeddings.shape == (len(view.captions), DIM)

    monkeypatch.setattr(
        'training.trainer.load_language_encoder', lambda _: LanguageEncoder(backbone)
    )
    options = [
        f'rooms={tmp_path / "labels"}', f'output={tmp_path / "run"}', 'sample.queries=embeddings',
        'language=open_clip', 'steps=32', 'warmup=2', 'log_every=1', 'picture_every=32',
        'accelerator=cpu', 'backend=torch', 'dropout=0', 'sample.max_points=1500',
        'sample.min_points=10', 'sample.views=1',
    ]  # fmt: skip
    config = REPOSITORY / 'config/train/tiny.yaml'
    checkpoint = pretrain(load_settings(PretrainSettings, config, options))
    with open(tmp_path / 'run/log.csv', newline='') as file:
        losses = [float(row['loss']) for row in csv.DictReader(file)]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])
    assert (tmp_path / 'run/step_000032.png').exists()

    model = load_checkpoint(checkpoint)
    assert (model.config.language_dim, model.config.query_tokens) == (DIM, 'phrases')
    voxel_map = VoxelMap()
    for frame in open_sequence(tmp_path / 'walk'):
        voxel_map.integrate(frame)
    asked = []

    def encoder(name, query_tokens):
        asked.append((name, query_tokens))
        return LanguageEncoder(PhraseVectors(backbone))

    monkeypatch.setattr('lift_gs_ros.grounding.grounder.load_language_encoder', encoder)
    grounder = Grounder.load(
        str(checkpoint), settings=GrounderSettings(chunk_size=voxel_map.chunk_size)
    )
    assert asked == [('open_clip', 'phrases')]
    for key in voxel_map.chunk_keys():
        grounder.update(key, voxel_map.chunk(key))
    answer = grounder.ground('the red chair next to the door')
    assert np.isfinite(answer.none_score)
