"""Pictures of a training sample, in the manner of the paper's figure 5.

    python -m training.pictures --room 3 --out docs/images/pretraining_picture.png

draws one of a simulated validation room with the weights that ship.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lift_gs_ros.drawing import overview_camera, render_points, tile, with_caption
from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.model.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from lift_gs_ros.model.language import LanguageEncoder, load_language_encoder
from lift_gs_ros.model.lift_gs import Decoded, LiftGS
from training.data.labelled_sample import LabelledSample
from training.data.queries import QueryMix
from training.data.rooms import build_room
from training.data.sample import Sample, SampleSettings, make_sample
from training.objective import render_fixed, render_learned

YELLOW = np.array([1.0, 0.9, 0.1])
SCALE = 3  # pixels per pixel of the training image


@torch.no_grad()
def draw_sample(
    path: str | Path,
    model: LiftGS,
    language: LanguageEncoder,
    sample: Sample,
    learn_geometry: bool = False,
    phrases: int = 4,
) -> None:
    """Draw image, rendered colour and input cloud, and below them the masks of each phrase.

    One row per phrase of the query: the image with the teacher's mask, and of the proposal with
    the highest correspondence x mean mask probability the rendered mask and, on the cloud, the
    one in 3D. Gaussians that learn their geometry are drawn where they went.
    """
    view = sample.views[0]
    height, width = view.image.shape[:2]
    size = (SCALE * width, SCALE * height)
    tokens, belongs = sample.query.tokens(language)
    encoding = model.encode([(sample.positions, sample.colors)])[0]
    decoded = model.decode([encoding], tokens)
    rendered = (render_learned if learn_geometry else render_fixed)(encoding, view)
    masks = decoded.logits_of(rendered.mask_features).sigmoid().cpu().numpy()
    covered = rendered.valid.cpu().numpy()
    masks_3d = decoded.mask_logits().sigmoid().cpu().numpy()
    color = rendered.color.clamp(0, 1).cpu().numpy().reshape(height, width, 3)
    cloud = _draw_cloud(sample, np.zeros(len(sample.positions)), size)
    rows = [[_enlarged(view.image), _enlarged(color), cloud]]
    titles = ['image | rendered colour | input cloud']
    for number, text in enumerate(sample.query.texts[:phrases]):
        probability, best = _best_proposal(decoded, belongs[number], masks)
        asked = view.instances[view.satisfied[:, number]]
        teacher = np.isin(view.semantics, asked).reshape(height, width)
        # Where nothing is rendered there is no mask either; its logit there is the bias alone.
        predicted = (masks[:, best] * covered).reshape(height, width)
        pair = [_enlarged(_blend(view.image, teacher)), _enlarged(_blend(color, predicted))]
        rows.append([*pair, _draw_cloud(sample, masks_3d[:, best], size)])
        titles.append(f"{text}: teacher's mask | rendered mask {probability:.2f} | 3D mask")
    strips = [with_caption(tile(row, columns=3), title) for row, title in zip(rows, titles)]
    tile(strips, columns=1).save(path)


@torch.no_grad()
def draw_labelled(
    path: str | Path, model: LiftGS, language: LanguageEncoder, sample: LabelledSample
) -> None:
    """Draw each query's first phrase in a labelled sample: the truth, and the best proposal."""
    encoding = model.encode([(sample.positions, sample.colors)])[0]
    rows = []
    for asked in sample.queries:
        tokens, belongs = asked.query.tokens(language)
        decoded = model.decode([encoding], tokens)
        masks = decoded.mask_logits().sigmoid().cpu().numpy()
        probability, best = _best_proposal(decoded, belongs[0], masks)
        truth = np.isin(sample.instance_ids, asked.instances[asked.satisfied[:, 0]])
        size = (400, 300)
        pictures = [_draw_cloud(sample, mask, size) for mask in (truth, masks[:, best])]
        title = f'{tokens.text}: labelled | {probability:.2f}'
        rows.append(with_caption(tile(pictures), title))
    tile(rows, columns=1).save(path)


def _best_proposal(
    decoded: Decoded, phrase: NDArray[np.bool_], masks: NDArray[np.float32]
) -> tuple[float, int]:
    """Probability and number of the proposal with the best correspondence x mean mask."""
    probability = decoded.span_probability(np.flatnonzero(phrase)).cpu().numpy()
    inside = masks > 0.5
    mean = (masks * inside).sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
    best = int(np.argmax(probability * mean))
    return float(probability[best]), best


def _draw_cloud(
    sample: Sample | LabelledSample, mask: NDArray, size: tuple[int, int]
) -> Image.Image:
    cloud = PointCloud(sample.positions, _blend(sample.colors, mask).astype(np.float32))
    camera, pose = overview_camera(cloud, *size)
    return Image.fromarray(render_points(cloud, camera, pose, 0.025))


def _enlarged(picture: NDArray) -> Image.Image:
    image = Image.fromarray((picture * 255).astype(np.uint8))
    return image.resize((SCALE * image.width, SCALE * image.height), Image.Resampling.NEAREST)


def _blend(image: NDArray, mask: NDArray) -> NDArray:
    weight = 0.7 * mask.astype(np.float64)[..., None]
    return image * (1 - weight) + YELLOW * weight


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--room', type=int, default=3, help='seed of the validation room')
    parser.add_argument('--out', type=Path, default=Path('pretraining_picture.png'))
    options = parser.parse_args()
    model = load_checkpoint(DEFAULT_CHECKPOINT).eval()
    settings = SampleSettings(max_points=7000, whole_room=0.0, query=QueryMix(single=0.0))
    room = build_room(options.room, 'val', views=4)
    rng = np.random.default_rng(options.room)
    sample = make_sample(room, settings, model.config.voxel_size, rng)
    draw_sample(options.out, model, load_language_encoder(model.config.language), sample)


if __name__ == '__main__':
    main()
