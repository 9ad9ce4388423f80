"""Compiled inner loops of the voxel map (numba, one core, without the GIL).

A voxel is addressed by its integer coordinates, counted from the lowest corner of chunk (0, 0, 0),
packed into one int64, 21 bits an axis. Hash tables are open addressing with linear probing:
``table`` holds row numbers (-1 where free), its length is a power of two, and at most half of it is
filled.
"""

from __future__ import annotations

import numpy as np
from numba import njit

AXIS_BITS = 21
AXIS_LIMIT = 1 << (AXIS_BITS - 1)  # voxel coordinates lie in [-AXIS_LIMIT, AXIS_LIMIT)
AXIS_MASK = (1 << AXIS_BITS) - 1

# Columns of a frame's sums: pixels, position within the voxel (in voxels), colour (0 to 255).
SUM_COLUMNS = 7
# Columns of a chunk's values: mean position relative to the chunk's corner (metres), mean colour
# (0 to 1), weight (the binary logarithm of pixels, those of later frames counting more, so that all
# others fade: logarithms neither end nor lose their ratios, however long ago it was) and evidence
# (how often seen, less how often seen through).
VALUE_COLUMNS = 8
WEIGHT, EVIDENCE = 6, 7
ROUNDING = 0.005  # of weights: float32 holds them so well for a million keyframes

TILE = 4  # pixels; carving asks for the nearest depth per tile instead of per pixel
# Depth is unknown in a tile with this many of its 16 pixels invalid: one column of dropouts, the
# shadow of something thin, forbids carving there, and a few scattered dropouts do not.
MAX_INVALID = 4


@njit(cache=True, nogil=True, inline='always')
def _slot(key, table):
    """First slot to probe for a key (Fibonacci hashing, Knuth 6.4).

    Unsigned, here and below: numba need not ask whether an index counts from the end.
    """
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(32)) & np.uint64(len(table) - 1)


@njit(cache=True, nogil=True, inline='always')
def _next_slot(slot, table):
    return (slot + np.uint64(1)) & np.uint64(len(table) - 1)


@njit(cache=True, nogil=True)
def find_or_add(key, table, keys, count):
    """Row of a key in ``keys``; ``count`` (the next free row, now taken) where it was not there."""
    slot = _slot(key, table)
    while table[slot] >= 0:
        row = np.uint64(table[slot])
        if keys[row] == key:
            return np.int64(row)
        slot = _next_slot(slot, table)
    table[slot] = count
    keys[count] = key
    return np.int64(count)


@njit(cache=True, nogil=True, inline='always')
def _sum_row(key, table, keys, sums, count):
    """Row of a voxel in a frame's sums, cleared where it is a new one."""
    row = find_or_add(key, table, keys, count)
    if row == count:
        sums[row] = 0.0
    return row


@njit(cache=True, nogil=True)
def rebuild_index(keys, count, table):
    """Fill ``table`` anew from the first ``count`` keys, all different."""
    table[:] = -1
    for row in range(count):
        slot = _slot(keys[row], table)
        while table[slot] >= 0:
            slot = _next_slot(slot, table)
        table[slot] = row


@njit(cache=True, nogil=True, inline='always')
def _pack(x, y, z):
    return (
        ((x + AXIS_LIMIT) << (2 * AXIS_BITS)) | ((y + AXIS_LIMIT) << AXIS_BITS) | (z + AXIS_LIMIT)
    )


@njit(cache=True, nogil=True, inline='always')
def _unpack(key):
    x = (key >> (2 * AXIS_BITS)) - AXIS_LIMIT
    y = ((key >> AXIS_BITS) & AXIS_MASK) - AXIS_LIMIT
    return x, y, (key & AXIS_MASK) - AXIS_LIMIT


