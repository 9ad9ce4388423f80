"""Reader of Structured3D (Zheng et al. 2020): the perspective images of a furnished scene.

Layout and conventions after github.com/bertjiazheng/Structured3D (``data_organization.md``,
``misc/utils.py``): ``2D_rendering/<room>/perspective/full/<position>/`` with ``rgb_rawlight.png``,
``depth.png`` (uint16 millimetres, 0 no reading) and ``camera_pose.txt``: ``vx vy vz tx ty tz ux uy
uz xfov yfov 1``, eye in **millimetres**, direction of view, up, and **half** the angles of view in
radians, from the centre to the border of the image. The world has z up. That depth is along the
optical axis is how other readers take it; it is not stated there.

All rooms of a scene share a world and follow each other; there are no stamps: image i is at i
seconds. Panoramas (``panorama/``) are no pinhole images and not read; unfurnished rooms (``empty``)
would contradict the furnished ones.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from lift_gs_ros.geometry import Camera, look_at
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    fitted_frame,
    number_in_name,
    read_color,
    read_depth,
    read_matrix,
)

LAYOUT = '2D_rendering/<room>/perspective/full/<position>/ with camera_pose.txt'


def is_structured3d(path: Path) -> bool:
    """Say whether a folder is a scene."""
    return (path / '2D_rendering').is_dir()


def open_structured3d(path: Path) -> RecordedSequence:
    """Open a scene; ValueError where it has panoramas only."""
    files = (path / '2D_rendering').glob('*/perspective/full/*/camera_pose.txt')
    positions = sorted((file.parent for file in files), key=_room_and_position)
    if not positions:
        raise ValueError(
            f'{path} has no 2D_rendering/*/perspective/full: panoramas are not read, get the '
            'perspective images with furniture ("perspective_full") of the same scene'
        )
    readers = [
        ('/'.join(map(str, _room_and_position(folder))), partial(_read_frame, number, folder))
        for number, folder in enumerate(positions)
    ]
    return RecordedSequence(path.resolve().name, 1.0, readers, stills=True)


def _room_and_position(folder: Path) -> tuple[str, int]:
    return folder.parents[2].name, number_in_name(folder)


def _read_frame(number: int, folder: Path) -> RgbdFrame:
    values = read_matrix(folder / 'camera_pose.txt', (12,))
    if not np.isfinite(values).all():
        raise ValueError(f'{folder / "camera_pose.txt"} holds NaN or inf')
    eye, towards, up = values[:9].reshape(3, 3)
    color = read_color(folder / 'rgb_rawlight.png')
    height, width = color.shape[:2]
    fx, fy = np.array([width, height]) / 2 / np.tan(values[9:11])
    camera = Camera.from_focal(fx, fy, (width - 1) / 2, (height - 1) / 2, width, height)
    pose = look_at(np.zeros(3), towards, up)
    pose[:3, 3] = eye / 1000
    depth = depth_to_metres(read_depth(folder / 'depth.png'))
    return fitted_frame(round(number * 1e9), color, depth, camera, pose)
