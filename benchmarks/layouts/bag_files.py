"""Writes real bags of any kind with rosbags, and the messages that go into them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from rosbags.interfaces import Nodetype
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from scipy.spatial.transform import Rotation

from benchmarks.layouts.recording import Recording

NOETIC = get_typestore(Stores.ROS1_NOETIC)
JAZZY = get_typestore(Stores.ROS2_JAZZY)
TRANSFORMS = 'geometry_msgs/TransformStamped[] transforms\n'
NOETIC.register(
    {
        **get_types_from_msg(TRANSFORMS, 'tf2_msgs/msg/TFMessage'),
        **get_types_from_msg(TRANSFORMS, 'tf/msg/tfMessage'),
    }
)
KINDS = ('sqlite3', 'mcap', 'ros1')


class BagWriter:
    """One interface to the three kinds of bag."""

    def __init__(self, writer, store) -> None:
        self.store, self.ros1 = store, store is NOETIC
        self._writer = writer
        self._connections: dict = {}

    def __call__(self, topic, msgtype, now, trailing=b'', **fields):
        """Write a message at a time (nanoseconds); what is not given is empty."""
        key = topic, msgtype
        if key not in self._connections:
            self._connections[key] = self._writer.add_connection(
                topic, msgtype, typestore=self.store
            )
        message = self.make(msgtype, **fields)
        serialize = self.store.serialize_ros1 if self.ros1 else self.store.serialize_cdr
        raw = bytes(serialize(message, msgtype)) + trailing
        self._writer.write(self._connections[key], now, raw)

    def make(self, msgtype, **fields):
        """Build a message with zeros for what is not given."""
        values = {}
        for name, (kind, spec) in self.store.fielddefs[msgtype][1]:
            if name in fields:
                values[name] = fields[name]
            elif kind == Nodetype.BASE:
                values[name] = '' if spec[0] == 'string' else 0
            elif kind == Nodetype.NAME:
                values[name] = self.make(spec)
            else:  # an array of numbers, or an empty sequence
                values[name] = np.zeros(spec[1], spec[0][1][0])
        return self.store.types[msgtype](**values)

    def header(self, stamp, frame_id):
        """Build a header; stamp in nanoseconds."""
        time = self.store.types['builtin_interfaces/msg/Time'](
            sec=stamp // 10**9, nanosec=stamp % 10**9
        )
        return self.make('std_msgs/msg/Header', stamp=time, frame_id=frame_id)

    def vector(self, kind, values):
        """Build a Point, Vector3 or Quaternion from its numbers."""
        return self.make(f'geometry_msgs/msg/{kind}', **dict(zip('xyzw', map(float, values))))

    # What cameras and robots publish.

    def image(self, topic, stamp, frame_id, pixels, encoding, trailing=b''):
        """Write an Image of pixels (H, W) or (H, W, C)."""
        pixels = np.ascontiguousarray(pixels)
        data = np.frombuffer(pixels.tobytes(), np.uint8)
        self(
            topic,
            'sensor_msgs/msg/Image',
            stamp,
            trailing,
            header=self.header(stamp, frame_id),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            step=pixels.strides[0],
            data=data,
        )

    def compressed(self, topic, stamp, frame_id, data, image_format):
        """Write a CompressedImage."""
        self(
            topic,
            'sensor_msgs/msg/CompressedImage',
            stamp,
            header=self.header(stamp, frame_id),
            format=image_format,
            data=np.frombuffer(data, np.uint8),
        )

    def camera_info(self, topic, stamp, frame_id, camera):
        """Write a CameraInfo without distortion."""
        name = str.upper if self.ros1 else str.lower
        projection = np.hstack([camera.intrinsics, np.zeros((3, 1))])
        fields = {name('k'): camera.intrinsics.ravel(), name('p'): projection.ravel()}
        fields[name('d')], fields[name('r')] = np.zeros(5), np.eye(3).ravel()
        header = self.header(stamp, frame_id)
        fields |= {'height': camera.height, 'width': camera.width, 'header': header}
        self(topic, 'sensor_msgs/msg/CameraInfo', stamp, distortion_model='plumb_bob', **fields)

    def transform(self, stamp, parent, child, matrix, topic='/tf', legacy=False):
        """Write a transform (4, 4): parent from child."""
        make = self.make
        rotation = Rotation.from_matrix(matrix[:3, :3]).as_quat()
        stamped = make(
            'geometry_msgs/msg/TransformStamped',
            header=self.header(stamp, parent),
            child_frame_id=child,
            transform=make(
                'geometry_msgs/msg/Transform',
                translation=self.vector('Vector3', matrix[:3, 3]),
                rotation=self.vector('Quaternion', rotation),
            ),
        )
        self(
            topic,
            'tf/msg/tfMessage' if legacy else 'tf2_msgs/msg/TFMessage',
            stamp,
            transforms=[stamped],
        )

    def pose(self, topic, msgtype, stamp, frame_id, matrix, **fields):
        """Write an Odometry, a PoseStamped or a PoseWithCovarianceStamped."""
        pose = self.make(
            'geometry_msgs/msg/Pose',
            position=self.vector('Point', matrix[:3, 3]),
            orientation=self.vector('Quaternion', Rotation.from_matrix(matrix[:3, :3]).as_quat()),
        )
        if not msgtype.endswith('PoseStamped'):
            pose = self.make('geometry_msgs/msg/PoseWithCovariance', pose=pose)
        self(topic, msgtype, stamp, header=self.header(stamp, frame_id), pose=pose, **fields)


@contextmanager
def written(folder: Path, kind: str):
    """Write a bag of a kind into a folder that is not there yet; yields a BagWriter.

    The bag is ``folder / 'walk.bag'`` for ROS 1, else the folder.
    """
    if kind == 'ros1':
        folder.mkdir()
        with Writer1(folder / 'walk.bag') as writer:
            yield BagWriter(writer, NOETIC)
        return
    plugin = StoragePlugin.MCAP if kind == 'mcap' else StoragePlugin.SQLITE3
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        yield BagWriter(writer, JAZZY)


def play(bag: BagWriter, sequence, camera: str = '/camera') -> None:
    """Write what a camera publishes while a sequence is played, with its poses on TF."""
    name = f'{camera[1:]}_optical'
    for frame in sequence:
        stamp = frame.stamp
        bag.transform(stamp, 'map', name, frame.world_from_camera)
        bag.camera_info(f'{camera}/color/camera_info', stamp, name, frame.camera)
        bag.image(f'{camera}/color/image_raw', stamp, name, frame.color, 'rgb8')
        depth = np.round(frame.depth * 1000).astype(np.uint16)
        bag.image(f'{camera}/depth/image_raw', stamp, name, depth, '16UC1')


def record(folder: Path, sequence, kind: str = 'mcap') -> None:
    """Write the bag of one camera."""
    with written(folder, kind) as bag:
        play(bag, sequence)


def bag_writer(kind: str) -> Callable[[Path, Recording], Path]:
    """Return what writes a recording as a bag: 30 frames a second, poses on TF."""

    def write(folder: Path, recording: Recording) -> Path:
        frames = (
            replace(frame, stamp=10**9 + number * 10**9 // 30, world_from_camera=pose)
            for number, frame, pose in recording.frames()
        )
        record(folder / 'walk', frames, kind)
        return folder / 'walk' / ('walk.bag' if kind == 'ros1' else '')

    return write


def to_file(pixels, kind) -> bytes:
    """Encode pixels as PNG or JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=95)
    return file.getvalue()


def compressed_depth(depth, encoding='16UC1', quantisation=100.0, depth_max=10.0):
    """What compressed_depth_image_transport makes of depth in metres, 0 where unknown."""
    if encoding == '16UC1':
        return struct.pack('<iff', 0, 0, 0) + to_file(np.round(depth * 1000).astype('u2'), 'PNG')
    a = quantisation * (quantisation + 1)
    b = 1 - a / depth_max
    with np.errstate(divide='ignore'):
        values = np.where((depth > 0) & (depth < depth_max), a / depth + b, 0)
    return struct.pack('<iff', 0, a, b) + to_file(values.astype('u2'), 'PNG')
