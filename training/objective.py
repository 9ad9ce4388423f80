"""The pretraining objective: one sample in, weighted loss terms out (LIFT-GS, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lift_gs_ros.geometry import Camera
from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.lift_gs import Decoded, LiftGS
from lift_gs_ros.model.scene import SceneEncoding
from lift_gs_ros.splat.render import render
from lift_gs_ros.splat.spherical_harmonics import sh_to_colors
from training.contrast import CaptionContrast, EmbeddingContrast
from training.data.labelled_sample import LabelledQuery
from training.data.sample import Sample, ViewTarget
from training.engine import Batch
from training.losses.correspondence import token_targets
from training.losses.features import balanced_rows
from training.losses.grounding import (
    GroundingLoss,
    GroundingWeights,
    Targets,
    grounding_loss,
    total_of_layers,
)
from training.losses.masks import pairwise_iou
from training.losses.photometric import photometric_loss

Asked = TypeVar('Asked', ViewTarget, LabelledQuery)
MIN_ALPHA = 1e-3
MIN_COVER = 0.5  # pixels that learned Gaussians cover less are not supervised


@dataclass(frozen=True)
class ObjectiveWeights:
    """Weights of the three losses (paper, A.1)."""

    grounding: GroundingWeights = field(default_factory=GroundingWeights)
    photometric: float = 1.0
    feature: float = 0.1
    feature_temperature: float = 0.1
    noun: float = 1.0  # of the nouns without their colours, within the feature loss
    pixels_per_caption: int = 40  # of one view, in the feature loss
    auxiliary: float = 0.5  # of the decoder's earlier layers

    def __post_init__(self) -> None:
        for name in ('photometric', 'feature', 'noun', 'auxiliary'):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f'loss weight {name} is {value}, expected a number >= 0')
        if self.feature_temperature <= 0:
            raise ValueError(
                f'feature_temperature is {self.feature_temperature}, expected a positive number'
            )


@dataclass(frozen=True)
class RenderedTarget:
    """A posed image and what the model renders from its pose, at the pixels of the image's grid."""

    target: ViewTarget
    color: Tensor  # (R, 3)
    features: Tensor  # (R, F) divided by alpha
    mask_features: Tensor  # (R, d) divided by alpha
    valid: Tensor  # (R,) bool


