import os
import resource

import numpy as np
import pytest
from box_scenes import CAMERA, FLOOR, WALL, render, with_sensor_noise

from lift_gs_ros.archive import checksum
from lift_gs_ros.geometry import Box, Camera, PointCloud, look_at
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.mapping.voxel_map import VoxelMap

AHEAD = look_at((0, 0, 0.5), (0, 4, -0.6))
CHAIR = Box.from_corners((-0.3, 2.0, -0.9), (0.3, 2.5, 0.2)), (200, 20, 20)


def cells(positions, voxel_size=0.05):
    """Whole coordinates of the voxels that points lie in, centred on multiples of their size."""
    return np.floor(positions / voxel_size + 0.5).astype(int)


def test_one_frame_gives_the_mean_position_and_colour_of_each_voxel():
    frame = render([WALL, FLOOR, CHAIR], AHEAD)
    voxel_map = VoxelMap(min_support=0)
    voxel_map.integrate(frame)
    fused = voxel_map.to_point_cloud()

    points = frame.to_point_cloud(max_depth=5.0)
    seen, inverse = np.unique(cells(points.positions), axis=0, return_inverse=True)
    counts = np.bincount(inverse)
    means = np.stack([np.bincount(inverse, column) / counts for column in points.positions.T], 1)
    colors = np.stack([np.bincount(inverse, column) / counts for column in points.colors.T], 1)

    order = np.lexsort(cells(fused.positions).T)
    expected = np.lexsort(seen.T)
    assert len(fused) == len(seen) == voxel_map.num_voxels
    assert np.abs(fused.positions[order] - means[expected]).max() < 1e-5
    assert np.abs(fused.colors[order] - colors[expected]).max() < 1e-5


def test_points_of_a_cloud_fuse_like_the_pixels_they_came_from():
    frame = render([WALL, CHAIR], AHEAD)
    from_frame, from_cloud = VoxelMap(min_support=0), VoxelMap(min_support=0)
    from_frame.integrate(frame)
    from_cloud.insert(frame.to_point_cloud(max_depth=5.0), stamp=7)
    a, b = from_frame.to_point_cloud(), from_cloud.to_point_cloud()
    assert len(a) == len(b) == from_frame.num_voxels
    order, expected = (np.lexsort(cells(c.positions).T) for c in (a, b))
    assert np.abs(a.positions[order] - b.positions[expected]).max() < 1e-5
    assert np.abs(a.colors[order] - b.colors[expected]).max() < 1e-5
    assert from_cloud.last_stamp == 7


def test_points_that_hold_nan_or_inf_are_left_out():
    positions = np.array([[0, 0, 0], [np.nan, 0, 0], [0, np.inf, 0], [1, 1, 1]], np.float32)
    colors = np.full((4, 3), 0.5, np.float32)
    colors[3, 0] = np.nan
    voxel_map = VoxelMap()
    assert voxel_map.insert(PointCloud(positions, colors)) == {(0, 0, 0)}
    assert voxel_map.num_voxels == 1
    assert voxel_map.insert(PointCloud(positions[1:], colors[1:])) == set()
    assert voxel_map.insert(PointCloud.empty()) == set()
    assert voxel_map.keyframes == 1


def test_chunks_partition_the_map_into_their_cells():
    voxel_map = VoxelMap(chunk_size=1.65, min_support=0)
    changed = voxel_map.integrate(render([WALL, FLOOR, CHAIR], AHEAD))
    keys = voxel_map.chunk_keys()
    assert len(keys) > 4
    assert set(keys) == changed
    assert min(min(key) for key in keys) < 0  # floor, not truncation, below zero
    for key in keys:
        positions = voxel_map.chunk(key).positions
        lower = (np.array(key) - 0.5) * 1.65
        assert len(positions) > 0
        assert (positions >= lower - 1e-5).all()
        assert (positions <= lower + 1.65 + 1e-5).all()
    assert sum(len(voxel_map.chunk(key)) for key in keys) == voxel_map.num_voxels
    assert len(voxel_map.chunk((99, 99, 99))) == 0


