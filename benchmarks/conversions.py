"""Messages to arrays and back, against a plain copy: python -m benchmarks.conversions.

A PointCloud2 of 300 000 points (x y z rgb) and 640x480 images. What a conversion is held against is
a copy of what it makes: arrays of positions and colours or of pixels, or the bytes of a message
into the array that a message holds them in. Both alternate, and the clock is the CPU time of the
process, so that what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import array
import statistics
import time
from collections.abc import Callable

import numpy as np
from std_msgs.msg import Header

from benchmarks import report
from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.nodes import conversions
from lift_gs_ros.nodes.point_clouds import cloud_from_message, cloud_to_message

HEIGHT, WIDTH = 480, 640
GOAL = 'goal: 1.5 at most'


def seconds(work: Callable[[], object]) -> float:
    """CPU time of a call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def compare(
    name: str, convert: Callable[[], object], copy: Callable[[], object], repeats: int, note: str
) -> None:
    """Report how long a conversion takes, and how much longer than copying what it makes."""
    convert(), copy()  # compiles and warms up
    pairs = [(seconds(convert), seconds(copy)) for _ in range(repeats)]
    own, plain = (1e3 * statistics.median(times) for times in zip(*pairs))
    report(name, own, 'ms', (1e3 * min(pairs)[0], 1e3 * max(pairs)[0]), note)
    report(f'{name}, against a copy', own / max(plain, 1e-6), 'x', None, GOAL)


def copy_message(message) -> Callable[[], object]:
    """Return what copies the bytes of a message as they are."""

    def copy() -> object:
        data = array.array('B')
        data.frombytes(message.data)
        return data

    return copy


def compare_clouds(points: int, repeats: int) -> None:
    """PointCloud2 both ways."""
    rng = np.random.default_rng(0)
    cloud = PointCloud(rng.normal(size=(points, 3)), rng.random((points, 3)))
    message = cloud_to_message(cloud, Header())
    note = f'{points} points'

    def copy() -> object:
        return cloud.positions.copy(), cloud.colors.copy()

    def write() -> object:
        return cloud_to_message(cloud, Header())

    compare('PointCloud2 to points', lambda: cloud_from_message(message), copy, repeats, note)
    compare('points to PointCloud2', write, copy_message(message), repeats, note)


def compare_images(repeats: int) -> None:
    """Colour and both kinds of depth, both ways."""
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    depth = rng.uniform(0.3, 5, (HEIGHT, WIDTH)).astype(np.float32)
    note = f'{WIDTH}x{HEIGHT}'
    rgb = conversions.image_from_color(color, Header())
    bgr = conversions.image_from_color(color, Header())
    bgr.encoding = 'bgr8'
    write_color, read_color = conversions.image_from_color, conversions.color_from_image
    copied = copy_message(rgb)
    compare('colour to rgb8', lambda: write_color(color, Header()), copied, repeats, note)
    compare('rgb8 to colour', lambda: read_color(rgb), color.copy, repeats, note + '; a view')
    compare('bgr8 to colour', lambda: read_color(bgr), color.copy, repeats, note)
    for encoding in ('16UC1', '32FC1'):
        message = conversions.image_from_depth(depth, Header(), encoding)

        def write(encoding: str = encoding) -> object:
            return conversions.image_from_depth(depth, Header(), encoding)

        def read(message=message) -> object:
            return conversions.depth_from_image(message)

        compare(f'depth to {encoding}', write, copy_message(message), repeats, note)
        compare(f'{encoding} to depth', read, depth.copy, repeats, note)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description='Time conversions against plain copies.')
    parser.add_argument('--points', type=int, default=300_000)
    parser.add_argument('--repeats', type=int, default=51)
    arguments = parser.parse_args()
    compare_clouds(arguments.points, arguments.repeats)
    compare_images(arguments.repeats)


if __name__ == '__main__':
    main()
