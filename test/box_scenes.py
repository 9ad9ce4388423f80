"""Exact RGB-D images of axis-aligned boxes, and a depth sensor's faults, for the mapping tests."""

from __future__ import annotations

import numpy as np

from lift_gs_ros.geometry import Box, Camera
from lift_gs_ros.mapping.frame import RgbdFrame

CAMERA = Camera.from_focal(262, 262, 159.5, 119.5, 320, 240)
# All faces lie in the middle of voxels of 5 cm, far from their borders, where rounding decides.
WALL = Box.from_corners((-4, 4.0, -1), (4, 4.2, 3)), (200, 190, 180)
FLOOR = Box.from_corners((-4, -4, -1.1), (4, 4.2, -1.0)), (120, 100, 80)


def render(boxes, pose, stamp=0, camera=CAMERA) -> RgbdFrame:
    """Render (Box, (r, g, b)) pairs: the first surface along every pixel's ray (slab method)."""
    rays = camera.unproject(np.ones((camera.height, camera.width))) @ pose[:3, :3].T
    depth = np.full(rays.shape[:2], np.inf)
    color = np.zeros((*depth.shape, 3), np.uint8)
    with np.errstate(divide='ignore', invalid='ignore'):
        for box, rgb in boxes:
            bounds = np.stack([(box.lower - pose[:3, 3]) / rays, (box.upper - pose[:3, 3]) / rays])
            enter, leave = bounds.min(axis=0).max(axis=-1), bounds.max(axis=0).min(axis=-1)
            hit = (enter <= leave) & (enter > 0) & (enter < depth)
            depth[hit], color[hit] = enter[hit], rgb
    return RgbdFrame(stamp, color, depth.astype(np.float32), camera, pose)


def with_sensor_noise(frame: RgbdFrame, rng: np.random.Generator) -> RgbdFrame:
    """Noise of a structured-light camera: quadratic in depth, dropouts, most of them on edges."""
    depth = frame.depth + rng.normal(0, 1, frame.depth.shape) * 0.002 * frame.depth**2
    edge = np.abs(np.diff(frame.depth, axis=1, append=0)) > 0.1
    edge |= np.roll(edge, 1, axis=1)
    chance = rng.random(depth.shape)
    depth[(chance < 0.02) | (edge & (chance < 0.4))] = 0
    pose = frame.world_from_camera.copy()
    pose[:3, 3] += rng.normal(0, 0.005, 3)
    return RgbdFrame(frame.stamp, frame.color, depth.astype(np.float32), frame.camera, pose)
