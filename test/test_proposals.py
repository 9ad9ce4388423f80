from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.identity import InstanceRegistry
from lift_gs_ros.grounding.proposals import (
    MIN_LIKELIHOOD,
    Proposal,
    best_of,
    box_around,
    phrase_tokens,
    select_proposals,
    without_strays,
)


@dataclass
class Dense:
    """All masks (P, m), each found by looking at every point."""

    masks: np.ndarray
    positions: np.ndarray
    threshold: float
    link_distance: float | None
    looked_at: set[int] = field(default_factory=set)

    def of(self, proposal: int):
        self.looked_at.add(proposal)
        indices = np.flatnonzero(self.masks[:, proposal] >= self.threshold)
        members = indices, self.masks[indices, proposal]
        if self.link_distance is not None:
            members = without_strays(members, self.positions, self.link_distance)
        return members, box_around(self.positions[members[0]])


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


def test_a_stray_point_does_not_stretch_the_box():
    positions = np.concatenate([line_of_points(0, 10), line_of_points(3, 1)])
    masks = np.full((11, 1), 0.9, np.float32)
    ones = np.ones(1, np.float32)
    [with_stray] = select_proposals(Dense(masks, positions, 0.5, None), ones)
    [without] = select_proposals(Dense(masks, positions, 0.5, 0.125), ones)
    assert len(with_stray.point_indices) == 11
    assert without.point_indices.tolist() == list(range(10))
    assert (with_stray.box.size[0], without.box.size[0]) == pytest.approx((3.0, 0.45))


def test_score_is_correspondence_times_mean_mask_probability():
    positions = line_of_points(0, 8)
    masks = np.array([[0.9] * 6 + [0.1] * 2, [0.6] * 8], np.float32).T
    points = Dense(masks, positions, 0.5, 0.125)
    proposals = select_proposals(points, np.float32([0.5, 0.9]))
    # The second mask covers the first with an IoU of 0.75: one object, the better answer stays.
    assert [round(p.score, 3) for p in proposals] == [0.54]
    apart = select_proposals(points, np.float32([0.8, 0.1]))
    assert [round(p.score, 3) for p in apart] == [0.72]


def test_empty_masks_and_impossible_proposals_are_left_out():
    positions = line_of_points(0, 8)
    masks = np.array([[0.1] * 8, [0.9] * 8, [0.9] * 3 + [0.0] * 5], np.float32).T
    points = Dense(masks, positions, 0.5, 0.125)
    assert select_proposals(points, np.float32([1, 0.001, 1])) == []
    assert select_proposals(points, np.zeros(3, np.float32)) == []


def blobs(rng, count: int):
    """Masks (P, count) around random places of a floor of 3 m x 3 m, and its points."""
    grid = 0.05 * np.arange(60) + 0.025
    x, y = np.meshgrid(grid, grid)
    positions = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1).astype(np.float32)
    centers = positions[rng.integers(0, len(positions), count)]
    square = ((positions[:, None] - centers) ** 2).sum(axis=2)
    return np.exp(-square / 0.1).astype(np.float32), positions


@pytest.mark.parametrize('threshold', [0.05, 0.4, 0.99])
def test_looking_only_at_what_can_be_reported_or_a_rival_changes_neither(threshold):
    rng = np.random.default_rng(0)
    masks, positions = blobs(rng, 40)
    probability = rng.uniform(0, 1, 40).astype(np.float32)
    every = select_proposals(Dense(masks, positions, 0.5, 0.125), probability)
    points = Dense(masks, positions, 0.5, 0.125)
    some = select_proposals(points, probability, threshold)

    least = min(threshold, MIN_LIKELIHOOD * every[0].score)

    def those_that_count(proposals):
        return [(p.score, p.point_indices.tolist()) for p in proposals if p.score >= least]

    assert those_that_count(some) == those_that_count(every)
    assert len(points.looked_at) <= (probability >= least).sum()


def test_duplicates_are_those_of_which_the_smaller_lies_mostly_within_the_other():
    masks, positions = blobs(np.random.default_rng(1), 30)
    probability = np.linspace(1, 0.1, 30, dtype=np.float32)
    kept = select_proposals(Dense(masks, positions, 0.5, None), probability)
    sets = [set(proposal.point_indices.tolist()) for proposal in kept]
    assert 1 < len(kept) < 30
    for i, one in enumerate(sets):
        assert all(len(one & other) <= 0.6 * min(len(one), len(other)) for other in sets[:i])


