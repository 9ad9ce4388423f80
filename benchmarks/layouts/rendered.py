"""Layouts of data sets that were rendered; each reader's docstring describes its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.layouts.lens import Lens
from benchmarks.layouts.recording import (
    OPENGL,
    Recording,
    focal,
    place_and_turn,
    save,
    save_color,
    save_depth,
    text,
)
from lift_gs_ros.geometry import Camera, invert_transform
from lift_gs_ros.sequences import aria_synthetic, icl_nuim

MIRROR_Y = np.diag([1.0, -1, 1, 1])
SWAP_Y_Z = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def centred(width: int, height: int, fx: float, fy: float) -> Camera:
    """Return a camera whose axis goes through the middle of the image."""
    return Camera.from_focal(fx, fy, (width - 1) / 2, (height - 1) / 2, width, height)


def write_replica(folder: Path, recording: Recording) -> Path:
    """Write a room as NICE-SLAM ships it."""
    lines = []
    for i, frame, pose in recording.frames():
        save_color(folder / 'room0' / 'results' / f'frame{i:06d}.jpg', frame.color)
        save_depth(folder / 'room0' / 'results' / f'depth{i:06d}.png', frame.depth, 6553.5)
        lines.append(text(pose))
    save(folder / 'room0' / 'traj.txt', '\n'.join(lines) + '\n')
    camera = recording.camera
    values = [camera.width, camera.height, *focal(camera), 6553.5]
    names = ['w', 'h', 'fx', 'fy', 'cx', 'cy', 'scale']
    save(folder / 'cam_params.json', {'camera': dict(zip(names, values))})
    return folder / 'room0'


def write_icl_nuim(folder: Path, recording: Recording) -> Path:
    """Write a trajectory with POV-Ray's poses: camera and world left-handed, y up."""
    pairs, poses = [], []
    camera = icl_nuim.CAMERA.resized(recording.camera.width, recording.camera.height)
    for i, frame, pose in recording.frames(camera):
        save_color(folder / 'rgb' / f'{i}.png', frame.color)
        save_depth(folder / 'depth' / f'{i}.png', frame.depth, 5000)
        pairs.append(f'{i} depth/{i}.png {i} rgb/{i}.png')
        poses.append(f'{i} {text(np.array(place_and_turn(SWAP_Y_Z @ pose @ MIRROR_Y)))}')
    save(folder / 'associations.txt', '\n'.join(pairs) + '\n')
    save(folder / 'livingRoom0.gt.freiburg', '\n'.join(poses) + '\n')
    return folder


def write_structured3d(folder: Path, recording: Recording) -> Path:
    """Write a scene of one room, eyes in millimetres and half the angles of view."""
    fx, fy, _, _ = focal(recording.camera)
    camera = centred(recording.camera.width, recording.camera.height, fx, fy)
    half = np.arctan([camera.width / 2 / fx, camera.height / 2 / fy])
    for i, frame, pose in recording.frames(camera):
        position = folder / '2D_rendering' / '485142' / 'perspective' / 'full' / str(i)
        save_color(position / 'rgb_rawlight.png', frame.color)
        save_depth(position / 'depth.png', frame.depth)
        parts = [1000 * pose[:3, 3], pose[:3, 2], -pose[:3, 1], half, [1]]
        save(position / 'camera_pose.txt', text(np.concatenate(parts), '.9g'))
    return folder


def write_taskonomy(folder: Path, recording: Recording) -> Path:
    """Write a building of square images, with a view for each of two angles."""
    size = recording.camera.height
    for i, pose in enumerate(recording.poses):
        angle = np.radians(50 + 20 * (i % 2))
        f = size / 2 / np.tan(angle / 2)
        frame = recording.view(pose, centred(size, size, f, f))
        stem = f'point_{i}_view_0_domain'
        save_color(folder / 'rgb' / f'{stem}_rgb.png', frame.color)
        depth = np.where(frame.depth > 0, frame.depth, 65535 / 512)
        save_depth(folder / 'depth_zbuffer' / f'{stem}_depth_zbuffer.png', depth, 512)
        turn = Rotation.from_matrix((pose @ OPENGL)[:3, :3])
        info = {
            'camera_location': recording.written_pose(i)[:3, 3].tolist(),
            'camera_rotation_final': turn.as_euler('xyz').tolist(),
            'field_of_view_rads': angle,
            'resolution': 1024,
        }
        save(folder / 'point_info' / f'{stem}_point_info.json', info)
    return folder


def write_aria_synthetic(folder: Path, recording: Recording) -> Path:
    """Write a scene as the glasses' lens sees it, a quarter turn from upright."""
    model = aria_synthetic.LENS
    lens = Lens(model.intrinsics, model.width, model.height, model.radial, model.tangential)
    quarter = np.eye(4)  # the stored image's optical frame in that of the upright one
    quarter[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    header = 'graph_uid,tracking_timestamp_us,utc_timestamp_ns,tx_world_device,ty_world_device'
    lines = [header + ',tz_world_device,qx_world_device,qy_world_device,qz_world_device,qw']
    for i, pose in enumerate(recording.poses):
        frame = recording.view(pose @ quarter, lens)
        color, depth = frame.color * lens.seen[..., None], frame.depth * lens.seen
        save_color(folder / 'rgb' / f'vignette{i:07d}.jpg', color)
        save_depth(folder / 'depth' / f'depth{i:07d}.png', depth * lens.ray_length)
        written = recording.written_pose(i)
        device = written @ quarter @ invert_transform(aria_synthetic.DEVICE_FROM_CAMERA)
        values = ','.join(f'{value:.9f}' for value in place_and_turn(device))
        lines.append(f'uid,{100_000 * i},-1,{values},0,0,-9.81,1')
    save(folder / 'trajectory.csv', '\n'.join(lines) + '\n')
    return folder


def write_scannetpp_dslr(folder: Path, recording: Recording) -> Path:
    """Write a DSLR's images with depth rendered as the toolkit does, in nerfstudio's world."""
    fx, fy, cx, cy = focal(recording.color_camera)
    width, height = recording.color_camera.width, recording.color_camera.height
    radial = (0.05, -0.02, 0.01, -0.002)
    lens = Lens(recording.color_camera.intrinsics, width, height, radial)
    names = ['fl_x', 'fl_y', 'cx', 'cy', 'w', 'h', 'k1', 'k2', 'k3', 'k4', 'camera_model']
    values = [fx, fy, cx + 0.5, cy + 0.5, width, height, *radial, 'OPENCV_FISHEYE']
    shots = []
    for i, frame, pose in recording.frames(lens):
        save_color(folder / 'dslr' / 'resized_images' / f'DSC{i:05d}.JPG', frame.color)
        save_depth(folder / 'dslr' / 'render_depth' / f'DSC{i:05d}.png', frame.depth)
        matrix = (pose @ OPENGL)[[1, 0, 2, 3]]
        matrix[2] *= -1
        shots.append({'file_path': f'DSC{i:05d}.JPG', 'transform_matrix': matrix.tolist()})
    transforms = {**dict(zip(names, values)), 'frames': shots[1:], 'test_frames': shots[:1]}
    save(folder / 'dslr' / 'nerfstudio' / 'transforms.json', transforms)
    return folder
