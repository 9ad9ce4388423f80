"""Which frames are worth fusing."""

from __future__ import annotations

import math

import numpy as np

from lift_gs_ros.geometry import FloatArray


class KeyframeSelector:
    """Takes a frame when the camera has moved or turned enough since the last one taken.

    Args:
        translation: metres, or
        rotation: radians, that the camera must have moved since the last keyframe.
        min_interval: seconds; no keyframe sooner after another, however fast the camera moves.
        max_interval: seconds; a keyframe at the latest after so long, though the camera stands
            still (people move things).

    The first frame is a keyframe, and so is one whose stamp lies before the last keyframe's: time
    was reset (a bag was restarted), and what the old stamp said about intervals is void.

    """

    def __init__(
        self,
        translation: float = 0.1,
        rotation: float = 0.17,
        min_interval: float = 0.0,
        max_interval: float = math.inf,
    ) -> None:
        for name, value in (('translation', translation), ('rotation', rotation)):
            if not value >= 0:
                raise ValueError(f'{name} is {value}, expected 0 (every frame) or more')
        if not 0 <= min_interval <= max_interval:
            raise ValueError(
                f'min_interval is {min_interval} s and max_interval {max_interval} s, '
                'expected 0 <= min_interval <= max_interval'
            )
        self.translation = translation
        self.rotation = rotation
        self.min_interval = min_interval
        self.max_interval = max_interval
        self.reset()

    def reset(self) -> None:
        """Forget the last keyframe: the next frame is one."""
        self._last: tuple[int, FloatArray] | None = None

    def is_keyframe(self, stamp_ns: int, world_from_camera: FloatArray) -> bool:
        """Decide about a frame, and remember it where it is a keyframe."""
        taken = self._is_due(stamp_ns, world_from_camera)
        if taken:
            self._last = (stamp_ns, np.array(world_from_camera, np.float64))
        return taken

    def _is_due(self, stamp_ns: int, world_from_camera: FloatArray) -> bool:
        if self._last is None:
            return True
        last_stamp, last_pose = self._last
        elapsed = (stamp_ns - last_stamp) / 1e9
        if elapsed < 0 or elapsed >= self.max_interval:
            return True
        if elapsed < self.min_interval:
            return False
        moved = np.linalg.norm(world_from_camera[:3, 3] - last_pose[:3, 3])
        # Angle of the rotation between the two, from the trace of R1^T R2.
        trace = np.sum(world_from_camera[:3, :3] * last_pose[:3, :3])
        turned = math.acos(min(1.0, max(-1.0, (trace - 1) / 2)))
        return bool(moved >= self.translation or turned >= self.rotation)
