import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from training_rooms import two_boxes

from lift_gs_ros.model.checkpoint import load_checkpoint, read_metadata
from lift_gs_ros.model.language import load_language_encoder
from training.config import load_settings
from training.data.room_cache import save_room
from training.data.sample import make_sample
from training.engine import Batch
from training.objective import PretrainObjective, render_fixed, render_learned
from training.pretrain import PretrainSettings, draw_samples, pretrain
from training.trainer import build_model

REPOSITORY = Path(__file__).parent.parent
TINY = REPOSITORY / 'config/train/tiny.yaml'


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('rooms')
    save_room(folder / 'train_000000.npz', two_boxes())
    return folder


def _options(cache: Path, output: Path, *more: str) -> list[str]:
    return [
        f'rooms={cache}', f'output={output}', 'model=tiny', 'accelerator=cpu', 'warmup=2',
        'dropout=0.1', 'log_every=1', 'picture_every=4', 'backend=torch', 'sample.stride=1',
        'sample.min_points=10', *more,
    ]  # fmt: skip


def _settings(cache: Path, output: Path, *more: str) -> PretrainSettings:
    return load_settings(PretrainSettings, TINY, _options(cache, output, *more))


def _losses(output: Path) -> dict[int, str]:
    with open(output / 'log.csv', newline='') as file:
        return {int(row['step']): row['loss'] for row in csv.DictReader(file)}


def test_a_run_that_was_killed_resumes_to_the_same_losses_and_parameters(cache, tmp_path):
    whole = pretrain(_settings(cache, tmp_path / 'whole', 'steps=8'))
    killed = tmp_path / 'killed'
    command = [sys.executable, '-m', 'training.pretrain', TINY]
    options = _options(cache, killed, 'steps=8', 'checkpoint_minutes=0')
    process = subprocess.Popen([*command, *options], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    while not (killed / 'log.csv').exists() or len(_losses(killed)) < 4:
        assert process.poll() is None, 'the run ended by itself'
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = pretrain(_settings(cache, killed, 'steps=8'))
    for name, tensor in load_checkpoint(whole).state_dict().items():
        assert torch.equal(tensor, load_checkpoint(resumed).state_dict()[name]), name
    assert _losses(killed) == _losses(tmp_path / 'whole')
    _, notes = read_metadata(resumed)
    assert notes['steps'] == 8
    assert notes['trained']
    assert (tmp_path / 'whole' / 'step_000004.png').stat().st_size > 1000


def test_training_learns_what_the_pictures_show(cache, tmp_path):
    settings = _settings(
        cache, tmp_path, 'steps=120', 'learning_rate=0.005', 'dropout=0', 'picture_every=1000'
    )
    pretrain(settings)
    with open(tmp_path / 'log.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    for name in ('loss', 'correspondence', 'feature'):
        first, last = (
            np.mean([float(row[name]) for row in part]) for part in (rows[:20], rows[-40:])
        )
        assert last < 0.7 * first, name


def test_interrupting_leaves_a_checkpoint_and_other_settings_are_refused(
    cache, tmp_path, monkeypatch
):
    signals = [signal.SIGINT]  # one Ctrl-C: the second one would end the program at once

    def interrupted(*arguments):
        if signals:
            os.kill(os.getpid(), signals.pop())
        return draw_samples(*arguments)

    monkeypatch.setattr('training.pretrain.draw_samples', interrupted)
    checkpoint = pretrain(_settings(cache, tmp_path, 'steps=50'))
    assert read_metadata(checkpoint)[1]['steps'] == 1
    with pytest.raises(ValueError, match='seed = 0, this run has 1'):
        pretrain(_settings(cache, tmp_path, 'steps=50', 'seed=1'))


def test_a_sample_with_nan_is_left_out_and_a_cache_of_nothing_else_is_an_error(cache, tmp_path):
    settings, room = _settings(cache, tmp_path), two_boxes()
    broken = two_boxes()
    broken.colors[:] = np.nan
    samples = draw_samples([broken, room], settings, 0.05, np.random.default_rng(1))
    assert np.isfinite(samples[0].colors).all()
    with pytest.raises(ValueError, match='hold NaN'):
        draw_samples([broken], settings, 0.05, np.random.default_rng(1))


def test_learned_geometry_begins_as_the_fixed_one_and_has_gradients(cache, tmp_path):
    settings = _settings(cache, tmp_path, 'sample.augmentation.mirror=0', 'sample.whole_room=1')
    model = build_model(settings)
    sample = make_sample(two_boxes(), settings.sample, 0.05, np.random.default_rng(0))
    encoding = model.encode([(sample.positions, sample.colors)])[0]
    view = sample.views[0]
    fixed, learned = render_fixed(encoding, view), render_learned(encoding, view)
    both = (fixed.valid & learned.valid)[:, None]
    error = ((fixed.mask_features - learned.mask_features).abs() * both).mean()
    assert error < 0.05 * fixed.mask_features.abs().mean()
    objective = PretrainObjective(model, load_language_encoder('minilm'), settings.loss, 0.5)
    loss, _ = objective(Batch([sample], np.random.default_rng(0), progress=0.5))
    loss.backward()
    geometry = model.gaussian_head.mlp[-1].weight.grad[:11]  # offset, scale, rotation, opacity
    assert geometry.abs().sum() > 0


def test_wrong_settings_are_refused_before_the_first_step(cache, tmp_path):
    with pytest.raises(ValueError, match="model is 'huge'"):
        _settings(cache, tmp_path, 'model=huge')
    with pytest.raises(FileNotFoundError, match='no cached rooms'):
        pretrain(_settings(tmp_path, tmp_path / 'run'))
