"""Reader of recordings of the phone app Record3D (LiDAR): ``.r3d`` files, packed or unpacked.

The app documents no format; this is what its author's scripts (github.com/marek-simonik/record3d,
issue 7) and nerfstudio (``process_data/record3d_utils.py``) read: a ZIP archive with ``metadata``
(JSON: ``w h`` of the images, ``dw dh`` of depth, ``fps``, ``K`` of the image, **column by column**,
``poses``: ``qx qy qz qw tx ty tz`` each, **camera-to-world**, metres, ARKit's axes: camera y up and
z backward, world y up) and, for frame i, ``rgbd/i.jpg``, ``rgbd/i.depth`` (LZFSE: float32 or
float16 metres, NaN invalid, registered to colour) and, in newer versions, ``rgbd/i.conf`` (LZFSE:
uint8, 0 low to 2; low confidence is taken as no depth). Newer versions also have
``perFrameIntrinsicCoeffs`` (``fx fy cx cy``) and ``frameTimestamps`` (seconds), which are taken.
The world is turned so that z is up.

The export "EXR + JPG" (``EXR_RGBD/``) is refused: the .r3d has the same depth without a library
for EXR.
"""

from __future__ import annotations

import ctypes
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera
from lift_gs_ros.images import MAX_PIXELS, decode_color
from lift_gs_ros.json_file import read_json
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres
from lift_gs_ros.sequences.axes import OPENGL_FROM_OPTICAL, Z_UP_FROM_Y_UP
from lift_gs_ros.sequences.recorded import RecordedSequence, array_of, fitted_frame, numbers_of
from lift_gs_ros.sequences.trajectory import pose_matrix

LAYOUT = 'an .r3d file, or metadata and rgbd/0.jpg, rgbd/0.depth'
MAX_BYTES = 2**29  # of a file in the archive; a ZIP file of a few kilobytes may claim any size
Archive = Path | zipfile.Path
LISTS = ('frameTimestamps', 'poses', 'perFrameIntrinsicCoeffs')


def is_record3d(path: Path) -> bool:
    """Say whether this is a recording, packed or not, or the export with EXR files."""
    if path.is_file():
        return path.suffix == '.r3d'
    return (path / 'metadata').is_file() or any(path.glob('depth/*.exr'))


def open_record3d(path: Path) -> RecordedSequence:
    """Open a recording; ValueError where it is the export with EXR files, or damaged.

    ImportError, with what to install, without lzfse.
    """
    if path.is_dir() and not (path / 'metadata').is_file():
        raise ValueError(f'{path} has EXR depth, which is not read: share the .r3d from Record3D')
    _lzfse()
    try:
        archive = _opened(path) if path.is_file() else path
        metadata = read_json(archive / 'metadata', dict)
    except (zipfile.BadZipFile, zlib.error, OSError) as error:
        raise ValueError(f'{path} is no whole .r3d file: {error}') from error
    where = f'{path}, metadata'
    (rate,) = numbers_of(metadata, 'fps', where)
    if not rate > 0:
        raise ValueError(f'{path} says fps {rate:g}, expected frames per second above 0')
    times, poses, _ = (_list(metadata, name, where) for name in LISTS)
    times = array_of(times, (len(times),), f'{where}: frameTimestamps').tolist()
    count = len(poses)
    readers = [
        (
            f'{i}',
            partial(_read_frame, archive, i, metadata, times[i] if i < len(times) else i / rate),
        )
        for i in range(count)
    ]
    return RecordedSequence(path.resolve().stem, rate, readers)


def _list(metadata: dict[str, Any], name: str, where: str) -> list[Any]:
    values = metadata.get(name) or []
    if not isinstance(values, list):
        raise ValueError(f'{where}: {name} is {str(values)[:80]}, expected a list, one a frame')
    return values


