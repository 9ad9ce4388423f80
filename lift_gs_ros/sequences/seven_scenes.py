"""Reader of Microsoft 7-Scenes (Shotton et al. 2013), and of folders in its layout.

Layout, units, invalid values and the depth camera (585, 320, 240) after the data set's page and
readme (microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes) as others quote them
(github.com/nianticlabs/simplerecon, ``data_scripts/7scenes_preprocessing.py``, and kapture's
importer); the page itself was not at hand.

``frame-XXXXXX.color.{png,jpg}``, ``.depth.png`` (uint16 millimetres, 0 and 65535 invalid) and
``.pose.txt`` (4x4 camera-to-world of the depth camera, rounded), in the folder or in its
``seq-XX`` folders, which share one world. Beside the frames, both optional and no part of the
original: ``camera-intrinsics.txt`` (3x3, of the depth camera) and ``gravity-direction.txt`` (3
numbers, down in the world).

Three things to know:

* Colour is **not** registered to depth. It is warped into the depth image here, with an
  approximate fit of the Kinect's geometry: colour camera of focal length 529 and centre (320, 240),
  25 mm right of the depth camera and 5 mm below. It was fitted to one sample; no calibration of
  this Kinect is published. What it does not see loses its depth.
* The world is that of the first camera: z is not up. With a gravity direction it is turned so
  that z is (REP-103); without one it stays as recorded.
* There are no stamps: frame i is taken to be i / 30 s after the start.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray, rigid_transform
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    first_of_each,
    read_color,
    read_depth,
    read_matrix,
)

LAYOUT = 'frame-000000.color.png (or .jpg), .depth.png and .pose.txt, here or in seq-* folders'
RECORDED_RATE = 30.0  # Hz
DEPTH_CAMERA = Camera.from_focal(585, 585, 320, 240, 640, 480)
COLOR_CAMERA = Camera.from_focal(529, 529, 320, 240, 640, 480)
COLOR_FROM_DEPTH = np.array([-0.025, -0.005, 0.0])  # metres, added to points in the depth camera
# Pixels without depth are coloured as if so far away: for the eye, they never enter a map.
NOMINAL_DEPTH = 2.0

_FRAME = re.compile(r'(frame-(\d+))\.(color\.png|color\.jpg|depth\.png|pose\.txt)')


def is_seven_scenes(path: Path) -> bool:
    """Say whether a folder, or one of its ``seq-*`` folders, holds such frames."""
    return path.is_dir() and bool(_frame_folders(path))


def open_seven_scenes(path: Path, registered: bool = False, z_up: bool = True) -> RecordedSequence:
    """Open a scene (all its sequences, one after the other) or one of its sequences.

    Args:
        path: the folder.
        registered: colour is registered to depth already (not so in the original data).
        z_up: turn the world so that z is up, where ``gravity-direction.txt`` says what down is.

    """
    readers = []
    steps = []
    offset = 0
    for folder in _frame_folders(path):
        stems, colors = _list_stems(folder), _list_colors(folder)
        camera = _read_intrinsics(folder)
        new_from_world = _read_upright(folder) if z_up else np.eye(4)
        for number, stem in stems:
            stamp = round((offset + number) / RECORDED_RATE * 1e9)
            color = colors.get(stem, folder / f'{stem}.color.png')
            reader = partial(
                _read_frame, folder / stem, color, stamp, camera, new_from_world, registered
            )
            readers.append((f'{folder.name}/{stem}', reader))
        numbers = [number for number, _ in stems]
        steps += np.diff(numbers).tolist()
        offset += numbers[-1] + 1
    return RecordedSequence(path.resolve().name, RECORDED_RATE / np.median(steps or [1]), readers)


def _frame_folders(path: Path) -> list[Path]:
    folders = [path, *sorted(folder for folder in path.glob('seq-*') if folder.is_dir())]
    return [folder for folder in folders if _list_stems(folder)]


def _list_stems(folder: Path) -> list[tuple[int, str]]:
    """Numbers and stems of the frames of which there is any file at all."""
    matches = (_FRAME.fullmatch(file.name) for file in folder.iterdir())
    return sorted({(int(match[2]), match[1]) for match in matches if match})


def _list_colors(folder: Path) -> dict[str, Path]:
    """Colour image of each stem: the data set's PNG where there is a JPEG of it too."""
    files = sorted(
        (f for k in ('png', 'jpg') for f in folder.glob(f'frame-*.color.{k}')), key=_stem
    )
    return {_stem(file): file for file in first_of_each(files, _stem, folder)}


