import numpy as np
import pytest

from lift_gs_ros.geometry import (
    Box,
    Camera,
    PointCloud,
    invert_transform,
    look_at,
    rigid_transform,
    transform_points,
)

CAMERA = Camera.from_focal(525, 530, 319.5, 239.5, 640, 480)


def test_projection_and_unprojection_are_inverse():
    depth = np.random.default_rng(0).uniform(0.5, 5, (480, 640))
    pixels, z = CAMERA.project(CAMERA.unproject(depth))
    v, u = np.indices(depth.shape)
    assert np.allclose(pixels, np.stack([u, v], -1), atol=1e-9)
    assert np.allclose(z, depth)


def test_the_principal_point_looks_straight_ahead():
    pixel, depth = CAMERA.project([0, 0, 2])
    assert np.allclose(pixel, [319.5, 239.5])
    assert depth == 2


def test_points_behind_the_camera_have_no_pixel():
    pixels, depth = CAMERA.project([[0.1, 0.2, -1], [0, 0, 0], [0, 0, 1]])
    assert np.isnan(pixels[:2]).all()
    assert np.isfinite(pixels[2]).all()
    assert depth.tolist() == [-1, 0, 1]


def test_a_resized_camera_sees_the_same_rays():
    half = CAMERA.resized(320, 240)
    corners = np.array([[-0.5, -0.5], [639.5, 479.5]])  # of the image, not of the pixel centres
    point = np.linalg.inv(CAMERA.intrinsics) @ [*corners[1], 1]
    assert np.allclose(half.project(point)[0], [319.5, 239.5])
    assert np.allclose(half.resized(640, 480).intrinsics, CAMERA.intrinsics)


@pytest.mark.parametrize(
    ('intrinsics', 'size', 'message'),
    [
        (np.zeros((3, 3)), (640, 480), 'calibrated'),
        (np.diag([np.nan, 1, 1]), (640, 480), 'focal'),
        (np.eye(4), (640, 480), 'shape'),
        (np.diag([500.0, 500.0, 0.0]), (640, 480), 'last row'),
        (np.eye(3), (0, 480), 'size is 0x480'),
    ],
)
def test_a_camera_that_is_none_is_refused(intrinsics, size, message):
    with pytest.raises(ValueError, match=message):
        Camera(intrinsics, *size)


def test_depth_of_another_size_is_refused():
    with pytest.raises(ValueError, match='depth is 10x5'):
        CAMERA.unproject(np.ones((5, 10)))


def test_a_box_of_points_has_their_extreme_corners():
    points = np.array([[0, 0, 0], [1, -2, 3], [0.5, 1, 1]])
    box = Box.from_points(points)
    assert np.allclose(box.lower, [0, -2, 0])
    assert np.allclose(box.upper, [1, 1, 3])
    assert box.volume == pytest.approx(9)
    assert box.contains(points).all()
    assert not box.contains([2, 0, 0])
    assert Box.from_points(box.corners()).iou(box) == pytest.approx(1)


@pytest.mark.parametrize('points', [np.zeros((0, 3)), np.zeros(3), np.zeros((2, 2))])
def test_a_box_of_no_points_is_refused(points):
    with pytest.raises(ValueError, match='expected \\(N, 3\\)'):
        Box.from_points(points)


def test_corners_are_numbered_by_bits():
    corners = Box.from_corners((0, 0, 0), (1, 2, 3)).corners()
    assert corners[0].tolist() == [0, 0, 0]
    assert corners[1].tolist() == [1, 0, 0]
    assert corners[6].tolist() == [0, 2, 3]


def test_intersection_over_union_of_boxes():
    box = Box(np.zeros(3), np.full(3, 2.0))
    assert box.iou(Box(np.array([1.0, 0, 0]), np.full(3, 2.0))) == pytest.approx(1 / 3)
    assert box.iou(Box(np.array([5.0, 0, 0]), np.full(3, 2.0))) == 0
    flat = Box(np.zeros(3), np.array([1.0, 1, 0]))
    assert flat.iou(flat) == 0


def test_a_point_cloud_keeps_positions_and_colours_together():
    cloud = PointCloud(np.arange(12.0).reshape(4, 3), np.arange(12.0).reshape(4, 3) / 12)
    assert cloud.positions.dtype == cloud.colors.dtype == np.float32
    picked = cloud[np.array([True, False, False, True])]
    assert picked.positions.tolist() == cloud.positions[[0, 3]].tolist()
    assert picked.colors.tolist() == cloud.colors[[0, 3]].tolist()
    assert len(PointCloud.concatenate([cloud, picked])) == 6
    assert len(PointCloud.concatenate([])) == 0


@pytest.mark.parametrize('colors', [np.zeros((3, 3)), np.zeros((4, 4)), np.zeros(4)])
def test_a_point_cloud_of_unequal_parts_is_refused(colors):
    with pytest.raises(ValueError, match='expected \\(N, 3\\) for both'):
        PointCloud(np.zeros((4, 3)), colors)


def test_a_transform_and_its_inverse_cancel():
    pose = look_at((1, 2, 3), (4, 0, 1))
    points = np.random.default_rng(0).normal(size=(5, 7, 3))
    back = transform_points(invert_transform(pose), transform_points(pose, points))
    assert np.allclose(back, points)
    assert np.allclose(invert_transform(pose) @ pose, np.eye(4))


def test_a_camera_that_looks_at_a_point_has_it_ahead_and_up_is_up():
    pose = look_at((1, 2, 3), (4, 0, 1))
    ahead = transform_points(invert_transform(pose), np.array([4.0, 0, 1]))
    assert np.allclose(ahead[:2], 0)
    assert ahead[2] > 0
    above = transform_points(invert_transform(pose), np.array([4.0, 0, 1.5]))
    assert above[1] < 0  # y points down in the image
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    with pytest.raises(ValueError, match='parallel'):
        look_at((0, 0, 0), (0, 0, 1))


def test_a_rounded_rotation_becomes_the_nearest_exact_one():
    pose = look_at((1, 2, 3), (4, 0, 1))
    fixed = rigid_transform(pose.round(3))
    assert np.allclose(fixed[:3, :3].T @ fixed[:3, :3], np.eye(3), atol=1e-12)
    assert np.allclose(fixed, pose, atol=1e-3)


@pytest.mark.parametrize(
    ('matrix', 'message'),
    [
        (np.eye(3), 'shape'),
        (np.full((4, 4), np.nan), 'NaN'),
        (2 * np.eye(4), 'orthonormal'),
        (np.diag([1.0, 1, -1, 1]), 'determinant -1'),
        (np.eye(4) + np.eye(4)[::-1] * [0.5, 0, 0, 0], 'last row'),
    ],
)
def test_a_matrix_that_is_no_rigid_transform_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        rigid_transform(matrix)