def test_integrate_names_exactly_the_chunks_that_changed():
    voxel_map = VoxelMap(chunk_size=0.85)
    scene = [WALL, FLOOR, CHAIR]
    for step, x in enumerate((0.0, 1.0, -1.0, 1.0, 0.0)):
        before = {key: voxel_map.chunk(key) for key in voxel_map.chunk_keys()}
        version = voxel_map.version
        scene = [WALL, FLOOR, CHAIR] if step < 2 else [WALL, FLOOR]
        changed = voxel_map.integrate(render(scene, look_at((x, 0, 0.5), (0, 4, 0))))
        assert voxel_map.version > version
        for key in set(before) | set(voxel_map.chunk_keys()):
            after, known = voxel_map.chunk(key), before.get(key, PointCloud.empty())
            if len(after) != len(known) or not np.array_equal(after.positions, known.positions):
                assert key in changed
    assert all(type(part) is int for key in changed for part in key)


def test_what_changes_nothing_keeps_the_version():
    voxel_map = VoxelMap()
    blind = RgbdFrame(0, np.zeros((240, 320, 3), np.uint8), np.zeros((240, 320)), CAMERA, AHEAD)
    assert voxel_map.integrate(blind) == set()
    assert (voxel_map.version, voxel_map.keyframes, voxel_map.last_stamp) == (0, 0, None)


def test_depths_outside_the_range_are_not_fused():
    near = Box.from_corners((-0.2, 0.3, 0.0), (0.2, 0.4, 1.0)), (0, 0, 0)
    voxel_map = VoxelMap(min_depth=0.5, max_depth=3.0)
    assert voxel_map.integrate(render([WALL, near], look_at((0, 0, 0.5), (0, 4, 0.5)))) == set()
    voxel_map.integrate(render([WALL, CHAIR], AHEAD))
    assert CHAIR[0].upper[1] + 0.1 > voxel_map.to_point_cloud().positions[:, 1].max()


def test_a_change_of_colour_wins_in_the_end():
    voxel_map = VoxelMap(max_weight=10)
    red = render([WALL, FLOOR, (CHAIR[0], (255, 0, 0))], AHEAD)
    blue = render([WALL, FLOOR, (CHAIR[0], (0, 0, 255))], AHEAD)
    for _ in range(30):
        voxel_map.integrate(red)
    for _ in range(24):
        voxel_map.integrate(blue)
    fused = voxel_map.to_point_cloud()
    chair = fused.colors[CHAIR[0].contains(fused.positions)]
    assert len(chair) > 50
    assert np.median(chair[:, 0]) == pytest.approx((10 / 11) ** 24, abs=0.01)
    assert np.median(chair[:, 2]) > 0.89


def test_few_pixels_hardly_move_what_many_have_settled():
    voxel_map = VoxelMap(carve_after=0)
    grid = np.stack(np.meshgrid(*[np.linspace(-0.024, 0.024, 8)] * 3), -1).reshape(-1, 3)
    for _ in range(5):
        voxel_map.insert(PointCloud(grid, np.ones_like(grid)))
    voxel_map.insert(PointCloud(np.full((1, 3), 0.024), np.zeros((1, 3))))
    assert np.abs(voxel_map.to_point_cloud().positions).max() < 0.024 / 11 + 1e-6


# What the cloud leaves out.


def test_a_noisy_floor_at_height_zero_is_one_layer_of_voxels():
    rng = np.random.default_rng(0)
    floor = Box.from_corners((-4, -4, -0.1), (4, 4.2, 0)), (120, 100, 80)
    voxel_map = VoxelMap()
    for x in np.linspace(-1, 1, 12):
        frame = render([floor], look_at((x, 0, 1.2), (0, 2, 0)))
        voxel_map.integrate(with_sensor_noise(frame, rng))
    layers = cells(voxel_map.to_point_cloud().positions)[:, 2]
    assert (layers == 0).sum() > 4000
    assert (layers == 0).mean() > 0.97


