"""Compositing for CPUs, compiled with numba: what ``reference`` does, faster, with its gradients.

Splats are few pixels wide, so the weights are sparse. A render is three steps: find the splats
that contribute to each pixel (lists per pixel, front to back), blend channels along the lists,
and, backwards, walk along the lists from behind (3DGS, appendix C) and then along their
transpose, so that each splat sums its own gradient: no atomics, and the same result with any
number of threads.

Work is shared by ``torch.get_num_threads()`` Python threads that numba has freed from the
interpreter's lock. Numba's own threads abort the process where two threads of a program meet in
them, or after a fork.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from lift_gs_ros.splat import projection
from lift_gs_ros.splat.projection import Splats

MIN_ALPHA, MAX_ALPHA = projection.MIN_ALPHA, projection.MAX_ALPHA
MIN_TRANSMITTANCE = projection.MIN_TRANSMITTANCE


def composite(
    splats: Splats,
    channels: Tensor,  # (M, C) one row per splat
) -> tuple[Tensor, Tensor]:
    """Blend from front to back: image (H, W, C) and alpha (H, W), not divided by alpha."""
    return _Composite.apply(splats.geometry, channels, splats)


@torch.no_grad()
def weight_entries(splats: Splats) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (row-major), splats and weights of all contributions, (K,) each, sorted by pixel."""
    offsets, indices, alphas = _contributions(splats)
    weights = np.empty_like(alphas)
    _in_threads(_weigh, len(offsets) - 1, offsets, alphas, weights)
    pixels = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return (
        torch.from_numpy(pixels),
        torch.from_numpy(indices.astype(np.int64)),
        torch.from_numpy(weights),
    )


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, geometry: Tensor, channels: Tensor, splats: Splats
    ) -> tuple[Tensor, Tensor]:
        height, width = splats.camera.height, splats.camera.width
        colors = channels.detach().contiguous().numpy()
        offsets, indices, alphas = _contributions(splats)
        weights = np.empty_like(alphas)
        _in_threads(_weigh, height * width, offsets, alphas, weights)
        image = channels.new_zeros(height, width, channels.shape[1])
        alpha = channels.new_zeros(height, width)
        flat = image.view(height * width, -1).numpy(), alpha.view(-1).numpy()
        _in_threads(_blend, height * width, offsets, indices, weights, colors, *flat)
        ctx.save_for_backward(geometry, channels)
        ctx.contributions = offsets, indices, alphas, weights
        ctx.width = width
        return image, alpha

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad_image: Tensor, grad_alpha: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        geometry, channels = ctx.saved_tensors
        offsets, indices, alphas, weights = ctx.contributions
        pixels, splats = len(offsets) - 1, len(geometry)
        grads = grad_image.contiguous().view(pixels, -1).numpy()
        lists = _transpose(offsets, indices, splats)
        grad_geometry = grad_channels = None
        if ctx.needs_input_grad[0]:
            colors = channels.detach().contiguous().numpy()
            grad_alphas = np.empty_like(alphas)
            hits = grad_alpha.contiguous().view(-1).numpy()
            per_pixel = offsets, indices, alphas, weights, colors, grads, hits, grad_alphas
            _in_threads(_alpha_gradients, pixels, *per_pixel)
            grad_geometry = torch.zeros_like(geometry)
            shapes, sums = geometry.detach().contiguous().numpy(), grad_geometry.numpy()
            per_splat = *lists, alphas, grad_alphas, shapes, ctx.width, sums
            _in_threads(_geometry_gradients, splats, *per_splat)
        if ctx.needs_input_grad[1]:
            grad_channels = torch.zeros_like(channels)
            _in_threads(_channel_gradients, splats, *lists, weights, grads, grad_channels.numpy())
        return grad_geometry, grad_channels, None


def _in_threads(kernel: Callable, count: int, *arguments: Any) -> None:
    """Call kernel(first, last, ...) over parts of range(count)."""
    threads = torch.get_num_threads()
    if threads == 1:
        kernel(0, count, *arguments)
        return
    parts = 8 * threads  # parts differ in cost: the pool evens them out
    edges = [count * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda first, last: kernel(first, last, *arguments), edges[:-1], edges[1:]))


