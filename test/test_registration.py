import numpy as np
import pytest
from box_scenes import FLOOR, WALL, render
from scipy.spatial.transform import Rotation

from lift_gs_ros.geometry import Box, Camera, look_at
from lift_gs_ros.mapping.registration import register_depth

CHAIR = Box.from_corners((-0.32, 2.02, -0.92), (0.32, 2.52, 0.22)), (200, 20, 20)
SCENE = [WALL, FLOOR, CHAIR]
POSE = look_at((0.2, 0, 0.5), (0, 4, -0.3))
DEPTH_CAMERA = Camera.from_focal(190, 192, 161, 118, 320, 240)
LARGER = Camera.from_focal(460, 455, 318, 243, 640, 480)
SMALLER = Camera.from_focal(110, 110, 79, 61, 160, 120)


def extrinsic(degrees=(0.5, -1.0, 0.7), translation=(-0.06, 0.004, 0.002)):
    """color_from_depth of a sensor whose colour camera is 6 cm to the right."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler('xyz', degrees, degrees=True).as_matrix()
    matrix[:3, 3] = translation
    return matrix


@pytest.mark.parametrize('color_camera', [LARGER, DEPTH_CAMERA, SMALLER])
def test_registered_depth_is_what_the_colour_camera_would_measure(color_camera):
    color_from_depth = extrinsic()
    depth = render(SCENE, POSE, camera=DEPTH_CAMERA).depth
    truth = render(SCENE, POSE @ np.linalg.inv(color_from_depth), camera=color_camera).depth
    registered = register_depth(depth, DEPTH_CAMERA, color_camera, color_from_depth)
    assert registered.dtype == np.float32
    assert registered.shape == truth.shape
    both = registered > 0
    assert both[10:-10, 10:-60].mean() > 0.93  # the rest lies in the chair's shadow
    wrong = np.abs(registered - truth)[both] > 0.02 * truth[both]
    assert wrong.mean() < 0.02  # a pixel wide along the chair's edges
    unregistered = np.abs(render(SCENE, POSE, camera=color_camera).depth - truth) > 0.02 * truth
    assert unregistered[both].mean() > 2 * wrong.mean()


def test_the_identity_changes_nothing_away_from_edges():
    depth = render([WALL], look_at((0, 0, 1), (0, 4, 1)), camera=DEPTH_CAMERA).depth
    registered = register_depth(depth, DEPTH_CAMERA, DEPTH_CAMERA, np.eye(4))
    assert np.array_equal(registered, depth)


def test_the_nearer_of_two_surfaces_stays():
    camera = Camera.from_focal(100, 100, 20, 20, 41, 41)
    depth = np.full((41, 41), 2.0, np.float32)
    depth[:, 10:20] = 0.5  # moves 20 pixels to the right of what stands behind
    shift = np.eye(4)
    shift[0, 3] = 0.1
    registered = register_depth(depth, camera, camera, shift)
    assert np.unique(registered[:, 30:40]).tolist() == [0.5]
    assert (registered[:, 6:14] == 2).all()
    assert (registered[:, 16:24] == 0).all()  # what it hid was not measured
    assert (registered[:, :4] == 0).all()


def test_a_surface_at_a_slant_has_no_seams():
    camera = Camera.from_focal(200, 200, 99.5, 74.5, 200, 150)
    wall = Box.from_corners((-0.3, -1, -2), (-0.2, 9, 2)), (1, 1, 1)
    depth = render([wall], look_at((0, 0, 0), (-0.2, 1, 0)), camera=camera).depth
    registered = register_depth(depth, camera, camera, extrinsic((0, 0, 0), (-0.05, 0, 0)))
    seen = registered[75] > 0
    inside = slice(*np.flatnonzero(seen)[[0, -1]])
    assert seen[inside].mean() > 0.97


@pytest.mark.parametrize('invalid', [0.0, -1.0, np.nan, np.inf])
def test_what_is_no_depth_is_not_moved(invalid):
    depth = np.full((240, 320), invalid, np.float32)
    assert not register_depth(depth, DEPTH_CAMERA, LARGER, extrinsic()).any()


def test_what_lies_behind_the_colour_camera_is_left_out():
    depth = np.full((240, 320), 2.0, np.float32)
    ahead = extrinsic((0, 0, 0), (0, 0, -3.0))
    assert not register_depth(depth, DEPTH_CAMERA, LARGER, ahead).any()


def test_an_absurd_calibration_costs_bounded_work():
    depth = np.full((240, 320), 2.0, np.float32)
    telescope = Camera.from_focal(1e9, 1e9, 320, 240, 640, 480)
    register_depth(depth, DEPTH_CAMERA, telescope, extrinsic())


@pytest.mark.parametrize(
    ('shape', 'matrix', 'reason'),
    [((120, 160), np.eye(4), 'depth is 160x120'), ((240, 320), 2 * np.eye(4), 'orthonormal')],
)
def test_what_does_not_fit_together_is_refused(shape, matrix, reason):
    with pytest.raises(ValueError, match=reason):
        register_depth(np.ones(shape, np.float32), DEPTH_CAMERA, LARGER, matrix)
