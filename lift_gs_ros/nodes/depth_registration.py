"""Depth of a camera beside the colour camera, brought into its image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.mapping.registration import register_depth
from lift_gs_ros.nodes.conversions import camera_from_info


class DepthRegistration:
    """Knows the depth camera and where it sits; ``info`` is its newest calibration."""

    def __init__(self, extrinsic: Callable[[str, str], FloatArray]) -> None:
        """``extrinsic`` returns ``color_from_depth`` (4, 4) for the two optical frames."""
        self.info: CameraInfo | None = None
        self._extrinsic = extrinsic
        camera = Camera.from_focal(1.0, 1.0, 0.5, 0.5, 2, 2)
        register_depth(np.ones((2, 2), np.float32), camera, camera, np.eye(4))  # compiles

    def register(
        self,
        depth: NDArray[np.float32],  # (H, W) metres, of the depth camera
        color_camera: Camera,
        color_frame: str,
        depth_frame: str,
    ) -> NDArray[np.float32]:
        """Return depth as ``register_depth`` does."""
        if self.info is None:
            raise ValueError(
                'no depth/camera_info has come yet, which depth_registration needs: name its topic '
                'or, where depth is registered by the driver, set depth_registration to none'
            )
        color_from_depth = self._extrinsic(color_frame, depth_frame)
        return register_depth(depth, camera_from_info(self.info), color_camera, color_from_depth)
