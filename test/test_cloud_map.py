import numpy as np
import pytest

from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.mapping.cloud_map import CloudMap, voxel_map_of


def make_cloud(seed: int = 0, count: int = 5000) -> PointCloud:
    rng = np.random.default_rng(seed)
    return PointCloud(rng.uniform(-6, 6, (count, 3)), rng.random((count, 3)))


def test_every_voxel_is_the_mean_of_its_points_however_few():
    rng = np.random.default_rng(0)
    many, one = rng.normal([0.1, 0.0, 0.0], 0.004, (1000, 3)), np.array([[0.15, 0.0, 0.0]])
    points = np.concatenate([many, one])
    colors = np.concatenate([np.ones((1000, 3)), np.zeros((1, 3))])
    fused = voxel_map_of(PointCloud(points, colors)).to_point_cloud()
    order = np.argsort(fused.positions[:, 0])
    np.testing.assert_allclose(fused.positions[order], [many.mean(axis=0), one[0]], atol=1e-5)
    np.testing.assert_allclose(fused.colors[order], [[1] * 3, [0] * 3], atol=1e-6)


def test_all_chunks_are_new_at_first_and_none_when_the_same_points_come_in_another_order():
    cloud, cloud_map = make_cloud(), CloudMap()
    changed = cloud_map.replace(cloud)
    assert len(changed) == 27
    assert sum(len(chunk) for chunk in changed.values()) == voxel_map_of(cloud).num_voxels
    for key, chunk in changed.items():
        center = np.array(key) * cloud_map.chunk_size
        assert np.abs(chunk.positions - center).max() <= cloud_map.chunk_size / 2 + 1e-4
    order = np.random.default_rng(1).permutation(len(cloud))
    assert cloud_map.replace(cloud[order]) == {}


def test_only_the_chunks_in_which_something_changed_are_named():
    cloud, cloud_map = make_cloud(), CloudMap()
    cloud_map.replace(cloud)
    moved = PointCloud(cloud.positions.copy(), cloud.colors.copy())
    moved.positions[0] = [6.45, 0, 0]
    changed = cloud_map.replace(moved)
    assert (1, 0, 0) in changed
    assert len(changed) == 2
    moved.colors[0] = 1 - moved.colors[0]
    assert list(cloud_map.replace(moved)) == [(1, 0, 0)]


def test_a_chunk_without_points_is_gone():
    cloud, cloud_map = make_cloud(), CloudMap()
    cloud_map.replace(cloud)
    rest = cloud[cloud.positions[:, 0] < 3.2]
    gone = {key for key, chunk in cloud_map.replace(rest).items() if not len(chunk)}
    assert gone == {(1, y, z) for y in (-1, 0, 1) for z in (-1, 0, 1)}
    assert len(cloud_map.replace(PointCloud.empty())) == 18
    assert cloud_map.replace(PointCloud.empty()) == {}


def test_a_cloud_that_reaches_too_far_is_refused_and_the_one_before_is_kept():
    cloud, cloud_map = make_cloud(), CloudMap()
    cloud_map.replace(cloud)
    far = PointCloud.concatenate([cloud, PointCloud(np.full((1, 3), 1e7), np.zeros((1, 3)))])
    with pytest.raises(ValueError, match='points reach 1e\\+07 m from the origin'):
        cloud_map.replace(far)
    assert cloud_map.replace(cloud) == {}


def test_a_cloud_of_any_size_is_kept_whole():
    sides = [np.arange(side) * 0.05 for side in (210, 100, 100)]  # more than a map of ours may be
    points = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 3)
    assert voxel_map_of(PointCloud(points, np.zeros_like(points))).num_voxels == 2_100_000