def test_support_makes_a_noisy_wall_thin_and_leaves_no_holes_in_it():
    rng = np.random.default_rng(0)
    voxel_map, every = VoxelMap(), VoxelMap(min_support=0)
    for x in np.linspace(-1, 1, 40):
        frame = with_sensor_noise(render([WALL], look_at((x, 1, 0.5), (0, 4, 0.5))), rng)
        voxel_map.integrate(frame)
        every.integrate(frame)
    thin, thick = (cells(m.to_point_cloud().positions) for m in (voxel_map, every))
    assert len(thick) == every.num_voxels == voxel_map.num_voxels  # nothing is forgotten
    assert len(thin) < 0.5 * len(thick)
    surface = (thick[:, 1] == 80).sum()  # of the wall, at y = 4
    assert surface > 5000
    assert (thin[:, 1] == 80).sum() > 0.97 * surface


def test_what_appears_on_a_table_seen_for_long_is_soon_in_the_cloud():
    rng = np.random.default_rng(1)
    table = Box.from_corners((-0.6, 1.6, -0.05), (0.6, 2.4, 0.0)), (90, 60, 30)
    book = Box.from_corners((-0.13, 1.87, 0), (0.13, 2.13, 0.04)), (250, 0, 0)  # 5 x 5 voxels
    poses = [look_at((x, 0.3, 0.9), (0, 2, 0)) for x in np.linspace(-0.4, 0.4, 8)]
    bare, laid = ([render(boxes, pose) for pose in poses] for boxes in ([table], [table, book]))
    voxel_map = VoxelMap()
    for look in range(240):
        voxel_map.integrate(with_sensor_noise(bare[look % 8], rng))
    looks = found = 0
    while found < 23 and looks < 100:
        voxel_map.integrate(with_sensor_noise(laid[looks % 8], rng))
        looks += 1
        seen = cells(voxel_map.to_point_cloud().positions)
        found = (np.abs(seen - [0, 40, 1]) <= [2, 2, 0]).all(axis=1).sum()
    assert 1 < looks <= 12  # a single look is not enough: that is what noise does


def test_ten_thousand_keyframes_overflow_nothing_and_fade_nothing_that_is_elsewhere(tmp_path):
    rng = np.random.default_rng(0)
    voxel_map = VoxelMap()
    for x in (-0.5, 0.0, 0.5):
        frame = render([WALL, FLOOR, CHAIR], look_at((x, 0, 0.5), (0, 4, 0)))
        voxel_map.integrate(with_sensor_noise(frame, rng))
    room = voxel_map.to_point_cloud()
    assert len(room) < voxel_map.num_voxels

    def sway(place, times):
        for step in range(times):
            offset = 0.02 * (-1) ** step
            voxel_map.insert(PointCloud(place + offset, np.full((1, 3), 0.5 + offset)))

    places = np.array([[[100.0, 0, 0]], [[110.0, 0, 0]]])
    sway(places[0], 10_000)
    sway(places[1], 2)  # what is new now is fused as it was in the beginning
    fused = voxel_map.to_point_cloud()
    np.testing.assert_array_equal(fused.positions[:-2], room.positions)
    np.testing.assert_array_equal(fused.colors[:-2], room.colors)
    np.testing.assert_allclose(fused.positions[-2:], places[:, 0], atol=0.02 / 20)
    np.testing.assert_allclose(fused.colors[-2:], 0.5, atol=0.02 / 20)
    assert np.isfinite(voxel_map.snapshot().values).all()


