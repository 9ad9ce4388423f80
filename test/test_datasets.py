"""Folders of exactly the layouts of data sets, written from a scene of boxes and read back."""

import json
import logging
import struct
import zlib

import numpy as np
import pytest
from bag_files import to_file
from PIL import Image
from recorded_scene import POSES, SCENE, SMALL, assert_same_world, render, surface_error, views
from scipy.spatial.transform import Rotation

from lift_gs_ros.geometry import Camera, invert_transform
from lift_gs_ros.sequences import open_sequence

LARGE = Camera.from_focal(300, 304, 165, 118, 320, 240)  # of colour, where that is larger
OPENGL = np.diag([1.0, -1, -1, 1])
Y_UP_FROM_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
FRAMES = views()


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def save_color(path, pixels):
    save(path, to_file(pixels, 'JPEG' if path.suffix == '.jpg' else 'PNG'))


def save_depth(path, depth, units=1000):
    save(path, to_file(np.round(depth * units).astype(np.uint16), 'PNG'))


def colors(camera):
    return [render(SCENE, pose, camera=camera).color for pose in POSES]


def matrix4(camera):
    matrix = np.eye(4)
    matrix[:3, :3] = camera.intrinsics
    return matrix


def write_scannet(folder):
    for i, (frame, color) in enumerate(zip(FRAMES, colors(LARGE))):
        save_color(folder / 'color' / f'{i}.jpg', color)
        save_depth(folder / 'depth' / f'{i}.png', frame.depth)
        (folder / 'pose').mkdir(exist_ok=True)
        np.savetxt(folder / 'pose' / f'{i}.txt', frame.world_from_camera, fmt='%f')
    (folder / 'intrinsic').mkdir()
    for kind, camera in (('color', LARGE), ('depth', SMALL)):
        np.savetxt(folder / 'intrinsic' / f'intrinsic_{kind}.txt', matrix4(camera), fmt='%f')
        np.savetxt(folder / 'intrinsic' / f'extrinsic_{kind}.txt', np.eye(4), fmt='%f')
    return folder


def write_sens(folder, count=None):
    name = b'StructureSensor'
    parts = [struct.pack('<IQ', 4, len(name)), name]
    for matrix in (matrix4(LARGE), np.eye(4), matrix4(SMALL), np.eye(4)):
        parts.append(matrix.astype('<f4').tobytes())
    sizes = LARGE.width, LARGE.height, SMALL.width, SMALL.height
    parts.append(struct.pack('<iiIIIIfQ', 2, 1, *sizes, 1000.0, count or len(FRAMES)))
    for i, (frame, color) in enumerate(zip(FRAMES, colors(LARGE))):
        jpeg = to_file(color, 'JPEG')
        depth = zlib.compress(np.round(frame.depth * 1000).astype('<u2').tobytes())
        parts.append(frame.world_from_camera.astype('<f4').tobytes())
        parts += [struct.pack('<QQQQ', i, i, len(jpeg), len(depth)), jpeg, depth]
    path = folder / 'scene0000_00.sens'
    save(path, b''.join(parts))
    return path


def write_replica(folder):
    (folder / 'room0').mkdir()
    for i, frame in enumerate(FRAMES):
        save_color(folder / 'room0' / 'results' / f'frame{i:06d}.jpg', frame.color)
        save_depth(folder / 'room0' / 'results' / f'depth{i:06d}.png', frame.depth, 6553.5)
    lines = [' '.join(map(str, frame.world_from_camera.ravel())) for frame in FRAMES]
    (folder / 'room0' / 'traj.txt').write_text('\n'.join(lines) + '\n')
    (fx, _, cx), (_, fy, cy) = SMALL.intrinsics[:2]
    camera = {'w': 160, 'h': 120, 'fx': fx, 'fy': fy, 'cx': cx, 'cy': cy, 'scale': 6553.5}
    (folder / 'cam_params.json').write_text(json.dumps({'camera': camera}))
    return folder / 'room0'


def write_open3d(folder):
    lines = []
    for i, frame in enumerate(FRAMES):
        save_color(folder / 'image' / f'{i:05d}.jpg', frame.color)
        save_depth(folder / 'depth' / f'{i:05d}.png', frame.depth)
        lines.append(f'{i} {i} {i + 1}')
        lines += [' '.join(f'{x:.8f}' for x in row) for row in frame.world_from_camera]
    (folder / 'trajectory.log').write_text('\n'.join(lines) + '\n')
    intrinsics = {
        'width': SMALL.width,
        'height': SMALL.height,
        'intrinsic_matrix': SMALL.intrinsics.T.ravel().tolist(),
    }
    (folder / 'camera_intrinsic.json').write_text(json.dumps(intrinsics))
    return folder


def write_polycam(folder, corrected=True):
    kinds = ['', 'corrected_'] if corrected else ['']
    large = SMALL.resized(640, 480)
    (fx, _, cx), (_, fy, cy) = large.intrinsics[:2]
    for i, (frame, color) in enumerate(zip(FRAMES, colors(large))):
        name = str(1_000_000 + i * 100_000)
        pose = Y_UP_FROM_Z_UP @ frame.world_from_camera @ OPENGL
        for kind in kinds:
            # Before the optimisation the poses have drifted.
            shift = 0.0 if kind or not corrected else 0.3
            camera = {'fx': fx, 'fy': fy, 'cx': cx, 'cy': cy, 'width': 640, 'height': 480}
            camera |= {
                f't_{r}{c}': pose[r, c] + shift * (c == 3) for r in range(3) for c in range(4)
            }
            save(
                folder / 'keyframes' / f'{kind}cameras' / f'{name}.json',
                json.dumps(camera).encode(),
            )
            save_color(folder / 'keyframes' / f'{kind}images' / f'{name}.jpg', color)
        save_depth(folder / 'keyframes' / 'depth' / f'{name}.png', frame.depth)
        confidence = np.full(frame.depth.shape, 255, np.uint8)
        confidence[:, :10] = 0
        save(folder / 'keyframes' / 'confidence' / f'{name}.png', to_file(confidence, 'PNG'))
    return folder


