import builtins
import sys

import numpy as np
import pytest

from lift_gs_ros.geometry import look_at, transform_points
from lift_gs_ros.simulation.camera import SimulatedCamera
from lift_gs_ros.simulation.depth_noise import DepthNoise
from lift_gs_ros.simulation.free_space import clearance
from lift_gs_ros.simulation.paths import camera_path
from lift_gs_ros.simulation.raycasting import import_open3d
from lift_gs_ros.simulation.room import FLOOR_ID
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import DEFAULT_CAMERA, RoomSequence

SMALL = DEFAULT_CAMERA.resized(160, 120)


@pytest.fixture(scope='module')
def room():
    return make_room(3, 'val')


@pytest.fixture(scope='module')
def sequence(room):
    return RoomSequence(room, num_frames=60, camera=SMALL, rate=10.0)


def test_a_sequence_gives_the_same_frames_every_time_and_differs_between_seeds(room, sequence):
    again = RoomSequence(room, num_frames=60, camera=SMALL)
    for index in (0, 17):
        first, second = sequence.view(index), again.view(index)
        assert np.array_equal(first.frame.color, second.frame.color)
        assert np.array_equal(first.frame.depth, second.frame.depth)
        assert np.array_equal(first.instance_ids, second.instance_ids)
        assert np.array_equal(first.frame.world_from_camera, second.frame.world_from_camera)
    other = RoomSequence(room, num_frames=60, camera=SMALL, seed=1)
    assert not np.allclose(other.path[30], sequence.path[30])


def test_a_sequence_is_iterated_in_order_with_stamps_at_its_rate(sequence):
    assert len(sequence) == 60
    frames = iter(sequence)
    stamps = [next(frames).stamp for _ in range(3)]
    assert stamps == [1_000_000_000, 1_100_000_000, 1_200_000_000]
    frame, ids = next(sequence.labelled_frames())
    assert ids.dtype == np.int32
    assert ids.shape == frame.depth.shape == (120, 160)


def test_clean_depth_and_ids_lie_on_the_object_that_they_name(room, sequence):
    checked = 0
    for index in range(0, 60, 12):
        view = sequence.view(index)
        points = SMALL.unproject(view.clean_depth)
        points = transform_points(view.frame.world_from_camera, points)
        for o in room.objects:
            seen = points[view.instance_ids == o.instance_id]
            checked += len(seen)
            assert (seen >= o.box.lower - 1e-3).all()
            assert (seen <= o.box.upper + 1e-3).all()
        floor = points[view.instance_ids == FLOOR_ID]
        assert np.abs(floor[:, 2]).max(initial=0) < 1e-3
    assert checked > 5000


def test_pixel_ids_are_objects_structure_or_zero_above_the_walls(room, sequence):
    known = {o.instance_id for o in room.objects} | {s.structure_id for s in room.structure}
    assert all(s.structure_id < 0 for s in room.structure)
    up = look_at([0, 0, 1], [0.01, 0, 5])
    sky = SimulatedCamera(SMALL).view(sequence.scene, up)
    assert (sky.instance_ids == 0).all()
    assert (sky.frame.depth == 0).all()
    assert set(np.unique(sequence.view(5).instance_ids)) <= known | {0}


def test_colours_of_an_object_vary_with_light_and_keep_their_name():
    room = make_room(0, 'train')
    sequence = RoomSequence(room, num_frames=60, camera=SMALL)
    reds = {o.instance_id for o in room.objects if o.color_name in ('red', 'green', 'blue')}
    channel = {'red': 0, 'green': 1, 'blue': 2}
    right = total = 0
    for index in range(0, 60, 3):
        view = sequence.view(index)
        for i in reds & set(np.unique(view.instance_ids).tolist()):
            pixels = view.frame.color[view.instance_ids == i].astype(int)
            if len(pixels) < 50:
                continue
            assert pixels.std() > 0
            mean = pixels.mean(axis=0)
            total += 1
            right += mean.argmax() == channel[room.object(i).color_name]
    assert total > 10
    assert right / total > 0.8


def _flat(distance, **settings):
    """Measured depth of a wall straight ahead."""
    depth = np.full((200, 200), distance, np.float32)
    cos = np.ones_like(depth)
    return DepthNoise(**settings).apply(depth, cos, np.random.default_rng(0))


