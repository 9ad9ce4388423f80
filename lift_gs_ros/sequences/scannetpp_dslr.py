"""Reader of ScanNet++ (Yeshwanth et al. 2023): the DSLR's fisheye images with rendered depth.

Layout and conventions after github.com/scannetpp/scannetpp (``common/scene_release.py``,
``common/utils/nerfstudio.py``, ``common/render.py``, README): in ``<scene>/dslr``,
``resized_images/DSC00001.JPG`` are fisheye images, and ``nerfstudio/transforms.json`` has their
camera (``fl_x fl_y cx cy w h k1 k2 k3 k4``, OpenCV's fisheye model; COLMAP's pixels, the corner of
the first at 0) and for each of ``frames`` and ``test_frames`` a ``file_path`` and a
``transform_matrix``: **camera-to-world**, metres, with cameras as in OpenGL and a world whose axes
nerfstudio permutes; that is undone, so that the world is the laser scan's.

There is **no depth sensor**: ``render_depth/DSC00001.png`` (uint16 millimetres, 0 invalid) is what
the toolkit renders from the scan's mesh (``python -m common.render``, ``render_dslr: True``);
without it the images are refused. It is depth along the optical axis, 0 where nothing is, and ends
at 20 m (``fragmentCoordOut.z`` in github.com/liu115/renderpy, ``src/opengl/opengl_semantic.h``).

The toolkit's own undistortion leaves depth as it is, so images and depth are rectified here: to a
pinhole of the lens's focal length, centred, which sees the middle of the lens's view. There are no
stamps: image i is at i seconds.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lift_gs_ros.geometry import Camera
from lift_gs_ros.json_file import read_json
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.axes import OPENGL_FROM_OPTICAL
from lift_gs_ros.sequences.fisheye import Fisheye, Rectification
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    array_of,
    first_of_each,
    numbers_of,
    read_color,
    read_depth,
)

LAYOUT = 'dslr/nerfstudio/transforms.json, dslr/resized_images/ and dslr/render_depth/'
# The world of nerfstudio into that of the laser scan, and back: it is its own inverse.
SCAN_FROM_NERFSTUDIO = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])


def is_scannetpp_dslr(path: Path) -> bool:
    """Say whether a folder is a scene with a DSLR's images, or has them."""
    return _images(path) is not None


def open_scannetpp_dslr(path: Path) -> RecordedSequence:
    """Open the images; ValueError where depth was not rendered."""
    folder = _images(path)
    assert folder is not None  # is_scannetpp_dslr said so
    if not (folder / 'render_depth').is_dir():
        raise ValueError(
            f'{folder} has no render_depth/, and a DSLR measures no depth: render it from the mesh '
            'with the toolkit (github.com/scannetpp/scannetpp): python -m common.render '
            'common/configs/render.yml with render_dslr: True, or take the iPhone of the same scene'
        )
    file = folder / 'nerfstudio' / 'transforms.json'
    transforms = read_json(file, dict)
    view = _rectification(transforms, file)
    shots = [shot for name in ('frames', 'test_frames') for shot in _shots(transforms, name, file)]
    shots = sorted(shots, key=_file_path)
    shots = first_of_each(shots, _file_path, file)
    readers = [
        (Path(shot['file_path']).stem, partial(_read_frame, folder, number, shot, view))
        for number, shot in enumerate(shots)
    ]
    return RecordedSequence(folder.resolve().parent.name, 1.0, readers, stills=True)


def _file_path(shot: dict[str, Any]) -> str:
    return shot['file_path']


def _images(path: Path) -> Path | None:
    needed = ('nerfstudio/transforms.json', 'resized_images')
    return next((f for f in (path, path / 'dslr') if all((f / n).exists() for n in needed)), None)


def _shots(transforms: dict[str, Any], name: str, file: Path) -> list[dict[str, Any]]:
    shots = transforms.get(name, [])
    if not isinstance(shots, list):
        raise ValueError(f'{file}: {name} is {str(shots)[:80]}, expected a list of images')
    for number, shot in enumerate(shots):
        if not isinstance(shot, dict) or not isinstance(shot.get('file_path'), str):
            raise ValueError(
                f'{file}: {name} {number} is {str(shot)[:80]}, expected the "file_path" of an image'
            )
    return shots


def _rectification(transforms: dict[str, Any], file: Path) -> Rectification:
    names = 'fl_x fl_y cx cy w h k1 k2 k3 k4'
    fx, fy, cx, cy, w, h, *radial = numbers_of(transforms, names, file)
    lens = Camera.from_focal(fx, fy, cx - 0.5, cy - 0.5, int(w), int(h))
    pinhole = Camera.from_focal(fx, fy, (w - 1) / 2, (h - 1) / 2, int(w), int(h))
    fisheye = Fisheye(lens.intrinsics, lens.width, lens.height, tuple(radial))
    return Rectification(fisheye, pinhole)


def _read_frame(folder: Path, number: int, shot: dict[str, Any], view: Rectification) -> RgbdFrame:
    color = read_color(folder / 'resized_images' / shot['file_path'])
    name = f'{Path(shot["file_path"]).stem}.png'
    depth = depth_to_metres(read_depth(folder / 'render_depth' / name))
    what = f'transforms.json, {shot["file_path"]}: transform_matrix'
    pose = array_of(shot.get('transform_matrix'), (4, 4), what)
    pose = SCAN_FROM_NERFSTUDIO @ pose @ OPENGL_FROM_OPTICAL
    return RgbdFrame(round(number * 1e9), view(color), view(depth), view.camera, pose)
