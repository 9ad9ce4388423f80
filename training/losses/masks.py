"""Mask losses: focal and Dice (LIFT-GS, equation 4), for pairs and for all pairs at once.

Masks are columns of pixels (or points): logits (P, m), targets (P, K) in [0, 1]. The elementwise
functions compare column k with column k; the ``pairwise`` ones fill an (m, K) matrix with the very
same numbers, which is what the matching needs (equation 3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_terms(logits: Tensor, gamma: float, alpha: float) -> tuple[Tensor, Tensor]:
    """Focal loss of every logit if its target were 1, and if it were 0 (Lin et al. 2017).

    ``alpha`` weighs the positives, ``1 - alpha`` the negatives; both are doubled, so that
    ``alpha = 0.5, gamma = 0`` is plain cross-entropy.
    """
    probability = logits.sigmoid()
    surprise = F.softplus(-logits)  # -log(probability); of the complement it is surprise + logit
    positive = 2 * alpha * (1 - probability) ** gamma * surprise
    negative = 2 * (1 - alpha) * probability**gamma * (surprise + logits)
    return positive, negative


def focal_loss(
    logits: Tensor,  # (P, K)
    targets: Tensor,  # (P, K) in [0, 1]
    gamma: float = 2.0,
    alpha: float = 0.5,
) -> Tensor:
    """Return the focal loss of each mask, (K,): the mean over its pixels; 0 when perfect."""
    positive, negative = focal_terms(logits, gamma, alpha)
    return (targets * positive + (1 - targets) * negative).mean(dim=0)


def pairwise_focal(
    logits: Tensor,  # (P, m)
    targets: Tensor,  # (P, K)
    gamma: float = 2.0,
    alpha: float = 0.5,
) -> Tensor:
    """``focal_loss`` of every proposal against every target, (m, K)."""
    positive, negative = focal_terms(logits, gamma, alpha)
    return (positive.T @ targets + negative.T @ (1 - targets)) / len(logits)


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss of each mask (K,): ``1 - (2 |A B| + 1) / (|A| + |B| + 1)`` (Sudre et al. 2017).

    The 1 keeps an empty target that is predicted empty at 0.
    """
    probability = logits.sigmoid()
    overlap = (probability * targets).sum(dim=0)
    return 1 - (2 * overlap + 1) / (probability.sum(dim=0) + targets.sum(dim=0) + 1)


def pairwise_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """``dice_loss`` of every proposal (P, m) against every target (P, K): (m, K)."""
    probability = logits.sigmoid()
    sizes = probability.sum(dim=0)[:, None] + targets.sum(dim=0)[None, :]
    return 1 - (2 * probability.T @ targets + 1) / (sizes + 1)


@torch.no_grad()
def pairwise_iou(masks: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union of boolean masks (P, m) with boolean targets (P, K): (m, K)."""
    masks, targets = masks.float(), targets.float()
    overlap = masks.T @ targets
    union = masks.sum(dim=0)[:, None] + targets.sum(dim=0)[None, :] - overlap
    return overlap / union.clamp(min=1)
