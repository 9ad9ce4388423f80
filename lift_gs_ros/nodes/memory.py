"""Memory that was freed goes back to the system, so that a node that runs for days stays flat."""

from __future__ import annotations

import ctypes


def return_freed_memory() -> bool:
    """Give the system what the C library keeps of freed memory; True where there was any.

    Arrays of ever changing sizes leave holes between blocks that live longer, and glibc keeps the
    pages of those. Takes a tenth of a second where a gigabyte is free, some milliseconds where
    nothing is; other threads go on meanwhile. False under another C library.
    """
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    return bool(trim(0)) if trim is not None else False
