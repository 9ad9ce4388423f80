"""Poses over time, and at a stamp between two of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation, Slerp

from lift_gs_ros.geometry import FloatArray

NANOSECONDS = 1_000_000_000


class Trajectory:
    """Poses of one frame in another, sorted by stamp.

    Args:
        stamps: (N,) integer nanoseconds, in any order; of equal ones the last counts.
        poses: (N, 7) position in metres and quaternion x y z w of any length. Rows that are no
            pose (NaN, inf, a quaternion shorter than 0.5) are left out.
        max_gap: seconds between two poses that may be interpolated.

    """

    def __init__(self, stamps: ArrayLike, poses: ArrayLike, max_gap: float = np.inf) -> None:
        times = np.asarray(stamps, np.int64)
        rows = np.asarray(poses, np.float64).reshape(-1, 7)
        good = np.isfinite(rows).all(axis=1) & (np.linalg.norm(rows[:, 3:], axis=1) >= 0.5)
        times, rows = times[good][::-1], rows[good][::-1]
        self.stamps, chosen = np.unique(times, return_index=True)
        self.poses = rows[chosen]
        self.max_gap = max_gap

    def __len__(self) -> int:
        return len(self.stamps)

    def at(self, stamp: int) -> FloatArray:
        """Pose (4, 4) at a stamp: linear in position, SLERP in rotation, never extrapolated.

        Raises ValueError where the stamp is outside, or the poses around it are too far apart.
        """
        after = int(np.searchsorted(self.stamps, stamp))
        if after < len(self) and self.stamps[after] == stamp:
            return pose_matrix(self.poses[after])
        if not 0 < after < len(self):
            span = [f'{end / NANOSECONDS:.4f}' for end in self.stamps[[0, -1]]] if len(self) else []
            raise ValueError(
                f'no pose on both sides of {stamp / NANOSECONDS:.4f} s: the poses are '
                f'{"from " + " to ".join(span) + " s" if span else "none"}'
            )
        first, last = self.stamps[after - 1 : after + 1]
        gap = (last - first) / NANOSECONDS
        if gap > self.max_gap:
            raise ValueError(
                f'the poses around {stamp / NANOSECONDS:.4f} s are {gap:.2f} s apart, '
                'too far to trust'
            )
        fraction = float((stamp - first) / (last - first))
        before, behind = self.poses[after - 1 : after + 1]
        pose = np.eye(4)
        pose[:3, 3] = (1 - fraction) * before[:3] + fraction * behind[:3]
        rotations = Rotation.from_quat([before[3:], behind[3:]])
        pose[:3, :3] = Slerp([0.0, 1.0], rotations)(fraction).as_matrix()
        return pose


def pose_matrix(pose: ArrayLike) -> FloatArray:
    """Matrix (4, 4) of x y z (metres) and a quaternion x y z w of any length but near 0."""
    row = np.asarray(pose, np.float64)
    if row.shape != (7,) or not np.isfinite(row).all() or np.linalg.norm(row[3:]) < 0.5:
        raise ValueError(f'pose is {row}, expected a position and a unit quaternion')
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(row[3:]).as_matrix()
    matrix[:3, 3] = row[:3]
    return matrix
