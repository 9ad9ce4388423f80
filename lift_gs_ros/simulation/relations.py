"""Ground truth of spatial relations, with margins that leave no doubt to a person.

Every function that picks one of several candidates returns None where the pick would be open to
question. Ids are instance ids; metres; horizontal distances unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.simulation.layout import gap_between, inside, overlap
from lift_gs_ros.simulation.room import Room, RoomObject

_MARGIN, _RATIO = 0.3, 1.2  # closer by at least 0.3 m and by 20%
_FRONTED = ('sofa', 'wardrobe', 'cabinet', 'bookshelf', 'counter', 'sink', 'door', 'window')
_RUG_HEIGHT = 0.05  # metres; what is based below it stands on the floor or on a rug

Judge = Callable[[int], bool | None]  # id -> clearly so, clearly not, or None for in between


class RoomFacts:
    """Distances between all objects of a room, and the relations that follow from them."""

    def __init__(self, room: Room) -> None:
        self.room = room
        objects = room.objects
        self._centers = np.array([o.position[:2] for o in objects])
        self._distances = np.linalg.norm(self._centers[:, None] - self._centers, axis=-1)
        rects = [o.footprint for o in objects]
        self._gaps = np.zeros((len(objects), len(objects)))
        for i in range(len(objects)):
            for j in range(i):
                self._gaps[i, j] = self._gaps[j, i] = gap_between(rects[i], rects[j])

    def gap(self, a: int, b: int) -> float:
        """Distance between two footprints."""
        return float(self._gaps[a - 1, b - 1])

    def ranked(self, candidates: Sequence[int], anchor: int, margin: float = 0.25) -> list[int]:
        """Order candidates by distance from the anchor; empty where any two are about as far."""
        if any(self._touching(c, anchor) for c in candidates):
            return []
        order = sorted(candidates, key=lambda c: self.gap(c, anchor))
        for near, far in zip(order, order[1:]):
            if not self._closer(near, far, anchor, margin):
                return []
        return order

    def closest(self, candidates: Sequence[int], anchor: int) -> int | None:
        """Return the candidate closest to the anchor."""
        if any(self._touching(c, anchor) for c in candidates):
            return None
        order = sorted(candidates, key=lambda c: self.gap(c, anchor))
        clear = all(self._closer(order[0], other, anchor, _MARGIN) for other in order[1:])
        return order[0] if clear else None

    def farthest(self, candidates: Sequence[int], anchor: int) -> int | None:
        """Return the candidate farthest from the anchor."""
        if any(self._touching(c, anchor) for c in candidates):
            return None
        order = sorted(candidates, key=lambda c: -self.gap(c, anchor))
        clear = all(self._closer(other, order[0], anchor, _MARGIN) for other in order[1:])
        return order[0] if clear else None

    def _closer(self, near: int, far: int, anchor: int, margin: float) -> bool:
        """Say whether ``near`` is clearly closer, by the gap and by the centres alike."""
        gaps = self._gaps[anchor - 1, [near - 1, far - 1]]
        distances = self._distances[anchor - 1, [near - 1, far - 1]]
        return all(b - a >= margin and b >= _RATIO * a for a, b in (tuple(gaps), tuple(distances)))

    def _touching(self, a: int, b: int) -> bool:
        """Say whether one is on, under or above the other, where distance has no plain meaning."""
        return self.gap(a, b) == 0.0

    def on(self, target: int, anchor: int) -> bool:
        """Say whether the target stands on the anchor."""
        return self.room.object(target).support == anchor

    def under(self, target: int, anchor: int) -> bool:
        """Say whether the target stands beneath a table."""
        t, a = self.room.object(target), self.room.object(anchor)
        if a.kind != 'table' or not _on_floor(t):
            return False
        return inside(t.footprint, a.footprint) and t.box.upper[2] < a.box.upper[2]

    def maybe_under(self, target: int, anchor: int) -> bool:
        """Say whether somebody could say that the target is under the anchor."""
        t, a = self.room.object(target), self.room.object(anchor)
        return t.box.upper[2] < a.box.upper[2] and overlap(t.footprint, a.footprint)

    def next_to(self, candidates: Sequence[int], anchor: int) -> int | None:
        """Return the only candidate within 0.35 m of the anchor, all others 0.9 m off or more."""
        if not _on_floor(self.room.object(anchor)):
            return None

        def judge(c: int) -> bool | None:
            gap = self.gap(c, anchor)
            if gap >= 0.9:
                return False
            return True if 0 < gap <= 0.35 and _on_floor(self.room.object(c)) else None

        return _only(candidates, judge)

    def between(self, candidates: Sequence[int], a: int, b: int) -> int | None:
        """Return the only candidate that is between two objects 1.2 to 5 m apart."""
        start, span = self._centers[a - 1], self._centers[b - 1] - self._centers[a - 1]
        length = float(np.linalg.norm(span))
        if not 1.2 <= length <= 5.0:
            return None

        def judge(c: int) -> bool | None:
            offset = self._centers[c - 1] - start
            along = float(offset @ span) / length**2
            aside = abs(float(_cross(span, offset))) / length
            if along < 0.05 or along > 0.95 or aside > 0.4 * length + 0.3:
                return False
            central = 0.25 <= along <= 0.75 and aside <= min(0.15 * length, 0.4)
            return True if central and self.gap(c, a) > 0 and self.gap(c, b) > 0 else None

        return _only(candidates, judge)

    def beside(self, candidates: Sequence[int], anchor: int, viewer: int, left: bool) -> int | None:
        """Return the only candidate left (or right) of the anchor, seen from the viewer."""
        eye, middle = self._centers[viewer - 1], self._centers[anchor - 1]
        sight = middle - eye
        length = float(np.linalg.norm(sight))
        if length < 1.2:
            return None
        sign = 1.0 if left else -1.0

        def judge(c: int) -> bool | None:
            offset = self._centers[c - 1] - middle
            lateral = sign * float(_cross(sight, offset)) / length
            ahead = float(offset @ sight) / length
            away = self._centers[c - 1] - eye
            angle = sign * float(np.arctan2(_cross(sight, away), sight @ away))
            if lateral < -0.2 and angle < -0.1:
                return False
            clear = lateral >= 0.4 and lateral >= 0.8 * abs(ahead) and 0.15 < angle < 1.2
            return True if clear and self.gap(c, anchor) > 0 else None

        return _only(candidates, judge)

    def in_front_of(self, candidates: Sequence[int], anchor: int) -> int | None:
        """Return the only candidate before the front of a thing that has a clear front."""
        o = self.room.object(anchor)
        if o.kind not in _FRONTED:
            return None
        # Corners of the footprint in the anchor's frame give its half width and depth.
        side = np.array([-o.front[1], o.front[0]])
        corners = o.footprint - o.position[:2]
        depth, width = (corners @ o.front).max(), (corners @ side).max()

        def judge(c: int) -> bool | None:
            offset = self._centers[c - 1] - self._centers[anchor - 1]
            ahead, aside = float(offset @ o.front) - depth, abs(float(offset @ side)) - width
            if ahead < -0.1 or ahead > 2.5 or aside > 0.4:
                return False
            near = 0.0 < self.gap(c, anchor) <= 1.3 and _on_floor(self.room.object(c))
            return True if near and ahead > 0.1 and aside < -0.1 else None

        return _only(candidates, judge)

    def tallest(self, candidates: Sequence[int]) -> int | None:
        """Return the candidate that is taller than every other by a fifth and 8 cm."""
        return self._ahead(candidates, _height, lambda a, b: a >= 1.2 * b and a >= b + 0.08)

    def shortest(self, candidates: Sequence[int]) -> int | None:
        """Return the candidate that every other exceeds in height by a fifth and 8 cm."""
        return self._ahead(candidates, _height, lambda a, b: b >= 1.2 * a and b >= a + 0.08)

    def biggest(self, candidates: Sequence[int], ratio: float) -> int | None:
        """Return the candidate with ``ratio`` times the volume of every other, and no lower."""
        picked = self._ahead(candidates, _volume, lambda a, b: a >= ratio * b)
        return picked if self._ahead(candidates, _height, lambda a, b: a >= b) == picked else None

    def smallest(self, candidates: Sequence[int], ratio: float) -> int | None:
        """Return the candidate with ``ratio`` times less volume than every other, no taller."""
        picked = self._ahead(candidates, _volume, lambda a, b: b >= ratio * a)
        return picked if self._ahead(candidates, _height, lambda a, b: b >= a) == picked else None

    def _ahead(
        self,
        candidates: Sequence[int],
        size: Callable[[RoomObject], float],
        beats: Callable[[float, float], bool],
    ) -> int | None:
        """Return the only candidate whose size beats the size of all others."""
        sizes = {c: size(self.room.object(c)) for c in candidates}
        best = [c for c in sizes if all(beats(sizes[c], sizes[o]) for o in sizes if o != c)]
        return best[0] if len(best) == 1 and len(sizes) > 1 else None


def _height(o: RoomObject) -> float:
    return float(o.box.size[2])


def _volume(o: RoomObject) -> float:
    """Volume of the oriented box around an object."""
    a, b = o.footprint[1] - o.footprint[0], o.footprint[3] - o.footprint[0]
    return float(np.linalg.norm(a) * np.linalg.norm(b) * o.box.size[2])


def _on_floor(o: RoomObject) -> bool:
    return bool(o.box.lower[2] < _RUG_HEIGHT) and o.kind != 'rug'


def _only(candidates: Sequence[int], judge: Judge) -> int | None:
    """Return the one candidate that is clearly so, if all others clearly are not."""
    verdicts = [judge(c) for c in candidates]
    if verdicts.count(True) != 1 or None in verdicts:
        return None
    return candidates[verdicts.index(True)]


def _cross(a: NDArray, b: NDArray) -> float:
    """Positive where b is to the left of a, seen from above."""
    return float(a[0] * b[1] - a[1] * b[0])
