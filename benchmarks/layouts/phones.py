"""Layouts of what phones record; each reader's docstring describes its own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import lzfse
import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.layouts.recording import (
    OPENGL,
    Y_UP_FROM_Z_UP,
    Recording,
    focal,
    image_file,
    place_and_turn,
    save,
    save_color,
    save_depth,
    text,
)
from lift_gs_ros.geometry import Camera, invert_transform


def _photo(recording: Recording) -> Camera:
    """Return the camera of the image, which has depth's rays and more pixels."""
    return recording.camera.resized(4 * recording.camera.width, 4 * recording.camera.height)


def write_scannetpp(folder: Path, recording: Recording) -> Path:
    """Write every tenth frame of an iPhone's video, as the toolkit extracts it."""
    poses = {}
    for i, frame, pose in recording.frames():
        name = f'frame_{10 * i:06d}'
        save_color(folder / 'iphone' / 'rgb' / f'{name}.jpg', recording.color(i, _photo(recording)))
        save_depth(folder / 'iphone' / 'depth' / f'{name}.png', frame.depth)
        poses[name] = {
            'pose': np.eye(4).tolist(),  # ARKit's own
            'aligned_pose': pose.tolist(),
            'intrinsic': _photo(recording).intrinsics.tolist(),
        }
        poses[f'frame_{10 * i + 1:06d}'] = poses[name]  # not extracted
    save(folder / 'iphone' / 'pose_intrinsic_imu.json', poses)
    return folder


def write_polycam(folder: Path, recording: Recording, corrected: bool = True) -> Path:
    """Write Polycam's raw export; before the optimisation the poses have drifted."""
    names = ['fx', 'fy', 'cx', 'cy', 'width', 'height']
    photo = _photo(recording)
    for i, frame, written in recording.frames():
        name = str(1_000_000 + i * 100_000)
        pose = Y_UP_FROM_Z_UP @ written @ OPENGL
        for kind in ['', 'corrected_'] if corrected else ['']:
            shift = 0.0 if kind or not corrected else 0.3
            camera = dict(zip(names, [*focal(photo), photo.width, photo.height]))
            camera |= {
                f't_{r}{c}': pose[r, c] + shift * (c == 3) for r in range(3) for c in range(4)
            }
            save(folder / 'keyframes' / f'{kind}cameras' / f'{name}.json', camera)
            images = folder / 'keyframes' / f'{kind}images'
            save_color(images / f'{name}.jpg', recording.color(i, photo))
        save_depth(folder / 'keyframes' / 'depth' / f'{name}.png', frame.depth)
        confidence = np.full(frame.depth.shape, 255, np.uint8)
        confidence[:, :10] = 0
        save_color(folder / 'keyframes' / 'confidence' / f'{name}.png', confidence)
    return folder


def write_arkitscenes(folder: Path, recording: Recording, frames_folder: str = '42_frames') -> Path:
    """Write a video, with the calibrations' stamps up to a millisecond off."""
    inside = folder / frames_folder if frames_folder else folder
    size = recording.camera.width, recording.camera.height
    lines = []
    for i, frame, pose in recording.frames():
        seconds = 100.1 + 0.1 * i
        save_color(inside / 'lowres_wide' / f'42_{seconds:.3f}.png', frame.color)
        save_depth(inside / 'lowres_depth' / f'42_{seconds:.3f}.png', frame.depth)
        pincam = f'42_{seconds + 0.001 * (i % 3 - 1):.3f}.pincam'
        values = text(np.array([*size, *focal(recording.camera)]), '.9g')
        save(inside / 'lowres_wide_intrinsics' / pincam, values)
        for side in (-0.04, 0.04):  # the camera moves along x at a constant speed
            moved = pose.copy()
            moved[0, 3] += side
            line = [np.nan] * 6  # of a pose that is none
            if np.isfinite(moved).all():
                inverse = invert_transform(moved)
                turn = Rotation.from_matrix(inverse[:3, :3]).as_rotvec()
                line = [*turn, *inverse[:3, 3]]
            lines.append(text(np.array([seconds + side, *line]), '.6f'))
    save(inside / 'lowres_wide.traj', '\n'.join(lines) + '\n')
    return folder


def write_record3d(folder: Path, recording: Recording) -> Path:
    """Write an .r3d file."""
    photo = _photo(recording)
    path = folder / 'walk.r3d'
    poses = []
    with zipfile.ZipFile(path, 'w') as archive:
        for i, frame, pose in recording.frames():
            x, y, z, *turn = place_and_turn(Y_UP_FROM_Z_UP @ pose @ OPENGL)
            poses.append([*turn, x, y, z])
            confidence = np.full(frame.depth.shape, 2, np.uint8)
            confidence[:, :10] = 0
            depth = np.where(frame.depth > 0, frame.depth, np.nan).astype('<f4')
            archive.writestr(f'rgbd/{i}.jpg', image_file(recording.color(i, photo), 'JPEG'))
            archive.writestr(f'rgbd/{i}.depth', lzfse.compress(depth.tobytes()))
            archive.writestr(f'rgbd/{i}.conf', lzfse.compress(confidence.tobytes()))
        metadata = {
            'w': photo.width,
            'h': photo.height,
            'dw': recording.camera.width,
            'dh': recording.camera.height,
            'fps': 10,
            'K': photo.intrinsics.T.ravel().tolist(),
            'perFrameIntrinsicCoeffs': [focal(photo)] * len(poses),
            'frameTimestamps': [5 + 0.1 * i for i in range(len(poses))],
            'poses': poses,
        }
        archive.writestr('metadata', json.dumps(metadata))
    return path