class PretrainObjective(nn.Module):
    """Model and losses as one module, so that every way of running in parallel can wrap it."""

    def __init__(
        self,
        model: LiftGS,
        language: LanguageEncoder,
        weights: ObjectiveWeights,
        learn_geometry_from: float = 1.0,  # progress from which on Gaussians move
        queries: str = 'captions',  # or 'embeddings'
    ) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        self.learn_geometry_from = learn_geometry_from
        self._language = language
        self._contrast: Any = (
            CaptionContrast(model, language, weights.feature_temperature, weights.noun)
            if queries == 'captions'
            else EmbeddingContrast(model, weights.feature_temperature)
        )

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of the samples, and means of what is worth logging."""
        learn_geometry = batch.progress >= self.learn_geometry_from
        clouds = [(sample.positions, sample.colors) for sample in batch.samples]
        losses, logs = [], []
        for sample, encoding in zip(batch.samples, self.model.encode(clouds)):
            loss, log = self._sample_loss(sample, encoding, learn_geometry, batch.rng)
            losses.append(loss)
            logs.append(log)
        names = dict.fromkeys(name for log in logs for name in log)
        means = {name: float(np.nanmean([log.get(name, np.nan) for log in logs])) for name in names}
        return torch.stack(losses).mean(), means

    def _sample_loss(
        self,
        sample: Sample,
        encoding: SceneEncoding,
        learn_geometry: bool,
        rng: np.random.Generator,
    ) -> tuple[Tensor, dict[str, float]]:
        weights = self.weights
        tokens, phrases = sample.query.tokens(self._language)
        decoded = self.model.decode([encoding], tokens)
        draw = render_learned if learn_geometry else render_fixed
        most = len(decoded.correspondence)
        views = [draw(encoding, sampled_instances(view, most, rng)) for view in sample.views]
        background = visible_fraction(decoded, sample.views)
        layers = [
            grounding_loss(
                [_targets(decoded, layer, view, phrases) for view in views],
                decoded.layers[layer].correspondence,
                weights.grounding,
                background,
            )
            for layer in range(len(decoded.layers))
        ]
        photometric = _photometric(views[0])  # one image: SSIM is a tenth of a step on a CPU
        feature = self._feature_loss(views, rng)
        answer = layers[-1]
        grounding = total_of_layers(layers, weights.grounding, weights.auxiliary)
        total = grounding + weights.photometric * photometric + weights.feature * feature
        log = {
            'loss': total.item(),
            'mask': answer.mask.item(),
            'dice': answer.dice.item(),
            'correspondence': answer.correspondence.item(),
            'photometric': photometric.item(),
            'feature': feature.item(),
            **diagnose(decoded, views, answer, phrases),
        }
        return total, log

    def _feature_loss(self, views: list[RenderedTarget], rng: np.random.Generator) -> Tensor:
        """Contrast rendered features with the captions (or embeddings) of their pixels."""
        meanings: list[Any] = []
        features, labels = [], []
        for view in views:
            semantics = np.where(view.valid.cpu().numpy(), view.target.semantics, -1)
            # No more of a caption than of a mask: a room has many walls and chairs, and one ball.
            unique, row_of_mask = self._contrast.meanings(view.target)
            rows = np.where(semantics >= 0, row_of_mask[semantics], -1) if unique else semantics
            pixels = balanced_rows(rows, self.weights.pixels_per_caption, rng)
            features.append(view.features[torch.from_numpy(pixels)])
            labels.append(len(meanings) + rows[pixels])
            meanings += unique
        return self._contrast(torch.cat(features), np.concatenate(labels), meanings)


def sampled_instances(target: Asked, most: int, rng: np.random.Generator) -> Asked:
    """Keep as many of the instances, drawn at random, as there are proposals (``most``).

    Each instance takes a proposal of its own (equation 3), and many masks may share a caption. The
    masks left out are not "no object": all proposals are matched, and none is left to be that.
    """
    if len(target.instances) <= most:
        return target
    kept = np.sort(rng.choice(len(target.instances), most, replace=False))
    return replace(target, instances=target.instances[kept], satisfied=target.satisfied[kept])


def render_fixed(encoding: SceneEncoding, target: ViewTarget) -> RenderedTarget:
    """Render with the compositing weights of the initial geometry: one sparse product."""
    center = torch.from_numpy(target.world_from_camera[:3, 3].astype(np.float32))
    directions = encoding.positions - center.to(encoding.positions)
    channels = [
        sh_to_colors(encoding.gaussians.sh, directions),
        encoding.features,
        encoding.mask_features,
    ]
    alpha = target.weights.alpha.to(encoding.positions)
    rendered = target.weights.render(torch.cat(channels, dim=1))
    rendered = rendered / alpha.clamp(min=MIN_ALPHA)[:, None]
    valid = torch.from_numpy(target.valid).to(alpha.device)
    sizes = [3, encoding.features.shape[1], encoding.mask_features.shape[1]]
    color, features, mask_features = rendered.split(sizes, dim=1)
    return RenderedTarget(target, color, features, mask_features, valid)


def render_learned(encoding: SceneEncoding, target: ViewTarget) -> RenderedTarget:
    """Render the Gaussians that the model predicts; gradients reach their geometry."""
    camera, pose = target.camera, target.world_from_camera
    # No renderer takes a mirrored camera; it sees what this one sees, from right to left.
    is_mirrored = np.linalg.det(pose[:3, :3]) < 0
    if is_mirrored:
        camera, pose = _mirrored(camera), pose @ np.diag([-1.0, 1, 1, 1])
    channels = torch.cat([encoding.features, encoding.mask_features], dim=1)
    view = render(encoding.gaussians, camera, pose, channels)
    assert view.features is not None
    images = (view.color, view.features, view.alpha)
    color, features, alpha = (image.flip(1) if is_mirrored else image for image in images)
    normalised = (features / alpha.clamp(min=MIN_ALPHA)[..., None]).flatten(0, 1)
    sizes = [encoding.features.shape[1], encoding.mask_features.shape[1]]
    valid = torch.from_numpy(target.valid).to(alpha.device) & (alpha.flatten() > MIN_COVER)
    features, mask_features = normalised.split(sizes, dim=1)
    return RenderedTarget(target, color.flatten(0, 1), features, mask_features, valid)


def _mirrored(camera: Camera) -> Camera:
    """Return the camera whose image is that of one with its x axis turned round, mirrored."""
    intrinsics = camera.intrinsics.copy()
    intrinsics[0, 1] *= -1
    intrinsics[0, 2] = camera.width - 1 - intrinsics[0, 2]
    return Camera(intrinsics, camera.width, camera.height)


def _photometric(view: RenderedTarget) -> Tensor:
    height, width = view.target.image.shape[:2]
    image = torch.from_numpy(view.target.image).to(view.color)
    return photometric_loss(
        view.color.view(height, width, 3), image, view.valid.view(height, width)
    )


def _targets(
    decoded: Decoded, layer: int, view: RenderedTarget, phrases: NDArray[np.bool_]
) -> Targets:
    """Rendered masks of one decoder layer against the view's instances, at its valid pixels.

    Instances that learned Gaussians leave without such a pixel are left out.
    """
    target, device = view.target, view.color.device
    semantics = torch.from_numpy(target.semantics).to(device)[view.valid]
    instances = torch.from_numpy(target.instances).to(device)
    positives = torch.from_numpy(target.satisfied @ phrases).to(device)  # (K, T)
    masks = semantics[:, None] == instances[None]
    shown = masks.any(dim=0)
    return Targets(
        decoded.logits_of(view.mask_features[view.valid], layer),
        masks[:, shown].float(),
        token_targets(positives[shown]),
    )


@torch.no_grad()
def visible_fraction(decoded: Decoded, views: Sequence[ViewTarget]) -> Tensor:
    """Share of each proposal's mask (m,) that lies on points which some view shows."""
    shown = np.zeros(len(decoded.scene.positions), np.float32)
    for view in views:
        shown[view.weights.matrix.indices] = 1
    masks = decoded.mask_logits().sigmoid()
    seen = torch.from_numpy(shown).to(masks) @ masks
    return seen / masks.sum(dim=0).clamp(min=1e-6)


