"""Reader of the raw data that the phone app Polycam exports (LiDAR and room mode).

Layout and conventions after github.com/PolyCam/polyform (README, Polycam's data format): in
``keyframes/``, files named by their stamp in microseconds: ``images`` (JPEG), ``cameras`` (JSON:
``fx fy cx cy width height`` of the image, ``t_00`` to ``t_23`` row by row, **camera-to-world**,
metres, ARKit's axes: camera y up and z backward, world y up), ``depth`` (uint16 PNG, millimetres,
smaller than the image: the intrinsics are scaled) and ``confidence`` (uint8, 0 low, 127, 255; low
confidence is taken as no depth, as recommended there; no other value is called invalid, 0 and 65535
are taken to be). ``corrected_cameras`` and ``corrected_images``, globally optimised and
undistorted, are taken where they exist. The world is turned so that z is up.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from lift_gs_ros.json_file import read_json
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.axes import OPENGL_FROM_OPTICAL, Z_UP_FROM_Y_UP
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    camera_of,
    fitted_frame,
    median_rate,
    number_in_name,
    numbers_of,
    read_color,
    read_depth,
    read_grey,
    rows_of,
)

POSE = ' '.join(f't_{row}{column}' for row in range(3) for column in range(4))
LAYOUT = 'keyframes/images/, keyframes/cameras/ and keyframes/depth/ (or corrected_*)'


def is_polycam(path: Path) -> bool:
    """Say whether a folder is such an export."""
    return (path / 'keyframes' / 'depth').is_dir() and (path / 'keyframes' / 'cameras').is_dir()


def open_polycam(path: Path) -> RecordedSequence:
    """Open an export."""
    folder = path / 'keyframes'
    corrected = all((folder / f'corrected_{kind}').is_dir() for kind in ('images', 'cameras'))
    prefix = 'corrected_' if corrected else ''
    cameras = sorted((folder / f'{prefix}cameras').glob('*.json'), key=number_in_name)
    readers = [(file.stem, partial(_read_frame, folder, prefix, file)) for file in cameras]
    rate = median_rate([number_in_name(file) / 1e6 for file in cameras])
    return RecordedSequence(path.resolve().name, rate, readers)


def _read_frame(folder: Path, prefix: str, file: Path) -> RgbdFrame:
    values = read_json(file, dict)
    camera = camera_of(values, 'fx fy cx cy width height', file)
    pose = rows_of([*numbers_of(values, POSE, file), 0, 0, 0, 1], (4, 4))
    name = f'{file.stem}.png'
    depth = depth_to_metres(read_depth(folder / 'depth' / name))
    if (folder / 'confidence' / name).exists():
        confidence = read_grey(folder / 'confidence' / name)
        if confidence.shape != depth.shape:
            raise ValueError(f'confidence is {confidence.shape}, depth {depth.shape}')
        depth = np.where(confidence > 0, depth, np.float32(0))
    color = read_color(folder / f'{prefix}images' / f'{file.stem}.jpg')
    pose = Z_UP_FROM_Y_UP @ pose @ OPENGL_FROM_OPTICAL
    return fitted_frame(number_in_name(file) * 1000, color, depth, camera, pose)
