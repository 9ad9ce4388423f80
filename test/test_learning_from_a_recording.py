"""From a robot's own bag to weights that its node loads: ``make learn``, at tiny sizes."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tiny_teachers
from test_sequence_check import FRAMES
from training_rooms import read_rooms

from benchmarks.layouts.bag_files import play, record, written
from lift_gs_ros.grounding.grounder import Grounder
from lift_gs_ros.model.checkpoint import load_checkpoint, read_metadata
from lift_gs_ros.sequences import BagTopics, open_sequence
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import DEFAULT_CAMERA, RoomSequence

REPOSITORY = Path(__file__).parents[1]
SHIPPED = REPOSITORY / 'lift_gs_ros/weights/small.safetensors'
RGB = '/front/color/image_raw'
SECONDS = 900  # for all steps, on a busy machine
pytestmark = pytest.mark.timeout(1000)


def learn(**settings):
    """Make the target in the environment of the tests: nothing is built for it."""
    kept = {k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MFLAGS', 'ARGS')}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    command = ['make', '-s', '-o', 'build', 'learn', 'RUN=']
    process = subprocess.Popen(
        [*command, *(f'{k}={v}' for k, v in settings.items())],
        cwd=REPOSITORY, env={**kept, 'PATH': path, 'PYTHONPATH': os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:  # what make started too
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@dataclass
class Learned:
    """What ``make learn`` was given, and what it made and said."""

    bag: Path
    out: Path
    said: str


@pytest.fixture(scope='module')
def learned(tmp_path_factory):
    """A bag of two cameras, of which one has to be named, and a recording that is broken."""
    folder = tmp_path_factory.mktemp('learn')
    camera = DEFAULT_CAMERA.resized(160, 120)
    frames = list(RoomSequence(make_room(3, 'train'), 12, camera, seed=3))
    with written(folder / 'walk', 'mcap') as bag:
        play(bag, frames, '/front')
        play(bag, (replace(frame, color=255 - frame.color) for frame in frames), '/rear')
    (folder / 'broken.mcap').write_bytes(b'\x89MCAP0\r\n cut off')
    owlv2 = tiny_teachers.save_owlv2(folder / 'owlv2')
    sam2 = tiny_teachers.save_sam2(folder / 'sam2')
    done = learn(
        SEQUENCE=f'{folder}/broken.mcap {folder}/walk',
        OUT=folder / 'out',
        TOPICS=f'--rgb {RGB}',
        MASKS=f'detector:{owlv2},{sam2}',
        CAPTIONS='',
        ARGS='--every 4 --width 80 --workers 1',
        PRETRAIN='steps=2 warmup=1 batch_size=1 accelerator=cpu sample.max_points=1500 '
        'sample.min_points=10',
        EVALUATE='--rooms 1 --workers 1',
    )
    assert done.returncode == 0, done.stderr
    return Learned(folder / 'walk', folder / 'out', done.stdout + done.stderr)


def test_each_recording_is_checked_first_and_a_broken_one_does_not_end_it(learned):
    assert f'{learned.bag.parent}/broken.mcap is left out, for the reason above' in learned.said
    assert 'good    where frames overlap, depth differs by' in learned.said
    assert (learned.out / 'check/walk/check.png').stat().st_size > 10_000
    assert f'learn: without {learned.bag.parent}/broken.mcap' in learned.said


def test_the_camera_that_was_named_is_labelled_by_the_real_classes_of_the_teachers(learned):
    plan = json.loads((learned.out / 'labels/plans/walk.json').read_text())
    assert plan['topics'] == {'rgb': RGB}
    views = [view for room in read_rooms(learned.out / 'labels') for view in room.views]
    assert len(views) == 3
    assert all(view.captions for view in views)
    first = next(iter(open_sequence(learned.bag, BagTopics(rgb=RGB))))
    ours = first.color[::2, ::2].astype(int)
    assert np.abs(views[0].image - ours).mean() < 25 < np.abs(views[0].image - (255 - ours)).mean()


def test_the_shipped_weights_are_trained_further_and_measured(learned):
    checkpoint = learned.out / 'run/model.safetensors'
    assert read_metadata(checkpoint)[1]['steps'] == 2
    before, after = load_checkpoint(SHIPPED).state_dict(), load_checkpoint(checkpoint).state_dict()
    moved = [
        (after[name] - before[name]).abs().max()
        for name in before
        if before[name].is_floating_point() and 'running' not in name
    ]
    assert 0 < max(moved) < 0.01  # it is the shipped network, two steps further
    measured = json.loads((learned.out / 'evaluate.json').read_text())
    assert measured['nouns']['n'] > 0


def test_the_node_loads_them_and_answers_on_the_bag(learned, graph, client):
    from ros_graph import wait_until
    from std_msgs.msg import String

    from lift_gs_ros import msg
    from lift_gs_ros.nodes.camera_node import CameraNode
    from lift_gs_ros.nodes.grounding_node import GroundingNode
    from lift_gs_ros.nodes.mapping_node import MappingNode
    from lift_gs_ros.nodes.qos import LATCHED

    checkpoint = str(learned.out / 'run/model.safetensors')
    answers = []
    client.create_subscription(msg.Grounding, 'grounding', answers.append, LATCHED)
    query = client.create_publisher(String, 'query', 10)
    graph.add(GroundingNode, checkpoint=checkpoint, device='cpu')
    graph.add(MappingNode, sensor_qos='reliable')
    graph.add(CameraNode, sequence=str(learned.bag), bag_rgb=RGB, loop=True)
    wait_until(query.get_subscription_count, 'a subscriber of query')
    query.publish(String(data='the red chair'))
    wait_until(lambda: answers and answers[-1].map_keyframes > 3, 'an answer', SECONDS)
    assert answers[-1].query == 'the red chair'
    assert answers[-1].weights == Grounder.load(checkpoint).weights
    assert np.isfinite(answers[-1].none_score)


def test_recordings_that_the_check_finds_wrong_are_not_labelled(tmp_path):
    frames = [replace(f, stamp=f.stamp + 10**9, depth=5 * f.depth) for f in FRAMES]
    record(tmp_path / 'walk', frames)
    done = learn(SEQUENCE=tmp_path / 'walk', MASKS='simulated', TOPICS='', OUT=tmp_path / 'out')
    assert done.returncode == 2
    assert re.search('^poses +WRONG .* if depth is 5 times too large', done.stdout, re.M)
    assert 'learn: no recording is usable' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'out/labels').exists()
