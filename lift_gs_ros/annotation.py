"""Answers drawn into a live camera image, to be read at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lift_gs_ros.drawing import NEAR_PLANE, POINT_RADIUS, draw_box, paint
from lift_gs_ros.geometry import Box, Camera, FloatArray, invert_transform, transform_points

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
LONGEST_LABEL = 40  # characters
SMALLEST_WITH_LABELS = 160  # pixels; in a narrower image they would hide what they name
PADDING = 2  # pixels around the text of a label

Rectangle = tuple[int, int, int, int]  # left, top, right, bottom; pixels


@dataclass(frozen=True)
class Shown:
    """An object as a live picture shows it."""

    points: NDArray[np.float32]  # (N, 3) of its mask, world frame
    color: tuple[int, int, int]
    label: str


def draw_objects(
    color: NDArray[np.uint8],  # (H, W, 3)
    camera: Camera,
    world_from_camera: FloatArray,
    objects: Sequence[Shown],  # the last ones lie on top
) -> NDArray[np.uint8]:
    """Draw masks, boxes and labels into a camera image; returns a new one (H, W, 3).

    What has no point in the image is left out; a label stays inside of it. Without a depth image
    nothing is known about what hides what: masks are seen through walls.
    """
    pixels, seen = color.copy(), []
    for shown in objects:
        mask = _mask(camera, world_from_camera, shown.points)
        if mask.any():
            pixels[mask] = pixels[mask] // 2 + np.array(shown.color, np.uint8) // 2
            seen.append((shown, mask))
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    width, rim = max(1, camera.width // 300), camera.width // 320
    for shown, _ in seen:
        box = Box.from_points(shown.points)
        draw_box(draw, camera, world_from_camera, box, BLACK, width + 2 * rim)
        draw_box(draw, camera, world_from_camera, box, shown.color, width)
    if camera.width >= SMALLEST_WITH_LABELS:
        _draw_labels(draw, seen)
    return np.asarray(image)


def _mask(
    camera: Camera, world_from_camera: FloatArray, points: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Pixels (H, W) covered by points, each as large as a voxel looks from there."""
    mask = np.zeros((camera.height, camera.width), bool)
    at, depth = camera.project(transform_points(invert_transform(world_from_camera), points))
    at, depth = at[depth > NEAR_PLANE], depth[depth > NEAR_PLANE]
    if len(depth):
        size = max(1, round(POINT_RADIUS * camera.intrinsics[0, 0] / np.median(depth)))
        paint(mask, np.rint(at).astype(np.int64), np.ones(len(at), bool), size)
    return mask


def _draw_labels(
    draw: ImageDraw.ImageDraw, seen: Sequence[tuple[Shown, NDArray[np.bool_]]]
) -> None:
    """Write above what is seen of each object; the last ones have the choice of places."""
    height, width = seen[0][1].shape if seen else (0, 0)
    font = ImageFont.load_default(max(11, width // 45))
    taken: list[Rectangle] = []
    for shown, mask in reversed(seen):
        text = ' '.join(shown.label.split())
        text = text if len(text) <= LONGEST_LABEL else f'...{text[3 - LONGEST_LABEL :]}'
        left, top, right, bottom = map(int, draw.textbbox((0, 0), text, font))
        size = right - left + 2 * PADDING, bottom - top + 2 * PADDING
        place = _place(mask, size, taken)
        taken.append(place)
        draw.rectangle(place, fill=shown.color, outline=BLACK)
        # Lightness as the eye has it (Rec. 601): what is readable on the colour.
        is_light = np.dot(shown.color, [0.299, 0.587, 0.114]) > 128
        at = place[0] + PADDING - left, place[1] + PADDING - top
        draw.text(at, text, BLACK if is_light else WHITE, font)


def _place(mask: NDArray[np.bool_], size: tuple[int, int], taken: list[Rectangle]) -> Rectangle:
    """Find a place above a mask, inside the image and, if there is one, on no other label."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    right, bottom = mask.shape[1] - 1 - size[0], mask.shape[0] - 1 - size[1]
    left = max(0, min(int(columns[0] + columns[-1] - size[0]) // 2, right))
    wanted = max(0, min(int(rows[0]) - size[1], bottom))
    above, below = [t[1] - 1 - size[1] for t in taken], [t[3] + 1 for t in taken]
    nearest = sorted([wanted, *above, *below], key=lambda top: abs(top - wanted))
    places = [(left, top, left + size[0], top + size[1]) for top in nearest if 0 <= top <= bottom]
    free = (p for p in places if not any(_overlap(p, other) for other in taken))
    return next(free, (left, wanted, left + size[0], wanted + size[1]))


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]