@pytest.mark.parametrize('distance', [1.0, 2.0, 4.0])
def test_axial_noise_grows_as_published_and_has_no_bias(distance):
    measured = _flat(distance)
    measured = measured[measured > 0]
    step = distance**2 / 350
    expected = np.hypot(0.0012 + 0.0019 * (distance - 0.4) ** 2, step / np.sqrt(12))
    assert np.std(measured) == pytest.approx(expected, rel=0.15)
    assert abs(np.mean(measured) - distance) < 0.002 * distance
    assert len(np.unique(measured)) < 40  # steps of disparity


def test_depth_is_lost_out_of_range_and_now_and_then():
    assert (_flat(0.2) == 0).all()
    assert (_flat(6.5) == 0).all()
    assert (_flat(6.5, max_range=8.0) > 0).mean() > 0.9
    assert (_flat(2.0) == 0).mean() == pytest.approx(0.002, abs=0.001)


def test_depth_is_lost_at_grazing_angles_and_on_the_far_side_of_edges():
    depth = np.full((100, 100), 2.0, np.float32)
    rng = np.random.default_rng(0)
    for degrees, low, high in ((45, 0, 0.01), (80.2, 0.4, 0.6), (88, 0.95, 1)):
        cos = np.full_like(depth, np.cos(np.radians(degrees)))
        assert low <= (DepthNoise().apply(depth, cos, rng) == 0).mean() <= high
    depth[:, 50:] = 3.0
    lost = DepthNoise().apply(depth, np.ones_like(depth), rng) == 0
    assert lost[:, 50].mean() > 0.4
    assert lost[:, 49].mean() < 0.05


def test_no_noise_means_true_depth(room, sequence):
    camera = SimulatedCamera(SMALL, DepthNoise(scale=0))
    view = camera.view(sequence.scene, sequence.path[0])
    assert np.array_equal(view.frame.depth, view.clean_depth)


def test_the_walk_is_smooth_at_head_height_and_clear_of_furniture():
    for seed in range(6):
        room = make_room(seed, 'train')
        path = np.array(camera_path(room, 60, seed=seed))
        eyes, forward = path[:, :3, 3], path[:, :3, 2]
        assert ((eyes[:, 2] > 0.6) & (eyes[:, 2] < 1.6)).all()
        assert clearance(room, eyes[:, :2]).min() > 0.1
        assert np.linalg.norm(np.diff(eyes, axis=0), axis=1).max() < 0.35
        turns = np.arccos(np.clip((forward[1:] * forward[:-1]).sum(axis=1), -1, 1))
        assert np.degrees(turns).max() < 45
        assert np.ptp(eyes[:, :2], axis=0).max() > 1.0


def test_one_lap_of_many_frames_is_the_same_walk_slowly(room):
    quick, slow = (np.array(camera_path(room, n, laps=1)) for n in (60, 600))
    steps, slow_steps = (
        np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=1) for path in (quick, slow)
    )
    assert slow_steps.max() < 0.2 * steps.max()
    away = np.linalg.norm(quick[:, None, :3, 3] - slow[None, :, :3, 3], axis=-1)
    assert away.min(axis=1).max() < 0.1  # what smoothing and the sway of the hand take


def test_sixty_frames_show_every_object_of_most_rooms():
    complete, rooms = 0, 8
    camera = DEFAULT_CAMERA.resized(80, 60)
    for seed in range(rooms):
        room = make_room(seed, 'test')
        sequence = RoomSequence(room, num_frames=60, camera=camera)
        seen: set[int] = set()
        for _, ids in sequence.labelled_frames():
            names, counts = np.unique(ids, return_counts=True)
            seen |= set(names[counts >= 5].tolist())
        complete += {o.instance_id for o in room.objects} <= seen
    assert complete >= 0.8 * rooms


def test_a_path_of_one_frame_is_refused(room):
    with pytest.raises(ValueError, match='num_frames is 1'):
        camera_path(room, 1)


def test_no_lap_is_refused(room):
    with pytest.raises(ValueError, match='laps is 0'):
        camera_path(room, 60, laps=0)


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (OSError('libGL.so.1: cannot open shared object file'), 'libusb-1.0-0 libgl1 libegl1'),
        (ModuleNotFoundError("No module named 'open3d'"), 'pip install open3d'),
    ],
)
def test_a_failing_open3d_import_says_what_to_install(monkeypatch, error, words):
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == 'open3d':
            raise error
        return original(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, 'open3d', raising=False)
    monkeypatch.setattr(builtins, '__import__', refuse)
    with pytest.raises(ImportError, match=words):
        import_open3d()