def test_a_part_of_a_chunk_unseen_for_6500_keyframes_keeps_its_voxels_and_its_noise_apart():
    rng = np.random.default_rng(0)
    voxel_map = VoxelMap(chunk_size=9.05)
    for x in np.linspace(-1, 1, 20):
        frame = with_sensor_noise(render([WALL], look_at((x, 1, 0.5), (0, 4, 0.5))), rng)
        voxel_map.integrate(frame)
    wall = voxel_map.to_point_cloud()
    assert len(wall) < 0.7 * voxel_map.num_voxels
    seen = PointCloud(np.array([[0.0, -3.0, 0.0]]), np.zeros((1, 3)))
    for _ in range(6500):
        assert len(voxel_map.insert(seen)) == 1
    assert len(voxel_map.chunk_keys()) == 1
    np.testing.assert_array_equal(voxel_map.to_point_cloud().positions[:-1], wall.positions)


def _share_left(voxel_map: VoxelMap, box: Box, before: int) -> float:
    return _count(voxel_map, box) / before


def _count(voxel_map: VoxelMap, box: Box) -> int:
    around = Box(box.center, box.size + 0.06)  # noise moves the mean, not the voxel
    return int(around.contains(voxel_map.to_point_cloud().positions).sum())


@pytest.mark.parametrize('noisy', [False, True])
def test_an_object_that_moved_away_leaves_the_map_and_the_room_stays(noisy):
    rng = np.random.default_rng(0)
    voxel_map = VoxelMap()

    def look(boxes, x):
        frame = render(boxes, look_at((x, 0, 0.8), (0, 4, -0.8)))
        voxel_map.integrate(with_sensor_noise(frame, rng) if noisy else frame)

    for x in np.linspace(-0.5, 0.5, 6):
        look([WALL, FLOOR, CHAIR], x)
    chair, wall = _count(voxel_map, CHAIR[0]), _count(voxel_map, WALL[0])
    assert chair > 100
    for x in np.linspace(-0.5, 0.5, 8):
        look([WALL, FLOOR], x)
    assert _share_left(voxel_map, CHAIR[0], chair) < 0.03
    assert _share_left(voxel_map, WALL[0], wall) >= 0.98


def test_carving_takes_more_than_one_look_and_can_be_switched_off():
    furnished, empty = render([WALL, FLOOR, CHAIR], AHEAD), render([WALL, FLOOR], AHEAD)
    for carve_after, looks, share in ((4, 3, 1.0), (4, 4, 0.0), (0, 10, 1.0)):
        voxel_map = VoxelMap(carve_after=carve_after)
        for _ in range(6):
            voxel_map.integrate(furnished)
        before = _count(voxel_map, CHAIR[0])
        for _ in range(looks):
            voxel_map.integrate(empty)
        assert before > 100
        assert _share_left(voxel_map, CHAIR[0], before) == share


def test_a_chunk_that_is_carved_empty_is_gone_and_reported():
    speck = Box.from_corners((-0.1, 1.6, 0.1), (0.1, 1.8, 0.3)), (9, 9, 9)
    voxel_map = VoxelMap(chunk_size=0.85)
    voxel_map.integrate(render([WALL, speck], AHEAD))
    assert (0, 2, 0) in voxel_map.chunk_keys()
    changed = voxel_map.integrate(render([WALL], AHEAD))
    assert (0, 2, 0) in changed
    assert (0, 2, 0) not in voxel_map.chunk_keys()
    assert len(voxel_map.chunk((0, 2, 0))) == 0


