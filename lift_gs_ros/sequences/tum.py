"""Reader of TUM RGB-D (Sturm et al. 2012): depth registered to colour, z up in the world.

Layout, units and intrinsics after its page (cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats)
as others quote it; the page itself was not at hand.
Two layouts, with depth in uint16 PNG, 5000 units a metre, 0 where there is none, and ``TX TY TZ QX
QY QZ QW`` camera-to-world poses in metres, with optical axes:

* the original: ``rgb.txt`` and ``depth.txt`` (``stamp file`` a line), ``groundtruth.txt`` (``stamp
  pose`` a line, at 100 Hz). A depth image goes with the colour image nearest in time, within 20 ms,
  and with the pose interpolated at its own stamp: the geometry is the depth camera's.
* keyframes as published by object SLAM papers: ``raw_imgs/%04d_rgb_raw.jpg``,
  ``depth_imgs/%04d_depth_raw.png``, and ``truth_cam_poses.txt``, whose row i is frame i.

Intrinsics come from an ORB-SLAM settings file in the folder (``*.yaml`` with ``Camera.fx``), else
from the folder's name (freiburg1, freiburg2, freiburg3), else they are the Kinect's defaults. The
lens distortion of freiburg1 and freiburg2, up to some pixels in the corners, is not undone.
"""

from __future__ import annotations

import logging
import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    fitted_frame,
    median_rate,
    read_color,
    read_depth,
)
from lift_gs_ros.sequences.trajectory import Trajectory, pose_matrix

logger = logging.getLogger(__name__)

LAYOUT = 'rgb.txt, depth.txt and groundtruth.txt'
KEYFRAME_LAYOUT = 'raw_imgs/, depth_imgs/ and truth_cam_poses.txt'
UNITS_PER_METRE = 5000.0
MAX_COLOR_OFFSET = 0.02  # seconds between a depth image and its colour image, as TUM's own tool
MAX_POSE_GAP = 0.1  # seconds between the two poses to interpolate
SIZE = 640, 480  # pixels, of the images that the intrinsics below are of
# fx, fy, cx, cy, from the data set's page on file formats.
INTRINSICS = {
    'freiburg1': (517.3, 516.5, 318.6, 255.3),
    'freiburg2': (520.9, 521.0, 325.1, 249.7),
    'freiburg3': (535.4, 539.2, 320.1, 247.6),
}
DEFAULT_INTRINSICS = (525.0, 525.0, 319.5, 239.5)


def is_tum(path: Path) -> bool:
    """Say whether a folder has the original layout."""
    return all((path / name).is_file() for name in ('rgb.txt', 'depth.txt', 'groundtruth.txt'))


def is_tum_keyframes(path: Path) -> bool:
    """Say whether a folder has the layout of numbered keyframes."""
    return (path / 'raw_imgs').is_dir() and (path / 'truth_cam_poses.txt').is_file()


def open_tum(path: Path) -> RecordedSequence:
    """Open a sequence in the original layout."""
    depths, colors = _read_list(path / 'depth.txt'), _read_list(path / 'rgb.txt')
    rows = _read_poses(path / 'groundtruth.txt')
    rows = rows[np.isfinite(rows).all(axis=1)]
    poses = Trajectory(np.round(rows[:, 0] * 1e9), rows[:, 1:], MAX_POSE_GAP)
    color_stamps = np.array([stamp for stamp, _ in colors])
    settings = _read_settings(path)
    readers = []
    for stamp, file in depths:
        nearest = int(np.abs(color_stamps - stamp).argmin()) if len(colors) else -1
        color = colors[nearest] if nearest >= 0 else None
        reader = partial(_read_associated, path, (stamp, file), color, poses, settings)
        readers.append((file, reader))
    rate = median_rate([stamp for stamp, _ in depths])
    return RecordedSequence(path.resolve().name, rate, readers)


