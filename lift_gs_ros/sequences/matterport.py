"""Reader of Matterport3D (Chang et al. 2017): the undistorted images of a house.

Layout and conventions after github.com/niessner/Matterport (``data_organization.md``, and how
``code/gaps/pkgs/RGBD`` reads it): ``undistorted_camera_parameters/<house>.conf`` with a command a
line: ``depth_directory``, ``color_directory``, ``intrinsics_matrix`` (9 numbers, for the images
that follow) and ``scan <depth> <colour> <16 numbers>``, the 4x4 **camera-to-world** (metres, camera
y up and z backward as in OpenGL, z up in the world). Pixels are counted from the **bottom** left,
the centre of the first at 0: where ``matterport_camera_intrinsics`` has c (631.116, 513.798) from
the top in OpenCV's notation, the ``.conf`` has (631.116, 509.202), together 1023.
``undistorted_color_images/*.jpg`` and ``undistorted_depth_images/*.png`` (1280x1024, uint16, 4000
units a metre along the optical axis, 0 no reading).

Eighteen images from each place of a tripod, so there are no stamps: image i is at i seconds. The
distorted originals (``matterport_*``) are not read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.axes import OPENGL_FROM_OPTICAL
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    fitted_frame,
    read_color,
    read_depth,
    rows_of,
)

LAYOUT = 'undistorted_camera_parameters/*.conf and the undistorted images that it names'
UNITS_PER_METRE = 4000.0


def is_matterport(path: Path) -> bool:
    """Say whether a folder is a house with undistorted images."""
    return bool(_parameters(path))


def open_matterport(path: Path) -> RecordedSequence:
    """Open a house; ValueError where a line of its parameters cannot be understood."""
    file = _parameters(path)[0]
    folders = {'depth': 'undistorted_depth_images', 'color': 'undistorted_color_images'}
    intrinsics = None
    readers: list[tuple[str, Callable[[], RgbdFrame]]] = []
    for line in file.read_text().splitlines():
        command, *words = line.split() or ['']
        try:
            if command in ('depth_directory', 'color_directory'):
                folders[command.partition('_')[0]] = words[0]
            elif command == 'intrinsics_matrix':
                intrinsics = rows_of(words, (3, 3))
            elif command == 'scan':
                if intrinsics is None:
                    raise ValueError('no intrinsics_matrix comes before it')
                depth, color, *pose = words
                files = path / folders['depth'] / depth, path / folders['color'] / color
                reader = partial(_read_frame, len(readers), *files, pose, intrinsics)
                readers.append((files[0].stem, reader))
        except (ValueError, IndexError) as error:
            raise ValueError(f'{file}: "{line}" is not understood: {error}') from error
    return RecordedSequence(path.resolve().name, 1.0, readers, stills=True)


def _parameters(path: Path) -> list[Path]:
    return sorted(path.glob('undistorted_camera_parameters/*.conf'))


def _read_frame(
    number: int, depth_file: Path, color_file: Path, pose: list[str], intrinsics: FloatArray
) -> RgbdFrame:
    color = read_color(color_file)
    height, width = color.shape[:2]
    (fx, _, cx), (_, fy, cy) = intrinsics[:2]
    camera = Camera.from_focal(fx, fy, cx, height - 1 - cy, width, height)
    depth = depth_to_metres(read_depth(depth_file), UNITS_PER_METRE)
    world_from_camera = rows_of(pose, (4, 4)) @ OPENGL_FROM_OPTICAL
    return fitted_frame(round(number * 1e9), color, depth, camera, world_from_camera)
