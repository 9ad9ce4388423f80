"""Services that take long, beside an executor of one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.task import Future

Serve = Callable[[Any, Any], Any]  # request and response in, response out


class LongCalls:
    """Has a service's callback called in a thread of its own; the executor sends its response.

    rclpy's executors put the list of all that they wait for together anew for each message, the
    one of several threads two or three times. So a node has an executor of one thread, which must
    wait for nothing but messages. At most one thread runs for each callback group with services.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._running = 0
        self._ended = threading.Condition()

    def beside(self, serve: Serve) -> Callable[[Any, Any], Coroutine[Any, Any, Any]]:
        """Return the callback for ``Node.create_service``; it raises what ``serve`` raises.

        The service needs a callback group of its own: what else is in it waits.
        """

        async def callback(request: Any, response: Any) -> Any:
            future: Future = Future()
            future.add_done_callback(self._wake)
            self._count(1)
            try:
                arguments = future, serve, request, response
                threading.Thread(target=self._call, args=arguments, daemon=True).start()
                return await future
            finally:
                self._count(-1)

        return callback

    def wait(self, timeout: float) -> bool:
        """Wait until none is running; True when that is so within ``timeout`` seconds."""
        with self._ended:
            return self._ended.wait_for(lambda: self._running == 0, timeout)

    def _count(self, change: int) -> None:
        with self._ended:
            self._running += change
            self._ended.notify_all()

    @staticmethod
    def _call(future: Future, serve: Serve, request: Any, response: Any) -> None:
        try:
            result = serve(request, response)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def _wake(self, future: Future) -> None:
        executor = self._node.executor
        if executor is not None:
            with suppress(InvalidHandle):  # it is shut down just now
                executor.wake()
