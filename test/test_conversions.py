import array
import dataclasses
import tracemalloc

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from builtin_interfaces.msg import Time  # noqa: E402
from geometry_msgs.msg import Pose  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from visualization_msgs.msg import Marker, MarkerArray  # noqa: E402

from lift_gs_ros.colors import confidence_color  # noqa: E402
from lift_gs_ros.geometry import Box, Camera, PointCloud, look_at  # noqa: E402
from lift_gs_ros.grounding.instances import (  # noqa: E402
    GroundedInstance,
    Grounding,
    Latency,
    MapSummary,
)
from lift_gs_ros.nodes import answers, conversions, point_clouds  # noqa: E402
from lift_gs_ros.nodes.standing import shown_instances  # noqa: E402

HEADER = Header(stamp=Time(sec=12, nanosec=34), frame_id='map')


def make_image(pixels: np.ndarray, encoding: str, padding: int = 0, bigendian: bool = False):
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=rows.shape[1],
        is_bigendian=bigendian,
        data=array.array('B', rows.tobytes()),
    )


def make_cloud(points: np.ndarray, bigendian: bool = False, row_padding: int = 0) -> PointCloud2:
    """Pack a structured array with whatever offsets its dtype has."""
    types = {'f4': 7, 'f8': 8, 'u4': 6, 'i4': 5, 'u2': 4, 'i2': 3, 'u1': 2}
    fields = [
        PointField(name=name, offset=offset, datatype=types[field.str[1:]], count=1)
        for name, (field, offset) in points.dtype.fields.items()
    ]
    data = points.tobytes() + bytes(row_padding)
    return PointCloud2(
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=bigendian,
        point_step=points.dtype.itemsize,
        row_step=len(data),
        data=array.array('B', data),
    )


def test_stamps_survive_the_round_trip_and_negative_ones_are_refused():
    nanoseconds = 1_700_000_000_123_456_789
    assert conversions.stamp_to_ns(conversions.ns_to_stamp(nanoseconds)) == nanoseconds
    with pytest.raises(ValueError, match='stamp is -1 ns'):
        conversions.ns_to_stamp(-1)


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(
    ('encoding', 'channels'),
    [('rgb8', [0, 1, 2]), ('bgr8', [2, 1, 0]), ('rgba8', [0, 1, 2, 0]), ('bgra8', [2, 1, 0, 0])],
)
def test_every_colour_encoding_gives_red_green_blue(encoding, channels, padding):
    color = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    message = make_image(color[..., channels], encoding, padding)
    np.testing.assert_array_equal(conversions.color_from_image(message), color)


def test_a_grey_image_becomes_three_equal_channels():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    color = conversions.color_from_image(make_image(grey, 'mono8', padding=3))
    np.testing.assert_array_equal(color, np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize('bigendian', [False, True])
@pytest.mark.parametrize('encoding', ['16UC1', 'mono16', '32FC1'])
def test_depth_is_metres_with_zero_for_unknown_in_either_byte_order(encoding, bigendian):
    order = '>' if bigendian else '<'
    if encoding == '32FC1':
        raw = np.array([[1.5, np.nan, np.inf], [-1.0, 0.25, 0.0]], order + 'f4')
        expected = [[1.5, 0, 0], [0, 0.25, 0]]
    else:
        raw = np.array([[1500, 0, 65535], [1, 250, 0]], order + 'u2')
        expected = [[1.5, 0, 0], [0.001, 0.25, 0]]
    depth = conversions.depth_from_image(make_image(raw, encoding, 3, bigendian))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, expected, rtol=1e-6)


@pytest.mark.parametrize(
    'change',
    [{'width': 5}, {'height': 4}, {'step': 11}, {'step': 0}, {'width': 0}, {'width': 2**31}],
)
def test_sizes_that_disagree_are_refused_and_all_named(change):
    message = make_image(np.zeros((3, 4, 3), np.uint8), 'rgb8')
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=f'{message.width}x{message.height}.*{message.step}.*36'):
        conversions.color_from_image(message)


