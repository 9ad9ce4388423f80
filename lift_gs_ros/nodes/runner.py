"""Runs a node until a signal or its own end, and takes it down in order."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from lift_gs_ros.nodes.lifecycle import ANSWER_SECONDS, ManagedNode
from lift_gs_ros.nodes.reporting import ERROR, Report

STOP_SECONDS = 3.0  # ros2 launch sends SIGTERM five seconds after SIGINT


def spin(executor: Executor, report: Report, ending: threading.Event) -> None:
    """Spin until the executor is shut down; a callback that fails is an error of the node.

    Once ``ending`` is set, it is no error, but what is taken down under it, and spinning ends.
    """
    while True:
        try:
            # Leaves with what a callback raises: the node would live on, deaf.
            executor.spin()
            return
        except Exception as error:
            if ending.is_set():
                return
            report.problem('failed_callbacks', f'{type(error).__name__}: {error}', ERROR)


def _start(adapter: ManagedNode) -> None:
    try:
        adapter.start()
    except Exception as error:
        adapter.failure = f'cannot start: {error}'
        adapter.finished.set()


def run(name: str, make: Callable[[], ManagedNode], args: list[str] | None = None) -> None:
    """Run a node to its end and leave the process: 0 after a signal, 1 after a failure."""
    # Read by OpenMP when torch is imported. Threads that spin while they wait for each other keep
    # the processor from those that they wait for, where other nodes want it too.
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    # rclpy's own handlers would shut the context down under a worker that is still publishing.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    try:
        adapter = make()
    except Exception as error:
        rclpy.logging.get_logger(name).fatal(f'cannot start: {error}')
        rclpy.try_shutdown()
        sys.exit(1)
    executor = SingleThreadedExecutor()  # nodes/long_calls.py says why
    executor.add_node(adapter.node)
    ending = threading.Event()
    arguments = executor, adapter.report, ending
    spinning = threading.Thread(target=spin, args=arguments, name='executor', daemon=True)
    spinning.start()
    # In a thread: a signal ends the process also while a model is being loaded.
    starting = threading.Thread(target=_start, args=(adapter,), name='start', daemon=True)
    starting.start()
    while not (interrupted.is_set() or adapter.finished.is_set()):
        interrupted.wait(0.2)
    ended = adapter.stop(STOP_SECONDS) and not starting.is_alive()
    if adapter.failure:
        adapter.node.get_logger().fatal(adapter.failure)
    ended &= adapter.wait_for_calls(ANSWER_SECONDS)
    ending.set()
    executor.shutdown(timeout_sec=0.5)
    spinning.join(0.5)
    if ended and not spinning.is_alive():
        adapter.node.destroy_node()
        rclpy.try_shutdown()
    # All is told to the others. What is left are torch's libraries and perhaps a thread deep in a
    # computation: taking the interpreter down under them takes seconds and can crash.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if adapter.failure else 0)
