"""Which 2D region a 3D point lies in, by depth (Mosaic3D, equation 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray, invert_transform, transform_points
from training.data.pseudo_labels import NONE


def regions_of_points(
    points: NDArray[np.float32],  # (N, 3) metres, world
    camera: Camera,
    world_from_camera: FloatArray,  # (4, 4)
    depth: NDArray[np.float32],  # (H, W) metres, 0 where unknown
    semantics: NDArray[np.integer],  # (H, W) index of the mask, -1 where there is none
    tolerance: float = 0.08,  # metres between a visible point and the measured depth
) -> NDArray[np.int64]:
    """Return the index of the mask that each point (N,) is seen in, -1 where it is in none.

    A point is seen where its depth is the measured one; what is hidden, outside the image or where
    nothing was measured is in no mask. ``regions == k`` is the 3D mask ``s_k`` of the equation.
    """
    in_camera = transform_points(invert_transform(world_from_camera), points)
    pixels, distance = camera.project(in_camera)
    column, row = np.rint(np.nan_to_num(pixels, nan=-1)).T
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    index = np.flatnonzero(inside)
    row, column = row[index].astype(int), column[index].astype(int)
    measured = depth[row, column]
    seen = (measured > 0) & (np.abs(distance[index] - measured) <= tolerance)
    regions = np.full(len(points), NONE, np.int64)
    regions[index[seen]] = semantics[row, column][seen]
    return regions
