"""Render-supervised pretraining: a 3D model learns from 2D masks, captions and colours alone.

    python -m training.pretrain config/train/small.yaml
    python -m training.pretrain config/train/small.yaml steps=2000 output=runs/trial

The output folder receives the run state (``state.pt``; the same command resumes from it, also after
a kill), checkpoints for the robot (``model.safetensors``), TensorBoard events, pictures and
``log.csv``. Ctrl-C ends the run after the current step, with a checkpoint.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lift_gs_ros.model.checkpoint import save_checkpoint
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS
from training.config import load_settings
from training.data.room_cache import CachedRoom, load_rooms
from training.data.sample import Sample, SampleSettings, make_sample
from training.engine import (
    RunFolder,
    Stopper,
    adamw,
    clip_gradients,
    cosine_schedule,
    is_finite_sample,
    seed_torch,
    step_rng,
)
from training.objective import ObjectiveWeights, PretrainObjective
from training.pictures import draw_sample

MODELS: dict[str, Callable[..., LiftGSConfig]] = {
    'base': LiftGSConfig.base,
    'small': LiftGSConfig.small,
    'tiny': partial(LiftGSConfig.tiny, language_dim=384),  # real words, unlike in the model's tests
}


@dataclass(frozen=True)
class PretrainSettings:
    """Everything that decides what a pretraining run does."""

    rooms: str = 'runs/rooms_train'  # cache folder
    output: str = 'runs/pretrain'
    model: str = 'small'
    start_from: str = ''  # checkpoint whose parameters are the start; '' for random ones
    seed: int = 0
    steps: int = 6000
    batch_size: int = 1  # per process
    devices: int = 1  # processes, one per GPU or CPU core
    accelerator: str = 'auto'
    precision: str = '32-true'
    threads: int = 1  # per process, on the CPU
    dropout: float = 0.1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: int = 200
    clip_norm: float = 1.0
    learn_geometry_from: float = 1.0  # share of the steps after which Gaussians move
    room_limit: int = 100_000
    checkpoint_minutes: float = 3.0
    log_every: int = 20
    picture_every: int = 1000
    backend: str = 'auto'  # of the sparse convolutions
    sample: SampleSettings = field(default_factory=SampleSettings)
    loss: ObjectiveWeights = field(default_factory=ObjectiveWeights)

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f'model is {self.model!r}, expected one of {sorted(MODELS)}')
        for name in ('steps', 'batch_size', 'devices', 'threads', 'log_every', 'picture_every'):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f'{name} is {value}, expected at least 1')
        if not 0 < self.learning_rate < 1:
            raise ValueError(f'learning_rate is {self.learning_rate}, expected between 0 and 1')
        if not 0 <= self.learn_geometry_from <= 1:
            raise ValueError(
                f'learn_geometry_from is {self.learn_geometry_from}, expected a share in [0, 1]'
            )


# What a run state can not be resumed without. Other settings may change: to end a run earlier, say.
DECISIVE = ('model', 'seed', 'batch_size', 'devices', 'dropout', 'start_from')


def pretrain(settings: PretrainSettings) -> Path:
    """Run (or resume) a pretraining; returns the checkpoint for the robot."""
    strategy: Any = 'auto'
    if settings.devices > 1:
        strategy = DDPStrategy(find_unused_parameters=True)
    fabric = Fabric(
        accelerator=settings.accelerator,
        strategy=strategy,
        devices=settings.devices,
        precision=cast(Any, settings.precision),
    )
    fabric.launch()
    torch.set_num_threads(settings.threads)
    folder = RunFolder(settings.output) if fabric.is_global_zero else None
    fabric.barrier()
    path = Path(settings.output)

    rooms = load_rooms(settings.rooms, settings.room_limit)
    rooms = rooms[fabric.global_rank :: fabric.world_size]
    model = build_model(settings)
    language = load_language_encoder(model.config.language).to(fabric.device)
    optimizer = adamw(model, settings.learning_rate, settings.weight_decay)
    schedule = cosine_schedule(settings.warmup, settings.steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)

    decisive = {name: getattr(settings, name) for name in DECISIVE}
    state = RunFolder.read(path, decisive)
    step, skipped, seconds = 0, 0, 0.0
    if state is not None:
        model.load_state_dict(state['model'])
        optimizer.load_state_dict(state['optimizer'])
        scheduler.load_state_dict(state['scheduler'])
        step, skipped, seconds = state['step'], state['skipped'], state['seconds']
    objective, optimizer = fabric.setup(
        PretrainObjective(model, language, settings.loss), optimizer
    )

    def save() -> None:
        if folder is not None:
            folder.save(
                {
                    'settings': decisive,
                    'model': model.state_dict(),
                    'optimizer': optimizer.state_dict(),
                    'scheduler': scheduler.state_dict(),
                    'step': step,
                    'skipped': skipped,
                    'seconds': seconds,
                }
            )
            notes = {'steps': step, 'samples': step * settings.batch_size * settings.devices}
            save_checkpoint(
                path / 'model.safetensors',
                model,
                trained=step > 0,
                half=True,
                seed=settings.seed,
                stage='pretraining with 2D losses only',
                **notes,
            )

    stopper, journal = Stopper(), Journal(path) if fabric.is_global_zero else None
    begin = saved = time.monotonic()
    bar = tqdm(total=settings.steps, initial=step, disable=journal is None, mininterval=5)
    model.train()
    batches = Prefetcher(rooms, settings, model.config.voxel_size, fabric.global_rank)
    while step < settings.steps and not stop_requested(fabric, stopper):
        seed_torch(settings.seed, step, fabric.global_rank)
        samples, rng = batches.get(step)
        learn_geometry = step >= settings.learn_geometry_from * settings.steps
        loss: torch.Tensor
        log: dict[str, float]
        loss, log = objective(samples, learn_geometry, rng)
        fabric.backward(loss)
        norm = clip_gradients(model, settings.clip_norm)
        # The gradient is that of all processes: all take the step, or none does.
        if math.isfinite(float(norm)):
            optimizer.step()
        else:
            skipped += 1
        optimizer.zero_grad()
        scheduler.step()
        step += 1
        if journal is not None:
            journal.add(log | {'gradient': float(norm)})
            if step % settings.log_every == 0:
                elapsed = seconds + time.monotonic() - begin
                rate = float(scheduler.get_last_lr()[0])
                means = journal.write(step, {'rate': rate, 'seconds': elapsed, 'skipped': skipped})
                bar.set_postfix({k: f'{v:.3g}' for k, v in means.items() if k in SHOWN})
            if step % settings.picture_every == 0:
                model.eval()
                draw_sample(path / f'step_{step:06d}.png', model, language, samples[0])
                model.train()
            bar.update()
        if time.monotonic() - saved > 60 * settings.checkpoint_minutes:
            seconds, begin = seconds + time.monotonic() - begin, time.monotonic()
            save()
            saved = time.monotonic()
    batches.close()
    seconds += time.monotonic() - begin
    save()
    bar.close()
    stopper.close()
    if folder is not None:
        folder.close()
    return path / 'model.safetensors'


SHOWN = ('loss', 'mask', 'dice', 'correspondence', 'feature', 'named', 'oracle_iou')


def build_model(settings: PretrainSettings) -> LiftGS:
    """Build the network, from random parameters that the seed decides or from a checkpoint."""
    torch.manual_seed(settings.seed)
    model = LiftGS(MODELS[settings.model](dropout=settings.dropout), settings.backend)
    if settings.start_from:
        from lift_gs_ros.model.checkpoint import load_checkpoint

        loaded = load_checkpoint(settings.start_from, config=model.config)
        model.load_state_dict(loaded.state_dict())
    return model


def stop_requested(fabric: Fabric, stopper: Stopper) -> bool:
    """Say whether any process was asked to stop, so that all of them stop after the same step."""
    flag = torch.tensor(float(stopper.requested), device=fabric.device)
    return bool(cast(torch.Tensor, fabric.all_reduce(flag, reduce_op='max')) > 0)


def draw_samples(
    rooms: list[CachedRoom], settings: PretrainSettings, voxel_size: float, rng: np.random.Generator
) -> list[Sample]:
    """Draw a batch; samples that hold NaN or show nothing are drawn again."""
    samples: list[Sample] = []
    for _ in range(100 * settings.batch_size):
        room = rooms[rng.integers(len(rooms))]
        sample = make_sample(room, settings.sample, voxel_size, rng)
        if is_finite_sample(sample):
            samples.append(sample)
        if len(samples) == settings.batch_size:
            return samples
    raise ValueError(
        f'{100 * settings.batch_size} samples in a row from {settings.rooms} hold NaN or show '
        'nothing: build the cache again'
    )


class Prefetcher:
    """Draws the samples of the next step in a thread, while the model works on this one's."""

    def __init__(
        self, rooms: list[CachedRoom], settings: PretrainSettings, voxel_size: float, rank: int
    ) -> None:
        self._arguments = rooms, settings, voxel_size
        self._rank = rank
        self._pool = ThreadPoolExecutor(1)
        self._next: tuple[int, Future] | None = None

    def get(self, step: int) -> tuple[list[Sample], np.random.Generator]:
        """Return a step's samples and its generator, drawn from so far."""
        if self._next is None or self._next[0] != step:
            self._next = step, self._pool.submit(self._draw, step)
        future = self._next[1]
        self._next = step + 1, self._pool.submit(self._draw, step + 1)
        return future.result()

    def _draw(self, step: int) -> tuple[list[Sample], np.random.Generator]:
        rooms, settings, voxel_size = self._arguments
        rng = step_rng(settings.seed, step, self._rank)
        return draw_samples(rooms, settings, voxel_size, rng), rng

    def close(self) -> None:
        """Wait for the thread to end."""
        self._pool.shutdown(cancel_futures=True)


