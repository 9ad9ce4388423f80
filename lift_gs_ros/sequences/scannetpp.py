"""Reader of ScanNet++ (Yeshwanth et al. 2023): the iPhone's frames.

Layout and conventions after github.com/scannetpp/scannetpp (``common/scene_release.py``,
``iphone/prepare_iphone_data.py``, ``iphone/arkit_pcl.py``): in ``<scene>/iphone``,
``pose_intrinsic_imu.json`` has for each frame ``frame_000000`` the 4x4 ``aligned_pose``
(**camera-to-world**, optical axes, metres, the world of the laser scan) and the 3x3 ``intrinsic``
of the colour image (1920x1440); ``rgb/frame_000000.jpg`` and ``depth/frame_000000.png`` (256x192
uint16 millimetres, 0 invalid, registered to colour) are what the toolkit extracts from the
download's ``rgb.mkv`` and ``depth.bin``. The video has 60 frames a second: frame i is at i / 60 s.

The video and ``depth.bin`` (LZ4 or deflate, frame by frame) are not read as they are: the toolkit
extracts both at once. That the world has z up is not stated; it is left as it is. What was made
unrecognisable for privacy (``rgb_masks``) is not left out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lift_gs_ros.geometry import Camera
from lift_gs_ros.json_file import read_json
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    array_of,
    fitted_frame,
    read_color,
    read_depth,
)

LAYOUT = 'iphone/pose_intrinsic_imu.json with iphone/rgb/ and iphone/depth/ extracted'
POSES = 'pose_intrinsic_imu.json'
RATE = 60.0  # Hz, of the video


def is_scannetpp(path: Path) -> bool:
    """Say whether a folder is a scene with an iPhone's recording, or that recording."""
    return _recording(path) is not None


def open_scannetpp(path: Path) -> RecordedSequence:
    """Open the frames that were extracted; ValueError where none were."""
    folder = _recording(path)
    assert folder is not None  # is_scannetpp said so
    colors = sorted((folder / 'rgb').glob('frame_*.jpg'))
    if not colors or not (folder / 'depth').is_dir():
        raise ValueError(
            f'{folder} has no images in rgb/ and depth/: extract them from rgb.mkv and depth.bin '
            "with the data set's toolkit (github.com/scannetpp/scannetpp): "
            'python -m iphone.prepare_iphone_data iphone/configs/prepare_iphone_data.yml'
        )
    poses = read_json(folder / POSES, dict)
    readers = [(file.stem, partial(_read_frame, folder, file, poses)) for file in colors]
    numbers = [_number(file) for file in colors]
    step = float(np.median(np.diff(numbers))) if len(numbers) > 1 else 1.0
    name = folder.resolve().parent.name
    return RecordedSequence(name, RATE / step, readers)


def _recording(path: Path) -> Path | None:
    return next((f for f in (path, path / 'iphone') if (f / POSES).is_file()), None)


def _number(file: Path) -> int:
    return int(file.stem.rpartition('_')[2])


def _read_frame(folder: Path, file: Path, poses: dict[str, Any]) -> RgbdFrame:
    about = poses.get(file.stem)
    if not isinstance(about, dict) or not {'aligned_pose', 'intrinsic'} <= set(about):
        raise ValueError(f'{folder / POSES} has no aligned_pose and intrinsic for {file.stem}')
    color = read_color(file)
    depth = depth_to_metres(read_depth(folder / 'depth' / f'{file.stem}.png'))
    where = f'{folder / POSES}, {file.stem}'
    matrix = array_of(about['intrinsic'], (3, 3), f'{where}: intrinsic')
    pose = array_of(about['aligned_pose'], (4, 4), f'{where}: aligned_pose')
    camera = Camera(matrix, *color.shape[1::-1])
    stamp = round(_number(file) / RATE * 1e9)
    return fitted_frame(stamp, color, depth, camera, pose)
