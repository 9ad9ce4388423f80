"""Reader of ICL-NUIM (Handa et al. 2014), its "TUM RGB-D compatible PNGs".

Layout after doc.ic.ac.uk/~ahanda/VaFRIC/iclnuim.html: ``rgb/0.png``, ``depth/0.png`` (uint16,
5000 units a metre along the optical axis), ``associations.txt`` (``number depth/0.png number
rgb/0.png``) and a ``*.gt.freiburg`` (``number tx ty tz qx qy qz qw``, camera-to-world, metres).
It looks like TUM's and is not: the poses are those of POV-Ray, where camera and world have **y up**
and are **left-handed** (the page's camera has fy = -480 for that), while the images have their
first row at the top. So camera and world are mirrored here: f (481.2, 480), c (319.5, 239.5), and z
up in the world. That this is so, and that equal numbers are one frame, is as NVIDIA's cuVSLAM
measured it (github.com/nvidia-isaac/cuVSLAM/pull/135). There are no stamps: frame i is at i / 30 s.

The other archives (POV-Ray's text for each image, with distances along the ray) are refused. The
augmented ICL-NUIM of Redwood, with a ``.log``, is ``open3d_log.py``'s.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from lift_gs_ros.geometry import Camera
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    fitted_frame,
    read_color,
    read_depth,
    rows_of,
)
from lift_gs_ros.sequences.trajectory import pose_matrix

LAYOUT = 'rgb/, depth/, associations.txt and a *.gt.freiburg'
RATE = 30.0  # Hz
UNITS_PER_METRE = 5000.0
CAMERA = Camera.from_focal(481.2, 480.0, 319.5, 239.5, 640, 480)
Y_UP_FROM_OPTICAL = np.diag([1.0, -1, 1, 1])  # left-handed from right-handed
Z_UP_FROM_LEFT_HANDED = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def is_icl_nuim(path: Path) -> bool:
    """Say whether a folder is a trajectory, in either format."""
    return bool(_poses(path)) or (path / 'scene_00_0000.txt').is_file()


def open_icl_nuim(path: Path) -> RecordedSequence:
    """Open a trajectory; ValueError where it is in POV-Ray's format."""
    if not _poses(path):
        raise ValueError(
            f"{path} has ICL-NUIM's images with POV-Ray's camera text, which are not read: get the "
            '"TUM RGB-D Compatible PNGs" of the same trajectory'
        )
    lines = [line.split() for line in _poses(path)[0].read_text().splitlines()]
    poses = {words[0]: words[1:] for words in lines if words}
    pairs = [line.split() for line in (path / 'associations.txt').read_text().splitlines()]
    readers = [
        (pair[0], partial(_read_frame, path, pair, poses.get(pair[0], [])))
        for pair in pairs
        if pair
    ]
    return RecordedSequence(path.resolve().name, RATE, readers)


def _poses(path: Path) -> list[Path]:
    return sorted(path.glob('*.gt.freiburg')) if (path / 'associations.txt').is_file() else []


def _read_frame(path: Path, pair: list[str], values: list[str]) -> RgbdFrame:
    if len(pair) != 4 or not values:
        raise ValueError(f'associations and poses do not agree on frame "{" ".join(pair)}"')
    color = read_color(path / pair[3])
    depth = depth_to_metres(read_depth(path / pair[1]), UNITS_PER_METRE)
    pose = Z_UP_FROM_LEFT_HANDED @ pose_matrix(rows_of(values, (7,))) @ Y_UP_FROM_OPTICAL
    return fitted_frame(round(int(pair[0]) / RATE * 1e9), color, depth, CAMERA, pose)
