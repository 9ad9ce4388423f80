import copy
import csv
import functools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_shards import save
from training_rooms import all_in_memory, two_boxes

from lift_gs_ros.model.checkpoint import load_checkpoint, read_metadata
from lift_gs_ros.model.language import LanguageEncoder, load_language_encoder
from lift_gs_ros.model.lift_gs import Decoded, LiftGS
from lift_gs_ros.model.mask_decoder import LayerOutput
from lift_gs_ros.model.scene import SceneEncoding
from lift_gs_ros.model.seeds import POSITION_CHANNELS
from training.config import load_settings
from training.data.room_cache import save_room
from training.data.sample import Sample, ViewTarget, make_sample
from training.data.storage import Storage
from training.engine import (
    Batch,
    RunFolder,
    TrainState,
    adamw,
    clip_gradients,
    cosine_schedule,
    seed_torch,
    step_rng,
)
from training.losses.correspondence import token_targets
from training.losses.grounding import Targets, grounding_loss
from training.objective import PretrainObjective, RenderedTarget, render_fixed, render_learned
from training.pictures import SCALE, draw_sample
from training.pretrain import Pretraining, PretrainSettings, draw_samples, pretrain
from training.trainer import Stopped, _Run, build_model, run_command_line

REPOSITORY = Path(__file__).parent.parent
TINY = REPOSITORY / 'config/train/tiny.yaml'


@pytest.fixture(autouse=True)
def language(monkeypatch):
    """Encode the captions of the feature loss once, not once a run."""
    monkeypatch.setattr('training.trainer.load_language_encoder', _language)


@functools.cache
def _language(name: str) -> LanguageEncoder:
    return load_language_encoder(name)


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('rooms')
    save_room(folder / 'train_000000.npz', two_boxes())
    return folder


@pytest.fixture(scope='module')
def shards(tmp_path_factory) -> Path:
    """More shards than are kept in memory, no multiple of two, and one of them was cut off."""
    folder = tmp_path_factory.mktemp('shards')
    for number in range(3):
        save(Storage(folder), f'boxes-{number:04d}', two_boxes(number))
    tar = folder / 'boxes-0001.tar'
    tar.write_bytes(tar.read_bytes()[:-1000])
    return folder


STREAMED = ('buffer=1', 'visit=2')


def _options(cache: Path, output: Path, *more: str) -> list[str]:
    return [
        f'rooms={cache}', f'output={output}', 'model=tiny', 'accelerator=cpu', 'warmup=2',
        'dropout=0.1', 'log_every=1', 'picture_every=4', 'backend=torch', 'sample.stride=1',
        'sample.min_points=10', *more,
    ]  # fmt: skip


def _settings(cache: Path, output: Path, *more: str) -> PretrainSettings:
    return load_settings(PretrainSettings, TINY, _options(cache, output, *more))


def _column(output: Path, name: str) -> dict[int, str]:
    with open(output / 'log.csv', newline='') as file:
        return {int(row['step']): row[name] for row in csv.DictReader(file)}


def _losses(output: Path) -> dict[int, str]:
    return _column(output, 'loss')


