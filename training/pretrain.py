"""Render-supervised pretraining: a 3D model learns from 2D masks, captions and colours alone.

    python -m training.pretrain config/train/small.yaml
    python -m training.pretrain config/train/small.yaml steps=2000 output=runs/trial

The output folder receives the run state (``state.pt``; the same command resumes from it, also after
a kill), checkpoints for the robot (``model.safetensors``), TensorBoard events, pictures and
``log.csv``. Ctrl-C ends the run after the current step, with a checkpoint and exit status 130.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.lift_gs import LiftGS
from training.data.embeddings import captioned, centred, mean_embedding
from training.data.load import RoomFiles, open_rooms
from training.data.sample import Sample, SampleSettings, make_sample
from training.data.stream import RoomStream
from training.engine import is_finite_sample
from training.objective import ObjectiveWeights, PretrainObjective
from training.pictures import draw_sample
from training.trainer import MODELS, TrainSettings, run_command_line, train


@dataclass(frozen=True)
class PretrainSettings(TrainSettings):
    """Everything that decides what a pretraining run does."""

    output: str = 'runs/pretrain'
    rooms: str = 'runs/rooms_train'  # folder of training.data.rooms or training.pseudolabel
    room_limit: int = 10_000_000
    buffer: int = 64  # rooms (or shards) that a process has in memory; 0: all of its own
    visit: int = 64  # samples from each of them, before another takes its place
    learn_geometry_from: float = 1.0  # share of the steps after which Gaussians move
    sample: SampleSettings = field(default_factory=SampleSettings)
    loss: ObjectiveWeights = field(default_factory=ObjectiveWeights)

    DECISIVE: ClassVar[tuple[str, ...]] = (
        *TrainSettings.DECISIVE, 'buffer', 'visit', 'sample.queries'
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.buffer < 0 or self.visit < 1:
            raise ValueError(
                f'buffer is {self.buffer} and visit {self.visit}, expected at least 0 and 1'
            )
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
        # What is learned from one embedding for each thing is asked for by one for each phrase.
        by_words = settings.sample.queries == 'captions'
        self.network: dict[str, Any] = {} if by_words else {'query_tokens': 'phrases'}
        self._stream: RoomStream

    @property
    def unreadable(self) -> int:
        """Rooms that could not be read so far."""
        return self._stream.unreadable

    @property
    def redrawn(self) -> int:
        """Samples that held NaN or showed nothing so far, each drawn again."""
        return self._stream.redrawn

    def load(self, rank: int, world_size: int) -> None:
        """Open every so many-th room of the cache; each is read when it is drawn."""
        settings = self._settings
        files = queried(open_rooms(settings.rooms, settings.room_limit), settings.sample.queries)
        size = settings.buffer or len(files.names)
        self._stream = RoomStream(files, size, settings.visit, settings.seed, rank, world_size)

    def objective(self, model: LiftGS, language: LanguageEncoder) -> nn.Module:
        """Build the objective around a model."""
        settings = self._settings
        return PretrainObjective(
            model, language, settings.loss, settings.learn_geometry_from, settings.sample.queries
        )

    def draw(self, step: int, rng: np.random.Generator) -> list[Sample]:
        """Draw the batch of a step."""
        return draw_samples(self._stream, self._settings, self._voxel_size, step, rng)

    def picture(
        self,
        path: Path,
        model: LiftGS,
        language: LanguageEncoder,
        sample: Sample,
        progress: float,
    ) -> None:
        """Draw what the model makes of a sample."""
        learn_geometry = progress >= self._settings.learn_geometry_from
        draw_sample(path, model, language, sample, learn_geometry)


def pretrain(settings: PretrainSettings) -> Path:
    """Run (or resume) a pretraining; returns the checkpoint for the robot."""
    return train(settings, Pretraining(settings))


def queried(files: RoomFiles, queries: str) -> RoomFiles:
    """Let rooms hold what they are asked for by: captions, or embeddings around their mean."""
    if queries == 'captions':
        return replace(files, read=lambda name: captioned(files.read(name)))
    mean = mean_embedding(files)
    return replace(files, read=lambda name: centred(files.read(name), mean))


def draw_samples(
    rooms: RoomStream,
    settings: PretrainSettings,
    voxel_size: float,
    step: int,
    rng: np.random.Generator,
) -> list[Sample]:
    """Draw a batch; samples that hold NaN or show nothing are counted and drawn again."""
    samples: list[Sample] = []
    for _ in range(100 * settings.batch_size):
        room = rooms.draw(step * settings.batch_size + len(samples), rng)
        sample = make_sample(room, settings.sample, voxel_size, rng)
        if is_finite_sample(sample):
            samples.append(sample)
        else:
            rooms.refuse(sample.name)
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
