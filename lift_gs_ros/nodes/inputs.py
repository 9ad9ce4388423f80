"""What comes in: subscriptions that count, and the warning when nothing does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from lift_gs_ros.nodes.qos import describe
from lift_gs_ros.nodes.reporting import ERROR, Report


def image_topic(node: Node, topic: str, transport: str) -> tuple[type, str]:
    """Return type and name of images: ``raw``, or below the remapped topic as image_transport."""
    if transport == 'raw':
        return Image, topic
    return CompressedImage, f'{node.resolve_topic_name(topic)}/{transport}'


@dataclass
class _Input:
    topic: str  # resolved
    type_name: str
    qos: QoSProfile
    last: float = field(default_factory=time.monotonic)
    count: int = 0


class Inputs:
    """Subscribes for a node and watches over what arrives.

    After ``silence`` seconds in which ``alive`` was not called (no complete set of inputs) a
    warning names every topic with its type, QoS, publishers and whether it is silent; it is
    repeated ever less often, and taken back when data return.
    """

    def __init__(self, node: Node, report: Report, hint: str, silence: float = 5.0) -> None:
        self._node, self._report, self._hint, self._silence = node, report, hint, silence
        self._inputs: list[_Input] = []
        self._last_alive = time.monotonic()
        # Not the node's clock: that nobody publishes /clock is one of the things to warn about.
        node.create_timer(1.0, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def alive(self) -> None:
        """Note that a complete set of inputs came in."""
        gap, self._last_alive = time.monotonic() - self._last_alive, time.monotonic()
        if self._report.clear('no_data'):
            self._node.get_logger().info(f'data again, after {gap:.0f} s')

    def subscribe(
        self,
        kind: type,
        topic: str,
        callback: Callable,
        qos: QoSProfile,
        group: CallbackGroup | None = None,
    ) -> None:
        """Subscribe; a ValueError of the callback is reported and does not leave it."""
        name = self._node.resolve_topic_name(topic)
        entry = _Input(name, f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}', qos)
        self._inputs.append(entry)

        callback = self._report.timed('callback', callback)

        def receive(message) -> None:
            entry.last = time.monotonic()
            entry.count += 1
            try:
                callback(message)
            except ValueError as error:
                self._report.problem(f'bad_messages_on_{topic}', error)

        def incompatible(event) -> None:
            policy = event.last_policy_kind.name.rpartition('POLICY_')[2].lower()
            self._report.problem(
                'incompatible_publishers',
                f'a publisher on {name} has an incompatible QoS ({policy}); this node asks for '
                f'{describe(qos)}: nothing of it will arrive. For images and poses, set the '
                'parameter sensor_qos (sensor_data accepts every publisher)',
            )

        events = SubscriptionEventCallbacks(incompatible_qos=incompatible)
        self._node.create_subscription(
            kind, topic, receive, qos, event_callbacks=events, callback_group=group
        )

    def _watch(self) -> None:
        now = time.monotonic()
        if now - self._last_alive < self._silence:
            return
        lines = [self._describe(entry, now) for entry in self._inputs]
        self._report.problem(
            'no_data',
            f'no complete input for {now - self._last_alive:.0f} s; {self._hint}\n  '
            + '\n  '.join(lines),
            ERROR,
        )

    def _describe(self, entry: _Input, now: float) -> str:
        publishers = self._node.count_publishers(entry.topic)
        silent = entry.count == 0 or now - entry.last >= self._silence
        state = f'SILENT for {now - entry.last:.0f} s' if silent else 'arriving'
        return (
            f'{entry.topic} [{entry.type_name}] ({describe(entry.qos)}): {state}, '
            f'{entry.count} messages, {publishers} publishers'
        )
