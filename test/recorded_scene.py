"""A scene of boxes that tests record in some layout and read back."""

from __future__ import annotations

import numpy as np
from box_scenes import FLOOR, WALL, render

from benchmarks.layouts import Recording
from lift_gs_ros.geometry import Box, Camera, look_at

CHAIR = Box.from_corners((-0.32, 2.02, -0.92), (0.32, 2.52, 0.22)), (200, 20, 20)
SCENE = [WALL, FLOOR, CHAIR]
POSES = [look_at((x, 0, 0.5), (0, 4, -0.3)) for x in (-0.4, 0.0, 0.4)]
FIVE = [look_at((x, 0, 0.5), (0, 4, -0.3)) for x in (-0.4, -0.2, 0.0, 0.2, 0.4)]
SMALL = Camera.from_focal(150, 152, 81, 58, 160, 120)
LARGE = Camera.from_focal(300, 304, 165, 118, 320, 240)  # of colour, where that is larger


_rendered: dict = {}


def view(pose, camera):
    """Render the scene, once for each pose and camera."""
    key = pose.tobytes(), camera.intrinsics.tobytes(), camera.width, type(camera)
    if key not in _rendered:
        _rendered[key] = render(SCENE, pose, camera=camera)
    return _rendered[key]


RECORDING = Recording(view, POSES, SMALL, LARGE)


def views(camera=SMALL, poses=POSES):
    """Frames of the scene, exact."""
    return [render(SCENE, pose, camera=camera) for pose in poses]


def surface_error(frame):
    """Distances (N,) of a frame's points to the nearest surface of the scene, metres."""
    points = frame.to_point_cloud().positions
    distances = []
    for box, _ in SCENE:
        offset = np.abs(points - box.center) - box.size / 2
        outside = np.linalg.norm(np.clip(offset, 0, None), axis=1)
        distances.append(np.abs(outside + np.clip(offset.max(axis=1), None, 0)))
    return np.min(distances, axis=0)


def assert_same_world(frames, poses=POSES, tolerance=2e-3, colour=1.0):
    """Hold that frames have these poses, and points and colours of the scene."""
    frames = list(frames)
    assert len(frames) == len(poses)
    for frame, pose in zip(frames, poses):
        assert np.abs(frame.world_from_camera - pose).max() < 1e-3
        assert (frame.depth > 0).mean() > 0.9
        assert np.percentile(surface_error(frame), 99) < tolerance
        original = render(SCENE, pose, camera=frame.camera)
        valid = frame.depth > 0
        assert np.abs(frame.color.astype(int) - original.color)[valid].mean() < colour
