"""Cameras, rigid transforms, boxes and point clouds: the vocabulary of every other module.

Conventions, everywhere in this project:

* metres, seconds (stamps are integer nanoseconds), radians;
* ``world_from_camera`` is a (4, 4) matrix that maps camera coordinates to world coordinates;
* the camera is the optical frame of REP-103: x right, y down, z forward;
* ``intrinsics`` is a (3, 3) matrix; the centre of the top-left pixel is at ``(u, v) = (0, 0)``
  (the convention of OpenCV and of ROS ``CameraInfo``);
* quaternions of ROS and scipy are xyzw, those of Gaussian splatting are wxyz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion (images are rectified before they come here)."""

    intrinsics: FloatArray  # (3, 3) float64, pixels
    width: int  # pixels
    height: int  # pixels

    def __post_init__(self) -> None:
        intrinsics = np.asarray(self.intrinsics, dtype=np.float64)
        if intrinsics.shape != (3, 3):
            raise ValueError(f'intrinsics have shape {intrinsics.shape}, expected (3, 3)')
        fx, fy = intrinsics[0, 0], intrinsics[1, 1]
        if not np.isfinite(intrinsics).all() or fx <= 0 or fy <= 0:
            raise ValueError(
                f'focal lengths are ({fx}, {fy}), expected positive numbers of pixels: '
                'is the camera calibrated (CameraInfo.k filled in)?'
            )
        if np.abs(intrinsics[2] - [0, 0, 1]).max() > 1e-6:
            raise ValueError(f'last row of the intrinsics is {intrinsics[2]}, expected [0, 0, 1]')
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f'image size is {self.width}x{self.height}, expected positive')
        object.__setattr__(self, 'intrinsics', intrinsics)

    @classmethod
    def from_focal(
        cls, fx: float, fy: float, cx: float, cy: float, width: int, height: int
    ) -> Camera:
        """Build a camera from focal lengths and principal point, all in pixels."""
        return cls(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64), width, height)

    def resized(self, width: int, height: int) -> Camera:
        """Return the same camera seen in an image of another size.

        Pixel centres are at integers, so the principal point moves by half a pixel:
        ``u' + 0.5 = (u + 0.5) * width' / width``.
        """
        scale = np.array([width / self.width, height / self.height])
        intrinsics = self.intrinsics.copy()
        intrinsics[:2, :2] *= scale[:, None]
        intrinsics[:2, 2] = (intrinsics[:2, 2] + 0.5) * scale - 0.5
        return Camera(intrinsics, width, height)

    def project(self, points: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Project points (..., 3) in the camera frame to pixels (..., 2) and depths (...).

        Points at or behind the camera (z <= 0) have NaN pixels.
        """
        points = np.asarray(points, dtype=np.float64)
        depth = points[..., 2]
        with np.errstate(divide='ignore', invalid='ignore'):
            normalised = np.where(depth[..., None] > 0, points / depth[..., None], np.nan)
        return (normalised @ self.intrinsics.T)[..., :2], depth

    def unproject(self, depth: FloatArray) -> FloatArray:
        """Lift a depth image (H, W) in metres to points (H, W, 3) in the camera frame."""
        if depth.shape != (self.height, self.width):
            raise ValueError(
                f'depth is {depth.shape[1]}x{depth.shape[0]}, '
                f'the camera says {self.width}x{self.height}'
            )
        v, u = np.indices(depth.shape, dtype=np.float64)
        rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(self.intrinsics).T
        return rays * np.asarray(depth, dtype=np.float64)[..., None]


# Pairs of ``Box.corners()`` that an edge joins: they differ in one bit, hence in one axis.
BOX_EDGES = [(i, i | 1 << axis) for i in range(8) for axis in range(3) if not i >> axis & 1]


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in the map frame."""

    center: FloatArray  # (3,) metres
    size: FloatArray  # (3,) full edge lengths, metres

    @classmethod
    def from_corners(cls, lower: ArrayLike, upper: ArrayLike) -> Box:
        """Build a box from its lowest and its highest corner, each (3,)."""
        lower, upper = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
        return cls((lower + upper) / 2, upper - lower)

    @classmethod
    def from_points(cls, points: ArrayLike) -> Box:
        """Box through the extreme corners of points (N, 3), N >= 1 (LIFT-GS, section 4.2.2)."""
        points = np.asarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
            raise ValueError(f'points have shape {points.shape}, expected (N, 3) with N >= 1')
        return cls.from_corners(points.min(axis=0), points.max(axis=0))

    @property
    def lower(self) -> FloatArray:
        """The lowest corner, (3,) metres."""
        return self.center - self.size / 2

    @property
    def upper(self) -> FloatArray:
        """The highest corner, (3,) metres."""
        return self.center + self.size / 2

    @property
    def volume(self) -> float:
        """Cubic metres."""
        return float(np.prod(self.size))

    def corners(self) -> FloatArray:
        """Corners (8, 3); corner ``i`` is upper in x, y, z where its bit 0, 1, 2 is set."""
        bits = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)])
        return self.lower + bits * self.size

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Say which of the points (..., 3) lie inside or on the border: (...) bool."""
        points = np.asarray(points)
        return np.all((points >= self.lower) & (points <= self.upper), axis=-1)

    def iou(self, other: Box) -> float:
        """Intersection over union of two volumes, in [0, 1]; 0 where both are flat."""
        edges = np.minimum(self.upper, other.upper) - np.maximum(self.lower, other.lower)
        intersection = float(np.prod(np.clip(edges, 0, None)))
        union = self.volume + other.volume - intersection
        return intersection / union if union > 0 else 0.0


@dataclass(frozen=True)
class PointCloud:
    """Coloured points in one frame."""

    positions: NDArray[np.float32]  # (N, 3) metres
    colors: NDArray[np.float32]  # (N, 3) red, green, blue in [0, 1]

    def __post_init__(self) -> None:
        positions = np.ascontiguousarray(self.positions, dtype=np.float32)
        colors = np.ascontiguousarray(self.colors, dtype=np.float32)
        if positions.ndim != 2 or positions.shape[1] != 3 or positions.shape != colors.shape:
            raise ValueError(
                f'positions have shape {positions.shape} and colors {colors.shape}, '
                'expected (N, 3) for both'
            )
        object.__setattr__(self, 'positions', positions)
        object.__setattr__(self, 'colors', colors)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: slice | NDArray) -> PointCloud:
        """Select points by a slice, a boolean mask (N,) or indices."""
        return PointCloud(self.positions[index], self.colors[index])

    @classmethod
    def empty(cls) -> PointCloud:
        """Return a cloud of no points."""
        return cls(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))

    @classmethod
    def concatenate(cls, clouds: list[PointCloud]) -> PointCloud:
        """Join clouds of the same frame."""
        if not clouds:
            return cls.empty()
        return cls(
            np.concatenate([cloud.positions for cloud in clouds]),
            np.concatenate([cloud.colors for cloud in clouds]),
        )


def transform_points(transform: FloatArray, points: FloatArray) -> FloatArray:
    """Apply a (4, 4) transform to points (..., 3)."""
    return points @ transform[:3, :3].T + transform[:3, 3]


def invert_transform(transform: FloatArray) -> FloatArray:
    """Invert a rigid (4, 4) transform."""
    inverse = np.eye(4)
    inverse[:3, :3] = transform[:3, :3].T
    inverse[:3, 3] = -transform[:3, :3].T @ transform[:3, 3]
    return inverse


def rigid_transform(matrix: ArrayLike, tolerance: float = 1e-2) -> FloatArray:
    """Check that a (4, 4) matrix is a rigid transform and return the nearest exact one, float64.

    Files and messages round rotations; the nearest rotation in the Frobenius norm is the polar
    factor U V^T of the SVD (Higham 1986). ``tolerance`` bounds the entries of R^T R - I.
    """
    matrix = np.array(matrix, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f'transform has shape {matrix.shape}, expected (4, 4)')
    if not np.isfinite(matrix).all():
        raise ValueError('transform holds NaN or inf, expected a rigid transform')
    rotation = matrix[:3, :3]
    error = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if error > tolerance or np.linalg.det(rotation) < 0:
        raise ValueError(
            f'rotation is off orthonormal by {error:.3g} with determinant '
            f'{np.linalg.det(rotation):.3g}, expected at most {tolerance} and +1'
        )
    if np.abs(matrix[3] - [0, 0, 0, 1]).max() > tolerance:
        raise ValueError(f'last row of the transform is {matrix[3]}, expected [0, 0, 0, 1]')
    u, _, vt = np.linalg.svd(rotation)
    matrix[:3, :3] = u @ vt
    matrix[3] = [0, 0, 0, 1]
    return matrix


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0, 0, 1)) -> FloatArray:
    """Pose ``world_from_camera`` (4, 4) of a camera at ``eye`` that looks at ``target``."""
    eye, target, up = (np.asarray(v, np.float64) for v in (eye, target, up))
    forward = target - eye
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9:
        raise ValueError(f'direction of view {forward} is parallel to up {up}')
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return pose