@njit(cache=True, nogil=True)
def _cells_of_row(depth_row, row_ray, step, offset, origin_cell, near, far, cells):
    """Write the packed voxel of every pixel of an image row, -1 where there is none.

    All in float32 relative to the camera's voxel, without a branch: the compiler vectorises it.
    """
    ray_x, ray_y, ray_z = np.float32(row_ray[0]), np.float32(row_ray[1]), np.float32(row_ray[2])
    step_x, step_y, step_z = np.float32(step[0]), np.float32(step[1]), np.float32(step[2])
    x0, y0, z0 = np.float32(offset[0]), np.float32(offset[1]), np.float32(offset[2])
    near, far = np.float32(near), np.float32(far)
    for u in range(len(depth_row)):
        d, column = depth_row[u], np.float32(u)
        x = np.int64(np.int32(np.floor(x0 + d * (step_x * column + ray_x))))
        y = np.int64(np.int32(np.floor(y0 + d * (step_y * column + ray_y))))
        z = np.int64(np.int32(np.floor(z0 + d * (step_z * column + ray_z))))
        cell = origin_cell + (x << (2 * AXIS_BITS)) + (y << AXIS_BITS) + z
        cells[u] = cell if (d >= near) & (d <= far) else np.int64(-1)


@njit(cache=True, nogil=True)
def accumulate_frame(depth, color, rays, origin, near, far, table, keys, sums):
    """Sum the pixels of a frame per voxel; return the number of voxels, -1 where they do not fit.

    ``rays`` (3, 3) maps (u, v, 1) to the world ray of depth 1 and ``origin`` (3,) is the camera,
    both in voxels. ``table`` comes in free (-1), rows of ``sums`` (C, 7) are cleared when taken.
    """
    width = depth.shape[1]
    cells = np.empty(width + 1, np.int64)
    corner = np.floor(origin)
    offset = origin - corner
    origin_cell = _pack(np.int64(corner[0]), np.int64(corner[1]), np.int64(corner[2]))
    count = 0
    for v in range(depth.shape[0]):
        row_ray = rays[:, 1] * v + rays[:, 2]
        _cells_of_row(depth[v], row_ray, rays[:, 0], offset, origin_cell, near, far, cells)
        cells[width] = -1
        # Neighbouring pixels mostly fall into the same voxel: one look-up for a run of them. The
        # positions of a run, d (u step + row_ray), add up from the sums of d and of d u.
        last, start, sum_d, sum_du, red, green, blue = np.int64(-1), 0, 0.0, 0.0, 0, 0, 0
        for u in range(width + 1):
            if cells[u] != last:
                if last >= 0:
                    if count == len(keys):
                        return -1
                    row = _sum_row(last, table, keys, sums, count)
                    count = max(count, row + 1)
                    pixels, voxel = u - start, _unpack(last)
                    sums[row, 0] += pixels
                    for axis in range(3):
                        reach = rays[axis, 0] * sum_du + row_ray[axis] * sum_d
                        sums[row, 1 + axis] += pixels * (origin[axis] - voxel[axis]) + reach
                    sums[row, 4] += red
                    sums[row, 5] += green
                    sums[row, 6] += blue
                last, start, sum_d, sum_du, red, green, blue = cells[u], u, 0.0, 0.0, 0, 0, 0
            if last >= 0:
                d = np.float64(depth[v, u])
                sum_d += d
                sum_du += d * u
                red += color[v, u, 0]
                green += color[v, u, 1]
                blue += color[v, u, 2]
    return count


@njit(cache=True, nogil=True)
def accumulate_points(points, colors, table, keys, sums):
    """Sum points (N, 3), in voxels, per voxel; as ``accumulate_frame``, colours from 0 to 1."""
    count = 0
    for i in range(len(points)):
        x, y, z = np.floor(points[i, 0]), np.floor(points[i, 1]), np.floor(points[i, 2])
        if count == len(keys):
            return -1
        row = _sum_row(_pack(np.int64(x), np.int64(y), np.int64(z)), table, keys, sums, count)
        count = max(count, row + 1)
        sums[row, 0] += 1.0
        sums[row, 1] += points[i, 0] - x
        sums[row, 2] += points[i, 1] - y
        sums[row, 3] += points[i, 2] - z
        for channel in range(3):
            sums[row, 4 + channel] += 255.0 * colors[i, channel]
    return count


