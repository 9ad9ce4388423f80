"""The same object keeps its number while the map grows and queries change."""

from __future__ import annotations

from lift_gs_ros.geometry import Box

MIN_IOU = 0.3  # two boxes that overlap more than this are the same object
MAX_KNOWN = 10_000  # objects remembered; the one not seen for longest is forgotten first


class InstanceRegistry:
    """Numbers objects by where they are."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all objects; numbers are not used again, so that a late reader is not misled."""
        self._next_id = getattr(self, '_next_id', 0)
        self._boxes: dict[int, Box] = {}

    def identify(self, box: Box) -> int:
        """Return the number of the known object that overlaps ``box`` most, or a new one."""
        overlap = {known: box.iou(other) for known, other in self._boxes.items()}
        best = max(overlap, key=lambda known: overlap[known], default=None)
        if best is None or overlap[best] < MIN_IOU:
            best, self._next_id = self._next_id, self._next_id + 1
        self._boxes.pop(best, None)
        self._boxes[best] = box
        if len(self._boxes) > MAX_KNOWN:
            del self._boxes[next(iter(self._boxes))]
        return best
