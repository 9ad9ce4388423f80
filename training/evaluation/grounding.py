"""Metrics of language grounding, each with the protocol of the benchmark it comes from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from lift_gs_ros.geometry import Box


def accuracy_at(ious: ArrayLike, threshold: float) -> float:
    """Acc@threshold: the share of queries whose best answer overlaps the target's box.

    ScanRefer's protocol (Chen et al. 2020): one IoU of axis-aligned boxes per query, that of the
    highest-scored answer; a query without any answer has IoU 0. NaN for no queries.
    """
    ious = np.asarray(ious, dtype=np.float64)
    return float((ious >= threshold).mean()) if ious.size else float('nan')


def best_iou(answer: Box | None, targets: Sequence[Box]) -> float:
    """IoU of an answer with the target it fits best; 0 without an answer.

    A query that several objects satisfy ("chair") is rightly answered by any of them.
    """
    if answer is None:
        return 0.0
    return max((answer.iou(target) for target in targets), default=0.0)


def f1_at(answers: Sequence[Box], targets: Sequence[Box], threshold: float) -> float:
    """F1@threshold of one query with zero, one or several targets.

    Multi3DRefer's protocol (Zhang et al. 2023): answers and targets are paired one to one for the
    largest total IoU, and a pair at or above the threshold is a true positive. A query without
    targets scores 1 for an empty answer and 0 for any other.
    """
    if not targets:
        return float(not answers)
    if not answers:
        return 0.0
    ious = np.array([[answer.iou(target) for target in targets] for answer in answers])
    rows, columns = linear_sum_assignment(-ious)
    hits = int((ious[rows, columns] >= threshold).sum())
    return 2 * hits / (len(answers) + len(targets))


def mask_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks (N,) over the same points; 0 where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0


def auroc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties half.

    NaN where either side is empty.
    """
    positives, negatives = np.asarray(positives, float), np.asarray(negatives, float)
    if not positives.size or not negatives.size:
        return float('nan')
    above = (positives[:, None] > negatives[None, :]).mean()
    return float(above + 0.5 * (positives[:, None] == negatives[None, :]).mean())


def false_answers_at_recall(
    present_scores: ArrayLike, absent_scores: ArrayLike, recall: float = 0.9
) -> float:
    """Share of absent objects that get an answer when ``recall`` of the present ones do.

    A score is ``1 - none_score``; whatever reaches the threshold is answered. The threshold is
    the largest that still answers ``recall`` of the present queries. NaN where either is empty.
    """
    present = np.sort(np.asarray(present_scores, float))[::-1]
    absent = np.asarray(absent_scores, float)
    if not present.size or not absent.size:
        return float('nan')
    threshold = present[int(np.ceil(recall * len(present) - 1e-9)) - 1]
    return float((absent >= threshold).mean())
