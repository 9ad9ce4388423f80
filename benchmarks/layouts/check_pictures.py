"""The pictures of docs/your_robot.md: python -m benchmarks.layouts.check_pictures docs/images.

A part of a walk through simulated room 0 is written as a recording: once as it should be, once with
its poses inverted, once with colour that is not registered. ``lift-gs sequences check`` looks at
each; its pictures become ``check_right.png``, ``check_inverted.png``, ``check_unregistered.png``.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

from benchmarks.layouts import WRITERS, Recording
from lift_gs_ros import cli
from lift_gs_ros.geometry import Camera, FloatArray, invert_transform
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.simulation.camera import SimulatedCamera
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import RoomSequence

DEPTH = Camera.from_focal(270.0, 270.0, 159.5, 119.5, 320, 240)
COLOR = Camera.from_focal(300.0, 300.0, 159.5, 119.5, 320, 240)  # sees less, as colour mostly does
ASIDE = 0.05  # metres from the one camera to the other, where depth is not registered
STEPS, FIRST = 240, 17  # of the walk; from here on it crosses the room
WIDTH, SHADES = 1000, 160  # of a picture: small enough for a repository


def make_recordings(frames: int) -> dict[str, Recording]:
    """Return the walk as it should be recorded, and wrong in two ways."""
    sequence = RoomSequence(make_room(0), STEPS)

    def view(pose: FloatArray, camera: Camera) -> RgbdFrame:
        return SimulatedCamera(camera).view(sequence.scene, pose).frame

    def unregistered(pose: FloatArray, camera: Camera) -> RgbdFrame:
        beside = pose.copy()
        beside[:3, 3] += ASIDE * pose[:3, 0]
        return replace(view(pose, camera), color=view(beside, COLOR).color)

    poses = sequence.path[FIRST : FIRST + frames]
    inverted = [invert_transform(pose) for pose in poses]
    return {
        'right': Recording(view, poses, DEPTH, DEPTH),
        'inverted': Recording(view, poses, DEPTH, DEPTH, written=inverted),
        'unregistered': Recording(unregistered, poses, DEPTH, DEPTH),
    }


def draw(recording: Recording, path: Path) -> None:
    """Write a recording, check it as a user does, and save the picture, made small."""
    with tempfile.TemporaryDirectory() as folder:
        walk = WRITERS['Open3D'](Path(folder), recording)
        cli.main(['sequences', 'check', str(walk), '--out', folder])
        with Image.open(Path(folder) / 'check.png') as picture:
            small = picture.resize((WIDTH, picture.height * WIDTH // picture.width))
            # Keeps the red of thin lines, where other ways merge it with what is beside them.
            few = small.quantize(SHADES, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            few.save(path, optimize=True)


def main() -> None:
    """Draw all three."""
    parser = argparse.ArgumentParser(description='Draw what lift-gs sequences check shows.')
    parser.add_argument('folder', type=Path, help='for the pictures')
    parser.add_argument('--frames', type=int, default=20)
    arguments = parser.parse_args()
    for name, recording in make_recordings(arguments.frames).items():
        draw(recording, arguments.folder / f'check_{name}.png')


if __name__ == '__main__':
    main()
