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
_NUMBERS = types.Array(types.float32, 1, 'C', readonly=True)
_BYTES = types.Array(types.uint8, 3, 'C', readonly=True)
_ROW = types.Array(types.uint8, 1, 'C', readonly=True)

LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)  # of a colour channel's byte


@njit(types.boolean(_NUMBERS), cache=True, nogil=True)
def _all_finite(numbers):
    bad = np.int32(0)
    for i in range(len(numbers)):
        bad |= np.int32(0) if numbers[i] * np.float32(0) == np.float32(0) else np.int32(1)
    return bad == 0


@njit(types.void(_NUMBERS, types.uint64, types.uint64, types.float32[::1]), cache=True, nogil=True)
def _unpack_positions(numbers, width, first, positions):
    """Copy three neighbours of every ``width`` numbers, which have a fourth one after them."""
    rows = len(positions) // 3
    for i in range(rows - 1):
        o, a = width * np.uint64(i) + first, np.uint64(3 * i)
        # Four at once are one instruction; the next point takes the place of the fourth.
        x, y, z, w = (
            numbers[o],
            numbers[o + np.uint64(1)],
            numbers[o + np.uint64(2)],
            numbers[o + np.uint64(3)],
        )
        positions[a], positions[a + np.uint64(1)] = x, y
        positions[a + np.uint64(2)], positions[a + np.uint64(3)] = z, w
    if rows:
        for k in range(3):
            positions[3 * (rows - 1) + k] = numbers[width * (rows - 1) + first + k]


@njit(types.void(_WORDS, types.uint64, _NUMBERS, types.float32[::1]), cache=True, nogil=True)
def _unpack_colors(words, column, levels, colors):
    for i in range(len(words)):
        rgb, a = words[np.uint64(i), column], np.uint64(3 * i)
        red = levels[(rgb >> np.uint32(16)) & np.uint32(255)]
        green, blue = levels[(rgb >> np.uint32(8)) & np.uint32(255)], levels[rgb & np.uint32(255)]
        colors[a], colors[a + np.uint64(1)], colors[a + np.uint64(2)] = red, green, blue


@njit(
    types.intp(_FLOATS, _WORDS, types.uint64[::1], _NUMBERS, _POINTS, _POINTS),
    cache=True,
    nogil=True,
)
def unpack_points(floats, words, columns, levels, positions, colors):
    """Fill in the points that are finite; return how many those are.

    ``floats`` and ``words`` (N, K) are the same memory; ``columns`` says where in a row x, y, z and
    0xAARRGGBB are. ``positions`` and ``colors`` are (N, 3).
    """
    x, y, z, c = columns[0], columns[1], columns[2], columns[3]
    width = np.uint64(floats.shape[1])
    if y == x + np.uint64(1) and z == x + np.uint64(2) and z + np.uint64(1) < width:
        _unpack_positions(floats.reshape(floats.size), width, x, positions.reshape(positions.size))
        if _all_finite(positions.reshape(positions.size)):
            _unpack_colors(words, c, levels, colors.reshape(colors.size))
            return len(floats)
    count = np.uint64(0)
    for i in range(len(floats)):
        a, b, d, rgb = floats[i, x], floats[i, y], floats[i, z], words[i, c]
        positions[count, 0], positions[count, 1], positions[count, 2] = a, b, d
        colors[count, 0] = levels[(rgb >> np.uint32(16)) & np.uint32(255)]
        colors[count, 1] = levels[(rgb >> np.uint32(8)) & np.uint32(255)]
        colors[count, 2] = levels[rgb & np.uint32(255)]
        # Kept unless one of them is NaN or inf: then the next point takes its place.
        count += np.uint64(np.isfinite(a) and np.isfinite(b) and np.isfinite(d))
    return count


@njit(cache=True, nogil=True, inline='always')
def _byte(level):
    # In this order NaN is black: a comparison with it is false.
    level = max(level * np.float32(255) + np.float32(0.5), np.float32(0))
    return np.int32(min(level, np.float32(255)))


@njit(types.void(_NUMBERS, _NUMBERS, types.float32[::1]), cache=True, nogil=True)
def _interleave(positions, colors, out):
    words = out.view(np.int32)
    for i in range(len(out) // 4):
        a, o = np.uint64(3 * i), np.uint64(4 * i)
        red, green = _byte(colors[a]), _byte(colors[a + np.uint64(1)])
        blue = _byte(colors[a + np.uint64(2)])
        x, y, z = positions[a], positions[a + np.uint64(1)], positions[a + np.uint64(2)]
        out[o], out[o + np.uint64(1)], out[o + np.uint64(2)] = x, y, z
        words[o + np.uint64(3)] = (red << np.int32(16)) | (green << np.int32(8)) | blue


@njit(types.void(_FLOATS, _FLOATS, types.float32[::1]), cache=True, nogil=True)
def pack_points(positions, colors, out):
    """Fill in x, y, z and 0x00RRGGBB of points (N, 3) with colours (N, 3) in [0, 1]: (4 N,)."""
    _interleave(positions.reshape(positions.size), colors.reshape(colors.size), out)


@njit(types.void(_ROW, types.uint8[::1]), cache=True, nogil=True)
def swap_channels(pixels, out):
    """Turn round the three channels of pixels (3 N,): blue, green, red to red, green, blue."""
    for i in range(len(out) // 3):
        a = np.uint64(3 * i)
        out[a], out[a + np.uint64(1)] = pixels[a + np.uint64(2)], pixels[a + np.uint64(1)]
        out[a + np.uint64(2)] = pixels[a]


@njit(types.void(_BYTES, types.uint64[::1], types.uint8[:, :, ::1]), cache=True, nogil=True)
def reorder(pixels, order, out):
    """Copy three of the channels of ``pixels`` (H, W, C), in this order, to ``out`` (H, W, 3)."""
    red, green, blue = order[0], order[1], order[2]
    for v in range(pixels.shape[0]):
        for u in range(pixels.shape[1]):
            out[v, u, 0] = pixels[v, u, red]
            out[v, u, 1] = pixels[v, u, green]
            out[v, u, 2] = pixels[v, u, blue]


@njit(types.void(_NUMBERS, types.float32, types.uint16[::1]), cache=True, nogil=True)
def round_to_millimetres(metres, most, out):
    """Round depths (N,); 0 for what is not in [0, ``most``] millimetres, and for NaN."""
    for i in range(len(metres)):
        value = metres[i] * np.float32(1000)
        fits = (value >= np.float32(0)) & (value <= most)
        out[i] = np.uint16(np.int32(np.rint(value if fits else np.float32(0))))


@njit(types.void(_NUMBERS, types.float32[::1]), cache=True, nogil=True)
def unknown_as_nan(metres, out):
    """Copy depths (N,), NaN for those that are not above 0."""
    for i in range(len(metres)):
        out[i] = metres[i] if metres[i] > 0 else np.float32(np.nan)


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
