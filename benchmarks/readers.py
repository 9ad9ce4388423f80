"""Frames a second of each reader of recordings: python -m benchmarks.readers.

A simulated room is written in each layout of ``benchmarks/layouts``, in the sizes of the real data
sets, and read back to ``RgbdFrame``; files are in the page cache, so that decoding is what counts,
not the disk. The clock is the CPU time of the process, all its threads. Beside it, kilobytes of a
frame on disk, and of a labelled one in the cache of pseudo-labels, as a dry run of
``training.pseudolabel`` estimates it from the first frame.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.layouts import BAG_WRITERS, WRITERS, Recording
from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.sequences import open_sequence
from lift_gs_ros.simulation.camera import SimulatedCamera
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import RoomSequence
from training.labelling.settings import JobSettings
from training.pseudolabel import frame_sizes
from training.teachers.load import TeacherSpec

LAYOUTS = WRITERS | BAG_WRITERS
KINECT = Camera.from_focal(585.0, 585.0, 319.5, 239.5, 640, 480)
# Depth, and colour where it has other pixels, as in the data sets; others: KINECT for both.
CAMERAS = {
    'ScanNet': (KINECT, Camera.from_focal(1170, 1170, 647.5, 483.5, 1296, 968)),
    'ScanNet++ iPhone': (KINECT.resized(256, 192), None),  # writes colour four times as wide
    'ARKitScenes': (KINECT.resized(256, 192), None),
    'Polycam': (KINECT.resized(256, 192), None),
    'Record3D': (KINECT.resized(256, 192), None),
    'Matterport3D': (KINECT.resized(1280, 1024), None),
    'Replica': (Camera.from_focal(600, 600, 599.5, 339.5, 1200, 680), None),
    'Structured3D': (KINECT.resized(1280, 720), None),
    'Taskonomy': (KINECT.resized(512, 512), None),
    'ScanNet++ DSLR': (KINECT, Camera.from_focal(790, 790, 875.5, 583.5, 1752, 1168)),
}
CAMERAS['ScanNet .sens'] = CAMERAS['ScanNet']


def make_recording(name: str, count: int) -> Recording:
    """Return a walk through a room, to be rendered in a layout's sizes."""
    sequence = RoomSequence(make_room(0), num_frames=count)

    def view(pose: FloatArray, camera: Camera) -> RgbdFrame:
        return SimulatedCamera(camera).view(sequence.scene, pose).frame

    depth, color = CAMERAS.get(name, (KINECT, None))
    return Recording(view, list(sequence.path), depth, color or depth)


def time_reader(name: str, frames: int, repeats: int) -> None:
    """Write a recording, read it some times, and report."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / 'rgbd_freiburg3_room'  # a name by which TUM's camera is known
        empty.mkdir()
        path = LAYOUTS[name](empty, make_recording(name, frames))
        files = [path] if path.is_file() else [f for f in path.rglob('*') if f.is_file()]
        kilobytes = sum(file.stat().st_size for file in files) / frames / 1000
        rates = []
        for _ in range(repeats + 1):
            start = time.process_time()
            read = sum(1 for _ in open_sequence(path))
            rates.append(read / (time.process_time() - start))
        first = next(iter(open_sequence(path)))
        cached, _ = frame_sizes('scene', first, JobSettings(TeacherSpec('simulated')))
        if read != frames:
            raise RuntimeError(f'{name}: {read} of {frames} frames were read')
    spread = min(rates[1:]), max(rates[1:])  # the first fills the page cache
    note = f'{kilobytes:.0f} kB a frame on disk, {cached / 1000:.0f} kB a labelled one in the cache'
    report(f'reader, {name}', float(np.median(rates[1:])), 'frames/CPU s', spread, note)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description='Time the readers of recordings.')
    parser.add_argument('names', nargs='*', metavar='NAME', help=f'of {", ".join(LAYOUTS)} (all)')
    parser.add_argument('--frames', type=int, default=20)
    parser.add_argument('--repeats', type=int, default=5)
    arguments = parser.parse_args()
    for name in arguments.names or LAYOUTS:
        time_reader(name, arguments.frames, arguments.repeats)


if __name__ == '__main__':
    main()
