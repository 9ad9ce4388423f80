import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip('launch_ros', reason='launch_ros is not installed')

from launch.actions import DeclareLaunchArgument  # noqa: E402
from launch.utilities import perform_substitutions  # noqa: E402
from launch_ros.parameter_descriptions import ParameterFile  # noqa: E402
from launch_ros.utilities import evaluate_parameters  # noqa: E402

from launch import LaunchContext  # noqa: E402
from lift_gs_ros.mapping.voxel_map import VoxelMap  # noqa: E402
from lift_gs_ros.nodes import parameters  # noqa: E402

FILE = Path(__file__).parents[1] / 'launch' / 'grounding.launch.py'


@pytest.fixture(scope='module')
def launch_file():
    spec = importlib.util.spec_from_file_location('grounding_launch', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(launch_file, **arguments):
    """Return the node actions for these arguments, by executable, and the context."""
    context = LaunchContext()
    for action in launch_file.generate_launch_description().entities:
        if isinstance(action, DeclareLaunchArgument):
            context.launch_configurations[action.name] = arguments.pop(
                action.name, action.default_value[0].perform(context)
            )
    assert not arguments, f'no such argument: {arguments}'
    nodes = launch_file.start_nodes(context)
    return {node.node_executable: node for node in nodes}, context


def test_every_argument_has_a_description_and_a_default(launch_file):
    for action in launch_file.generate_launch_description().entities:
        if isinstance(action, DeclareLaunchArgument):
            assert action.description, action.name
            assert action.default_value is not None, action.name


def test_every_parameter_argument_is_a_parameter_of_its_nodes_with_its_type(launch_file):
    tables = {
        'mapping': parameters.MAPPING,
        'grounding': parameters.GROUNDING,
        'camera': parameters.CAMERA,
        'overlay': parameters.OVERLAY,
        'viewer': parameters.VIEWER,
    }
    for name, (kinds, kind_of_value, _) in launch_file.PARAMETERS.items():
        for kind in kinds.split():
            defaults = {parameter.name: parameter.default for parameter in tables[kind]}
            assert type(defaults[name]) is kind_of_value, name


def test_a_size_of_voxels_can_be_given_with_the_size_of_chunks_that_it_needs(launch_file):
    _, context = start(launch_file, voxel_size='0.04', chunk_size='5.16')
    chosen = context.launch_configurations
    VoxelMap(voxel_size=float(chosen['voxel_size']), chunk_size=float(chosen['chunk_size']))
    with pytest.raises(ValueError, match='chunk_size is 6.45'):
        VoxelMap(voxel_size=float(chosen['voxel_size']))


def test_demo_viewer_and_rviz_are_started_on_request_only(launch_file):
    for wanted in ('true', 'false'):
        nodes, context = start(launch_file, demo=wanted, rviz=wanted, viewer=wanted)
        for name in ('camera_node', 'viewer_node', 'rviz2'):
            assert nodes[name].condition.evaluate(context) is (wanted == 'true')


def test_a_map_of_another_slam_takes_the_place_of_mapping_node(launch_file):
    assert 'mapping_node' in start(launch_file)[0]
    assert 'mapping_node' not in start(launch_file, cloud_map='/rtabmap/cloud_map')[0]


def test_rviz_shows_the_map_that_is_used_in_its_frame_and_time(launch_file):
    def what(**arguments):
        nodes, context = start(launch_file, rviz='true', **arguments)
        rules = [
            (perform_substitutions(context, list(inside)), perform_substitutions(context, list(to)))
            for inside, to in nodes['rviz2']._Node__remappings
        ]
        [parameters] = evaluate_parameters(context, nodes['rviz2']._Node__parameters)
        topic = next(to for inside, to in rules if inside == 'map')
        return words_of(nodes['rviz2']), topic, parameters

    words, topic, parameters = what()
    assert ('--fixed-frame' in words, topic, parameters) == (False, 'map', {'use_sim_time': False})
    words, topic, parameters = what(
        map_frame='odom', cloud_map='/rtabmap/cloud_map', use_sim_time='true'
    )
    assert words[words.index('--fixed-frame') + 1] == 'odom'
    assert (topic, parameters) == ('/rtabmap/cloud_map', {'use_sim_time': True})


def test_the_demo_camera_is_heard_reliably_unless_asked_otherwise(launch_file):
    for demo, given, expected in (
        ('true', '', 'reliable'),
        ('1', '', 'reliable'),
        ('true', 'sensor_data', 'sensor_data'),
    ):
        nodes, context = start(launch_file, demo=demo, sensor_qos=given)
        assert nodes['camera_node'].condition.evaluate(context)
        assert context.launch_configurations['sensor_qos'] == expected
    _, context = start(launch_file, demo='false')
    assert context.launch_configurations['sensor_qos'] == ''


@pytest.mark.parametrize(
    ('namespace', 'logger'), [('', 'mapping_node'), ('/a/robot1', 'a.robot1.mapping_node')]
)
def test_the_log_level_is_that_of_the_node_in_its_namespace(launch_file, namespace, logger):
    nodes, _ = start(launch_file, namespace=namespace, log_level='debug')
    assert f'{logger}:=debug' in words_of(nodes['mapping_node'])


def words_of(node) -> list[str]:
    """Return the command line of a node, as far as it is known before it starts."""
    return [''.join(getattr(text, 'text', '') for text in word) for word in node.cmd]


def test_every_node_has_an_enclave_of_its_own_where_there_are_enclaves(launch_file):
    nodes, _ = start(launch_file, enclaves='/lift_gs_ros')
    for kind in ('mapping', 'grounding', 'overlay', 'camera', 'viewer'):
        words = words_of(nodes[f'{kind}_node'])
        assert words[words.index('--enclave') + 1] == f'/lift_gs_ros/{kind}_node'
    assert '--enclave' not in words_of(start(launch_file)[0]['mapping_node'])


def test_a_preset_is_a_second_file_of_parameters_and_an_unknown_one_is_refused(launch_file):
    nodes, context = start(launch_file, preset='cpu')
    files = [
        perform_substitutions(context, list(file.param_file))
        for file in nodes['mapping_node']._Node__parameters
        if isinstance(file, ParameterFile)
    ]
    assert [Path(file).name for file in files] == ['grounding.yaml', 'cpu.yaml']
    [argument] = [
        action
        for action in launch_file.generate_launch_description().entities
        if isinstance(action, DeclareLaunchArgument) and action.name == 'preset'
    ]
    presets = {path.stem for path in (FILE.parents[1] / 'config' / 'presets').glob('*.yaml')}
    assert set(argument.choices) == {'', *presets}


def processes_of(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, _, _, owner = stat.read_text().rpartition(')')[2].split()[:4]
        except OSError:  # it has just ended
            continue
        if int(owner) == session and state != 'Z':
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not shutil.which('ros2'), reason='ros2cli is not installed')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize('moment', ['process started with pid', 'waiting for a lifecycle manager'])
def test_every_node_ends_with_ros2_launch(tmp_path, moment, number):
    log = tmp_path / 'log'
    command = ['ros2', 'launch', 'lift_gs_ros', 'grounding.launch.py']
    command += ['demo:=true', 'autostart:=false']
    domain = str(os.getpid() % 100 + 1)
    with open(log, 'w') as file:
        launch = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, 'ROS_DOMAIN_ID': domain, 'PYTHONUNBUFFERED': '1'},
            # What a shell in the background starts ignores SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    end = time.monotonic() + 120
    try:
        while log.read_text().count(moment) < 4:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        launch.send_signal(number)
        launch.wait(30)
        while processes_of(launch.pid):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
    finally:
        for process in processes_of(launch.pid):
            os.kill(process, signal.SIGKILL)
