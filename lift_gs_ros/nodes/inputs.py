"""What comes in: subscriptions that count, and the warning when nothing does, or nobody sends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from lift_gs_ros.nodes.qos import describe
from lift_gs_ros.nodes.reporting import ERROR, WARN, Report

# What silence of a topic is: 'set', a fault while it keeps sets from being complete; 'always', a
# fault; 'once', a fault until something has come; 'publisher', none while somebody publishes it;
# 'nothing', none.
Expected = Literal['set', 'always', 'once', 'publisher', 'nothing']


def image_topic(node: Node, topic: str, transport: str) -> tuple[type, str]:
    """Return type and name of images: ``raw``, or below the remapped topic as image_transport."""
    if transport == 'raw':
        return Image, topic
    return CompressedImage, f'{node.resolve_topic_name(topic)}/{transport}'


def type_name(kind: type) -> str:
    """Name a message type as ``ros2 topic info`` does."""
    return f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'


def nobody_publishes(node: Node, topic: str, kind: str) -> str:
    """Say so, and what is published there instead; '' where somebody does publish this type."""
    types = {publisher.topic_type for publisher in node.get_publishers_info_by_topic(topic)}
    if kind in types:
        return ''
    instead = f', but {", ".join(sorted(types))}' if types else ''
    return f'nobody publishes {kind} on {topic}{instead}'


@dataclass
class _Input:
    topic: str  # resolved
    type_name: str
    qos: QoSProfile
    expected: Expected
    subscription: Subscription | None = None
    last: float = field(default_factory=time.monotonic)  # a message came, or somebody published
    count: int = 0


class Inputs:
    """Subscribes for a node and watches over what arrives.

    After ``silence`` seconds without what is expected (of a 'set': in which ``alive`` was not
    called) a warning names every topic with its type, QoS, publishers and whether it is silent; it
    is repeated ever less often, and taken back when data return.
    """

    def __init__(
        self,
        node: Node,
        report: Report,
        hint: str = '',
        expected: Expected = 'set',
        silence: float = 5.0,
    ) -> None:
        """``hint``: what makes an input complete; ``expected``: of topics that do not say it."""
        self._node, self._report, self._hint, self._silence = node, report, hint, silence
        self._expected = expected
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
        expected: Expected | None = None,
    ) -> Subscription:
        """Subscribe; a ValueError of the callback is reported and does not leave it."""
        name = self._node.resolve_topic_name(topic)
        entry = _Input(name, type_name(kind), qos, expected or self._expected)
        callback = self._report.timed('callback', callback)

        def receive(message) -> None:
            entry.last = time.monotonic()
            entry.count += 1
            try:
                callback(message)
            except ValueError as error:
                self._report.problem(f'bad_messages_on_{topic}', error)

        entry.subscription = self._node.create_subscription(
            kind, topic, receive, qos, event_callbacks=self._events(entry)
        )
        self._inputs.append(entry)
        return entry.subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription, which is not missed any more."""
        self._inputs = [e for e in self._inputs if e.subscription is not subscription]
        self._node.destroy_subscription(subscription)

    def _events(self, entry: _Input) -> SubscriptionEventCallbacks:
        def incompatible(event) -> None:
            policy = event.last_policy_kind.name.rpartition('POLICY_')[2].lower()
            self._report.problem(
                'incompatible_publishers',
                f'a publisher on {entry.topic} has an incompatible QoS ({policy}); this node asks '
                f'for {describe(entry.qos)}: nothing of it will arrive. For images and poses, set '
                'the parameter sensor_qos (sensor_data accepts every publisher)',
            )

        return SubscriptionEventCallbacks(incompatible_qos=incompatible)

    def _watch(self) -> None:
        now = time.monotonic()
        self._watch_publishers(now)
        expected = [entry for entry in self._inputs if self._is_data(entry)]
        since = [e.last for e in expected if e.expected == 'always' or not e.count]
        if any(entry.expected == 'set' for entry in expected):
            since = [self._last_alive]
        if now - min(since, default=now) < self._silence:
            if self._report.clear('no_data'):
                self._node.get_logger().info('data again')
            return
        self._report.problem(
            'no_data',
            f'no complete input for {now - min(since):.0f} s; {self._hint}\n  '
            + '\n  '.join(self._describe(entry, now) for entry in expected),
            ERROR,
        )

    def _watch_publishers(self, now: float) -> None:
        """Say of which topics nobody publishes; that nothing new comes on them is no fault."""
        for entry in self._inputs:
            if entry.expected != 'publisher':
                continue
            missing = nobody_publishes(self._node, entry.topic, entry.type_name)
            if not missing:
                entry.last = now
                self._report.clear('no_publisher')
            elif now - entry.last >= self._silence:
                came = entry.count > 0
                text = ' any more; what came is kept' if came else ': is that its name?'
                self._report.problem('no_publisher', missing + text, WARN if came else ERROR)

    @staticmethod
    def _is_data(entry: _Input) -> bool:
        return entry.expected in ('set', 'always', 'once')

    def _describe(self, entry: _Input, now: float) -> str:
        publishers = self._node.count_publishers(entry.topic)
        silent = entry.count == 0 or now - entry.last >= self._silence
        state = f'SILENT for {now - entry.last:.0f} s' if silent else 'arriving'
        return (
            f'{entry.topic} [{entry.type_name}] ({describe(entry.qos)}): {state}, '
            f'{entry.count} messages, {publishers} publishers'
        )