def test_an_unknown_encoding_is_refused_with_the_known_ones():
    message = make_image(np.zeros((3, 4), np.uint8), 'bayer_rggb8')
    with pytest.raises(ValueError, match='bayer_rggb8.*rgb8, bgr8'):
        conversions.color_from_image(message)
    with pytest.raises(ValueError, match='bayer_rggb8.*16UC1, mono16, 32FC1'):
        conversions.depth_from_image(message)


@pytest.mark.parametrize(('encoding', 'tolerance'), [('16UC1', 5.1e-4), ('32FC1', 0)])
def test_depth_images_survive_the_round_trip(encoding, tolerance):
    depth = np.array([[0, 0.5, 1.2345], [70.0, 3.0, 0.001], [65.534, -1.0, np.nan]], np.float32)
    message = conversions.image_from_depth(depth, HEADER, encoding)
    if encoding == '16UC1':
        depth[1, 0] = 0  # 70 m do not fit into 16 bits of millimetres
    depth[2, 1:] = 0  # no depth at all
    np.testing.assert_allclose(conversions.depth_from_image(message), depth, atol=tolerance)


def test_colour_images_survive_the_round_trip():
    color = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    message = conversions.image_from_color(color, HEADER)
    assert (message.encoding, message.step, message.header) == ('rgb8', 21, HEADER)
    np.testing.assert_array_equal(conversions.color_from_image(message), color)


def make_info() -> CameraInfo:
    return conversions.info_from_camera(Camera.from_focal(500, 510, 319.5, 239.5, 640, 480), HEADER)


def test_cameras_survive_the_round_trip():
    camera = conversions.camera_from_info(make_info())
    np.testing.assert_array_equal(camera.intrinsics, [[500, 0, 319.5], [0, 510, 239.5], [0, 0, 1]])
    assert (camera.width, camera.height) == (640, 480)


def test_a_camera_info_of_zeros_is_refused():
    with pytest.raises(ValueError, match='calibrated'):
        conversions.camera_from_info(CameraInfo(width=640, height=480))


def test_the_rectified_projection_wins_over_the_raw_intrinsics():
    info = make_info()
    info.p[0] = 450.0
    assert conversions.camera_from_info(info).intrinsics[0, 0] == 450
    info.p = np.zeros(12)
    assert conversions.camera_from_info(info).intrinsics[0, 0] == 500


def test_a_region_of_interest_and_binning_see_the_same_rays():
    info = make_info()
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 50, 400, 300
    info.binning_x = info.binning_y = 2
    camera = conversions.camera_from_info(info)
    assert (camera.width, camera.height) == (200, 150)
    point = np.array([0.1, -0.05, 2.0])
    full, _ = conversions.camera_from_info(make_info()).project(point)
    binned, _ = camera.project(point)
    np.testing.assert_allclose((full - [100, 50] + 0.5) / 2 - 0.5, binned)


def test_distortion_is_noticed():
    info = make_info()
    assert not conversions.is_distorted(info)
    info.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    assert conversions.is_distorted(info)


def test_point_clouds_survive_the_round_trip():
    rng = np.random.default_rng(2)
    colors = rng.integers(0, 256, (100, 3)).astype(np.float32) / 255
    cloud = PointCloud(rng.normal(size=(100, 3)).astype(np.float32), colors)
    message = point_clouds.cloud_to_message(cloud, HEADER)
    assert [field.name for field in message.fields] == ['x', 'y', 'z', 'rgb']
    back = point_clouds.cloud_from_message(message)
    np.testing.assert_array_equal(back.positions, cloud.positions)
    np.testing.assert_allclose(back.colors, cloud.colors, atol=1e-6)
    empty = point_clouds.cloud_to_message(PointCloud.empty(), HEADER)
    assert len(point_clouds.cloud_from_message(empty)) == 0


