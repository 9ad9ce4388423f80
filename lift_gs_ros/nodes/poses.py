"""Where the camera was at the stamp of an image: from odometry, pose messages or TF.

Never the latest pose: a camera that turns at 1 rad/s is off by 10 cm at 3 m after 33 ms.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Protocol

import numpy as np
from rclpy.node import Node
from scipy.spatial.transform import Rotation, Slerp

from lift_gs_ros.geometry import FloatArray
from lift_gs_ros.mapping.synchronizer import CLOCK_RESTART_NS
from lift_gs_ros.nodes.conversions import NANOSECONDS, frame_name, matrix_from_transform

# So many poses in a row before a clock that went back is believed: one may be a bad stamp.
POSES_OF_A_NEW_CLOCK = 5


class PoseUnavailableError(Exception):
    """There is no pose at the stamp asked for; the text says why."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final  # True: waiting cannot help


class PoseSource(Protocol):
    """Where poses come from."""

    def lookup(self, stamp_ns: int, frame_id: str) -> FloatArray:
        """Return ``world_from_camera`` (4, 4) at a stamp or raise PoseUnavailableError.

        ``frame_id`` is the optical frame of the image.
        """


def wait_for_pose(
    source: PoseSource, stamp_ns: int, frame_id: str, deadline: float, stopped: threading.Event
) -> FloatArray:
    """Look up a pose until it is there; ``deadline`` is on the clock ``time.monotonic``."""
    while True:
        try:
            return source.lookup(stamp_ns, frame_id)
        except PoseUnavailableError as error:
            if error.final or time.monotonic() >= deadline or stopped.wait(0.005):
                raise


class PoseBuffer:
    """The last poses of a topic, interpolated at a stamp. Thread-safe.

    Between its two neighbours a pose is interpolated linearly in position and by SLERP in rotation;
    it is refused where the neighbours are more than ``max_gap`` or ``max_jump`` apart (a loop
    closure lies between them, and the camera never was half-way), and never extrapolated.
    """

    def __init__(
        self,
        base_from_camera: FloatArray,
        max_gap: float = 0.5,  # seconds
        max_jump: Callable[[], float] = lambda: math.inf,  # metres
        capacity: int = 2000,  # poses: 10 s at 200 Hz
    ) -> None:
        self._base_from_camera = base_from_camera
        self._max_gap_ns, self._max_jump = int(max_gap * NANOSECONDS), max_jump
        self._capacity = capacity
        self._lock = threading.Lock()
        self._stamps: list[int] = []
        self._poses: list[FloatArray] = []
        self._behind = 0  # poses in a row, of a clock that may have started again

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, stamp_ns: int, world_from_base: FloatArray) -> None:
        """Take in a rigid pose (4, 4).

        Stamps that have run back by more than a second start the buffer again, when they keep on.
        """
        with self._lock:
            is_old = bool(self._stamps) and stamp_ns < self._stamps[-1] - CLOCK_RESTART_NS
            self._behind = self._behind + 1 if is_old else 0
            if is_old and self._behind < POSES_OF_A_NEW_CLOCK:
                return
            if is_old:
                self._stamps.clear()
                self._poses.clear()
                self._behind = 0
            index = bisect_right(self._stamps, stamp_ns)
            if index and self._stamps[index - 1] == stamp_ns:
                self._poses[index - 1] = world_from_base
                return
            self._stamps.insert(index, stamp_ns)
            self._poses.insert(index, world_from_base)
            if len(self._stamps) > self._capacity:
                del self._stamps[0], self._poses[0]

    def lookup(self, stamp_ns: int, frame_id: str = '') -> FloatArray:
        """Return ``world_from_camera`` at a stamp (see ``PoseSource``)."""
        with self._lock:
            return self._interpolate(stamp_ns) @ self._base_from_camera

    def _interpolate(self, stamp_ns: int) -> FloatArray:
        stamps, poses = self._stamps, self._poses
        if not stamps:
            raise PoseUnavailableError('no pose has come yet')
        index = bisect_left(stamps, stamp_ns)
        if index == len(stamps):
            late = (stamp_ns - stamps[-1]) / NANOSECONDS
            raise PoseUnavailableError(f'the newest pose is {late:.3f} s older than the image')
        if stamps[index] == stamp_ns:
            return poses[index]
        if index == 0:
            early = (stamps[0] - stamp_ns) / NANOSECONDS
            raise PoseUnavailableError(
                f'the oldest pose is {early:.3f} s newer than the image', final=True
            )
        gap = stamps[index] - stamps[index - 1]
        if gap > self._max_gap_ns:
            raise PoseUnavailableError(
                f'the poses around the image are {gap / NANOSECONDS:.3f} s apart, expected at most '
                f'{self._max_gap_ns / NANOSECONDS:.3f} s',
                final=True,
            )
        jump = float(np.linalg.norm(poses[index][:3, 3] - poses[index - 1][:3, 3]))
        if jump > self._max_jump():
            raise PoseUnavailableError(
                f'the pose jumps by {jump:.2f} m around the image (jump_threshold is '
                f'{self._max_jump()} m)',
                final=True,
            )
        fraction = (stamp_ns - stamps[index - 1]) / gap
        return interpolate_pose(poses[index - 1], poses[index], fraction)


