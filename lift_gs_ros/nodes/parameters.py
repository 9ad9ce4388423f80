"""Parameters of a node as a table: name, default, description, range, and whether it may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node


@dataclass(frozen=True)
class Parameter:
    """One declared parameter; the default decides its type."""

    name: str
    default: Any
    description: str
    bounds: tuple[float, float] | None = None  # inclusive
    choices: tuple[str, ...] = ()
    read_only: bool = True

    def descriptor(self) -> ParameterDescriptor:
        """Describe the parameter as ``ros2 param describe`` shows it."""
        descriptor = ParameterDescriptor(description=self.description, read_only=self.read_only)
        if self.choices:
            descriptor.additional_constraints = f'one of {", ".join(self.choices)}'
        if self.bounds and isinstance(self.default, float):
            low, high = map(float, self.bounds)
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif self.bounds:
            low, high = map(int, self.bounds)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        return descriptor


def declare(node: Node, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Declare all parameters and return their values, which follow changes at run time."""
    values = {p.name: _declare(node, p) for p in parameters}

    def set_values(changes) -> SetParametersResult:
        # Also asked about parameters of rclpy itself, such as use_sim_time.
        values.update({change.name: change.value for change in changes if change.name in values})
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(set_values)
    return values


def _declare(node: Node, parameter: Parameter) -> Any:
    value = node.declare_parameter(parameter.name, parameter.default, parameter.descriptor()).value
    if parameter.choices and value not in parameter.choices:
        raise ValueError(
            f"parameter {parameter.name} is '{value}', expected one of "
            f'{", ".join(parameter.choices)}'
        )
    return value


AUTOSTART = Parameter(
    'autostart', True, 'Become active at the start; false leaves that to a lifecycle manager'
)

RGB_TRANSPORT = Parameter(
    'rgb_transport',
    'raw',
    'raw, or compressed (jpeg or png on <rgb/image>/compressed)',
    choices=('raw', 'compressed'),
)

# Shared by the nodes that follow the camera.
IMAGES = (
    Parameter(
        'sensor_qos',
        'sensor_data',
        'QoS of images, camera_info and poses: sensor_data (best effort) takes every publisher, '
        'reliable loses no image on a busy machine',
        choices=('sensor_data', 'reliable'),
    ),
    RGB_TRANSPORT,
)

POSES = (
    Parameter(
        'pose_source',
        'odometry',
        'odometry (nav_msgs/Odometry), pose (geometry_msgs/PoseStamped), pose_with_covariance '
        '(geometry_msgs/PoseWithCovarianceStamped) or tf (needs tf2_ros)',
        choices=('odometry', 'pose', 'pose_with_covariance', 'tf'),
    ),
    Parameter(
        'base_from_camera',
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        'Pose of the optical frame in the frame that odometry or pose is about: x y z qx qy qz qw',
    ),
    Parameter(
        'pose_timeout', 1.0, 'Wait so long for the pose of an image, s', (0, 10), read_only=False
    ),
    Parameter(
        'pose_max_gap', 0.5, 'Interpolate between poses at most so far apart, s; not of tf', (0, 10)
    ),
    Parameter(
        'jump_threshold',
        1.0,
        'A longer way from one keyframe to the next is reported, and an image between two poses '
        '(not of tf) farther apart is refused, m',
        (0.01, 1000),
        read_only=False,
    ),
)

MAP_FOLDER = Parameter(
    'map_folder', '~/.ros/lift_gs_ros', 'Folder of the files that save_* and load_* services name'
)

MAX_VOXELS = Parameter(  # of who takes the map in
    'max_voxels',
    3_000_000,
    'Bound of the map, above that of mapping_node: chunks beyond it are refused',
    (1, 10**9),
)

MAPPING = (
    AUTOSTART,
    Parameter('map_frame', 'map', 'Fixed frame of the map and of the poses (REP-105)'),
    *IMAGES,
    Parameter(
        'depth_transport',
        'raw',
        'raw, or compressedDepth (png on <depth/image>/compressedDepth)',
        choices=('raw', 'compressedDepth'),
    ),
    Parameter(
        'depth_registration',
        'none',
        'How depth is registered to colour: none (the driver did), or, with depth/camera_info, by '
        'the extrinsic in parameter (color_from_depth) or in tf',
        choices=('none', 'parameter', 'tf'),
    ),
    Parameter(
        'color_from_depth',
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        'Pose of the optical frame of depth in that of colour: x y z qx qy qz qw',
    ),
    Parameter('sync_slop', 0.02, 'Largest difference of colour and depth stamps, s', (0, 1)),
    Parameter('queue_size', 10, 'Image pairs that may wait; the oldest is dropped', (1, 1000)),
    *POSES,
    Parameter('keyframe_translation', 0.1, 'Fuse when the camera has moved so far, m', (0, 100)),
    Parameter('keyframe_rotation', 0.17, 'or turned so far, rad', (0, 4)),
    Parameter('keyframe_min_interval', 0.0, 'but not sooner than this, s', (0, 3600)),
    Parameter('keyframe_max_interval', 0.0, 'and at the latest after this, s; 0: never', (0, 3600)),
    Parameter('voxel_size', 0.05, 'Edge of a voxel, m; the model is trained for 0.05', (0.001, 1)),
    Parameter('chunk_size', 6.45, 'Edge of a chunk, m: an odd number of voxels', (0.05, 100)),
    Parameter(
        'max_voxels', 2_000_000, 'Bound of the map: what was seen longest ago goes', (1, 10**9)
    ),
    Parameter('min_depth', 0.1, 'Depth below is not fused, m', (0, 100)),
    Parameter('max_depth', 5.0, 'Depth above is not fused, m', (0.1, 100)),
    Parameter(
        'carve_after', 4, 'Keyframes that see through a voxel to remove it; 0: never', (0, 1000)
    ),
    Parameter(
        'min_support', 0.2, "Share of its neighbours' pixels that a voxel needs; 0: none", (0, 1)
    ),
    MAP_FOLDER,
    Parameter(
        'chunk_rate',
        5.0,
        'Publish a chunk that changes again at most so often, Hz',
        (0.01, 100),
        read_only=False,
    ),
    Parameter(
        'map_rate', 1.0, 'Publish the whole map at most so often, Hz', (0.01, 100), read_only=False
    ),
)