@pytest.mark.parametrize('count', [1, 2, 500])
@pytest.mark.parametrize('broken', [False, True])
@pytest.mark.parametrize('order', ['x y z rgb', 'x y z pad rgb', 'pad x y z rgb', 'x pad z y rgb'])
def test_the_fast_way_of_usual_clouds_reads_what_the_way_of_all_others_reads(
    monkeypatch, order, broken, count
):
    rng = np.random.default_rng(0)
    kinds = {'rgb': '<u4', 'pad': '<u4'}
    points = np.zeros(count, [(name, kinds.get(name, '<f4')) for name in order.split()])
    for name in 'xyz':
        points[name] = rng.normal(size=count)
    points['rgb'] = rng.integers(0, 2**32, count, dtype=np.uint32)
    points['x'][-1] = points['y'][-1] = 3e38  # finite, but their sum is not
    if 'pad' in order:
        points['pad'] = 0x7FC00000  # read as a number, NaN
    if broken:
        for i, value in enumerate([np.nan, np.inf, -np.inf]):
            points['xyz'[i]][7 * i : 7 * i + 3] = value
    fast = point_clouds.cloud_from_message(make_cloud(points))
    monkeypatch.setattr(point_clouds, '_word_columns', lambda *arguments: None)
    slow = point_clouds.cloud_from_message(make_cloud(points))
    assert len(fast) == (count if not broken else count - min(count, 9))
    np.testing.assert_array_equal(fast.positions, slow.positions)
    np.testing.assert_array_equal(fast.colors, slow.colors)


@pytest.mark.parametrize('bigendian', [False, True])
@pytest.mark.parametrize('color_type', ['u4', 'f4', 'i4'])
@pytest.mark.parametrize('name', ['rgb', 'rgba'])
def test_any_field_order_padding_type_and_byte_order_is_read(bigendian, color_type, name):
    order = '>' if bigendian else '<'
    dtype = np.dtype(
        {
            'names': ['ring', name, 'z', 'y', 'x'],
            'formats': [order + code for code in ('u2', color_type, 'f8', 'f4', 'i2')],
            'offsets': [1, 4, 9, 20, 27],
            'itemsize': 31,
        }
    )
    points = np.zeros(3, dtype)
    points['x'], points['y'], points['z'] = [1, 2, 3], [0.5, 1.5, 2.5], [-1, -2, -3]
    packed = np.array([0xFF0000, 0x00FF00, 0x0000FF], order + 'u4')
    points[name] = packed.view(order + color_type)
    cloud = point_clouds.cloud_from_message(make_cloud(points, bigendian, row_padding=7))
    np.testing.assert_allclose(cloud.positions, [[1, 0.5, -1], [2, 1.5, -2], [3, 2.5, -3]])
    np.testing.assert_array_equal(cloud.colors, np.eye(3))


def test_colour_comes_as_three_bytes_too_and_an_organised_cloud_is_read_row_by_row():
    points = np.zeros(
        6, [('r', 'u1'), ('b', 'u1'), ('x', '<f8'), ('y', '<f8'), ('z', '<f8'), ('g', 'u1')]
    )
    points['x'], points['r'], points['g'], points['b'] = range(6), 255, 51, 0
    message = make_cloud(points)
    message.height, message.width, message.row_step = 2, 3, 3 * points.dtype.itemsize + 4
    rows = points.reshape(2, 3)
    message.data = array.array('B', rows[0].tobytes() + b'pad!' + rows[1].tobytes() + b'pad!')
    cloud = point_clouds.cloud_from_message(message)
    np.testing.assert_array_equal(cloud.positions[:, 0], range(6))
    np.testing.assert_allclose(cloud.colors, np.tile([1, 0.2, 0], (6, 1)))


@pytest.mark.parametrize(
    ('name', 'change', 'match'),
    [
        ('x', {'count': 0}, "'x' has datatype 7 and count 0, expected a datatype of PointField"),
        ('x', {'count': 3}, "'x' has datatype 7 and count 3"),
        ('y', {'datatype': 9}, "'y' has datatype 9"),
        ('z', {'offset': 13}, "'z' ends at byte 17 of a point of 16 bytes"),
        ('rgb', {'datatype': 8}, "'rgb' has datatype 8 and count 1, expected u4 or f4 or i4"),
        ('rgb', {'name': 'r'}, None),
    ],
)
def test_a_field_that_makes_no_sense_is_refused_in_one_sentence(name, change, match):
    cloud = PointCloud(np.zeros((3, 3)), np.zeros((3, 3)))
    message = point_clouds.cloud_to_message(cloud, HEADER)
    [field] = [field for field in message.fields if field.name == name]
    for key, value in change.items():
        setattr(field, key, value)
    if match is None:  # r alone is no colour
        assert (point_clouds.cloud_from_message(message).colors == 0.5).all()
        return
    with pytest.raises(ValueError, match=match) as refused:
        point_clouds.cloud_from_message(message)
    assert '\n' not in str(refused.value)


