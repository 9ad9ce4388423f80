"""Fine-tuning from end to end, on a labelled scene of three boxes with the tiny model."""

import csv
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training_rooms import three_boxes

from lift_gs_ros.model.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from lift_gs_ros.model.language import LanguageEncoder, load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS
from training.config import load_settings
from training.data.labelled import save_scene
from training.data.labelled_sample import make_labelled_sample
from training.engine import RunFolder
from training.finetune import FinetuneSettings, Finetuning, finetune
from training.trainer import MODELS, Stopped, build_model

REPOSITORY = Path(__file__).parent.parent
CONFIG = REPOSITORY / 'config/train/finetune.yaml'


@pytest.fixture(scope='module')
def scenes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('scenes')
    for seed in range(4):
        save_scene(folder / f'boxes_{seed}.npz', three_boxes(seed))
    return folder


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory) -> Path:
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp('pretrained') / 'model.safetensors'
    model = LiftGS(MODELS['tiny'](max_proposals=50), 'torch')
    save_checkpoint(path, model, trained=True, stage='pretraining with 2D losses only', half=True)
    return path


@pytest.fixture(autouse=True)
def language(monkeypatch):
    """Encode the captions of the feature loss once, not once a run."""
    monkeypatch.setattr('training.trainer.load_language_encoder', _language)


@cache
def _language(name: str) -> LanguageEncoder:
    return load_language_encoder(name)


def _options(scenes: Path, output: Path, *more: str) -> list[str]:
    return [
        f'scenes={scenes}', f'output={output}', 'model=tiny', 'start_from=', 'accelerator=cpu',
        'backend=torch', 'log_every=1', 'warmup=2', 'picture_every=1000', 'sample.queries=2',
        'sample.max_points=4000', *more,
    ]  # fmt: skip


def _settings(scenes: Path, output: Path, *more: str) -> FinetuneSettings:
    return load_settings(FinetuneSettings, CONFIG, _options(scenes, output, *more))


def _log(output: Path) -> list[dict[str, str]]:
    with open(output / 'log.csv', newline='') as file:
        return list(csv.DictReader(file))


def _losses(output: Path) -> dict[int, str]:
    return {int(row['step']): row['loss'] for row in _log(output)}


def test_fine_tuning_learns_what_is_asked_for(scenes, tmp_path):
    settings = _settings(scenes, tmp_path, 'steps=40', 'learning_rate=0.005')
    checkpoint = finetune(settings)
    rows = _log(tmp_path)
    assert [int(row['step']) for row in rows] == list(range(1, 41))
    for name in ('loss', 'dice', 'correspondence', 'feature'):
        first, last = (
            np.mean([float(row[name]) for row in part]) for part in (rows[:5], rows[-15:])
        )
        assert last < 0.6 * first, name
    _, notes = read_metadata(checkpoint)
    assert notes['trained']
    assert notes['steps'] == 40
    assert notes['stage'] == 'fine-tuning with 3D labels from scratch'


