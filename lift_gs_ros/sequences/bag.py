"""Reader of recordings: rosbag2 (sqlite3 and mcap) and ROS 1 bags, without ROS.

Colour (raw, or compressed as JPEG or PNG) is paired with depth (16UC1, mono16, 32FC1, or
compressedDepth) by header stamp. Poses come from TF (tf2_msgs/TFMessage, and the tf/tfMessage of
old ROS 1 bags) where TF moves the camera, else from odometry or pose messages, and are interpolated
at the stamp of the colour image. Odometry is about its ``child_frame_id``, carried to the camera
by static TF; a pose topic is taken to be about the camera's optical frame itself. Depth of another
frame than colour is registered with both calibrations and the transform between them; depth of the
same frame and another size is the same view, whose size colour is brought to where no calibration
beside depth says otherwise. Units and invalid values are those of REP-118 and REP-117: uint16
millimetres, 0 unknown; float metres, NaN and inf unknown. Poses are metres, ``world_from_camera``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lift_gs_ros import messages
from lift_gs_ros.geometry import Camera
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.mapping.registration import register_depth
from lift_gs_ros.mapping.synchronizer import PairSynchronizer
from lift_gs_ros.sequences.bag_file import BagFile, is_bag
from lift_gs_ros.sequences.bag_poses import CameraPoses, find_poses
from lift_gs_ros.sequences.bag_topics import INFO_TYPE, BagTopics, Topic, choose, info_names
from lift_gs_ros.sequences.recorded import RecordedSequence, fitted_frame

__all__ = ['LAYOUT', 'BagTopics', 'is_bag', 'open_bag']

logger = logging.getLogger(__name__)

LAYOUT = 'a .mcap, .db3 or .bag file, or the folder of a rosbag2 with metadata.yaml'
SLOP = 0.02  # seconds between the stamps of colour and depth
WAITING = 30  # images of one side that wait for the other: a second


def open_bag(path: Path, wanted: BagTopics | None = None) -> RecordedSequence:
    """Open a recording; small messages (poses, calibration) are read now, images as frames are.

    Raises ValueError with one sentence where the file is damaged, or holds no colour, depth,
    calibration or poses, or several of which one must be chosen (``wanted``).
    """
    wanted = wanted or BagTopics()
    with _said_of(path), BagFile(path) as bag:
        topics = bag.topics()
        rgb, depth, info = choose(topics, wanted)
        calibration = bag.first(info)
        if messages.is_distorted(calibration) and 'rect' not in rgb.name:
            logger.warning('%s: %s has lens distortion, which is not undone', path, info.name)
        poses = find_poses(bag, topics, wanted, rgb.frame_id)
        sensor = Sensor(
            messages.camera_from_info(calibration),
            poses,
            _depth_camera(bag, topics, rgb, depth, poses),
        )
        seconds = bag.seconds
    rate = (rgb.count - 1) / seconds if rgb.count > 1 and seconds > 0 else 30.0
    return RecordedSequence(path.resolve().name, rate, BagFrames(path, rgb, depth, sensor))


@dataclass(frozen=True)
class Sensor:
    """What is known of the camera besides its images."""

    color_camera: Camera
    poses: CameraPoses
    depth_camera: tuple[str, Camera] | None  # its frame; None: depth is registered to colour

    def frame(self, rgb: Any, depth: Any) -> RgbdFrame:
        """Build a frame of a colour and a depth message."""
        stamp = messages.stamp_to_ns(rgb.header.stamp)
        color_frame = messages.frame_name(rgb.header.frame_id)
        metres, color = messages.read_depth(depth), messages.read_color(rgb)
        pose = self.poses.at(stamp, color_frame)
        if self.depth_camera is None:
            return fitted_frame(stamp, color, metres, self.color_camera, pose)
        frame, camera = self.depth_camera
        color_from_depth = self.poses.tree.lookup(color_frame, frame, stamp)
        metres = register_depth(metres, camera, self.color_camera, color_from_depth)
        return RgbdFrame(stamp, color, metres, self.color_camera, pose)


@dataclass(frozen=True)
class BagFrames:
    """Pairs of images, found while the bag is read: a collection of (name, how to read it)."""

    path: Path
    rgb: Topic
    depth: Topic
    sensor: Sensor

    def __len__(self) -> int:
        return min(self.rgb.count, self.depth.count)

    def __iter__(self) -> Iterator[tuple[str, Callable[[], RgbdFrame]]]:
        pairs: PairSynchronizer[Any] = PairSynchronizer(int(SLOP * messages.NANOSECONDS), WAITING)
        found = 0
        with _said_of(self.path), BagFile(self.path) as bag:
            for connection, raw in bag.raw_messages([self.rgb, self.depth]):
                try:
                    message = bag.decode(connection, raw)
                except ValueError as error:
                    yield connection.topic, partial(_fail, error)
                    continue
                stamp = messages.stamp_to_ns(message.header.stamp)
                side = 0 if connection.topic == self.rgb.name else 1
                pair = pairs.add(side, stamp, message)
                if pair is not None:
                    found += 1
                    stamp = messages.stamp_to_ns(pair[0].header.stamp)
                    name = f'at {stamp / messages.NANOSECONDS:.4f} s'
                    yield name, partial(self.sensor.frame, *pair)
        if found < self.rgb.count:
            logger.warning(
                '%s: %d of %d images on %s have none on %s (%d) whose stamp is within %g s',
                self.path,
                self.rgb.count - found,
                self.rgb.count,
                self.rgb.name,
                self.depth.name,
                self.depth.count,
                SLOP,
            )


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """Name the bag in what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{path} cannot be replayed: {error}') from error


def _fail(error: ValueError) -> RgbdFrame:
    raise error


def _depth_camera(
    bag: BagFile, topics: list[Topic], rgb: Topic, depth: Topic, poses: CameraPoses
) -> tuple[str, Camera] | None:
    """Frame and calibration of depth that is not registered to colour; None where it is."""
    beside = [t for t in topics if t.is_a([INFO_TYPE]) and t.name in info_names(depth.name)]
    cameras = [messages.camera_from_info(bag.first(topic)) for topic in beside if topic.count]
    if depth.frame_id == rgb.frame_id:
        # Registered; with a calibration of its own it may still be of another size.
        return (rgb.frame_id, cameras[0]) if cameras else None
    if not cameras:
        raise ValueError(
            f'its depth is that of another camera than colour ({depth.frame_id}, not '
            f'{rgb.frame_id}) and nothing on {info_names(depth.name)[0]} says how that is '
            'calibrated: record that topic, or depth aligned to colour'
        )
    if not poses.tree.connects(rgb.frame_id, depth.frame_id):
        raise ValueError(
            f'its depth ({depth.frame_id}) is not registered to colour ({rgb.frame_id}) and no '
            'transform between the two was recorded: record /tf_static, or depth aligned to colour'
        )
    return depth.frame_id, cameras[0]