def test_coordinates_that_float32_cannot_hold_are_dropped_with_nan_and_inf():
    points = np.zeros(4, [('x', '<f8'), ('y', '<f8'), ('z', '<f8')])
    points['z'] = [1.0, 1e300, -np.inf, np.nan]
    assert len(point_clouds.cloud_from_message(make_cloud(points))) == 1


def test_a_cloud_without_colour_is_grey_and_loses_its_nan_points():
    points = np.zeros(3, [('x', '<f4'), ('y', '<f4'), ('z', '<f4')])
    points['y'][1] = np.nan
    cloud = point_clouds.cloud_from_message(make_cloud(points))
    np.testing.assert_array_equal(cloud.colors, np.full((2, 3), 0.5))


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'width': 4}, '4x1.*36 bytes'),
        ({'point_step': 0}, 'of 0 bytes'),
        ({'point_step': 8, 'row_step': 36}, "'z' ends at byte 12 of a point of 8 bytes"),
        ({'height': 2}, '3x2'),
        ({'fields': []}, r"\['x', 'y', 'z'\] missing"),
    ],
)
def test_a_cloud_that_contradicts_itself_is_refused(change, match):
    message = make_cloud(np.zeros(3, [('x', '<f4'), ('y', '<f4'), ('z', '<f4')]))
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=match):
        point_clouds.cloud_from_message(message)