def open_tum_keyframes(path: Path) -> RecordedSequence:
    """Open a sequence in the layout of numbered keyframes."""
    poses = _read_poses(path / 'truth_cam_poses.txt')
    settings = _read_settings(path)
    readers = []
    for number, row in enumerate(poses):
        color = path / 'raw_imgs' / f'{number:04d}_rgb_raw.jpg'
        depth = path / 'depth_imgs' / f'{number:04d}_depth_raw.png'
        readers.append((f'{number:04d}', partial(_read_row, color, depth, row, settings)))
    return RecordedSequence(path.resolve().name, median_rate(poses[:, 0].tolist()), readers)


def _read_associated(
    path: Path,
    depth: tuple[float, str],
    color: tuple[float, str] | None,
    poses: Trajectory,
    settings: tuple[Camera, float],
) -> RgbdFrame:
    stamp, depth_file = round(depth[0] * 1e9), depth[1]
    if color is None or abs(color[0] - depth[0]) > MAX_COLOR_OFFSET:
        raise ValueError(f'no colour image within {MAX_COLOR_OFFSET} s of {depth[0]:.4f}')
    return _read_frame(path / color[1], path / depth_file, stamp, poses.at(stamp), settings)


def _read_row(
    color: Path, depth: Path, row: FloatArray, settings: tuple[Camera, float]
) -> RgbdFrame:
    pose = pose_matrix(row[1:])
    return _read_frame(color, depth, round(float(row[0]) * 1e9), pose, settings)


def _read_frame(
    color: Path,
    depth: Path,
    stamp: int,
    world_from_camera: FloatArray,
    settings: tuple[Camera, float],
) -> RgbdFrame:
    camera, units = settings
    metres = depth_to_metres(read_depth(depth), units)
    return fitted_frame(stamp, read_color(color), metres, camera, world_from_camera)


def _lines(path: Path) -> list[list[str]]:
    lines = (line.split() for line in path.read_text().splitlines())
    return [words for words in lines if words and not words[0].startswith('#')]


def _read_list(path: Path) -> list[tuple[float, str]]:
    entries = []
    for words in _lines(path):
        try:
            entries.append((float(words[0]), words[1]))
        except (ValueError, IndexError):
            logger.warning('%s: line "%s" is skipped: no stamp and file', path, ' '.join(words))
    return sorted(entries)


def _read_poses(path: Path) -> NDArray[np.float64]:
    """Rows (N, 8); a row that is no pose is all NaN, so that row i stays row i."""
    poses = []
    for words in _lines(path):
        try:
            pose = [float(word) for word in words]
        except ValueError:
            pose = []
        poses.append(pose if len(pose) == 8 else [np.nan] * 8)
    return np.array(poses, np.float64).reshape(-1, 8)


def _read_settings(path: Path) -> tuple[Camera, float]:
    """Camera and depth units a metre."""
    for file in sorted(path.glob('*.yaml')):
        number = r':\s*([-+.\deE]+)'
        text = file.read_text(errors='replace')
        keys = ('fx', 'fy', 'cx', 'cy', 'width', 'height')
        lines = [*(f'Camera.{key}' for key in keys), 'DepthMapFactor']
        found = [re.search(rf'^{line}{number}', text, re.MULTILINE) for line in lines]
        fx, fy, cx, cy, *size, units = (float(match[1]) if match else None for match in found)
        if fx and fy and cx and cy:
            sides = [round(side) for side in size if side]
            width, height = sides if len(sides) == 2 else SIZE
            return Camera.from_focal(fx, fy, cx, cy, width, height), units or UNITS_PER_METRE
    for key, (fx, fy, cx, cy) in INTRINSICS.items():
        if key in path.resolve().name:
            return Camera.from_focal(fx, fy, cx, cy, *SIZE), UNITS_PER_METRE
    logger.warning(
        '%s: no *.yaml with Camera.fx and no freiburg1, 2 or 3 in its name: '
        'the intrinsics are the Kinect defaults %s',
        path,
        DEFAULT_INTRINSICS,
    )
    fx, fy, cx, cy = DEFAULT_INTRINSICS
    return Camera.from_focal(fx, fy, cx, cy, *SIZE), UNITS_PER_METRE
