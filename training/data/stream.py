"""A process's rooms as a stream: a few of them in memory at a time, however many there are.

Which rooms are in the buffer is decided by the seed and by how many samples were drawn before, as
all randomness of a training step is by the step (``training.engine``). So a run that was killed
goes on with the rooms that it would have had, and no state of a reader has to be saved; several
threads may draw samples at once, in any order.
"""

from __future__ import annotations

import functools
import logging
import threading
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from training.data.load import RoomFiles
from training.data.room_cache import CachedRoom

logger = logging.getLogger(__name__)


class RoomStream:
    """Rooms in an order that every epoch shuffles anew, dealt out to the processes in turn.

    Where all of a process's rooms fit into the buffer, they stay there. Otherwise a room leaves it
    after ``visit`` samples for every room that it holds, and the next one comes. As epoch follows
    epoch, no process is ever without a room, whatever their number is divided by.
    """

    def __init__(
        self, files: RoomFiles, size: int, visit: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        count = len(files.names)
        if count < processes:
            raise ValueError(
                f'{files.folder} holds {count} rooms for {processes} processes, expected at least '
                'one each'
            )
        self._files, self._visit, self._seed = files, visit, seed
        self._rank, self._processes = rank, processes
        own = files.names[rank::processes]
        self._own = own if -(-count // processes) <= size else None
        self._size = len(own) if self._own else size
        self._rooms: dict[int, Future[CachedRoom | None]] = {}  # by place in the stream
        self._lock = threading.Lock()
        self._unreadable: dict[str, str] = {}
        self._unusable: set[str] = set()
        self._redrawn = 0

    @property
    def unreadable(self) -> int:
        """How many rooms were asked for that could not be read."""
        return len(self._unreadable)

    @property
    def redrawn(self) -> int:
        """How many samples could not be learned from and were drawn again."""
        return self._redrawn

    def refuse(self, sample: str) -> None:
        """Count a sample that can not be learned from; the first of each name is logged."""
        with self._lock:
            self._redrawn += 1
            is_new = sample not in self._unusable
            self._unusable.add(sample)
        if is_new:
            logger.warning('a sample of %s holds NaN or shows nothing: another is drawn', sample)

    def names(self, sample: int) -> list[str]:
        """Names of the rooms in the buffer when a sample is drawn, counted from the run's first."""
        first = self._first(sample)
        return [self._name(place) for place in range(first, first + self._size)]

    def draw(self, sample: int, rng: np.random.Generator) -> CachedRoom:
        """Draw a room for a sample, counted from the run's first; it is read if it was not yet.

        One that can not be read is logged and left out; where the buffer holds no other, the next
        that can be read takes its place. Raises ValueError where there is none.
        """
        first, bad = self._first(sample), set[int]()
        while len(bad) < self._size:
            place = first + int(rng.integers(self._size))
            room = None if place in bad else self._get(place)
            if room is not None:
                return room
            bad.add(place)
        for place in range(first + self._size, first + self._size + len(self._files.names)):
            if (room := self._get(place)) is not None:
                return room
        raise ValueError(
            f'no room of {self._files.folder} can be trained on, one of them because: '
            f'{next(iter(self._unreadable.values()))}'
        )

    def _first(self, sample: int) -> int:
        return 0 if self._own else sample // self._visit

    def _name(self, place: int) -> str:
        names = self._files.names
        if self._own:  # and after them those of all processes
            return self._own[place] if place < len(self._own) else names[place - len(self._own)]
        epoch, number = divmod(place * self._processes + self._rank, len(names))
        return names[_shuffled(len(names), self._seed, epoch)[number]]

    def _get(self, place: int) -> CachedRoom | None:
        with self._lock:
            known = self._rooms.get(place)
            if known is None:
                own = self._rooms[place] = Future[CachedRoom | None]()
                while len(self._rooms) > self._size:
                    del self._rooms[min(self._rooms)]
        if known is not None:
            return known.result()  # another thread may still be reading it
        try:
            own.set_result(self._read(self._name(place)))
        except BaseException as error:
            own.set_exception(error)
        return own.result()

    def _read(self, name: str) -> CachedRoom | None:
        try:
            return self._files.read(name)
        except MemoryError:
            raise
        except Exception as error:  # every codec and every object store has its own
            if name not in self._unreadable:
                logger.warning('%s is left out: %s', name, error)
            self._unreadable[name] = str(error)
            return None


@functools.lru_cache(maxsize=4)
def _shuffled(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch, count]).permutation(count)
