import numpy as np
import pytest

from lift_gs_ros.geometry import Camera, look_at
from lift_gs_ros.mapping.frame import RgbdFrame, depth_to_metres

CAMERA = Camera.from_focal(100, 110, 2, 1, 4, 3)
COLOR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
POSE = look_at((1, 2, 3), (2, 3, 2))


def test_uint16_depth_is_millimetres_and_0_and_65535_are_invalid():
    depth = np.array([[0, 1, 1500, 65535]], np.uint16)
    metres = depth_to_metres(depth)
    assert metres.dtype == np.float32
    assert np.allclose(metres, [[0, 0.001, 1.5, 0]])
    assert np.allclose(depth_to_metres(depth, units_per_metre=5000), [[0, 0.0002, 0.3, 0]])


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_float_depth_is_metres_and_all_that_is_no_distance_is_invalid(dtype):
    depth = np.array([[0, 1.5, np.nan, np.inf, -np.inf, -1]], dtype)
    assert np.array_equal(depth_to_metres(depth), np.array([[0, 1.5, 0, 0, 0, 0]], np.float32))
    assert np.isnan(depth[0, 2])  # the argument is as it was


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.int32, bool])
def test_depth_of_another_type_is_refused(dtype):
    with pytest.raises(ValueError, match='expected uint16'):
        depth_to_metres(np.ones((2, 2), dtype))


def test_depth_of_another_shape_is_refused():
    with pytest.raises(ValueError, match='expected \\(height, width\\)'):
        depth_to_metres(np.ones((2, 2, 1), np.uint16))


@pytest.mark.parametrize('scale', [1000, 1])
def test_valid_pixels_become_world_points_with_their_colours(scale):
    raw = np.array([[1000, 0, 2000, 500]] * 3, np.uint16)
    depth = raw if scale == 1000 else np.where(raw == 0, np.nan, raw / 1000).astype(np.float32)
    frame = RgbdFrame(0, COLOR, depth, CAMERA, POSE)
    cloud = frame.to_point_cloud()
    assert len(cloud) == 9
    v, u = 2, 3  # the last pixel
    in_camera = np.array([(u - 2) / 100 * 0.5, (v - 1) / 110 * 0.5, 0.5])
    assert np.allclose(cloud.positions[-1], POSE[:3, :3] @ in_camera + POSE[:3, 3], atol=1e-6)
    assert np.allclose(cloud.colors[-1], COLOR[v, u] / 255)
    assert len(frame.to_point_cloud(max_depth=1.0)) == 6


def test_a_frame_of_no_depth_at_all_is_an_empty_cloud():
    frame = RgbdFrame(0, COLOR, np.full((3, 4), np.nan, np.float32), CAMERA, POSE)
    assert len(frame.to_point_cloud()) == 0


def test_rounded_poses_become_exactly_rigid():
    frame = RgbdFrame(0, COLOR, np.ones((3, 4), np.float32), CAMERA, POSE.round(3))
    rotation = frame.world_from_camera[:3, :3]
    assert np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)


def _changed(**change):
    fields = {
        'stamp': 0,
        'color': COLOR,
        'depth': np.ones((3, 4), np.float32),
        'camera': CAMERA,
        'world_from_camera': POSE,
    }
    return {**fields, **change}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'color': COLOR[:2]}, 'color is uint8 \\(2, 4, 3\\)'),
        ({'color': COLOR.astype(float)}, 'color is float64'),
        ({'color': COLOR[..., 0]}, 'color is uint8 \\(3, 4\\)'),
        ({'depth': np.ones((4, 3), np.float32)}, 'depth is \\(4, 3\\)'),
        ({'world_from_camera': np.full((4, 4), np.nan)}, 'NaN'),
        ({'world_from_camera': np.full((4, 4), -np.inf)}, 'inf'),
        ({'world_from_camera': np.diag([1.0, 1, -1, 1])}, 'determinant'),
        ({'world_from_camera': np.eye(3)}, 'expected \\(4, 4\\)'),
    ],
)
def test_fields_that_do_not_fit_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        RgbdFrame(**_changed(**change))
