"""The package itself: metadata that agree, messages that import, nodes that are installed."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import setuptools
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
INTERFACES = sorted(ROOT.glob('msg/*.msg')) + sorted(ROOT.glob('srv/*.srv'))
MACHINES = [
    (python, arch) for python in ('3.10', '3.11', '3.12', '3.13') for arch in ('x86_64', 'aarch64')
]


@pytest.fixture(scope='module')
def setup_arguments():
    """What setup.py passes to setuptools."""
    with pytest.MonkeyPatch.context() as patch:
        arguments = {}
        patch.setattr(setuptools, 'setup', arguments.update)
        patch.chdir(ROOT)
        runpy.run_path('setup.py')
        return arguments


@pytest.fixture(scope='module')
def manifest():
    """package.xml, parsed."""
    return pytest.importorskip('catkin_pkg.package').parse_package(str(ROOT / 'package.xml'))


def read_requirements(name):
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def applying(requirements, python, arch):
    """{name: specifier} of those that apply to this Python on this kind of machine."""
    environment = {'python_version': python, 'platform_machine': arch, 'sys_platform': 'linux'}
    chosen = [r for r in requirements if r.marker is None or r.marker.evaluate(environment)]
    names = [r.name.lower() for r in chosen]
    assert len(set(names)) == len(names), f'required twice: {sorted(names)}'
    return {r.name.lower(): r.specifier for r in chosen}


def fields_of(section):
    """Names of the fields in one section of a .msg or .srv file."""
    lines = (line.split('#')[0].split() for line in section.splitlines())
    return [words[1] for words in lines if words]


def imported_packages(path):
    """Top-level names that a Python file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split('.')[0]


@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_generated_interfaces_have_every_field_of_their_file(path):
    module = pytest.importorskip(f'lift_gs_ros.{path.parent.name}', reason='needs `make build`')
    generated = getattr(module, path.stem)
    sections = path.read_text().split('\n---\n')
    parts = [generated] if path.suffix == '.msg' else [generated.Request, generated.Response]
    for part, section in zip(parts, sections, strict=True):
        assert list(part.get_fields_and_field_types()) == fields_of(section)


def test_sources_come_from_the_checkout_beside_the_generated_messages():
    messages = pytest.importorskip('lift_gs_ros.msg', reason='needs `make build`')
    import lift_gs_ros.geometry

    assert Path(lift_gs_ros.geometry.__file__).parent == ROOT / 'lift_gs_ros'
    assert ROOT / 'lift_gs_ros' not in Path(messages.__file__).parents


@pytest.mark.parametrize('node', sorted(path.name for path in ROOT.glob('scripts/*_node')))
def test_nodes_are_where_ros2_run_looks_for_them(node):
    pytest.importorskip('lift_gs_ros.msg', reason='needs `make build`')
    from ament_index_python import get_package_prefix

    program = Path(get_package_prefix('lift_gs_ros'), 'lib', 'lift_gs_ros', node)
    assert os.access(program, os.X_OK)
    assert program.read_text().startswith('#!/usr/bin/env python3\n')


def test_package_xml_and_setup_py_agree(manifest, setup_arguments):
    manifest.validate()
    assert manifest.name == setup_arguments['name']
    assert manifest.version == setup_arguments['version']
    assert [str(licence) for licence in manifest.licenses] == [setup_arguments['license']]
    assert f'\n{manifest.version} (' in (ROOT / 'CHANGELOG.rst').read_text()


@pytest.mark.parametrize('plugin', ['launch_testing', 'launch_ros'])
def test_plugins_of_a_ros_installation_that_stop_pytest_are_blocked(pytestconfig, plugin):
    assert pytestconfig.pluginmanager.is_blocked(plugin)


