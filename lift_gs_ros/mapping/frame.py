"""One posed RGB-D image, checked and in metres: what mapping and training take in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray, PointCloud, rigid_transform, transform_points
from lift_gs_ros.packing import scale_depth

# 65535 is what several sensors and datasets (7-Scenes among them) write for "no depth".
INVALID_UINT16 = 65535


def depth_to_metres(depth: NDArray, units_per_metre: float = 1000.0) -> NDArray[np.float32]:
    """Convert a raw depth image (H, W) to float32 metres with 0 for every invalid pixel.

    Unsigned integers are divided by ``units_per_metre`` (0 and 65535 are invalid, REP-118);
    floats are metres already, and NaN, inf and negative values are invalid (REP-117).
    """
    if depth.ndim != 2:
        raise ValueError(f'depth has shape {depth.shape}, expected (height, width)')
    invalid: np.uint16 | np.float32
    if depth.dtype == np.uint16:
        raw, invalid, scale = depth, np.uint16(INVALID_UINT16), np.float32(1 / units_per_metre)
    elif depth.dtype.kind == 'f':
        raw, invalid, scale = (
            depth.astype(np.float32, copy=False),
            np.float32(np.inf),
            np.float32(1),
        )
    else:
        raise ValueError(f'depth is {depth.dtype}, expected uint16 (millimetres) or float (metres)')
    metres = np.empty(depth.shape, np.float32)
    scale_depth(np.ascontiguousarray(raw).reshape(-1), invalid, scale, metres.reshape(-1))
    return metres


@dataclass(frozen=True)
class RgbdFrame:
    """A colour image, the depth image registered to it, and where the camera was.

    Raises ValueError, naming the field, where sizes disagree or the pose is not rigid.
    """

    stamp: int  # nanoseconds since the epoch, of the exposure
    color: NDArray[np.uint8]  # (H, W, 3) red, green, blue
    depth: NDArray[np.float32]  # (H, W) metres along the optical axis, 0 where unknown
    camera: Camera
    world_from_camera: FloatArray  # (4, 4)

    def __post_init__(self) -> None:
        shape = (self.camera.height, self.camera.width)
        if self.color.dtype != np.uint8 or self.color.shape != (*shape, 3):
            raise ValueError(
                f'color is {self.color.dtype} {self.color.shape}, expected uint8 {(*shape, 3)} '
                'from the camera info'
            )
        if self.depth.shape != shape:
            raise ValueError(f'depth is {self.depth.shape}, expected {shape} from the camera info')
        object.__setattr__(self, 'depth', depth_to_metres(self.depth))
        object.__setattr__(self, 'world_from_camera', rigid_transform(self.world_from_camera))

    def to_point_cloud(self, max_depth: float = np.inf) -> PointCloud:
        """Unproject every valid pixel to the world frame; depths in metres."""
        valid = (self.depth > 0) & (self.depth <= max_depth)
        points = transform_points(self.world_from_camera, self.camera.unproject(self.depth)[valid])
        colors = self.color[valid].astype(np.float32) / np.float32(255)
        return PointCloud(points.astype(np.float32), colors)
