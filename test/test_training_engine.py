import csv
import math
import os
import signal
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from training.config import load_settings
from training.engine import RunFolder, Stopper, adamw, cosine_schedule, seed_torch, step_rng
from training.journal import Journal
from training.prefetch import Prefetcher


@dataclass(frozen=True)
class _Inner:
    dice: float = 6.0


@dataclass(frozen=True)
class _Settings:
    steps: int = 10
    depth: tuple[float, float] = (1.0, 2.0)
    rate: float = 1e-3
    output: str = 'runs/x'
    weights: _Inner = field(default_factory=_Inner)


def test_settings_come_from_yaml_and_overrides(tmp_path):
    path = tmp_path / 'a.yaml'
    path.write_text('steps: 5\nrate: 1e-4\nweights: {dice: 3}\n')
    settings = load_settings(_Settings, path, ['weights.dice=2.5', 'output=runs/y'])
    assert settings == _Settings(5, (1.0, 2.0), 1e-4, 'runs/y', _Inner(2.5))
    path.write_text('weights:\n  # all left out\n')
    assert load_settings(_Settings, path, ['depth=[2, 3]']) == _Settings(depth=(2.0, 3.0))
    assert load_settings(_Settings, path, ['weights.dice=1']).weights == _Inner(1.0)


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('stpes=3', "unknown setting 'stpes'"),
        ('steps=many', "steps is 'many', expected int"),
        ('weights.dcie=3', "unknown setting 'dcie'"),
        ('steps', 'no "="'),
        ('weights=3', 'weights is 3, expected a group'),
        ('depth=3', r'depth is 3, expected a list of 2'),
        ('depth=[3]', r'depth is \[3\], expected a list of 2'),
        ('depth=[a, b]', "depth is 'a', expected float"),
    ],
)
def test_wrong_settings_are_refused_by_name(override, message):
    with pytest.raises(ValueError, match=message):
        load_settings(_Settings, None, [override])
    with pytest.raises(ValueError, match="'steps.x=3': steps is 5, no group"):
        load_settings(_Settings, None, ['steps=5', 'steps.x=3'])


def test_two_runs_can_not_share_a_folder(tmp_path):
    first = RunFolder(tmp_path / 'run')
    with pytest.raises(RuntimeError, match='another run'):
        RunFolder(tmp_path / 'run')
    first.close()
    RunFolder(tmp_path / 'run').close()


def test_a_state_that_fails_to_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.save({'step': 1, 'settings': {}})

    def full_disk(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full_disk)
    with pytest.raises(OSError, match='No space'):
        folder.save({'step': 2, 'settings': {}})
    assert RunFolder.read(tmp_path, {})['step'] == 1
    assert not list(tmp_path.glob('*.tmp'))


def test_a_state_of_other_settings_or_version_or_damaged_is_refused(tmp_path):
    folder = RunFolder(tmp_path)
    assert RunFolder.read(tmp_path, {}) is None
    folder.save({'settings': {'seed': 1}})
    with pytest.raises(ValueError, match='seed = 1, this run has 2'):
        RunFolder.read(tmp_path, {'seed': 2})
    assert RunFolder.read(tmp_path, {'seed': 1, 'newer': 3}) is not None  # older than a setting
    folder.state_file.write_bytes(folder.state_file.read_bytes()[:100])
    with pytest.raises(ValueError, match='can not be read'):
        RunFolder.read(tmp_path, {})
    torch.save({'version': -1}, folder.state_file)
    with pytest.raises(ValueError, match='version -1'):
        RunFolder.read(tmp_path, {})


