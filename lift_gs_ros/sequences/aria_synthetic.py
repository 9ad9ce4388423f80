"""Reader of Aria Synthetic Environments (Avetisyan et al. 2024): fisheye images, rectified.

Layout and conventions after Project Aria's documentation ("ASE Data Format") and
github.com/facebookresearch/projectaria_tools (``projects/AriaSyntheticEnvironment``): a scene has
``rgb/vignette0000000.jpg``, ``depth/depth0000000.png`` (uint16 millimetres **along the pixel's
ray**, 0 and 65535 invalid; only in the training split) and ``trajectory.csv``: a header, then for
image i the row ``-, microseconds, -, tx, ty, tz, qx, qy, qz, qw, ...``, **device-to-world** in
metres. All scenes share one camera (``AseCalibrationProvider.cpp``): its lens and its place on the
glasses are the constants below. That file calls the place ``T_Camera_Device``, and hands it to
``CameraCalibration`` as ``T_Device_Camera``: it is **camera-to-device**, as the tutorials multiply
it (``T_world_from_device @ T_device_from_camera``), and within 2 degrees that of real glasses. The
images (704x704) are stored as the sensor sits, a quarter turn from upright.

Here they are seen through an upright pinhole of 600x600 pixels and 90 degrees, as much as fits
into the circle that the lens sees; depth becomes that along the optical axis. The world is left as
it is (z up in Project Aria's tools).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from lift_gs_ros.geometry import Camera
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.fisheye import Fisheye, Rectification
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    read_color,
    read_depth,
    rows_of,
)
from lift_gs_ros.sequences.trajectory import pose_matrix

LAYOUT = 'rgb/vignette0000000.jpg, depth/depth0000000.png and trajectory.csv'
RATE = 10.0  # Hz
LENS = Fisheye(
    Camera.from_focal(297.6375381, 297.6375381, 357.6599197, 349.1922497, 704, 704).intrinsics,
    704,
    704,
    (0.3650890376, -0.1738082418, -0.7534945484, 2.4347888823, -2.5778622030, 0.8788483539),
    (0.0008005199, -0.0002942378),
)
DEVICE_FROM_CAMERA = np.eye(4)
DEVICE_FROM_CAMERA[:3, :3] = Rotation.from_quat(
    [0.32640934382849, 0.0292749920083136, 0.0333610599565315, 0.944185868768933]
).as_matrix()
DEVICE_FROM_CAMERA[:3, 3] = -0.007530096566, -0.010908549842, -0.003598063316
# An upright image's x is the stored image's -y, and its y the stored x.
STORED_FROM_UPRIGHT = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
PINHOLE = Camera.from_focal(300.0, 300.0, 299.5, 299.5, 600, 600)


def is_aria_synthetic(path: Path) -> bool:
    """Say whether a folder is a scene."""
    return (path / 'trajectory.csv').is_file() and any(path.glob('rgb/vignette*.jpg'))


def open_aria_synthetic(path: Path) -> RecordedSequence:
    """Open a scene; ValueError where it has no depth (the test split has none)."""
    if not (path / 'depth').is_dir():
        raise ValueError(f'{path} has no depth/: scenes of the test split come without')
    rows = [line.split(',') for line in (path / 'trajectory.csv').read_text().splitlines()[1:]]
    view = Rectification(LENS, PINHOLE, STORED_FROM_UPRIGHT)
    readers = [(f'{i:07d}', partial(_read_frame, path, i, row, view)) for i, row in enumerate(rows)]
    return RecordedSequence(path.resolve().name, RATE, readers)


def _read_frame(path: Path, number: int, row: list[str], view: Rectification) -> RgbdFrame:
    world_from_device = pose_matrix(rows_of(row[3:10], (7,)))
    pose = world_from_device @ DEVICE_FROM_CAMERA
    pose[:3, :3] = pose[:3, :3] @ STORED_FROM_UPRIGHT
    color = view(read_color(path / 'rgb' / f'vignette{number:07d}.jpg'))
    distance = view(depth_to_metres(read_depth(path / 'depth' / f'depth{number:07d}.png')))
    depth = (distance / view.ray_length).astype(np.float32)
    return RgbdFrame(int(row[1]) * 1000, color, depth, view.camera, pose)
