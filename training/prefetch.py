"""Samples drawn ahead of their steps, and how long the steps had to wait for them all the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from training.engine import step_rng

Drawn = tuple[Sequence[Any], np.random.Generator]  # samples, and their generator, drawn from so far


class Source(Protocol):
    """What samples are drawn from, by several threads at once."""

    def draw(self, step: int, rng: np.random.Generator) -> Sequence[Any]:
        """Draw the samples of a step; the step and its generator alone decide which."""


class Prefetcher:
    """Draws the samples of coming steps in threads, while the model works on this one's.

    Threads, not processes: reading, decoding and compositing leave Python to itself, and processes
    would each need rooms of their own in memory.
    """

    def __init__(self, source: Source, seed: int, rank: int, workers: int = 1) -> None:
        self._source, self._seed, self._rank = source, seed, rank
        self._ahead = 2 * workers  # steps; samples differ in what they take
        self._pool = ThreadPoolExecutor(workers)
        self._drawn: dict[int, Future[Drawn]] = {}
        self.waited = 0.0  # seconds, in all calls of get together

    def get(self, step: int) -> Drawn:
        """Return a step's samples and its generator."""
        begin = time.monotonic()
        wanted = range(step, step + self._ahead + 1)
        for other in self._drawn.keys() - set(wanted):
            self._drawn.pop(other).cancel()
        for other in wanted:
            if other not in self._drawn:
                self._drawn[other] = self._pool.submit(self._draw, other)
        try:
            return self._drawn.pop(step).result()
        finally:
            self.waited += time.monotonic() - begin

    def _draw(self, step: int) -> Drawn:
        rng = step_rng(self._seed, step, self._rank)
        return self._source.draw(step, rng), rng

    def close(self) -> None:
        """Wait for the threads to end."""
        self._pool.shutdown(cancel_futures=True)