def test_the_top_of_a_thing_is_not_answered_beside_it_but_what_touches_it_is():
    def proposal(score, first, end):
        indices = np.arange(first, end)
        return Proposal(score, indices, np.ones(len(indices), np.float32), box_around(indices[:0]))

    table, top, vase = proposal(0.9, 0, 100), proposal(0.7, 70, 100), proposal(0.8, 95, 120)
    assert best_of([top, vase, table]) == [table, vase]
    assert best_of([proposal(0.5, 0, 100), top]) == [top]
    sofa, cushion = (replace(p, name=name) for p, name in ((table, 'sofa'), (top, 'cushion')))
    assert best_of([sofa, cushion]) == [sofa, cushion]  # another thing
    assert best_of([sofa, replace(sofa, name='couch', score=0.8)]) == [sofa]


def test_an_object_keeps_its_number_while_its_box_grows():
    registry = InstanceRegistry()
    chair = registry.identify([Box(np.zeros(3), np.ones(3))])[0]
    table = registry.identify([Box(np.array([5.0, 0, 0]), np.ones(3))])[0]
    grown = registry.identify([Box(np.array([0.1, 0, 0]), np.array([1.2, 1, 1.1]))])[0]
    assert grown == chair
    assert table != chair


def test_two_objects_of_one_answer_have_different_numbers_and_keep_them():
    registry = InstanceRegistry()
    box = Box(np.zeros(3), np.ones(3))
    first, second = registry.identify([box, box])
    assert first != second
    for _ in range(3):
        assert registry.identify([box]) == [first]
        assert registry.identify([box, box]) == [first, second]


def test_what_overlaps_most_is_decided_first_so_that_asking_again_gives_the_same_numbers():
    registry = InstanceRegistry()
    [known] = registry.identify([Box(np.zeros(3), np.ones(3))])
    near = Box(np.array([0.3, 0, 0]), np.ones(3))
    nearer = Box(np.array([-0.1, 0, 0]), np.ones(3))
    first, second = registry.identify([near, nearer])
    assert second == known
    assert registry.identify([near, nearer]) == [first, second]
    assert registry.identify([nearer, near]) == [second, first]
    assert registry.identify([near]) == [first]


def test_one_thing_that_two_phrases_name_has_the_same_two_numbers_every_time():
    registry = InstanceRegistry()
    box, like_it = Box(np.zeros(3), np.ones(3)), Box(np.array([0.2, 0, 0]), np.ones(3))
    old, _ = registry.identify([like_it, Box(np.array([9.0, 0, 0]), np.ones(3))])
    numbers = registry.identify([box, box])
    assert numbers[0] == old < numbers[1]
    assert registry.identify([box, box]) == numbers


def test_a_flat_object_keeps_its_number():
    registry = InstanceRegistry()
    poster = registry.identify([Box(np.array([2.0, 0, 1]), np.array([0.0, 0.6, 0.8]))])
    assert registry.identify([Box(np.array([2.005, 0, 1]), np.array([0.01, 0.6, 0.8]))]) == poster


def test_the_object_not_seen_for_longest_is_forgotten_first():
    registry = InstanceRegistry(capacity=2)
    boxes = [Box(np.array([10.0 * i, 0, 0]), np.ones(3)) for i in range(3)]
    numbers = [registry.identify([box])[0] for box in boxes[:2]]
    assert registry.identify([boxes[0]])[0] == numbers[0]
    third = registry.identify([boxes[2]])[0]
    assert registry.identify([boxes[0]])[0] == numbers[0]
    assert registry.identify([boxes[2]])[0] == third
    assert registry.identify([boxes[1]])[0] not in numbers


def test_a_new_object_does_not_take_the_number_of_one_in_the_same_answer():
    registry = InstanceRegistry(capacity=2)
    boxes = [Box(np.array([10.0 * i, 0, 0]), np.ones(3)) for i in range(3)]
    first, second = (registry.identify([box])[0] for box in boxes[:2])
    new, known = registry.identify([boxes[2], boxes[0]])
    assert known == first
    assert new not in (first, second)


def test_numbers_are_not_used_again_after_the_map_was_cleared():
    registry = InstanceRegistry()
    before = registry.identify([Box(np.zeros(3), np.ones(3))])[0]
    registry.clear()
    assert registry.identify([Box(np.zeros(3), np.ones(3))])[0] > before


@pytest.mark.parametrize('spans', [[], [[0, 0]]])
def test_no_token_overlaps_an_empty_query(spans):
    assert len(phrase_tokens(np.array(spans, dtype=int), (0, 5))) == 0
