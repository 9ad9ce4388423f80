import numpy as np
from box_scenes import FLOOR, WALL, render

from lift_gs_ros.geometry import Box, Camera, look_at, transform_points
from training.data.association import regions_of_points

BOX = Box.from_corners((-0.3, 1.5, -0.5), (0.3, 2.0, 0.3)), (200, 20, 20)
CAMERA = Camera.from_focal(80, 80, 63.5, 47.5, 128, 96)
POSE = look_at((0, 0, 0.3), (0, 2, 0))


def surface(frame):
    """Every pixel's point in the world, (H, W, 3)."""
    return transform_points(frame.world_from_camera, frame.camera.unproject(frame.depth))


def test_points_are_in_the_mask_of_the_pixel_that_sees_them():
    frame = render([WALL, FLOOR, BOX], POSE, camera=CAMERA)
    points = surface(frame)
    semantics = np.where(BOX[0].contains(points + [0, 1e-3, 0]), 1, 0)
    semantics[:10] = -1
    seen = frame.depth > 0
    found = regions_of_points(points[seen], CAMERA, POSE, frame.depth, semantics)
    assert np.array_equal(found, semantics[seen])
    assert {-1, 0, 1} <= set(found.tolist())


def test_points_that_are_hidden_outside_or_not_measured_are_in_no_mask():
    frame = render([WALL, FLOOR, BOX], POSE, camera=CAMERA)
    semantics = np.zeros((96, 128), int)
    center = BOX[0].center
    points = np.array([
        [0, 1.5, 0.0],  # on the box, towards the camera
        [*center[:2], 0.0],  # inside of it
        [0, 3, 0.0],  # behind it
        [0, 1.3, 0.0],  # in the air before it
        [0, -2, 0.0],  # behind the camera
        [9, 2, 0.0],  # outside the image
    ], np.float32)  # fmt: skip
    found = regions_of_points(points, CAMERA, POSE, frame.depth, semantics, tolerance=0.05)
    assert found.tolist() == [0, -1, -1, -1, -1, -1]
    blind = regions_of_points(points, CAMERA, POSE, np.zeros_like(frame.depth), semantics)
    assert (blind == -1).all()
