import numpy as np
import pytest

from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.mapping.chunks import neighbours, split_into_chunks, with_halo

SIZE = 2.0


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    return PointCloud(rng.uniform(-5, 5, (3000, 3)), rng.random((3000, 3)))


def test_every_point_is_in_the_one_chunk_whose_cell_it_lies_in(cloud):
    chunks = split_into_chunks(cloud, SIZE)
    assert sum(len(chunk) for chunk in chunks.values()) == len(cloud)
    for key, chunk in chunks.items():
        expected = (np.abs(cloud.positions - SIZE * np.array(key)) <= SIZE / 2).all(axis=1)
        assert np.array_equal(chunk.positions, cloud.positions[expected])  # in their order
        assert np.array_equal(chunk.colors, cloud.colors[expected])
        assert all(type(part) is int for part in key)


def test_a_point_on_a_border_belongs_to_the_upper_chunk():
    chunks = split_into_chunks(PointCloud(np.array([[1.0, 0, -3.0]]), np.zeros((1, 3))), SIZE)
    assert list(chunks) == [(1, 0, -1)]


def test_no_points_are_no_chunks():
    assert split_into_chunks(PointCloud.empty(), SIZE) == {}


def test_points_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match='NaN'):
        split_into_chunks(PointCloud(np.full((1, 3), np.nan), np.zeros((1, 3))), SIZE)


@pytest.mark.parametrize('size', [0.0, -1.0, float('nan'), float('inf')])
def test_a_chunk_size_that_makes_no_sense_is_refused(size, cloud):
    with pytest.raises(ValueError, match='chunk_size'):
        split_into_chunks(cloud, size)


def test_a_chunk_has_26_neighbours_each_one_step_away():
    found = np.array(neighbours((3, -1, 0))) - [3, -1, 0]
    assert len(np.unique(found, axis=0)) == 26
    assert (np.abs(found).max(axis=1) == 1).all()


def test_the_halo_is_what_lies_within_the_overlap_of_the_cell(cloud):
    chunks = split_into_chunks(cloud, SIZE)
    halo, core = with_halo(chunks, (0, 0, 0), SIZE, overlap=0.5)
    assert np.array_equal(halo.positions[core], chunks[0, 0, 0].positions)
    assert core[: core.sum()].all()  # core points first
    inside = ((cloud.positions >= -1.5) & (cloud.positions < 1.5)).all(axis=1)
    expected = {tuple(point) for point in cloud.positions[inside]}
    assert {tuple(point) for point in halo.positions} == expected
    assert len(halo) == inside.sum() > core.sum()


def test_without_overlap_there_is_only_the_core(cloud):
    chunks = split_into_chunks(cloud, SIZE)
    halo, core = with_halo(chunks, (0, 0, 0), SIZE, overlap=0.0)
    assert core.all()
    assert len(halo) == len(chunks[0, 0, 0])


def test_a_chunk_that_is_gone_still_has_neighbours(cloud):
    chunks = split_into_chunks(cloud, SIZE)
    del chunks[0, 0, 0]
    halo, core = with_halo(chunks, (0, 0, 0), SIZE)
    assert len(halo) > 0
    assert not core.any()
    assert len(with_halo({}, (0, 0, 0), SIZE)[0]) == 0


@pytest.mark.parametrize('overlap', [-0.1, SIZE + 0.1, float('nan')])
def test_an_overlap_that_makes_no_sense_is_refused(overlap):
    with pytest.raises(ValueError, match='overlap'):
        with_halo({}, (0, 0, 0), SIZE, overlap=overlap)
