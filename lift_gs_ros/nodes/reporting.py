"""What went wrong and how often: counters, and log lines that do not flood."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node


class Report:
    """Counters by name and warnings at most every ``period`` seconds per name. Thread-safe."""

    def __init__(self, warn: Callable[[str], object], period: float = 5.0) -> None:
        self._warn = warn
        self._period = period
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._logged: dict[str, float] = {}

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name] += number

    def problem(self, name: str, reason: object) -> None:
        """Count something that was refused or lost, and say why once in a while."""
        now = time.monotonic()
        with self._lock:
            self._counts[name] += 1
            count = self._counts[name]
            if now - self._logged.get(name, -self._period) < self._period:
                return
            self._logged[name] = now
        self._warn(f'{name.replace("_", " ")} ({count} so far): {reason}')

    def counts(self) -> dict[str, int]:
        """Return a copy of all counters."""
        with self._lock:
            return dict(self._counts)


class Diagnostics:
    """Publishes counters, their rates and further values on /diagnostics once a second."""

    def __init__(self, node: Node, report: Report, values: Callable[[], Mapping[str, object]]):
        self._node, self._report, self._values = node, report, values
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._last: dict[str, int] = {}
        # Not the node's clock, which stands still where use_sim_time waits for a /clock.
        node.create_timer(1.0, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _publish(self) -> None:
        counts = self._report.counts()
        rates = {name: count - self._last.get(name, 0) for name, count in counts.items()}
        self._last = counts
        rows = {
            **self._values(),
            **counts,
            **{f'{name} per second': r for name, r in rates.items()},
        }
        status = DiagnosticStatus(level=DiagnosticStatus.OK, message='running')
        status.name = self._node.get_fully_qualified_name().lstrip('/')
        status.values = [KeyValue(key=str(key), value=str(value)) for key, value in rows.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
