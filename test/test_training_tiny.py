"""From nothing to better than chance with the tiny config: the whole chain, on simulated rooms."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from lift_gs_ros.model.checkpoint import load_checkpoint
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.simulation.vocabulary import COLORS
from training.config import load_settings
from training.contrast import CaptionContrast
from training.data.rooms import build_and_save
from training.evaluation.rooms import EvaluationRoom, evaluation_room
from training.pretrain import PretrainSettings, pretrain

TINY = Path(__file__).parent.parent / 'config/train/tiny.yaml'
ROOMS, STEPS = 8, 400


def _colors_named(checkpoint: Path, rooms: list[EvaluationRoom]) -> float:
    """Share of objects whose mean feature is most like the right colour of their own kind."""
    model, language = load_checkpoint(checkpoint), load_language_encoder('minilm')
    texts = CaptionContrast(model, language, 0.1, 0.0).text_features
    right = []
    for room in rooms:
        encoding = model.encode([(room.cloud.positions, room.cloud.colors)])[0]
        for number in room.visible_ids:
            thing = room.room.object(number)
            feature = encoding.features[torch.from_numpy(room.mask(number))].mean(dim=0)
            candidates = texts([f'{color} {thing.kind}' for color in COLORS])
            best = int((candidates @ functional.normalize(feature, dim=0)).argmax())
            right.append(COLORS[best] == thing.color_name)
    return float(np.mean(right))


@torch.no_grad()
def test_a_few_minutes_of_2d_losses_teach_colours_in_rooms_never_seen(tmp_path):
    for seed in range(ROOMS):
        (tmp_path / 'rooms').mkdir(exist_ok=True)
        build_and_save(tmp_path / f'rooms/train_{seed:06d}.npz', seed, 'train', 4)
    overrides = [f'rooms={tmp_path / "rooms"}', f'output={tmp_path / "run"}', f'steps={STEPS}']
    with torch.enable_grad():
        checkpoint = pretrain(load_settings(PretrainSettings, TINY, overrides))
    rooms = [evaluation_room(seed, 'val') for seed in range(8)]
    named = _colors_named(checkpoint, rooms)
    # Ten colours, 72 objects: chance is 0.1 +- 0.035.
    assert named >= 0.16
