import numpy as np
import pytest

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.identity import InstanceRegistry
from lift_gs_ros.grounding.proposals import largest_component, phrase_tokens, select_proposals


def line_of_points(begin: float, count: int) -> np.ndarray:
    return np.stack([begin + 0.05 * np.arange(count), np.zeros(count), np.zeros(count)], 1).astype(
        np.float32
    )


def test_tokens_of_a_phrase_are_those_whose_characters_overlap_it():
    # "the red mug" -> the | red | mug
    spans = np.array([[0, 3], [4, 7], [8, 11]])
    assert phrase_tokens(spans, (4, 11)).tolist() == [1, 2]
    assert phrase_tokens(spans, (7, 8)).tolist() == []
    assert phrase_tokens(np.zeros((0, 2), int), (0, 3)).tolist() == []


def test_largest_component_goes_by_weight_and_not_by_count():
    points = np.concatenate([line_of_points(0, 10), line_of_points(5, 6)])
    light, heavy = np.full(10, 0.2, np.float32), np.full(6, 0.9, np.float32)
    kept = largest_component(points, np.concatenate([light, heavy]), distance=0.11)
    assert kept.tolist() == list(range(10, 16))


def test_a_stray_point_does_not_stretch_the_box():
    positions = np.concatenate([line_of_points(0, 10), line_of_points(3, 1)])
    masks = np.full((11, 1), 0.9, np.float32)
    ones = np.ones(1, np.float32)
    [with_stray] = select_proposals(masks, ones, positions, 0.5, link_distance=None)
    [without] = select_proposals(masks, ones, positions, 0.5, link_distance=0.125)
    assert len(with_stray.point_indices) == 11
    assert without.point_indices.tolist() == list(range(10))


def test_score_is_correspondence_times_mean_mask_probability():
    positions = line_of_points(0, 8)
    masks = np.array([[0.9] * 6 + [0.1] * 2, [0.6] * 8], np.float32).T
    proposals = select_proposals(masks, np.float32([0.5, 0.9]), positions, 0.5, 0.125)
    # The second mask covers the first with an IoU of 0.75: one object, the better answer stays.
    assert [round(p.score, 3) for p in proposals] == [0.54]
    apart = select_proposals(masks, np.float32([0.8, 0.1]), positions, 0.5, 0.125)
    assert [round(p.score, 3) for p in apart] == [0.72]


def test_empty_masks_and_impossible_proposals_are_left_out():
    positions = line_of_points(0, 8)
    masks = np.array([[0.1] * 8, [0.9] * 8, [0.9] * 3 + [0.0] * 5], np.float32).T
    assert select_proposals(masks, np.float32([1, 0.001, 1]), positions, 0.5, 0.125) == []


def test_an_object_keeps_its_number_while_its_box_grows():
    registry = InstanceRegistry()
    chair = registry.identify(Box(np.zeros(3), np.ones(3)))
    table = registry.identify(Box(np.array([5.0, 0, 0]), np.ones(3)))
    grown = registry.identify(Box(np.array([0.1, 0, 0]), np.array([1.2, 1, 1.1])))
    assert grown == chair
    assert table != chair


def test_numbers_are_not_used_again_after_the_map_was_cleared():
    registry = InstanceRegistry()
    before = registry.identify(Box(np.zeros(3), np.ones(3)))
    registry.clear()
    assert registry.identify(Box(np.zeros(3), np.ones(3))) > before


@pytest.mark.parametrize('spans', [[], [[0, 0]]])
def test_no_token_overlaps_an_empty_query(spans):
    assert len(phrase_tokens(np.array(spans, dtype=int), (0, 5))) == 0
