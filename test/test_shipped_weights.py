"""The weights that ship: what they are, and that they answer rightly in rooms never trained on."""

import sys
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from lift_gs_ros.grounding.grounder import NO_CAMERA, Grounder
from lift_gs_ros.mapping.chunks import split_into_chunks
from lift_gs_ros.model.checkpoint import DEFAULT_CHECKPOINT, read_metadata
from lift_gs_ros.simulation.expressions import make_expressions
from training import pictures
from training.evaluation.grounding import accuracy_at, best_iou
from training.evaluation.rooms import EvaluationRoom, evaluation_room


def test_the_file_is_small_trained_and_for_the_robots_voxels():
    assert DEFAULT_CHECKPOINT.stat().st_size <= 16e6
    config, notes = read_metadata(DEFAULT_CHECKPOINT)
    assert notes['trained']
    assert config.voxel_size == 0.05


@pytest.fixture(scope='module')
def answered() -> list[tuple[EvaluationRoom, Grounder]]:
    """Two validation rooms, each taken in with the robot's own settings."""
    found = []
    for seed in (0, 1):
        room, grounder = evaluation_room(seed, 'val'), Grounder.load('')
        for key, chunk in split_into_chunks(room.cloud, grounder.settings.chunk_size).items():
            grounder.update(key, chunk)
        found.append((room, grounder))
    return found


def test_things_are_found_by_colour_and_noun(answered):
    ious = []
    for room, grounder in answered:
        asked = make_expressions(
            room.room, kinds=('colour_noun',), visible_ids=room.visible_ids, limit=8
        )
        for expression in asked:
            targets = grounder.ground(expression.text).targets  # above the robot's threshold
            boxes = [room.box(i) for i in expression.target_ids]
            ious.append(best_iou(targets[0].box if targets else None, boxes))
    assert len(ious) >= 8
    assert accuracy_at(ious, 0.25) >= 0.5


def test_what_is_absent_gets_no_answer(answered):
    for _, grounder in answered:
        answer = grounder.ground('where is the piano?')
        assert not answer.targets
        assert answer.none_score > 0.5


def test_the_nearest_is_the_one_nearest_to_the_camera(answered):
    right = asked = 0
    for room, grounder in answered:
        of_kind = defaultdict(list)
        for number in room.visible_ids:
            of_kind[room.room.object(number).kind].append(room.box(number))
        for kind, boxes in of_kind.items():
            for own in boxes if len(boxes) > 1 else []:
                camera = own.center + [0.6, 0.4, 0.8]
                gaps = [np.maximum(np.abs(b.center - camera) - b.size / 2, 0)[:2] for b in boxes]
                nearest, second = np.sort(np.linalg.norm(gaps, axis=1))[:2]
                if second - nearest < 0.3:
                    continue
                grounder.camera = camera
                targets = grounder.ground(f'go to the nearest {kind}').targets
                closest = boxes[np.linalg.norm(gaps, axis=1).argmin()]
                right += bool(targets) and targets[0].box.iou(closest) > 0.25
                asked += 1
        query = 'the chair closest to me'
        assert not grounder.ground(query).message
        grounder.camera = None
        assert grounder.ground(query).message == NO_CAMERA
    assert asked >= 5
    assert right >= 0.6 * asked


def test_a_picture_of_a_room_shows_a_mask_in_the_image_and_on_the_cloud(tmp_path, monkeypatch):
    path = tmp_path / 'picture.png'
    monkeypatch.setattr(sys, 'argv', ['pictures', '--room', '0', '--out', str(path)])
    pictures.main()
    pixels = np.asarray(Image.open(path)).astype(int)
    yellow = (pixels[..., :2].min(axis=-1) - pixels[..., 2]) > 90
    for panel in np.array_split(yellow[len(yellow) // 3 :], 3, axis=1):
        assert panel.sum() > 100
