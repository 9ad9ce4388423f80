"""ROS messages to numpy and back: images, cameras, poses, stamps and map chunks.

What a recording must be able to do without ROS is in ``lift_gs_ros/messages.py``: reading images,
cameras and poses, imported here so that nodes find both ways in one place. Point clouds are in
``point_clouds.py``, answers (markers, masks, detections) in ``answers.py``.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, Transform
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from lift_gs_ros import packing
from lift_gs_ros.geometry import Camera, FloatArray, PointCloud
from lift_gs_ros.grounding.instances import MapSummary
from lift_gs_ros.mapping.chunks import chunk_corner
from lift_gs_ros.messages import (
    NANOSECONDS,
    camera_from_info,
    color_from_compressed,
    color_from_image,
    depth_from_compressed,
    depth_from_image,
    frame_name,
    is_distorted,
    matrix_from_pose,
    matrix_from_transform,
    matrix_from_values,
    read_color,
    read_depth,
    stamp_to_ns,
)
from lift_gs_ros.msg import MapChunk
from lift_gs_ros.nodes.buffers import set_data
from lift_gs_ros.nodes.point_clouds import (
    cloud_from_message,
    cloud_to_message,
    columns_to_message,
    pack_rgb,
)

__all__ = [  # what this module takes from messages.py
    'camera_from_info',
    'color_from_compressed',
    'color_from_image',
    'depth_from_compressed',
    'depth_from_image',
    'frame_name',
    'is_distorted',
    'matrix_from_pose',
    'matrix_from_transform',
    'matrix_from_values',
    'read_color',
    'read_depth',
    'stamp_to_ns',
]

MAX_MILLIMETRES = 65534  # 65535 means "no depth" for several sensors


def ns_to_stamp(nanoseconds: int) -> Time:
    """Convert integer nanoseconds since the epoch to a stamp."""
    seconds, remainder = divmod(int(nanoseconds), NANOSECONDS)
    if not 0 <= seconds < 2**31:
        raise ValueError(f'stamp is {nanoseconds} ns, expected 0 up to 2^31 s')
    return Time(sec=seconds, nanosec=remainder)


def make_header(stamp_ns: int, frame_id: str) -> Header:
    """Build a header from nanoseconds and a frame; TF knows no frame with a leading slash."""
    return Header(stamp=ns_to_stamp(stamp_ns), frame_id=frame_name(frame_id))


def image_from_color(color: NDArray[np.uint8], header: Header) -> Image:
    """Write (H, W, 3) uint8 red, green, blue as rgb8."""
    if color.dtype != np.uint8 or color.ndim != 3 or color.shape[2] != 3:
        raise ValueError(f'color is {color.dtype} {color.shape}, expected uint8 (H, W, 3)')
    return _image(color, 'rgb8', header)


def image_from_depth(depth: NDArray[np.float32], header: Header, encoding: str = '16UC1') -> Image:
    """Write depth (H, W) float32 metres, 0 where unknown, as 16UC1 or as 32FC1 (NaN: unknown)."""
    if depth.ndim != 2:
        raise ValueError(f'depth has shape {depth.shape}, expected (H, W)')
    if encoding not in ('16UC1', '32FC1'):
        raise ValueError(f"depth encoding is '{encoding}', expected '16UC1' or '32FC1'")
    metres = np.ascontiguousarray(depth, np.float32).reshape(-1)
    if encoding == '16UC1':
        pixels: NDArray = np.empty(depth.shape, '<u2')
        packing.round_to_millimetres(metres, MAX_MILLIMETRES, pixels.reshape(-1))
    else:
        pixels = np.empty(depth.shape, '<f4')
        packing.unknown_as_nan(metres, pixels.reshape(-1))
    return _image(pixels, encoding, header)


def _image(pixels: NDArray, encoding: str, header: Header) -> Image:
    message = Image(header=header, encoding=encoding, is_bigendian=0)
    message.height, message.width = pixels.shape[:2]
    message.step = pixels.nbytes // pixels.shape[0]
    set_data(message, pixels)
    return message


def info_from_camera(camera: Camera, header: Header) -> CameraInfo:
    """Write a camera without distortion."""
    message = CameraInfo(header=header, width=camera.width, height=camera.height)
    message.distortion_model = 'plumb_bob'
    message.d = [0.0] * 5
    message.k = camera.intrinsics.reshape(-1)
    message.r = np.eye(3).reshape(-1)
    message.p = np.hstack([camera.intrinsics, np.zeros((3, 1))]).reshape(-1)
    return message


def pose_from_matrix(matrix: FloatArray) -> Pose:
    """Write a rigid (4, 4) transform as a pose."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = map(float, matrix[:3, 3])
    quaternion = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    orientation = pose.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = map(float, quaternion)
    return pose


