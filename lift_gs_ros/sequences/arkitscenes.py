"""Reader of ARKitScenes (Baruch et al. 2021): 3DOD, and the same files of the raw data set.

Layout and conventions after github.com/apple/ARKitScenes (``DATA.md``, and
``threedod/benchmark_scripts/utils/tenFpsDataLoader.py``): in ``<id>_frames/`` (3DOD) or in the
video's folder (raw), ``lowres_wide/<id>_<seconds>.png`` (256x192),
``lowres_depth/<id>_<seconds>.png`` (uint16 millimetres, 0 invalid, same size),
``lowres_wide_intrinsics/<id>_<seconds>.pincam`` (``width height fx fy cx cy``, its stamp up to a
millisecond off) and ``lowres_wide.traj``: ``seconds rx ry rz tx ty tz``, axis-angle (radians) and
translation (metres), **world-to-camera**, optical axes; the world has z up (an author, in issues 78
and 81 there). Poses are interpolated at the image's stamp.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from lift_gs_ros.geometry import Camera
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    fitted_frame,
    median_rate,
    read_color,
    read_depth,
    read_matrix,
)
from lift_gs_ros.sequences.trajectory import Trajectory

LAYOUT = 'lowres_wide/, lowres_depth/, lowres_wide_intrinsics/ and lowres_wide.traj'
MAX_POSE_GAP = 0.25  # seconds; the poses come at 10 Hz


def is_arkitscenes(path: Path) -> bool:
    """Say whether a folder is a video, or holds its frames."""
    return _frames_folder(path) is not None


def open_arkitscenes(path: Path) -> RecordedSequence:
    """Open a video."""
    folder = _frames_folder(path)
    assert folder is not None  # is_arkitscenes said so
    poses = _read_trajectory(folder / 'lowres_wide.traj')
    depths = sorted((folder / 'lowres_depth').glob('*.png'), key=_seconds)
    readers = [(file.stem, partial(_read_frame, folder, file, poses)) for file in depths]
    rate = median_rate([_seconds(file) for file in depths])
    return RecordedSequence(path.resolve().name, rate, readers)


def _frames_folder(path: Path) -> Path | None:
    candidates = [path, *sorted(path.glob('*_frames'))] if path.is_dir() else []
    return next((c for c in candidates if (c / 'lowres_wide.traj').is_file()), None)


def _seconds(file: Path) -> float:
    return float(file.stem.rpartition('_')[2])


def _read_trajectory(path: Path) -> Trajectory:
    """Invert the poses; a line that is none is left out."""
    stamps, poses = [], []
    for line in path.read_text().splitlines():
        try:
            seconds, *values = (float(word) for word in line.split())
        except ValueError:
            continue
        if len(values) == 6 and np.isfinite(values).all():
            camera_from_world = Rotation.from_rotvec(values[:3])
            world_from_camera = camera_from_world.inv()
            position = -world_from_camera.apply(values[3:])
            stamps.append(round(seconds * 1e9))
            poses.append([*position, *world_from_camera.as_quat()])
    return Trajectory(stamps, np.array(poses), MAX_POSE_GAP)


def _read_frame(folder: Path, file: Path, poses: Trajectory) -> RgbdFrame:
    stamp = round(_seconds(file) * 1e9)
    depth = depth_to_metres(read_depth(file))
    color = read_color(folder / 'lowres_wide' / file.name)
    return fitted_frame(stamp, color, depth, _read_camera(folder, file), poses.at(stamp))


def _read_camera(folder: Path, file: Path) -> Camera:
    video, _, _ = file.stem.rpartition('_')
    for offset in (0, -0.001, 0.001):
        name = f'{video}_{_seconds(file) + offset:.3f}.pincam'
        path = folder / 'lowres_wide_intrinsics' / name
        if path.exists():
            width, height, fx, fy, cx, cy = read_matrix(path, (6,))
            return Camera.from_focal(fx, fy, cx, cy, round(width), round(height))
    raise ValueError(f'no intrinsics (.pincam) within a millisecond of {file.name}')
