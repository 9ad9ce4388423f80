"""Folders of data sets with missing, truncated and contradictory files."""

import json
import logging
import re
import runpy
import struct
import sys
import zipfile
import zlib
from dataclasses import replace

import lzfse
import numpy as np
import pytest
from PIL import Image
from recorded_scene import FIVE, POSES, RECORDING, assert_same_world
from test_datasets import LAYOUTS, RECTIFIED

from benchmarks.layouts import WRITERS
from benchmarks.layouts.cameras import (
    tum_camera,
    write_matterport,
    write_open3d,
    write_scannet,
    write_sens,
)
from benchmarks.layouts.phones import write_arkitscenes, write_record3d, write_scannetpp
from lift_gs_ros.sequences import open_sequence, record3d

FOLDERS = [name for name in LAYOUTS if name not in ('ScanNet .sens', 'Record3D')]  # of many files
TUM = ['TUM RGB-D', 'TUM keyframes']


def folder_of(name, folder):
    """Folder for a recording; TUM's camera is known by the folder's name."""
    folder = folder / ('rgbd_freiburg3' if name in TUM else '.')
    folder.mkdir(exist_ok=True)
    return folder


def images(path, mode):
    """Images of one mode, in the order of the frames, for each folder that keeps a copy."""
    files = [file for file in path.rglob('*') if file.suffix.lower() in ('.jpg', '.png')]
    copies = {}
    for file in sorted(file for file in files if Image.open(file).mode == mode):
        alone = len(list(file.parent.glob(f'*{file.suffix}'))) < 3
        copies.setdefault(None if alone else file.parent, []).append(file)
    return list(copies.values())


def truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file):
    file.write_bytes(b'')


@pytest.mark.parametrize(('mode', 'damage'), [('RGB', truncate), ('I;16', empty)])
@pytest.mark.parametrize('name', FOLDERS)
def test_a_damaged_image_costs_its_frame_only(name, mode, damage, tmp_path):
    path = WRITERS[name](tmp_path, RECORDING)
    for copy in images(path, mode):
        assert len(copy) == 3
        damage(copy[1])
    sequence = open_sequence(path)
    frames = list(sequence)
    assert (len(frames), sequence.skipped) == (2, 1)
    assert_same_world(frames, [POSES[0], POSES[2]], RECTIFIED.get(name, 2e-3), colour=4.0)


# ARKitScenes has poses between the frames too, whose neighbours may do: below.
@pytest.mark.parametrize('name', [name for name in LAYOUTS if name != 'ARKitScenes'])
def test_a_pose_that_is_none_costs_its_frame_only(name, tmp_path):
    lost = [pose.copy() for pose in POSES]
    lost[1][:3, 3] = np.nan
    sequence = open_sequence(WRITERS[name](tmp_path, replace(RECORDING, written=lost)))
    assert_same_world(sequence, [POSES[0], POSES[2]], RECTIFIED.get(name, 2e-3), colour=4.0)
    assert sequence.skipped == 1


NO_POSE = np.full((4, 4), np.nan)


@pytest.mark.parametrize(('lost', 'seen'), [([2], [0, 1, 2, 3, 4]), ([1, 2, 3], [0, 4])])
def test_arkit_poses_that_are_none_are_bridged_where_their_neighbours_are_near_in_time(
    lost, seen, tmp_path
):
    written = [NO_POSE if number in lost else pose for number, pose in enumerate(FIVE)]
    path = write_arkitscenes(tmp_path, replace(RECORDING, poses=FIVE, written=written))
    sequence = open_sequence(path)
    # 0.12 s without a pose are interpolated over, 0.32 s are not.
    assert_same_world(sequence, [FIVE[number] for number in seen], colour=4.0)
    assert sequence.skipped == 5 - len(seen)


