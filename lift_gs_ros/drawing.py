"""Pictures of answers that a person can judge at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lift_gs_ros.geometry import (
    BOX_EDGES,
    Box,
    Camera,
    FloatArray,
    PointCloud,
    invert_transform,
    look_at,
    transform_points,
)
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding
from lift_gs_ros.mapping.frame import RgbdFrame

TARGET_COLOR = (255, 200, 0)  # yellow, as in the figures of LIFT-GS
MENTIONED_COLOR = (0, 170, 255)
OCCLUSION_TOLERANCE = 0.1  # metres that a mask point may lie behind the measured depth
POINT_RADIUS = 0.03  # metres, as large as a mask point is drawn
NEAR_PLANE = 0.05  # metres; edges of a box are clipped here


def visible_pixels(frame: RgbdFrame, points: FloatArray) -> NDArray[np.int64]:
    """Pixels (n, 2) as (u, v) of the points (N, 3), world frame, that the frame sees unoccluded."""
    in_camera = transform_points(invert_transform(frame.world_from_camera), points)
    pixels, depth = frame.camera.project(in_camera)
    with np.errstate(invalid='ignore'):
        inside = (depth > 0) & (pixels >= -0.5).all(axis=1)
        inside &= (pixels[:, 0] < frame.camera.width - 0.5) & (
            pixels[:, 1] < frame.camera.height - 0.5
        )
    pixels, depth = np.rint(pixels[inside]).astype(np.int64), depth[inside]
    measured = frame.depth[pixels[:, 1], pixels[:, 0]]
    return pixels[(measured > 0) & (depth <= measured + OCCLUSION_TOLERANCE)]


def best_views(
    frames: Iterable[RgbdFrame], objects: Sequence[FloatArray]
) -> list[RgbdFrame | None]:
    """Return for each object (N, 3) the frame that sees most of its points, None if none does."""
    best: list[RgbdFrame | None] = [None] * len(objects)
    most = [0] * len(objects)
    for frame in frames:
        for i, points in enumerate(objects):
            seen = len(visible_pixels(frame, points))
            if seen > most[i]:
                best[i], most[i] = frame, seen
    return best


def draw_box(
    draw: ImageDraw.ImageDraw,
    camera: Camera,
    world_from_camera: FloatArray,
    box: Box,
    color: tuple[int, int, int],
    width: int = 3,
) -> None:
    """Draw the edges of a box (world frame), clipped in front of the camera."""
    corners = transform_points(invert_transform(world_from_camera), box.corners())
    for i, j in BOX_EDGES:
        begin, end = sorted((corners[i], corners[j]), key=lambda corner: corner[2])
        if end[2] <= NEAR_PLANE:
            continue
        if begin[2] < NEAR_PLANE:
            begin = end + (begin - end) * (end[2] - NEAR_PLANE) / (end[2] - begin[2])
        pixels, _ = camera.project(np.stack([begin, end]))
        draw.line([tuple(pixel) for pixel in pixels], fill=color, width=width)


def draw_answer(frame: RgbdFrame, answer: Grounding) -> Image.Image:
    """Draw masks and boxes of an answer into the colour image of a frame."""
    pixels = frame.color.astype(np.float32)
    for instance in answer.instances:
        mask = _splat_mask(frame, instance.points)
        color = np.array(_color(instance), np.float32)
        pixels[mask] = 0.5 * pixels[mask] + 0.5 * color
    image = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for instance in answer.instances:
        draw_box(draw, frame.camera, frame.world_from_camera, instance.box, _color(instance))
    return with_caption(image, caption(answer))


def caption(answer: Grounding) -> str:
    """One line that says what was asked and what came out."""
    if not answer.targets:
        reason = answer.message or f'not here (none {answer.none_score:.2f})'
        return f'"{answer.query}": {reason}'
    scores = ', '.join(f'{instance.score:.2f}' for instance in answer.targets[:4])
    more = ', ...' if len(answer.targets) > 4 else ''
    note = f'; {answer.message}' if answer.message else ''
    return f'"{answer.query}": {len(answer.targets)} found ({scores}{more}){note}'


def with_caption(image: Image.Image, text: str) -> Image.Image:
    """Put one line of text on a dark strip above the image."""
    size = max(12, image.width // 40)
    strip = Image.new('RGB', (image.width, image.height + 2 * size), (25, 25, 25))
    strip.paste(image, (0, 2 * size))
    font = ImageFont.load_default(size)
    ImageDraw.Draw(strip).text((size // 2, size // 2), text, fill=(255, 255, 255), font=font)
    return strip


def draw_map(
    cloud: PointCloud, answer: Grounding, voxel_size: float, width: int = 960, height: int = 720
) -> Image.Image:
    """Draw the map from obliquely above, the masks of the answer coloured, its boxes as edges."""
    colors = cloud.colors.copy()
    positions = cloud.positions
    for instance in answer.instances:
        positions = np.concatenate([positions, instance.points])
        color = np.array(_color(instance), np.float32) / 255
        painted = np.tile(color, (len(instance.points), 1))
        colors = np.concatenate([colors, painted])
    camera, pose = overview_camera(cloud, width, height)
    image = Image.fromarray(
        render_points(PointCloud(positions, colors), camera, pose, voxel_size / 2)
    )
    draw = ImageDraw.Draw(image)
    for instance in answer.instances:
        draw_box(draw, camera, pose, instance.box, _color(instance))
    return with_caption(image, caption(answer))


def overview_camera(cloud: PointCloud, width: int, height: int) -> tuple[Camera, FloatArray]:
    """Return a camera obliquely above a cloud, as near as shows 99% of it, and its pose."""
    focal = 1.1 * width
    half = np.array([width - 1, height - 1]) / 2
    camera = Camera.from_focal(focal, focal, half[0], half[1], width, height)
    lower, upper = np.percentile(cloud.positions, [1, 99], axis=0)
    center = (lower + upper) / 2
    direction = np.array([-0.45, -0.75, 1.1])
    pose = look_at(center + direction, center)
    x_y, z = np.split((cloud.positions - center) @ pose[:3, :3], [2], axis=1)
    # A point is in view from a distance d when focal * |x| / (d + z) <= half, and so for y.
    needed = (focal * np.abs(x_y) / (0.95 * half) - z).max(axis=1)
    pose[:3, 3] = center - np.percentile(needed, 99) * pose[:3, 2]
    return camera, pose


def render_points(
    cloud: PointCloud, camera: Camera, world_from_camera: FloatArray, radius: float
) -> NDArray[np.uint8]:
    """Draw points as squares of half width ``radius`` (metres): (H, W, 3) uint8.

    Painter's algorithm: far points first.
    """
    image = np.full((camera.height, camera.width, 3), 250, np.uint8)
    in_camera = transform_points(invert_transform(world_from_camera), cloud.positions)
    pixels, depth = camera.project(in_camera)
    order = np.argsort(-depth, kind='stable')  # of two points in one place the later is seen
    order = order[depth[order] > NEAR_PLANE]
    sizes = np.maximum(np.rint(camera.intrinsics[0, 0] * radius / depth[order]), 1).astype(int)
    pixels = np.rint(pixels[order]).astype(int)
    colors = (255 * cloud.colors[order]).clip(0, 255).astype(np.uint8)
    for size in np.unique(sizes):  # grows towards the camera
        chosen = sizes == size
        paint(image, pixels[chosen], colors[chosen], size)
    return image


def paint(image: NDArray, pixels: NDArray, colors: NDArray, size: int) -> None:
    """Paint a square (2 * size + 1 pixels wide) at every pixel (n, 2); later ones lie on top."""
    height, width = image.shape[:2]
    offsets = np.stack(np.meshgrid(*[np.arange(-size, size + 1)] * 2), axis=-1).reshape(-1, 2)
    u, v = np.moveaxis(pixels[:, None] + offsets, -1, 0)  # (n, k) each: a point's pixels in a row
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    image[v[inside], u[inside]] = np.repeat(colors, inside.sum(axis=1), axis=0)


def _splat_mask(frame: RgbdFrame, points: FloatArray) -> NDArray[np.bool_]:
    """Pixels (H, W) covered by the visible points, each as large as a voxel looks from there."""
    mask = np.zeros(frame.depth.shape, bool)
    pixels = visible_pixels(frame, points)
    if not len(pixels):
        return mask
    depth = np.median(frame.depth[pixels[:, 1], pixels[:, 0]])
    size = max(1, round(POINT_RADIUS * frame.camera.intrinsics[0, 0] / depth))
    paint(mask, pixels, np.ones(len(pixels), bool), size)
    return mask


def _color(instance: GroundedInstance) -> tuple[int, int, int]:
    return TARGET_COLOR if instance.is_target else MENTIONED_COLOR


def tile(images: Sequence[Image.Image], columns: int = 2) -> Image.Image:
    """Lay pictures out in a grid, left to right, top to bottom."""
    width, height = max(i.width for i in images), max(i.height for i in images)
    rows = -(-len(images) // columns)
    sheet = Image.new('RGB', (width * min(columns, len(images)), height * rows), (250, 250, 250))
    for n, image in enumerate(images):
        sheet.paste(image, (n % columns * width, n // columns * height))
    return sheet
