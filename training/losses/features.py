"""Contrastive feature loss on rendered features (LIFT-GS, equation 6)."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def feature_loss(
    features: Tensor,  # (n, D) rendered features of n pixels
    labels: Tensor,  # (n,) int64, row of the pixel's own caption among the candidates
    candidates: Tensor,  # (U, D) unique caption features; more rows than labels are negatives
    temperature: float = 1.0,
) -> Tensor:
    """Cross-entropy of each pixel's own caption among all unique ones, the mean over pixels.

    Equation 6 is ``temperature = 1`` on features of any length; on unit vectors a temperature
    near 0.07 lets a perfect prediction approach 0.
    """
    if len(labels) == 0:
        return features.sum() * 0.0
    return F.cross_entropy(features @ candidates.T / temperature, labels)


def balanced_rows(
    labels: NDArray[np.integer], per_label: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose up to ``per_label`` rows of every label >= 0 among those of pixels or points (P,).

    A floor covers a hundred times the pixels of a mug; without balance it would be all that the
    features learn.
    """
    chosen = []
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        if len(rows) > per_label:
            rows = rng.choice(rows, per_label, replace=False)
        chosen.append(rows)
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)


def unique_captions(captions: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Deduplicate captions, keeping their order: the unique ones, and each caption's row.

    Two white walls with one caption are not each other's negatives.
    """
    unique = list(dict.fromkeys(captions))
    rows = {caption: row for row, caption in enumerate(unique)}
    return unique, np.array([rows[caption] for caption in captions], dtype=np.int64)
