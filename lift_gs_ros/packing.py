"""Compiled inner loops between messages and arrays (numba): one pass over points or pixels.

Compiled when imported, from the cache after the first time: no callback waits for that. Indices are
unsigned: numba need not ask whether they count from the end.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

# Read-only: the bytes of a message need not be writable. A writable array is taken too.
_WORDS = types.Array(types.uint32, 2, 'C', readonly=True)
_FLOATS = types.Array(types.float32, 2, 'C', readonly=True)
_POINTS = types.float32[:, ::1]
_LEVELS = types.Array(types.float32, 1, 'C', readonly=True)
_BYTES = types.Array(types.uint8, 3, 'C', readonly=True)

LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)  # of a colour channel's byte


@njit(cache=True, nogil=True, inline='always')
def _all_finite(a, b, d):
    return np.isfinite(a) and np.isfinite(b) and np.isfinite(d)


@njit(
    types.intp(_FLOATS, _WORDS, types.uint64[::1], _LEVELS, _POINTS, _POINTS),
    cache=True,
    nogil=True,
)
def unpack_points(floats, words, columns, levels, positions, colors):
    """Fill in the points that are finite; return how many those are.

    ``floats`` and ``words`` (N, K) are the same memory; ``columns`` says where in a row x, y, z and
    0xAARRGGBB are. ``positions`` and ``colors`` are (N, 3).
    """
    x, y, z, c = columns[0], columns[1], columns[2], columns[3]
    count = np.uint64(0)
    for i in range(len(floats)):
        a, b, d, rgb = floats[i, x], floats[i, y], floats[i, z], words[i, c]
        positions[count, 0], positions[count, 1], positions[count, 2] = a, b, d
        colors[count, 0] = levels[(rgb >> np.uint32(16)) & np.uint32(255)]
        colors[count, 1] = levels[(rgb >> np.uint32(8)) & np.uint32(255)]
        colors[count, 2] = levels[rgb & np.uint32(255)]
        # Kept unless one of them is NaN or inf: then the next point takes its place.
        count += np.uint64(np.isfinite(a + b + d) or _all_finite(a, b, d))
    return count


@njit(cache=True, nogil=True, inline='always')
def _byte(level):
    level = min(max(level, np.float32(0)), np.float32(1))
    return np.uint32(np.int32(level * np.float32(255) + np.float32(0.5)))


@njit(types.void(_FLOATS, _FLOATS, _POINTS, types.uint32[:, ::1]), cache=True, nogil=True)
def pack_points(positions, colors, floats, words):
    """Fill in x, y, z and 0x00RRGGBB; ``floats`` and ``words`` (N, 4) are the same memory."""
    for i in range(len(positions)):
        floats[i, 0], floats[i, 1], floats[i, 2] = positions[i, 0], positions[i, 1], positions[i, 2]
        red, green, blue = _byte(colors[i, 0]), _byte(colors[i, 1]), _byte(colors[i, 2])
        words[i, 3] = (red << np.uint32(16)) | (green << np.uint32(8)) | blue


@njit(types.void(_BYTES, types.uint64[::1], types.uint8[:, :, ::1]), cache=True, nogil=True)
def reorder(pixels, order, out):
    """Copy three of the channels of ``pixels`` (H, W, C), in this order, to ``out`` (H, W, 3)."""
    red, green, blue = order[0], order[1], order[2]
    for v in range(pixels.shape[0]):
        for u in range(pixels.shape[1]):
            out[v, u, 0] = pixels[v, u, red]
            out[v, u, 1] = pixels[v, u, green]
            out[v, u, 2] = pixels[v, u, blue]


@njit(
    [
        types.void(
            types.Array(kind, 1, 'C', readonly=True), kind, types.float32, types.float32[::1]
        )
        for kind in (types.uint16, types.float32)
    ],
    cache=True,
    nogil=True,
)
def scale_depth(raw, invalid, scale, metres):
    """Multiply depths (N,) in (0, ``invalid``) by ``scale``; all others, and NaN, become 0."""
    for i in range(len(raw)):
        valid = raw[i] > 0 and raw[i] < invalid
        metres[i] = np.float32(raw[i]) * scale if valid else np.float32(0)
