"""Reader of Taskonomy (Zamir et al. 2018), as itself and as a part of Omnidata.

Layout and conventions after github.com/StanfordVL/taskonomy (``data/README.md``,
``code/lib/data/load_ops.py``) and Omnidata's download: ``point_0_view_0_domain_<kind>.png`` in a
folder for each kind, ``rgb`` and ``depth_zbuffer`` (uint16, 512 units a metre along the optical
axis, 65535 where there is nothing), and a JSON in ``point_info`` (or ``points``):
``camera_location`` (metres), ``camera_rotation_final`` (radians, about the fixed axes x, y, z in
this order: **camera-to-world**) and ``field_of_view_rads`` (of the square image's width). Cameras
and world are Blender's: camera y up and z backward, world z up.

PATH is a building's folder that holds those of the kinds, or Omnidata's
``rgb/taskonomy/<building>``, whose ``depth_zbuffer/taskonomy/<building>`` is beside it. The views
follow no path and have no stamps: view i is at i seconds.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from lift_gs_ros.geometry import Camera
from lift_gs_ros.json_file import read_json
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.axes import OPENGL_FROM_OPTICAL
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    array_of,
    first_of_each,
    fitted_frame,
    numbers_of,
    read_color,
    read_depth,
)

LAYOUT = 'rgb/, depth_zbuffer/ and point_info/ with point_0_view_0_domain_rgb.png and so on'
UNITS_PER_METRE = 512.0


def is_taskonomy(path: Path) -> bool:
    """Say whether a folder is a building."""
    return _kind(path, 'depth_zbuffer').is_dir() and _kind(path, 'rgb').is_dir()


def open_taskonomy(path: Path) -> RecordedSequence:
    """Open a building; ValueError where it has no descriptions of its views."""
    folders = [_kind(path, name) for name in ('point_info', 'points')]
    infos = sorted(
        (f for folder in folders for f in folder.glob('point_*_view_*_domain_*.json')), key=_view
    )
    infos = first_of_each(infos, _view, path)
    if not infos:
        raise ValueError(f'{path} has no point_*_view_*_domain_*.json in {folders[0]}')
    readers = [
        (_view(file), partial(_read_frame, path, number, file)) for number, file in enumerate(infos)
    ]
    return RecordedSequence(path.resolve().name, 1.0, readers, stills=True)


def _view(file: Path) -> str:
    """Return point_0_view_0, as all files of a view begin."""
    return file.name.partition('_domain_')[0]


def _kind(path: Path, name: str) -> Path:
    """Folder of a kind of image: in the building's, or the building's in that of the kind."""
    if len(path.parts) > 2 and path.parts[-3] == 'rgb':
        return path.parents[2] / name / path.parts[-2] / path.name
    return path / name


def _read_frame(path: Path, number: int, file: Path) -> RgbdFrame:
    view = _view(file)
    info = read_json(file, dict)
    (angle,) = numbers_of(info, 'field_of_view_rads', file)
    pose = np.eye(4)
    pose[:3, 3] = array_of(info.get('camera_location'), (3,), f'{file}: camera_location')
    turned = f'{file}: camera_rotation_final'
    turn = array_of(info.get('camera_rotation_final'), (3,), turned)
    pose[:3, :3] = Rotation.from_euler('xyz', turn).as_matrix()
    color = read_color(_kind(path, 'rgb') / f'{view}_domain_rgb.png')
    raw = read_depth(_kind(path, 'depth_zbuffer') / f'{view}_domain_depth_zbuffer.png')
    height, width = color.shape[:2]
    focal = width / 2 / np.tan(angle / 2)
    camera = Camera.from_focal(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    depth = depth_to_metres(raw, UNITS_PER_METRE)
    return fitted_frame(round(number * 1e9), color, depth, camera, pose @ OPENGL_FROM_OPTICAL)
