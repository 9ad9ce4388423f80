"""What every training program needs around its loop: a run folder, safe checkpoints, a schedule.

Randomness is drawn anew in every step from the seed and the step's number, so that a run that was
killed and resumed takes the very steps of one that was not, and no generator state has to be saved.
"""

from __future__ import annotations

import fcntl
import math
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.data.sample import Sample

STATE_VERSION = 1


class RunFolder:
    """An output folder that one run owns: a lock, the run state and its predecessor.

    Raises RuntimeError where another run holds the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.path / '.lock', 'w')  # noqa: SIM115, held until the process ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RuntimeError(
                f'another run is writing to {self.path}: give this one another output folder, or '
                'stop the other'
            ) from error

    def close(self) -> None:
        """Let another run have the folder."""
        self._lock.close()

    @property
    def state_file(self) -> Path:
        """The newest run state."""
        return self.path / 'state.pt'

    def save(self, state: dict[str, Any]) -> None:
        """Write the run state; a full disk or a kill leaves the last good one as it was."""
        temporary = self.path / 'state.pt.tmp'
        try:
            with open(temporary, 'wb') as file:
                torch.save({'version': STATE_VERSION, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.state_file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    @staticmethod
    def read(path: str | Path, settings: dict[str, Any]) -> dict[str, Any] | None:
        """Read the run state of a folder (every process does), None where there is none yet.

        Raises ValueError where it was made by another version or with other settings.
        """
        state_file = Path(path) / 'state.pt'
        if not state_file.exists():
            return None
        try:
            state = torch.load(state_file, map_location='cpu', weights_only=True)
        except Exception as error:
            raise ValueError(
                f'{state_file} can not be read ({error}): delete it to begin anew'
            ) from error
        if state.get('version') != STATE_VERSION:
            raise ValueError(
                f'{state_file} is of version {state.get("version")}, expected '
                f'{STATE_VERSION}: delete it to begin anew'
            )
        for name, value in settings.items():
            # A state from before a setting counted does not have it.
            if (made_with := state['settings'].get(name, value)) != value:
                raise ValueError(
                    f'{state_file} was made with {name} = {made_with}, this run has {value}: '
                    'use the same settings, or another output folder'
                )
        return state


@dataclass
class TrainState:
    """What changes while a run goes on, and what a resumed run has to find again."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    step: int = 0
    skipped: int = 0  # steps whose gradient was not finite
    seconds: float = 0.0  # of training, all sessions together
    # What was logged since the last line of the log, which the next line is the mean of.
    pending: dict[str, list[float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values and tensors."""
        return {
            'model': self.model.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'scheduler': self.scheduler.state_dict(),
            'step': self.step,
            'skipped': self.skipped,
            'seconds': self.seconds,
            'pending': self.pending,
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what ``to_dict`` gave."""
        self.model.load_state_dict(saved['model'])
        self.optimizer.load_state_dict(saved['optimizer'])
        self.scheduler.load_state_dict(saved['scheduler'])
        self.step, self.skipped = saved['step'], saved['skipped']
        self.seconds = saved['seconds']
        self.pending = saved.get('pending', {})  # older states have none

    def advance(self, norm: float) -> None:
        """Take a step with the gradients at hand, unless their norm is NaN or infinite.

        The gradient is that of all processes: all of them take the step, or none does.
        """
        if math.isfinite(norm):
            self.optimizer.step()
        else:
            self.skipped += 1
        self.optimizer.zero_grad()
        self.scheduler.step()
        self.step += 1


class Batch:
    """What an objective takes in. No dataclass: Fabric would take it apart and refuse to."""

    def __init__(
        self, samples: Sequence[Any], rng: np.random.Generator, progress: float = 0.0
    ) -> None:
        self.samples = samples
        self.rng = rng  # as it was left by drawing the samples
        self.progress = progress  # of the run, in [0, 1]


class Stopper:
    """Turns the first Ctrl-C (or SIGTERM) into a flag; the second one ends the program at once."""

    def __init__(self) -> None:
        self.requested = False
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before: dict[int, Any] = {n: signal.signal(n, self._handle) for n in numbers}

    def _handle(self, number: int, _: object) -> None:
        self.requested = True
        signal.signal(number, self._before[number])

    def close(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


def step_rng(seed: int, step: int, rank: int = 0) -> np.random.Generator:
    """Return the generator of a step of one process."""
    return np.random.default_rng([seed, step, rank])


def seed_torch(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch (dropout) for a step of one process."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))


def cosine_schedule(warmup: int, total: int, floor: float = 0.01) -> Callable[[int], float]:
    """Return the factor on the learning rate per step: a linear rise, then half a cosine."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min((step - warmup) / max(total - warmup, 1), 1.0)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that decays matrices only: norms, biases and embeddings of one dimension stay free."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {'params': matrices, 'weight_decay': weight_decay},
        {'params': vectors, 'weight_decay': 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def clip_gradients(model: nn.Module, max_norm: float) -> Tensor:
    """Scale all gradients to at most ``max_norm`` together; returns the norm they had."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    return nn.utils.clip_grad_norm_(parameters, max_norm, foreach=True)


def is_finite_sample(sample: Sample) -> bool:
    """Say whether a sample can be learned from: points, images and poses without NaN."""
    parts = [sample.positions, sample.colors]
    for view in sample.views:
        parts += [view.image, view.world_from_camera]
    return len(sample.positions) > 0 and all(np.isfinite(part).all() for part in parts)