def _opened(path: Path) -> zipfile.Path:
    """Open an archive; no member is read beyond the size that is checked here."""
    file = zipfile.ZipFile(path)
    largest = max(file.infolist(), key=lambda info: info.file_size, default=None)
    if largest is not None and largest.file_size > MAX_BYTES:
        raise ValueError(
            f'{path} holds {largest.filename} of {largest.file_size} bytes, expected a recording '
            f'whose files have at most {MAX_BYTES}'
        )
    return zipfile.Path(file)


def _read_frame(
    archive: Archive, number: int, metadata: dict[str, Any], seconds: float
) -> RgbdFrame:
    shape = tuple(map(int, numbers_of(metadata, 'dh dw', 'metadata')))
    depth = _unpack(archive / 'rgbd' / f'{number}.depth', shape, (np.float32, np.float16))
    confidence = archive / 'rgbd' / f'{number}.conf'
    if confidence.exists():
        depth = np.where(_unpack(confidence, shape, (np.uint8,)) > 0, depth, 0)
    color = decode_color(_content(archive / 'rgbd' / f'{number}.jpg'), f'{number}.jpg')
    what = f'metadata: pose {number}'
    qx, qy, qz, qw, *position = array_of(metadata['poses'][number], (7,), what)
    pose = Z_UP_FROM_Y_UP @ pose_matrix([*position, qx, qy, qz, qw]) @ OPENGL_FROM_OPTICAL
    camera = _camera(metadata, number)
    return fitted_frame(round(seconds * 1e9), color, depth_to_metres(depth), camera, pose)


def _content(file: Archive) -> bytes:
    try:
        return file.read_bytes()
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f'{file.name} is damaged in the archive: {error}') from error


def _unpack(file: Archive, shape: tuple[int, ...], kinds: tuple[type, ...]) -> NDArray:
    """Decompress an array (H, W) of the first of these types that fits its size."""
    count = int(np.prod(shape))
    if not 0 < count <= MAX_PIXELS:
        raise ValueError(f'metadata says dh dw {shape}, expected at most {MAX_PIXELS} pixels')
    data = _decompress(_content(file), count * np.dtype(kinds[0]).itemsize, file.name)
    for kind in kinds:
        if len(data) == count * np.dtype(kind).itemsize:
            return data.view(kind).reshape(shape)
    raise ValueError(f'{file.name} has {len(data)} bytes or more, expected {shape} numbers')


def _decompress(data: bytes, most: int, name: str) -> NDArray[np.uint8]:
    """Decompress LZFSE to at most one byte more than ``most``.

    ``lzfse.decompress`` follows a stream to any size; the C function that it calls takes a buffer.
    """
    buffer = np.empty(most + 1, np.uint8)
    decode = _lzfse().lzfse_decode_buffer
    decode.restype = ctypes.c_size_t
    decode.argtypes = (*2 * (ctypes.c_void_p, ctypes.c_size_t), ctypes.c_void_p)
    size = decode(buffer.ctypes.data, len(buffer), data, len(data), None)
    if size == 0:
        raise ValueError(f'{name} is no whole LZFSE stream ({len(data)} bytes)')
    return buffer[:size]


def _lzfse() -> ctypes.CDLL:
    try:
        import lzfse
    except ImportError as error:
        raise ImportError('reading .r3d files needs lzfse: pip install lzfse') from error
    return ctypes.CDLL(lzfse.__file__)


def _camera(metadata: dict[str, Any], number: int) -> Camera:
    width, height = map(int, numbers_of(metadata, 'w h', 'metadata'))
    coefficients = metadata.get('perFrameIntrinsicCoeffs') or ()
    if number < len(coefficients):
        what = f'metadata: perFrameIntrinsicCoeffs {number}'
        fx, fy, cx, cy = array_of(coefficients[number], (4,), what)
        return Camera.from_focal(fx, fy, cx, cy, width, height)
    return Camera(array_of(metadata.get('K'), (3, 3), 'metadata: K').T, width, height)
