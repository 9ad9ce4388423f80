"""Pairs colour with depth by stamp (message_filters is not to be had everywhere)."""

from __future__ import annotations

import statistics
from collections import deque
from typing import Generic, TypeVar

Message = TypeVar('Message')

# A stamp this far behind the newest one is a clock that starts again, not a late message.
CLOCK_RESTART_NS = 1_000_000_000
# Of the time between two messages of one side: the right partner is within half of it.
MOST_OF_PERIOD = 0.6
ENOUGH_PERIODS = 3  # to know that time


class PairSynchronizer(Generic[Message]):
    """Finds, for each message of one side, the nearest in time of the other, within ``slop_ns``.

    Nor is a partner farther than ``MOST_OF_PERIOD`` of the time between two messages of a side:
    where an image is lost, what is left of its pair would take one of the next, and so on for ever.
    Every message is used at most once. What is older than a pair, or than the newest ``capacity``
    messages of its side, has lost its chance and is counted in ``unpaired``.
    """

    def __init__(self, slop_ns: int, capacity: int = 10) -> None:
        self.unpaired = [0, 0]
        self._last: list[int | None] = [None, None]  # stamp of each side's last message
        self._periods: tuple[deque[int], deque[int]] = (deque(maxlen=15), deque(maxlen=15))
        self._slop_ns = slop_ns
        self._capacity = capacity
        self._waiting: tuple[deque[tuple[int, Message]], deque[tuple[int, Message]]] = (
            deque(),
            deque(),
        )

    def add(self, side: int, stamp_ns: int, message: Message) -> tuple[Message, Message] | None:
        """Take in a message of side 0 or 1; return the pair (side 0, side 1) that it completes."""
        own, other = self._waiting[side], self._waiting[1 - side]
        if own and stamp_ns < own[-1][0] - CLOCK_RESTART_NS:
            self._discard(side, len(own))
            self._discard(1 - side, len(other))
        self._note(side, stamp_ns)
        distances = [abs(stamp_ns - other_stamp) for other_stamp, _ in other]
        if not distances or min(distances) > self._most_apart():
            own.append((stamp_ns, message))
            self._discard(side, len(own) - self._capacity)
            return None
        best = distances.index(min(distances))
        partner = other[best][1]
        self._discard(1 - side, best)
        other.popleft()
        self._discard(side, sum(1 for own_stamp, _ in own if own_stamp <= stamp_ns))
        return (message, partner) if side == 0 else (partner, message)

    def _note(self, side: int, stamp_ns: int) -> None:
        last, self._last[side] = self._last[side], stamp_ns
        if last is not None and 0 < stamp_ns - last < CLOCK_RESTART_NS:
            self._periods[side].append(stamp_ns - last)

    def _most_apart(self) -> float:
        """Return how far apart a pair may be: medians, for stamps jitter and images get lost."""
        known = [statistics.median(own) for own in self._periods if len(own) >= ENOUGH_PERIODS]
        return min([self._slop_ns, *(MOST_OF_PERIOD * period for period in known)])

    def _discard(self, side: int, number: int) -> None:
        for _ in range(number):
            self._waiting[side].popleft()
            self.unpaired[side] += 1
