"""The Gaussians of the encoded map as a camera sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box, Camera, FloatArray, invert_transform, transform_points
from lift_gs_ros.grounding.encoded_map import EncodedChunk
from lift_gs_ros.splat.gaussians import Gaussians
from lift_gs_ros.splat.render import render

MAX_PIXELS = 640 * 480  # a larger picture would keep queries waiting
MAX_DISTANCE = 12.0  # metres; chunks farther away are left out
BACKGROUND = 0.1  # grey


@torch.inference_mode()
def draw(
    chunks: Sequence[EncodedChunk], camera: Camera, world_from_camera: FloatArray
) -> NDArray[np.uint8]:
    """Draw the chunks in sight, each point once: (H, W, 3). ValueError for too large a picture."""
    if camera.width * camera.height > MAX_PIXELS:
        raise ValueError(
            f'a picture of {camera.width}x{camera.height} was asked for, expected at most '
            f'{MAX_PIXELS} pixels (640x480): it takes the time of the queries'
        )
    seen = [chunk for chunk in chunks if _is_in_sight(chunk, camera, world_from_camera)]
    if not seen:
        return np.full((camera.height, camera.width, 3), round(255 * BACKGROUND), np.uint8)
    parts = [chunk.encoding.gaussians[: chunk.num_core] for chunk in seen]
    gaussians = Gaussians(
        *(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Gaussians))
    )
    background = torch.full((3,), BACKGROUND)
    view = render(gaussians, camera, world_from_camera, background=background)
    return (255 * view.color.clamp(0, 1) + 0.5).to(torch.uint8).cpu().numpy()


def _is_in_sight(chunk: EncodedChunk, camera: Camera, world_from_camera: FloatArray) -> bool:
    """Say whether the box around a chunk may be in the image: False only where it is not."""
    lower, upper, _ = (bound.cpu().numpy() for bound in chunk.encoding.bounds)
    eye = world_from_camera[:3, 3]
    if np.linalg.norm(np.maximum(lower - eye, 0) + np.maximum(eye - upper, 0)) > MAX_DISTANCE:
        return False
    corners = Box.from_corners(lower, upper).corners()
    points = transform_points(invert_transform(world_from_camera), corners)
    # Outside of one of the planes through the camera and an edge of the image, or behind it.
    u, v, w = (points @ camera.intrinsics.T).T
    planes = [w, u + 0.5 * w, camera.width * w - u, v + 0.5 * w, camera.height * w - v]
    return all((plane > 0).any() for plane in planes)
