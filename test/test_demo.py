"""The demo as a user runs it: four processes, a real graph, a recorded folder, files in the end."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ros_graph import domain_id

from benchmarks.layouts.bag_files import written
from lift_gs_ros import cli
from lift_gs_ros.demo import DemoQuery
from lift_gs_ros.geometry import Box, Camera, look_at
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding

CAMERA = Camera.from_focal(150.0, 150.0, 79.5, 59.5, 160, 120)
BOX = Box(np.array([0.0, 0.0, 0.3]), np.full(3, 0.6))
NUM_FRAMES = 8
SECOND = 1_000_000_000


def ray_cast_floor_and_box(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour and depth of a red box (BOX) on a grey floor, exactly, by intersecting slabs."""
    rays = CAMERA.unproject(np.ones((120, 160))) @ pose[:3, :3].T
    eye = pose[:3, 3]
    with np.errstate(divide='ignore'):
        near_far = np.sort([(BOX.lower - eye) / rays, (BOX.upper - eye) / rays], axis=0)
    enter, leave = near_far[0].max(axis=-1), near_far[1].min(axis=-1)
    floor = np.where(rays[..., 2] < 0, -eye[2] / np.minimum(rays[..., 2], -1e-9), 0)
    on_box = (enter < leave) & (enter > 0)
    color = np.where(on_box[..., None], [200, 30, 30], [120, 120, 120])
    return color.astype(np.uint8), np.where(on_box, enter, floor)


def walk_around_the_box():
    """Pose, colour and depth in millimetres of each frame."""
    for i in range(NUM_FRAMES):
        angle = 2 * np.pi * i / NUM_FRAMES
        pose = look_at([1.8 * np.cos(angle), 1.8 * np.sin(angle), 1.4], [0, 0, 0.2])
        color, depth = ray_cast_floor_and_box(pose)
        yield pose, color, (1000 * depth).clip(0, 60000).astype(np.uint16)


@pytest.fixture
def recording(tmp_path):
    """A walk around the box, in the layout of 7-Scenes with colour registered to depth."""
    folder = tmp_path / 'recording'
    folder.mkdir()
    for i, (pose, color, depth) in enumerate(walk_around_the_box()):
        name = folder / f'frame-{i:06d}'
        Image.fromarray(color).save(f'{name}.color.png')
        Image.fromarray(depth).save(f'{name}.depth.png')
        np.savetxt(f'{name}.pose.txt', pose)
    np.savetxt(folder / 'camera-intrinsics.txt', CAMERA.intrinsics)
    return folder


def test_processes_end_with_the_program_that_is_told_to_end(tmp_path):
    program = (
        'import time\nfrom pathlib import Path\nfrom lift_gs_ros.demo import running\n'
        f'with running({{"sleeper": ["sleep", "60"]}}, Path({str(tmp_path)!r})) as processes:\n'
        '    print(processes["sleeper"].pid, flush=True)\n'
        '    time.sleep(60)\n'
    )
    command = [sys.executable, '-c', program]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        sleeper = int(process.stdout.readline())
        process.terminate()
        process.wait(30)
    with pytest.raises(ProcessLookupError):
        os.kill(sleeper, 0)


def run_cli(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-m', 'lift_gs_ros.cli', *arguments],
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain_id())},
        capture_output=True,
        text=True,
        timeout=240,
    )


def run_cli_with_viewer(*arguments: str) -> subprocess.CompletedProcess:
    """Run with the web viewer, open its page once all is answered, and press Ctrl-C."""
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'lift_gs_ros.cli', *arguments]
    process = subprocess.Popen(
        [*command, '--viewer', '--port', str(port)],
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain_id())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Python leaves a signal alone that was ignored before, as in the background of a shell.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        text = ''
        while 'Ctrl-C ends' not in text and (line := process.stdout.readline()):
            text += line
        if process.poll() is None and 'Ctrl-C ends' in text:
            with urllib.request.urlopen(f'http://127.0.0.1:{port}', timeout=60) as page:
                assert b'<html' in page.read()
            process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(command, process.returncode, text + rest, errors)


