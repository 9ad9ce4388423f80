"""One thread that owns what is slow, and the bounded queue that feeds it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar('Item')


class BoundedQueue(Generic[Item]):
    """First in, first out; when full, the oldest item makes room. Thread-safe."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._condition = threading.Condition()

    def put(self, item: Item) -> Item | None:
        """Add an item; return the one that was dropped for it."""
        with self._condition:
            dropped = self._items.popleft() if len(self._items) >= self._capacity else None
            self._items.append(item)
            self._condition.notify()
        return dropped

    def get(self, timeout: float) -> Item | None:
        """Take the oldest item; None when none came within ``timeout`` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._items, timeout)
            return self._items.popleft() if self._items else None

    def take_all(self) -> list[Item]:
        """Take all items."""
        with self._condition:
            items = list(self._items)
            self._items.clear()
        return items

    def __len__(self) -> int:
        return len(self._items)


class Worker:
    """Calls ``step`` again and again in one thread; what a step raises is given to ``on_error``."""

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._name, self._step, self._on_error = name, step, on_error
        self.stopped = threading.Event()
        self._thread = threading.Thread()

    def start(self) -> None:
        """Begin, or begin again after a stop."""
        if self._thread.is_alive():
            raise RuntimeError(f'the {self._name} worker is still busy')
        self.stopped.clear()
        # A daemon: a step that never ends must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Ask the thread to end after its current step; True when it has within ``timeout`` s."""
        self.stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                self._step()
            except Exception as error:
                if not self.stopped.is_set():
                    self._on_error(error)