def _stem(file: Path) -> str:
    return file.name.partition('.')[0]


def _read_intrinsics(folder: Path) -> Camera | None:
    path = _beside(folder, 'camera-intrinsics.txt')
    if path is None:
        return None
    return Camera(read_matrix(path, (3, 3)), DEPTH_CAMERA.width, DEPTH_CAMERA.height)


def _read_upright(folder: Path) -> FloatArray:
    """Rotation (4, 4) into a world whose z is up and whose x has the heading of the old one."""
    upright = np.eye(4)
    path = _beside(folder, 'gravity-direction.txt')
    if path is None:
        return upright
    down = read_matrix(path, (3,))
    if not np.isfinite(down).all() or np.linalg.norm(down) < 1e-6:
        raise ValueError(f'{path} says that down is {down}, expected a direction')
    up = -down / np.linalg.norm(down)
    ahead = np.eye(3)[0] if abs(up[0]) < 0.9 else np.eye(3)[1]
    left = np.cross(up, ahead)
    left /= np.linalg.norm(left)
    upright[:3, :3] = [np.cross(left, up), left, up]
    return upright


def _beside(folder: Path, name: str) -> Path | None:
    """Find a file beside the frames or beside the sequence's folder."""
    candidates = [folder / name]
    if folder.name.startswith('seq-'):
        candidates.append(folder.parent / name)
    return next((path for path in candidates if path.exists()), None)


def _read_frame(
    stem: Path,
    color_file: Path,
    stamp: int,
    camera: Camera | None,
    new_from_world: FloatArray,
    registered: bool,
) -> RgbdFrame:
    pose = new_from_world @ rigid_transform(read_matrix(Path(f'{stem}.pose.txt'), (4, 4)))
    depth = depth_to_metres(read_depth(Path(f'{stem}.depth.png')))
    color = read_color(color_file)
    height, width = depth.shape
    if camera is None:
        camera = DEPTH_CAMERA.resized(width, height)
    if not registered:
        color, seen = register_color(color, depth, camera)
        depth = np.where(seen, depth, np.float32(0))
    return RgbdFrame(stamp, color, depth, Camera(camera.intrinsics, width, height), pose)


def register_color(
    color: NDArray[np.uint8], depth: NDArray[np.float32], camera: Camera
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Warp a 7-Scenes colour image (h, w, 3) into the depth image (H, W), metres.

    Returns the colours (H, W, 3) and which pixels (H, W) the colour camera sees. What one camera
    sees and an edge hides from the other takes the colour of the edge: a few pixels wide.
    """
    height, width = color.shape[:2]
    color_camera = COLOR_CAMERA.resized(width, height).intrinsics
    metres = np.where(depth > 0, depth, np.float32(NOMINAL_DEPTH))
    (fx, _, cx), (_, fy, cy) = camera.intrinsics[:2]
    (color_fx, _, color_cx), (_, color_fy, color_cy) = color_camera[:2]
    inverse = (1 / metres).astype(np.float32)
    u, v = (np.arange(side, dtype=np.float32) for side in depth.shape[::-1])
    columns = color_fx * (((u - cx) / fx)[None, :] + COLOR_FROM_DEPTH[0] * inverse) + color_cx
    rows = color_fy * (((v - cy) / fy)[:, None] + COLOR_FROM_DEPTH[1] * inverse) + color_cy
    columns, rows = np.rint(columns).astype(np.int32), np.rint(rows).astype(np.int32)
    seen = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    warped = color[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    return warped, seen
