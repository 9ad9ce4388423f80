"""The same object keeps its number while the map grows and queries change."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from lift_gs_ros.geometry import Box, FloatArray

MIN_IOU = 0.3  # two boxes that overlap more than this are the same object
PADDING = 0.025  # metres to each side: half a voxel, so that a flat thing has a volume too
MAX_KNOWN = 10_000  # objects remembered; the one not seen for longest is forgotten first


class InstanceRegistry:
    """Numbers objects by where they are."""

    def __init__(self, capacity: int = MAX_KNOWN) -> None:
        self._capacity = capacity
        self._next_id = 0
        self.clear()

    def clear(self) -> None:
        """Forget all objects; numbers are not used again, so that a late reader is not misled."""
        # Arrays, not boxes: after hours there are thousands to compare every instance with.
        self._ids = np.full(self._capacity, -1)
        self._lower, self._upper = np.zeros((2, self._capacity, 3))
        self._seen = np.zeros(self._capacity, np.int64)  # number of the call; 0: a free row
        self._calls = 0

    def identify(self, box: Box, taken: Set[int] = frozenset()) -> int:
        """Return the number of the known object that overlaps ``box`` most, or a new one.

        ``taken`` are numbers that other objects of the same answer have got.
        """
        self._calls += 1
        lower, upper = box.lower - PADDING, box.upper + PADDING
        overlap = self._iou(lower, upper)
        overlap[np.isin(self._ids, list(taken))] = 0
        # Of equal ones always the same: the oldest number.
        best = np.flatnonzero(overlap == overlap.max())
        row = int(best[self._ids[best].argmin()])
        if overlap[row] < MIN_IOU:
            row = int(self._seen.argmin())
            self._ids[row], self._next_id = self._next_id, self._next_id + 1
        self._lower[row], self._upper[row], self._seen[row] = lower, upper, self._calls
        return int(self._ids[row])

    def _iou(self, lower: FloatArray, upper: FloatArray) -> FloatArray:
        """Intersection over union of a box with every known one, 0 in free rows."""
        edges = np.minimum(self._upper, upper) - np.maximum(self._lower, lower)
        intersection = edges.clip(min=0).prod(axis=1)
        known, volume = (self._upper - self._lower).prod(axis=1), (upper - lower).prod()
        return intersection / (known + volume - intersection)