def shrink(depth):
    """Take the middle of three by three pixels: the centres stay where they are."""
    height, width = (3 * (side // 3) for side in depth.shape)
    return depth[1:height:3, 1:width:3]


# ScanNet has intrinsics of its own for depth, Polycam a confidence for each of its pixels.
SIZED = [*(name for name in FOLDERS if name not in ('ScanNet', 'Polycam')), *TUM]


@pytest.mark.parametrize('name', SIZED)
def test_depth_of_another_size_than_colour_keeps_its_own(name, tmp_path):
    path = WRITERS[name](folder_of(name, tmp_path), RECORDING)
    (depths,) = images(path, 'I;16')
    for file in depths:
        Image.fromarray(shrink(np.asarray(Image.open(file)))).save(file)
    frames = list(open_sequence(path))
    assert_same_world(frames, tolerance=0.05, colour=8.0)


@pytest.mark.parametrize('name', ['Open3D', *TUM])
def test_depth_of_another_shape_than_colour_is_no_view_of_the_same(name, tmp_path, caplog):
    path = WRITERS[name](folder_of(name, tmp_path), RECORDING)
    (depths,) = images(path, 'I;16')
    for file in depths:
        depth = np.asarray(Image.open(file))
        Image.fromarray(depth[: depth.shape[0] // 2]).save(file)
    sequence = open_sequence(path)
    assert (list(sequence), sequence.skipped) == ([], 3)
    height, width = depth.shape
    words = f'depth is {width}x{height // 2} and colour {width}x{height}, expected one view in two'
    assert words in caplog.text


def test_tum_intrinsics_are_of_images_as_large_as_their_file_says(tmp_path):
    path = WRITERS['TUM keyframes'](tmp_path, RECORDING)
    settings = path / 'camera.yaml'
    half = tum_camera('freiburg1').resized(320, 240)
    (fx, _, cx), (_, fy, cy) = half.intrinsics[:2]
    settings.write_text(
        f'Camera.fx: {fx}\nCamera.fy: {fy}\nCamera.cx: {cx}\nCamera.cy: {cy}\n'
        'Camera.width: 320\nCamera.height: 240\nDepthMapFactor: 2000.0\n'
    )
    assert_same_world(open_sequence(path), colour=4.0)


@pytest.mark.parametrize('name', ['Polycam', 'ScanNet++ iPhone', 'ScanNet++ DSLR', 'Taskonomy'])
def test_damaged_json_is_named(name, tmp_path, caplog):
    path = WRITERS[name](tmp_path, RECORDING)
    file = sorted(path.rglob('*.json'))[-1]
    truncate(file)
    with caplog.at_level(logging.WARNING):
        try:
            list(open_sequence(path))
        except ValueError as error:
            caplog.text or logging.warning('%s', error)
    assert f'{file.name} is no JSON' in caplog.text


@pytest.mark.parametrize('wrong', ['x', {'a': 1}])
@pytest.mark.parametrize(
    ('name', 'file', 'place'),
    [
        ('ScanNet++ iPhone', 'pose_intrinsic_imu.json', ('frame_000000', 'aligned_pose')),
        ('ScanNet++ iPhone', 'pose_intrinsic_imu.json', ('frame_000000', 'intrinsic')),
        ('ScanNet++ DSLR', 'transforms.json', ('fl_x',)),
        ('ScanNet++ DSLR', 'transforms.json', ('frames',)),
        ('ScanNet++ DSLR', 'transforms.json', ('frames', 0)),
        ('ScanNet++ DSLR', 'transforms.json', ('frames', 0, 'transform_matrix')),
        ('Taskonomy', 'point_0_view_0_domain_point_info.json', ('camera_location',)),
        ('Taskonomy', 'point_0_view_0_domain_point_info.json', ('camera_rotation_final',)),
        ('Open3D', 'camera_intrinsic.json', ()),
        ('Open3D', 'camera_intrinsic.json', ('intrinsic_matrix',)),
        ('Open3D', 'camera_intrinsic.json', ('width',)),
        ('Record3D', 'metadata', ('poses',)),
        ('Record3D', 'metadata', ('poses', 0)),
        ('Record3D', 'metadata', ('frameTimestamps',)),
        ('Record3D', 'metadata', ('perFrameIntrinsicCoeffs',)),
        ('Record3D', 'metadata', ('perFrameIntrinsicCoeffs', 0)),
    ],
)
def test_json_of_a_wrong_type_is_named_with_its_file(name, file, place, wrong, tmp_path, caplog):
    path = WRITERS[name](tmp_path, RECORDING)

    def change(data):
        content = changed = json.loads(data)
        for key in place[:-1]:
            changed = changed[key]
        if place:
            changed[place[-1]] = wrong
        return json.dumps(content if place else wrong)

    if path.is_file():
        rewritten(path, lambda member, data: change(data) if member == file else data)
    else:
        (damaged,) = path.rglob(file)
        damaged.write_text(change(damaged.read_text()))
    try:
        assert len(list(open_sequence(path))) == 2
    except ValueError as error:
        logging.warning('%s', error)
    key = ' '.join(map(str, place[-2:] if 0 in place[-1:] else place[-1:])) or 'holds|does'
    assert re.search(rf'{file}.* ({key}|{key.replace("poses", "pose")}) ', caplog.text)


def test_a_folder_of_recordings_is_refused_and_says_which_are_in_it(tmp_path):
    write_scannet(tmp_path / 'scene0000_00', RECORDING)
    write_record3d(tmp_path, RECORDING)
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(ValueError, match='known layout') as error:
        open_sequence(tmp_path)
    assert 'it holds: notes.txt, scene0000_00/, walk.r3d.' in str(error.value)
    assert 'scene0000_00 (ScanNet), walk.r3d (Record3D)' in str(error.value)
    for name in WRITERS:  # every layout that was tried is told
        assert name.partition(' keyframes')[0].partition(' RGB-D')[0] in str(error.value)


def rewritten(path, change):
    """Write a ZIP file again with members changed: ``change(name, data)`` or None to leave out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in members.items():
            if (data := change(name, data)) is not None:
                archive.writestr(name, data)


@pytest.mark.parametrize('member', ['rgbd/1.jpg', 'rgbd/1.depth', 'rgbd/1.conf'])
@pytest.mark.parametrize('keep', [0, 0.5])
def test_a_damaged_member_of_an_r3d_file_costs_its_frame_only(member, keep, tmp_path):
    path = write_record3d(tmp_path, RECORDING)
    rewritten(path, lambda name, data: data[: int(len(data) * keep)] if name == member else data)
    sequence = open_sequence(path)
    assert (len(list(sequence)), sequence.skipped) == (2, 1)


@pytest.mark.parametrize('member', ['rgbd/1.jpg', 'rgbd/1.depth'])
def test_a_missing_member_of_an_r3d_file_costs_its_frame_only(member, tmp_path):
    path = write_record3d(tmp_path, RECORDING)
    rewritten(path, lambda name, data: None if name == member else data)
    sequence = open_sequence(path)
    assert (len(list(sequence)), sequence.skipped) == (2, 1)


def test_an_r3d_member_that_is_torn_in_the_archive_costs_its_frame_only(tmp_path):
    path = write_record3d(tmp_path, RECORDING)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo('rgbd/1.jpg')
    data = bytearray(path.read_bytes())
    data[info.header_offset + 200] ^= 255  # the archive's own sum does not fit any more
    path.write_bytes(data)
    sequence = open_sequence(path)
    assert (len(list(sequence)), sequence.skipped) == (2, 1)


def test_an_r3d_depth_that_grows_is_not_followed(tmp_path, caplog):
    path = write_record3d(tmp_path, RECORDING)
    bomb = lzfse.compress(bytes(50_000_000))
    rewritten(path, lambda name, data: bomb if name == 'rgbd/1.depth' else data)
    sequence = open_sequence(path)
    assert (len(list(sequence)), sequence.skipped) == (2, 1)
    size = 4 * RECORDING.camera.width * RECORDING.camera.height
    assert f'1.depth has {size + 1} bytes or more' in caplog.text


@pytest.mark.parametrize(
    ('change', 'words'),
    [({'fps': 0}, 'says fps 0'), ({'dw': 10**9}, r'says dh dw \(120, 1000000000\)')],
)
def test_an_r3d_file_with_impossible_metadata_says_so(change, words, tmp_path, caplog):
    path = write_record3d(tmp_path, RECORDING)
    rewritten(
        path,
        lambda name, data: (
            json.dumps({**json.loads(data), **change}) if name == 'metadata' else data
        ),
    )
    try:
        assert list(open_sequence(path)) == []
    except ValueError as error:
        logging.warning('%s', error)
    assert re.search(words, caplog.text)


def test_an_r3d_file_that_claims_too_much_is_refused(tmp_path, monkeypatch):
    path = write_record3d(tmp_path, RECORDING)
    monkeypatch.setattr('lift_gs_ros.sequences.record3d.MAX_BYTES', 100)
    with pytest.raises(ValueError, match='expected a recording whose files have at most 100'):
        open_sequence(path)


def test_without_lzfse_only_r3d_files_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'lzfse', None)
    runpy.run_path(record3d.__file__)  # as an import does, which every other reader needs
    with pytest.raises(ImportError, match='pip install lzfse'):
        open_sequence(write_record3d(tmp_path, RECORDING))


def test_what_is_no_r3d_file_is_refused(tmp_path):
    path = write_record3d(tmp_path, RECORDING)
    truncate(path)
    with pytest.raises(ValueError, match=r'no whole \.r3d file'):
        open_sequence(path)
    rewritten(write_record3d(tmp_path, RECORDING), lambda name, data: data if '/' in name else None)
    with pytest.raises(ValueError, match=r'no whole \.r3d file'):
        open_sequence(path)


def test_a_matterport_line_that_is_not_understood_is_named(tmp_path):
    write_matterport(tmp_path, RECORDING)
    file = tmp_path / 'undistorted_camera_parameters' / 'house.conf'
    file.write_text(file.read_text().replace('intrinsics_matrix', 'intrinsics'))
    with pytest.raises(ValueError, match=r'house\.conf: "scan .*no intrinsics_matrix'):
        open_sequence(tmp_path)


def test_a_frame_without_its_pose_is_named(tmp_path, caplog):
    scene = write_scannetpp(tmp_path, RECORDING)
    file = scene / 'iphone' / 'pose_intrinsic_imu.json'
    poses = json.loads(file.read_text())
    del poses['frame_000010']['aligned_pose']
    file.write_text(json.dumps(poses))
    with caplog.at_level(logging.WARNING):
        assert len(list(open_sequence(scene))) == 2
    assert 'no aligned_pose and intrinsic for frame_000010' in caplog.text


def test_lost_tracking_and_damaged_images_cost_their_frames_only(tmp_path, caplog):
    write_scannet(tmp_path, RECORDING)
    (tmp_path / 'pose' / '0.txt').write_text('-inf -inf -inf -inf\n' * 4)
    color = tmp_path / 'color' / '1.jpg'
    color.write_bytes(color.read_bytes()[:500])
    sequence = open_sequence(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert_same_world(sequence, POSES[2:], colour=4.0)
    assert sequence.skipped == 2
    assert 'NaN or inf' in caplog.text
    assert 'cannot be decoded' in caplog.text


@pytest.mark.parametrize('keep', [0.5, 0.9])
def test_a_sens_file_cut_off_gives_what_is_whole_and_says_so(keep, tmp_path):
    path = write_sens(tmp_path, RECORDING)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    frames = []
    with pytest.raises(ValueError, match=r'ends in frame \d of 3'):  # noqa: PT012
        for frame in open_sequence(path):
            frames.append(frame)
    assert 1 <= len(frames) < 3


@pytest.mark.parametrize('data', [b'', b'\x04\0\0\0', bytes(5000), b'\x04\0\0\0' + b'\xff' * 600])
def test_what_is_no_sens_file_is_refused(data, tmp_path):
    (tmp_path / 'scan.sens').write_bytes(data)
    with pytest.raises(ValueError, match=r'scan\.sens'):
        open_sequence(tmp_path / 'scan.sens')


def test_a_damaged_depth_stream_costs_its_frame_only(tmp_path):
    path = write_sens(tmp_path, RECORDING)
    data = bytearray(path.read_bytes())
    begin = len(data) - _frame_sizes(data)[-1]
    *_, depth_size = struct.unpack_from('<16fQQQQ', data, begin)
    data[-depth_size] ^= 255
    path.write_bytes(data)
    sequence = open_sequence(path)
    assert (len(list(sequence)), sequence.skipped) == (2, 1)


def test_a_depth_stream_that_grows_is_not_followed(tmp_path):
    path = write_sens(tmp_path, RECORDING)
    data = path.read_bytes()
    bomb = zlib.compress(bytes(50_000_000))
    head = struct.Struct('<16fQQQQ')
    begin = len(data) - sum(_frame_sizes(data))
    values = list(head.unpack_from(data, begin))
    values[-1] = len(bomb)
    jpeg = data[begin + head.size : begin + head.size + values[-2]]
    path.write_bytes(data[:begin] + head.pack(*values) + jpeg + bomb)
    with pytest.raises(ValueError, match='ends in frame 1'):
        list(open_sequence(path))


def _frame_sizes(data):
    sizes, position = [], 4 + 8 + 15 + 4 * 64 + 36
    head = struct.Struct('<16fQQQQ')
    while position < len(data):
        *_, color, depth = head.unpack_from(data, position)
        sizes.append(head.size + color + depth)
        position += sizes[-1]
    return sizes


@pytest.mark.parametrize('line', ['1', '0 0 first'])
def test_a_trajectory_without_numbers_of_frames_is_named(line, tmp_path):
    write_open3d(tmp_path, RECORDING)
    (log,) = tmp_path.glob('**/*.log')
    log.write_text('\n'.join([line, *log.read_text().splitlines()[1:]]))
    with pytest.raises(ValueError, match=f'{log.name} has the line {line!r}, expected three'):
        open_sequence(tmp_path)


def test_images_of_two_sizes_are_never_mixed_up(tmp_path):
    write_arkitscenes(tmp_path, RECORDING)
    for file in (tmp_path / '42_frames' / 'lowres_wide').glob('*.png'):
        Image.open(file).resize((320, 240)).save(file)
    assert_same_world(open_sequence(tmp_path), colour=4.0)
