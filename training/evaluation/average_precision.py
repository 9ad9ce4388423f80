"""Average precision of 3D instance masks, with ScanNet's protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Over these ScanNet's script averages AP (its page says up to 0.95; published numbers are the
# script's). AP50 and AP25 are reported beside it.
OVERLAPS = tuple(np.arange(0.5, 0.901, 0.05).round(2).tolist())


@dataclass(frozen=True)
class SceneDetections:
    """All answers for one category in one scene, against all its instances there."""

    scores: NDArray[np.floating]  # (n,) higher is surer
    ious: NDArray[np.floating]  # (n, g) mask IoU of each answer with each instance
    # (n,) share of each answer that lies on what is not evaluated; None where all is
    ignored: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        if self.ious.ndim != 2 or len(self.scores) != len(self.ious):
            raise ValueError(
                f'{len(self.scores)} scores and ious of shape {self.ious.shape}, expected (n, g) '
                'with n = number of scores'
            )

    def counts(self, overlap: float) -> NDArray[np.bool_]:
        """Say which answers (n,) are right or false; the others are left out, as ScanNet does."""
        if self.ignored is None:
            return np.ones(len(self.scores), bool)
        return (self.ious.max(axis=1, initial=0) > overlap) | (self.ignored <= overlap)


def average_precision(scenes: Sequence[SceneDetections], overlap: float) -> float:
    """Average precision of one category over scenes; NaN where no scene holds an instance.

    ScanNet's rules: an answer is right if its mask IoU with an instance exceeds ``overlap``; of
    several answers for one instance the surest counts, the others are false; the area under the
    precision-recall curve is taken with steps centred on the points of the curve.

    Where one answer overlaps two instances by more than ``overlap``, which above 0.5 none can, the
    surest answer chooses first; ScanNet's script lets the instances choose, in the file's order.
    """
    instances = sum(scene.ious.shape[1] for scene in scenes)
    if instances == 0:
        return float('nan')
    counted = np.concatenate([scene.counts(overlap) for scene in scenes])
    scores = np.concatenate([scene.scores for scene in scenes])[counted]
    right = np.concatenate([_true_positives(scene, overlap) for scene in scenes])[counted]
    if len(scores) == 0:
        return 0.0
    order = np.argsort(-scores, kind='stable')
    scores, right = scores[order], np.cumsum(right[order])
    # Answers of equal score cannot be told apart: only the last of them is a point of the curve.
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    precision = right[last] / (last + 1)
    recall = right[last] / instances
    # From the strictest threshold to the loosest; the curve starts at recall 0, precision 1.
    precision = np.append(precision[::-1], 1.0)
    recall = np.append(recall[::-1], 0.0)
    padded = np.concatenate([recall[:1], recall, [0.0]])
    return float(precision @ np.convolve(padded, [-0.5, 0, 0.5], 'valid'))


def _true_positives(scene: SceneDetections, overlap: float) -> NDArray[np.bool_]:
    right = np.zeros(len(scene.scores), bool)
    free = np.ones(scene.ious.shape[1], bool)
    for answer in np.argsort(-scene.scores, kind='stable'):
        candidates = np.where(free, scene.ious[answer], 0) if free.size else np.zeros(1)
        best = int(np.argmax(candidates))
        if candidates[best] > overlap:
            right[answer], free[best] = True, False
    return right


def scannet_ap(categories: Mapping[str, Sequence[SceneDetections]]) -> dict[str, float]:
    """Mean over categories of AP (over overlaps 0.5 to 0.9), AP50 and AP25, in [0, 1].

    Categories without an instance do not count. For head, common and tail (ScanNet200), call this
    with each group's categories.
    """
    present = [scenes for scenes in categories.values() if any(s.ious.shape[1] for s in scenes)]
    if not present:
        return {'AP': float('nan'), 'AP50': float('nan'), 'AP25': float('nan')}
    mean_over_overlaps = [
        np.mean([average_precision(scenes, overlap) for overlap in OVERLAPS]) for scenes in present
    ]
    return {
        'AP': float(np.mean(mean_over_overlaps)),
        'AP50': float(np.mean([average_precision(scenes, 0.5) for scenes in present])),
        'AP25': float(np.mean([average_precision(scenes, 0.25) for scenes in present])),
    }
