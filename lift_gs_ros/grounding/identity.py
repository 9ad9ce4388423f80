"""The same object keeps its number while the map grows and queries change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box, FloatArray

MIN_IOU = 0.3  # two boxes that overlap more than this are the same object
SAME_PLACE = 0.8  # from here on overlaps count alike: a thing answered twice, as its top and sides
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
        self._lower, self._upper = np.zeros((2, 3, self._capacity))
        self._seen = np.zeros(self._capacity, np.int64)  # number of the call; 0: a free row
        self._calls = 0

    def identify(self, boxes: Sequence[Box]) -> list[int]:
        """Return the number of each object of one answer; no number comes twice.

        It is that of the known object that overlaps the box most, or a new one. What overlaps most
        of all is decided first: asking again gives the same numbers, whatever else was asked. Of
        several in one place the best answer, the first, has the oldest number.
        """
        padded = [(box.lower - PADDING, box.upper + PADDING) for box in boxes]
        pairs = [
            (-min(overlap, SAME_PLACE), i, self._ids[row], row)
            for i, corners in enumerate(padded)
            for row, overlap in zip(*self._overlapping(*corners))
        ]
        rows: dict[int, int] = {}
        for _, i, _, row in sorted(pairs):
            if i not in rows and row not in rows.values():
                rows[i] = int(row)
        # The known ones first: a new one takes the row of what was not seen for longest.
        order = sorted(range(len(padded)), key=lambda i: i not in rows)
        numbers = {i: self._note(rows.get(i), *padded[i]) for i in order}
        return self._in_order([numbers[i] for i in range(len(padded))])

    def _in_order(self, numbers: list[int]) -> list[int]:
        """Give those in the same place, as one thing that two phrases name, rising numbers."""
        rows = [int(np.flatnonzero(self._ids == number)[0]) for number in numbers]
        places = [(*self._lower[:, row], *self._upper[:, row]) for row in rows]
        rising = {
            place: iter(sorted(n for n, p in zip(numbers, places) if p == place))
            for place in places
        }
        return [next(rising[place]) for place in places]

    def _note(self, row: int | None, lower: FloatArray, upper: FloatArray) -> int:
        """Remember where an object is now; a new one takes the place of the oldest."""
        self._calls += 1
        if row is None:
            row = int(self._seen.argmin())
            self._ids[row], self._next_id = self._next_id, self._next_id + 1
        self._lower[:, row], self._upper[:, row], self._seen[row] = lower, upper, self._calls
        return int(self._ids[row])

    def _overlapping(
        self, lower: FloatArray, upper: FloatArray
    ) -> tuple[NDArray[np.int64], FloatArray]:
        """Return the rows of known boxes that may be this one, and the IoU with each."""
        used = slice(min(self._calls, self._capacity))  # rows are taken in order
        rows = np.flatnonzero((self._lower[0, used] < upper[0]) & (self._upper[0, used] > lower[0]))
        known_lower, known_upper = self._lower[:, rows].T, self._upper[:, rows].T
        edges = np.minimum(known_upper, upper) - np.maximum(known_lower, lower)
        intersection = edges.clip(min=0).prod(axis=1)
        known = (known_upper - known_lower).prod(axis=1)
        iou = intersection / (known + (upper - lower).prod() - intersection)
        is_same = iou >= MIN_IOU
        return rows[is_same], iou[is_same]
