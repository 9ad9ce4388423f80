"""Recordings of a simulated camera, written by rosbags' own writers and read back."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from recorded_scene import POSES, SMALL, assert_same_world, views
from scipy.spatial.transform import Rotation

from benchmarks.layouts.bag_files import KINDS, compressed_depth, to_file, written
from lift_gs_ros import cli
from lift_gs_ros.geometry import Camera
from lift_gs_ros.messages import color_from_image, depth_from_image, stamp_to_ns
from lift_gs_ros.sequences import BagTopics, Sequence, open_sequence
from lift_gs_ros.sequences.bag_file import BagFile
from lift_gs_ros.sequences.bag_poses import read_tree
from lift_gs_ros.sequences.check import check_sequence

BAGS = Path(__file__).parents[2] / 'shared' / 'data' / 'bags'
SECOND = 10**9
STAMPS = [100 * SECOND + i * SECOND // 10 for i in range(3)]
RGB, DEPTH, INFO = '/camera/color/image_raw', '/camera/depth/image', '/camera/color/camera_info'
OPTICAL = 'camera_optical'
BASE_FROM_CAMERA = np.eye(4)
BASE_FROM_CAMERA[:3, :3] = Rotation.from_euler('xyz', [-100, 3, -90], degrees=True).as_matrix()
BASE_FROM_CAMERA[:3, 3] = 0.1, 0.02, 0.6
FRAMES = views()


def millimetres(depth):
    return np.round(depth * 1000).astype(np.uint16)


def write_images(bag, trailing=b'', rgb=True, depth=True, info=True, late=5_000_000):
    """Colour, depth 5 ms late and calibration of every view."""
    for stamp, frame in zip(STAMPS, FRAMES):
        if info:
            bag.camera_info(INFO, stamp, OPTICAL, frame.camera)
        if rgb:
            bag.image(RGB, stamp, OPTICAL, frame.color, 'rgb8', trailing)
        if depth:
            bag.image(DEPTH, stamp + late, OPTICAL, millimetres(frame.depth), '16UC1', trailing)


def sides(pose):
    """The pose 20 ms before and after, of a camera that moves and turns at a constant speed."""
    for sign in (-1, 1):
        moved = pose.copy()
        moved[:3, 3] += sign * np.array([0.01, 0.02, 0])
        turn = Rotation.from_rotvec([0, 0, sign * 0.03]).as_matrix()
        moved[:3, :3] = turn @ pose[:3, :3]
        yield sign * SECOND // 50, moved


def write_tf(bag, slash='', legacy=False):
    """map -> odom (static), odom -> base at both sides of every image, base -> camera (static)."""
    bag.transform(STAMPS[0], 'odom', f'{slash}base', np.eye(4), '/tf_static')
    bag.transform(STAMPS[0], f'{slash}base', f'{slash}{OPTICAL}', BASE_FROM_CAMERA, '/tf_static')
    for stamp, pose in zip(STAMPS, POSES):
        for offset, moved in sides(pose @ np.linalg.inv(BASE_FROM_CAMERA)):
            bag.transform(stamp + offset, 'map', f'{slash}odom', moved, legacy=legacy)


def bag_path(folder):
    return folder / 'walk.bag' if (folder / 'walk.bag').exists() else folder


def write(folder, kind='mcap', *parts, **images):
    with written(folder, kind) as bag:
        write_images(bag, **images)
        for part in parts:
            part(bag)
    return bag_path(folder)


@pytest.mark.parametrize('kind', KINDS)
def test_a_recording_reads_back_to_the_same_world(kind, tmp_path):
    path = write(tmp_path / 'walk', kind, write_tf)
    sequence = open_sequence(path)
    assert isinstance(sequence, Sequence)
    frames = list(sequence)
    assert_same_world(frames)
    assert [frame.stamp for frame in frames] == STAMPS
    assert (len(sequence), sequence.skipped) == (3, 0)
    assert sequence.rate == pytest.approx(10, rel=0.3)
    assert len(list(sequence)) == 3  # a second time


@pytest.mark.parametrize('kind', ['mcap', 'sqlite3'])
def test_the_file_inside_a_bag_is_a_recording_too(kind, tmp_path):
    write(tmp_path / 'walk', kind, write_tf)
    (file,) = [f for f in (tmp_path / 'walk').iterdir() if f.suffix in ('.mcap', '.db3')]
    assert len(list(open_sequence(file))) == 3
    (tmp_path / 'walk' / 'metadata.yaml').unlink()  # the recorder was killed
    assert len(list(open_sequence(tmp_path / 'walk'))) == 3


@pytest.mark.parametrize('legacy', [True, False])
def test_tf_of_old_robots_is_understood(legacy, tmp_path):
    def tf(bag):
        write_tf(bag, slash='/', legacy=legacy)

    assert_same_world(open_sequence(write(tmp_path / 'walk', 'ros1', tf)))


@pytest.mark.parametrize('step', [2, 3])
def test_depth_of_another_size_without_a_calibration_of_its_own_is_the_same_view(step, tmp_path):
    def small_depth(bag):
        write_tf(bag)
        for stamp, frame in zip(STAMPS, FRAMES):
            height, width = (side // step * step for side in frame.depth.shape)
            small = frame.depth[step // 2 : height : step, step // 2 : width : step]
            bag.image(DEPTH, stamp + 5_000_000, OPTICAL, millimetres(small), '16UC1')

    sequence = open_sequence(write(tmp_path / 'walk', 'mcap', small_depth, depth=False))
    frames = list(sequence)
    assert frames[0].depth.shape == (120 // step, 160 // step)
    # Of two by two pixels the lower right one is taken: half a pixel, a centimetre at 4 m.
    assert_same_world(frames, tolerance=0.05, colour=8.0)


def test_depth_of_another_shape_without_a_calibration_says_what_is_wrong(tmp_path, caplog):
    def half_depth(bag):
        write_tf(bag)
        for stamp, frame in zip(STAMPS, FRAMES):
            bag.image(DEPTH, stamp, OPTICAL, millimetres(frame.depth[:60]), '16UC1')

    sequence = open_sequence(write(tmp_path / 'walk', 'mcap', half_depth, depth=False))
    assert (list(sequence), sequence.skipped) == ([], 3)
    assert 'depth is 160x60 and colour 160x120, expected one view in two sizes' in caplog.text


# Poses.


def write_odometry(bag, child='base', topic='/odom'):
    for stamp, pose in zip(STAMPS, POSES):
        if child == 'base':
            pose = pose @ np.linalg.inv(BASE_FROM_CAMERA)
        for offset, moved in sides(pose):
            bag.pose(
                topic, 'nav_msgs/msg/Odometry', stamp + offset, 'odom', moved, child_frame_id=child
            )


def write_static(bag):
    bag.transform(STAMPS[0], 'base', OPTICAL, BASE_FROM_CAMERA, '/tf_static')


def write_pose_topic(bag, msgtype='geometry_msgs/msg/PoseStamped', topic='/pose'):
    for stamp, pose in zip(STAMPS, POSES):
        for offset, moved in sides(pose):
            bag.pose(topic, msgtype, stamp + offset, 'map', moved)


def write_covariant(bag):
    write_pose_topic(bag, 'geometry_msgs/msg/PoseWithCovarianceStamped')


@pytest.mark.parametrize(
    'parts',
    [
        [write_odometry, write_static],
        [lambda bag: write_odometry(bag, OPTICAL)],
        [write_pose_topic],
        [write_covariant, write_static],
    ],
)
def test_poses_of_topics_are_interpolated_at_the_stamp(parts, tmp_path):
    assert_same_world(open_sequence(write(tmp_path / 'walk', 'mcap', *parts)))


def test_tf_wins_over_topics_unless_one_is_asked_for(tmp_path):
    def elsewhere(bag):
        for stamp in (0, 200 * SECOND):
            bag.pose('/wrong', 'geometry_msgs/msg/PoseStamped', stamp, 'map', np.eye(4))

    path = write(tmp_path / 'walk', 'mcap', write_tf, elsewhere, write_pose_topic)
    assert_same_world(open_sequence(path))
    assert_same_world(open_sequence(path, BagTopics(pose='/pose')))
    assert_same_world(open_sequence(path, BagTopics(pose='/tf')))
    with pytest.raises(ValueError, match='/nowhere'):
        open_sequence(path, BagTopics(pose='/nowhere'))


def test_the_map_frame_can_be_chosen(tmp_path):
    def drifting(bag):
        """earth -> map, which nobody wants."""
        for stamp in (99 * SECOND, 101 * SECOND):
            bag.transform(stamp, 'earth', 'map', np.diag([-1.0, -1, 1, 1]))

    path = write(tmp_path / 'walk', 'mcap', write_tf, drifting)
    assert_same_world(open_sequence(path, BagTopics(map_frame='/map')))
    first = next(iter(open_sequence(path)))
    assert first.world_from_camera[:2, 3] == pytest.approx(-POSES[0][:2, 3], abs=1e-3)
    with pytest.raises(ValueError, match='no TF that moves the frame "camera_optical" in moon'):
        open_sequence(path, BagTopics(map_frame='moon'))


def test_frames_without_a_pose_are_skipped_with_the_reason(tmp_path, caplog):
    def partly(bag):
        for stamp, pose in list(zip(STAMPS, POSES))[:2]:
            bag.pose('/pose', 'geometry_msgs/msg/PoseStamped', stamp, 'map', pose)

    sequence = open_sequence(write(tmp_path / 'walk', 'mcap', partly))
    with caplog.at_level(logging.WARNING):
        assert_same_world(sequence, POSES[:2])
    assert sequence.skipped == 1
    assert 'no pose on both sides of 100.2000' in caplog.text


def test_odometry_of_a_base_without_its_camera_is_refused(tmp_path):
    path = write(tmp_path / 'walk', 'mcap', write_odometry)
    with pytest.raises(ValueError, match=r'where base was .* record /tf_static'):
        open_sequence(path)


# Images.


@pytest.mark.parametrize(
    ('color', 'depth'),
    [
        (('jpeg', 'JPEG'), '16UC1; compressedDepth'),
        (('png', 'PNG'), '16UC1; compressedDepth png'),
        (('rgb8; jpeg compressed bgr8', 'JPEG'), '32FC1; compressedDepth png'),
        (('bgr8; png compressed bgr8', 'PNG'), '16UC1; png compressed '),
    ],
)
def test_compressed_images_are_read(color, depth, tmp_path):
    def compressed(bag):
        for stamp, frame in zip(STAMPS, FRAMES):
            data = to_file(frame.color, color[1])
            bag.compressed(f'{RGB}/compressed', stamp, OPTICAL, data, color[0])
            data = compressed_depth(frame.depth, depth[:5])
            if 'compressedDepth' not in depth:
                data = data[12:]
            bag.compressed(f'{DEPTH}/compressedDepth', stamp, OPTICAL, data, depth)

    path = write(tmp_path / 'walk', 'mcap', write_tf, compressed, rgb=False, depth=False)
    assert_same_world(open_sequence(path), tolerance=0.01, colour=3.0)


@pytest.mark.parametrize('raw', [True, False])
def test_of_one_image_in_several_transports_the_raw_one_is_read(raw, tmp_path):
    def compressed(bag):
        for stamp, frame in zip(STAMPS, FRAMES):
            bag.compressed(f'{RGB}/compressed', stamp, OPTICAL, to_file(frame.color, 'PNG'), 'png')

    path = write(tmp_path / 'walk', 'mcap', write_tf, compressed, rgb=raw)
    assert_same_world(open_sequence(path))


@pytest.mark.parametrize('kind', KINDS)
def test_bytes_behind_whole_images_are_let_be(kind, tmp_path):
    path = write(tmp_path / 'walk', kind, write_tf, trailing=b'\xde\xad\xbe\xef')
    assert_same_world(open_sequence(path))


DEPTH_CAMERA = Camera.from_focal(120, 120, 70, 50, 140, 100)
COLOR_FROM_DEPTH = np.eye(4)
COLOR_FROM_DEPTH[:3, 3] = -0.05, 0.002, 0.001


def write_unregistered(bag, info=True, tf=True):
    color_from_depth = COLOR_FROM_DEPTH
    if tf:
        bag.transform(STAMPS[0], OPTICAL, 'depth_optical', color_from_depth, '/tf_static')
    depths = views(DEPTH_CAMERA, [pose @ color_from_depth for pose in POSES])
    for stamp, frame in zip(STAMPS, depths):
        if info:
            bag.camera_info('/camera/depth/camera_info', stamp, 'depth_optical', DEPTH_CAMERA)
        bag.image(DEPTH, stamp, 'depth_optical', frame.depth, '32FC1')


def test_depth_of_another_camera_is_registered(tmp_path):
    path = write(tmp_path / 'walk', 'mcap', write_tf, write_unregistered, depth=False)
    frames = list(open_sequence(path))
    assert frames[0].depth.shape == (SMALL.height, SMALL.width)
    assert_same_world(frames, tolerance=0.04)


@pytest.mark.parametrize(
    ('missing', 'words'),
    [('info', 'nothing on /camera/depth/camera_info'), ('tf', 'not registered to colour')],
)
def test_depth_that_cannot_be_registered_is_refused(missing, words, tmp_path):
    def part(bag):
        write_unregistered(bag, **{missing: False})

    path = write(tmp_path / 'walk', 'mcap', write_tf, part, depth=False)
    with pytest.raises(ValueError, match=words):
        open_sequence(path)


def test_registered_depth_of_another_size_is_scaled_by_its_calibration(tmp_path):
    half = SMALL.resized(80, 60)

    def part(bag):
        for stamp, frame in zip(STAMPS, views(half)):
            bag.camera_info('/camera/depth/camera_info', stamp, OPTICAL, half)
            bag.image(DEPTH, stamp, OPTICAL, millimetres(frame.depth), 'mono16')

    path = write(tmp_path / 'walk', 'mcap', write_tf, part, depth=False)
    assert_same_world(open_sequence(path), tolerance=0.05)


def test_images_too_far_apart_in_time_make_no_frame_and_that_is_said(tmp_path, caplog, capsys):
    path = write(tmp_path / 'walk', 'mcap', write_tf, late=30_000_000)
    assert list(open_sequence(path)) == []
    assert f'3 of 3 images on {RGB} have none on {DEPTH} (3)' in caplog.text
    with pytest.raises(ValueError, match='no frame'):
        check_sequence(open_sequence(path))
    assert cli.main(['ground', str(path), 'a chair', '--out', str(tmp_path)]) == 2
    assert 'no frame could be fused' in capsys.readouterr().err


def test_one_bad_image_costs_one_frame(tmp_path, caplog):
    def bad(bag):
        bag.image(RGB, STAMPS[1], OPTICAL, FRAMES[1].color[:60], 'rgb8')

    path = write(tmp_path / 'walk', 'mcap', write_tf, bad)
    with caplog.at_level(logging.WARNING):
        frames = list(open_sequence(path))
    assert len(frames) in (2, 3)  # the whole one of the two may be paired first
    assert all(frame.color.shape == (120, 160, 3) for frame in frames)


# Which topics.


def write_second_camera(bag):
    for stamp, frame in zip(STAMPS, FRAMES):
        bag.image('/rear/image_raw', stamp, 'rear', frame.color, 'rgb8')
        bag.image('/infra/image_raw', stamp, 'infra', frame.color[..., 0], 'mono8')
        bag.image('/rear/depth', stamp, 'rear', millimetres(frame.depth), '16UC1')


def test_one_of_several_cameras_is_named(tmp_path):
    path = write(tmp_path / 'walk', 'mcap', write_tf, write_second_camera)
    with pytest.raises(ValueError, match='say which with --rgb') as error:
        open_sequence(path)
    for words in (f'{RGB}  sensor_msgs/Image (rgb8)  3', '/infra/image_raw', '/tf  tf2_msgs'):
        assert words in str(error.value)
    # Of two depth topics the one in the frame of colour is taken.
    assert_same_world(open_sequence(path, BagTopics(rgb=RGB)))
    asked = BagTopics(rgb=RGB, depth=DEPTH, camera_info=INFO)
    assert_same_world(open_sequence(path, asked))
    with pytest.raises(ValueError, match=r'no messages on --depth /typo'):
        open_sequence(path, BagTopics(rgb=RGB, depth='/typo'))


@pytest.mark.parametrize(
    ('left_out', 'words'),
    [
        ('rgb', 'it has no colour images'),
        ('depth', 'it has no depth images'),
        ('info', 'it has no calibration of colour'),
        ('poses', 'it has no poses'),
    ],
)
def test_a_bag_that_lacks_something_is_refused_in_one_sentence(left_out, words, tmp_path):
    parts = [] if left_out == 'poses' else [write_tf]
    images = {} if left_out == 'poses' else {left_out: False}
    path = write(tmp_path / 'walk', 'mcap', *parts, **images)
    with pytest.raises(ValueError, match=words) as error:
        open_sequence(path)
    assert str(path) in str(error.value)
    assert 'it holds:' in str(error.value)


def test_several_pose_topics_ask_for_one(tmp_path):
    def other(bag):
        write_pose_topic(bag, topic='/other')

    path = write(tmp_path / 'walk', 'mcap', write_pose_topic, other)
    with pytest.raises(ValueError, match='say which with --pose'):
        open_sequence(path)
    assert_same_world(open_sequence(path, BagTopics(pose='/other')))


def test_topics_are_for_bags_only(tmp_path):
    (tmp_path / 'frame-000000.pose.txt').touch()
    with pytest.raises(ValueError, match='is no bag'):
        open_sequence(tmp_path, BagTopics(rgb='/x'))


# Damage.


def storage(path):
    """The file that holds the messages."""
    if path.is_file():
        return path
    return next(file for file in path.iterdir() if file.suffix in ('.mcap', '.db3'))


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def empty(file):
    file.write_bytes(b'')


def garbage(file):
    file.write_bytes(bytes(range(256)) * 40)


@pytest.mark.parametrize('damage', [cut, empty, garbage])
@pytest.mark.parametrize('kind', KINDS)
def test_a_damaged_bag_is_refused_in_one_sentence(kind, damage, tmp_path):
    path = write(tmp_path / 'walk', kind, write_tf)
    damage(storage(path))
    with pytest.raises(ValueError, match='no whole bag') as error:
        list(open_sequence(path))
    assert str(path) in str(error.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / 'walk.mp4').write_bytes(b'1234')
    with pytest.raises(ValueError, match=r'a file of 4 bytes.*\n.*ROS bag: a \.mcap'):
        open_sequence(tmp_path / 'walk.mp4')


# Real bags, where they are.

real = pytest.mark.skipif(not BAGS.exists(), reason='the sample bags are not here')


@real
@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('rs_single_depth_color_640x480.bag', 'it has no poses'),
        ('lerobot_test_rs.bag', 'it has no poses'),
        ('jsk_watercan.bag', 'it has no colour images'),
        ('rerun_all_sensor_msgs.mcap', 'it has several topics of colour images'),
    ],
)
def test_each_odd_bag_is_refused_in_one_sentence(name, words):
    with pytest.raises(ValueError, match=f'{name} cannot be replayed: {words}'):
        open_sequence(BAGS / name)


@real
@pytest.mark.parametrize('name', ['rs_single_depth_color_640x480.bag', 'lerobot_test_rs.bag'])
def test_images_of_real_cameras_are_read_whatever_lies_behind_them(name):
    with BagFile(BAGS / name) as bag:
        topics = {topic.name.split('/')[-3]: topic for topic in bag.topics() if topic.encoding}
        color = [color_from_image(image) for _, image in bag.messages([topics['Color_0']])]
        depth = [depth_from_image(image) for _, image in bag.messages([topics['Depth_0']])]
    assert len(color) == topics['Color_0'].count
    assert all(image.shape == (480, 640, 3) and image.std() > 20 for image in color)
    assert all(0.2 < np.median(image[image > 0]) < 10 for image in depth)


@real
def test_two_kinds_of_tf_on_one_topic_are_one_tree():
    with BagFile(BAGS / 'jsk_watercan.bag') as bag:
        tf = next(topic for topic in bag.topics() if topic.name == '/tf')
        assert len(tf.types) == 2
        tree = read_tree(bag, [tf])
        stamp = next(bag.messages([tf]))[1].transforms[0].header.stamp
    camera = 'left_camera_optical_frame'
    assert tree.ancestors(camera)[-1] == 'map'
    assert tree.moves('map', camera)
    pose = tree.lookup('/map', f'/{camera}', stamp_to_ns(stamp) + 3 * SECOND)
    assert 1.0 < pose[2, 3] < 2.0  # a humanoid's head, metres above the floor


# Through the programs.


@pytest.mark.parametrize('kind', KINDS)
def test_a_bag_is_answered_on_from_the_command_line(kind, tmp_path, capsys):
    path = write(tmp_path / 'walk', kind, write_tf, write_second_camera)
    arguments = ['ground', str(path), 'the red chair', '--out', str(tmp_path / 'out')]
    assert cli.main(arguments) == 2
    assert 'say which with --rgb' in capsys.readouterr().err
    assert cli.main([*arguments, '--rgb', RGB, '--device', 'cpu']) == 0
    [answer] = json.loads((tmp_path / 'out' / 'answers.json').read_text())
    assert answer['map']['keyframes'] == 3


def test_the_camera_node_takes_the_topics_from_its_parameters(tmp_path):
    pytest.importorskip('lift_gs_ros.msg', reason='the ROS package is not built')
    from lift_gs_ros.nodes.camera_node import open_source
    from lift_gs_ros.nodes.parameters import CAMERA

    path = write(tmp_path / 'walk', 'mcap', write_tf, write_second_camera)
    values = {parameter.name: parameter.default for parameter in CAMERA}
    values |= {'sequence': str(path), 'bag_rgb': RGB}
    assert_same_world(open_source(values))
