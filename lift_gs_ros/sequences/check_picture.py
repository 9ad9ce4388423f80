"""One picture that shows whether a recording was understood."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from lift_gs_ros import drawing
from lift_gs_ros.geometry import Camera, PointCloud, look_at
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.sequences.agreement import TOLERANCE, carried
from lift_gs_ros.sequences.edges import depth_edges

SIZE = (640, 480)
AGREE, BEHIND, BEFORE = (60, 200, 60), (60, 90, 255), (255, 60, 60)
POINTS = 150_000


def draw_check(frames: list[RgbdFrame]) -> Image.Image:
    """Draw depth edges on colour, agreement of two frames, and the fused points from two sides."""
    cloud = _fuse(frames)
    pictures = [
        drawing.with_caption(_registration(frames), 'Depth edges (red) must lie on outlines'),
        drawing.with_caption(
            _agreement(frames),
            'A frame seen from another: green agrees, red before, blue behind',
        ),
        drawing.with_caption(_from_side(cloud), 'All frames: walls must be straight and single'),
        drawing.with_caption(_from_above(cloud, frames), 'From above (+z), and the path (red)'),
    ]
    return drawing.tile(pictures)


def _registration(frames: list[RgbdFrame]) -> Image.Image:
    """Draw the depth edges of the frame that has most; the rest is grey, for things may be red."""
    frame = max(frames, key=lambda frame: depth_edges(frame.depth).sum())
    image = Image.fromarray(frame.color).convert('L').convert('RGB').resize(SIZE)
    edges = Image.fromarray(255 * depth_edges(frame.depth).astype(np.uint8))
    # No line is lost where a large image is made small, and all are wide enough to be seen.
    lines = edges.resize(SIZE, Image.Resampling.BOX).point(lambda share: 255 * (share > 0))
    image.paste(BEFORE, mask=lines.filter(ImageFilter.MaxFilter(3)))
    return image


def _agreement(frames: list[RgbdFrame]) -> Image.Image:
    """Colour the pixels of a frame by how its depth agrees with that of a frame before."""
    second = frames[len(frames) // 2]
    first = frames[max(0, len(frames) // 2 - 2)]
    pixels = (0.6 * second.color).astype(np.uint8)
    points = first.camera.unproject(first.depth)[first.depth > 0]
    expected, measured, places = carried(points, first, second)
    seen = np.isfinite(measured)
    error = ((expected - measured) / measured)[seen]
    u, v = places[seen].T
    colors = np.where(error[:, None] < 0, BEFORE, BEHIND)
    colors[np.abs(error) < TOLERANCE] = AGREE
    pixels[v, u] = (0.5 * pixels[v, u] + 0.5 * colors).astype(np.uint8)
    return Image.fromarray(pixels).resize(SIZE)


def _fuse(frames: list[RgbdFrame]) -> PointCloud:
    clouds = []
    for frame in frames:
        cloud = frame.to_point_cloud()
        clouds.append(cloud[:: max(1, len(cloud) * len(frames) // POINTS)])
    return PointCloud.concatenate(clouds)


def _from_side(cloud: PointCloud) -> Image.Image:
    camera, pose = drawing.overview_camera(cloud, *SIZE)
    return Image.fromarray(drawing.render_points(cloud, camera, pose, 0.01))


def _from_above(cloud: PointCloud, frames: list[RgbdFrame]) -> Image.Image:
    path = np.array([frame.world_from_camera[:3, 3] for frame in frames])
    lower, upper = np.percentile(cloud.positions, [1, 99], axis=0)
    lower, upper = np.minimum(lower, path.min(axis=0)), np.maximum(upper, path.max(axis=0))
    center, size = (lower + upper) / 2, np.maximum(upper - lower, 0.1)
    height = 20 * max(size)  # far away: as good as a floor plan
    focal = height * min(SIZE[0] / size[0], SIZE[1] / size[1]) * 0.95
    camera = Camera.from_focal(focal, focal, SIZE[0] / 2, SIZE[1] / 2, *SIZE)
    eye = center + [0, 0, height]
    pose = look_at(eye, center, up=(0, 1, 0))
    image = Image.fromarray(drawing.render_points(cloud, camera, pose, size.max() / SIZE[0]))
    pixels, _ = camera.project((path - eye) @ pose[:3, :3])
    ImageDraw.Draw(image).line([tuple(pixel) for pixel in pixels], fill=BEFORE, width=3)
    return image