@njit(cache=True, nogil=True)
def group_by_chunk(keys, count, cells):
    """Sort a frame's voxels by the chunk (``cells`` voxels an edge) they lie in.

    Returns chunk coordinates (M, 3), where each chunk's voxels start in ``order`` (M + 1,),
    ``order`` (count,) and every voxel's code within its chunk, ``(x * cells + y) * cells + z``.
    """
    length = 2
    while length < 2 * count:
        length *= 2
    table = np.full(length, -1, np.int32)
    packed = np.empty(count, np.int64)
    chunks = np.empty((count, 3), np.int64)
    chunk_of = np.empty(count, np.int32)
    codes = np.empty(count, np.int32)
    starts = np.zeros(count + 2, np.int64)
    num_chunks = 0
    for i in range(count):
        x, y, z = _unpack(keys[i])
        cx, cy, cz = x // cells, y // cells, z // cells
        chunk = find_or_add(_pack(cx, cy, cz), table, packed, num_chunks)
        if chunk == num_chunks:
            chunks[chunk, 0], chunks[chunk, 1], chunks[chunk, 2] = cx, cy, cz
            num_chunks += 1
        chunk_of[i] = chunk
        codes[i] = ((x - cx * cells) * cells + y - cy * cells) * cells + z - cz * cells
        starts[chunk + 2] += 1
    for chunk in range(num_chunks):
        starts[chunk + 2] += starts[chunk + 1]
    order = np.empty(count, np.int64)
    for i in range(count):
        order[starts[chunk_of[i] + 1]] = i
        starts[chunk_of[i] + 1] += 1
    return chunks[:num_chunks], starts[: num_chunks + 1], order, codes


