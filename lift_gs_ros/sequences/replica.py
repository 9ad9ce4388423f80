"""Reader of Replica (Straub et al. 2019) as rendered for iMAP and shipped by NICE-SLAM.

Layout and conventions after github.com/cvg/nice-slam (``src/utils/datasets.py``, which turns the
axes of what it reads to OpenGL: in the file they are optical; ``configs/Replica``): a scene has
``results/frame000000.jpg`` and ``results/depth000000.png`` (uint16, ``scale`` units a metre, 0
invalid), and ``traj.txt``, 16 numbers a line: the 4x4 **camera-to-world** of frame i. The camera is
in ``cam_params.json`` beside the scenes; without it 1200x680, f 600, c (599.5, 339.5), scale
6553.5. There are no stamps: frame i is taken to be at i / 30 s. The world is left as it is.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.json_file import read_json
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    camera_of,
    fitted_frame,
    numbers_of,
    read_color,
    read_depth,
    rows_of,
)

LAYOUT = 'traj.txt and results/frame000000.jpg, results/depth000000.png'
RATE = 30.0  # Hz
CAMERA = Camera.from_focal(600.0, 600.0, 599.5, 339.5, 1200, 680)
UNITS_PER_METRE = 6553.5


def is_replica(path: Path) -> bool:
    """Say whether a folder is a scene."""
    return (path / 'traj.txt').is_file() and (path / 'results').is_dir()


def open_replica(path: Path) -> RecordedSequence:
    """Open a scene; frame i has the pose of line i."""
    camera, units = _read_camera(path)
    lines = (path / 'traj.txt').read_text().splitlines()
    readers = [
        (f'{i:06d}', partial(_read_frame, path / 'results', i, line, camera, units))
        for i, line in enumerate(lines)
        if line.strip()
    ]
    return RecordedSequence(path.resolve().name, RATE, readers)


def _read_camera(path: Path) -> tuple[Camera, float]:
    for file in (path / 'cam_params.json', path.parent / 'cam_params.json'):
        if file.is_file():
            values = read_json(file, dict).get('camera', {})
            (scale,) = numbers_of(values, 'scale', file)
            return camera_of(values, 'fx fy cx cy w h', file), scale
    return CAMERA, UNITS_PER_METRE


def _read_frame(
    folder: Path, number: int, line: str, camera: Camera, units_per_metre: float
) -> RgbdFrame:
    pose: FloatArray = rows_of(line.split(), (4, 4))
    color = read_color(folder / f'frame{number:06d}.jpg')
    depth = depth_to_metres(read_depth(folder / f'depth{number:06d}.png'), units_per_metre)
    return fitted_frame(round(number / RATE * 1e9), color, depth, camera, pose)
