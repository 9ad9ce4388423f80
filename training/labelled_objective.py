"""The fine-tuning objective: 3D masks with token spans (LIFT-GS, section 3.4 and 4.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.lift_gs import Decoded, LiftGS
from lift_gs_ros.model.scene import SceneEncoding
from training.contrast import CaptionContrast
from training.data.labelled_sample import LabelledQuery, LabelledSample
from training.data.queries import reworded
from training.engine import Batch
from training.losses.correspondence import token_targets
from training.losses.features import balanced_rows, unique_captions
from training.losses.grounding import (
    GroundingLoss,
    GroundingWeights,
    Targets,
    grounding_loss,
    total_of_layers,
)
from training.losses.masks import pairwise_iou
from training.objective import sampled_instances

AROUND = 0.3  # metres


@dataclass(frozen=True)
class LabelledWeights:
    """Weights of the losses; those of the grounding loss are the paper's (A.1)."""

    grounding: GroundingWeights = field(default_factory=GroundingWeights)
    auxiliary: float = 0.5  # of the decoder's earlier layers
    feature: float = 0.1
    feature_temperature: float = 0.1
    noun: float = 1.0  # of the nouns without their colours, within the feature loss
    everyday_nouns: bool = False  # these compete with nouns that nothing simulated has, too
    points_per_caption: int = 80  # in the feature loss
    background_points: int = 3000  # in the mask losses, from anywhere
    instance_points: int = 1000  # at most, in and around each instance in the mask losses
    synonym: float = 0.0  # of the words in the feature loss: said by another of the same meaning

    def __post_init__(self) -> None:
        for name in ('auxiliary', 'feature', 'noun'):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f'loss weight {name} is {value}, expected a number >= 0')
        for name in ('points_per_caption', 'background_points', 'instance_points'):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f'{name} is {value}, expected at least 1')
        if not 0 <= self.synonym <= 1:
            raise ValueError(f'synonym is {self.synonym}, expected a probability in [0, 1]')


class LabelledObjective(nn.Module):
    """Model and losses as one module, so that every way of running in parallel can wrap it."""

    def __init__(self, model: LiftGS, language: LanguageEncoder, weights: LabelledWeights) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        self._language = language
        self._contrast = CaptionContrast(
            model, language, weights.feature_temperature, weights.noun, weights.everyday_nouns
        )

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of the samples, and means of what is worth logging."""
        clouds = [(sample.positions, sample.colors) for sample in batch.samples]
        losses, logs = [], []
        for sample, encoding in zip(batch.samples, self.model.encode(clouds)):
            feature = self._feature_loss(sample, encoding, batch.rng)
            parts = [
                self._query_loss(sample, query, encoding, batch.rng) for query in sample.queries
            ]
            grounding = torch.stack([loss for loss, _ in parts]).mean()
            losses.append(grounding + self.weights.feature * feature)
            logs += [{**log, 'feature': feature.item()} for _, log in parts]
        loss = torch.stack(losses).mean()
        names = dict.fromkeys(name for log in logs for name in log)
        means = {name: float(np.nanmean([log.get(name, np.nan) for log in logs])) for name in names}
        return loss, {'loss': loss.item(), **means}

    def _feature_loss(
        self, sample: LabelledSample, encoding: SceneEncoding, rng: np.random.Generator
    ) -> Tensor:
        unique, row_of_instance = unique_captions(sample.captions)
        if not unique:
            return encoding.features.sum() * 0.0
        labels = np.where(sample.instance_ids >= 0, row_of_instance[sample.instance_ids], -1)
        rows = balanced_rows(labels, self.weights.points_per_caption, rng)
        features = encoding.features[torch.from_numpy(rows).to(encoding.features.device)]
        reword = partial(reworded, probability=self.weights.synonym, rng=rng)
        return self._contrast(features, labels[rows], unique, reword)

    def _query_loss(
        self,
        sample: LabelledSample,
        asked: LabelledQuery,
        encoding: SceneEncoding,
        rng: np.random.Generator,
    ) -> tuple[Tensor, dict[str, float]]:
        weights = self.weights
        tokens, phrases = asked.query.tokens(self._language)
        decoded = self.model.decode([encoding], tokens)
        asked = sampled_instances(asked, len(decoded.correspondence), rng)
        points = self._points(sample, asked, rng)
        masks = sample.instance_ids[points][:, None] == asked.instances
        device = encoding.positions.device
        rows = torch.from_numpy(points).to(device)
        positives = torch.from_numpy(asked.satisfied @ phrases).to(device)
        tokens_of = token_targets(positives)
        truth = torch.from_numpy(masks.astype(np.float32)).to(device)
        layers: list[GroundingLoss] = []
        targets: list[Targets] = []
        for layer, output in enumerate(decoded.layers):
            logits = decoded.logits_of(encoding.mask_features[rows], layer)
            targets.append(Targets(logits, truth, tokens_of))
            layers.append(grounding_loss(targets[-1:], output.correspondence, weights.grounding))
        answer = layers[-1]
        loss = total_of_layers(layers, weights.grounding, weights.auxiliary)
        log = {
            'mask': answer.mask.item(),
            'dice': answer.dice.item(),
            'correspondence': answer.correspondence.item(),
            **_diagnose(decoded, targets[-1], answer),
        }
        return loss, log

    def _points(
        self, sample: LabelledSample, asked: LabelledQuery, rng: np.random.Generator
    ) -> np.ndarray:
        """Choose the points that the masks are compared at: in and around the things asked for.

        Around means within ``AROUND`` of a thing's box, where masks bleed; inside and outside are
        drawn alike, so that a false point counts as much as a true one. The others come from
        anywhere, for a mask that reaches farther.
        """
        positions, chosen = sample.positions, []
        for row in asked.instances:
            own = positions[sample.instance_ids == row]
            near = (positions >= own.min(axis=0) - AROUND) & (positions <= own.max(axis=0) + AROUND)
            region = np.flatnonzero(near.all(axis=1))
            count = min(self.weights.instance_points, len(region))
            chosen.append(rng.choice(region, count, replace=False))
        count = min(self.weights.background_points, len(positions))
        chosen.append(rng.choice(len(positions), count, replace=False))
        return np.unique(np.concatenate(chosen))


@torch.no_grad()
def _diagnose(decoded: Decoded, targets: Targets, answer: GroundingLoss) -> dict[str, float]:
    """Return numbers that the losses hide: is a matched proposal named, does any mask fit?"""
    proposals = answer.proposals[0]
    if not len(proposals):
        return {}
    best = decoded.correspondence[proposals].argmax(dim=1)
    named = targets.tokens.gather(1, best[:, None])[:, 0] > 0
    iou = pairwise_iou(targets.mask_logits > 0, targets.masks.bool()).amax(dim=0)
    return {'named': named.float().mean().item(), 'oracle_iou': iou.mean().item()}