def test_the_demo_streams_asks_and_writes_answers_and_pictures(recording, tmp_path):
    out = tmp_path / 'out'
    queries = 'the red box; the piano next to the grüne Tür'
    arguments = ['--sequence', str(recording), '--query', queries, '--out', str(out)]
    done = run_cli_with_viewer('demo', *arguments)
    logs = '\n'.join(path.read_text() for path in (out / 'logs').glob('*.log'))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    answers = json.loads((out / 'answers.json').read_text())
    assert [answer['query'] for answer in answers] == queries.split('; ')
    for answer in answers:
        assert answer['frame_id'] == 'map'
        assert answer['stamp'] > 0
        assert 0 <= answer['none_score'] <= 1
        assert answer['latency']['total_ms'] >= answer['latency']['decode_ms'] > 0
        assert answer['map']['voxels'] > 500
        assert answer['map']['keyframes'] >= NUM_FRAMES // 2
        for instance in answer['instances']:
            begin, end = instance['span']
            assert answer['query'][begin:end] == instance['phrase']
    assert 'the red box' in done.stdout
    pictures = [f'{i:02d}_{kind}.png' for i in range(2) for kind in ('camera', 'map')]
    for name in [*pictures, 'answers.png']:
        assert np.asarray(Image.open(out / name)).std() > 5, f'{name} is blank'


def test_a_recording_can_be_asked_without_ros(recording, tmp_path):
    out = tmp_path / 'out'
    arguments = ['the red box', '--out', str(out), '--device', 'cpu']
    done = run_cli_with_viewer('ground', str(recording), *arguments)
    assert done.returncode == 0, done.stderr
    [answer] = json.loads((out / 'answers.json').read_text())
    assert answer['map']['keyframes'] == NUM_FRAMES
    assert (out / '00_map.png').is_file()


@pytest.fixture
def mcap(tmp_path):
    """The same walk as an .mcap file with two cameras' colours and two sources of poses."""
    with written(tmp_path / 'walk', 'mcap') as bag:
        for i, (pose, color, depth) in enumerate(walk_around_the_box()):
            stamp = 100 * SECOND + i * SECOND // 5
            bag.image('/front/image', stamp, 'optical', color, 'rgb8')
            bag.image('/front/swapped', stamp, 'optical', color[..., ::-1], 'rgb8')  # a blue box
            bag.image('/front/depth', stamp, 'optical', depth, '16UC1')
            bag.camera_info('/front/camera_info', stamp, 'optical', CAMERA)
            bag.pose('/slam/pose', 'geometry_msgs/msg/PoseStamped', stamp, 'map', pose)
            standing = np.eye(4)
            bag.pose('/lost/pose', 'geometry_msgs/msg/PoseStamped', stamp, 'map', standing)
    [file] = (tmp_path / 'walk').glob('*.mcap')
    return file


def words_of_make(*variables: str) -> list[str]:
    """What ``make demo`` with these variables runs, in the place of lift-gs."""
    # This may run below another make, whose variables are in the environment.
    inherited = {'MAKEFLAGS', 'MAKELEVEL', 'ARGS'}
    environment = {k: v for k, v in os.environ.items() if k not in inherited}
    command = ['make', '-s', '-o', 'build', 'demo', r"RUN=printf '%s\n'", *variables]
    folder = Path(__file__).parents[1]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    words = done.stdout.splitlines()
    assert words[:3] == ['python', '-m', 'lift_gs_ros.cli']
    return words[3:]


def test_make_demo_plays_a_bag_with_the_topics_that_are_named(mcap, tmp_path):
    variables = [f'SEQUENCE={mcap}', 'QUERY=the red box', f'OUT={tmp_path / "out"}', 'DEVICE=cpu']
    done = run_cli(*words_of_make(*variables))
    assert done.returncode == 2
    for topic in ('/front/image', '/front/swapped'):
        assert topic in done.stderr  # one of them has to be named
    done = run_cli(*words_of_make(*variables, 'ARGS=--rgb /front/image --pose /slam/pose'))
    assert done.returncode == 0, done.stdout + done.stderr
    [answer] = json.loads((tmp_path / 'out' / 'answers.json').read_text())
    assert answer['query'] == 'the red box'
    assert answer['map']['keyframes'] >= NUM_FRAMES // 2
    picture = np.asarray(Image.open(tmp_path / 'out' / '00_map.png'), int)
    red, _, blue = np.moveaxis(picture, -1, 0)
    assert (red > blue + 80).mean() > 0.002  # the box, or what is drawn over it
    assert (blue > red + 80).mean() == 0


