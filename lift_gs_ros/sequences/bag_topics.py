"""Which topics of a bag are colour, depth, calibration and poses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lift_gs_ros.messages import COLOR_ENCODINGS, DEPTH_ENCODINGS

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
TF_TYPES = ('tf2_msgs/msg/TFMessage', 'tf/msg/tfMessage')
POSE_TYPES = (
    'nav_msgs/msg/Odometry',
    'geometry_msgs/msg/PoseStamped',
    'geometry_msgs/msg/PoseWithCovarianceStamped',
)
# What image_transport appends to the name of an image's topic, best first.
TRANSPORTS = ('', '/compressedDepth', '/compressed')


@dataclass(frozen=True)
class BagTopics:
    """Names of topics and of the fixed frame; what is empty is found by type."""

    rgb: str = ''
    depth: str = ''
    camera_info: str = ''
    pose: str = ''  # odometry, poses, or /tf
    map_frame: str = ''


@dataclass(frozen=True)
class Topic:
    """A topic of a bag, and what the first message on it says where it holds images."""

    name: str
    types: tuple[str, ...]
    count: int
    encoding: str = ''  # of an image: rgb8, 16UC1, ...
    frame_id: str = ''

    @property
    def is_color(self) -> bool:
        """Whether it holds images in colour (mono8 too, but that may be infrared)."""
        return self.encoding in COLOR_ENCODINGS

    @property
    def is_depth(self) -> bool:
        """Whether it holds depth images."""
        return self.encoding in DEPTH_ENCODINGS

    def is_a(self, types: Iterable[str]) -> bool:
        """Say whether its messages are of one of these types."""
        return bool(set(self.types) & set(types))

    def __str__(self) -> str:
        kind = ' and '.join(sorted(self.types)).replace('/msg/', '/')
        encoding = f' ({self.encoding})' if self.encoding else ''
        return f'{self.name}  {kind}{encoding}  {self.count}'


def listing(topics: Iterable[Topic]) -> str:
    """What a bag holds, a line each: topics of use first and others by number only."""
    useful = (*IMAGE_TYPES, INFO_TYPE, *TF_TYPES, *POSE_TYPES)
    shown = [topic for topic in topics if topic.is_a(useful)]
    others = len(list(topics)) - len(shown)
    lines = [f'  {topic}' for topic in shown]
    return '\n'.join([*lines, f'  and {others} topics of other types'] if others else lines)


def choose(topics: list[Topic], wanted: BagTopics) -> tuple[Topic, Topic, Topic]:
    """Choose colour, depth and the calibration of colour.

    Raises ValueError, which says what the bag holds, where there is none or more than one.
    """
    filled = [topic for topic in topics if topic.count]
    in_color = [topic for topic in filled if topic.is_color and topic.encoding != 'mono8']
    grey = [topic for topic in filled if topic.encoding == 'mono8']
    rgb = _one(topics, 'colour images', '--rgb', wanted.rgb, in_color or grey)
    depths = [topic for topic in filled if topic.is_depth]
    if len({base_name(topic.name) for topic in depths}) > 1:  # take the registered one of several
        depths = [topic for topic in depths if topic.frame_id == rgb.frame_id] or depths
    depth = _one(topics, 'depth images', '--depth', wanted.depth, depths)
    infos = [topic for topic in filled if topic.is_a([INFO_TYPE])]
    beside = [info for info in infos if info.name in info_names(rgb.name)]
    info = _one(
        topics, 'calibration of colour', '--camera-info', wanted.camera_info, beside or infos
    )
    return rgb, depth, info


def _one(topics: list[Topic], what: str, flag: str, wanted: str, candidates: list[Topic]) -> Topic:
    if wanted:
        named = [topic for topic in topics if topic.name == wanted and topic.count]
        if not named:
            raise ValueError(f'it has no messages on {flag} {wanted}; it holds:\n{listing(topics)}')
        return named[0]
    if not candidates:
        raise ValueError(f'it has no {what}; it holds:\n{listing(topics) or "  nothing"}')
    best = min(candidates, key=lambda topic: TRANSPORTS.index(_transport(topic.name)))
    if any(base_name(topic.name) != base_name(best.name) for topic in candidates):
        names = ', '.join(topic.name for topic in candidates)
        raise ValueError(
            f'it has several topics of {what} ({names}): say which with {flag}; it holds:\n'
            f'{listing(topics)}'
        )
    return best


def _transport(name: str) -> str:
    return next((suffix for suffix in TRANSPORTS[1:] if name.endswith(suffix)), '')


def base_name(name: str) -> str:
    """Name of an image's topic without the transport."""
    return name.removesuffix(_transport(name))


def info_names(image: str) -> tuple[str, str]:
    """Where the calibration of images is: beside them, or (librealsense) under the sensor."""
    base = base_name(image)
    beside = base.rpartition('/')[0] + '/camera_info'
    return beside, base.removesuffix('/image/data') + '/info/camera_info'
