"""What went wrong and how often, how long things take, and log lines that do not flood."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
RECENT = 10.0  # seconds for which a problem decides the level of the diagnostics
QUIET = 30.0  # seconds without a problem, after which it is news again
LONGEST_SILENCE = 300.0  # seconds between two log lines about a problem that lasts
WINDOW = 60.0  # seconds that the percentiles of latency look back
WINDOW_SAMPLES = 20_000  # of a stage: odometry of 200 Hz and images fill a minute with as many


@dataclass
class _Problem:
    level: bytes
    reason: str
    last: float = -np.inf  # seconds, time.monotonic
    logged: float = -np.inf
    pause: float = 0.0  # seconds until the next log line


class Report:
    """Counters, latencies and problems by name. Thread-safe.

    A problem that lasts is logged at once, after ``period`` seconds, and then half as often each
    time, down to once in five minutes. ``debug`` hears of every time, and of each step of the work;
    ``inform`` of what was done for somebody, once a second at most.
    """

    def __init__(
        self,
        warn: Callable[[str], object],
        inform: Callable[[str], object] = lambda text: None,
        debug: Callable[[str], object] = lambda text: None,
        period: float = 5.0,
    ) -> None:
        self._warn, self._inform, self._debug = warn, inform, debug
        self._period = period
        self._informed = -np.inf  # seconds, time.monotonic
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._problems: dict[str, _Problem] = {}
        # By stage: when something ended, and how many milliseconds it took.
        self._samples: dict[str, deque[tuple[float, float]]] = {}

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name] += number

    def problem(self, name: str, reason: object, level: bytes = WARN) -> None:
        """Count something that was refused or lost, and say why once in a while."""
        now = time.monotonic()
        with self._lock:
            self._counts[name] += 1
            count = self._counts[name]
            problem = self._problems.setdefault(name, _Problem(level, ''))
            if now - problem.last > QUIET:
                problem.pause = 0.0
            problem.level, problem.reason, problem.last = level, str(reason), now
            is_news = now - problem.logged >= problem.pause
            if is_news:
                problem.logged = now
                problem.pause = min(max(2 * problem.pause, self._period), LONGEST_SILENCE)
        text = f'{name.replace("_", " ")} ({count} so far): {reason}'
        if is_news:
            self._warn(text)
        else:
            self._debug(text.partition('\n')[0])

    def done(self, text: str) -> None:
        """Log what was done for somebody; of many in a second the first."""
        now = time.monotonic()
        with self._lock:
            is_first = now - self._informed >= 1.0
            if is_first:
                self._informed = now
        (self._inform if is_first else self._debug)(text)

    def clear(self, name: str) -> bool:
        """Note that a problem is over; True where there was one."""
        with self._lock:
            return self._problems.pop(name, None) is not None

    def time(self, stage: str, seconds: float) -> None:
        """Note how long a stage of the work took."""
        self._note(stage, seconds)
        self._debug(f'{stage}: {1e3 * seconds:.1f} ms')

    def _note(self, stage: str, seconds: float) -> None:
        with self._lock:
            samples = self._samples.setdefault(stage, deque(maxlen=WINDOW_SAMPLES))
            samples.append((time.monotonic(), 1e3 * seconds))

    def timed(self, stage: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return the callback with its duration noted, but not logged: they are many."""

        def call(*arguments: Any) -> Any:
            begin = time.monotonic()
            try:
                return callback(*arguments)
            finally:
                self._note(stage, time.monotonic() - begin)

        return call

    def counts(self) -> dict[str, int]:
        """Return a copy of all counters."""
        with self._lock:
            return dict(self._counts)

    def latencies(self) -> dict[str, tuple[float, float]]:
        """Return p50 and p99 (milliseconds) of every stage of the last minute."""
        since = time.monotonic() - WINDOW
        with self._lock:
            recent = {
                stage: [took for when, took in samples if when >= since]
                for stage, samples in self._samples.items()
            }
        return {
            stage: (float(np.percentile(took, 50)), float(np.percentile(took, 99)))
            for stage, took in recent.items()
            if took
        }

    def health(self) -> tuple[bytes, str]:
        """Return the worst level of late, and what it comes from; OK and '' where all is well."""
        since = time.monotonic() - RECENT
        with self._lock:
            recent = [(p.level, p.last, n, p.reason) for n, p in self._problems.items()]
        recent = sorted((entry for entry in recent if entry[1] >= since), reverse=True)
        first_lines = [(name, reason.partition('\n')[0]) for _, _, name, reason in recent]
        texts = [f'{name.replace("_", " ")}: {line}' for name, line in first_lines]
        return recent[0][0] if recent else OK, '; '.join(texts)


def memory_rows() -> dict[str, object]:
    """Return how much memory this process holds, in MB."""
    try:
        with open('/proc/self/statm') as file:
            pages = int(file.read().split()[1])
    except OSError:  # not on Linux
        return {}
    return {'memory MB': round(pages * os.sysconf('SC_PAGE_SIZE') / 1e6)}


def gpu_memory_rows() -> dict[str, object]:
    """Return how much memory of the GPU torch holds, in MB; nothing where it uses none."""
    import torch  # mapping_node does without

    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    return {
        'GPU memory MB': round(torch.cuda.memory_allocated() / 1e6),
        'GPU memory reserved MB': round(torch.cuda.memory_reserved() / 1e6),
    }


class Diagnostics:
    """Publishes level, counters, rates, latencies and further values on /diagnostics, at 1 Hz."""

    def __init__(self, node: Node, report: Report, values: Callable[[], Mapping[str, object]]):
        self._node, self._report, self._values = node, report, values
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._last: dict[str, int] = {}
        self._last_time = time.monotonic()
        # Not the node's clock, which stands still where use_sim_time waits for a /clock.
        node.create_timer(1.0, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _publish(self) -> None:
        rows = {
            **self._values(),
            **self._report.counts(),
            **self._rates(),
            **{
                f'{stage} ms p50 / p99': f'{p50:.1f} / {p99:.1f}'
                for stage, (p50, p99) in self._report.latencies().items()
            },
            **memory_rows(),
        }
        level, message = self._report.health()
        status = DiagnosticStatus(level=level, message=message or str(rows.get('state', 'running')))
        status.name = self._node.get_fully_qualified_name().lstrip('/')
        status.values = [KeyValue(key=str(key), value=str(value)) for key, value in rows.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _rates(self) -> dict[str, float]:
        counts, now = self._report.counts(), time.monotonic()
        seconds = max(now - self._last_time, 1e-3)
        rates = {
            f'{name} per second': round((count - self._last.get(name, 0)) / seconds, 2)
            for name, count in counts.items()
        }
        self._last, self._last_time = counts, now
        return rates
