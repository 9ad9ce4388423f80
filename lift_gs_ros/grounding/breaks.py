"""Something short in the midst of something long, and how long the rest took."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaks:
    """Calls a function whenever it is called; ``worked`` says how long there was none of that."""

    def __init__(self, in_break: Callable[[], object]) -> None:
        self._in_break, self._begin = in_break, time.perf_counter()

    def __call__(self) -> None:
        """Take a break."""
        begin = time.perf_counter()
        try:
            self._in_break()
        finally:
            self._begin += time.perf_counter() - begin

    @property
    def worked(self) -> float:
        """Seconds since the beginning, without the breaks."""
        return time.perf_counter() - self._begin
