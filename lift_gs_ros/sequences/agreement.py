"""How well posed depth images agree with each other, under several readings of their conventions.

A point that one frame measures is carried into another frame, where depth was measured too: both
must say the same. Where a recording is read with a wrong convention they do not, and the reading
under which they do names the mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import FloatArray, invert_transform, transform_points
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.sequences.axes import OPENGL_FROM_OPTICAL

POINTS = 1500  # of a frame that are carried into others
TOLERANCE = 0.025  # relative: 5 cm at 2 m; twice the noise of a depth camera at 4 m
GAPS = (1, 2, 4)  # keyframes between the two of a pair
SCALES = (0.001, 0.1, 1 / 5, 1 / 4, 1 / 2.5, 1 / 2, 2, 2.5, 4, 5, 10, 1000)

_TO_OPTICAL = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])


@dataclass(frozen=True)
class Reading:
    """A way to understand a recording: what would be wrong with it, and how to undo that."""

    words: str  # empty: as it is
    pose: Callable[[FloatArray], FloatArray] = lambda pose: pose
    depth_scale: float = 1.0


AS_IS = Reading('')
READINGS = (
    AS_IS,
    Reading('the poses are inverted: they map world to camera, not camera to world', np.linalg.inv),
    Reading(
        "the cameras' axes are those of OpenGL (y up, z backward): turn y and z round",
        lambda pose: pose @ OPENGL_FROM_OPTICAL,
    ),
    Reading(
        'the poses are inverted, and their axes those of OpenGL (y up, z backward)',
        lambda pose: np.linalg.inv(pose) @ OPENGL_FROM_OPTICAL,
    ),
    Reading(
        'the poses are those of a body (x forward, z up), not of the optical frame (z forward)',
        lambda pose: pose @ _TO_OPTICAL,
    ),
    *(
        Reading(
            f'depth is {1 / scale:g} times too large for the poses'
            if scale < 1
            else f'depth is {scale:g} times too small for the poses',
            depth_scale=scale,
        )
        for scale in SCALES
    ),
)


@dataclass(frozen=True)
class Agreement:
    """How well pairs of frames agree."""

    share: float  # of the points that fall on a measured pixel of the other frame (or out of sight)
    error: float  # median relative difference of depth, of those that fall on a measured pixel


def pairs_of(frames: list[RgbdFrame]) -> list[tuple[RgbdFrame, RgbdFrame]]:
    """Frames near enough to see the same things, and far enough to see them differently."""
    return [(frames[i], frames[i + gap]) for gap in GAPS for i in range(0, len(frames) - gap, gap)]


def measure(pairs: list[tuple[RgbdFrame, RgbdFrame]], reading: Reading = AS_IS) -> Agreement:
    """Measure how well pairs (one at least) agree when they are understood in a certain way."""
    differences = [_differences(first, second, reading) for first, second in pairs]
    total = sum(len(difference) for difference in differences)
    known = np.abs(np.concatenate([d[np.isfinite(d)] for d in differences]))
    if not len(known):
        return Agreement(0.0, np.inf)
    return Agreement(float(np.sum(known < TOLERANCE) / total), float(np.median(known)))


def _differences(first: RgbdFrame, second: RgbdFrame, reading: Reading) -> FloatArray:
    """Relative differences of depth of up to POINTS points; NaN out of sight."""
    rows, columns = np.nonzero(first.depth)
    step = max(1, len(rows) // POINTS)
    rows, columns = rows[::step], columns[::step]
    depth = reading.depth_scale * first.depth[rows, columns].astype(np.float64)
    image = np.zeros(first.depth.shape)
    image[rows, columns] = depth
    points = first.camera.unproject(image)[rows, columns]
    expected, measured, _ = carried(points, first, second, reading)
    return (expected - measured) / measured


def carried(
    points: FloatArray, first: RgbdFrame, second: RgbdFrame, reading: Reading = AS_IS
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Carry points (N, 3) of one camera into another.

    Returns the depths (N,) that they have there, those that were measured there (N,) (NaN: none,
    or out of sight), and the pixels (N, 2) as (u, v), clipped to the image.
    """
    poses = reading.pose(first.world_from_camera), reading.pose(second.world_from_camera)
    there = transform_points(invert_transform(poses[1]) @ poses[0], points)
    projected, expected = second.camera.project(there)
    size = np.array([second.camera.width, second.camera.height])
    with np.errstate(invalid='ignore'):
        inside = np.all((projected > -0.5) & (projected < size - 0.5), axis=1)
    pixels = np.rint(np.where(inside[:, None], projected, 0)).astype(np.int64)
    measured = reading.depth_scale * second.depth[pixels[:, 1], pixels[:, 0]].astype(np.float64)
    return expected, np.where(inside & (measured > 0), measured, np.nan), pixels
