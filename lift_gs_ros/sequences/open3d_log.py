"""Reader of RGB-D folders with a ``.log`` trajectory: Open3D, Redwood, augmented ICL-NUIM.

Layout after open3d.org (``open3d.data``: RedwoodIndoorLivingRoom1, LoungeRGBDImages, the
reconstruction system): colour in ``color``, ``image``, ``colors`` or ``rgb``, depth in ``depth``
(uint16 PNG, millimetres, 0 invalid), each in the order of the file names, and a trajectory
``*.log`` or ``*-traj.txt`` in the folder or in ``scene/``: five lines a frame, three numbers, of
which the third counts the depth images from 1, then the 4x4 **camera-to-world**
(redwood-data.org/indoor/fileformat.html). Camera: a JSON with ``width``, ``height`` and
``intrinsic_matrix`` (column-major, as Open3D writes it), else the PrimeSense default, f 525 and
c (319.5, 239.5). Colour is registered to depth. There are no stamps: frame i is at i / 30 s. The
original ICL-NUIM (left-handed) is another layout: ``icl_nuim.py``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lift_gs_ros.geometry import Camera
from lift_gs_ros.json_file import read_json
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    array_of,
    fitted_frame,
    numbers_of,
    read_color,
    read_depth,
    rows_of,
)

LAYOUT = 'color/ (or image/, colors/, rgb/), depth/ and a trajectory *.log or *-traj.txt'
RATE = 30.0  # Hz
PRIMESENSE = Camera.from_focal(525.0, 525.0, 319.5, 239.5, 640, 480)
COLOR_FOLDERS = ('color', 'image', 'colors', 'rgb')


def is_open3d(path: Path) -> bool:
    """Say whether a folder has images and such a trajectory."""
    return (path / 'depth').is_dir() and _color_folder(path) is not None and bool(_logs(path))


def open_open3d(path: Path) -> RecordedSequence:
    """Open a folder; ValueError where the images do not go together, or with the poses."""
    log = _logs(path)[0]
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    items = [lines[i : i + 5] for i in range(0, len(lines) - 4, 5)]
    folder = _color_folder(path)
    assert folder is not None  # is_open3d said so
    colors = sorted(file for file in folder.iterdir() if file.suffix in ('.jpg', '.png'))
    depths = sorted((path / 'depth').glob('*.png'))
    if len(colors) != len(depths):
        raise ValueError(
            f'{path} has {len(colors)} colour and {len(depths)} depth images, expected as many'
        )
    camera = _read_camera(path)
    readers = []
    for item in items:
        index = _number(item[0], log) - 1
        if not 0 <= index < len(depths):
            raise ValueError(f'{log} names frame {index + 1}, and there are {len(depths)}')
        pose = ' '.join(item[1:])
        reader = partial(_read_frame, index, colors[index], depths[index], pose, camera)
        readers.append((depths[index].stem, reader))
    return RecordedSequence(path.resolve().name, RATE, readers)


def _number(line: str, log: Path) -> int:
    """Return the third of the numbers before a pose, that of the frame, from 1."""
    try:
        return int(line.split()[2])
    except (IndexError, ValueError) as error:
        raise ValueError(
            f'{log} has the line {line[:80]!r}, expected three whole numbers before the four lines '
            'of a pose'
        ) from error


def _color_folder(path: Path) -> Path | None:
    return next((path / name for name in COLOR_FOLDERS if (path / name).is_dir()), None)


def _logs(path: Path) -> list[Path]:
    """Trajectories in the folder, or those of Open3D's reconstruction system in ``scene``."""
    return [
        file
        for folder in (path, path / 'scene')
        for pattern in ('*trajectory*.log', '*-traj.txt')
        for file in sorted(folder.glob(pattern))
    ]


def _read_camera(path: Path) -> Camera:
    for file in sorted(path.glob('*intrinsic*.json')):
        values = read_json(file, dict)
        width, height = numbers_of(values, 'width height', file)
        matrix = array_of(values.get('intrinsic_matrix'), (3, 3), f'{file}: intrinsic_matrix').T
        return Camera(matrix, int(width), int(height))
    return PRIMESENSE


def _read_frame(number: int, color: Path, depth: Path, pose: str, camera: Camera) -> RgbdFrame:
    metres = depth_to_metres(read_depth(depth))
    matrix = rows_of(pose.split(), (4, 4))
    return fitted_frame(round(number / RATE * 1e9), read_color(color), metres, camera, matrix)