@pytest.mark.parametrize('noisy', [False, True])
@pytest.mark.parametrize('distance', [1.0, 2.0, 3.0])
@pytest.mark.parametrize('depth', [0.02, 0.4], ids=['leg', 'board seen edge-on'])
def test_a_thin_thing_is_not_carved_away(noisy, distance, depth):
    rng = np.random.default_rng(1)
    leg = Box.from_corners((-0.01, distance, -1), (0.01, distance + depth, 0.6)), (90, 60, 30)
    voxel_map = VoxelMap()
    for x in np.linspace(-0.6, 0.6, 6):  # from the sides first: the board's faces are in the map
        voxel_map.integrate(render([WALL, leg], look_at((x, 0, 0.3), (0, 4, 0.2))))
    before = _count(voxel_map, leg[0])
    for x in np.linspace(-0.02, 0.02, 12):
        frame = render([WALL, leg], look_at((x, 0, 0.3), (0, 4, 0.2)))
        voxel_map.integrate(with_sensor_noise(frame, rng) if noisy else frame)
    assert before >= 10
    assert _share_left(voxel_map, leg[0], before) > 0.9


def test_dropouts_and_image_borders_carve_nothing():
    voxel_map = VoxelMap()
    voxel_map.integrate(render([WALL, CHAIR], AHEAD))
    before = _count(voxel_map, CHAIR[0])
    empty = render([WALL], AHEAD)
    through = render([CHAIR], AHEAD).depth > 0
    grown = np.copy(through)
    for axis in (0, 1):  # one tile around the chair's outline, which lies within voxels
        for step in range(-6, 7):
            grown |= np.roll(through, step, axis)
    depth = np.where(grown, 0, empty.depth)
    for _ in range(6):
        voxel_map.integrate(RgbdFrame(0, empty.color, depth, CAMERA, AHEAD))
    assert _share_left(voxel_map, CHAIR[0], before) > 0.95


def test_the_bound_holds_and_the_chunks_seen_least_recently_leave():
    rng = np.random.default_rng(2)
    voxel_map = VoxelMap(chunk_size=1.05, max_voxels=1000)
    gone: set = set()
    for x in range(30):
        positions = rng.uniform(-0.5, 0.5, (400, 3)) + [1.05 * x, 0, 0]
        changed = voxel_map.insert(PointCloud(positions, np.zeros((400, 3))))
        assert voxel_map.num_voxels <= 1000
        present = set(voxel_map.chunk_keys())
        assert (x, 0, 0) in present
        gone |= changed - present
        assert gone == {(i, 0, 0) for i in range(x + 1)} - present
    assert voxel_map.evicted_chunks == len(gone)
    assert max(gone) < min(present)  # the oldest went


def test_the_bound_holds_even_for_a_single_frame():
    voxel_map = VoxelMap(chunk_size=0.85, max_voxels=600)
    changed = voxel_map.integrate(render([WALL, FLOOR, CHAIR], AHEAD))
    assert 0 < voxel_map.num_voxels <= 600
    assert voxel_map.evicted_chunks == len(changed) - len(voxel_map.chunk_keys())
    # What is farthest from the camera went first.
    assert voxel_map.to_point_cloud().positions[:, 1].mean() < 3


def test_many_small_voxels_outgrow_every_initial_size():
    voxel_map = VoxelMap(voxel_size=0.01, chunk_size=4.83)
    frame = render([WALL, FLOOR, CHAIR], AHEAD)
    voxel_map.integrate(frame)
    seen = cells(frame.to_point_cloud(5.0).positions, 0.01)
    assert len(np.unique(seen, axis=0)) == pytest.approx(voxel_map.num_voxels, rel=1e-2)
    assert voxel_map.num_voxels > 20_000


def test_a_map_far_from_the_origin_is_as_fine():
    far = np.array([20_000.0, -30_000.0, 100.0])
    boxes = [(Box(box.center + far, box.size), rgb) for box, rgb in (WALL, CHAIR)]
    pose = AHEAD.copy()
    pose[:3, 3] += far
    voxel_map = VoxelMap()
    voxel_map.integrate(render(boxes, pose))
    positions = voxel_map.to_point_cloud().positions - far
    near = VoxelMap()
    near.integrate(render([WALL, CHAIR], AHEAD))
    assert len(positions) == pytest.approx(near.num_voxels, rel=0.05)
    on_wall = positions[positions[:, 1] > 3]
    assert np.abs(on_wall[:, 1] - 4.0).max() < 5e-3  # float32 has 2 mm there