def random_cloud(rng: np.random.Generator) -> PointCloud2:
    """A cloud with every number drawn from those that have broken readers somewhere."""
    odd = [0, 1, 2, 3, 4, 7, 8, 12, 16, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
    names = ['x', 'y', 'z', 'rgb', 'rgba', 'r', 'g', 'b', 'x', '', 'intensity']

    def number(usual: int) -> int:
        return usual if rng.random() < 0.8 else int(rng.choice(odd))

    width, height, point_step = number(5), number(2), number(16)
    some = names[:4] if rng.random() < 0.7 else list(rng.choice(names, rng.integers(0, 8)))
    fields = [
        PointField(name=name, offset=number(4 * i), datatype=number(7) % 256, count=number(1))
        for i, name in enumerate(some)
    ]
    row_step = number(width * point_step % 2**32)
    size = row_step * height if rng.random() < 0.9 else int(rng.integers(0, 500))
    return PointCloud2(
        height=height,
        width=width,
        fields=fields,
        is_bigendian=bool(rng.random() < 0.3),
        point_step=point_step,
        row_step=row_step,
        data=array.array('B', rng.bytes(min(size, 1000))),
    )


def test_no_cloud_crashes_the_reader_or_makes_it_allocate_much_more_than_it_carries():
    rng = np.random.default_rng(0)
    read = refused = 0
    tracemalloc.start()
    for _ in range(2000):
        message = random_cloud(rng)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            cloud = point_clouds.cloud_from_message(message)
            assert np.isfinite(cloud.positions).all()
            assert len(cloud) <= len(message.data)
            read += 1
        except ValueError:
            refused += 1
        # Twenty kilobytes are for the names, the numbers and the words of the error.
        allocated = tracemalloc.get_traced_memory()[1] - before
        assert allocated < 20 * len(message.data) + 20_000, message
    tracemalloc.stop()
    assert read > 100
    assert refused > 100


def test_poses_survive_the_round_trip():
    matrix = look_at([1, 2, 1.5], [0, 0, 0.5])
    np.testing.assert_allclose(
        conversions.matrix_from_pose(conversions.pose_from_matrix(matrix)), matrix, atol=1e-12
    )
    transform = conversions.transform_from_matrix(matrix)
    np.testing.assert_allclose(conversions.matrix_from_transform(transform), matrix, atol=1e-12)


@pytest.mark.parametrize(('x', 'w', 'match'), [(np.nan, 1.0, 'finite'), (0.0, 0.0, 'length 0')])
def test_poses_with_nan_or_a_quaternion_off_unit_length_are_refused(x, w, match):
    pose = Pose()
    pose.position.x, pose.orientation.w = x, w
    with pytest.raises(ValueError, match=match):
        conversions.matrix_from_pose(pose)


def test_chunks_survive_the_round_trip():
    positions = np.array([[-3, 1, 10], [-6, -2, 7]], np.float32)
    cloud = PointCloud(positions, np.zeros((2, 3), np.float32))
    update = conversions.ChunkUpdate(
        (-1, 0, 2), cloud, 4.5, 0.0625, MapSummary(version=7, keyframes=3), 5, 'map', 2**64 - 1
    )
    back = conversions.chunk_from_message(conversions.chunk_to_message(update))
    np.testing.assert_array_equal(back.cloud.positions, cloud.positions)
    for name in ('key', 'chunk_size', 'voxel_size', 'map', 'stamp', 'frame_id', 'map_id'):
        assert getattr(back, name) == getattr(update, name), name


@pytest.mark.parametrize(
    ('key', 'chunk_size', 'match'),
    [
        ((0, 0, 0), 6.45, r'chunk \(0, 0, 0\) of 6.45 m has points 996.8 m outside'),
        ((155, 0, -1), 6.45, 'points 4.225 m outside'),
        ((0, 0, 0), 0.0, 'chunk_size is 0.0'),
        ((0, 0, 0), np.inf, 'chunk_size is inf'),
    ],
)
def test_a_chunk_with_points_outside_it_or_without_a_size_is_refused(key, chunk_size, match):
    cloud = PointCloud(np.array([[1000, 1, 1]]), np.zeros((1, 3)))
    update = conversions.ChunkUpdate(key, cloud, chunk_size, 0.05, MapSummary(), 5, 'map')
    with pytest.raises(ValueError, match=match):
        conversions.chunk_from_message(conversions.chunk_to_message(update))


@pytest.mark.parametrize('frame_id', ['map', '/map'])
def test_published_frames_have_no_leading_slash(frame_id):
    assert conversions.make_header(1, frame_id).frame_id == 'map'


def make_instance(instance_id: int, is_target: bool = True) -> GroundedInstance:
    points = np.random.default_rng(instance_id).uniform(0, 1, (5, 3)).astype(np.float32)
    return GroundedInstance(
        instance_id=instance_id,
        phrase='the röd mug',
        span=(0, 11),
        is_target=is_target,
        score=0.75,
        box=Box.from_points(points),
        points=points,
        point_scores=np.linspace(0.5, 1, 5, dtype=np.float32),
    )


def make_grounding(*ids: int) -> Grounding:
    return Grounding(
        query='the röd mug by the sink',
        stamp=3,
        frame_id='map',
        instances=[make_instance(i, is_target=i < 10) for i in ids],
        none_score=0.25,
        latency=Latency(1, 2, 4),
        map=MapSummary(5, 6, 7, 8),
    )


def objects(*groundings: Grounding):
    """What these answers show together, and the header of the last."""
    return shown_instances(groundings), answers.answer_header(groundings[-1])


def masks_message(*groundings: Grounding) -> PointCloud2:
    return answers.masks_to_message(*objects(*groundings))


def write_markers(writer: answers.MarkerWriter, *groundings: Grounding) -> MarkerArray:
    return writer.write(*objects(*groundings))


def test_an_answer_and_its_masks_survive_the_round_trip():
    grounding = make_grounding(3, 12)
    message = answers.grounding_to_message(grounding, 'untrained')
    assert message.weights == 'untrained'
    back = answers.grounding_from_messages(message, masks_message(grounding))
    assert back.to_json() == grounding.to_json()
    for ours, theirs in zip(grounding.instances, back.instances):
        np.testing.assert_array_equal(ours.points, theirs.points)
        np.testing.assert_array_equal(ours.point_scores, theirs.point_scores)


def test_nothing_found_is_an_empty_cloud_with_the_same_fields():
    message = masks_message(make_grounding())
    names = [field.name for field in message.fields]
    assert names == ['x', 'y', 'z', 'rgb', 'instance_id', 'score']
    assert (message.width, len(message.data)) == (0, 0)


def test_markers_keep_their_ids_and_are_deleted_when_they_are_gone():
    writer = answers.MarkerWriter()

    def write(*ids):
        markers = write_markers(writer, make_grounding(*ids)).markers
        return {(m.ns, m.id): m.action for m in markers if m.action != Marker.DELETEALL}

    first = write_markers(writer, make_grounding(1, 2)).markers
    assert first[0].action == Marker.DELETEALL
    assert {(m.ns, m.id) for m in first[1:]} == {
        (namespace, i) for namespace in ('boxes', 'edges', 'labels') for i in (1, 2)
    }
    second = write(2, 3)
    assert {key for key, action in second.items() if action == Marker.DELETE} == {
        ('boxes', 1),
        ('edges', 1),
        ('labels', 1),
    }
    assert second['labels', 2] == second['labels', 3] == Marker.ADD
    assert set(write().values()) == {Marker.DELETE}
    assert write() == {}


def test_a_label_says_phrase_and_score_and_a_box_has_twelve_edges():
    markers = write_markers(answers.MarkerWriter(), make_grounding(1)).markers
    by_namespace = {marker.ns: marker for marker in markers}
    assert by_namespace['labels'].text == 'the röd mug 0.75'
    assert by_namespace['boxes'].color.r == pytest.approx(confidence_color(0.75)[0])
    ends = [(p.x, p.y, p.z) for p in by_namespace['edges'].points]
    assert len(ends) == 24
    for begin, end in zip(ends[::2], ends[1::2]):
        assert sum(a != b for a, b in zip(begin, end)) == 1


def test_detections_hold_the_targets_where_vision_msgs_is_installed():
    pytest.importorskip('vision_msgs', reason='vision_msgs is not installed')
    message = answers.detections_to_message(*objects(make_grounding(1, 12)))
    assert [detection.id for detection in message.detections] == ['1']
    assert message.detections[0].results[0].hypothesis.class_id == 'the röd mug'
    assert message.detections[0].bbox.size.x == pytest.approx(make_instance(1).box.size[0])


def test_an_object_of_two_answers_is_one_marker_with_both_phrases_and_one_mask():
    one = make_grounding(1)
    surer = dataclasses.replace(one.instances[0], phrase='the mug', score=0.9)
    two = dataclasses.replace(one, query='the mug', instances=[surer])
    markers = {m.ns: m for m in write_markers(answers.MarkerWriter(), one, two).markers if m.ns}
    assert markers['labels'].text == 'the mug 0.90\nthe röd mug 0.75'
    assert markers['boxes'].color.g == pytest.approx(confidence_color(0.9)[1])
    assert masks_message(one, two).width == len(surer.points)


def test_changed_chunks_are_a_plain_cloud_whose_points_name_their_chunk():
    updates = [
        conversions.ChunkUpdate(
            (i, -i, 2),
            PointCloud(np.full((n, 3), i, np.float32), np.zeros((n, 3), np.float32)),
            6.45,
            0.05,
            MapSummary(),
            stamp=7 + i,
            frame_id='map',
            map_id=1,
        )
        for i, n in ((1, 2), (3, 0), (2, 3))
    ]
    message = conversions.chunks_to_cloud_message(updates)
    assert point_clouds.cloud_from_message(message).positions[:, 0].tolist() == [1, 1, 2, 2, 2]
    columns = point_clouds.columns_from_message(message, ('chunk_x', 'chunk_y', 'chunk_z'))
    assert columns['chunk_y'].tolist() == [-1, -1, -2, -2, -2]
    assert columns['chunk_z'].tolist() == [2] * 5
    assert conversions.stamp_to_ns(message.header.stamp) == 10
