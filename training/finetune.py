"""Fine-tuning with 3D labels: masks of what categories and referring expressions speak of.

    python -m training.finetune config/train/finetune.yaml
    python -m training.finetune config/train/finetune.yaml data_ratio=0.1 start_from=

``start_from`` names a pretrained checkpoint; without one, training begins from scratch. The output
folder is that of pretraining: the same command resumes from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.lift_gs import LiftGS
from training.data.labelled import LabelledScene, load_scenes
from training.data.labelled_sample import (
    LabelledSample,
    LabelledSampleSettings,
    make_labelled_sample,
)
from training.labelled_objective import LabelledObjective, LabelledWeights
from training.pictures import draw_labelled
from training.trainer import MODELS, TrainSettings, run_command_line, train


@dataclass(frozen=True)
class FinetuneSettings(TrainSettings):
    """Everything that decides what a fine-tuning run does."""

    output: str = 'runs/finetune'
    scenes: str = 'runs/labelled_train'  # cache folder
    data_ratio: float = 1.0  # share of the scenes that is used
    sample: LabelledSampleSettings = field(default_factory=LabelledSampleSettings)
    loss: LabelledWeights = field(default_factory=LabelledWeights)

    DECISIVE: ClassVar[tuple[str, ...]] = (*TrainSettings.DECISIVE, 'data_ratio')

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.data_ratio <= 1:
            raise ValueError(f'data_ratio is {self.data_ratio}, expected a share in (0, 1]')


class Finetuning:
    """Samples and losses of fine-tuning, for ``trainer.train``."""

    unreadable = 0  # a damaged scene is an error: labels are dear
    redrawn = 0

    def __init__(self, settings: FinetuneSettings) -> None:
        self._settings = settings
        self._voxel_size = MODELS[settings.model]().voxel_size
        self._scenes: list[LabelledScene] = []
        self.network: dict[str, Any] = {}
        start = 'a pretrained checkpoint' if settings.start_from else 'scratch'
        self.stage = f'fine-tuning with 3D labels from {start}'

    def load(self, rank: int, world_size: int) -> None:
        """Load the cache; every process draws from all of it, for there may be few scenes."""
        self._scenes = load_scenes(self._settings.scenes, self._settings.data_ratio)

    def objective(self, model: LiftGS, language: LanguageEncoder) -> nn.Module:
        """Build the objective around a model."""
        return LabelledObjective(model, language, self._settings.loss)

    def draw(self, step: int, rng: np.random.Generator) -> list[LabelledSample]:
        """Draw a batch, of any scenes in any step."""
        scenes = rng.integers(len(self._scenes), size=self._settings.batch_size)
        return [
            make_labelled_sample(self._scenes[scene], self._settings.sample, self._voxel_size, rng)
            for scene in scenes
        ]

    def picture(
        self,
        path: Path,
        model: LiftGS,
        language: LanguageEncoder,
        sample: LabelledSample,
        progress: float,
    ) -> None:
        """Draw what the model makes of a sample."""
        draw_labelled(path, model, language, sample)


def finetune(settings: FinetuneSettings) -> Path:
    """Run (or resume) a fine-tuning; returns the checkpoint for the robot."""
    return train(settings, Finetuning(settings))


def main() -> None:
    """Run the command line program."""
    run_command_line(__doc__, FinetuneSettings, finetune)


if __name__ == '__main__':
    main()