def _contributions(splats: Splats) -> tuple[NDArray, NDArray, NDArray]:
    """List per pixel: offsets (P + 1,), and splats and alphas (K,) from front to back."""
    height, width = splats.camera.height, splats.camera.width
    geometry = splats.geometry.detach().contiguous().numpy()
    bounds = splats.bounds.contiguous().numpy()
    offsets = np.zeros(height * width + 1, np.int64)
    nothing = np.empty(0, np.int32), np.empty(0, geometry.dtype)
    _in_threads(_find, height, geometry, bounds, width, offsets[1:], offsets, *nothing)
    offsets = np.cumsum(offsets)
    indices, alphas = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], geometry.dtype)
    counts = np.zeros(height * width, np.int64)
    _in_threads(_find, height, geometry, bounds, width, counts, offsets, indices, alphas)
    return offsets, indices, alphas


@njit(cache=True, nogil=True)
def _find(first, last, geometry, bounds, width, counts, offsets, indices, alphas):
    """Count the contributions to the pixels of rows first .. last, and list them if asked to."""
    one = geometry.dtype.type(1)
    transmittance = np.full((last - first, width), one)
    for splat in range(len(geometry)):
        top, bottom = max(bounds[splat, 1], first), min(bounds[splat, 3], last)
        if top >= bottom:
            continue
        shape = geometry[splat]
        opacity = shape[2]
        cutoff = math.log(opacity / MIN_ALPHA) + 1e-3
        for v in range(top, bottom):
            for u in range(bounds[splat, 0], bounds[splat, 2]):
                before = transmittance[v - first, u]
                if before == 0:  # done
                    continue
                exponent = _exponent(shape, u, v)
                if not 0 <= exponent <= cutoff:
                    continue
                alpha = min(opacity * math.exp(-exponent), geometry.dtype.type(MAX_ALPHA))
                if alpha < MIN_ALPHA:
                    continue
                after = before * (one - alpha)
                if after <= MIN_TRANSMITTANCE:
                    transmittance[v - first, u] = 0
                    continue
                transmittance[v - first, u] = after
                pixel = v * width + u
                if len(indices) > 0:
                    indices[offsets[pixel] + counts[pixel]] = splat
                    alphas[offsets[pixel] + counts[pixel]] = alpha
                counts[pixel] += 1


@njit(cache=True, nogil=True, inline='always')
def _exponent(shape, u, v):
    """Exponent of a splat at a pixel; infinite where its plane is seen from the edge."""
    du, dv = shape[0] - u, shape[1] - v
    if len(shape) == 6:
        return (
            shape.dtype.type(0.5) * (shape[3] * du * du + shape[5] * dv * dv) + shape[4] * du * dv
        )
    x, y, z = _plane_crossing(shape, u, v)
    if z == 0:
        return shape.dtype.type(np.inf)
    return min(_disc_exponent(shape, x / z, y / z), du * du + dv * dv)


@njit(cache=True, nogil=True, inline='always')
def _plane_crossing(shape, u, v):
    """Cross product of the two planes that make a pixel's ray, on the disc's coordinates."""
    a0, a1, a2 = u * shape[9] - shape[3], u * shape[10] - shape[4], u * shape[11] - shape[5]
    b0, b1, b2 = v * shape[9] - shape[6], v * shape[10] - shape[7], v * shape[11] - shape[8]
    return a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0


@njit(cache=True, nogil=True, inline='always')
def _disc_exponent(shape, s, t):
    """Exponent where a ray hits a disc at (s, t) sigmas; infinite behind the camera."""
    if shape[9] * s + shape[10] * t + shape[11] <= 0:
        return shape.dtype.type(np.inf)
    return shape.dtype.type(0.5) * (s * s + t * t)


@njit(cache=True, nogil=True)
def _weigh(first, last, offsets, alphas, weights):
    """Alpha times what the splats before it let through."""
    for pixel in range(first, last):
        transmittance = alphas.dtype.type(1)
        for entry in range(offsets[pixel], offsets[pixel + 1]):
            weights[entry] = alphas[entry] * transmittance
            transmittance *= 1 - alphas[entry]


@njit(cache=True, nogil=True)
def _blend(first, last, offsets, indices, weights, channels, image, alpha):
    for pixel in range(first, last):
        out = image[pixel]
        for entry in range(offsets[pixel], offsets[pixel + 1]):
            weight, row = weights[entry], channels[indices[entry]]
            alpha[pixel] += weight
            for channel in range(len(out)):
                out[channel] += weight * row[channel]


