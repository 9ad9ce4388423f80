"""Grounding loss: Hungarian matching, mask and correspondence terms (LIFT-GS, equations 3 to 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from training.losses.correspondence import correspondence_loss, pairwise_correspondence
from training.losses.masks import dice_loss, focal_loss, pairwise_dice, pairwise_focal


@dataclass(frozen=True)
class GroundingWeights:
    """Weights of the terms (paper, A.1), used by the loss and by the matching alike."""

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
class GroundingLoss:
    """The three terms, not yet weighted, and which proposal each instance was matched to."""

    mask: Tensor
    dice: Tensor
    correspondence: Tensor
    proposals: Tensor  # (K,) int64

    def total(self, weights: GroundingWeights) -> Tensor:
        """Weighted sum of the terms."""
        return (
            weights.mask * self.mask
            + weights.dice * self.dice
            + weights.correspondence * self.correspondence
        )


def matching_cost(
    mask_logits: Tensor,  # (P, m)
    masks: Tensor,  # (P, K)
    log_probability: Tensor,  # (m, T + 1)
    targets: Tensor,  # (K, T + 1)
    weights: GroundingWeights,
) -> Tensor:
    """Price each pairing of proposal and instance as the loss would, (m, K) (equation 3)."""
    gamma, alpha = weights.focal_gamma, weights.focal_alpha
    return (
        weights.mask * pairwise_focal(mask_logits, masks, gamma, alpha)
        + weights.dice * pairwise_dice(mask_logits, masks)
        + weights.correspondence * pairwise_correspondence(log_probability, targets)
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
    mask_logits: Tensor,  # (P, m) rendered at P pixels, or taken at P points
    masks: Tensor,  # (P, K) float, 1 inside
    log_probability: Tensor,  # (m, T + 1) correspondence, last column "no object"
    targets: Tensor,  # (K, T + 1) see ``token_targets``
    weights: GroundingWeights,
    background: Tensor | None = None,  # (m,) see ``correspondence_loss``
) -> GroundingLoss:
    """Match instances to proposals at least cost, then score the matched pairs."""
    with torch.no_grad():
        proposals = hungarian(matching_cost(mask_logits, masks, log_probability, targets, weights))
    matched = mask_logits[:, proposals]
    zero = mask_logits.sum() * 0.0
    count = len(proposals)
    focal = focal_loss(matched, masks, weights.focal_gamma, weights.focal_alpha)
    return GroundingLoss(
        mask=focal.mean() if count else zero,
        dice=dice_loss(matched, masks).mean() if count else zero,
        correspondence=correspondence_loss(
            log_probability, targets, proposals, weights.no_object, background
        ),
        proposals=proposals,
    )
