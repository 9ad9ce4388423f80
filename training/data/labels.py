"""Make perfect instance masks as imperfect as those of a real 2D model.

The simulation knows every pixel's instance; a 2D teacher misses objects, merges neighbours, splits
one object in two, and draws ragged borders. What a method learns from perfect masks says little
about what it would learn from a teacher's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

# The paper drops masks under 1024 pixels (A.1). Of what, it does not say: 640x480 is assumed.
MIN_AREA_FRACTION = 1024 / (640 * 480)


@dataclass(frozen=True)
class TeacherErrors:
    """How often a 2D teacher errs, as probabilities per mask; ragged borders in pixels."""

    missed: float = 0.10
    merged: float = 0.05
    split: float = 0.05
    ragged: float = 1.0  # standard deviation of the border's displacement, at 160x120

    def __post_init__(self) -> None:
        for name in ('missed', 'merged', 'split'):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f'{name} is {value}, expected a probability in [0, 1]')


def imperfect_masks(
    instances: NDArray[np.integer], errors: TeacherErrors, rng: np.random.Generator
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Corrupt an instance image (H, W), -1 where there is none.

    Returns ``semantics`` (H, W) int16, the index of each pixel's mask or -1, and the instance that
    each mask was made from (a merged mask keeps the larger one's), as long as there are indices.
    """
    ragged = _ragged(instances, errors.ragged, rng)
    masks: list[NDArray[np.bool_]] = []
    sources: list[int] = []
    ids, areas = np.unique(ragged[ragged >= 0], return_counts=True)
    swallowed: set[int] = set()
    for instance in ids[np.argsort(-areas, kind='stable')]:  # larger ones swallow smaller ones
        fate, mask = rng.uniform(size=3), ragged == instance
        if instance in swallowed or fate[0] < errors.missed:
            continue
        if fate[1] < errors.merged:
            other = _touching(ragged, mask)
            if other is not None and (ragged == other).sum() <= mask.sum():
                mask |= ragged == other
                swallowed.add(other)
        if fate[2] < errors.split:
            half = _half_plane(mask, rng)
            masks += [mask & half, mask & ~half]
            sources += [int(instance)] * 2
        else:
            masks.append(mask)
            sources.append(int(instance))
    return _index_image(masks, sources, instances.shape)


def _index_image(
    masks: list[NDArray[np.bool_]], sources: list[int], shape: tuple[int, ...]
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    semantics = np.full(shape, -1, np.int16)
    kept: list[int] = []
    for mask, source in zip(masks, sources):
        if mask.sum() >= MIN_AREA_FRACTION * mask.size:
            semantics[mask] = len(kept)
            kept.append(source)
    return semantics, np.array(kept, np.int64)


def _ragged(
    instances: NDArray[np.integer], amplitude: float, rng: np.random.Generator
) -> NDArray[np.integer]:
    """Look every pixel up a little beside itself, by a smooth random displacement."""
    height, width = instances.shape
    scale = amplitude * width / 160
    if scale == 0:
        return instances.copy()
    sigma = 3 * width / 160
    noise = np.stack([gaussian_filter(rng.normal(size=instances.shape), sigma) for _ in range(2)])
    noise *= scale / noise.std()
    v, u = np.indices(instances.shape)
    v = np.clip(np.rint(v + noise[0]), 0, height - 1).astype(int)
    u = np.clip(np.rint(u + noise[1]), 0, width - 1).astype(int)
    return instances[v, u]


def _touching(instances: NDArray[np.integer], mask: NDArray[np.bool_]) -> int | None:
    """Return the instance that shares the longest border with a mask."""
    border = np.zeros_like(mask)
    border[1:] |= mask[:-1]
    border[:-1] |= mask[1:]
    border[:, 1:] |= mask[:, :-1]
    border[:, :-1] |= mask[:, 1:]
    others = instances[border & ~mask & (instances >= 0)]
    return int(np.bincount(others).argmax()) if others.size else None


def _half_plane(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return one side of a random line through the middle of a mask."""
    v, u = np.indices(mask.shape)
    angle = rng.uniform(0, np.pi)
    distance = u * np.cos(angle) + v * np.sin(angle)
    return distance > np.median(distance[mask])