def test_points_that_no_voxel_can_address_are_refused_and_the_map_is_kept():
    voxel_map = VoxelMap()
    voxel_map.integrate(render([WALL], AHEAD))
    before = voxel_map.num_voxels, voxel_map.version
    pose = AHEAD.copy()
    pose[0, 3] = 1e9
    with pytest.raises(ValueError, match='nearer to the robot'):
        voxel_map.integrate(
            RgbdFrame(
                0, np.zeros((240, 320, 3), np.uint8), np.ones((240, 320), np.float32), CAMERA, pose
            )
        )
    with pytest.raises(ValueError, match='nearer to the robot'):
        voxel_map.insert(PointCloud(np.full((1, 3), 1e8), np.zeros((1, 3))))
    assert (voxel_map.num_voxels, voxel_map.version) == before


def test_two_runs_over_the_same_frames_give_the_same_map():
    maps = VoxelMap(), VoxelMap()
    for voxel_map in maps:
        for x in (-0.5, 0.0, 0.5):
            voxel_map.integrate(render([WALL, FLOOR, CHAIR], look_at((x, 0, 0.5), (0, 4, 0))))
    a, b = (voxel_map.to_point_cloud() for voxel_map in maps)
    assert np.array_equal(a.positions, b.positions)
    assert np.array_equal(a.colors, b.colors)


def test_image_sizes_that_are_no_multiple_of_a_tile_work():
    camera = Camera.from_focal(100, 100, 63, 47, 127, 95)
    voxel_map = VoxelMap()
    for _ in range(3):
        voxel_map.integrate(render([WALL, CHAIR], AHEAD, camera=camera))
    assert voxel_map.num_voxels > 100
    tiny = Camera.from_focal(3, 3, 1, 1, 3, 2)
    voxel_map.integrate(render([WALL], AHEAD, camera=tiny))


def test_reset_forgets_everything_but_the_version():
    voxel_map = VoxelMap()
    voxel_map.integrate(render([WALL], AHEAD, stamp=5))
    version = voxel_map.version
    voxel_map.reset()
    assert voxel_map.version > version
    assert (voxel_map.num_voxels, voxel_map.keyframes, voxel_map.last_stamp) == (0, 0, None)
    assert voxel_map.chunk_keys() == []


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'voxel_size': 0}, 'voxel_size is 0'),
        ({'voxel_size': float('nan')}, 'voxel_size is nan'),
        ({'voxel_size': 0.07}, 'odd number of voxels of 0.07 m'),
        ({'chunk_size': 0.0}, 'odd number of voxels'),
        ({'chunk_size': float('inf')}, 'chunk_size is inf'),
        ({'voxel_size': 0.001}, 'at most 1023: 1.023 m'),
        ({'max_voxels': 0}, 'max_voxels is 0'),
        ({'min_depth': 5.0}, 'min_depth is 5.0'),
        ({'max_depth': float('inf')}, 'max_depth inf'),
        ({'max_weight': 0.5}, 'max_weight is 0.5'),
        ({'carve_after': -1}, 'carve_after is -1'),
        ({'min_support': -0.1}, r'min_support is -0.1, expected a share in \[0, 1\]'),
        ({'min_support': 1.1}, 'min_support is 1.1'),
        ({'min_support': float('nan')}, 'min_support is nan'),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        VoxelMap(**arguments)


@pytest.mark.parametrize(
    ('voxel_size', 'chunk_size', 'suggested'),
    [(0.05, 4.8, '4.85'), (0.1, 6.4, '6.5'), (0.02, 2.05, '2.06'), (0.01, 10.24, '10.23')],
)
def test_an_even_number_of_voxels_is_refused_and_the_size_suggested_works(
    voxel_size, chunk_size, suggested
):
    with pytest.raises(ValueError, match=f'expected an odd number .* at most 1023: {suggested} m'):
        VoxelMap(voxel_size, chunk_size)
    assert VoxelMap(voxel_size, float(suggested)).chunk_size == float(suggested)