@njit(cache=True, nogil=True, fastmath={'reassoc', 'contract', 'nsz'})
def _alpha_gradients(
    first, last, offsets, indices, alphas, weights, channels, grads, hits, grad_alphas
):
    """Gradient of every alpha, from behind: what it adds minus what it hides."""
    for pixel in range(first, last):
        grad = grads[pixel]
        behind = alphas.dtype.type(0)
        for entry in range(offsets[pixel + 1] - 1, offsets[pixel] - 1, -1):
            row = channels[indices[entry]]
            value = hits[pixel]  # the gradient of the pixel's own alpha
            for channel in range(len(grad)):
                value += grad[channel] * row[channel]
            transmittance = weights[entry] / alphas[entry]
            grad_alphas[entry] = transmittance * value - behind / (1 - alphas[entry])
            behind += weights[entry] * value


@njit(cache=True, nogil=True)
def _transpose(offsets, indices, count):
    """List per splat: starts (count + 1,), entries (K,) and their pixels (K,)."""
    starts = np.zeros(count + 1, np.int64)
    for index in indices:
        starts[index + 1] += 1
    starts = np.cumsum(starts)
    cursor = starts.copy()
    entries = np.empty(len(indices), np.int64)
    pixels = np.empty(len(indices), np.int32)
    for pixel in range(len(offsets) - 1):
        for entry in range(offsets[pixel], offsets[pixel + 1]):
            place = cursor[indices[entry]]
            cursor[indices[entry]] += 1
            entries[place] = entry
            pixels[place] = pixel
    return starts, entries, pixels


@njit(cache=True, nogil=True)
def _channel_gradients(first, last, starts, entries, pixels, weights, grads, grad_channels):
    for splat in range(first, last):
        row = grad_channels[splat]
        for place in range(starts[splat], starts[splat + 1]):
            weight, grad = weights[entries[place]], grads[pixels[place]]
            for channel in range(len(row)):
                row[channel] += weight * grad[channel]


@njit(cache=True, nogil=True)
def _geometry_gradients(
    first, last, starts, entries, pixels, alphas, grad_alphas, geometry, width, grad_geometry
):
    for splat in range(first, last):
        shape, grad = geometry[splat], grad_geometry[splat]
        for place in range(starts[splat], starts[splat + 1]):
            alpha = alphas[entries[place]]
            if alpha == geometry.dtype.type(MAX_ALPHA):  # clamped
                continue
            grad_exponent = -alpha * grad_alphas[entries[place]]
            grad[2] -= grad_exponent / shape[2]
            v, u = pixels[place] // width, pixels[place] % width
            if len(shape) == 6:
                _add_conic_gradient(shape, u, v, grad_exponent, grad)
            else:
                _add_disc_gradient(shape, u, v, grad_exponent, grad)


@njit(cache=True, nogil=True, inline='always')
def _add_conic_gradient(shape, u, v, grad_exponent, grad):
    du, dv = shape[0] - u, shape[1] - v
    grad[0] += grad_exponent * (shape[3] * du + shape[4] * dv)
    grad[1] += grad_exponent * (shape[4] * du + shape[5] * dv)
    grad[3] += grad_exponent * du * du / 2
    grad[4] += grad_exponent * du * dv
    grad[5] += grad_exponent * dv * dv / 2


@njit(cache=True, nogil=True, inline='always')
def _add_disc_gradient(shape, u, v, grad_exponent, grad):
    """Through (s, t) to the two planes, and from them to the rows of the matrix."""
    du, dv = shape[0] - u, shape[1] - v
    x, y, z = _plane_crossing(shape, u, v)
    s, t = x / z, y / z
    if du * du + dv * dv <= _disc_exponent(shape, s, t):
        grad[0] += 2 * grad_exponent * du
        grad[1] += 2 * grad_exponent * dv
        return
    gx, gy = grad_exponent * s / z, grad_exponent * t / z
    gz = -(gx * s + gy * t)
    a0, a1, a2 = u * shape[9] - shape[3], u * shape[10] - shape[4], u * shape[11] - shape[5]
    b0, b1, b2 = v * shape[9] - shape[6], v * shape[10] - shape[7], v * shape[11] - shape[8]
    ga = b1 * gz - b2 * gy, b2 * gx - b0 * gz, b0 * gy - b1 * gx
    gb = gy * a2 - gz * a1, gz * a0 - gx * a2, gx * a1 - gy * a0
    for axis in range(3):
        grad[3 + axis] -= ga[axis]
        grad[6 + axis] -= gb[axis]
        grad[9 + axis] += u * ga[axis] + v * gb[axis]