def test_a_run_that_was_stopped_resumes_to_the_same_losses_and_parameters(
    scenes, tmp_path, monkeypatch
):
    more = ('steps=6', 'dropout=0.1', 'sample.queries=1')
    whole = finetune(_settings(scenes, tmp_path / 'whole', *more))
    stopped = tmp_path / 'stopped'
    drawn = []

    def interrupted(*arguments):
        drawn.append(len(drawn))
        if len(drawn) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return make_labelled_sample(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr('training.finetune.make_labelled_sample', interrupted)
        with pytest.raises(Stopped):
            finetune(_settings(scenes, stopped, *more))
    assert 1 <= read_metadata(stopped / 'model.safetensors')[1]['steps'] <= 3
    resumed = finetune(_settings(scenes, stopped, *more))
    assert read_metadata(resumed)[1]['steps'] == 6
    assert _losses(stopped) == _losses(tmp_path / 'whole')
    ours, theirs = (load_checkpoint(path).state_dict() for path in (resumed, whole))
    for name, tensor in theirs.items():
        assert torch.equal(tensor, ours[name]), name


def test_a_run_that_was_killed_resumes_to_the_same_log_and_parameters(scenes, tmp_path):
    more = ('steps=9', 'log_every=3', 'dropout=0.1', 'sample.queries=1', 'checkpoint_minutes=0')
    whole = finetune(_settings(scenes, tmp_path / 'whole', *more))
    killed = tmp_path / 'killed'
    command = [sys.executable, '-m', 'training.finetune', CONFIG]
    options = _options(scenes, killed, *more)
    process = subprocess.Popen([*command, *options], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    while not (killed / 'log.csv').exists() or not _losses(killed):
        assert process.poll() is None, 'the run ended by itself'
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert RunFolder.read(killed, {})['step'] < 9
    resumed = finetune(_settings(scenes, killed, *more))
    assert list(_losses(killed)) == [3, 6, 9]
    assert _losses(killed) == _losses(tmp_path / 'whole')
    ours, theirs = (load_checkpoint(path).state_dict() for path in (resumed, whole))
    for name, tensor in theirs.items():
        assert torch.equal(tensor, ours[name]), name


def test_a_run_begins_with_the_parameters_of_its_start(scenes, tmp_path, pretrained):
    # No parameter depends on what is another one here: dropout and max_proposals.
    start = f'start_from={pretrained}'
    settings = _settings(scenes, tmp_path, start, 'steps=1', 'learning_rate=1e-6', 'dropout=0.3')
    expected = load_checkpoint(pretrained).state_dict()
    model = build_model(settings)
    assert model.config.dropout == 0.3
    assert model.config.max_proposals != 50
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    other = build_model(_settings(scenes, tmp_path, 'steps=1')).state_dict()
    assert not torch.equal(other['decoder.proposals'], expected['decoder.proposals'])

    checkpoint = finetune(settings)
    state = RunFolder.read(tmp_path, {})['model']
    for name, parameter in model.named_parameters():
        assert (state[name] - parameter).abs().max() <= 2e-6, name
    stage = read_metadata(checkpoint)[1]['stage']
    assert stage == 'fine-tuning with 3D labels from a pretrained checkpoint'


def test_a_start_of_another_size_is_refused_with_what_differs(scenes, tmp_path):
    def start(**changes) -> FinetuneSettings:
        path = tmp_path / 'start.safetensors'
        save_checkpoint(path, LiftGS(MODELS['tiny'](**changes), 'torch'), trained=True)
        return _settings(scenes, tmp_path / 'run', f'start_from={path}')

    build_model(start(dropout=0.5, max_proposals=30))
    with pytest.raises(ValueError, match='fit model tiny: decoder_layers is 3, not 2') as error:
        build_model(start(hidden_dim=24, decoder_layers=3, dropout=0.5))
    assert 'hidden_dim is 24, not 16' in str(error.value)
    assert 'dropout' not in str(error.value)
    assert 'mask_dim' not in str(error.value)
    with pytest.raises(ValueError, match=r'voxel_size is 0\.1, not 0\.05'):
        finetune(start(voxel_size=0.1))
    with pytest.raises(FileNotFoundError, match='no checkpoint at'):
        build_model(_settings(scenes, tmp_path, 'start_from=nowhere.safetensors'))
    assert not list((tmp_path / 'run').glob('*.pt'))


@pytest.mark.parametrize('ratio', ['0', '-0.5', '1.01', '.nan'])
def test_a_data_ratio_out_of_range_is_refused(scenes, tmp_path, ratio):
    with pytest.raises(ValueError, match='data_ratio is .*, expected a share in'):
        _settings(scenes, tmp_path, f'data_ratio={ratio}')


def test_a_data_ratio_leaves_the_other_scenes_alone(scenes, tmp_path):
    settings = _settings(scenes, tmp_path, 'data_ratio=0.5', 'batch_size=3')
    program = Finetuning(settings)
    program.load(0, 1)
    batches = [program.draw(s, np.random.default_rng(s)) for s in range(10)]
    names = {sample.name for batch in batches for sample in batch}
    assert names == {'boxes_0', 'boxes_1'}
    assert len(batches[0]) == 3


def test_resuming_with_another_share_of_the_labels_is_refused(scenes, tmp_path):
    finetune(_settings(scenes, tmp_path, 'steps=1', 'data_ratio=0.5'))
    with pytest.raises(ValueError, match='data_ratio = 0.5, this run has 1'):
        finetune(_settings(scenes, tmp_path, 'steps=2'))


def test_a_cache_that_does_not_fit_is_an_error_before_the_first_step(scenes, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'python -m training\.data\.labelled'):
        finetune(_settings(tmp_path, tmp_path / 'run'))
    broken = tmp_path / 'broken'
    broken.mkdir()
    (broken / 'boxes.npz').write_text('nothing')
    with pytest.raises(ValueError, match=r'boxes\.npz is no labelled scene'):
        finetune(_settings(broken, tmp_path / 'run'))


def test_pictures_show_the_truth_beside_the_answer(scenes, tmp_path):
    finetune(_settings(scenes, tmp_path, 'steps=2', 'picture_every=2', 'sample.queries=3'))
    picture = np.asarray(Image.open(tmp_path / 'step_000002.png')).astype(float)
    height = len(picture) // 3
    assert [path.name for path in tmp_path.glob('*.png')] == ['step_000002.png']
    for row in range(3):
        part = picture[row * height : (row + 1) * height]
        for half in np.array_split(part, 2, axis=1):
            assert half.std() > 10
