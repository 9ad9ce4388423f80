"""Reader of ScanNet v2 (Dai et al. 2017): the exported folder, and the ``.sens`` file itself.

Layouts and conventions as github.com/ScanNet/ScanNet, SensReader (README.md, python/), has them:

* the folder that its ``reader.py`` exports: ``color/0.jpg``, ``depth/0.png`` (uint16 millimetres, 0
  invalid), ``pose/0.txt`` (4x4 **camera-to-world**; -inf where tracking was lost), and
  ``intrinsic/intrinsic_color.txt`` and ``intrinsic_depth.txt`` (4x4);
* ``.sens``, version 4: little-endian; a header with the same matrices, then per frame the pose (16
  float32), two stamps and two sizes (uint64), a JPEG and the depth, zlib-compressed uint16 in units
  of ``1 / depth_shift`` metres.

Colour (1296x968) is resampled to the rays of the depth pixels (640x480). The extrinsics between the
two cameras are the identity: "Color and depth are already aligned, so no extrinsic matrices should
be applied" (an author, in issue 92 there; also issue 2), not even the ``colorToDepthExtrinsics``
that some scans' ``.txt`` has. The unit of the stamps could not be confirmed: frame i is at i / 30
s. The world has z up: the paper says that scans and camera poses are brought into such a frame.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.images import decode_color
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.recorded import (
    RecordedSequence,
    number_in_name,
    read_color,
    read_depth,
    read_matrix,
    rows_of,
)

LAYOUT = 'color/0.jpg, depth/0.png, pose/0.txt and intrinsic/intrinsic_depth.txt'
SENS_LAYOUT = 'a .sens file'
RATE = 30.0  # Hz

_SENS_SIZES = struct.Struct('<iiIIIIfQ')
_SENS_FRAME = struct.Struct('<16fQQQQ')


def is_scannet(path: Path) -> bool:
    """Say whether a folder is an exported scan."""
    return (path / 'intrinsic' / 'intrinsic_depth.txt').is_file() and (path / 'pose').is_dir()


def is_sens(path: Path) -> bool:
    """Say whether a file is a scan as it was recorded."""
    return path.suffix == '.sens' and path.is_file()


def open_scannet(path: Path) -> RecordedSequence:
    """Open an exported folder; exports with a frame skip keep the frames' numbers."""
    intrinsics = [
        read_matrix(path / 'intrinsic' / f'intrinsic_{kind}.txt', (4, 4)) for kind in
        ('depth', 'color')
    ]  # fmt: skip
    numbers = sorted(number_in_name(file) for file in (path / 'pose').glob('*.txt'))
    readers = [(f'{n}', partial(_read_exported, path, n, *intrinsics)) for n in numbers]
    step = np.median(np.diff(numbers)) if len(numbers) > 1 else 1
    return RecordedSequence(path.resolve().name, RATE / float(step), readers)


def _read_exported(
    path: Path, number: int, depth_intrinsics: FloatArray, color_intrinsics: FloatArray
) -> RgbdFrame:
    pose = read_matrix(path / 'pose' / f'{number}.txt', (4, 4))
    depth = depth_to_metres(read_depth(path / 'depth' / f'{number}.png'))
    color = read_color(path / 'color' / f'{number}.jpg')
    return _frame(number, color, depth, depth_intrinsics, color_intrinsics, pose)


def _frame(
    number: int,
    color: NDArray[np.uint8],
    depth: NDArray[np.float32],
    depth_intrinsics: FloatArray,  # (4, 4)
    color_intrinsics: FloatArray,  # (4, 4)
    pose: FloatArray,
) -> RgbdFrame:
    """Resample colour to the depth pixels; black where the colour camera does not reach."""
    height, width = depth.shape
    camera = Camera(depth_intrinsics[:3, :3], width, height)
    # The colour pixel of depth pixel (u, v) is (a u + b, c v + d); Pillow counts from corners.
    scale = np.diag(color_intrinsics)[:2] / np.diag(depth_intrinsics)[:2]
    offset = color_intrinsics[:2, 2] - scale * depth_intrinsics[:2, 2] + 0.5 - 0.5 * scale
    affine = (scale[0], 0, offset[0], 0, scale[1], offset[1])
    image = Image.fromarray(color)
    warped = image.transform(
        (width, height), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
    )
    return RgbdFrame(round(number / RATE * 1e9), np.asarray(warped), depth, camera, pose)


@dataclass(frozen=True)
class SensFrames:
    """Frames of a ``.sens`` file, found one after the other (it has no index)."""

    path: Path
    begin: int  # bytes before the first frame
    count: int
    size: tuple[int, int]  # of depth, (width, height)
    units_per_metre: float
    intrinsics: tuple[FloatArray, FloatArray]  # of depth and of colour, (4, 4)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[str, Callable[[], RgbdFrame]]]:
        with self.path.open('rb') as file:
            file.seek(self.begin)
            for number in range(self.count):
                head = file.read(_SENS_FRAME.size)
                if len(head) < _SENS_FRAME.size:
                    raise ValueError(f'{self.path} ends in frame {number} of {self.count}')
                *pose, _, _, color_size, depth_size = _SENS_FRAME.unpack(head)
                left = self.path.stat().st_size - file.tell()
                if color_size + depth_size > left:
                    raise ValueError(f'{self.path} ends in frame {number} of {self.count}')
                color, depth = file.read(color_size), file.read(depth_size)
                yield f'{number}', partial(self._read, number, pose, color, depth)

    def _read(self, number: int, pose: list[float], color: bytes, depth: bytes) -> RgbdFrame:
        width, height = self.size
        expected = 2 * width * height
        # Not one byte more than the image has, whatever the stream claims.
        try:
            values = zlib.decompressobj().decompress(depth, expected)
        except zlib.error as error:
            raise ValueError(f'depth is no whole zlib stream: {error}') from error
        if len(values) != expected:
            raise ValueError(f'depth has {len(values)} bytes, expected {expected}')
        raw = np.frombuffer(values, '<u2').reshape(height, width).astype(np.uint16)
        metres = depth_to_metres(raw, self.units_per_metre)
        matrix = rows_of(pose, (4, 4))
        return _frame(number, decode_color(color, 'colour'), metres, *self.intrinsics, matrix)


def open_sens(path: Path) -> RecordedSequence:
    """Open a ``.sens`` file; ValueError where it is of another kind or has other compressions."""
    with path.open('rb') as file:
        try:
            version, name_length = struct.unpack('<IQ', file.read(12))
            if version != 4 or name_length > 1000:
                raise ValueError(f'{path} is of version {version}, expected a .sens file of 4')
            file.read(name_length)
            matrices = np.frombuffer(file.read(4 * 64), '<f4').reshape(4, 4, 4).astype(np.float64)
            sizes = _SENS_SIZES.unpack(file.read(_SENS_SIZES.size))
        except (struct.error, ValueError) as error:
            raise ValueError(f'{path} is no whole .sens file: {error}') from error
        color_kind, depth_kind, _, _, width, height, shift, count = sizes
        if (color_kind, depth_kind) not in ((2, 1), (1, 1)):
            raise ValueError(
                f'{path} has colour compressed by {color_kind} and depth by {depth_kind}, '
                'expected 2 (JPEG) or 1 (PNG), and 1 (zlib)'
            )
        intrinsics = matrices[2], matrices[0]
        frames = SensFrames(path, file.tell(), count, (width, height), shift, intrinsics)
    return RecordedSequence(path.stem, RATE, frames)
