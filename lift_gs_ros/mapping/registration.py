"""Depth as the colour camera would have measured it."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray, rigid_transform

# Half the side of a depth pixel as it is drawn into the colour image. At 0.5 the pixels of a wall
# that faces the camera would tile; the surplus closes the seams of one that does not.
_HALF_SIDE = 0.75
# Colour pixels along a side of a drawn depth pixel: bounds the work where a calibration is absurd.
_MAX_SIDE = 8


def register_depth(
    depth: NDArray[np.float32],  # (h, w) metres in the depth camera, 0 where unknown
    depth_camera: Camera,  # w x h
    color_camera: Camera,  # W x H
    color_from_depth: FloatArray,  # (4, 4), depth camera coordinates to those of the colour camera
) -> NDArray[np.float32]:
    """Move a depth image into the colour camera: (H, W) float32 metres, 0 where unknown.

    Every depth pixel is drawn as the rectangle that it covers in the colour image, so that a
    colour image of more pixels gets no holes; of several surfaces in one pixel the nearest stays.
    What only the colour camera sees has no depth. Both cameras are pinholes (rectified images).

    Raises ValueError where the depth image is of another size than its camera's, or the extrinsic
    is not rigid.
    """
    if depth.shape != (depth_camera.height, depth_camera.width):
        raise ValueError(
            f'depth is {"x".join(map(str, depth.shape[::-1]))}, its camera info says '
            f'{depth_camera.width}x{depth_camera.height}'
        )
    transform = rigid_transform(color_from_depth)
    # A depth pixel (u, v) of depth z lies at the colour pixel q[:2] / q[2], in depth q[2], where
    # q = z * rays @ (u, v, 1) + offset.
    rays = color_camera.intrinsics @ transform[:3, :3] @ np.linalg.inv(depth_camera.intrinsics)
    offset = color_camera.intrinsics @ transform[:3, 3]
    registered = np.full((color_camera.height, color_camera.width), np.inf, np.float32)
    _draw(np.ascontiguousarray(depth, np.float32), rays, offset, registered)
    registered[np.isinf(registered)] = 0
    return registered


@njit(cache=True, nogil=True)
def _draw(
    depth: NDArray[np.float32], rays: FloatArray, offset: FloatArray, image: NDArray[np.float32]
) -> None:
    """Draw every depth pixel as a rectangle of its new depth where nothing nearer is."""
    height, width = image.shape
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            z = depth[v, u]
            if not 0 < z < math.inf:
                continue
            center = z * (rays[2, 0] * u + rays[2, 1] * v + rays[2, 2]) + offset[2]
            if center < 1e-3:
                continue
            left, top = _project(u - _HALF_SIDE, v - _HALF_SIDE, z, rays, offset)
            right, bottom = _project(u + _HALF_SIDE, v + _HALF_SIDE, z, rays, offset)
            first_row, last_row = _pixels(top, bottom, height)
            first_column, last_column = _pixels(left, right, width)
            for row in range(first_row, last_row + 1):
                for column in range(first_column, last_column + 1):
                    image[row, column] = min(image[row, column], np.float32(center))


@njit(cache=True, nogil=True)
def _project(
    u: float, v: float, z: float, rays: FloatArray, offset: FloatArray
) -> tuple[float, float]:
    """Colour pixel of a depth pixel; NaN behind the colour camera."""
    depth = z * (rays[2, 0] * u + rays[2, 1] * v + rays[2, 2]) + offset[2]
    if depth <= 0:
        return math.nan, math.nan
    x = z * (rays[0, 0] * u + rays[0, 1] * v + rays[0, 2]) + offset[0]
    y = z * (rays[1, 0] * u + rays[1, 1] * v + rays[1, 2]) + offset[1]
    return x / depth, y / depth


@njit(cache=True, nogil=True)
def _pixels(one: float, other: float, size: int) -> tuple[int, int]:
    """First and last pixel centre between two borders, inside the image; (0, -1) for none."""
    if math.isnan(one) or math.isnan(other):
        return 0, -1
    first = math.ceil(max(min(one, other), 0.0))
    last = math.floor(min(max(one, other), size - 1.0))
    return first, min(last, first + _MAX_SIDE - 1)