def test_package_xml_names_every_ros_package_that_is_used(manifest):
    declared = {dependency.name for dependency in manifest.build_depends + manifest.exec_depends}
    declared |= {dependency.name for dependency in manifest.buildtool_depends}
    cmake = (ROOT / 'CMakeLists.txt').read_text().split('if(BUILD_TESTING)')[0]
    used = set(re.findall(r'find_package\((\w+)', cmake))
    for path in [*ROOT.glob('lift_gs_ros/**/*.py'), *ROOT.glob('launch/*.py')]:
        used |= {
            name
            for name in imported_packages(path)
            if name.endswith(('_msgs', '_srvs'))
            or name
            in {'rclpy', 'rcl_interfaces', 'tf2_ros', 'ament_index_python', 'launch', 'launch_ros'}
        }
    # The package tf2_ros is the one of C++; its Python namesake comes from another.
    used = {{'tf2_ros': 'tf2_ros_py'}.get(name, name) for name in used}
    assert not used - declared


def test_every_interface_and_node_is_in_cmakelists():
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    for path in [*INTERFACES, *ROOT.glob('scripts/*_node')]:
        assert str(path.relative_to(ROOT)) in cmake


@pytest.mark.parametrize('path', [*ROOT.glob('scripts/*'), ROOT / '.ci/run'], ids=lambda p: p.name)
def test_scripts_are_executable(path):
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith('#!/usr/bin/env ')


def test_the_robot_never_imports_training():
    for path in ROOT.glob('lift_gs_ros/**/*.py'):
        assert not {'training', 'benchmarks'} & set(imported_packages(path)), path


@pytest.mark.parametrize(('python', 'arch'), MACHINES)
def test_pins_are_within_what_setup_py_asks_for(setup_arguments, python, arch):
    extras = setup_arguments['extras_require']
    for wanted, files in [
        (setup_arguments['install_requires'], 'requirements.txt'),
        (extras['training'], 'requirements-training.txt'),
        (extras['dev'], 'requirements-dev.txt'),
    ]:
        ranges = applying([Requirement(line) for line in wanted], python, arch)
        pins = applying(read_requirements(files), python, arch)
        assert set(pins) == set(ranges)
        for name, pin in pins.items():
            (exact,) = pin
            assert exact.operator in {'==', '==='}
            assert ranges[name].contains(exact.version), f'{name}{pin} is outside {ranges[name]}'


def test_sparse_convolution_is_asked_for_only_where_it_has_wheels():
    pins = read_requirements('requirements.txt')
    for python, arch in MACHINES:
        found = [name for name in applying(pins, python, arch) if name.startswith('spconv')]
        cuda = 'spconv-cu120' if python in {'3.10', '3.11'} else 'spconv-cu126'
        assert found == ([cuda] if arch == 'x86_64' else [])


def test_the_build_takes_a_virtual_environment_in_the_checkout(tmp_path):
    """As `make demo` makes it; CMake exports no include folder of the source tree, numpy's say."""
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(':')
    if shutil.which('cmake') is None or not any(
        (Path(prefix) / 'share/ament_cmake').exists() for prefix in prefixes
    ):
        pytest.skip('ROS 2 and CMake are not installed')
    checkout, numpy_include = tmp_path / 'checkout', tmp_path / 'checkout/.venv/numpy'
    numpy_include.parent.mkdir(parents=True)
    numpy_include.symlink_to(np.get_include())
    for name in ('CMakeLists.txt', 'package.xml', 'msg', 'srv'):
        (checkout / name).symlink_to(ROOT / name)
    command = [
        *('cmake', '-S', str(checkout), '-B', str(tmp_path / 'build'), '-DBUILD_TESTING=OFF'),
        *(f'-DPython3_EXECUTABLE={sys.executable}', f'-DPython3_NumPy_INCLUDE_DIR={numpy_include}'),
        f'-DCMAKE_PREFIX_PATH={";".join(prefixes)}',
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [made] = tmp_path.glob('build/**/lift_gs_ros__rosidl_generator_py.dir/build.make')
    assert str(numpy_include) in (made.parent / 'flags.make').read_text()
