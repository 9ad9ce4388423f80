"""Registration of depth to colour, against what the simulated camera sees from both places."""

import numpy as np
import pytest

from lift_gs_ros.geometry import Camera, look_at
from lift_gs_ros.mapping.registration import register_depth
from lift_gs_ros.simulation.camera import SimulatedCamera
from lift_gs_ros.simulation.raycasting import RoomScene
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import RoomSequence

COLOR = Camera.from_focal(150.0, 150.0, 79.5, 59.5, 160, 120)
DEPTH = Camera.from_focal(90.0, 92.0, 63.0, 50.0, 128, 96)


def test_depth_is_what_the_colour_camera_sees():
    room = make_room(0)
    scene = RoomScene(room)
    world_from_color = next(iter(RoomSequence(room))).world_from_camera
    color_from_depth = look_at([0, 0, 0], [0.03, 0.01, 1.0], up=[0, -1, 0])
    color_from_depth[:3, 3] = [0.05, 0.01, 0.005]
    world_from_depth = world_from_color @ color_from_depth
    seen = SimulatedCamera(DEPTH).view(scene, world_from_depth).clean_depth
    expected = SimulatedCamera(COLOR).view(scene, world_from_color).clean_depth
    registered = register_depth(seen, DEPTH, COLOR, color_from_depth)
    both = (registered > 0) & (expected > 0)
    assert both.mean() > 0.9
    error = np.abs(registered - expected)[both] / expected[both]
    assert np.median(error) < 0.005
    # The others lie on the edges of things, where the two cameras see different surfaces.
    assert np.mean(error < 0.03) > 0.95
    unregistered = np.abs(np.resize(seen, expected.shape) - expected)[both] / expected[both]
    assert np.mean(unregistered < 0.03) < 0.5


def test_the_same_camera_gives_the_same_image():
    depth = np.random.default_rng(0).uniform(0.5, 5.0, (96, 128)).astype(np.float32)
    depth[10, 20] = 0
    np.testing.assert_allclose(register_depth(depth, DEPTH, DEPTH, np.eye(4)), depth, rtol=1e-6)


def test_the_nearest_of_several_surfaces_counts_and_what_is_behind_is_left_out():
    depth = np.full((96, 128), 4.0, np.float32)
    depth[:, 64:] = 1.0
    sideways = np.eye(4)
    sideways[0, 3] = 0.1
    registered = register_depth(depth, DEPTH, DEPTH, sideways)
    # The near half moves by 9 pixels, the far one by 2.
    assert (registered[:, 73:] == 1.0).all()
    assert (registered[:, 3:66] == 4.0).all()
    assert (registered[:, 67:72] == 0).all()
    behind = np.eye(4)
    behind[2, 3] = -5.0
    assert not register_depth(depth, DEPTH, DEPTH, behind).any()


def test_a_size_that_is_not_that_of_the_depth_camera_is_refused():
    with pytest.raises(ValueError, match=r'depth is \(10, 10\), expected \(96, 128\)'):
        register_depth(np.ones((10, 10), np.float32), DEPTH, COLOR, np.eye(4))
