"""Compositing in plain torch: any device, any dtype, differentiable; the judge of the others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lift_gs_ros.splat.projection import MAX_ALPHA, MIN_ALPHA, MIN_TRANSMITTANCE, Kernel, Splats

_BLOCK = 16  # pixels, edge of the squares that are computed one at a time


def composite(
    splats: Splats,
    channels: Tensor,  # (M, C) one row per splat
) -> tuple[Tensor, Tensor]:
    """Blend from front to back: image (H, W, C) and alpha (H, W), not divided by alpha.

    Every pixel meets, in the order of the centres' depths, every splat that can reach it: the
    blocks bound the memory and leave out only splats whose alpha is less than 1/255 anyway. The
    backward pass computes each block again.
    """
    with_ones = torch.cat([channels, torch.ones_like(channels[:, :1])], dim=1)
    strips = []
    for top in range(0, splats.camera.height, _BLOCK):
        blocks = []
        for left in range(0, splats.camera.width, _BLOCK):
            pixels, touching = _block(splats, left, top)
            block = checkpoint(
                _blend,
                splats.geometry[touching],
                with_ones[touching],
                pixels,
                splats.kernel,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            blocks.append(block)
        strips.append(torch.cat(blocks, dim=1))
    image = torch.cat(strips)
    return image[..., :-1], image[..., -1]


@torch.no_grad()
def weight_entries(splats: Splats) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (row-major), splats and weights of all contributions, (K,) each."""
    found = []
    for top in range(0, splats.camera.height, _BLOCK):
        for left in range(0, splats.camera.width, _BLOCK):
            pixels, touching = _block(splats, left, top)
            weights = _weights(splats.geometry[touching], pixels, splats.kernel)
            v, u, splat = weights.nonzero(as_tuple=True)
            pixel = (v + top) * splats.camera.width + u + left
            found.append((pixel, touching[splat], weights[v, u, splat]))
    pixel_ids, indices, values = zip(*found)
    return torch.cat(pixel_ids), torch.cat(indices), torch.cat(values)


def _block(splats: Splats, left: int, top: int) -> tuple[Tensor, Tensor]:
    """Pixel centres (h, w, 1, 2) of a block and the splats (K,) that touch it, in order."""
    right = min(left + _BLOCK, splats.camera.width)
    bottom = min(top + _BLOCK, splats.camera.height)
    u = torch.arange(left, right).to(splats.geometry)
    v = torch.arange(top, bottom).to(splats.geometry)
    pixels = torch.stack(torch.meshgrid(u, v, indexing='xy'), dim=-1)[:, :, None]
    u0, v0, u1, v1 = splats.bounds.unbind(dim=1)
    touching = (u0 < right) & (u1 > left) & (v0 < bottom) & (v1 > top)
    return pixels, touching.nonzero()[:, 0]


def _blend(geometry: Tensor, channels: Tensor, pixels: Tensor, kernel: Kernel) -> Tensor:
    return _weights(geometry, pixels, kernel) @ channels


def _weights(geometry: Tensor, pixels: Tensor, kernel: Kernel) -> Tensor:
    """Weights (h, w, K): alpha times what the splats before it let through (3DGS, equation 3)."""
    falloff = _falloff_3d if kernel == '3d' else _falloff_2d
    exponent, valid = falloff(geometry, pixels)
    alpha = (geometry[:, 2] * torch.exp(-exponent)).clamp_max(MAX_ALPHA)
    alpha = torch.where(valid & (exponent >= 0) & (alpha >= MIN_ALPHA), alpha, 0)
    after = torch.cumprod(1 - alpha, dim=-1)
    before = torch.cat([torch.ones_like(after[..., :1]), after[..., :-1]], dim=-1)
    return torch.where(after > MIN_TRANSMITTANCE, alpha * before, 0)


def _falloff_3d(geometry: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Exponents (h, w, K) of the projected Gaussians."""
    du = geometry[:, 0] - pixels[..., 0]
    dv = geometry[:, 1] - pixels[..., 1]
    a, b, c = geometry[:, 3:].unbind(dim=1)
    exponent = 0.5 * (a * du * du + c * dv * dv) + b * du * dv
    return exponent, torch.ones_like(exponent, dtype=torch.bool)


def _falloff_2d(geometry: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Exponents (h, w, K) of discs hit by the pixels' rays (2DGS, equations 9 to 11).

    The ray is the cut of two planes; where it hits the disc's plane, (s, t), the exponent is
    (s^2 + t^2) / 2, but no more than the squared distance in pixels (the low-pass filter).
    """
    row_u, row_v, row_w = geometry[:, 3:].unflatten(1, (3, 3)).unbind(dim=1)  # (M, 3) each
    plane_u = pixels[..., :1] * row_w - row_u  # (h, w, K, 3)
    plane_v = pixels[..., 1:] * row_w - row_v
    x, y, z = torch.linalg.cross(plane_u, plane_v).unbind(dim=-1)
    low_pass = (geometry[:, 0] - pixels[..., 0]) ** 2 + (geometry[:, 1] - pixels[..., 1]) ** 2
    valid = z != 0
    with torch.no_grad():
        safe = torch.where(valid, z, 1)
        s, t = x / safe, y / safe
        in_front = row_w[:, 0] * s + row_w[:, 1] * t + row_w[:, 2] > 0
        hit = valid & in_front & (0.5 * (s * s + t * t) < low_pass)
    # Divide only where the result is used: elsewhere its gradient may be infinite.
    safe = torch.where(hit, z, 1)
    s, t = torch.where(hit, x, 0) / safe, torch.where(hit, y, 0) / safe
    return torch.where(hit, 0.5 * (s * s + t * t), low_pass), valid