class Journal:
    """Means of the logged values since the last line, to TensorBoard and to ``log.csv``."""

    def __init__(self, path: Path) -> None:
        self._writer = SummaryWriter(str(path))
        self._file = open(path / 'log.csv', 'a', newline='')  # noqa: SIM115, open for the run
        self._csv: csv.DictWriter | None = None
        self._values: dict[str, list[float]] = defaultdict(list)

    def add(self, values: dict[str, float]) -> None:
        """Note the values of one step."""
        for name, value in values.items():
            self._values[name].append(value)

    def write(self, step: int, extra: dict[str, float]) -> dict[str, float]:
        """Write a line of means and return it."""
        means = {name: float(np.nanmean(values)) for name, values in self._values.items()}
        self._values.clear()
        for name, value in (means | extra).items():
            self._writer.add_scalar(name, value, step)
        row = {'step': step, **means, **extra}
        if self._csv is None:
            self._csv = csv.DictWriter(self._file, list(row), extrasaction='ignore')
            if self._file.tell() == 0:
                self._csv.writeheader()
        self._csv.writerow({k: f'{v:.5g}' for k, v in row.items()})
        self._file.flush()
        return means


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config', type=Path, help='YAML file, see config/train/')
    parser.add_argument('overrides', nargs='*', help='name=value, or group.name=value')
    arguments = parser.parse_args()
    settings = load_settings(PretrainSettings, arguments.config, arguments.overrides)
    print(f'wrote {pretrain(settings)}')


if __name__ == '__main__':
    main()