def interpolate_pose(first: FloatArray, second: FloatArray, fraction: float) -> FloatArray:
    """Pose (4, 4) at ``fraction`` in [0, 1] of the way: linear in position, SLERP in rotation."""
    pose = np.eye(4)
    pose[:3, 3] = (1 - fraction) * first[:3, 3] + fraction * second[:3, 3]
    rotations = Rotation.from_matrix(np.stack([first[:3, :3], second[:3, :3]]))
    pose[:3, :3] = Slerp([0.0, 1.0], rotations)(fraction).as_matrix()
    return pose


class TfPoses:
    """Poses from TF. Needs the ROS package tf2_ros."""

    def __init__(self, map_frame: str) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise ValueError(
                'pose_source or depth_registration is tf, which needs the package tf2_ros: install '
                'ros-jazzy-tf2-ros-py, or set pose_source to odometry or pose, and '
                'depth_registration to parameter or none'
            ) from error
        self._tf2 = tf2_ros
        self._map_frame = frame_name(map_frame)
        self._newest = 0  # stamp asked for, nanoseconds
        self._buffer = tf2_ros.Buffer()

    def listen(self, node: Node) -> None:
        """Subscribe to /tf and /tf_static."""
        self._listener = self._tf2.TransformListener(self._buffer, node)

    def lookup(self, stamp_ns: int, frame_id: str) -> FloatArray:
        """Return ``world_from_camera`` at a stamp (see ``PoseSource``)."""
        frame = frame_name(frame_id)
        if not frame:
            raise PoseUnavailableError('the image has an empty frame_id', final=True)
        if stamp_ns <= 0:
            raise PoseUnavailableError('the image has stamp 0, which TF takes for now', final=True)
        if stamp_ns < self._newest - CLOCK_RESTART_NS:
            self._buffer.clear()  # it refuses what is much older than its newest transform
            self._newest = 0
        self._newest = max(self._newest, stamp_ns)
        return self.between(self._map_frame, frame, stamp_ns)

    def between(self, target: str, source: str, stamp_ns: int = 0) -> FloatArray:
        """Return ``target_from_source`` (4, 4) at a stamp, 0 for the newest; as ``lookup``."""
        from rclpy.time import Time

        target, source = frame_name(target), frame_name(source)
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except self._tf2.TransformException as error:
            raise PoseUnavailableError(f'no transform {target} <- {source}: {error}') from None
        try:
            return matrix_from_transform(found.transform)
        except ValueError as error:
            raise PoseUnavailableError(str(error), final=True) from None


class JumpDetector:
    """Notices poses that leap, as after a loop closure or a lost track."""

    def __init__(self) -> None:
        self._last: FloatArray | None = None

    def check(self, world_from_camera: FloatArray, threshold: float) -> float | None:
        """Return the distance (metres) to the keyframe before where it is above the threshold."""
        last, self._last = self._last, world_from_camera
        if last is None:
            return None
        distance = float(np.linalg.norm(world_from_camera[:3, 3] - last[:3, 3]))
        return distance if distance > threshold else None

    def reset(self) -> None:
        """Forget the keyframe before."""
        self._last = None
