"""The robot's camera in the browser's scene."""

from __future__ import annotations

import numpy as np
import viser
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lift_gs_ros.geometry import Camera, FloatArray

IMAGE_WIDTH = 160  # pixels that are sent, at most
SIZE = 0.3  # metres


class CameraFrustum:
    """Shows where the camera is and what it sees. Not thread-safe."""

    def __init__(self, scene: viser.SceneApi) -> None:
        self._scene = scene
        self._handle: viser.CameraFrustumHandle | None = None

    def show(
        self,
        world_from_camera: FloatArray,
        camera: Camera | None,
        image: NDArray[np.uint8] | None,
    ) -> None:
        """Move the camera; see ``Viewer.set_camera``."""
        quaternion = Rotation.from_matrix(world_from_camera[:3, :3]).as_quat(scalar_first=True)
        if self._handle is None:
            self._handle = self._scene.add_camera_frustum(
                '/camera', np.radians(45.0), 4 / 3, scale=SIZE, color=(34, 139, 230)
            )
        self._handle.wxyz, self._handle.position = quaternion, world_from_camera[:3, 3]
        if camera is not None:
            focal = camera.intrinsics[1, 1]
            self._handle.fov = float(2 * np.arctan(camera.height / (2 * focal)))
            self._handle.aspect = camera.width / camera.height
        if image is not None:
            every = -(-image.shape[1] // IMAGE_WIDTH)
            self._handle.image = np.ascontiguousarray(image[::every, ::every])
