"""The compiled kernel against scipy's k-d tree and graph components."""

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lift_gs_ros.grounding.components import largest_component


def _reference(points: np.ndarray, weights: np.ndarray, distance: float) -> list[int]:
    pairs = cKDTree(points).query_pairs(distance, output_type='ndarray')
    shape = (len(points), len(points))
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=shape)
    labels = connected_components(graph, directed=False)[1]
    heaviest = np.bincount(labels, weights=weights).argmax()
    return np.flatnonzero(labels == heaviest).tolist()


def _line(begin: float, count: int) -> np.ndarray:
    points = np.zeros((count, 3), np.float32)
    points[:, 0] = begin + 0.05 * np.arange(count)
    return points


@pytest.mark.parametrize('distance', [0.02, 0.1, 0.2, 0.35, 3.0])  # alone, clusters, all in one
@pytest.mark.parametrize('size', [(2.0, 2.0, 2.0), (6.0, 4.0, 0.0), (40.0, 0.1, 0.1)])
def test_it_is_the_set_that_a_kd_tree_finds_at_any_density(distance, size):
    for seed in range(5):
        rng = np.random.default_rng([seed, int(100 * distance)])
        points = rng.uniform(-1, 1, (400, 3)).astype(np.float32) * np.float32(size) / 2
        points = (points + rng.uniform(-20, 20, 3)).astype(np.float32)
        weights = rng.uniform(0.5, 1, 400).astype(np.float32)
        found = largest_component(points, weights, distance)
        assert found.tolist() == _reference(points, weights, distance)


def test_the_points_of_a_map_are_linked_as_a_kd_tree_links_them():
    rng = np.random.default_rng(3)
    cells = np.unique(rng.integers(-30, 30, (3000, 3)), axis=0)
    points = (0.05 * cells).astype(np.float32)
    weights = rng.uniform(0.5, 1, len(points)).astype(np.float32)
    found = largest_component(points, weights, 0.125)
    assert found.tolist() == _reference(points, weights, 0.125)
    assert 1 < len(found) < len(points)


def test_the_heaviest_set_wins_whichever_comes_first_or_has_more_points():
    points = np.concatenate([_line(0, 10), _line(5, 6)])
    weights = np.float32([0.2] * 10 + [0.9] * 6)
    assert largest_component(points, weights, 0.11).tolist() == list(range(10, 16))
    assert largest_component(points[::-1], weights[::-1], 0.11).tolist() == list(range(6))
    assert largest_component(points, np.ones(16, np.float32), 0.11).tolist() == list(range(10))


def test_nothing_has_no_component_and_a_single_point_is_one():
    nothing = largest_component(np.zeros((0, 3), np.float32), np.zeros(0, np.float32), 0.1)
    assert nothing.tolist() == []
    assert nothing.dtype == np.int64  # an index also where there is nothing
    assert largest_component(np.ones((1, 3), np.float32), np.ones(1, np.float32), 0.1) == [0]


def test_points_exactly_as_far_apart_as_the_distance_are_linked():
    points = np.zeros((4, 3), np.float32)
    points[:, 2] = [0, 0.5, 1.0, 1.75]
    weights = np.ones(4, np.float32)
    assert largest_component(points, weights, 0.5).tolist() == [0, 1, 2]


def test_points_in_one_place_are_one_set():
    points = np.repeat([[0, 0, 0], [9, 9, 9]], [3, 4], axis=0).astype(np.float32)
    weights = np.ones(7, np.float32)
    assert largest_component(points, weights, 0.1).tolist() == [3, 4, 5, 6]


def test_the_order_of_the_points_changes_nothing():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (300, 3)).astype(np.float32)
    weights = rng.uniform(0.5, 1, 300).astype(np.float32)
    found = largest_component(points, weights, 0.12)
    order = rng.permutation(300)
    assert sorted(order[largest_component(points[order], weights[order], 0.12)]) == found.tolist()


@pytest.mark.parametrize(
    'order',
    [[0, 1, 2, 3], [2, 3, 0, 1], [1, 3, 2, 0], [3, 0, 1, 2]],
)
def test_of_sets_that_weigh_the_same_the_first_points_is_taken(order):
    points = np.concatenate([_line(0, 2), _line(5, 2)])[order]
    found = largest_component(points, np.ones(4, np.float32), 0.06)
    assert found[0] == 0
    assert len(found) == 2
