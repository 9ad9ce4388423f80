"""Depth as the colour camera would have seen it, from a depth camera beside it."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray, rigid_transform

# A depth pixel covers at most so many colour pixels in each direction (very near surfaces).
_MAX_FOOTPRINT = 16


def register_depth(
    depth: NDArray[np.float32],  # (H, W) metres along the axis of the depth camera, 0: unknown
    depth_camera: Camera,
    color_camera: Camera,
    color_from_depth: FloatArray,  # (4, 4), both optical frames
) -> NDArray[np.float32]:
    """Return depth (H', W') in the colour camera's image, metres along its axis, 0: unknown.

    A depth pixel becomes the rectangle of colour pixels that its corners project to, so that a
    finer colour image gets no holes; where several surfaces meet, the nearest one counts. Pixels
    that the depth camera does not see (beside and behind near surfaces) stay unknown.
    """
    if depth.shape != (depth_camera.height, depth_camera.width):
        raise ValueError(
            f'depth is {depth.shape}, expected {(depth_camera.height, depth_camera.width)} from '
            'the depth camera info'
        )
    transform = rigid_transform(color_from_depth)
    to_color = color_camera.intrinsics @ transform[:3, :3] @ np.linalg.inv(depth_camera.intrinsics)
    offset = color_camera.intrinsics @ transform[:3, 3]
    registered = np.full((color_camera.height, color_camera.width), np.inf, np.float32)
    _splat(np.ascontiguousarray(depth, np.float32), to_color, offset, registered)
    registered[np.isinf(registered)] = 0
    return registered


@njit(cache=True, nogil=True)
def _splat(depth, to_color, offset, registered):
    height, width = registered.shape
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            z = depth[v, u]
            if not z > 0:
                continue
            # Homogeneous colour pixel of the centre, and how it changes along u and v.
            x = z * (to_color[0, 0] * u + to_color[0, 1] * v + to_color[0, 2]) + offset[0]
            y = z * (to_color[1, 0] * u + to_color[1, 1] * v + to_color[1, 2]) + offset[1]
            w = z * (to_color[2, 0] * u + to_color[2, 1] * v + to_color[2, 2]) + offset[2]
            if w < 1e-3:  # at or behind the colour camera
                continue
            half_x = 0.5 * z / w * (abs(to_color[0, 0]) + abs(to_color[0, 1]))
            half_y = 0.5 * z / w * (abs(to_color[1, 0]) + abs(to_color[1, 1]))
            half_x, half_y = min(half_x, _MAX_FOOTPRINT), min(half_y, _MAX_FOOTPRINT)
            left, right = math.ceil(x / w - half_x), math.ceil(x / w + half_x)
            top, bottom = math.ceil(y / w - half_y), math.ceil(y / w + half_y)
            for row in range(max(top, 0), min(bottom, height)):
                for column in range(max(left, 0), min(right, width)):
                    registered[row, column] = min(registered[row, column], w)