def transform_from_matrix(matrix: FloatArray) -> Transform:
    """Write a rigid (4, 4) transform."""
    pose = pose_from_matrix(matrix)
    transform = Transform(rotation=pose.orientation)
    translation, position = transform.translation, pose.position
    translation.x, translation.y, translation.z = position.x, position.y, position.z
    return transform


@dataclass(frozen=True)
class ChunkUpdate:
    """The newest state of one chunk, and of the map that it belongs to."""

    key: tuple[int, int, int]
    cloud: PointCloud  # core points; empty: the chunk is gone
    chunk_size: float  # metres
    voxel_size: float  # metres
    map: MapSummary  # voxels and chunks are not known here and 0
    stamp: int  # nanoseconds, of the newest keyframe
    frame_id: str
    map_id: int = 0  # random; another one is another map, of which nothing may be mixed with this


def matrix_from_parameter(values: Mapping[str, Any], name: str) -> FloatArray:
    """Build (4, 4) from the parameter of that name: x y z qx qy qz qw."""
    try:
        return matrix_from_values(values[name])
    except ValueError as error:
        raise ValueError(f'parameter {name}: {error}') from None


def random_map_id() -> int:
    """Return an id for a new map: no two are alike, whatever was started again and when."""
    return secrets.randbits(64)


def chunk_to_message(update: ChunkUpdate) -> MapChunk:
    """Write a chunk."""
    header = make_header(update.stamp, update.frame_id)
    message = MapChunk(header=header, cloud=cloud_to_message(update.cloud, header))
    message.key = np.array(update.key, dtype=np.int32)
    message.chunk_size, message.voxel_size = update.chunk_size, update.voxel_size
    message.map_id, message.map_version = update.map_id, update.map.version
    message.keyframes = update.map.keyframes
    return message


def chunks_to_cloud_message(updates: Sequence[ChunkUpdate]) -> PointCloud2:
    """Write chunks as one point cloud, for who does not know MapChunk.

    Fields: x y z rgb, and chunk_x chunk_y chunk_z (int32), the chunk that a point belongs to, so
    that who keeps points can replace those of a chunk. A chunk that is gone has no points.
    """
    cloud = PointCloud.concatenate([update.cloud for update in updates])
    keys = np.array([update.key for update in updates], np.int32).reshape(-1, 3)
    keys = keys.repeat([len(update.cloud) for update in updates], axis=0)
    columns = {
        **{name: cloud.positions[:, i] for i, name in enumerate('xyz')},
        'rgb': pack_rgb(cloud.colors),
        **{f'chunk_{name}': keys[:, i] for i, name in enumerate('xyz')},
    }
    newest = max(updates, key=lambda update: update.stamp)
    return columns_to_message(columns, make_header(newest.stamp, newest.frame_id))


def chunk_from_message(message: MapChunk) -> ChunkUpdate:
    """Read a chunk; refuses bad sizes, points outside, and what ``cloud_from_message`` does."""
    for name in ('chunk_size', 'voxel_size'):
        if not 0 < getattr(message, name) < np.inf:
            raise ValueError(f'{name} is {getattr(message, name)}, expected positive metres')
    i, j, k = (int(index) for index in message.key)
    cloud = cloud_from_message(message.cloud)
    lower = chunk_corner((i, j, k), message.chunk_size)
    over = np.maximum(lower - cloud.positions, cloud.positions - lower - message.chunk_size)
    if len(cloud) and over.max() > message.voxel_size:
        raise ValueError(
            f'chunk {(i, j, k)} of {message.chunk_size:.4g} m has points {over.max():.4g} m outside'
        )
    return ChunkUpdate(
        key=(i, j, k),
        cloud=cloud,
        chunk_size=message.chunk_size,
        voxel_size=message.voxel_size,
        map=MapSummary(version=message.map_version, keyframes=message.keyframes),
        stamp=stamp_to_ns(message.header.stamp),
        frame_id=frame_name(message.header.frame_id),
        map_id=message.map_id,
    )
