"""Memory between blocks that live on is given back; without that, the test's first half fails."""

import ctypes
import os

import numpy as np
import pytest

from lift_gs_ros.nodes.memory import return_freed_memory


def _resident_mb() -> float:
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='not glibc')
def test_holes_between_blocks_that_live_on_are_given_back():
    # Below the size that malloc asks the system for block by block; every fourth one lives on.
    blocks = [np.ones(5_000) for _ in range(10_000)]
    full = _resident_mb()
    lives_on = blocks[::4]
    del blocks
    kept = _resident_mb()
    assert kept > full - 150  # 300 MB are free now, and malloc keeps most of them
    assert return_freed_memory()
    assert _resident_mb() < kept - 150
    assert all(block[0] == 1 for block in lives_on)
