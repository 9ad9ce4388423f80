"""The loop that pretraining and fine-tuning share: settings, run state, log, checkpoints.

What a program adds is how a step's samples are drawn and what loss they have.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy
from torch import nn

from lift_gs_ros.model.checkpoint import load_checkpoint, save_checkpoint
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.language import LanguageEncoder, load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS
from training.config import Settings, load_settings
from training.engine import (
    Batch,
    RunFolder,
    Stopper,
    TrainState,
    adamw,
    clip_gradients,
    cosine_schedule,
    seed_torch,
)
from training.journal import Journal
from training.prefetch import Prefetcher

MODELS: dict[str, Callable[..., LiftGSConfig]] = {
    'base': LiftGSConfig.base,
    'small': LiftGSConfig.small,
    # Real words and the masks of real views, unlike in the model's tests.
    'tiny': partial(LiftGSConfig.tiny, language_dim=384, proposals=24, max_proposals=24),
}


@dataclass(frozen=True)
class TrainSettings:
    """What any training run needs to know."""

    output: str = 'runs/train'
    model: str = 'small'
    language: str = ''  # encoder of queries, minilm or open_clip; '' for the model's own
    start_from: str = ''  # checkpoint whose parameters are the start; '' for random ones
    seed: int = 0
    steps: int = 6000
    batch_size: int = 1  # per process
    devices: int = 1  # processes on a machine, one per GPU or CPU core
    nodes: int = 1  # machines; training/launch/ starts the processes of all of them
    accelerator: str = 'auto'
    precision: str = '32-true'
    threads: int = 1  # per process, on the CPU
    workers: int = 1  # threads per process that draw samples ahead
    dropout: float = 0.1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: int = 200
    clip_norm: float = 1.0
    checkpoint_minutes: float = 3.0
    log_every: int = 20
    picture_every: int = 1000
    backend: str = 'auto'  # of the sparse convolutions

    # What a run can not be resumed without. Other settings may change: to end it earlier, say.
    # The last two are in the state: another value would be without effect.
    DECISIVE: ClassVar[tuple[str, ...]] = (
        'model', 'language', 'seed', 'batch_size', 'devices', 'dropout', 'start_from',
        'learning_rate', 'weight_decay',
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f'model is {self.model!r}, expected one of {sorted(MODELS)}')
        for name in (
            'steps', 'batch_size', 'devices', 'nodes', 'threads', 'workers', 'log_every',
            'picture_every',
        ):  # fmt: skip
            if (value := getattr(self, name)) < 1:
                raise ValueError(f'{name} is {value}, expected at least 1')
        if not 0 < self.learning_rate < 1:
            raise ValueError(f'learning_rate is {self.learning_rate}, expected between 0 and 1')
        if not self.clip_norm > 0:
            raise ValueError(
                f'clip_norm is {self.clip_norm}, with which nothing is learned, expected a '
                'positive number: .inf clips nothing'
            )
        if self.precision == '16-mixed':
            raise ValueError(
                "precision is '16-mixed', expected 'bf16-mixed' or '32-true': gradients are "
                'clipped as they are, and float16 needs them scaled'
            )


# Sizes of a network that its parameters do not depend on: a checkpoint may have other ones.
FREE = ('dropout', 'max_proposals', 'query_tokens')


class Program(Protocol):
    """What a training program brings along."""

    stage: str  # said in the checkpoint
    network: dict[str, Any]  # what the network's config has to say because of it

    @property
    def unreadable(self) -> int:
        """Pieces of data that could not be read so far."""

    @property
    def redrawn(self) -> int:
        """Samples that could not be learned from so far, and were drawn again."""

    def load(self, rank: int, world_size: int) -> None:
        """Load the data of one of several processes."""

    def objective(self, model: LiftGS, language: LanguageEncoder) -> nn.Module:
        """Build the module that maps a ``Batch`` to its loss and what to log."""

    def draw(self, step: int, rng: np.random.Generator) -> Sequence[Any]:
        """Draw the samples of a step; several threads do so at once."""

    def picture(
        self, path: Path, model: LiftGS, language: LanguageEncoder, sample: Any, progress: float
    ) -> None:
        """Draw what the model makes of a sample of a step, which began at that progress."""


class Stopped(Exception):
    """A run was told to stop before its last step; its state is saved, so that it can go on."""


def train(settings: TrainSettings, program: Program) -> Path:
    """Run (or resume) a program; returns the checkpoint for the robot.

    Raises ``Stopped`` after Ctrl-C or SIGTERM: what follows is not to take the checkpoint for one
    of a whole run.
    """
    fabric = _launch(settings)
    path = Path(settings.output)
    folder = RunFolder(path) if fabric.is_global_zero else None
    fabric.barrier()
    program.load(fabric.global_rank, fabric.world_size)
    name = settings.language or MODELS[settings.model]().language
    language = load_language_encoder(name).to(fabric.device)
    model = build_model(settings, language=name, language_dim=language.dim, **program.network)
    model.to(fabric.device)  # a saved optimizer's state goes to where its parameters are
    optimizer = adamw(model, settings.learning_rate, settings.weight_decay)
    schedule = cosine_schedule(settings.warmup, settings.steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    state = TrainState(model, optimizer, scheduler)
    saved = RunFolder.read(path, _decisive(settings))
    if saved is not None:
        state.load(saved)
        if state.step >= settings.steps and fabric.is_global_zero:
            print(
                f'{path} had taken its {state.step} steps before, so nothing is trained now: for '
                'new data or settings, give another output folder',
                file=sys.stderr,
            )
    objective, state.optimizer = fabric.setup(program.objective(model, language), optimizer)
    run = _Run(settings, program, fabric, folder, state, model, language)
    batches = Prefetcher(program, settings.seed, fabric.global_rank, settings.workers)
    stopper = Stopper()
    model.train()
    try:
        while state.step < settings.steps and not stop_requested(fabric, stopper):
            seed_torch(settings.seed, state.step, fabric.global_rank)
            samples, rng = batches.get(state.step)
            loss: torch.Tensor
            log: dict[str, float]
            loss, log = objective(Batch(samples, rng, state.step / settings.steps))
            fabric.backward(loss)
            norm = float(clip_gradients(model, settings.clip_norm))
            state.advance(norm)
            run.note({**log, 'gradient': norm}, samples[0], batches.waited)
        run.save()
    finally:
        batches.close()
        stopper.close()
        run.close()
    # Where one process ends with a failure, srun, torchrun and Fabric kill the others at once.
    fabric.barrier()  # the first one has written its checkpoint
    if state.step < settings.steps:
        raise Stopped(
            f'stopped after step {state.step} of {settings.steps}; {run.checkpoint} is what there '
            'is, and the same command goes on'
        )
    return run.checkpoint


def run_command_line(
    description: str, settings_class: type[Settings], run: Callable[[Settings], Path]
) -> None:
    """Run a program with the config file and the settings that the command line names.

    The exit status of a run that was stopped is 130, as is that of other programs after a Ctrl-C.
    """
    parser = argparse.ArgumentParser(description=description.split('\n')[0])
    parser.add_argument('config', type=Path, help='YAML file, see config/train/')
    parser.add_argument('overrides', nargs='*', help='name=value, or group.name=value')
    arguments = parser.parse_args()
    settings = load_settings(settings_class, arguments.config, arguments.overrides)
    try:
        print(f'wrote {run(settings)}')
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(130)


def _launch(settings: TrainSettings) -> Fabric:
    strategy: Any = 'auto'
    if settings.devices * settings.nodes > 1:
        strategy = DDPStrategy(find_unused_parameters=True)
    fabric = Fabric(
        accelerator=settings.accelerator,
        strategy=strategy,
        devices=settings.devices,
        num_nodes=settings.nodes,
        precision=cast(Any, settings.precision),
    )
    fabric.launch()
    torch.set_num_threads(settings.threads)
    return fabric


def _decisive(settings: TrainSettings) -> dict[str, Any]:
    decisive = {name: reduce(getattr, name.split('.'), settings) for name in settings.DECISIVE}
    return decisive | {'devices': settings.devices * settings.nodes}  # wherever they are


class _Run:
    """Writes down what a run comes to: log, pictures, checkpoints. Only one process does."""

    def __init__(
        self,
        settings: TrainSettings,
        program: Program,
        fabric: Fabric,
        folder: RunFolder | None,
        state: TrainState,
        model: LiftGS,
        language: LanguageEncoder,
    ) -> None:
        self.settings, self.program, self.fabric = settings, program, fabric
        self.folder, self.state = folder, state
        self.model, self.language = model, language
        self.path = Path(settings.output)
        self.checkpoint = self.path / 'model.safetensors'
        self.samples_per_step = settings.batch_size * fabric.world_size
        self.journal = (
            Journal(self.path, settings.steps, state.step, state.pending) if folder else None
        )
        self._clock = self._saved = self._written = time.monotonic()
        self._waited = 0.0  # for data, until the last line
        self._line = state.step  # after which the last line was written, or the session began

    def note(self, log: dict[str, float], sample: Any, waited: float) -> None:
        """Write down a step, as often as the settings say."""
        now = time.monotonic()
        self.state.seconds += now - self._clock
        self._clock = now
        settings, step = self.settings, self.state.step
        is_line = step % settings.log_every == 0
        data = self._about_data(now, waited) if is_line else {}  # all processes together
        if self.journal is None:
            return
        self.journal.add(log)
        if is_line:
            rate = float(self.state.scheduler.get_last_lr()[0])
            extra = {'seconds': self.state.seconds, 'skipped': self.state.skipped, 'rate': rate}
            self.journal.write(step, extra | data)
        if step % settings.picture_every == 0:
            self.model.eval()
            path = self.path / f'step_{step:06d}.png'
            progress = (step - 1) / settings.steps  # as the objective had it
            self.program.picture(path, self.model, self.language, sample, progress)
            self.model.train()
        if now - self._saved > 60 * settings.checkpoint_minutes:
            self.save()
            self._saved = time.monotonic()

    def _about_data(self, now: float, waited: float) -> dict[str, float]:
        """Speed since the last line, how much of it was waiting for samples, and what is bad."""
        program, steps = self.program, self.state.step - self._line
        own = [waited - self._waited, now - self._written, program.unreadable, program.redrawn]
        self._waited, self._written, self._line = waited, now, self.state.step
        total = torch.tensor(own, dtype=torch.float32, device=self.fabric.device)
        waited, passed, unreadable, redrawn = cast(
            torch.Tensor, self.fabric.all_reduce(total, reduce_op='sum')
        ).tolist()
        return {
            'samples_per_second': steps * self.samples_per_step * self.fabric.world_size / passed,
            'data_wait': waited / passed,
            'unreadable': unreadable,
            'redrawn': redrawn,
        }

    def save(self) -> None:
        """Write the run state and the checkpoint for the robot."""
        if self.folder is None:
            return
        self.folder.save({'settings': _decisive(self.settings), **self.state.to_dict()})
        save_checkpoint(
            self.checkpoint,
            self.model,
            trained=self.state.step > 0,
            half=True,
            stage=self.program.stage,
            seed=self.settings.seed,
            steps=self.state.step,
            samples=self.state.step * self.samples_per_step,
        )

    def close(self) -> None:
        """Let go of the folder."""
        if self.journal is not None:
            self.journal.close()
        if self.folder is not None:
            self.folder.close()


def build_model(settings: TrainSettings, **changes: Any) -> LiftGS:
    """Build the network, from random parameters that the seed decides or from a checkpoint.

    ``changes`` are those of its config. Raises ValueError where ``start_from`` is a checkpoint of
    another network.
    """
    torch.manual_seed(settings.seed)
    config = MODELS[settings.model](dropout=settings.dropout, **changes)
    model = LiftGS(config, settings.backend)
    if settings.start_from:
        loaded = load_checkpoint(settings.start_from)
        theirs, ours = loaded.config.to_dict(), model.config.to_dict()
        different = [
            f'{name} is {theirs[name]}, not {ours[name]}'
            for name in ours
            if name not in FREE and theirs[name] != ours[name]
        ]
        if different:
            raise ValueError(
                f'start_from {settings.start_from} does not fit model {settings.model}: '
                f'{"; ".join(different)}'
            )
        model.load_state_dict(loaded.state_dict())
    return model


def stop_requested(fabric: Fabric, stopper: Stopper) -> bool:
    """Say whether any process was asked to stop, so that all of them stop after the same step."""
    flag = torch.tensor(float(stopper.requested), device=fabric.device)
    return bool(cast(torch.Tensor, fabric.all_reduce(flag, reduce_op='max')) > 0)
