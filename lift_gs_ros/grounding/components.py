"""The largest connected part of a point set (numba, one core, without the GIL)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def largest_component(
    points: NDArray[np.float32], weights: NDArray[np.float32], distance: float
) -> NDArray[np.int64]:
    """Return the indices of the heaviest set of points (N, 3) linked by steps of ``distance``.

    Indices are ascending. Of sets that weigh the same, that of the first point is taken.
    """
    if len(points) == 0:
        return np.empty(0, np.int64)
    # Points of one cell and of the 26 around it are all that can be within reach.
    cells = np.floor((points - points.min(axis=0)) / distance).astype(np.int64) + 1
    extent = cells.max(axis=0) + 2
    keys = (cells[:, 0] * extent[1] + cells[:, 1]) * extent[2] + cells[:, 2]
    order = np.argsort(keys, kind='stable')
    roots = _link(np.ascontiguousarray(points, np.float32)[order], keys[order], extent, distance**2)
    labels = np.empty(len(points), np.int64)
    labels[order] = order[roots]
    weight = np.bincount(labels, weights=weights)[labels]
    return np.flatnonzero(labels == labels[weight.argmax()])


def warm_up() -> None:
    """Compile what is needed (a second, the first time on a machine)."""
    largest_component(np.zeros((1, 3), np.float32), np.ones(1, np.float32), 1.0)


@njit(cache=True, nogil=True)
def _root(parents, i):
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True, nogil=True)
def _link(points, keys, extent, reach):
    """Join points (N, 3), sorted by the key of their cell; returns each point's root (N,)."""
    count = len(points)
    parents = np.arange(count)
    for i in range(count):
        for x in range(-1, 1):  # the other half of the neighbourhood has this one in its own
            for y in range(-1, 2 if x else 1):
                low = keys[i] + (x * extent[1] + y) * extent[2] - 1
                high = low + 2 if x or y else keys[i]
                for j in range(np.searchsorted(keys, low), count):
                    if keys[j] > high or j >= i:
                        break
                    square = np.float32(0)
                    for axis in range(3):
                        square += (points[i, axis] - points[j, axis]) ** 2
                    if square <= reach:
                        a, b = _root(parents, i), _root(parents, j)
                        if a != b:
                            parents[max(a, b)] = min(a, b)
    for i in range(count):
        parents[i] = _root(parents, i)
    return parents