# Save and load.


@pytest.fixture
def saved(tmp_path):
    voxel_map = VoxelMap(chunk_size=1.65)
    for stamp, x in enumerate((-0.5, 0.5)):
        frame = render([WALL, FLOOR, CHAIR], look_at((x, 0, 0.5), (0, 4, 0)), stamp)
        voxel_map.integrate(frame)
    path = tmp_path / 'map.npz'
    voxel_map.save(path)
    return voxel_map, path


def test_a_loaded_map_goes_on_as_the_saved_one_would(saved):
    voxel_map, path = saved
    loaded = VoxelMap(chunk_size=1.65)
    loaded.insert(PointCloud(np.full((1, 3), 50.0), np.zeros((1, 3))))
    old, version = loaded.chunk_keys(), loaded.version
    assert loaded.load(path) == set(old) | set(voxel_map.chunk_keys())
    assert loaded.version > version
    assert (loaded.keyframes, loaded.last_stamp) == (2, 1)
    for _ in range(3):
        for target in (voxel_map, loaded):
            target.integrate(render([WALL, FLOOR], AHEAD))
    a, b = voxel_map.to_point_cloud(), loaded.to_point_cloud()
    assert np.array_equal(a.positions, b.positions)
    assert np.array_equal(a.colors, b.colors)


def test_saving_changes_nothing_and_the_file_holds_the_same_cloud(tmp_path):
    rng = np.random.default_rng(0)
    voxel_map, loaded = VoxelMap(), VoxelMap()
    for x in np.linspace(-1, 1, 20):
        frame = render([WALL, FLOOR, CHAIR], look_at((x, 0, 0.5), (0, 4, 0)))
        voxel_map.integrate(with_sensor_noise(frame, rng))
    before = voxel_map.to_point_cloud()
    assert len(before) < voxel_map.num_voxels
    voxel_map.save(tmp_path / 'map')
    loaded.load(tmp_path / 'map')
    for after in (voxel_map.to_point_cloud(), loaded.to_point_cloud()):
        assert np.array_equal(after.positions, before.positions)
        assert np.array_equal(after.colors, before.colors)


def test_an_empty_map_can_be_saved_and_loaded(tmp_path):
    VoxelMap().save(tmp_path / 'empty')
    voxel_map = VoxelMap()
    voxel_map.load(tmp_path / 'empty')
    assert voxel_map.num_voxels == 0
    assert voxel_map.last_stamp is None


