"""What a node's program does before the imports that take seconds."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys


def start(node: str) -> None:
    """Run a node's module: `start('mapping_node')`. Ctrl-C ends it quietly from the beginning."""
    # Until the node has handlers of its own.
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    if parent := os.environ.get('LIFT_GS_ROS_END_WITH_PARENT'):  # set by the launch file
        _end_with_parent(int(parent))
    importlib.import_module(f'lift_gs_ros.nodes.{node}').main()


def _end_with_parent(parent: int) -> None:
    """Let the kernel (Linux) send SIGTERM when the parent process is gone, however it went."""
    pr_set_pdeathsig = 1
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
        if _is_gone(parent):  # before the kernel knew
            os.kill(os.getpid(), signal.SIGTERM)


def _is_gone(parent: int) -> bool:
    """Say whether a process has ended that this one was started by, perhaps through another one."""
    if os.getppid() in (parent, 1):
        return os.getppid() != parent
    try:
        os.kill(parent, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it runs, as another user
        return False
    return False