def write_arkitscenes(folder, frames_folder='42_frames'):
    inside = folder / frames_folder if frames_folder else folder
    (fx, _, cx), (_, fy, cy) = SMALL.intrinsics[:2]
    lines = []
    for i, frame in enumerate(FRAMES):
        seconds = 100.1 + 0.1 * i
        save_color(inside / 'lowres_wide' / f'42_{seconds:.3f}.png', frame.color)
        save_depth(inside / 'lowres_depth' / f'42_{seconds:.3f}.png', frame.depth)
        pincam = inside / 'lowres_wide_intrinsics' / f'42_{seconds + 0.001 * (i - 1):.3f}.pincam'
        save(pincam, f'160 120 {fx} {fy} {cx} {cy}'.encode())
        for side in (-0.04, 0.04):  # the camera moves along x at a constant speed
            moved = frame.world_from_camera.copy()
            moved[0, 3] += side
            inverse = invert_transform(moved)
            turn = Rotation.from_matrix(inverse[:3, :3]).as_rotvec()
            numbers = [seconds + side, *turn, *inverse[:3, 3]]
            lines.append(' '.join(f'{number:.6f}' for number in numbers))
    (inside / 'lowres_wide.traj').write_text('\n'.join(lines) + '\n')
    return folder


WRITERS = {
    'ScanNet': write_scannet,
    'ScanNet .sens': write_sens,
    'Replica': write_replica,
    'Open3D': write_open3d,
    'Polycam': write_polycam,
    'ARKitScenes': write_arkitscenes,
}


@pytest.mark.parametrize('name', WRITERS)
def test_a_folder_of_the_layout_reads_back_to_the_same_world(name, tmp_path):
    sequence = open_sequence(WRITERS[name](tmp_path))
    frames = list(sequence)
    assert (len(sequence), sequence.skipped) == (3, 0)
    if name == 'Polycam':  # a strip of low confidence
        assert (frames[0].depth[:, :10] == 0).all()
        assert all(surface_error(frame).max() < 2e-3 for frame in frames)
    assert_same_world(frames, colour=4.0)
    assert frames[0].depth.shape == (120, 160)
    stamps = [frame.stamp for frame in frames]
    assert np.allclose(np.diff(stamps) / 1e9, 1 / sequence.rate, rtol=1e-3)


def test_polycam_without_optimised_poses_has_those_of_arkit(tmp_path):
    assert_same_world(open_sequence(write_polycam(tmp_path, corrected=False)), colour=4.0)


def test_raw_arkitscenes_have_their_files_in_the_video_itself(tmp_path):
    assert_same_world(open_sequence(write_arkitscenes(tmp_path, '')), colour=1.0)


def test_replica_without_a_camera_file_has_that_of_nice_slam(tmp_path):
    room = write_replica(tmp_path)
    (tmp_path / 'cam_params.json').unlink()
    frame = next(iter(open_sequence(room)))
    expected = Camera.from_focal(600, 600, 599.5, 339.5, 1200, 680).resized(160, 120)
    assert np.allclose(frame.camera.intrinsics, expected.intrinsics)


# Bad input.


def test_lost_tracking_and_damaged_images_cost_their_frames_only(tmp_path, caplog):
    write_scannet(tmp_path)
    (tmp_path / 'pose' / '0.txt').write_text('-inf -inf -inf -inf\n' * 4)
    color = tmp_path / 'color' / '1.jpg'
    color.write_bytes(color.read_bytes()[:500])
    sequence = open_sequence(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert_same_world(sequence, POSES[2:], colour=4.0)
    assert sequence.skipped == 2
    assert 'NaN or inf' in caplog.text
    assert 'cannot be decoded' in caplog.text


@pytest.mark.parametrize('name', WRITERS)
def test_a_missing_image_costs_its_frame_only(name, tmp_path):
    path = WRITERS[name](tmp_path)
    if path.is_file():
        pytest.skip('all images are in one file')
    middle = [file for file in path.rglob('*') if file.suffix in ('.jpg', '.png')]
    for folder in {file.parent for file in middle if 'depth' not in str(file)}:
        sorted(folder.glob('*'))[1].write_bytes(b'')  # unlinked, Open3D's order would shift
    sequence = open_sequence(path)
    assert (len(list(sequence)), sequence.skipped) == (2, 1)


@pytest.mark.parametrize('keep', [0.5, 0.9])
def test_a_sens_file_cut_off_gives_what_is_whole_and_says_so(keep, tmp_path):
    path = write_sens(tmp_path)
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


def test_a_depth_stream_that_grows_is_not_followed(tmp_path):
    path = write_sens(tmp_path)
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


def test_as_many_colour_as_depth_images_are_wanted(tmp_path):
    write_open3d(tmp_path)
    (tmp_path / 'depth' / '00001.png').unlink()
    with pytest.raises(ValueError, match='3 colour and 2 depth images'):
        open_sequence(tmp_path)


def test_images_of_two_sizes_are_never_mixed_up(tmp_path):
    write_arkitscenes(tmp_path)
    for file in (tmp_path / '42_frames' / 'lowres_wide').glob('*.png'):
        Image.open(file).resize((320, 240)).save(file)
    assert_same_world(open_sequence(tmp_path), colour=4.0)