@pytest.fixture
def cloud_file(tmp_path):
    """The red box on its floor, as a PLY file of bytes."""
    rng = np.random.default_rng(0)
    floor = rng.uniform([-1.5, -1.5, -0.01], [1.5, 1.5, 0.01], (20000, 3))
    box = rng.uniform(BOX.lower, BOX.upper, (10000, 3))
    points = np.zeros(30000, [(n, '<f4') for n in 'xyz'] + [(n, 'u1') for n in 'rgb'])
    for i, name in enumerate('xyz'):
        points[name] = np.concatenate([floor, box])[:, i]
    points['r'], points['g'], points['b'] = 120, 120, 120
    points['r'][20000:], points['g'][20000:], points['b'][20000:] = 200, 30, 30
    lines = ['ply', 'format binary_little_endian 1.0', 'element vertex 30000']
    lines += [f'property float {n}' for n in 'xyz'] + [f'property uchar {n}' for n in 'rgb']
    path = tmp_path / 'map.ply'
    path.write_bytes('\n'.join([*lines, 'end_header', '']).encode() + points.tobytes())
    return path


def test_a_cloud_in_a_file_gets_the_same_answer_with_ros_and_without(cloud_file, tmp_path):
    found = []
    for name, command in (
        ('with', ['demo', '--cloud', str(cloud_file), '--query', 'the red box']),
        ('without', ['ground', str(cloud_file), 'the red box']),
    ):
        done = run_cli(*command, '--out', str(tmp_path / name), '--device', 'cpu')
        assert done.returncode == 0, done.stdout + done.stderr
        [answer] = json.loads((tmp_path / name / 'answers.json').read_text())
        assert answer['frame_id'] == 'map'
        assert np.asarray(Image.open(tmp_path / name / '00_map.png')).std() > 5
        found.append([instance['box'] for instance in answer['instances']])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['ground', 'no/such/map.ply', 'a chair'], 'no/such/map.ply'),
        (['demo', '--cloud', 'map.ply'], 'needs a query'),
        (['ground', 'no/such/folder', 'a chair'], 'no/such/folder'),
        (['demo', '--sequence', '.'], 'needs a query'),
    ],
)
def test_a_mistake_is_one_clear_line(arguments, words):
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert 'Traceback' not in done.stderr


def test_without_ros_the_demo_says_what_brings_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'rclpy', None)
    for name in ('lift_gs_ros.demo', 'lift_gs_ros.cloud_demo'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert cli.main(['demo']) == 2
    assert 'make demo' in capsys.readouterr().err


def test_a_node_that_fails_ends_the_demo_with_its_last_words(recording, tmp_path):
    arguments = ['--sequence', str(recording), '--query', 'a box', '--out', str(tmp_path / 'out')]
    done = run_cli('demo', *arguments, '--checkpoint', 'missing.safetensors')
    assert done.returncode == 2
    assert 'grounding_node ended with status 1' in done.stderr
    assert 'no checkpoint at missing.safetensors' in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_recording_that_makes_no_map_is_said_to_be_so(recording, tmp_path):
    for path in recording.glob('*.depth.png'):
        Image.fromarray(np.zeros((120, 160), np.uint16)).save(path)
    arguments = ['--sequence', str(recording), '--query', 'a box', '--out', str(tmp_path / 'out')]
    done = run_cli('demo', *arguments)
    assert done.returncode == 2
    assert 'no frame became part of a map' in done.stderr
    assert 'Traceback' not in done.stderr


def test_the_verdict_compares_the_best_target_with_the_truth():
    def answer(*boxes: Box) -> Grounding:
        points = np.zeros((1, 3), np.float32)
        instances = [
            GroundedInstance(i, 'x', (0, 1), True, 0.9, box, points, points[:, 0])
            for i, box in enumerate(boxes)
        ]
        return Grounding('x', 0, 'map', instances)

    away = Box(np.full(3, 9.0), np.ones(3))
    assert DemoQuery('x', (BOX,)).verdict(answer(BOX, away)) == 'right: IoU 1.00'
    assert DemoQuery('x', (BOX,)).verdict(answer(away, BOX)) == 'wrong: IoU 0.00'
    assert DemoQuery('x', (BOX,)).verdict(answer()) == 'missed'
    assert DemoQuery('x', ()).verdict(answer()) == 'right: it is absent'
    assert DemoQuery('x', ()).verdict(answer(BOX)) == 'wrong: it is absent'
    assert DemoQuery('x').verdict(answer(BOX)) == ''
