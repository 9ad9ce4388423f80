"""The lifecycle that the package's nodes share: configure, activate, deactivate, clean up.

A node comes up by itself (``autostart``) or waits for a lifecycle manager, such as nav2's. See
https://design.ros2.org/articles/node_lifecycle.html for the states.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.lifecycle import LifecycleNode, LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.lifecycle.node import LifecycleNodeMixin
from rclpy.logging import LoggingSeverity
from rclpy.node import Node

from lift_gs_ros.nodes.long_calls import LongCalls, Serve
from lift_gs_ros.nodes.parameters import Parameter, declare
from lift_gs_ros.nodes.reporting import Diagnostics, Report

ANSWER_SECONDS = 0.5  # for those who are told that the node is inactive, or ends
DESTROY_SECONDS = 2.0  # for the executor, which waits for nothing but messages
DEACTIVATE_SECONDS = 30.0  # for the step that a worker is in: one keyframe, or one chunk on a CPU


class _Node(LifecycleNode):
    """rclpy's node, whose parameters can be read while a transition takes its time."""

    def __init__(self, name: str, **options: Any) -> None:
        Node.__init__(self, name, **options)
        # LifecycleNode has no argument for this.
        LifecycleNodeMixin.__init__(self, callback_group=MutuallyExclusiveCallbackGroup())
        self.transitions = LongCalls(self)
        service: Any = self._service_change_state  # typed for plain functions only
        service.callback = self.transitions.beside(self._answered(service.callback))

    def _answered(self, change_state: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Refuse a transition that the state does not have; rclpy would raise, and never answer."""

        def answer(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except RuntimeError as error:  # rclpy's RCLError
                self.get_logger().warning(f'transition {request.transition.id} refused: {error}')
                response.success = False
                return response

        return answer

    def destroy_node(self) -> None:
        """Destroy the services of the lifecycle too, and with them the node itself.

        rclpy leaves both to the garbage collector: others see the node until then or, where the
        process ends before, until its lease is over (20 s).
        """
        super().destroy_node()
        del self._state_machine


class ManagedNode(ManagedEntity, ABC):
    """A node with a worker of its own. A subclass says what its transitions do.

    What ``configure`` creates in ROS is destroyed after ``cleanup``, and what ``activate`` creates
    after ``deactivate``. Where one of the four raises, the reason is logged, and the node is
    unconfigured again.
    """

    def __init__(
        self, name: str, parameters: Sequence[Parameter], node_options: dict[str, Any]
    ) -> None:
        self.node = _Node(name, **node_options)
        self._calls = LongCalls(self.node)
        self.finished, self.failure = threading.Event(), ''
        self.values = declare(self.node, parameters)
        logger = self.node.get_logger()
        self.report = Report(logger.warning, logger.info, self._debug)
        self.state = 'unconfigured'
        self._in_transition = threading.Lock()
        self._error: Exception | None = None
        Diagnostics(self.node, self.report, self._describe)
        self._always = self._configured = self._entities()
        self.node.add_managed_entity(self)

    @abstractmethod
    def configure(self) -> None:
        """Load what takes long, and advertise."""

    @abstractmethod
    def activate(self) -> None:
        """Subscribe and begin to work."""

    @abstractmethod
    def deactivate(self) -> None:
        """End the work; the GPU is free afterwards."""

    @abstractmethod
    def cleanup(self) -> None:
        """Forget what ``configure`` loaded."""

    @abstractmethod
    def stop(self, timeout: float) -> bool:
        """End the worker, because the process ends; True when it has ended."""

    def serve(self, *services: tuple[type, str, Serve]) -> None:
        """Advertise services (type, name, callback) that may take long; one of them at a time."""
        group = MutuallyExclusiveCallbackGroup()
        for kind, name, serve in services:
            callback = self._calls.beside(serve)
            self.node.create_service(kind, f'~/{name}', callback, callback_group=group)

    def wait_for_calls(self, timeout: float) -> bool:
        """Wait until all who called have an answer; True when that is so within ``timeout`` s."""
        return self._calls.wait(timeout) and self.node.transitions.wait(timeout)

    def _state(self) -> dict[str, object]:
        """Return what /diagnostics shall say beside the counters; the node is configured."""
        return {}

    def _debug(self, text: str) -> None:
        logger = self.node.get_logger()
        if logger.is_enabled_for(LoggingSeverity.DEBUG):  # else it looks up who called, each time
            logger.debug(text)

    def start(self) -> None:
        """Bring the node up, unless that is left to a lifecycle manager; raises what prevents it.

        The executor is spinning. A manager that is faster than ``autostart`` has the node.
        """
        if not self.values['autostart']:
            self.node.get_logger().info('unconfigured: waiting for a lifecycle manager')
            return
        for transition in (self.node.trigger_configure, self.node.trigger_activate):
            try:
                result = transition()
            except RuntimeError as error:  # rclpy's RCLError: not a transition of this state
                self.node.get_logger().warning(
                    f'autostart has ended, a lifecycle manager was first: {error}'
                )
                return
            if result != TransitionCallbackReturn.SUCCESS:
                raise self._error or RuntimeError('a lifecycle transition failed')

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        return self._attempt(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        return self._attempt(self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        return self._attempt(self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        return self._attempt(self._cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy; the process ends."""
        self._release()
        self.finished.set()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy after a transition that raised; leads to unconfigured."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        self.configure()
        self._configured = self._entities()
        self.state = 'inactive'

    def _activate(self) -> None:
        self.activate()
        self.state = 'active'

    def _deactivate(self) -> None:
        self.state = 'inactive'
        self._destroy(self._entities() - self._configured)
        self.deactivate()

    def _cleanup(self) -> None:
        self.state = 'unconfigured'
        self._calls.wait(ANSWER_SECONDS)  # who waited was turned away by deactivate
        self._destroy(self._entities() - self._always)
        self.cleanup()

    def _release(self) -> None:
        """Go back to unconfigured from anywhere, as far as that is possible."""
        if self.state != 'unconfigured':
            self._attempt(self._deactivate)
            self._attempt(self._cleanup)
        self._destroy(self._entities() - self._always)

    def _attempt(self, step: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            with self._in_transition:
                step()
        except Exception as error:  # rclpy would swallow it
            self._error = error
            self.node.get_logger().error(f'cannot {step.__name__.strip("_")}: {error}')
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _entities(self) -> set[Any]:
        node = self.node
        senders = {*node.publishers, *node.clients, *node.services}
        return {*senders, *node.subscriptions, *node.timers}

    def _destroy(self, entities: Iterable[Any]) -> None:
        """Destroy entities where the executor is not just looking at them: in its own thread.

        What is destroyed under it may raise in its wait (rclpy does not expect it of events), and
        a response may find its service gone.
        """
        entities, executor = list(entities), self.node.executor
        if executor is None or not entities:
            return self._destroy_now(entities)
        done = threading.Event()
        try:
            task = executor.create_task(self._destroy_now, entities)
        except (AttributeError, InvalidHandle):  # it is shut down
            return self._destroy_now(entities)
        task.add_done_callback(lambda _: done.set())
        if done.wait(DESTROY_SECONDS):
            task.result()  # raises what that did
        else:  # it does not spin
            task.cancel()
            self._destroy_now(entities)

    def _destroy_now(self, entities: Iterable[Any]) -> None:
        node = self.node
        for entity in entities:
            _ = (
                node.destroy_publisher(entity)
                or node.destroy_subscription(entity)
                or node.destroy_client(entity)
                or node.destroy_service(entity)
                or node.destroy_timer(entity)
            )

    def _describe(self) -> dict[str, object]:
        if not self._in_transition.acquire(blocking=False):
            return {'state': 'changing'}
        try:
            further = {} if self.state == 'unconfigured' else self._state()
            return {'state': self.state, **further}
        finally:
            self._in_transition.release()
