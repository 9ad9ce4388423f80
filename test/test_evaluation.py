import json
import math
import sys

import numpy as np
import pytest

from lift_gs_ros.geometry import Box
from training import evaluate
from training.evaluation.average_precision import (
    SceneDetections,
    average_precision,
    scannet_ap,
)
from training.evaluation.categories import CATEGORY_GROUPS, count_objects, group_by_frequency
from training.evaluation.grounding import (
    accuracy_at,
    auroc,
    best_iou,
    f1_at,
    false_answers_at_recall,
    mask_iou,
)


def _box(x: float, size: float = 1.0) -> Box:
    return Box(np.array([x, 0.0, 0.0]), np.full(3, size))


def test_accuracy_counts_queries_at_and_above_the_threshold():
    assert accuracy_at([0.25, 0.24, 0.9, 0.0], 0.25) == 0.5
    assert math.isnan(accuracy_at([], 0.25))


def test_any_of_several_targets_is_a_right_answer_and_no_answer_is_none():
    assert best_iou(_box(5.0), [_box(0.0), _box(5.0)]) == pytest.approx(1)
    assert best_iou(None, [_box(0.0)]) == 0


def test_f1_of_zero_one_and_several_targets():
    assert f1_at([], [], 0.5) == 1
    assert f1_at([_box(0)], [], 0.5) == 0
    assert f1_at([], [_box(0)], 0.5) == 0
    assert f1_at([_box(0), _box(3)], [_box(0)], 0.5) == pytest.approx(2 / 3)
    # Each target is paired once: a second answer on the same object is false.
    assert f1_at([_box(0), _box(0.1)], [_box(0), _box(9)], 0.25) == pytest.approx(0.5)


def test_mask_iou_counts_points():
    a, b = np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)
    assert mask_iou(a, b) == pytest.approx(1 / 3)
    assert mask_iou(np.zeros(4, bool), np.zeros(4, bool)) == 0


def test_auroc_of_known_orders():
    assert auroc([2, 3], [0, 1]) == 1
    assert auroc([0, 1], [2, 3]) == 0
    assert auroc([1, 1], [1, 1]) == 0.5
    assert auroc([3, 1], [2]) == 0.5


def test_false_answers_at_ninety_percent_recall():
    present = np.linspace(0.1, 1.0, 10)  # nine of the ten are at or above 0.2
    assert false_answers_at_recall(present, [0.05, 0.15, 0.25, 0.95]) == 0.5


def test_average_precision_of_a_perfect_answer_is_one():
    scene = SceneDetections(np.array([0.9, 0.8]), np.array([[1.0, 0.0], [0.0, 0.9]]))
    assert average_precision([scene], 0.5) == pytest.approx(1)


def test_average_precision_is_that_computed_by_hand():
    # right, false, right of 2 instances: points (precision, recall) = (1, .5), (.5, .5), (2/3, 1)
    scene = SceneDetections(
        np.array([0.9, 0.8, 0.7]), np.array([[0.8, 0.0], [0.0, 0.1], [0.0, 0.6]])
    )
    # Steps centred on the points, from loose to strict: 0.25 of 2/3, 0.25 of 0.5, 0.25 of 1, and
    # 0.25 of the start (precision 1).
    assert average_precision([scene], 0.5) == pytest.approx((2 / 3 + 0.5 + 1 + 1) / 4)


def test_a_second_answer_for_one_instance_is_false_and_absence_is_nan():
    scene = SceneDetections(np.array([0.9, 0.8]), np.array([[0.9], [0.9]]))
    assert average_precision([scene], 0.5) == pytest.approx(1)
    double_first = SceneDetections(np.array([0.9, 0.8]), np.array([[0.2], [0.9]]))
    assert average_precision([double_first], 0.5) < 0.8
    empty = SceneDetections(np.zeros(0), np.zeros((0, 1)))
    assert average_precision([empty], 0.5) == 0
    assert math.isnan(average_precision([SceneDetections(np.ones(1), np.zeros((1, 0)))], 0.5))


def test_scannet_ap_averages_categories_and_overlaps():
    loose = SceneDetections(np.array([0.9]), np.array([[0.6]]))  # right at 0.5 and 0.55 only
    missed = SceneDetections(np.zeros(0), np.zeros((0, 2)))
    absent = SceneDetections(np.array([0.4]), np.zeros((1, 0)))
    result = scannet_ap({'chair': [loose], 'lamp': [missed], 'piano': [absent]})
    assert result['AP25'] == pytest.approx(0.5)
    assert result['AP50'] == pytest.approx(0.5)
    assert result['AP'] == pytest.approx(0.5 * 2 / 9)


def test_detections_of_wrong_shape_are_refused():
    with pytest.raises(ValueError, match='2 scores'):
        SceneDetections(np.ones(2), np.zeros((3, 1)))


def test_categories_are_cut_in_thirds_by_frequency():
    counts = dict(zip('abcdefg', (1, 9, 5, 5, 7, 3, 0)))
    groups = group_by_frequency(counts)
    assert groups == {'head': ('b', 'e'), 'common': ('c', 'd', 'f'), 'tail': ('a', 'g')}
    sizes = [len(group) for group in group_by_frequency(dict.fromkeys(range(200), 1)).values()]
    assert sizes == [66, 68, 66]  # those of ScanNet200


def test_the_groups_are_those_of_the_training_rooms():
    assert group_by_frequency(count_objects()) == CATEGORY_GROUPS


def test_the_folder_of_the_result_is_made_before_hours_of_questions(tmp_path, monkeypatch):
    out = tmp_path / 'new' / 'evaluate.json'

    def asked(*_):
        assert out.parent.is_dir()
        return {'nouns': {'n': 3}}

    monkeypatch.setattr(evaluate, 'evaluate', asked)
    monkeypatch.setattr(sys, 'argv', ['evaluate', '--out', str(out)])
    evaluate.main()
    assert json.loads(out.read_text()) == {'nouns': {'n': 3}}
