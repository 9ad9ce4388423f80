"""How far colour is shifted against depth, from where both have edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lift_gs_ros.geometry import FloatArray
from lift_gs_ros.mapping.frame import RgbdFrame

MAX_SHIFT = 0.05  # of the image's width: 32 pixels of 640
WIDTH = 640  # pixels, about, at which edges are compared
JUMP = 0.05  # relative step of depth that is an edge


def depth_edges(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels (H, W) on the near side of a step in depth (H, W), both sides measured."""
    edges = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        first, second = np.moveaxis(depth, axis, 0)[:-1], np.moveaxis(depth, axis, 0)[1:]
        known = (first > 0) & (second > 0)
        ahead, behind = np.moveaxis(edges, axis, 0)[:-1], np.moveaxis(edges, axis, 0)[1:]
        ahead |= known & (second - first > JUMP * first)
        behind |= known & (first - second > JUMP * second)
    return edges


def color_edges(color: NDArray[np.uint8]) -> FloatArray:
    """Strength (H, W) in [0, 1] of the edges of a colour image, strong and weak ones alike."""
    grey = color.astype(np.float32).mean(axis=2)
    strength = np.hypot(*np.gradient(grey))
    return np.minimum(strength / (3 * strength.mean() + 1e-6), 1)


def color_shift(frames: list[RgbdFrame], zoom: float = 1.0) -> tuple[NDArray[np.int64], float]:
    """Shift (u, v) in pixels of colour against depth, and how far it stands out.

    Of all shifts up to MAX_SHIFT it is the one where depth edges lie on colour edges best; how far
    it stands out is in standard deviations of all of them. ``zoom`` enlarges colour about its
    centre first: colour that is not registered has another focal length.
    """
    step = max(1, frames[0].camera.width // WIDTH)
    height, width = frames[0].depth[::step, ::step].shape
    reach = max(4, round(MAX_SHIFT * width))
    total = np.zeros((2 * reach + 1, 2 * reach + 1))
    for frame in frames:
        edges = depth_edges(frame.depth[::step, ::step]).astype(np.float32)
        strength = color_edges(_resized(frame.color, width, height, zoom))
        spectrum = np.fft.rfft2(strength - strength.mean()) * np.conj(np.fft.rfft2(edges))
        correlation = np.fft.irfft2(spectrum, s=edges.shape)
        total += np.roll(correlation, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    v, u = np.unravel_index(total.argmax(), total.shape)
    prominence = (total.max() - total.mean()) / (total.std() + 1e-9)
    return step * np.array([u - reach, v - reach]), float(prominence)


def _resized(color: NDArray[np.uint8], width: int, height: int, zoom: float) -> NDArray[np.uint8]:
    """Resize a colour image, its middle enlarged by ``zoom``; black where it does not reach."""
    size = np.array(color.shape[1::-1])
    box = np.concatenate([size - size / zoom, size + size / zoom]) / 2
    image = Image.fromarray(color)
    return np.asarray(image.transform((width, height), Image.Transform.EXTENT, tuple(box)))