def test_a_run_that_was_killed_resumes_to_the_same_losses_and_parameters(shards, tmp_path):
    whole = pretrain(_settings(shards, tmp_path / 'whole', 'steps=8', *STREAMED))
    killed = tmp_path / 'killed'
    command = [sys.executable, '-m', 'training.pretrain', TINY]
    options = _options(shards, killed, 'steps=8', 'checkpoint_minutes=0', *STREAMED)
    process = subprocess.Popen([*command, *options], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    while not (killed / 'log.csv').exists() or len(_losses(killed)) < 4:
        assert process.poll() is None, 'the run ended by itself'
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = pretrain(_settings(shards, killed, 'steps=8', *STREAMED))
    for name, tensor in load_checkpoint(whole).state_dict().items():
        assert torch.equal(tensor, load_checkpoint(resumed).state_dict()[name]), name
    assert _losses(killed) == _losses(tmp_path / 'whole')
    _, notes = read_metadata(resumed)
    assert notes['steps'] == 8
    assert notes['trained']
    assert (tmp_path / 'whole' / 'step_000004.png').stat().st_size > 1000


def test_resuming_with_what_would_be_other_samples_or_without_effect_is_refused(shards, tmp_path):
    pretrain(_settings(shards, tmp_path, 'steps=1'))
    for other in (
        'buffer=7', 'visit=3', 'sample.queries=embeddings', 'learning_rate=0.5', 'weight_decay=0.5'
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f'this run has {other.partition("=")[2]}'):
            pretrain(_settings(shards, tmp_path, 'steps=2', other))


class _Elsewhere:
    """A Fabric of a device that needs no hardware; it sets nothing up."""

    device, is_global_zero, global_rank, world_size = torch.device('meta'), True, 0, 1

    def barrier(self):
        pass

    def setup(self, objective, optimizer):
        tensors = [v for own in optimizer.state.values() for k, v in own.items() if k != 'step']
        assert len(tensors) > 100
        assert {tensor.device.type for tensor in tensors} == {'meta'}
        raise Stopped('seen')


@pytest.mark.filterwarnings('ignore:for .*copying from a non-meta')
def test_a_resumed_optimizer_is_where_the_parameters_are(cache, tmp_path, monkeypatch):
    settings = _settings(cache, tmp_path, 'steps=1')
    pretrain(settings)
    monkeypatch.setattr('training.trainer._launch', lambda _: _Elsewhere())
    other = copy.deepcopy(_language('minilm'))  # the first one stays where it is
    monkeypatch.setattr('training.trainer.load_language_encoder', lambda _: other)
    with pytest.raises(Stopped, match='seen'):
        pretrain(settings)


def test_a_run_that_has_ended_says_that_it_learns_nothing_new(cache, tmp_path, capsys):
    for said in (False, True):
        pretrain(_settings(cache, tmp_path, 'steps=1'))
        assert ('so nothing is trained now: for new data' in capsys.readouterr().err) == said


class _TwoAlike:
    """A Fabric of two processes that have the same to say."""

    device, world_size = torch.device('cpu'), 2

    def all_reduce(self, own: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == 'sum'
        return 2 * own


def test_the_speed_is_that_of_all_processes_since_the_last_line(tmp_path):
    settings = PretrainSettings(output=str(tmp_path), batch_size=3)
    program, state = SimpleNamespace(unreadable=1, redrawn=4), SimpleNamespace(step=100)
    run = _Run(settings, program, _TwoAlike(), None, state, None, None)
    begin = run._written
    for step, seconds, waited, speed in ((105, 10.0, 2.0, 3.0), (107, 14.0, 3.0, 3.0)):
        state.step = step
        about = run._about_data(begin + seconds, waited)
        assert about == pytest.approx({
            'samples_per_second': speed, 'data_wait': 0.2 if step == 105 else 0.25,
            'unreadable': 2, 'redrawn': 8,
        }, rel=1e-3)  # fmt: skip


def _by_hand(settings: PretrainSettings, processes: int) -> dict[str, torch.Tensor]:
    """Parameters after steps with the mean of the gradients that each process has by itself."""
    model = build_model(settings)
    optimizer = adamw(model, settings.learning_rate, settings.weight_decay)
    schedule = cosine_schedule(settings.warmup, settings.steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    state = TrainState(model, optimizer, scheduler)
    programs = [Pretraining(settings) for _ in range(processes)]
    for rank, program in enumerate(programs):
        program.load(rank, processes)
    objective = programs[0].objective(model, _language('minilm')).train()
    while state.step < settings.steps:
        for rank, program in enumerate(programs):
            seed_torch(settings.seed, state.step, rank)
            rng = step_rng(settings.seed, state.step, rank)
            samples = program.draw(state.step, rng)
            loss, _ = objective(Batch(samples, rng, state.step / settings.steps))
            (loss / processes).backward()  # adds up
        state.advance(float(clip_gradients(model, settings.clip_norm)))
    return dict(model.named_parameters())


def test_two_processes_take_steps_along_the_mean_of_their_gradients(shards, tmp_path):
    output = tmp_path / 'run'
    options = _options(shards, output, 'steps=3', 'picture_every=2', *STREAMED)
    command = [sys.executable, '-m', 'training.pretrain', TINY, *options, 'devices=2']
    # The pipes are open until both processes have ended.
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=250)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count('wrote ') == 2
    with open(output / 'log.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['step'] for row in rows] == ['1', '2', '3']  # one process writes
    assert all(np.isfinite(float(row['loss'])) and row['skipped'] == '0' for row in rows)
    for row in rows:
        assert 0 <= float(row['data_wait']) <= 1
        assert float(row['samples_per_second']) > 0
    assert rows[-1]['unreadable'] != '0'  # of any process
    events = EventAccumulator(str(output)).Reload()
    for name in ('data_wait', 'samples_per_second'):
        assert [event.step for event in events.Scalars(name)] == [1, 2, 3]
    assert read_metadata(output / 'model.safetensors')[1]['samples'] == 6

    found = RunFolder.read(output, {})['model']
    settings = load_settings(PretrainSettings, TINY, options)
    start = dict(build_model(settings).named_parameters())
    expected = _by_hand(settings, 2)
    moved = sum((expected[name] - start[name]).square().sum() for name in start).sqrt()
    error = sum((expected[name] - found[name]).square().sum() for name in start).sqrt()
    alone = _by_hand(settings, 1)
    other = sum((expected[name] - alone[name]).square().sum() for name in start).sqrt()
    assert error < 0.01 * moved
    assert other > 0.1 * moved


def test_a_process_without_a_room_is_an_error_before_the_first_step(cache, tmp_path):
    program = Pretraining(_settings(cache, tmp_path))
    with pytest.raises(ValueError, match='2 processes'):
        program.load(1, 2)


def test_mixed_precision_runs_on_a_cpu_and_leaves_finite_parameters(cache, tmp_path):
    settings = _settings(cache, tmp_path, 'steps=2', 'precision=bf16-mixed')
    pretrain(settings)
    state = RunFolder.read(tmp_path, {})
    start = build_model(settings).state_dict()
    changed = [
        name for name, tensor in start.items() if not torch.equal(state['model'][name], tensor)
    ]
    assert len(changed) > 0.5 * len(start)
    for name, tensor in state['model'].items():
        assert tensor.isfinite().all(), name
        assert tensor.dtype == start[name].dtype, name
    assert state['skipped'] == 0
    full = _settings(cache, tmp_path / 'full', 'steps=2')
    pretrain(full)
    half_losses, losses = _losses(tmp_path), _losses(tmp_path / 'full')
    for step in (1, 2):
        assert half_losses[step] != losses[step]  # it was used
        assert float(half_losses[step]) == pytest.approx(float(losses[step]), rel=0.1)


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

    def met(*_):  # no process ends with a failure, which kills the others, before it was written
        written.append((tmp_path / 'model.safetensors').exists())

    written: list[bool] = []
    monkeypatch.setattr('training.trainer.Fabric.barrier', met)
    monkeypatch.setattr('training.pretrain.draw_samples', interrupted)
    with pytest.raises(Stopped, match='after step 1 of 50'):
        pretrain(_settings(cache, tmp_path, 'steps=50'))
    assert written[-1]
    assert read_metadata(tmp_path / 'model.safetensors')[1]['steps'] == 1
    with pytest.raises(ValueError, match='seed = 0, this run has 1'):
        pretrain(_settings(cache, tmp_path, 'steps=50', 'seed=1'))


def test_the_first_line_after_a_resume_is_the_mean_of_all_its_steps(cache, tmp_path, monkeypatch):
    def interrupted(*arguments):
        if signals:
            os.kill(os.getpid(), signals.pop())
        return draw_samples(*arguments)

    settings = ['steps=6', 'log_every=3']
    pretrain(_settings(cache, tmp_path / 'whole', *settings))
    signals = [signal.SIGINT]
    monkeypatch.setattr('training.pretrain.draw_samples', interrupted)
    with pytest.raises(Stopped, match='after step 1 of 6'):
        pretrain(_settings(cache, tmp_path / 'stopped', *settings))
    assert not (tmp_path / 'stopped' / 'log.csv').read_text()
    pretrain(_settings(cache, tmp_path / 'stopped', *settings))
    for name in ('loss', 'mask', 'gradient'):
        ours, theirs = (_column(tmp_path / run, name) for run in ('stopped', 'whole'))
        assert list(ours) == [3, 6]
        assert ours == theirs
    seconds, speed = (_column(tmp_path / 'whole', n) for n in ('seconds', 'samples_per_second'))
    passed = float(seconds[6]) - float(seconds[3])
    assert 3 / float(speed[6]) == pytest.approx(passed, rel=0.05)


def test_a_command_that_was_stopped_says_so_and_fails(cache, tmp_path, monkeypatch, capsys):
    def stopped(_):
        raise Stopped('stopped after step 3 of 9')

    monkeypatch.setattr(sys, 'argv', ['pretrain', str(TINY)])
    with pytest.raises(SystemExit) as ended:
        run_command_line('Pretrain.', PretrainSettings, stopped)
    assert ended.value.code == 130
    assert 'step 3 of 9' in capsys.readouterr().err


def test_a_sample_with_nan_is_left_out_and_a_cache_of_nothing_else_is_an_error(cache, tmp_path):
    settings, room = _settings(cache, tmp_path), two_boxes()
    broken = two_boxes()
    broken.colors[:] = np.nan
    rng = np.random.default_rng(1)
    samples = draw_samples(all_in_memory([broken, room]), settings, 0.05, 0, rng)
    assert np.isfinite(samples[0].colors).all()
    with pytest.raises(ValueError, match='hold NaN'):
        draw_samples(all_in_memory([broken]), settings, 0.05, 0, rng)


@pytest.mark.parametrize('mirror', [0, 1])
def test_learned_geometry_begins_as_the_fixed_one_and_has_gradients(cache, tmp_path, mirror):
    mirror_all_or_none = f'sample.augmentation.mirror={mirror}'
    settings = _settings(cache, tmp_path, mirror_all_or_none, 'sample.whole_room=1')
    model = build_model(settings)
    sample = make_sample(two_boxes(), settings.sample, 0.05, np.random.default_rng(0))
    encoding = model.encode([(sample.positions, sample.colors)])[0]
    view = sample.views[0]
    fixed, learned = render_fixed(encoding, view), render_learned(encoding, view)
    both = (fixed.valid & learned.valid)[:, None]
    error = ((fixed.mask_features - learned.mask_features).abs() * both).mean()
    assert error < 0.05 * fixed.mask_features.abs().mean()
    objective = PretrainObjective(model, _language('minilm'), settings.loss, 0.5)
    loss, _ = objective(Batch([sample], np.random.default_rng(0), progress=0.5))
    loss.backward()
    geometry = model.gaussian_head.mlp[-1].weight.grad[:11]  # offset, scale, rotation, opacity
    assert geometry.abs().sum() > 0


def _in_view(cache: Path, output: Path) -> tuple[PretrainSettings, LiftGS, Sample]:
    """A model, and a sample whose query asks for both boxes in its only view."""
    settings = _settings(
        cache, output, 'sample.whole_room=1', 'sample.views=1', 'learn_geometry_from=0.5',
        'sample.query.single=0', 'sample.query.no_color=0', 'dropout=0',
    )  # fmt: skip
    for seed in range(20):
        sample = make_sample(two_boxes(), settings.sample, 0.05, np.random.default_rng(seed))
        if sample.views[0].instances.tolist() == [1, 2]:
            return settings, build_model(settings), sample
    raise AssertionError('no such sample')


@pytest.mark.parametrize('shown', [(), (1,), (1, 2)])
def test_an_instance_that_learned_gaussians_do_not_cover_is_not_matched(
    cache, tmp_path, monkeypatch, shown
):
    settings, model, sample = _in_view(cache, tmp_path)

    def rendered(encoding: SceneEncoding, target: ViewTarget) -> RenderedTarget:
        view = render_learned(encoding, target)
        covered = torch.from_numpy(np.isin(target.semantics, shown))
        return replace(view, valid=view.valid & covered)

    def noted(views, *arguments):
        seen.append(views)
        return grounding_loss(views, *arguments)

    seen: list[list[Targets]] = []
    monkeypatch.setattr('training.objective.render_learned', rendered)
    monkeypatch.setattr('training.objective.grounding_loss', noted)
    objective = PretrainObjective(model, _language('minilm'), settings.loss, 0.5)
    loss, log = objective(Batch([sample], np.random.default_rng(0), progress=0.5))
    loss.backward()
    assert np.isfinite(list(log.values())).all()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert ('named' in log) == bool(shown)
    _, phrases = sample.query.tokens(_language('minilm'))
    expected = token_targets(torch.from_numpy(sample.views[0].satisfied @ phrases))
    for [targets] in seen:
        assert targets.masks.any(dim=0).all()
        assert torch.equal(targets.tokens, expected[[i - 1 for i in shown]])


def _panels(path: Path, sample: Sample, phrases: int = 4) -> list[list[np.ndarray]]:
    """Cut a picture into its rows of three panels (H, W, 3) in [0, 1], without the titles."""
    picture = np.asarray(Image.open(path)) / 255
    height, width = (SCALE * size for size in sample.views[0].image.shape[:2])
    rows = np.split(picture, 1 + min(phrases, len(sample.query.texts)))
    title = len(rows[0]) - height
    return [[row[title:, width * c : width * (c + 1)] for c in range(3)] for row in rows]


def _is(color: str, panel: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(panel, -1, 0)
    if color == 'yellow':
        return (red > 0.6) & (green > 0.55) & (blue < 0.45)
    return (green < 0.4) & ((red if color == 'red' else blue) > 0.6)


def test_pictures_show_the_cloud_and_the_mask_of_each_phrase_in_the_image_and_in_3d(
    cache, tmp_path, monkeypatch
):
    _, model, sample = _in_view(cache, tmp_path)
    [encoding] = model.encode([(sample.positions, sample.colors)])
    features = torch.zeros(len(sample.positions), 2 + POSITION_CHANNELS)
    for column, channel in enumerate((0, 2)):  # what is red, and what is blue
        features[:, column] = torch.from_numpy(sample.colors[:, channel] > 0.6).float()
    grey = replace(encoding.gaussians, sh=torch.zeros_like(encoding.gaussians.sh))
    encoding = replace(encoding, mask_features=features, gaussians=grey)
    tokens, phrases = sample.query.tokens(_language('minilm'))
    masks = torch.zeros(4, features.shape[1])  # nothing, red, nothing, blue
    names = torch.full((4, phrases.shape[1] + 1), 1e-9)
    names[:, -1] = 1.0
    for column, (proposal, own) in enumerate(zip((1, 3), sample.views[0].satisfied)):
        masks[proposal, column] = 80.0
        names[proposal, :-1] = torch.from_numpy(phrases[own].any(axis=0)).float() + 1e-9
    answer = [LayerOutput(masks, names.log())]
    decoded = Decoded(encoding, (len(features),), tokens, answer, torch.tensor(-20.0))
    monkeypatch.setattr(model, 'encode', lambda _: [encoding])
    monkeypatch.setattr(model, 'decode', lambda *_: decoded)
    draw_sample(tmp_path / 'picture.png', model, _language('minilm'), sample, phrases=99)
    first, *rows = _panels(tmp_path / 'picture.png', sample, phrases=99)
    view = sample.views[0]
    assert np.abs(first[0][1::SCALE, 1::SCALE] - view.image).max() < 0.01
    valid = view.valid.reshape(view.image.shape[:2])
    assert np.abs(first[1][1::SCALE, 1::SCALE][valid] - 0.5).max() < 0.01  # as rendered
    for color in ('red', 'blue'):
        assert _is(color, first[2]).sum() > 100
    assert not _is('yellow', first[2]).any()
    for color, other, instance in (('red', 'blue', 1), ('blue', 'red', 2)):
        teacher, rendered, cloud = rows[np.flatnonzero(view.satisfied[instance - 1])[0]]
        shown = np.kron(view.semantics.reshape(view.image.shape[:2]) == instance, np.ones((3, 3)))
        assert np.array_equal(_is('yellow', teacher), shown.astype(bool))
        drawn = _is('yellow', rendered)
        assert (drawn & (shown > 0)).sum() > 0.7 * (drawn | (shown > 0)).sum()
        assert _is('yellow', cloud).sum() > 100
        assert not _is(color, cloud).any()
        assert np.array_equal(_is(other, cloud), _is(other, first[2]))


def test_pictures_show_where_gaussians_went_once_they_may_move(cache, tmp_path):
    settings, model, sample = _in_view(cache, tmp_path)
    model.gaussian_head.mlp[-1].bias.data[10] = -20.0  # opacity: the learned ones fade away
    program, brightness = Pretraining(settings), []
    for progress in (0.49, 0.5):
        path = tmp_path / 'picture.png'
        program.picture(path, model.eval(), _language('minilm'), sample, progress)
        brightness.append(_panels(path, sample)[0][1].mean())
    assert brightness[0] > 0.2
    assert brightness[1] < 0.004


def test_the_picture_of_a_step_is_of_the_progress_that_its_loss_had(cache, tmp_path, monkeypatch):
    drawn: list[bool] = []
    monkeypatch.setattr('training.pretrain.draw_sample', lambda *given: drawn.append(given[-1]))
    options = ['steps=4', 'picture_every=1', 'learn_geometry_from=0.5']
    pretrain(_settings(cache, tmp_path / 'half', *options))
    assert drawn == [False, False, True, True]
    drawn.clear()
    pretrain(_settings(cache, tmp_path / 'never', *options[:2]))
    assert drawn == [False] * 4


def test_wrong_settings_are_refused_before_the_first_step(cache, tmp_path):
    for override, message in (
        ('model=huge', "model is 'huge'"),
        ('clip_norm=0', 'clip_norm is 0.0, with which nothing is learned'),
        ('precision=16-mixed', "expected 'bf16-mixed' or '32-true'"),
    ):
        with pytest.raises(ValueError, match=message):
            _settings(cache, tmp_path, override)
    with pytest.raises(FileNotFoundError, match='no cached rooms'):
        pretrain(_settings(tmp_path, tmp_path / 'run'))
