import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from box_scenes import render
from PIL import Image
from recorded_scene import POSES, RECORDING, SCENE, surface_error
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from benchmarks.layouts import cameras
from lift_gs_ros.geometry import transform_points
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.sequences import Sequence, open_sequence, seven_scenes
from lift_gs_ros.sequences.seven_scenes import open_seven_scenes

DATA = Path(__file__).parents[2] / 'shared' / 'data'
REDKITCHEN, CABINET = DATA / '7scenes_redkitchen', DATA / 'tum_fr3_cabinet'


def save_image(path: Path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_seven_scenes(folder, poses=POSES, world=None, registered=True, **numbers):
    """Write the scene, its poses in a world of their own."""
    written = None if world is None else [world @ pose for pose in poses]
    recording = replace(RECORDING, poses=poses, written=written)
    cameras.write_seven_scenes(folder, recording, registered, **numbers)


def write_tum(folder):
    cameras.write_tum(folder, RECORDING)


def write_tum_keyframes(folder):
    cameras.write_tum_keyframes(folder, RECORDING)


WRITERS = {
    '7-Scenes': write_seven_scenes,
    'TUM freiburg3': write_tum,
    'TUM keyframes': write_tum_keyframes,
}


def open_written(layout, folder):
    if layout == '7-Scenes':
        return open_seven_scenes(folder, registered=True)
    return open_sequence(folder)


@pytest.mark.parametrize('layout', WRITERS)
def test_a_written_sequence_reads_back_to_the_same_world(layout, tmp_path):
    folder = tmp_path / 'rgbd_freiburg3_room'
    folder.mkdir()
    WRITERS[layout](folder)
    sequence = open_written(layout, folder)
    assert isinstance(sequence, Sequence)
    frames = list(sequence)
    assert (len(sequence), len(frames), sequence.skipped) == (3, 3, 0)
    for frame, pose in zip(frames, POSES):
        assert np.abs(frame.world_from_camera - pose).max() < 1e-3
        assert surface_error(frame).max() < 2e-3
        original = render(SCENE, pose, camera=frame.camera)
        assert np.abs(frame.depth - original.depth).max() < 6e-4
        difference = np.abs(frame.color.astype(int) - original.color)
        assert np.median(difference) <= (2 if layout == 'TUM keyframes' else 0)
        assert difference.mean() < 1
    assert len(list(sequence)) == 3  # a second time


@pytest.mark.parametrize(
    ('layout', 'rate', 'stamps'),
    [
        ('7-Scenes', 30.0, [0, 33_333_333, 66_666_667]),
        ('TUM freiburg3', 10.0, [100_000_000_000, 100_100_000_000, 100_200_000_000]),
        ('TUM keyframes', 2.0, [100_000_000_000, 100_500_000_000, 101_000_000_000]),
    ],
)
def test_rate_and_stamps_are_those_of_the_recording(layout, rate, stamps, tmp_path):
    WRITERS[layout](tmp_path)
    sequence = open_written(layout, tmp_path)
    assert sequence.rate == pytest.approx(rate, rel=1e-3)
    assert [frame.stamp for frame in sequence] == stamps


def test_frames_are_read_only_when_their_turn_comes(tmp_path):
    write_seven_scenes(tmp_path)
    frames = iter(open_sequence(tmp_path))
    next(frames)
    (tmp_path / 'frame-000001.depth.png').unlink()
    assert next(frames).stamp == 66_666_667


# 7-Scenes.


def share_of_right_colours(frame):
    """Share of the points that have the colour of the surface nearest to them."""
    cloud = frame.to_point_cloud()
    original = render(SCENE, frame.world_from_camera, camera=frame.camera)
    valid = frame.depth > 0
    return (np.abs(original.color[valid] - cloud.colors * 255.0).max(axis=1) < 1).mean()


def test_colour_is_warped_into_the_depth_image(tmp_path):
    write_seven_scenes(tmp_path, registered=False)
    for warped, raw in zip(open_sequence(tmp_path), open_seven_scenes(tmp_path, registered=True)):
        assert share_of_right_colours(warped) > 0.985
        assert share_of_right_colours(raw) < 0.97
        assert (warped.depth > 0).mean() > 0.9


def test_what_the_colour_camera_does_not_see_has_no_depth(tmp_path):
    write_seven_scenes(tmp_path, poses=POSES[:1], registered=False)
    (frame,) = open_sequence(tmp_path)
    _, seen = seven_scenes.register_color(frame.color, frame.depth, frame.camera)
    assert (frame.depth[~seen] == 0).all()
    # Focal length 529 sees more than 585: only the near left edge can be out of its sight.
    near = np.full((480, 640), 0.3, np.float32)
    _, seen = seven_scenes.register_color(frame.color, near, seven_scenes.DEPTH_CAMERA)
    assert not seen[:, 0].any()
    assert seen[:, -1].any()


def test_depths_of_0_and_65535_are_invalid(tmp_path):
    write_seven_scenes(tmp_path, poses=POSES[:1])
    depth = np.full((480, 640), 2000, np.uint16)
    depth[:, :100], depth[:, 100:200] = 0, 65535
    save_image(tmp_path / 'frame-000000.depth.png', depth)
    (frame,) = open_seven_scenes(tmp_path, registered=True)
    assert np.unique(frame.depth[:, :200]).tolist() == [0]
    assert np.unique(frame.depth[:, 200:]).tolist() == [2]


def test_the_world_is_turned_upright_where_gravity_is_known(tmp_path):
    world = np.eye(4)
    world[:3, :3] = Rotation.from_euler('xyz', [100, 10, 5], degrees=True).as_matrix()
    write_seven_scenes(tmp_path, world=world)
    np.savetxt(tmp_path / 'gravity-direction.txt', -world[:3, 2])
    for upright, asis, pose in zip(
        open_seven_scenes(tmp_path, registered=True),
        open_seven_scenes(tmp_path, registered=True, z_up=False),
        POSES,
    ):
        assert np.abs(asis.world_from_camera - world @ pose).max() < 1e-3
        assert np.abs(upright.world_from_camera[2] - pose[2]).max() < 1e-3  # heights, directions
        assert np.linalg.norm(upright.world_from_camera[:2, 3]) == pytest.approx(
            np.linalg.norm(pose[:2, 3]), abs=1e-3
        )


def test_intrinsics_beside_the_frames_win(tmp_path):
    write_seven_scenes(tmp_path, poses=POSES[:1])
    np.savetxt(tmp_path / 'camera-intrinsics.txt', [[600, 0, 300], [0, 601, 200], [0, 0, 1]])
    (frame,) = open_sequence(tmp_path)
    assert frame.camera.intrinsics[0].tolist() == [600, 0, 300]


def test_sequences_of_a_scene_follow_each_other(tmp_path):
    write_seven_scenes(tmp_path / 'seq-01', poses=POSES[:2], start=10, step=10)
    write_seven_scenes(tmp_path / 'seq-02', poses=POSES[2:])
    np.savetxt(tmp_path / 'gravity-direction.txt', [0, 0, -1])
    scene = open_sequence(tmp_path)
    frames = list(scene)
    assert (len(scene), len(frames), scene.skipped) == (3, 3, 0)
    stamps = [frame.stamp for frame in frames]
    assert stamps == sorted(set(stamps))
    one = open_sequence(tmp_path / 'seq-01')
    assert len(list(one)) == 2
    assert one.rate == pytest.approx(3.0)


# Bad frames.


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def unlink(path):
    path.unlink()


def garbage(path):
    path.write_bytes(b'this is no image, and no matrix')


def minus_inf(path):
    path.write_text('-inf -inf -inf -inf\n' * 4)


def nan(path):
    path.write_text('nan nan nan nan\n' * 4)


def too_short(path):
    path.write_text('1 0 0 0\n')


def colour_instead(path):
    save_image(path, np.zeros((480, 640, 3), np.uint8))


def other_size(path):
    save_image(path, np.zeros((48, 64), np.uint16))


@pytest.mark.parametrize(
    ('file', 'damage', 'reason'),
    [
        ('color.png', truncate, 'cannot be decoded'),
        ('color.png', unlink, 'No such file'),
        ('color.png', garbage, 'cannot be decoded'),
        ('depth.png', truncate, 'cannot be decoded'),
        ('depth.png', unlink, 'No such file'),
        ('depth.png', colour_instead, 'mode RGB, expected 16-bit'),
        ('depth.png', other_size, 'color is uint8'),
        ('pose.txt', unlink, 'No such file'),
        ('pose.txt', minus_inf, 'NaN or inf'),
        ('pose.txt', nan, 'NaN or inf'),
        ('pose.txt', too_short, 'holds 4 numbers, expected 16'),
        ('pose.txt', garbage, 'could not convert'),
    ],
)
def test_a_bad_frame_is_skipped_with_its_reason_and_the_rest_is_read(
    file, damage, reason, tmp_path, caplog
):
    write_seven_scenes(tmp_path)
    damage(tmp_path / f'frame-000001.{file}')
    sequence = open_seven_scenes(tmp_path, registered=True)
    with caplog.at_level(logging.WARNING):
        assert [frame.stamp for frame in sequence] == [0, 66_666_667]
    assert sequence.skipped == 1
    assert reason in caplog.text
    assert 'frame-000001' in caplog.text
    list(sequence)
    assert sequence.skipped == 1  # of the last iteration, not of all


def edit_line(path, number, line):
    lines = path.read_text().splitlines()
    lines[number] = line
    path.write_text('\n'.join(lines))


@pytest.mark.parametrize('pose', ['100.5 nan 0 0 0 0 0 1', '100.5 0 0 0 0 0 0 0', 'lost', '1 2 3'])
def test_row_i_stays_frame_i_where_a_keyframe_has_no_pose(pose, tmp_path):
    write_tum_keyframes(tmp_path)
    edit_line(tmp_path / 'truth_cam_poses.txt', 1, pose)
    sequence = open_sequence(tmp_path)
    frames = list(sequence)
    assert (len(frames), sequence.skipped) == (2, 1)
    assert np.abs(frames[1].world_from_camera - POSES[2]).max() < 1e-3


def test_tum_frames_without_colour_or_pose_near_in_time_are_skipped(tmp_path, caplog):
    write_tum(tmp_path)
    edit_line(tmp_path / 'rgb.txt', 1, '99.0 rgb/0.png')
    edit_line(tmp_path / 'groundtruth.txt', 3, '100.05 nan nan nan 0 0 0 1')
    edit_line(tmp_path / 'groundtruth.txt', 5, 'lost')
    edit_line(tmp_path / 'groundtruth.txt', 6, '')
    sequence = open_sequence(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert len(list(sequence)) == 1
    assert sequence.skipped == 2
    assert 'no colour image within' in caplog.text
    assert 'no pose on both sides' in caplog.text


def test_poses_too_far_apart_are_not_interpolated(tmp_path, caplog):
    write_tum(tmp_path)
    edit_line(tmp_path / 'groundtruth.txt', 3, '# lost')
    edit_line(tmp_path / 'groundtruth.txt', 4, '# lost')
    with caplog.at_level(logging.WARNING):
        assert len(list(open_sequence(tmp_path))) == 2
    assert 'too far to trust' in caplog.text


# What is no sequence.


def test_an_unknown_folder_names_the_layouts_tried_and_what_was_found(tmp_path):
    (tmp_path / 'holiday.jpg').touch()
    (tmp_path / 'sub').mkdir()
    with pytest.raises(ValueError, match='known layout') as error:
        open_sequence(tmp_path)
    for words in ('holiday.jpg, sub/', '7-Scenes', 'groundtruth.txt', 'truth_cam_poses.txt'):
        assert words in str(error.value)


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no'):
        open_sequence(tmp_path / 'absent')
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='is a file'):
        open_sequence(tmp_path / 'file')


# Real recordings, where they are.


@pytest.mark.skipif(not REDKITCHEN.exists(), reason='the 7-Scenes sample is not here')
def test_neighbouring_frames_of_the_real_kitchen_agree_and_stand_upright():
    sequence = open_sequence(REDKITCHEN)
    assert (len(sequence), sequence.rate) == (100, pytest.approx(3.0))
    clouds = []
    for frame, _ in zip(sequence, range(8)):
        clouds.append(frame.to_point_cloud(max_depth=4.0).positions[::17])
        assert frame.world_from_camera[2, 1] < -0.8  # the image's y points down in the world
    for first, second in zip(clouds, clouds[1:]):
        distances, _ = KDTree(first).query(second)
        assert np.median(distances) < 0.014


@pytest.mark.skipif(not CABINET.exists(), reason='the TUM sample is not here')
def test_the_real_cabinet_is_where_its_box_says():
    sequence = open_sequence(CABINET)
    voxel_map = VoxelMap()
    for frame in sequence:
        voxel_map.integrate(frame)
    assert (len(sequence), sequence.skipped) == (58, 0)
    assert frame.camera.intrinsics[0, 0] == 535.4  # from TUM3.yaml
    cx, cy, cz, yaw, *half = np.loadtxt(CABINET / 'truth_objects.txt')
    box_from_world = np.eye(4)
    box_from_world[:2, :2] = [[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]]
    points = voxel_map.to_point_cloud().positions - [cx, cy, cz]
    points = transform_points(box_from_world, points)
    around = (np.abs(points) < np.array(half) + 0.1).all(axis=1)
    standing = points[around & (points[:, 2] > -half[2] + 0.1)]  # without the floor
    assert len(standing) > 500
    inside = (np.abs(standing) < np.array(half) + 0.05).all(axis=1)
    assert inside.mean() > 0.9
    reach = np.percentile(np.abs(standing[:, :2]), 95, axis=0)
    assert np.abs(reach - half[:2]).max() < 0.05
