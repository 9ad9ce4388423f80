"""Reader of RGB-D folders with a ``.log`` trajectory: Open3D, Redwood, augmented ICL-NUIM.

Layout after open3d.org (``open3d.data``: RedwoodIndoorLivingRoom1, LoungeRGBDImages, the
reconstruction system): colour in ``color``, ``image``, ``colors`` or ``rgb``, depth in ``depth``
(uint16 PNG, millimetres, 0 invalid), each in the order of the file names, and a trajectory
``*.log`` or ``*-traj.txt`` in the folder or in ``scene/``: five lines a frame, three numbers, of
which the third counts the depth images from 1, then the 4x4 **camera-to-world**
(redwood-data.org/indoor/fileformat.html). Open3D goes by the order alone, so that a missing image
would move all after it; here colour and depth go together by the first number in their names, and
by their order only where the two kinds are numbered otherwise (stamps) and are as many. Camera: a
JSON with ``width``, ``height`` and
``intrinsic_matrix`` (column-major, as Open3D writes it), else the PrimeSense default, f 525 and
c (319.5, 239.5). Colour is registered to depth. There are no stamps: frame i is at i / 30 s. The
original ICL-NUIM (left-handed) is another layout: ``icl_nuim.py``.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from lift_gs_ros.geometry import Camera
from lift_gs_ros.json_file import read_json
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    array_of,
    first_of_each,
    fitted_frame,
    numbers_of,
    read_color,
    read_depth,
    rows_of,
)

LAYOUT = 'color/ (or image/, colors/, rgb/), depth/ and a trajectory *.log or *-traj.txt'
RATE = 30.0  # Hz
PRIMESENSE = Camera.from_focal(525.0, 525.0, 319.5, 239.5, 640, 480)
MOST_MISSING = 100  # times as many frames as there are, whatever the numbers in names claim
COLOR_FOLDERS = ('color', 'image', 'colors', 'rgb')
Pair = tuple[Path | None, Path | None]  # colour and depth of a frame


def is_open3d(path: Path) -> bool:
    """Say whether a folder has images and such a trajectory."""
    return (path / 'depth').is_dir() and _color_folder(path) is not None and bool(_logs(path))


def open_open3d(path: Path) -> RecordedSequence:
    """Open a folder; ValueError where the images do not go together, or with the poses."""
    log = _logs(path)[0]
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    items = [lines[i : i + 5] for i in range(0, len(lines) - 4, 5)]
    numbers = [_number(item[0], log) for item in items]
    pairs, camera = _pairs(path, max(numbers, default=0)), _read_camera(path)
    readers = []
    for index, item in zip((number - 1 for number in numbers), items):
        if not 0 <= index < len(pairs):
            raise ValueError(
                f'{log} names frame {index + 1}, expected one of the {len(pairs)} that there are: '
                'it is of another recording, or of one whose first or last images are missing'
            )
        reader = partial(_read_frame, index, pairs[index], ' '.join(item[1:]), camera)
        readers.append((_name(pairs[index], index), reader))
    return RecordedSequence(path.resolve().name, RATE, readers)


def _pairs(path: Path, last: int) -> list[Pair]:
    """Colour and depth image of each frame, None where one is missing, in the log's order.

    Raises ValueError where neither the numbers in the names nor the order says what goes together.
    """
    folder = _color_folder(path)
    assert folder is not None  # is_open3d said so
    colors, depths = _images(folder, ('.jpg', '.png')), _images(path / 'depth', ('.png',))
    color_of, depth_of = _numbered(colors), _numbered(depths)
    numbered = len(color_of) == len(colors) and len(depth_of) == len(depths)
    both = color_of.keys() & depth_of.keys()
    if numbered and 2 * len(both) >= max(len(colors), len(depths), 1):
        counted = _counted(sorted(color_of | depth_of), last)
        return [(color_of.get(n), depth_of.get(n)) for n in counted]
    if len(colors) != len(depths):
        raise ValueError(
            f'{path} has {len(colors)} colour and {len(depths)} depth images whose names do not '
            'say which go together, expected one number for both, as in color/00012.jpg and '
            'depth/00012.png, or as many'
        )
    return list(zip(colors, depths))


def _images(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Images in the order of their names, one of each name."""
    files = sorted(file for file in folder.iterdir() if file.suffix in suffixes)
    return first_of_each(files, lambda file: file.stem, folder)


def _numbered(files: list[Path]) -> dict[int, Path]:
    """Files by the first number in their names: 12 of 0000012-000000366640.png."""
    numbers = ((re.search(r'\d+', file.stem), file) for file in files)
    return {int(digits[0]): file for digits, file in numbers if digits}


def _counted(found: list[int], last: int) -> list[int]:
    """Count from the first number in the usual step, over what is missing.

    Counted from 0, what is missing before frame ``last`` can only be missing at the end.
    """
    steps = np.diff(found)
    step = int(steps.min()) if len(steps) else 1
    count = (found[-1] - found[0]) // step + 1
    most = MOST_MISSING * len(found)
    if (steps % step).any() or count > most:
        return found  # numbers that do not count, as stamps
    count = max(count, min(last, most)) if found[0] == 0 else count
    return [found[0] + i * step for i in range(count)]


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


def _name(pair: Pair, index: int) -> str:
    return next((file.stem for file in reversed(pair) if file is not None), f'{index + 1}')


def _read_frame(number: int, pair: Pair, pose: str, camera: Camera) -> RgbdFrame:
    color, depth = pair
    if color is None or depth is None:
        missing = 'colour' if depth else 'depth' if color else 'colour and depth'
        raise ValueError(f'its {missing} is missing, of the number that the trajectory names')
    metres = depth_to_metres(read_depth(depth))
    matrix = rows_of(pose.split(), (4, 4))
    return fitted_frame(round(number / RATE * 1e9), read_color(color), metres, camera, matrix)
