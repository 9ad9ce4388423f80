"""Start mapping and grounding, and on request a camera to try them with, a web viewer and RViz.

    ros2 launch lift_gs_ros grounding.launch.py rgb:=/camera/camera/color/image_raw \
        depth:=/camera/camera/aligned_depth_to_color/image_raw \
        camera_info:=/camera/camera/color/camera_info pose_source:=tf map_frame:=map
    ros2 launch lift_gs_ros grounding.launch.py demo:=true viewer:=true

`ros2 launch lift_gs_ros grounding.launch.py --show-args` lists all arguments.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

SHARE = Path(get_package_share_directory('lift_gs_ros'))
PRESETS = SHARE / 'config' / 'presets'

# Argument, name inside the nodes (and default), description.
INPUTS = [
    ('rgb', 'rgb/image', 'Rectified colour image (sensor_msgs/Image)'),
    ('depth', 'depth/image', 'Depth registered to the colour image (sensor_msgs/Image)'),
    ('camera_info', 'rgb/camera_info', 'Calibration of the colour image (sensor_msgs/CameraInfo)'),
    (
        'depth_camera_info',
        'depth/camera_info',
        'Calibration of the depth image, for depth_registration (sensor_msgs/CameraInfo)',
    ),
    ('odometry', 'odometry', 'Poses for pose_source:=odometry (nav_msgs/Odometry)'),
    (
        'pose',
        'pose',
        'Poses for pose_source:=pose (geometry_msgs/PoseStamped) or pose_with_covariance',
    ),
]
OUTPUTS = [
    ('map', 'map', 'The whole map (sensor_msgs/PointCloud2)'),
    ('map_chunks', 'map_chunks', 'Its changed chunks (lift_gs_ros/MapChunk)'),
    ('map_update', 'map_update', 'The same, for others (sensor_msgs/PointCloud2)'),
    ('grounding', 'grounding', 'Answers (lift_gs_ros/Grounding)'),
    ('markers', 'markers', 'Boxes and labels for RViz (visualization_msgs/MarkerArray)'),
    ('masks', 'masks', 'Points of the answers (sensor_msgs/PointCloud2)'),
    ('detections', 'detections', 'Answers (vision_msgs/Detection3DArray)'),
    ('standing_queries', 'standing_queries', 'What stands (lift_gs_ros/StandingQueries)'),
    ('annotated_image', 'annotated_image', 'Answers in the live image (sensor_msgs/Image)'),
    ('rendered_image', 'rendered_image', 'The Gaussians from the same view (sensor_msgs/Image)'),
    ('keyframe_pose', 'keyframe_pose', 'Camera at the newest keyframe (geometry_msgs/PoseStamped)'),
]
QUERY = [('query', '/query', 'What to look for (std_msgs/String)')]

# Parameters that have an argument of their own: in which nodes, type, description. Without a value
# that of the params_file holds.
PARAMETERS = {
    'autostart': (
        'mapping grounding overlay camera viewer',
        bool,
        'false leaves that to a lifecycle manager',
    ),
    'map_frame': ('mapping grounding overlay camera', str, 'Fixed frame of map and poses'),
    'camera_frame': ('camera', str, 'Frame of the images of the demo camera'),
    'pose_source': ('mapping overlay', str, 'odometry, pose, pose_with_covariance or tf'),
    'sensor_qos': (
        'mapping overlay',
        str,
        'sensor_data (best effort) or reliable; reliable in the demo',
    ),
    'rgb_transport': ('mapping overlay viewer', str, 'raw or compressed'),
    'depth_transport': ('mapping', str, 'raw or compressedDepth'),
    'depth_registration': ('mapping', str, 'none, parameter or tf'),
    'sync_slop': ('mapping', float, 'Largest difference of colour and depth stamps, s'),
    'voxel_size': ('mapping', float, 'Edge of a voxel, m'),
    'chunk_size': ('mapping', float, 'Edge of a chunk, m: an odd number of voxels, as 6.45 / 0.05'),
    'cloud_map': (
        'grounding viewer',
        str,
        'Topic of a map of another SLAM (PointCloud2), for mapping_node',
    ),
    'query_mode': ('grounding', str, 'latest or standing: whether earlier queries stay'),
    'checkpoint': ('grounding', str, 'Checkpoint of the model; the one that ships by default'),
    'device': ('grounding', str, 'auto, cpu, cuda or cuda:N'),
    'sequence': (
        'camera',
        str,
        'Bag or folder that the demo camera plays; else a simulated room',
    ),
    'seed': ('camera', int, 'Which simulated room the demo camera walks through'),
    'rate': ('camera', float, 'Frames per second of the demo camera'),
    'loop': ('camera', bool, 'Whether the demo camera begins again at the end'),
    'host': ('viewer', str, 'Address of the web viewer; 127.0.0.1, or 0.0.0.0 for the network'),
    'port': ('viewer', int, 'Port of the web viewer; 8080 by default'),
}
OTHERS = [
    ('namespace', '', 'Namespace of all nodes and relative topics'),
    ('params_file', str(SHARE / 'config' / 'grounding.yaml'), 'Parameters of all nodes'),
    ('use_sim_time', 'false', 'Take the time from /clock (bags played with --clock)'),
    ('log_level', 'info', 'debug, info, warn, error or fatal'),
    ('enclaves', '', 'SROS2 enclaves above those of the nodes, such as /lift_gs_ros'),
    ('demo', 'false', 'Start a camera that plays a sequence or a simulated room'),
    ('viewer', 'false', 'Start the web viewer'),
    ('rviz', 'false', 'Start RViz'),
    ('rviz_config', str(SHARE / 'config' / 'grounding.rviz'), 'Configuration of RViz'),
]


def start_nodes(context):
    """Build the nodes from the values of the arguments."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    remappings = [(inside, value(name)) for name, inside, _ in INPUTS + OUTPUTS]
    remappings.append(('query', value('query')))

    files = [value('params_file')]
    if value('preset'):
        files.append(str(PRESETS / f'{value("preset")}.yaml'))

    # ros2 launch dies of SIGTERM and would leave its nodes behind.
    environment = {'LIFT_GS_ROS_END_WITH_PARENT': str(os.getpid())}
    if value('demo').lower() in ('true', '1'):  # as IfCondition takes it
        if not value('sensor_qos'):
            # Large images with best effort get lost between processes on a busy machine.
            context.launch_configurations['sensor_qos'] = 'reliable'
        # Fast DDS's shared memory lets poses wait behind images there. Not for a camera of others:
        # best effort over UDP loses images in turn.
        transports = context.environment.get('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
        environment['FASTDDS_BUILTIN_TRANSPORTS'] = transports

    sim_time = {
        'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool)
    }

    def ros_arguments(kind):
        # A logger is called as its node, namespace included, with dots for slashes.
        logger = '.'.join([*filter(None, value('namespace').split('/')), f'{kind}_node'])
        enclave = ['--enclave', f'{value("enclaves")}/{kind}_node'] if value('enclaves') else []
        return ['--ros-args', '--log-level', f'{logger}:={value("log_level")}', *enclave]

    def node(kind, **options):
        given = {
            name: ParameterValue(LaunchConfiguration(name), value_type=kind_of_value)
            for name, (kinds, kind_of_value, _) in PARAMETERS.items()
            if kind in kinds.split() and value(name) != ''
        }
        return Node(
            package='lift_gs_ros',
            executable=f'{kind}_node',
            name=f'{kind}_node',
            namespace=value('namespace'),
            parameters=[*files, {**sim_time, **given}],
            remappings=remappings,
            arguments=ros_arguments(kind),
            additional_env=environment,
            output='screen',
            **options,
        )

    fixed_frame = ['--fixed-frame', value('map_frame')] if value('map_frame') else []
    shown_map = value('cloud_map') or value('map')
    rviz = Node(
        package='rviz2',
        executable='rviz2',
        namespace=value('namespace'),
        arguments=['-d', value('rviz_config'), *fixed_frame],
        parameters=[sim_time],
        remappings=[('map', shown_map), *remappings],  # the first that fits holds
        condition=IfCondition(value('rviz')),
    )
    camera = node('camera', condition=IfCondition(value('demo')))
    viewer = node('viewer', condition=IfCondition(value('viewer')))
    # A map of another SLAM comes without images.
    own_map = [] if value('cloud_map') else [node('mapping'), node('overlay')]
    # RViz first: where it is not installed, that is said before anything runs.
    return [rviz, *own_map, node('grounding'), camera, viewer]


def generate_launch_description():
    """Declare all arguments and start the nodes."""
    topics = [(name, inside, text) for name, inside, text in INPUTS + OUTPUTS]
    parameters = [(name, '', text) for name, (_, _, text) in PARAMETERS.items()]
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in topics + QUERY + parameters + OTHERS
    ]
    preset = DeclareLaunchArgument(
        'preset',
        default_value='',
        choices=['', *sorted(path.stem for path in PRESETS.glob('*.yaml'))],
        description='Parameters for a kind of computer, on top of params_file (config/presets)',
    )
    return LaunchDescription([*arguments, preset, OpaqueFunction(function=start_nodes)])
