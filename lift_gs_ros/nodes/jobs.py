"""What services ask of the worker that owns the map or the model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from lift_gs_ros.nodes.worker import BoundedQueue

Result = TypeVar('Result')
MOST_WAITING = 10


class Jobs:
    """Functions that a worker calls between two of its steps, while whoever asked waits."""

    def __init__(self) -> None:
        self._waiting: BoundedQueue[tuple[Callable, Future]] = BoundedQueue(MOST_WAITING)

    def ask(self, job: Callable[[], Result], timeout: float) -> Result:
        """Have a job done that begins within ``timeout`` seconds; raises what it raises.

        RuntimeError where it has not begun: then it is not done.
        """
        future: Future = Future()
        dropped = self._waiting.put((job, future))
        if dropped is not None:
            dropped[1].cancel()
        try:
            return future.result(timeout)
        except FutureTimeoutError:
            if not future.cancel():  # it is done right now
                return future.result()
            raise RuntimeError(f'the worker was busy for {timeout:.0f} s: try again') from None

    def close(self, reason: str) -> None:
        """Do nothing of what waits: whoever asked gets a RuntimeError. The worker has ended."""
        for _, future in self._waiting.take_all():
            if future.set_running_or_notify_cancel():
                future.set_exception(RuntimeError(reason))

    def run(self) -> None:
        """Do all that waits; only the worker calls this."""
        for job, future in self._waiting.take_all():
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except Exception as error:  # for whoever asked
                future.set_exception(error)
