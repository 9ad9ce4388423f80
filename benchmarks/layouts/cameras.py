"""Layouts of data sets that depth cameras recorded; each reader's docstring describes its own."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from benchmarks.layouts.recording import (
    OPENGL,
    Recording,
    focal,
    image_file,
    place_and_turn,
    save,
    save_color,
    save_depth,
    text,
)
from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.sequences import seven_scenes, tum


def write_seven_scenes(
    folder: Path, recording: Recording, registered: bool = False, start: int = 0, step: int = 1
) -> Path:
    """Write 7-Scenes; where not registered, with colour as the other camera sees it."""
    to_color = np.eye(4)
    to_color[:3, 3] = -seven_scenes.COLOR_FROM_DEPTH
    for i, frame, pose in recording.frames(seven_scenes.DEPTH_CAMERA):
        color = frame.color
        if not registered:
            color = recording.view(recording.poses[i] @ to_color, seven_scenes.COLOR_CAMERA).color
        stem = folder / f'frame-{start + i * step:06d}'
        save_color(Path(f'{stem}.color.png'), color)
        save_depth(Path(f'{stem}.depth.png'), frame.depth)
        save(Path(f'{stem}.pose.txt'), '\n'.join(text(row, '.4f') for row in pose))
    return folder


def tum_camera(name: str = 'freiburg3') -> Camera:
    """Return the camera of one of TUM's three rigs."""
    fx, fy, cx, cy = tum.INTRINSICS[name]
    return Camera.from_focal(fx, fy, cx, cy, 640, 480)


def pose_line(stamp: float, pose: FloatArray) -> str:
    """Line of a trajectory in TUM's format."""
    return f'{stamp:.4f} {text(np.array(place_and_turn(pose)), ".4f")}\n'


def write_tum(folder: Path, recording: Recording) -> Path:
    """Write frames every 0.1 s, colour 8 ms late, and poses 20 ms apart, on both sides of each."""
    rgb, depth, truth = ['# stamp file\n'], ['# stamp file\n'], ['# stamp pose\n']
    for i, frame, pose in recording.frames(tum_camera()):
        stamp = 100 + 0.1 * i
        save_color(folder / 'rgb' / f'{i}.png', frame.color)
        save_depth(folder / 'depth' / f'{i}.png', frame.depth, 5000)
        rgb.append(f'{stamp + 0.008:.4f} rgb/{i}.png\n')
        depth.append(f'{stamp:.4f} depth/{i}.png\n')
        for side in (-0.01, 0.01):  # the camera moves along x at a constant speed
            moved = pose.copy()
            moved[0, 3] += side
            truth.append(pose_line(stamp + side, moved))
    for name, lines in (('rgb', rgb), ('depth', depth), ('groundtruth', truth)):
        save(folder / f'{name}.txt', ''.join(lines))
    return folder


def write_tum_keyframes(folder: Path, recording: Recording) -> Path:
    """Write TUM's images as numbered keyframes with a settings file."""
    lines = []
    for i, frame, pose in recording.frames(tum_camera('freiburg1')):
        save_color(folder / 'raw_imgs' / f'{i:04d}_rgb_raw.jpg', frame.color)
        save_depth(folder / 'depth_imgs' / f'{i:04d}_depth_raw.png', frame.depth, 2000)
        lines.append(pose_line(100 + 0.5 * i, pose))
    save(folder / 'truth_cam_poses.txt', ''.join(lines))
    fx, fy, cx, cy = tum.INTRINSICS['freiburg1']
    settings = f'Camera.fx: {fx}\nCamera.fy: {fy}\nCamera.cx: {cx}\nCamera.cy: {cy}\n'
    save(folder / 'camera.yaml', f'%YAML:1.0\n{settings}DepthMapFactor: 2000.0\n')
    return folder


def _matrix4(camera: Camera) -> FloatArray:
    matrix = np.eye(4)
    matrix[:3, :3] = camera.intrinsics
    return matrix


def write_scannet(folder: Path, recording: Recording) -> Path:
    """Write what ScanNet's reader.py exports."""
    for i, frame, pose in recording.frames():
        save_color(folder / 'color' / f'{i}.jpg', recording.color(i))
        save_depth(folder / 'depth' / f'{i}.png', frame.depth)
        save(folder / 'pose' / f'{i}.txt', '\n'.join(text(row, 'f') for row in pose))
    (folder / 'intrinsic').mkdir()
    for kind, camera in (('color', recording.color_camera), ('depth', recording.camera)):
        np.savetxt(folder / 'intrinsic' / f'intrinsic_{kind}.txt', _matrix4(camera), fmt='%f')
        np.savetxt(folder / 'intrinsic' / f'extrinsic_{kind}.txt', np.eye(4), fmt='%f')
    return folder


def write_sens(folder: Path, recording: Recording) -> Path:
    """Write ScanNet's own file."""
    name = b'StructureSensor'
    colors, depths = recording.color_camera, recording.camera
    parts = [struct.pack('<IQ', 4, len(name)), name]
    for matrix in (_matrix4(colors), np.eye(4), _matrix4(depths), np.eye(4)):
        parts.append(matrix.astype('<f4').tobytes())
    sizes = colors.width, colors.height, depths.width, depths.height
    parts.append(struct.pack('<iiIIIIfQ', 2, 1, *sizes, 1000.0, len(recording.poses)))
    for i, frame, pose in recording.frames():
        jpeg = image_file(recording.color(i), 'JPEG')
        depth = zlib.compress(np.round(frame.depth * 1000).astype('<u2').tobytes())
        parts.append(pose.astype('<f4').tobytes())
        parts += [struct.pack('<QQQQ', i, i, len(jpeg), len(depth)), jpeg, depth]
    path = folder / 'scene0000_00.sens'
    save(path, b''.join(parts))
    return path


def write_open3d(folder: Path, recording: Recording) -> Path:
    """Write a folder as Open3D's reconstruction system has it."""
    lines = []
    for i, frame, pose in recording.frames():
        save_color(folder / 'image' / f'{i:05d}.jpg', frame.color)
        save_depth(folder / 'depth' / f'{i:05d}.png', frame.depth)
        lines += [f'{i} {i} {i + 1}', *(text(row) for row in pose)]
    save(folder / 'trajectory.log', '\n'.join(lines) + '\n')
    intrinsics = {
        'width': recording.camera.width,
        'height': recording.camera.height,
        'intrinsic_matrix': recording.camera.intrinsics.T.ravel().tolist(),
    }
    save(folder / 'camera_intrinsic.json', intrinsics)
    return folder


def write_matterport(folder: Path, recording: Recording) -> Path:
    """Write the undistorted images of a house; pixels are counted from the bottom left."""
    (fx, fy, cx, cy), height = focal(recording.camera), recording.camera.height
    lines = [
        'dataset matterport',
        f'n_images {len(recording.poses)}',
        'depth_directory undistorted_depth_images',
        'color_directory undistorted_color_images',
        f'intrinsics_matrix {fx} 0 {cx}  0 {fy} {height - 1 - cy}  0 0 1',
    ]
    for i, frame, pose in recording.frames():
        depth, color = f'0123abcd_d{i // 6}_{i % 6}.png', f'0123abcd_i{i // 6}_{i % 6}.jpg'
        save_color(folder / 'undistorted_color_images' / color, frame.color)
        save_depth(folder / 'undistorted_depth_images' / depth, frame.depth, 4000)
        lines.append(f'scan {depth} {color} {text(pose @ OPENGL)}')
    save(folder / 'undistorted_camera_parameters' / 'house.conf', '\n'.join(lines) + '\n')
    return folder