@njit(cache=True, nogil=True)
def merge(
    frame_codes,
    sums,
    order,
    voxel_size,
    cells,
    max_weight,
    max_evidence,
    gain,
    table,
    codes,
    values,
    size,
):
    """Merge a frame's voxels ``order`` of one chunk into its store; return the new size.

    Running mean ``m += n / (w + n) (mean of the n pixels - m)``; here the weight w of the pixels
    before counts as ``max_weight n`` at most, so that what a surface looks like now wins soon,
    and as soon for a surface of few pixels (far, oblique, a small image) as for one of many.
    Logarithms of weights are stored plus ``gain``, which grows from frame to frame: so all older
    ones fade.
    """
    for i in order:
        code = frame_codes[i]
        row = find_or_add(code, table, codes, size)
        if row == size:
            values[row] = 0.0
            values[row, WEIGHT] = -np.inf
            size += 1
        pixels = sums[i, 0]
        before = 2.0 ** (values[row, WEIGHT] - gain)
        share = pixels / (min(before, max_weight * pixels) + pixels)
        cell = (code // (cells * cells), code // cells % cells, code % cells)
        for axis in range(3):
            position = (cell[axis] + sums[i, 1 + axis] / pixels) * voxel_size
            color = sums[i, 4 + axis] / (255.0 * pixels)
            values[row, axis] += share * (position - values[row, axis])
            values[row, 3 + axis] += share * (color - values[row, 3 + axis])
        values[row, WEIGHT] = gain + np.log2(before + pixels)
        values[row, EVIDENCE] = min(values[row, EVIDENCE] + 1.0, max_evidence)
    return size


@njit(cache=True, nogil=True, inline='always')
def _weight_at(code, table, codes, values):
    """Weight (logarithm) of a chunk's voxel, minus infinity where there is none."""
    slot = _slot(code, table)
    while table[slot] >= 0:
        row = np.uint64(table[slot])
        if codes[row] == code:
            return values[row, WEIGHT]
        slot = _next_slot(slot, table)
    return np.float32(-np.inf)


@njit(cache=True, nogil=True)
def supported(codes, values, size, table, cells, min_support):
    """Say which voxels (size,) weigh ``min_support`` of each face neighbour in the chunk."""
    keep = np.ones(size, np.bool_)
    share = np.log2(min_support) - ROUNDING
    steps = (cells * cells, cells, 1)
    for row in range(size):
        code = codes[row]
        for step in steps:
            along = code // step % cells
            heaviest = np.float32(-np.inf)
            if along > 0:
                heaviest = _weight_at(np.int32(code - step), table, codes, values)
            if along < cells - 1:
                above = _weight_at(np.int32(code + step), table, codes, values)
                heaviest = max(heaviest, above)
            if values[row, WEIGHT] < heaviest + share:
                keep[row] = False
                break
    return keep


@njit(cache=True, nogil=True)
def nearest_depth(depth, tiles):
    """Write the nearest valid depth of every tile, 0 where unknown; return the largest of them."""
    largest = np.float32(0)
    width = tiles.shape[1] * TILE
    nearest, invalid = np.empty(width, np.float32), np.empty(width, np.int32)
    for i in range(tiles.shape[0]):
        nearest[:] = np.inf
        invalid[:] = 0
        for v in range(i * TILE, (i + 1) * TILE):
            for u in range(width):  # columns first: the compiler vectorises this loop
                d = depth[v, u]
                nearest[u] = min(nearest[u], d if d > 0 else np.float32(np.inf))
                invalid[u] += d <= 0
        for j in range(tiles.shape[1]):
            tile, unknown = nearest[j * TILE], invalid[j * TILE]
            for u in range(j * TILE + 1, (j + 1) * TILE):
                tile = min(tile, nearest[u])
                unknown += invalid[u]
            tiles[i, j] = tile if unknown < MAX_INVALID else 0
            largest = max(largest, tiles[i, j])
    return largest


@njit(cache=True, nogil=True)
def _is_seen_through(u, v, z, radius_u, radius_v, margin, tiles):
    """Whether every tile that a voxel at depth ``z`` covers shows only what lies well behind."""
    left, right = np.int64(np.floor((u - radius_u) / TILE)), np.int64((u + radius_u) / TILE)
    top, bottom = np.int64(np.floor((v - radius_v) / TILE)), np.int64((v + radius_v) / TILE)
    if left < 0 or top < 0 or right >= tiles.shape[1] or bottom >= tiles.shape[0]:
        return False
    for i in range(top, bottom + 1):
        for j in range(left, right + 1):
            if tiles[i, j] < z + margin:
                return False
    return True


@njit(cache=True, nogil=True)
def carve(camera_from_chunk, intrinsics, near, far, voxel_size, margin, tiles, codes, values, size):
    """Take evidence from the voxels that the camera sees through; return the size that remains.

    Voxels without evidence leave, and the others close up (the caller rebuilds the index).
    ``camera_from_chunk`` (4, 4) starts from the chunk's corner, in metres.
    """
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    transform = camera_from_chunk
    kept = 0
    for row in range(size):
        px, py, pz = values[row, 0], values[row, 1], values[row, 2]
        z = transform[2, 0] * px + transform[2, 1] * py + transform[2, 2] * pz + transform[2, 3]
        if near <= z <= far:
            x = transform[0, 0] * px + transform[0, 1] * py + transform[0, 2] * pz + transform[0, 3]
            y = transform[1, 0] * px + transform[1, 1] * py + transform[1, 2] * pz + transform[1, 3]
            radius = 0.5 * voxel_size / z
            u, v = fx * x / z + cx, fy * y / z + cy
            if _is_seen_through(u, v, z, fx * radius, fy * radius, margin, tiles):
                values[row, EVIDENCE] -= 1.0
        if values[row, EVIDENCE] > 0:
            if kept < row:
                codes[kept] = codes[row]
                values[kept] = values[row]
            kept += 1
    return kept
