"""Grounding loss: Hungarian matching, mask and correspondence terms (LIFT-GS, equations 3 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from training.losses.correspondence import correspondence_loss, pairwise_correspondence
from training.losses.masks import dice_loss, focal_loss, pairwise_dice, pairwise_focal


@dataclass(frozen=True)
class GroundingWeights:
    """Weights of the terms (paper, A.1), used by the loss and by the matching alike.

    The mask term is focal, as in the paper's section 3.2; its A.1 says "mask cross-entropy", which
    is ``focal_gamma = 0``. The paper gives no weight of "no object".
    """

    mask: float = 15.0
    dice: float = 6.0
    correspondence: float = 2.0
    no_object: float = 0.1  # of an unmatched proposal, within the correspondence term
    focal_gamma: float = 2.0
    focal_alpha: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f'loss weight {name} is {value}, expected a number >= 0')


@dataclass(frozen=True)
class Targets:
    """What one posed image (or one labelled cloud) asks of the proposals, at P pixels or points."""

    mask_logits: Tensor  # (P, m) of all proposals, rendered or taken at the points
    masks: Tensor  # (P, K) float, 1 inside
    tokens: Tensor  # (K, T + 1) see ``token_targets``


@dataclass(frozen=True)
class GroundingLoss:
    """The three terms, not yet weighted, and which proposal each instance was matched to."""

    mask: Tensor
    dice: Tensor
    correspondence: Tensor
    proposals: list[Tensor]  # per view (K,) int64

    def total(self, weights: GroundingWeights) -> Tensor:
        """Weighted sum of the terms."""
        return (
            weights.mask * self.mask
            + weights.dice * self.dice
            + weights.correspondence * self.correspondence
        )


def matching_cost(targets: Targets, log_probability: Tensor, weights: GroundingWeights) -> Tensor:
    """Price each pairing of proposal and instance with the loss's terms, (m, K) (equation 3).

    The matching weighs the correspondence more than the loss does, which divides it by the weights
    of all proposals (``correspondence_loss``).
    """
    focal = pairwise_focal(
        targets.mask_logits, targets.masks, weights.focal_gamma, weights.focal_alpha
    )
    return (
        weights.mask * focal
        + weights.dice * pairwise_dice(targets.mask_logits, targets.masks)
        + weights.correspondence * pairwise_correspondence(log_probability, targets.tokens)
    )


def hungarian(cost: Tensor) -> Tensor:
    """Return the proposal (row) of each instance (column) in the cheapest one-to-one matching."""
    if cost.shape[0] < cost.shape[1]:
        raise ValueError(
            f'{cost.shape[1]} instances but only {cost.shape[0]} mask proposals: sample fewer '
            'instances, or give the model more proposals'
        )
    # NaN would stop scipy; a sample with NaN is skipped by its loss afterwards, not here.
    finite = np.nan_to_num(cost.detach().cpu().numpy(), nan=1e6, posinf=1e6, neginf=-1e6)
    rows, columns = linear_sum_assignment(finite)
    return torch.as_tensor(rows[np.argsort(columns)], dtype=torch.int64, device=cost.device)


def grounding_loss(
    views: Sequence[Targets],
    log_probability: Tensor,  # (m, T + 1) correspondence, last column "no object"
    weights: GroundingWeights,
    background: Tensor | None = None,  # (m,) see ``correspondence_loss``
) -> GroundingLoss:
    """Match the instances of each view to proposals at least cost, then score the matched pairs.

    2D labels do not say which masks of two views are one object, so every view is matched by
    itself; a proposal is "no object" only if no view matched it. Means are over all instances.
    """
    with torch.no_grad():
        proposals = [hungarian(matching_cost(view, log_probability, weights)) for view in views]
    focal, dice = [], []
    for view, matched in zip(views, proposals):
        logits = view.mask_logits[:, matched]
        focal.append(focal_loss(logits, view.masks, weights.focal_gamma, weights.focal_alpha))
        dice.append(dice_loss(logits, view.masks))
    correspondence = correspondence_loss(
        log_probability,
        torch.cat([view.tokens for view in views]),
        torch.cat(proposals),
        weights.no_object,
        background,
    )
    return GroundingLoss(_mean(focal), _mean(dice), correspondence, proposals)


def total_of_layers(
    layers: Sequence[GroundingLoss], weights: GroundingWeights, auxiliary: float
) -> Tensor:
    """Loss of the last decoder layer, and ``auxiliary`` times the mean of the earlier ones."""
    totals = torch.stack([layer.total(weights) for layer in layers])
    earlier = totals[:-1].mean() if len(layers) > 1 else 0.0
    return totals[-1] + auxiliary * earlier


def _mean(parts: list[Tensor]) -> Tensor:
    joined = torch.cat(parts)
    return joined.mean() if len(joined) else joined.sum()