def _rows(path):
    with open(path / 'log.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_a_log_holds_means_since_its_last_line(tmp_path):
    journal = Journal(tmp_path, 4, 0)
    for loss in (1.0, 3.0, 5.0, 7.0):
        journal.add({'loss': loss})
        if loss in (3.0, 7.0):
            journal.write(int(loss + 1) // 2, {'seconds': 10 * loss})
    journal.close()
    assert _rows(tmp_path) == [
        {'step': '2', 'loss': '2', 'seconds': '30'},
        {'step': '4', 'loss': '6', 'seconds': '70'},
    ]


def test_a_log_of_a_long_run_can_be_gone_on_with(tmp_path):
    for done, step in ((0, 100_000), (100_000, 123_457)):
        journal = Journal(tmp_path, 200_000, done)
        journal.add({'loss': 1.0})
        journal.write(step, {})
        journal.close()
    assert [row['step'] for row in _rows(tmp_path)] == ['100000', '123457']


def test_a_log_whose_steps_were_rounded_still_opens(tmp_path):
    (tmp_path / 'log.csv').write_text('step,loss\n99980,3\n1e+05,2\n1.0002e+05,1\n')
    Journal(tmp_path, 200_000, 100_000).close()
    assert [row['loss'] for row in _rows(tmp_path)] == ['3', '2']


def _write(path, step, done=0, **values):
    journal = Journal(path, 9, done)
    journal.add(values)
    journal.write(step, {'seconds': 7.0})
    journal.close()


def test_a_value_that_a_line_does_not_have_is_blank_whether_it_was_known_before_or_comes_later(
    tmp_path,
):
    _write(tmp_path, 1, loss=1.0)
    _write(tmp_path, 2, done=1, loss=2.0, named=0.5)
    _write(tmp_path, 3, done=2, loss=3.0)
    assert [(row['loss'], row['named'], row['seconds']) for row in _rows(tmp_path)] == [
        ('1', '', '7'), ('2', '0.5', '7'), ('3', '', '7'),
    ]  # fmt: skip


def test_a_log_takes_back_what_a_killed_run_wrote_after_its_checkpoint(tmp_path, monkeypatch):
    # Files of one second are read in the order of their names, in which 10 comes before 9.
    monkeypatch.setattr(event_file_writer, '_global_uid', event_file_writer.AtomicCounter(0))
    for step in (20, 40, 60):
        _write(tmp_path, step, done=step - 20, loss=float(step))
    with open(tmp_path / 'log.csv', 'a') as file:
        file.write('80,8')  # killed in the middle of a line
    _write(tmp_path, 40, done=30, loss=41.0)
    assert [(row['step'], row['loss']) for row in _rows(tmp_path)] == [('20', '20'), ('40', '41')]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars('loss')] == [(20, 20), (40, 41)]


def test_a_signal_asks_to_stop_once_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    before_interrupt = signal.getsignal(signal.SIGINT)  # ignored in a background job
    stopper = Stopper()
    os.kill(os.getpid(), signal.SIGTERM)
    assert stopper.requested
    assert signal.getsignal(signal.SIGTERM) == before
    stopper.close()
    assert signal.getsignal(signal.SIGINT) == before_interrupt


def test_steps_have_their_own_repeatable_randomness():
    first, again, other = step_rng(0, 5), step_rng(0, 5), step_rng(0, 6)
    assert first.uniform() == again.uniform() != other.uniform()
    seed_torch(0, 5)
    a = torch.rand(3)
    seed_torch(0, 5)
    assert torch.equal(a, torch.rand(3))


class _Drawing:
    """Draws a number, and says that it did."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def draw(self, step: int, rng: np.random.Generator) -> list[float]:
        self.drawn.append(float(rng.uniform()))
        return self.drawn[-1:]


def test_samples_drawn_ahead_are_those_of_their_step():
    program = _Drawing()
    batches = Prefetcher(program, seed=3, rank=1)
    try:
        for step in (4, 5, 6, 9, 2):  # jumps too
            samples, rng = batches.get(step)
            expected = step_rng(3, step, 1)
            assert samples == [expected.uniform()]
            assert rng.uniform() == expected.uniform()  # as drawing left it
    finally:
        batches.close()
    assert step_rng(3, 7, 1).uniform() in program.drawn  # asked for ahead, and never needed


class _Slow:
    """Takes its time for a sample, as reading a shard from far away does."""

    def draw(self, step: int, rng: np.random.Generator) -> list[float]:
        time.sleep(0.04)
        return [rng.uniform()]


def _waited(workers: int, steps: int = 15) -> float:
    batches = Prefetcher(_Slow(), seed=0, rank=0, workers=workers)
    begin = time.monotonic()
    for step in range(steps):
        batches.get(step)
        time.sleep(0.02)  # the model
    share = batches.waited / (time.monotonic() - begin)
    batches.close()
    return share


def test_more_threads_let_steps_wait_less_for_a_slow_reader():
    alone, several = _waited(1), _waited(6)
    assert 0 < several < 0.6 * alone < 0.6


def test_an_error_while_drawing_ahead_is_raised_at_its_step():
    class Failing:
        def draw(self, step: int, rng: np.random.Generator) -> list[float]:
            raise ValueError('nothing to draw from')

    batches = Prefetcher(Failing(), seed=0, rank=0)
    with pytest.raises(ValueError, match='nothing to draw'):
        batches.get(0)
    batches.close()


def test_cosine_schedule_rises_then_falls():
    factor = cosine_schedule(warmup=10, total=110, floor=0.1)
    assert factor(0) == pytest.approx(0.1)
    assert factor(9) == factor(10) == 1
    assert factor(60) == pytest.approx(0.1 + 0.9 * 0.5)
    assert factor(110) == factor(500) == pytest.approx(0.1)
    assert math.isfinite(cosine_schedule(5, 5)(9))


def test_adamw_does_not_decay_biases():
    optimizer = adamw(torch.nn.Linear(3, 2), 1e-3, 0.1)
    decays = {
        tuple(p.shape): g['weight_decay'] for g in optimizer.param_groups for p in g['params']
    }
    assert decays == {(2, 3): 0.1, (2,): 0.0}


def test_a_log_goes_on_with_the_values_that_were_pending_at_the_checkpoint(tmp_path):
    pending = {}
    journal = Journal(tmp_path, 4, 0, pending)
    for loss in (1.0, 2.0):
        journal.add({'loss': loss})
    journal.close()
    assert pending == {'loss': [1.0, 2.0]}
    journal = Journal(tmp_path, 4, 2, pending)
    journal.add({'loss': 6.0})
    journal.write(3, {})
    journal.close()
    assert [(row['step'], row['loss']) for row in _rows(tmp_path)] == [('3', '3')]
    assert not pending


def test_the_bar_shows_every_loss_and_the_speed(tmp_path, capsys):
    journal = Journal(tmp_path, 1, 0)
    terms = ('loss', 'mask', 'dice', 'correspondence', 'photometric', 'feature')
    journal.add(dict.fromkeys(terms, 0.25) | {'unknown': 0.125})
    journal.write(1, {'samples_per_second': 12.5})
    journal.close()
    bar = capsys.readouterr().err.splitlines()[-1]
    for name in terms:
        assert f'{name}=0.25' in bar
    assert 'samples_per_second=12.5' in bar
    assert 'unknown' not in bar
