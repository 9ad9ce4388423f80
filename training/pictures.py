"""Pictures of a training sample, in the manner of the paper's figure 5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lift_gs_ros.drawing import overview_camera, render_points, tile, with_caption
from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.lift_gs import Decoded, LiftGS
from training.data.labelled_sample import LabelledSample
from training.data.sample import Sample
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
    """Draw image, teacher's masks, rendered colour, and per phrase the rendered best mask.

    One row per phrase of the query: the image with the teacher's mask, and the rendered mask of
    the proposal with the highest correspondence x mean mask probability. Gaussians that learn
    their geometry are drawn where they went.
    """
    view = sample.views[0]
    height, width = view.image.shape[:2]
    tokens, belongs = sample.query.tokens(language)
    encoding = model.encode([(sample.positions, sample.colors)])[0]
    decoded = model.decode([encoding], tokens)
    rendered = (render_learned if learn_geometry else render_fixed)(encoding, view)
    masks = decoded.logits_of(rendered.mask_features).sigmoid().cpu().numpy()
    color = rendered.color.clamp(0, 1).cpu().numpy().reshape(height, width, 3)
    rows = [np.concatenate([view.image, color], axis=1)]
    titles = ['image | rendered colour']
    for number, text in enumerate(sample.query.texts[:phrases]):
        probability, best = _best_proposal(decoded, belongs[number], masks)
        asked = view.instances[view.satisfied[:, number]]
        teacher = np.isin(view.semantics, asked).reshape(height, width)
        predicted = masks[:, best].reshape(height, width)
        rows.append(np.concatenate([_blend(view.image, teacher), _blend(color, predicted)], axis=1))
        titles.append(f'{text}: {probability:.2f}')
    picture = np.concatenate(rows, axis=0)
    image = Image.fromarray((picture * 255).astype(np.uint8))
    image = image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    for row, title in enumerate(titles):
        draw.text((4, row * height * SCALE + 2), title, fill=(255, 0, 255))
    image.save(path)


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
        pictures = [_draw_cloud(sample, truth), _draw_cloud(sample, masks[:, best])]
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


def _draw_cloud(sample: LabelledSample, mask: NDArray) -> Image.Image:
    cloud = PointCloud(sample.positions, _blend(sample.colors, mask).astype(np.float32))
    camera, pose = overview_camera(cloud, 400, 300)
    return Image.fromarray(render_points(cloud, camera, pose, 0.025))


def _blend(image: NDArray, mask: NDArray) -> NDArray:
    weight = 0.7 * mask.astype(np.float64)[..., None]
    return image * (1 - weight) + YELLOW * weight