def test_loading_respects_the_bound(saved):
    voxel_map, path = saved
    small = VoxelMap(chunk_size=1.65, max_voxels=voxel_map.num_voxels // 2)
    changed = small.load(path)
    assert 0 < small.num_voxels <= voxel_map.num_voxels // 2
    assert changed == set(voxel_map.chunk_keys())
    assert small.evicted_chunks > 0


def _refuses(path, match, chunk_size=1.65):
    running = VoxelMap(chunk_size=chunk_size)
    running.insert(PointCloud(np.ones((1, 3)), np.ones((1, 3))))
    before = running.version
    with pytest.raises(ValueError, match=match):
        running.load(path)
    assert (running.num_voxels, running.version) == (1, before)


@pytest.mark.parametrize('share', [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused_and_the_running_map_kept(saved, share):
    _, path = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    _refuses(path, 'damaged')


def test_a_file_with_one_wrong_byte_is_refused(saved):
    _, path = saved
    content = path.read_bytes()
    # Within the data of some array; zip keeps fields that mean nothing elsewhere.
    for position in np.linspace(len(content) // 10, len(content) * 9 // 10, 20).astype(int):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        _refuses(path, 'damaged')


def test_foreign_files_are_refused(saved, tmp_path):
    _, path = saved
    (tmp_path / 'notes.txt').write_text('the map is in the other file')
    _refuses(tmp_path / 'notes.txt', 'no saved map')
    np.savez(tmp_path / 'other.npz', points=np.zeros((3, 3)))
    _refuses(tmp_path / 'other.npz', 'no saved map')
    _refuses(path, 'voxels of 0.05 m in chunks of 1.65 m', chunk_size=4.85)
    with np.load(path) as archive:
        np.savez(tmp_path / 'newer.npz', **{**archive, 'version': 99})
    _refuses(tmp_path / 'newer.npz', 'version 99')
    with np.load(path) as archive:
        np.savez(tmp_path / 'edited.npz', **{**archive, 'keyframes': 99})
    _refuses(tmp_path / 'edited.npz', 'checksum')
    with pytest.raises(FileNotFoundError):
        VoxelMap().load(tmp_path / 'absent.npz')


def test_what_is_pickled_is_refused_and_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'run'),)

    payload = np.array([Payload()], object)
    np.savez(tmp_path / 'pickled.npz', format='lift_gs_ros voxel map', version=3, keys=payload)
    np.save(tmp_path / 'pickled.npy', payload)
    for name in ('pickled.npz', 'pickled.npy'):
        _refuses(tmp_path / name, 'damaged or is no saved map')
    assert not (tmp_path / 'run').exists()


def test_a_compressed_file_is_refused_before_it_is_unpacked(saved, tmp_path):
    _, path = saved
    with np.load(path) as archive:
        np.savez_compressed(tmp_path / 'small.npz', **archive)
    _refuses(tmp_path / 'small.npz', 'it is compressed')


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'sizes': lambda a: a + 1}, 'do not add up'),
        ({'sizes': lambda a: -a}, 'do not add up'),
        ({'keys': lambda a: a * 10**9}, 'too far away'),
        ({'keys': lambda a: a + np.iinfo(np.int64).min}, 'too far away'),
        ({'keys': lambda a: a * 0}, 'the same key'),
        ({'version': lambda a: [a, a]}, 'format version'),
        ({'keys': lambda a: a.astype(np.float32)}, 'keys are float32'),
        ({'codes': lambda a: a[:-1]}, 'values are float32'),
        ({'codes': lambda a: a + 10**9}, 'outside their chunk'),
        ({'values': lambda a: a * np.nan}, 'NaN'),
        ({'keyframes': lambda a: -a}, '-2 keyframes'),
        ({'last_stamp': lambda a: a + 2**62}, 'the last at'),
    ],
)
def test_a_file_with_parts_that_do_not_fit_is_refused_whatever_its_checksum(
    saved, tmp_path, change, match
):
    _, path = saved
    with np.load(path) as archive:
        arrays = dict(archive)
    del arrays['checksum']
    for name, alter in change.items():
        arrays[name] = np.asarray(alter(arrays[name]))
    content = {name: array for name, array in arrays.items() if name != 'format'}
    np.savez(tmp_path / 'odd.npz', checksum=checksum(content), **arrays)
    _refuses(tmp_path / 'odd.npz', match)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(saved):
    voxel_map, path = saved
    content = path.read_bytes()
    voxel_map.integrate(render([WALL], AHEAD))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match='File too large'):
            voxel_map.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]
    voxel_map.save(path)
    assert path.read_bytes() != content


def test_a_save_after_one_that_was_killed_works(saved):
    voxel_map, path = saved
    path.with_name(f'.{path.name}.part').write_bytes(b'half of it')
    voxel_map.save(path)
    assert os.listdir(path.parent) == [path.name]


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    voxel_map, path = saved
    content = path.read_bytes()
    voxel_map.integrate(render([WALL], AHEAD))

    def full(_):
        raise OSError('no space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='no space'):
        voxel_map.save(path)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]
