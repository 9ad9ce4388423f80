"""Every preset holds values that its nodes take, and says what they rest on."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from rclpy.node import Node  # noqa: E402

from lift_gs_ros.mapping.voxel_map import VoxelMap  # noqa: E402
from lift_gs_ros.model.checkpoint import load_checkpoint  # noqa: E402
from lift_gs_ros.nodes import parameters  # noqa: E402

PRESETS = sorted((Path(__file__).parents[1] / 'config' / 'presets').glob('*.yaml'))
TABLES = {
    '/**/mapping_node': parameters.MAPPING,
    '/**/grounding_node': parameters.GROUNDING,
    '/**/overlay_node': parameters.OVERLAY,
    '/**/viewer_node': parameters.VIEWER,
}


def test_there_are_presets_for_these_computers():
    names = {path.stem for path in PRESETS}
    assert names == {'cpu', 'jetson_orin', 'laptop_gpu', 'workstation_gpu'}


@pytest.mark.parametrize('path', PRESETS, ids=lambda path: path.stem)
def test_a_node_takes_every_value_of_a_preset(graph, path):
    described = yaml.safe_load(path.read_text())
    assert set(described) <= set(TABLES)
    for name, content in described.items():
        table = TABLES[name]
        known = {parameter.name: parameter for parameter in table}
        given = content['ros__parameters']
        assert set(given) <= set(known)
        for key, value in given.items():
            assert type(value) is type(known[key].default), key
        kind = name.removeprefix('/**/')
        arguments = ['--ros-args', '--params-file', str(path)]
        # What a real node does with the file; it refuses what is out of range.
        node = Node(kind, context=graph.context, cli_args=arguments)
        values = parameters.declare(node, table)
        assert {key: values[key] for key in given} == given
        node.destroy_node()


@pytest.mark.parametrize('path', PRESETS, ids=lambda path: path.stem)
def test_a_preset_says_which_voxels_chunks_model_and_rates_it_means(path):
    described = yaml.safe_load(path.read_text())
    mapping = described['/**/mapping_node']['ros__parameters']
    sizes = {name: mapping[name] for name in ('voxel_size', 'chunk_size')}
    VoxelMap(**sizes)  # refuses what does not fit together
    # The weights that ship are trained for voxels of the default size.
    assert sizes['voxel_size'] == VoxelMap().voxel_size
    grounding = described['/**/grounding_node']['ros__parameters']
    for name in ('/**/grounding_node', '/**/viewer_node'):
        taking = described.get(name, {}).get('ros__parameters', {})
        bound = taking.get('max_voxels', parameters.MAX_VOXELS.default)
        assert bound > mapping['max_voxels'], 'a part of the map would be refused'
    assert {'device', 'answer_rate', 'max_chunks', 'max_standing_queries'} <= set(grounding)
    load_checkpoint(grounding['checkpoint'])  # ValueError or OSError where it is none
    assert (grounding['device'] == 'cpu') == (path.stem == 'cpu')


@pytest.mark.parametrize('path', PRESETS, ids=lambda path: path.stem)
def test_a_preset_says_how_to_use_it_what_to_expect_and_whether_that_was_measured(path):
    text = path.read_text()
    assert f'preset:={path.stem}' in text
    [expected] = [line for line in text.splitlines() if line.startswith('# What to expect. ')]
    measured = expected.removeprefix('# What to expect. ').startswith('Measured ')
    assert measured == (path.stem == 'cpu')
    assert measured or 'ESTIMATES, not tried on such hardware' in expected
    assert 'Precision is float32; no parameter' in ' '.join(text.replace('#', '').split())