GROUNDING = (
    AUTOSTART,
    Parameter('map_frame', 'map', 'Frame of an answer before there is a map'),
    Parameter(
        'cloud_map',
        '',
        'Topic (sensor_msgs/PointCloud2) of a whole map, of any SLAM, that takes the place of '
        'map_chunks; empty: map_chunks',
    ),
    Parameter('checkpoint', '', 'Path of a checkpoint (safetensors); empty: the one that ships'),
    Parameter('device', 'auto', 'auto, cpu, cuda or cuda:N'),
    Parameter(
        'score_threshold', 0.5, 'Report instances from this score on', (0, 1), read_only=False
    ),
    Parameter(
        'mask_threshold',
        0.6,
        'A point belongs to an instance from this probability on',
        (0, 1),
        read_only=False,
    ),
    Parameter('max_instances', 20, 'Reported for one phrase', (1, 10000)),
    Parameter(
        'max_chunks',
        32,
        'Chunks in which each thing is looked for: the most similar ones',
        (1, 10000),
    ),
    MAX_VOXELS,
    Parameter('chunk_overlap', 0.6, 'Context that a chunk gets from its neighbours, m', (0, 100)),
    Parameter('largest_component', True, 'Drop points of a mask that hang loose'),
    Parameter(
        'answer_rate',
        1.0,
        'Encode a chunk that changes, and answer the current query, again at most so often, Hz',
        (0.01, 100),
        read_only=False,
    ),
    Parameter(
        'max_query_length', 2000, 'Refuse longer queries, characters', (1, 1000000), read_only=False
    ),
    Parameter(
        'query_mode',
        'latest',
        'latest: the last query stays current; standing: all stay, until they are cancelled',
        choices=('latest', 'standing'),
    ),
    Parameter(
        'max_standing_queries', 20, 'Queries that may stand; the oldest is dropped', (1, 1000)
    ),
    MAP_FOLDER,
    Parameter(
        'max_encodings_mb',
        2000,
        'Largest file that save_encodings writes and load_encodings takes into memory, MB',
        (1, 1_000_000),
    ),
    Parameter('query_queue_size', 10, 'Queries that may wait; the oldest is refused', (1, 10000)),
)

CAMERA = (
    AUTOSTART,
    Parameter('sequence', '', 'Bag or folder of a recorded sequence; empty: a simulated room'),
    Parameter('bag_rgb', '', 'Topic of colour in the bag; empty: found by type, as the others'),
    Parameter('bag_depth', '', 'Topic of depth in the bag'),
    Parameter('bag_camera_info', '', 'Topic of the calibration of colour in the bag'),
    Parameter('bag_pose', '', 'Topic of odometry or poses in the bag, or /tf'),
    Parameter('bag_map_frame', '', 'Fixed frame in the TF of the bag; empty: its root'),
    Parameter('seed', 0, 'Which simulated room', (0, 2**31 - 1)),
    Parameter('rate', 0.0, 'Frames per second; 0: that of the sequence', (0, 1000)),
    Parameter('loop', False, 'Begin again at the end instead of leaving'),
    Parameter('map_frame', 'map', 'Frame of the poses'),
    Parameter('camera_frame', 'camera_optical_frame', 'Frame of the images (z forward)'),
    Parameter(
        'depth_encoding',
        '16UC1',
        '16UC1 (millimetres) or 32FC1 (metres)',
        choices=('16UC1', '32FC1'),
    ),
    Parameter('publish_tf', True, 'Publish the pose on /tf too, where tf2_msgs is installed'),
    Parameter('wait_for_subscribers', True, 'Begin when somebody listens to colour and depth'),
)

OVERLAY = (
    AUTOSTART,
    Parameter('map_frame', 'map', 'Fixed frame of the map and of the poses'),
    *IMAGES,
    *POSES,
    Parameter(
        'annotated_rate',
        5.0,
        'Publish annotated_image at most so often, Hz',
        (0.01, 100),
        read_only=False,
    ),
    Parameter(
        'rendered_rate',
        1.0,
        'Publish rendered_image at most so often, Hz',
        (0.01, 100),
        read_only=False,
    ),
    Parameter('rendered_width', 320, 'Width of rendered_image, pixels', (16, 640), read_only=False),
)

VIEWER = (
    AUTOSTART,
    Parameter('cloud_map', '', 'Topic of a whole map, as for grounding_node; empty: map_chunks'),
    Parameter(
        'host',
        '127.0.0.1',
        'Address to serve the page on; 0.0.0.0 opens it, without a password, to the network',
    ),
    Parameter('port', 8080, 'Port of the page; 0: any free one', (0, 65535)),
    Parameter(
        'max_points',
        1_000_000,
        'Points that a browser gets; of a larger map every second, fourth, ... one',
        (1000, 100_000_000),
    ),
    MAX_VOXELS,
    Parameter(
        'update_rate', 2.0, 'Send changed chunks and the camera at most so often, Hz', (0.1, 30)
    ),
    Parameter('camera_image', True, "Show the camera's image in the scene"),
    RGB_TRANSPORT,
)