@torch.no_grad()
def diagnose(
    decoded: Decoded,
    views: Sequence[RenderedTarget],
    answer: GroundingLoss,
    phrases: NDArray[np.bool_],
) -> dict[str, float]:
    """Return numbers that the losses hide: does the head name its proposals, are masks right?

    ``named``: share of matched proposals whose likeliest column is one of their own tokens;
    ``oracle_*``: IoU, precision and recall of the best-fitting proposal of each instance.
    """
    named, ious, precisions, recalls = [], [], [], []
    for view, proposals in zip(views, answer.proposals):
        targets = _targets(decoded, -1, view, phrases)
        if not len(proposals):
            continue
        best = decoded.correspondence[proposals].argmax(dim=1)
        named.append(targets.tokens.gather(1, best[:, None])[:, 0] > 0)
        masks, truth = targets.mask_logits > 0, targets.masks.bool()
        iou, oracle = pairwise_iou(masks, truth).max(dim=0)
        overlap = (masks[:, oracle] & truth).sum(dim=0)
        ious.append(iou)
        precisions.append(overlap / masks[:, oracle].sum(dim=0).clamp(min=1))
        recalls.append(overlap / truth.sum(dim=0).clamp(min=1))
    if not named:
        return {}
    return {
        'named': torch.cat(named).float().mean().item(),
        'oracle_iou': torch.cat(ious).mean().item(),
        'oracle_precision': torch.cat(precisions).mean().item(),
        'oracle_recall': torch.cat(recalls).mean().item(),
    }
