"""ROS messages read as plain objects: images, cameras, poses and stamps, without ROS.

A message is anything with the fields of its type, whichever library made it: rclpy on the robot,
rosbags from a recording. Whatever it gets wrong ends in a ValueError that names the field, its
value and what was expected. No raw image allocates more than the message carries.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lift_gs_ros import packing
from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.images import decode_color, decode_depth
from lift_gs_ros.mapping.frame import depth_to_metres

NANOSECONDS = 1_000_000_000

# Channels of an encoding, and which of them are red, green and blue.
COLOR_ENCODINGS = {
    'rgb8': (3, (0, 1, 2)),
    'bgr8': (3, (2, 1, 0)),
    'rgba8': (4, (0, 1, 2)),
    'bgra8': (4, (2, 1, 0)),
    'mono8': (1, (0, 0, 0)),
}
DEPTH_ENCODINGS = {'16UC1': np.uint16, 'mono16': np.uint16, '32FC1': np.float32}


def stamp_to_ns(stamp: Any) -> int:
    """Convert a stamp to integer nanoseconds."""
    return stamp.sec * NANOSECONDS + stamp.nanosec


def frame_name(frame_id: str) -> str:
    """Strip the leading slash that ROS 1 and some drivers still write."""
    return frame_id.lstrip('/')


def color_from_image(message: Any) -> NDArray[np.uint8]:
    """Read a sensor_msgs/Image as (H, W, 3) uint8 red, green, blue; shares memory where it can."""
    if message.encoding not in COLOR_ENCODINGS:
        raise ValueError(
            f"colour image has encoding '{message.encoding}', expected one of "
            f'{", ".join(COLOR_ENCODINGS)}'
        )
    channels, order = COLOR_ENCODINGS[message.encoding]
    pixels = _pixels(message, np.dtype(np.uint8), channels)
    if channels == 3 and order == (0, 1, 2):
        return pixels
    color = np.empty((message.height, message.width, 3), np.uint8)
    if channels == 3 and order == (2, 1, 0):
        packing.swap_channels(pixels.reshape(-1), color.reshape(-1))
    else:
        packing.reorder(pixels, np.array(order, np.uint64), color)
    return color


def depth_from_image(message: Any) -> NDArray[np.float32]:
    """Read a sensor_msgs/Image of depth as (H, W) float32 metres, 0 where unknown.

    16UC1 and mono16 hold millimetres, 32FC1 metres (REP-118).
    """
    if message.encoding not in DEPTH_ENCODINGS:
        raise ValueError(
            f"depth image has encoding '{message.encoding}', expected one of "
            f'{", ".join(DEPTH_ENCODINGS)}'
        )
    pixels = _pixels(message, np.dtype(DEPTH_ENCODINGS[message.encoding]), 1)
    return depth_to_metres(pixels[..., 0])


def _pixels(message: Any, dtype: np.dtype, channels: int) -> NDArray:
    """Pixels (H, W, channels) in native byte order, without the padding at the ends of rows."""
    height, width, step = message.height, message.width, message.step
    row = width * channels * dtype.itemsize
    if row == 0 or height == 0 or step < row or len(message.data) != step * height:
        raise ValueError(
            f"image '{message.encoding}' of {width}x{height} with step {step} carries "
            f'{len(message.data)} bytes, expected a positive size, a step of at least {row} '
            f'and step * height = {step * height} bytes'
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)[:, :row]
    order = dtype.newbyteorder('>' if message.is_bigendian else '<')
    pixels = np.ascontiguousarray(rows).view(order).reshape(height, width, channels)
    return pixels.astype(dtype, copy=False)


def color_from_compressed(message: Any) -> NDArray[np.uint8]:
    """Read a sensor_msgs/CompressedImage (JPEG or PNG) as (H, W, 3) uint8 red, green, blue.

    Its format is ``jpeg``, ``png``, or that of image_transport: ``rgb8; jpeg compressed bgr8``,
    where pixels of another order than bgr8 were compressed as if they had it.
    """
    color = decode_color(bytes(message.data), f"compressed image '{message.format}'")
    encoding, _, compression = message.format.partition(';')
    if encoding.strip() not in COLOR_ENCODINGS or encoding.strip() == 'mono8':
        return color
    return color if 'compressed bgr' in compression else np.ascontiguousarray(color[..., ::-1])


# compressed_depth_image_transport: a header of an enumeration (int32) and the two parameters a, b
# of inverse depth (float32), then a PNG. Depth of 32FC1 is a / (value - b) metres.
_DEPTH_HEADER = struct.Struct('<iff')


def depth_from_compressed(message: Any) -> NDArray[np.float32]:
    """Read a sensor_msgs/CompressedImage of depth as (H, W) float32 metres, 0 where unknown.

    Formats: ``16UC1; compressedDepth`` and ``32FC1; compressedDepth``, both also with ``png``
    after them, and a plain 16-bit PNG in millimetres (``16UC1; png compressed``, ``png``).
    """
    name = f"compressed depth '{message.format}'"
    encoding = message.format.partition(';')[0].strip()
    data = bytes(message.data)
    if 'rvl' in message.format:
        raise ValueError(f'{name} cannot be read, expected png: set the publisher to png')
    if 'compressedDepth' not in message.format:
        return depth_to_metres(decode_depth(data, name))
    if encoding not in DEPTH_ENCODINGS or len(data) <= _DEPTH_HEADER.size:
        raise ValueError(
            f'{name} carries {len(data)} bytes, expected an encoding of '
            f'{", ".join(DEPTH_ENCODINGS)} and more than the {_DEPTH_HEADER.size} of its header'
        )
    values = decode_depth(data[_DEPTH_HEADER.size :], name)
    if encoding != '32FC1':
        return depth_to_metres(values)
    _, a, b = _DEPTH_HEADER.unpack_from(data)
    with np.errstate(divide='ignore', invalid='ignore'):
        metres = np.float32(a) / (values - np.float32(b))
    return depth_to_metres(np.where(values > 0, metres, 0))


def read_color(message: Any) -> NDArray[np.uint8]:
    """Read colour from a sensor_msgs/Image or CompressedImage, as the functions above."""
    compressed = hasattr(message, 'format')
    return color_from_compressed(message) if compressed else color_from_image(message)


def read_depth(message: Any) -> NDArray[np.float32]:
    """Read depth from a sensor_msgs/Image or CompressedImage, as the functions above."""
    compressed = hasattr(message, 'format')
    return depth_from_compressed(message) if compressed else depth_from_image(message)


def camera_from_info(message: Any) -> Camera:
    """Read the camera of a *rectified* image: ``p`` where it is filled in, else ``k``.

    Distortion ``d`` belongs to the raw image and is not looked at here (see ``is_distorted``).
    A region of interest moves the principal point, binning shrinks the image. Raises ValueError
    for a calibration with zeros.
    """
    intrinsics = np.array(_matrix_field(message, 'k'), dtype=np.float64).reshape(3, 3)
    camera = Camera(intrinsics, message.width, message.height)
    projection = np.array(_matrix_field(message, 'p'), dtype=np.float64).reshape(3, 4)[:, :3].copy()
    if projection[0, 0] > 0 and projection[1, 1] > 0:
        camera = Camera(projection, message.width, message.height)
    roi = message.roi
    if roi.width and roi.height:
        shifted = camera.intrinsics - np.array(
            [[0, 0, roi.x_offset], [0, 0, roi.y_offset], [0] * 3]
        )
        camera = Camera(shifted, roi.width, roi.height)
    binning = max(message.binning_x, 1), max(message.binning_y, 1)
    if binning == (1, 1):
        return camera
    return camera.resized(camera.width // binning[0], camera.height // binning[1])


def is_distorted(message: Any) -> bool:
    """Say whether the calibration has lens distortion, that is, may belong to a raw image."""
    return bool(np.any(np.array(_matrix_field(message, 'd'), dtype=np.float64)))


def _matrix_field(message: Any, name: str) -> Any:
    """A matrix of a CameraInfo; ROS 1 writes them in capitals."""
    return getattr(message, name) if hasattr(message, name) else getattr(message, name.upper())


def matrix_from_pose(message: Any) -> FloatArray:
    """Read a pose as (4, 4) ``parent_from_child``; refuses NaN and quaternions off unit length."""
    return _matrix(message.position, message.orientation)


def matrix_from_transform(message: Any) -> FloatArray:
    """Read a transform as (4, 4) ``parent_from_child``; refuses as ``matrix_from_pose`` does."""
    return _matrix(message.translation, message.rotation)


def _matrix(translation, rotation) -> FloatArray:
    position = [translation.x, translation.y, translation.z]
    return matrix_from_values(position + [rotation.x, rotation.y, rotation.z, rotation.w])


def matrix_from_values(values: list[float], tolerance: float = 1e-2) -> FloatArray:
    """Build (4, 4) from x y z (metres) and a quaternion x y z w of length 1 +- ``tolerance``."""
    if len(values) != 7 or not np.isfinite(values).all():
        raise ValueError(f'pose is {list(values)}, expected 7 finite numbers: x y z qx qy qz qw')
    norm = float(np.linalg.norm(values[3:]))
    if abs(norm - 1) > tolerance:
        raise ValueError(
            f'quaternion x y z w = {list(values[3:])} has length {norm:.4g}, expected 1'
        )
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(values[3:]).as_matrix()
    matrix[:3, 3] = values[:3]
    return matrix
