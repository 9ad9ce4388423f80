"""Render-supervised pretraining: a 3D model learns from 2D masks, captions and colours alone.

    python -m training.pretrain config/train/small.yaml
    python -m training.pretrain config/train/small.yaml steps=2000 output=runs/trial

The output folder receives the run state (``state.pt``; the same command resumes from it, also after
a kill), checkpoints for the robot (``model.safetensors``), TensorBoard events, pictures and
``log.csv``. Ctrl-C ends the run after the current step, with a checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.lift_gs import LiftGS
from training.data.load import load_rooms
from training.data.room_cache import CachedRoom
from training.data.sample import Sample, SampleSettings, make_sample
from training.engine import is_finite_sample
from training.objective import ObjectiveWeights, PretrainObjective
from training.pictures import draw_sample
from training.trainer import MODELS, TrainSettings, run_command_line, train


@dataclass(frozen=True)
class PretrainSettings(TrainSettings):
    """Everything that decides what a pretraining run does."""

    output: str = 'runs/pretrain'
    rooms: str = 'runs/rooms_train'  # folder of training.data.rooms or training.pseudolabel
    room_limit: int = 100_000
    learn_geometry_from: float = 1.0  # share of the steps after which Gaussians move
    sample: SampleSettings = field(default_factory=SampleSettings)
    loss: ObjectiveWeights = field(default_factory=ObjectiveWeights)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.learn_geometry_from <= 1:
            raise ValueError(
                f'learn_geometry_from is {self.learn_geometry_from}, expected a share in [0, 1]'
            )


class Pretraining:
    """Samples and losses of pretraining, for ``trainer.train``."""

    stage = 'pretraining with 2D losses only'

    def __init__(self, settings: PretrainSettings) -> None:
        self._settings = settings
        self._voxel_size = MODELS[settings.model]().voxel_size
        self._rooms: list[CachedRoom] = []

    def load(self, rank: int, world_size: int) -> None:
        """Load every so many-th room of the cache."""
        rooms = load_rooms(self._settings.rooms, self._settings.room_limit)
        if len(rooms) < world_size:
            raise ValueError(
                f'{self._settings.rooms} holds {len(rooms)} rooms for {world_size} processes, '
                'expected at least one each'
            )
        self._rooms = rooms[rank::world_size]

    def objective(self, model: LiftGS, language: LanguageEncoder) -> nn.Module:
        """Build the objective around a model."""
        settings = self._settings
        return PretrainObjective(model, language, settings.loss, settings.learn_geometry_from)

    def draw(self, rng: np.random.Generator) -> list[Sample]:
        """Draw a batch."""
        return draw_samples(self._rooms, self._settings, self._voxel_size, rng)

    def picture(self, path: Path, model: LiftGS, language: LanguageEncoder, sample: Sample) -> None:
        """Draw what the model makes of a sample."""
        draw_sample(path, model, language, sample)


def pretrain(settings: PretrainSettings) -> Path:
    """Run (or resume) a pretraining; returns the checkpoint for the robot."""
    return train(settings, Pretraining(settings))


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


def main() -> None:
    """Run the command line program."""
    run_command_line(__doc__, PretrainSettings, pretrain)


if __name__ == '__main__':
    main()
